"""Skies whose maps are files, as people have them: source maps, partial and equatorial maps, cubes that are summed."""

import healpy as hp
import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits

from gcesbi import InputError, Map, PointSources, SkyModel, Smooth
from gcesbi.io.tables import ebounds

NSIDE = 16
GLON, GLAT = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), nest=True, lonlat=True)
EDGES = np.geomspace(2.0, 20.0, 4)
GAS = np.stack([10.0**-e * np.exp(-np.abs(GLAT) / (5 + 10 * e)) for e in (0.0, 0.5, 1.0)])
NARROW = {"weights": [[1.0]], "sigmas": [[1e-4]], "gammas": [[5.0]]}
DIM = {"xi": (-12.0, -10.0), "flux": (0.0, 1e-7)}


def sky(template, **told):
    parts = [
        Smooth(name="gas", template=template, norm=(0, 1)),
        PointSources(name="dots", template="nfw", populations=[DIM]),
    ]
    return SkyModel(
        parts, **{"region": {"nside": NSIDE, "radius": 20.0}, "energy_edges": EDGES, "exposure": 1e11, **told}
    )


@pytest.fixture(scope="module")
def source_maps(tmp_path_factory):
    """A file of two sources, in equatorial coordinates and RING order."""
    ra, dec = hp.pix2ang(NSIDE, np.arange(12 * NSIDE**2), nest=False, lonlat=True)
    glon, glat = hp.Rotator(coord=["C", "G"])(ra, dec, lonlat=True)
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name, rows in (
        ("gas", np.stack([hp.get_interp_val(each, glon, glat, nest=True, lonlat=True) for each in GAS])),
        ("iso", np.ones((3, ra.size))),
    ):
        table = fits.BinTableHDU.from_columns(
            [fits.Column(f"CHANNEL{i}", "D", array=row) for i, row in enumerate(rows)], name=name
        )
        table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "CEL", "NSIDE": NSIDE})
        hdus.append(table)
    hdus.append(ebounds(EDGES))
    path = tmp_path_factory.mktemp("maps") / "srcmaps.fits"
    hdus.writeto(path)
    return path


def test_a_source_map_is_a_template(source_maps, tmp_path):
    model = sky(Map(file=source_maps, hdu="gas", quantity="counts", smoothed=True))
    seen = model.templates[0]
    wanted = GAS[:, model.region.pixels]
    for row, light in zip(seen, wanted, strict=True):  # interpolated twice, from one frame to the other and back
        assert np.corrcoef(row, light)[0, 1] > 0.98
        np.testing.assert_allclose(row.std() / row.mean(), light.std() / light.mean(), rtol=0.1)
    again = SkyModel.from_toml(_kept(model, tmp_path))
    assert again.fingerprint == model.fingerprint
    np.testing.assert_array_equal(again.templates, model.templates)
    with pytest.raises(InputError, match=r"component gas: .*hdu: must name one of the file's maps, has 'GAS', 'ISO'"):
        sky(Map(file=source_maps, quantity="counts", smoothed=True))
    with pytest.raises(InputError, match=r"component gas: .*energy bins: must be the model's"):
        sky(Map(file=source_maps, hdu="gas", smoothed=True), energy_edges=[2.0, 3.0, 20.0])


def _kept(model, folder):
    model.to_toml(folder / "sky.toml")
    return folder / "sky.toml"


@pytest.mark.parametrize("quantity", ["counts", "intensity"])
@pytest.mark.parametrize("smoothed", [True, False])
def test_cubes_are_added_where_a_sky_is_summed(quantity, smoothed):
    """The one bin of a summed sky has the light of all bins of a cube, as the cube says that they are to each other."""
    summed = sky(Map(values=GAS, order="nested", quantity=quantity, smoothed=smoothed), summed=True)
    added = sky(
        Map(values=GAS.sum(axis=0), order="nested", quantity=quantity, smoothed=smoothed), energy_edges=[2.0, 20.0]
    )
    np.testing.assert_allclose(summed.templates[0], added.templates[0], rtol=1e-12)
    assert summed.resolved.templates.shape[1] == 3
    with pytest.raises(InputError, match="needs one map for each of 3 energy bins, or one, got 2"):
        sky(Map(values=GAS[:2], order="nested", smoothed=True), summed=True)


def test_a_map_cube_is_integrated_where_a_sky_is_summed(tmp_path):
    """dN/dE ∝ E^-2 in the north and E^-3 in the south: the one bin has their integrals, in closed form."""
    energies, north = np.geomspace(1.0, 30.0, 6), (np.arange(90) >= 45)[:, None]
    values = np.where(north, 1.0, 5.0) * np.ones(180) * energies[:, None, None] ** np.where(north, -2.0, -3.0)
    cards = {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -2.0, "CDELT2": 2.0}
    image = fits.PrimaryHDU(
        values, fits.Header(cards | {"CRPIX1": 90.5, "CRPIX2": 45.5, "BUNIT": "photon/cm2/s/sr/MeV"})
    )
    table = fits.BinTableHDU.from_columns([fits.Column("Energy", "D", "MeV", array=1e3 * energies)], name="ENERGIES")
    fits.HDUList([image, table]).writeto(tmp_path / "cube.fits")
    cube = Map(file=tmp_path / "cube.fits", smoothed=False)
    seen = sky(cube, summed=True, psf=NARROW)
    glat = seen.region.glon_glat()[1]
    up, down = (seen.templates[0, 0, far] for far in (glat > 5, glat < -5))
    np.testing.assert_allclose(up.mean() / down.mean(), (0.5 - 0.05) / (5 * (0.25 - 0.0025) / 2), rtol=1e-3)
    assert np.ptp(up) < 1e-3 * up.mean()
    with pytest.raises(InputError, match=r"component gas: .*cover"):
        sky(cube, energy_edges=[2.0, 100.0])


def test_masks_are_fits_files_too(tmp_path):
    mask = np.zeros(12 * NSIDE**2)
    mask[hp.ang2pix(NSIDE, 5.0, 5.0, nest=True, lonlat=True)] = 1
    hp.write_map(tmp_path / "mask.fits", mask, nest=True, coord="G", dtype=np.float64)
    region = {"nside": NSIDE, "radius": 20.0, "mask": tmp_path / "mask.fits"}
    masked, whole = sky("isotropic", region=region).region, sky("isotropic").region
    assert set(whole.pixels) - set(masked.pixels) == {int(np.flatnonzero(mask)[0])}


def test_images_keep_arrays_and_exposures_as_they_are(tmp_path):
    """An exposure is no light: it does not fall with the size of pixels; arrays of an image come back from TOML."""
    region, rows = {"shape": (40, 10), "pixel_size": 2.0}, np.linspace(1.0, 2.0, 40)[:, None] * np.ones((40, 10))
    model = sky(Map(values=rows, smoothed=True, quantity="counts"), region=region, exposure=shown(rows))
    np.testing.assert_allclose(model.exposure[0], 1e11 * rows.ravel())
    again = SkyModel.from_toml(_kept(model, tmp_path))
    np.testing.assert_array_equal(again.templates, model.templates)
    np.testing.assert_array_equal(again.exposure, model.exposure)
    sphere = sky(Map(values=np.ones(12 * NSIDE**2), order="ring", smoothed=True), region=region)
    light = sphere.templates[0, 0].reshape(40, 10)[:, 0]
    np.testing.assert_allclose(light / light.max(), np.cos(np.radians(np.arange(-39, 40, 2))) / np.cos(np.radians(1)))


def shown(rows):
    return {"values": 1e11 * rows, "order": "ring"}


def test_a_known_spectrum_is_a_text_file(tmp_path):
    """Lines of energy in MeV and dN/dE ∝ E^-2: shares of the bins in closed form; the numbers are kept."""
    energies = np.geomspace(100.0, 1e6, 30)
    lines = [f"{energy!r} {energy**-2!r} 0.1" for energy in energies.tolist()]
    (tmp_path / "iso.txt").write_text("\n".join(lines))
    iso = {"name": "iso", "kind": "smooth", "template": "isotropic", "norm": [0, 1]}
    dots = PointSources(name="dots", template="nfw", populations=[DIM])
    told = {"region": {"nside": NSIDE, "radius": 20.0}, "energy_edges": EDGES, "exposure": 1e11}
    model = SkyModel([{**iso, "spectrum": {"family": "tabulated", "file": str(tmp_path / "iso.txt")}}, dots], **told)
    shares = model.emission(model.prior().mean.numpy()[None]).spectra[0, 0]
    np.testing.assert_allclose(shares, -np.diff(1 / EDGES) / (0.5 - 0.05), rtol=1e-4)
    again = SkyModel.from_toml(_kept(model, tmp_path))
    assert again.fingerprint == model.fingerprint
    for spectrum, message in (
        ({"file": str(tmp_path / "none.txt")}, r"component iso: .*none.txt"),
        (
            {"file": str(tmp_path / "iso.txt"), "energy": [1, 2]},
            "component iso: .*needs either a file, or energy and dnde",
        ),
        ({"fil": "iso.txt"}, "component iso: .*fil: unknown setting"),
    ):
        with pytest.raises(InputError, match=message):
            SkyModel([{**iso, "spectrum": {"family": "tabulated", **spectrum}}, dots], **told)


def test_places_are_quantities_or_sky_coordinates():
    centre = SkyCoord(266.40499, -28.93617, unit="deg", frame="icrs")  # the origin of Galactic coordinates
    for region in ({"nside": NSIDE, "radius": 20 * units.deg}, {"shape": (8, 8), "pixel_size": 2.0, "radius": 5.0}):
        here = sky("isotropic", region={**region, "centre": centre}).region
        assert here == sky("isotropic", region={**region, "centre": (0.0, 0.0)}).region
        away = sky("isotropic", region={**region, "centre": (3 * units.deg, 60 * units.arcmin)}).region
        assert away == sky("isotropic", region={**region, "centre": (3.0, 1.0)}).region != here
        with pytest.raises(InputError, match=r"region: .*centre: must be \(glon, glat\) in degrees"):
            sky("isotropic", region={**region, "centre": (0.0, 100.0)})

"""Image files: the real set, small files written by hand, and clear errors."""

import json
from itertools import pairwise

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.io import read_observation, write_observation
from gcesbi.io.image import (
    read_counts_cube,
    read_intensity_cube,
    read_isotropic_spectrum,
    read_psf_table,
)
from gcesbi.physics.psf import PSF
from gcesbi.sky import ImageGeometry, Observation, Region, grid_of


def header(**changes):
    values = {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 360.0, "CRVAL2": 3e-14}
    values |= {"CRPIX1": 3.5, "CRPIX2": 2.5, "CDELT1": -0.5, "CDELT2": 0.5}
    return fits.Header([(key, value) for key, value in (values | changes).items() if value is not None])


def ebounds(unit="keV", low=(1e6, 2e6), high=(2e6, 4e6)):
    made = [fits.Column("E_MIN", "E", unit, array=np.array(low)), fits.Column("E_MAX", "E", unit, array=np.array(high))]
    return fits.BinTableHDU.from_columns(made, name="EBOUNDS")


def cube(path, data=None, table=None, **changes):
    counts = np.arange(48).reshape(2, 4, 6) if data is None else data
    fits.HDUList([fits.PrimaryHDU(counts, header(**changes)), table or ebounds()]).writeto(path)
    return path


def psf_file(path, theta=(0.0, 0.5, 2.0), **columns):
    made = {"Energy": ("D", [1e3, 4e3]), "Exposure": ("D", [1e11, 2e11]), "Psf": ("3D", [[5.0, 1, 0], [9.0, 1, 0]])}
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column(n, *v[:1], array=np.array(v[1])) for n, v in (made | columns).items() if v], name="PSF"
    )
    angle = fits.BinTableHDU.from_columns([fits.Column("Theta", "D", array=np.array(theta))], name="THETA")
    fits.HDUList([fits.PrimaryHDU(), hdu, angle]).writeto(path)
    return path


def test_counts_cube_has_its_energies_in_gev_and_its_pixels_in_place(tmp_path):
    counts, edges, geometry = read_counts_cube(cube(tmp_path / "cube.fits"))
    np.testing.assert_allclose(edges, [1.0, 2.0, 4.0])
    assert counts.shape == (2, 4, 6)
    assert geometry.reference == (0.0, 0.0)
    glon, glat = geometry.glon_glat()
    assert (glon[0], glat[0]) == (1.25, -0.75)
    assert counts[1].ravel()[geometry.index(1.25, 0.75)] == counts[1, 3, 0]


def test_units_of_the_energies_are_those_of_the_file(tmp_path):
    _, edges, _ = read_counts_cube(cube(tmp_path / "cube.fits", table=ebounds("MeV")))
    np.testing.assert_allclose(edges, [1e3, 2e3, 4e3])


def test_observation_cuts_region_and_energies(tmp_path):
    where = cube(tmp_path / "cube.fits"), psf_file(tmp_path / "psf.fits")
    seen = read_observation(where[0], 1.0, None, exposure=where[1], energy_range=(2.0, 4.0), event_type="PSF3")
    assert seen.counts.shape == (1, seen.region.n_pix)
    np.testing.assert_allclose(seen.energy_edges, [2.0, 4.0])
    np.testing.assert_array_equal(seen.counts[0], seen.region.take(np.arange(48).reshape(2, 4, 6))[1])
    assert 1e11 < seen.exposure[0, 0] < 2e11
    assert seen.psf[0].theta_max == 2.0


def test_what_is_written_is_read_back(tmp_path):
    geometry = ImageGeometry((10, 12), 0.1, (-10.0, 3.0), (0.25, 7.0))
    region = geometry.disc(0.3, (-10.0, 3.0))
    rng = np.random.default_rng(1)
    counts, exposure = rng.poisson(3.0, (2, region.n_pix)), rng.uniform(1e11, 2e11, (2, region.n_pix))
    psf = PSF.default(1.0, 2.0), PSF.default(2.0, 4.0)
    seen = Observation(counts, exposure, np.array([1.0, 2.0, 4.0]), region, psf)
    write_observation(tmp_path / "image.fits", seen)
    back = read_observation(tmp_path / "image.fits", None, None)
    assert back.region == region == grid_of(json.loads(json.dumps(region.describe())))
    np.testing.assert_array_equal(back.counts, counts)
    np.testing.assert_array_equal(back.exposure, exposure)
    np.testing.assert_array_equal(back.energy_edges, seen.energy_edges)
    theta = np.linspace(0, 4, 200)
    for ours, theirs in zip(back.psf, psf, strict=True):
        np.testing.assert_allclose(ours.density(theta), theirs.density(theta), atol=1e-4 * theirs.density(0.0))
    with pytest.raises(InputError, match=r"nside, energy_edges, mask: must be None, .* for the image"):
        read_observation(tmp_path / "image.fits", nside=16)


def test_cubes_without_exposure_are_named(tmp_path):
    with pytest.raises(InputError, match=r"cube.fits: exposure: must name a table of the point-spread function"):
        read_observation(cube(tmp_path / "cube.fits"), None, None)


def test_real_set(data_folder):
    folder = data_folder / "fermi-gc-4gev"
    seen = read_observation(
        folder / "ccube_01.fits", 4.8, None, exposure=folder / "psf_01.fits", energy_range=(3.98, 19.96)
    )
    assert seen.n_energy == 7
    np.testing.assert_allclose(seen.energy_edges, 10 ** np.arange(0.6, 1.35, 0.1), rtol=1e-5)
    assert seen.region.n_pix == 6080  # of a square of 8 degrees
    with fits.open(folder / "ccube_01.fits") as tables:
        x, y = np.meshgrid(np.arange(80), np.arange(80))
        glon, glat = WCS(tables[0].header, fix=False).celestial.wcs_pix2world(x, y, 0)
        near = SkyCoord(glon, glat, unit="deg", frame="galactic").separation(SkyCoord("0d", "0d", frame="galactic"))
        np.testing.assert_array_equal(seen.counts, tables[0].data[:7, near.deg < 4.8])
    np.testing.assert_array_equal(seen.exposure, seen.exposure[:, :1] * np.ones(seen.region.n_pix))
    radius = [float(psf.containment_radius(0.68)) for psf in seen.psf]
    assert np.all(np.diff(radius) < 0)
    assert 0.05 < radius[-1] < radius[0] < 0.3


def test_interstellar_cube_lies_half_a_pixel_beside_its_middle(data_folder):
    emission = read_intensity_cube(data_folder / "fermi-gc-4gev" / "gll_iem_v07_gc.fits.gz")
    assert emission.geometry.reference_pixel == (39.5, 40.0)
    assert emission.energy[0] == pytest.approx(0.05)
    profile = emission.values[10].mean(axis=1)
    assert abs(emission.geometry.native_lat[profile.argmax()]) < 0.3


def test_isotropic_spectrum_in_gev(data_folder):
    spectrum = read_isotropic_spectrum(data_folder / "fermi-gc-4gev" / "iso_P8R3_CLEAN_V3_PSF3_v1.txt")
    assert spectrum.energy[0] == pytest.approx(0.0337, rel=1e-2)
    total = spectrum.band([1.0, 100.0])[0]
    assert 2e-7 < total < 2e-6  # extragalactic emission and misclassified cosmic rays


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": np.ones((4, 6), dtype=int)}, r"first image: must have three axes.*\(4, 6\)"),
        ({"data": -np.ones((2, 4, 6), dtype=int)}, "counts: must not be negative"),
        ({"data": np.ones((3, 4, 6), dtype=int)}, "EBOUNDS: must have a row for each of 3 images, has 2"),
        ({"table": ebounds(unit="cm")}, "column E_MIN: must have a unit of GeV, got 'cm'"),
        ({"table": ebounds(low=(1e6, 3e6))}, "EBOUNDS: energy bins must join and increase"),
        ({"CTYPE1": "GLON-AIT"}, "CTYPE1, CTYPE2: must be GLON-CAR and GLAT-CAR, got 'GLON-AIT'"),
        ({"CROTA2": 10.0}, "CROTA2: must be 0, got 10"),
        ({"CDELT1": -0.4}, "CDELT1, CDELT2: must be -size and size"),
    ],
)
def test_bad_cubes_are_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_counts_cube(cube(tmp_path / "cube.fits", **changes))


def test_bad_psf_tables_are_named(tmp_path):
    with pytest.raises(InputError, match="table PSF must hold the column Exposure"):
        read_psf_table(psf_file(tmp_path / "a.fits", Exposure=None))
    with pytest.raises(InputError, match=r"values: must have shape \(n_energy, n_theta\) = \(2, 2\)"):
        read_psf_table(psf_file(tmp_path / "b.fits", theta=(0.0, 1.0)))
    with pytest.raises(InputError, match="must hold the table PSF"):
        read_psf_table(cube(tmp_path / "c.fits"))


def test_bins_outside_are_refused(tmp_path):
    where = cube(tmp_path / "cube.fits"), psf_file(tmp_path / "psf.fits")
    with pytest.raises(InputError, match="energy_range: must hold at least one of the bins from 1 to 4 GeV"):
        read_observation(where[0], 1.0, None, exposure=where[1], energy_range=(5.0, 9.0))


def test_intensity_cubes_must_tell_their_energies(tmp_path):
    with pytest.raises(InputError, match="must list its energies in a table ENERGIES"):
        read_intensity_cube(cube(tmp_path / "cube.fits"))


def test_isotropic_files_that_are_none(tmp_path):
    (tmp_path / "words.txt").write_text("these are words")
    with pytest.raises(InputError, match="must be a text file with lines of energy, intensity, error"):
        read_isotropic_spectrum(tmp_path / "words.txt")
    (tmp_path / "one.txt").write_text("1\n2\n")
    with pytest.raises(InputError, match="has 1 column"):
        read_isotropic_spectrum(tmp_path / "one.txt")
    (tmp_path / "text.fits").write_text("no FITS file at all")
    with pytest.raises(InputError, match="must be a whole FITS file"):
        read_counts_cube(tmp_path / "text.fits")


# -- cubes as people have them -----------------------------------------------------------------------------------------


def map_cube(path, law, energies, unit="photon/cm2/s/MeV/sr", size=4.0, polar=True, flip=False, column="Energy"):
    """An all-sky MapCube like gll_iem_v07: rows at both poles, intensity law(lon, lat) E^-2.5 per MeV."""
    n_lat, n_lon = round(180 / size) + polar, round(360 / size)
    lon = -(np.arange(n_lon) - (n_lon - 1) / 2) * size
    lat = (np.arange(n_lat) - (n_lat - 1) / 2) * size
    data = law(*np.meshgrid(lon, lat)) * np.array(energies)[:, None, None] ** -2.5
    cards = {"CRVAL1": 0.0, "CRVAL2": 0.0, "CRPIX1": (n_lon + 1) / 2, "CRPIX2": (n_lat + 1) / 2}
    cards |= {"CDELT1": size if flip else -size, "CDELT2": size, "BUNIT": unit}
    data = data[..., ::-1] if flip else data
    axis = fits.BinTableHDU.from_columns([fits.Column(column, "D", "MeV", array=energies)], name="ENERGIES")
    fits.HDUList([fits.PrimaryHDU(data, header(**cards)), axis]).writeto(path)
    return path


def gentle(lon, lat):
    return 2 + np.sin(np.radians(lat)) + np.cos(np.radians(lon)) * np.cos(np.radians(lat))


@pytest.mark.parametrize("options", [{}, {"polar": False}, {"flip": True}, {"column": "ENERGY"}])
def test_all_sky_map_cubes_in_bins_and_pixels(tmp_path, options):
    path = map_cube(tmp_path / "iem.fits", gentle, np.geomspace(50, 1e6, 20), **options)
    emission, edges = read_intensity_cube(path), np.array([2.0, 5.0, 20.0])
    per_bin = [quad(lambda e: e**-2.5, 1e3 * low, 1e3 * high, epsrel=1e-12)[0] for low, high in pairwise(edges)]
    region = Region(8, np.arange(12 * 64))
    fine = gentle(*Region(128, np.arange(12 * 128**2)).glon_glat()).reshape(region.n_pix, -1).mean(axis=1)
    np.testing.assert_allclose(emission.in_pixels(region, edges), np.outer(per_bin, fine), rtol=5e-3)
    image = ImageGeometry((10, 20), 1.0, (180.0, 0.0))
    sampled = emission.intensity(image, edges).reshape(2, -1)
    np.testing.assert_allclose(sampled, np.outer(per_bin, gentle(*image.glon_glat())), rtol=2e-3)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("MeV-1 cm-2 s-1 sr-1", 1),
        ("GeV-1 cm-2 s-1 sr-1", 1e3),
        ("ph / (MEV m2 s sr)", 1e4),
        ("1 / (cm2 s keV sr)", 1e-3),
    ],
)
def test_map_cubes_in_other_units(tmp_path, unit, factor):
    plain, other = (map_cube(tmp_path / f"{name}.fits", gentle, [1e3, 1e4], u) for name, u in (("a", ""), ("b", unit)))
    ratio = read_intensity_cube(plain).values / read_intensity_cube(other).values
    np.testing.assert_allclose(ratio, factor, rtol=1e-9)
    with pytest.raises(InputError, match=r"c.fits: BUNIT: must have a unit of cm-2 s-1 sr-1 GeV-1, got 'K'"):
        read_intensity_cube(map_cube(tmp_path / "c.fits", gentle, [1e3, 1e4], "K"))


def test_a_map_cube_may_be_dark_in_places(tmp_path):
    path = map_cube(tmp_path / "bubbles.fits", lambda lon, lat: (np.abs(lat) < 30) * 1.0, [1e3, 1e4, 1e5])
    light = read_intensity_cube(path).in_pixels(Region.disc(8, 10.0, 0.0, (0.0, 60.0)), np.array([2.0, 20.0]))
    np.testing.assert_array_equal(light, 0.0)
    with pytest.raises(InputError, match=r"d.fits: values: must be finite and not negative"):
        read_intensity_cube(map_cube(tmp_path / "d.fits", lambda lon, lat: lat, [1e3, 1e4]))


def test_counts_cubes_with_longitude_rising_to_the_right(tmp_path):
    counts = np.arange(48).reshape(2, 4, 6)
    plain = read_counts_cube(cube(tmp_path / "a.fits", data=counts))
    flipped = read_counts_cube(cube(tmp_path / "b.fits", data=counts[..., ::-1], CDELT1=0.5, CRPIX1=3.5))
    np.testing.assert_array_equal(plain[0], flipped[0])
    assert plain[2] == flipped[2]


def test_a_counts_cube_with_exposure_maps(tmp_path):
    """gtexpcube2 beside gtbin: means over the bins at the pixels' middles; no point-spread function."""
    path = cube(tmp_path / "cube.fits")
    columns = [fits.Column("Energy", "D", "MeV", array=[1e3, 2e3, 4e3])]
    axis = fits.BinTableHDU.from_columns(columns, name="ENERGIES")
    cards = {"CRVAL1": 0.0, "CRPIX1": 10.5, "CRPIX2": 10.5, "CDELT1": -0.5}
    data = np.array([1e10, 2e10, 4e10])[:, None, None] * np.ones((20, 20))
    fits.HDUList([fits.PrimaryHDU(data, header(**cards)), axis]).writeto(tmp_path / "exposure.fits")
    seen = read_observation(path, None, None, exposure=tmp_path / "exposure.fits", index=2.0)
    wanted = [
        quad(lambda e: 1e10 * e * e**-2, low, high)[0] / quad(lambda e: e**-2.0, low, high)[0]
        for low, high in ((1, 2), (2, 4))
    ]
    np.testing.assert_allclose(seen.exposure, np.array(wanted)[:, None] * np.ones(24), rtol=1e-9)
    assert seen.psf is None
    cards["CRVAL1"] = 40.0
    fits.HDUList([fits.PrimaryHDU(data, header(**cards)), axis]).writeto(tmp_path / "far.fits")
    with pytest.raises(InputError, match=r"far.fits: exposure: must cover the region, does not in 24 pixels"):
        read_observation(path, None, None, exposure=tmp_path / "far.fits")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"Psf": ("3D", [[5.0, -1, 0], [9.0, 1, 0]])}, "values: must be finite and not negative, got -1"),
        ({"Psf": ("3D", [[5.0, np.nan, 0], [9.0, 1, 0]])}, "values: must be finite and not negative, got nan"),
        ({"Psf": ("3D", [[0.0, 0, 0], [9.0, 1, 0]])}, "values: must not be all zero at an energy"),
        ({"Exposure": ("D", [1e11, np.inf])}, "exposure: must be finite and not negative, got inf"),
        ({"Energy": ("D", [4e3, 1e3])}, "energy: must ascend from above 0"),
        ({"Energy": ("4A", ["a", "b"])}, "table PSF: column Energy: must hold numbers, has the format 4A"),
        ({"theta": (0.0, 2.0, 1.0)}, "theta: must ascend from 0 to 180 degrees at most"),
        ({"theta": (0.0, 2.0, 200.0)}, "theta: must ascend from 0 to 180 degrees at most"),
    ],
)
def test_impossible_psf_tables_are_refused(tmp_path, columns, message):
    with pytest.raises(InputError, match=message):
        read_psf_table(psf_file(tmp_path / "psf.fits", **columns))


def test_psf_tables_in_capitals_and_units(tmp_path):
    names = ("ENERGY", "E", "GeV", [1.0, 4.0]), ("EXPOSURE", "D", "m2 s", [1e7, 2e7])
    columns = [fits.Column(name, form, unit, array=values) for name, form, unit, values in names]
    columns.append(fits.Column("PSF", "3D", "sr-1", array=[[5.0, 1, 0], [9.0, 1, 0]]))
    angle = fits.Column("THETA", "D", "rad", array=np.radians([0.0, 0.5, 2.0]))
    hdus = [fits.BinTableHDU.from_columns(columns, name="PSF"), fits.BinTableHDU.from_columns([angle], name="THETA")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / "gtpsf.fits")
    got, plain = read_psf_table(tmp_path / "gtpsf.fits"), read_psf_table(psf_file(tmp_path / "plain.fits"))
    for name in ("energy", "exposure", "theta", "values"):
        np.testing.assert_allclose(getattr(got, name), getattr(plain, name), rtol=1e-12)

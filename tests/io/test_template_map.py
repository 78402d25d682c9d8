"""Maps of light as people have them: what is read, against values written by hand; what is not stated is refused."""

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from gcesbi.errors import InputError
from gcesbi.io.tables import ebounds
from gcesbi.io.template_map import image_geometry, read_light

NSIDE = 16
EVERYWHERE = np.arange(12 * NSIDE**2)
GLON, GLAT = hp.pix2ang(NSIDE, EVERYWHERE, nest=True, lonlat=True)
EDGES = np.geomspace(2.0, 20.0, 3)
LIGHT = 1.0 + np.cos(np.radians(GLAT)) * np.cos(np.radians(GLON))  # Galactic, NESTED
CAR = {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -1.0, "CDELT2": 1.0}


def table(rows, name="SKYMAP", order="NESTED", frame="G", pixels=None):
    """A HEALPix table as Fermi's tools write it; without order or frame where they are None."""
    columns = [fits.Column(f"CHANNEL{i + 1}", "D", array=row) for i, row in enumerate(rows)]
    if pixels is not None:
        columns = [fits.Column("PIX", "J", array=pixels), *columns]
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    told = {"ORDERING": order, "COORDSYS": frame, "INDXSCHM": "IMPLICIT" if pixels is None else "EXPLICIT"}
    hdu.header.update({"PIXTYPE": "HEALPIX", "NSIDE": NSIDE, **{k: v for k, v in told.items() if v is not None}})
    return hdu


def image(values, header=(), name=None):
    """A plate carrée image of square pixels about the Galactic Centre."""
    rows, columns = np.shape(values)[-2:]
    cards = {**CAR, "CRPIX1": (columns + 1) / 2, "CRPIX2": (rows + 1) / 2, **dict(header)}
    return fits.ImageHDU(values, fits.Header(cards), name=name)


def written(folder, *hdus, name="maps.fits"):
    path = folder / name
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def seen(path, **told):
    return read_light(path, EDGES, **told).in_pixels(NSIDE, EVERYWHERE)


@pytest.mark.parametrize("frame", ["G", "C", "E"])
@pytest.mark.parametrize("order", ["RING", "NESTED"])
def test_orders_and_frames_come_to_the_same(tmp_path, frame, order):
    lon, lat = hp.pix2ang(NSIDE, EVERYWHERE, nest=order == "NESTED", lonlat=True)
    glon, glat = (lon, lat) if frame == "G" else hp.Rotator(coord=[frame, "G"])(lon, lat, lonlat=True)
    values = 1.0 + np.cos(np.radians(glat)) * np.cos(np.radians(glon))
    path = written(tmp_path, table([values], order=order, frame=frame))
    np.testing.assert_allclose(seen(path)[0], LIGHT, atol=1e-12 if frame == "G" else 0.02)
    light = read_light(path, EDGES)
    np.testing.assert_allclose(light.at(GLON, GLAT)[0], LIGHT, atol=1e-12 if frame == "G" else 0.08)
    bare = written(tmp_path, table([values], order=None, frame=None), name="bare.fits")
    for told, message in (
        ({}, "ORDERING: must be declared"),
        ({"order": order}, "COORDSYS: must be declared"),
        ({"frame": frame}, "ORDERING: must be declared"),
    ):
        with pytest.raises(InputError, match=message):
            read_light(bare, EDGES, **told)
    np.testing.assert_array_equal(seen(bare, order=order, frame=frame), seen(path))
    with pytest.raises(InputError, match="order: must be that of the header's ORDERING"):
        read_light(path, EDGES, order="RING" if order == "NESTED" else "NESTED")


def test_a_partial_map_shines_where_it_is(tmp_path):
    known = np.flatnonzero(np.abs(GLAT) < 20)
    path = written(tmp_path, table([LIGHT[known]], pixels=known))
    np.testing.assert_array_equal(seen(path)[0], np.where(np.abs(GLAT) < 20, LIGHT, 0))


def test_arrays_state_their_order(tmp_path):
    np.save(tmp_path / "ring.npy", hp.reorder(LIGHT, n2r=True))
    np.testing.assert_array_equal(seen(tmp_path / "ring.npy", order="ring")[0], LIGHT)
    with pytest.raises(InputError, match=r"order: must be 'ring' or 'nested' for .*ring.npy"):
        read_light(tmp_path / "ring.npy", EDGES)
    equatorial = 1.0 + np.prod(np.cos(np.radians(hp.Rotator(coord=["C", "G"])(GLON, GLAT, lonlat=True))), axis=0)
    np.save(tmp_path / "c.npy", equatorial)
    np.testing.assert_allclose(seen(tmp_path / "c.npy", order="nested", frame="equatorial")[0], LIGHT, atol=0.02)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("frame", ["G", "C"])
def test_images_keep_their_light_whatever_way_they_lie(tmp_path, turned, frame):
    """Light of an image that has a Gaussian blob, in the place where it is, Galactic or equatorial."""
    ra, dec = (0.0, 0.0) if frame == "G" else hp.Rotator(coord=["G", "C"])(0.0, 0.0, lonlat=True)
    away = np.arange(-30, 31.0)
    values = np.exp(-(away[:, None] ** 2 + (away * np.cos(np.radians(dec))) ** 2) / 50)
    header = {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CRVAL1": ra % 360} if frame == "C" else {}
    if frame == "C":
        header["CRPIX2"] = 31 - dec  # the reference lies on the equator, as a straight grid wants it
    if turned:
        header |= {"CDELT1": 1.0, "CDELT2": -1.0, "CRPIX2": 62 - header.get("CRPIX2", 31)}
        values = values[::-1, ::-1]
    found = seen(written(tmp_path, image(values, header)))[0]
    area = np.cos(np.radians(dec + away))[:, None] * np.radians(1.0) ** 2
    assert found.sum() * hp.nside2pixarea(NSIDE) == pytest.approx((values * area).sum(), rel=1e-2)
    middle = np.average(hp.pix2vec(NSIDE, EVERYWHERE, nest=True), axis=1, weights=found)
    assert np.degrees(np.arccos(middle[0] / np.linalg.norm(middle))) < 0.3


def test_source_maps_are_read_by_name(tmp_path):
    """Tables and images of several sources in one file, counts in bins, as gtsrcmaps writes them."""
    steep = np.stack([4 * LIGHT, LIGHT])
    flat = np.ones((2, 12 * NSIDE**2))
    path = written(tmp_path, table(steep, "gll_iem"), table(flat, "iso"), ebounds(EDGES))
    np.testing.assert_array_equal(seen(path, hdu="gll_iem", counts=True), steep)
    np.testing.assert_array_equal(seen(path, hdu="ISO", counts=True), flat)
    with pytest.raises(InputError, match=r"maps.fits: hdu: must name one of the file's maps, has 'GLL_IEM', 'ISO'"):
        read_light(path, EDGES)
    with pytest.raises(
        InputError, match=r"hdu: must be one of .*'GLL_IEM', 'ISO', got 'gll_ism'; the nearest .*GLL_IEM"
    ):
        read_light(path, EDGES, hdu="gll_ism")


def test_source_maps_in_images_have_counts_of_their_pixels(tmp_path):
    """Counts of equal light fall with the cosine of latitude, as pixels do; light per solid angle does not."""
    cosine = np.cos(np.radians(np.arange(-40, 41.0)))[:, None] * np.ones(81)
    path = written(tmp_path, image(np.stack([cosine, 2 * cosine]), name="halo"), ebounds(EDGES), name="car.fits")
    inner = np.flatnonzero((np.abs(GLAT) < 35) & (np.abs(GLON - 360 * (GLON > 180)) < 35))
    found = read_light(path, EDGES, counts=True, hdu="halo").in_pixels(NSIDE, inner)
    np.testing.assert_allclose(found[0], found[0].mean(), rtol=2e-3)
    np.testing.assert_allclose(found[1], 2 * found[0])
    assert np.ptp(read_light(path, EDGES, hdu="halo").in_pixels(NSIDE, inner)[0]) > 0.1


def test_maps_at_the_edges_of_bins_are_integrated(tmp_path):
    """n + 1 maps for n bins, as gtsrcmaps gives them, times a power law; against the integral in closed form."""
    at_edges = np.stack([e**-0.5 * LIGHT for e in EDGES])
    path = written(tmp_path, table(at_edges, "gas"), ebounds(EDGES))
    with pytest.raises(InputError, match=r"maps.fits: index: must be stated for maps of counts at energies"):
        read_light(path, EDGES, counts=True)
    for index in (0.0, 2.0):
        power = 0.5 - index
        wanted = np.diff(EDGES**power) / power * EDGES[0] ** index
        found = seen(path, counts=True, index=index)
        np.testing.assert_allclose(found, wanted[:, None] * LIGHT, rtol=1e-6)


def test_energies_are_the_models(tmp_path):
    fine = np.geomspace(2.0, 20.0, 5)
    rows = np.stack([(i + 1) * LIGHT for i in range(4)])
    path = written(tmp_path, table(rows), ebounds(fine))
    np.testing.assert_allclose(seen(path), [3 * LIGHT, 7 * LIGHT])
    inner = read_light(path, fine[1:4]).in_pixels(NSIDE, EVERYWHERE)
    np.testing.assert_allclose(inner, rows[1:3])
    with pytest.raises(InputError, match=r"energy bins: must be the model's, or parts of them, 2 to 10 GeV in 2"):
        read_light(path, np.geomspace(2.0, 10.0, 3))
    short = written(tmp_path, table(rows[:3]), ebounds(fine), name="short.fits")
    with pytest.raises(InputError, match="EBOUNDS: must have a row for each of 3 maps, has 4"):
        read_light(short, EDGES)


def test_what_is_no_light_is_refused(tmp_path):
    for name, values, message in (
        ("below", -LIGHT, "must be finite and not negative"),
        ("none", np.where(GLAT > 0, np.nan, LIGHT), "must be finite and not negative"),
    ):
        with pytest.raises(InputError, match=message):
            read_light(written(tmp_path, table([values]), name=f"{name}.fits"), EDGES)
    with pytest.raises(InputError, match="hdu: must name one of the file's maps, has none"):
        read_light(written(tmp_path, name="empty.fits"), EDGES)
    coarse = written(tmp_path, table([LIGHT]), name="coarse.fits")
    with pytest.raises(InputError, match="nside must be at least the model's 32, is 16"):
        read_light(coarse, EDGES).in_pixels(32, np.arange(10))
    with pytest.raises(InputError, match="equatorial"):
        image_geometry(
            written(tmp_path, image(np.ones((3, 3)), {"CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR"}), name="c.fits")
        )
    with pytest.raises(InputError, match="holds no image"):
        image_geometry(coarse)

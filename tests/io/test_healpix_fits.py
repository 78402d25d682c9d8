"""HEALPix FITS files: header-declared order, frame and energies; round trips; every rule broken."""

import gzip
import tracemalloc
from itertools import pairwise

import healpy as hp
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.io import read_observation, write_observation
from gcesbi.io.rotation import counts_to_galactic, interpolate_in_galactic, observed_in_galactic
from gcesbi.sky import Observation, Region

NSIDE = 16
N_PIX = 12 * NSIDE**2
EDGES = np.array([2.0, 5.0, 20.0])
RNG = np.random.default_rng(11)
COUNTS = RNG.poisson(4.0, (2, N_PIX))
EXPOSURE = RNG.uniform(1e10, 2e10, (2, N_PIX))


def table(name, maps, header, names=None, fmt="D", unit=None, pixels=None):
    names = names or [f"CHANNEL{i}" for i in range(1, len(maps) + 1)]
    columns = [fits.Column(n, fmt, unit, array=row) for n, row in zip(names, maps, strict=True)]
    if pixels is not None:
        columns.insert(0, fits.Column("PIX", "J", array=pixels))
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header.update({key: value for key, value in header.items() if value is not None})
    return hdu


def ebounds(edges=EDGES, unit="keV", factor=1e6):
    low, high = edges[:-1] * factor, edges[1:] * factor
    return fits.BinTableHDU.from_columns(
        [fits.Column("E_MIN", "D", unit, array=low), fits.Column("E_MAX", "D", unit, array=high)], name="EBOUNDS"
    )


def energies(edges=EDGES):
    return fits.BinTableHDU.from_columns([fits.Column("Energy", "D", "MeV", array=edges * 1e3)], name="ENERGIES")


def header(**changed):
    return {"PIXTYPE": "HEALPIX", "ORDERING": "NESTED", "COORDSYS": "GAL", "NSIDE": NSIDE, **changed}


def write(path, *hdus):
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def sky_file(path, counts=COUNTS, exposure=EXPOSURE, axis=None, **changed):
    hdus = [table("SKYMAP", counts, header(**changed)), ebounds() if axis is None else axis]
    if exposure is not None:
        hdus.append(table("HPXEXPOSURES", exposure, header(), unit="cm2 s"))
    return write(path, *hdus)


def expected(obs, counts=COUNTS, exposure=EXPOSURE):
    np.testing.assert_array_equal(obs.counts, counts[:, obs.region.pixels])
    np.testing.assert_allclose(obs.exposure, exposure[:, obs.region.pixels], rtol=1e-15)
    np.testing.assert_allclose(obs.energy_edges, EDGES, rtol=1e-12)


@pytest.mark.parametrize("axis", [ebounds(), ebounds(unit=None), ebounds(unit="MeV", factor=1e3), energies()])
def test_nested_galactic_file(tmp_path, axis):
    obs = read_observation(sky_file(tmp_path / "sky.fits", axis=axis))
    assert obs.region == Region.disc(NSIDE)
    expected(obs)


def test_ring_order_is_taken_from_the_header(tmp_path):
    ring = COUNTS[:, hp.ring2nest(NSIDE, np.arange(N_PIX))]
    path = sky_file(tmp_path / "sky.fits", counts=ring, ORDERING="RING", COORDSYS="G")
    expected(read_observation(path))


def test_file_written_by_healpy(tmp_path):
    """Rows of 1024 pixels, float32, exposure in a column of the same table, energies given."""
    values = [COUNTS[0].astype(np.float32), EXPOSURE[0].astype(np.float32)]
    hp.write_map(
        tmp_path / "sky.fits", values, nest=True, coord="G", column_names=["COUNTS", "EXPOSURE"], dtype=np.float32
    )
    obs = read_observation(tmp_path / "sky.fits", energy_edges=[2, 20])
    expected_counts = COUNTS[:1, obs.region.pixels]
    np.testing.assert_array_equal(obs.counts, expected_counts)
    np.testing.assert_allclose(obs.exposure, EXPOSURE[:1, obs.region.pixels], rtol=1e-7)


def test_healpy_reads_what_is_written(tmp_path):
    region = Region.disc(NSIDE)
    obs = Observation(COUNTS[:, region.pixels], EXPOSURE[:, region.pixels], EDGES, region)
    write_observation(tmp_path / "sky.fits", obs)
    got = hp.read_map(tmp_path / "sky.fits", field=None, nest=True, partial=True, dtype=np.float64)
    np.testing.assert_array_equal(got[:, region.pixels], obs.counts)
    assert np.all(got[:, region.index < 0] == hp.UNSEEN)


def test_a_map_is_kept_row_by_row_wherever_it_comes_from(tmp_path):
    region = Region.disc(NSIDE)
    maps = (np.asfortranarray(each[:, region.pixels]) for each in (COUNTS, EXPOSURE))
    made = Observation(*maps, EDGES, region)
    write_observation(tmp_path / "sky.fits", made)
    for obs in (made, read_observation(tmp_path / "sky.fits")):
        assert obs.counts.flags.c_contiguous
        assert obs.exposure.flags.c_contiguous


def test_a_header_of_more_axes_than_fits_knows_is_refused_at_once(tmp_path):
    path = write(tmp_path / "sky.fits", table("SKYMAP", COUNTS, header()), table("EXPOSURE", EXPOSURE, header()))
    axes = b"NAXIS   =                    2"
    path.write_bytes(path.read_bytes().replace(axes, b"NAXIS   =           2000000000", 1))
    with pytest.raises(InputError, match="more than 999 axes"):
        read_observation(path, energy_edges=EDGES)


def test_no_altered_bit_of_what_was_written_is_taken_for_data(tmp_path):
    region = Region.disc(NSIDE)
    obs = Observation(COUNTS[:, region.pixels], EXPOSURE[:, region.pixels], EDGES, region)
    path, rng, n_refused = tmp_path / "sky.fits", np.random.default_rng(4), 0
    write_observation(path, obs)
    raw = path.read_bytes()
    for _ in range(100):
        altered = bytearray(raw)
        altered[rng.integers(len(raw))] ^= 1 << rng.integers(8)
        path.write_bytes(altered)
        try:
            read = read_observation(path)
        except InputError:
            n_refused += 1
        else:  # the bit means nothing, such as what fills up a block
            assert (read.counts.tobytes(), read.exposure.tobytes()) == (obs.counts.tobytes(), obs.exposure.tobytes())
    assert n_refused > 50


def test_a_file_of_others_is_held_to_the_sum_of_its_data_but_not_of_its_header(tmp_path):
    path = write(
        tmp_path / "sky.fits", table("SKYMAP", COUNTS, header()), table("EXPOSURE", EXPOSURE, header()), ebounds()
    )
    with fits.open(path) as hdus:
        hdus.writeto(path, checksum=True, overwrite=True)
    fits.setval(path, "OBSERVER", value="me", ext=1)
    read_observation(path)
    with fits.open(path) as hdus:
        start = hdus[1].fileinfo()["datLoc"]
    raw = bytearray(path.read_bytes())
    raw[start + 10] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match="table SKYMAP was altered: its checksum differs"):
        read_observation(path)


def test_explicit_pixels_in_ring_order(tmp_path):
    pixels = Region.disc(NSIDE).pixels[::-1][:100]
    ring = hp.nest2ring(NSIDE, pixels)
    changed = {"ORDERING": "RING", "INDXSCHM": "EXPLICIT"}
    path = write(
        tmp_path / "sky.fits",
        table("SKYMAP", COUNTS[:, pixels], header(**changed), pixels=ring),
        table("EXPOSURE", EXPOSURE, header()),
        ebounds(),
    )
    obs = read_observation(path)
    np.testing.assert_array_equal(obs.region.pixels, np.sort(pixels))
    expected(obs)


def test_unseen_pixels_are_not_observed(tmp_path):
    counts = COUNTS.astype(float)
    pixels = Region.disc(NSIDE).pixels
    counts[0, pixels[3]] = hp.UNSEEN
    exposure = EXPOSURE.copy()
    exposure[1, pixels[7]] = hp.UNSEEN
    obs = read_observation(sky_file(tmp_path / "sky.fits", counts=counts, exposure=exposure))
    np.testing.assert_array_equal(obs.region.pixels, np.delete(pixels, [3, 7]))


def test_exposure_in_a_second_file_at_edges_and_in_other_units(tmp_path):
    at_edges = np.array([1e10, 4e10, 9e10])
    sky_file(tmp_path / "sky.fits", exposure=None)
    maps = at_edges[:, None] * np.ones(N_PIX)
    write(tmp_path / "exposure.fits", table("HPXEXPOSURES", maps / 1e4, header(), unit="m2 s"), energies())
    for index in 2.4, 1.0:
        obs = read_observation(tmp_path / "sky.fits", exposure=tmp_path / "exposure.fits", index=index)
        np.testing.assert_allclose(
            obs.exposure, by_quadrature(EDGES, at_edges, EDGES, index)[:, None] * np.ones(obs.region.n_pix)
        )


def by_quadrature(energy, exposure, edges, index):
    """Mean exposure of every bin for E^-index, exposure a power law between its energies."""

    def value(e):
        return np.exp(np.interp(np.log(e), np.log(energy), np.log(exposure)))

    def integral(f, low, high):
        cuts = [low, *(e for e in energy if low < e < high), high]
        return sum(quad(f, *ends, epsrel=1e-12)[0] for ends in pairwise(cuts))

    return np.array([
        integral(lambda e: value(e) * e**-index, *ends) / integral(lambda e: e**-index, *ends)
        for ends in pairwise(edges)
    ])  # fmt: skip


def test_exposure_at_energies_that_are_not_the_edges(tmp_path):
    nodes, values = np.array([1.0, 3.0, 4.0, 30.0]), np.array([3e10, 5e10, 4e10, 9e10])
    sky_file(tmp_path / "sky.fits", exposure=None)
    maps = values[:, None] * np.ones(N_PIX)
    write(tmp_path / "exposure.fits", table("SKYMAP", maps, header()), energies(nodes))
    obs = read_observation(tmp_path / "sky.fits", exposure=tmp_path / "exposure.fits")
    np.testing.assert_allclose(obs.exposure[:, 0], by_quadrature(nodes, values, EDGES, 2.4), rtol=1e-9)


@pytest.mark.parametrize(
    ("axis", "n_map", "message"),
    [
        (
            energies(np.array([3.0, 5.0, 20.0])),
            3,
            "exposure.fits: exposure: energies must cover the bins of the counts",
        ),
        (
            energies(np.array([0.05, 0.1, 0.2])),
            3,
            "energies must cover the bins of the counts, 2 to 20 GeV, got 0.05 to 0.2",
        ),
        (energies(np.array([2.0, 20.0])), 3, "exposure.fits: ENERGIES: must be 3 for 3 maps of exposure, or 4 edges"),
        (energies(np.array([20.0, 5.0, 2.0])), 3, "exposure.fits: energies: must ascend from above 0 GeV"),
        (
            energies(np.array([2.0, 5.0, 10.0])),
            2,
            "exposure: must have the energy bins of the counts, 2 to 20 in 2 GeV",
        ),
        (
            ebounds(np.array([0.1, 0.3, 1.0])),
            2,
            "exposure: must have the energy bins of the counts, .* got 0.1 to 1 in 2",
        ),
        (energies(np.array([6.0])), 1, "energies must cover the bins of the counts, 2 to 20 GeV, got 6 to 6"),
    ],
)
def test_exposure_of_other_energies_is_refused(tmp_path, axis, n_map, message):
    sky_file(tmp_path / "sky.fits", exposure=None)
    write(tmp_path / "exposure.fits", table("HPXEXPOSURES", np.full((n_map, N_PIX), 1e10), header()), axis)
    with pytest.raises(InputError, match=message):
        read_observation(tmp_path / "sky.fits", exposure=tmp_path / "exposure.fits")


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    n_energy=st.integers(1, 3),
    nside=st.sampled_from([1, 4, 16]),
    ending=st.sampled_from([".fits", ".fits.gz"]),
)
def test_round_trip_is_exact(tmp_path_factory, seed, n_energy, nside, ending):
    rng = np.random.default_rng(seed)
    pixels = np.sort(rng.choice(12 * nside**2, size=rng.integers(1, 12), replace=False))
    shape = (n_energy, len(pixels))
    edges = np.cumsum(rng.uniform(0.1, 3, n_energy + 1))
    counts = rng.integers(0, 2**40, shape)
    obs = Observation(counts, rng.uniform(1e-3, 1e12, shape), edges, Region(nside, pixels))
    path = tmp_path_factory.mktemp("round") / f"sky{ending}"
    write_observation(path, obs)
    back = read_observation(path, None, None)
    assert back.region == obs.region
    for name in ("counts", "exposure", "energy_edges"):
        np.testing.assert_array_equal(getattr(back, name), getattr(obs, name))
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_overwriting_is_asked_for(tmp_path):
    region = Region(1, np.array([0]))
    first, second = (Observation(np.full((1, 1), k), np.ones((1, 1)), np.array([2, 20]), region) for k in (1, 2))
    write_observation(tmp_path / "a.fits", first)
    with pytest.raises(InputError, match=r"path: '.*a.fits' exists, and overwrite is False"):
        write_observation(tmp_path / "a.fits", second)
    assert read_observation(tmp_path / "a.fits", None, None).counts == 1
    write_observation(tmp_path / "a.fits", second, overwrite=True)
    assert read_observation(tmp_path / "a.fits", None, None).counts == 2
    with pytest.raises(InputError, match="path: must lie in an existing folder"):
        write_observation(tmp_path / "none" / "a.fits", second)


def equatorial_sky(glon, glat, nside=NSIDE, n_photons=1000):
    """A source of photons in the equatorial pixel that holds a Galactic position; a smooth exposure."""
    right_ascension, declination = hp.Rotator(coord=["G", "C"])(glon, glat, lonlat=True)
    counts = np.zeros((1, 12 * nside**2), dtype=np.int64)
    counts[0, hp.ang2pix(nside, right_ascension, declination, nest=True, lonlat=True)] = n_photons
    dec = hp.pix2ang(nside, np.arange(12 * nside**2), nest=True, lonlat=True)[1]
    return counts, 1e10 * (2 + np.sin(np.radians(dec)))[None]


def test_equatorial_map_is_rotated(tmp_path):
    """Photons stay whole, keep their number, and lie within a pixel's diameter of where the source is."""
    counts, exposure = equatorial_sky(12.0, 9.0)
    path = write(
        tmp_path / "sky.fits",
        table("SKYMAP", counts, header(COORDSYS="C")),
        table("EXPOSURE", exposure, header(COORDSYS="CEL")),
        ebounds(np.array([2.0, 20.0])),
    )
    obs = read_observation(path, None, None)
    assert obs.counts.sum() == 1000
    lit = np.flatnonzero(obs.counts[0])
    vectors = np.stack(hp.pix2vec(NSIDE, obs.region.pixels[lit], nest=True), axis=1)
    away = np.degrees(np.arccos(vectors @ hp.ang2vec(12.0, 9.0, lonlat=True)))
    assert 1 < len(lit) <= 9
    assert away.max() < 2.5 * np.degrees(hp.nside2resol(NSIDE))
    declination = hp.Rotator(coord=["G", "C"])(*obs.region.glon_glat(), lonlat=True)[1]
    np.testing.assert_allclose(obs.exposure[0], 1e10 * (2 + np.sin(np.radians(declination))), rtol=3e-3)
    again = read_observation(path, None, None)
    assert again.counts.tobytes() == obs.counts.tobytes()
    assert read_observation(path, None, None, seed=1).counts.tobytes() != obs.counts.tobytes()


def test_rotated_poisson_counts_stay_poisson():
    """Mean 10 everywhere: variance/mean of the rotated map is 1 within 5 √(2/n_pix); moving whole pixels gives 3.5."""
    counts = np.random.default_rng(3).poisson(10.0, (1, 12 * 32**2))
    lit, photons = counts_to_galactic(32, np.arange(12 * 32**2), counts, "C", seed=0)
    rotated = np.zeros(12 * 32**2)
    rotated[lit] = photons[0]
    assert rotated.sum() == counts.sum()
    assert rotated.var() / rotated.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / rotated.size))


def test_rotation_from_galactic_to_galactic_is_none():
    counts, pixels = np.random.default_rng(3).poisson(10.0, (2, N_PIX)), np.arange(N_PIX)
    lit, photons = counts_to_galactic(NSIDE, pixels, counts, "G", seed=0)
    np.testing.assert_array_equal(photons, counts[:, lit])
    np.testing.assert_allclose(interpolate_in_galactic(NSIDE, pixels, EXPOSURE, "G", pixels), EXPOSURE, rtol=1e-9)


def test_rotation_of_the_observed_part():
    """A cap about the celestial pole is seen about the pole's Galactic place, less the pixels on its rim."""
    cap = np.zeros(N_PIX, dtype=bool)
    cap[hp.query_disc(NSIDE, [0, 0, 1], np.radians(30), nest=True)] = True
    seen = np.isin(np.arange(N_PIX), observed_in_galactic(NSIDE, np.flatnonzero(cap), "C"))
    pole = hp.ang2vec(*hp.Rotator(coord=["C", "G"])(0.0, 90.0, lonlat=True), lonlat=True)
    away = np.degrees(np.arccos(np.stack(hp.pix2vec(NSIDE, np.arange(N_PIX), nest=True), axis=1) @ pole))
    assert np.all(seen[away < 24])
    assert not seen[away > 31].any()
    assert seen.sum() < cap.sum()


def test_partly_observed_equatorial_map(tmp_path):
    counts, exposure = equatorial_sky(0.0, 0.0)
    pixels = hp.query_disc(NSIDE, hp.ang2vec(266.0, -29.0, lonlat=True), np.radians(20), nest=True)
    path = write(
        tmp_path / "sky.fits",
        table("SKYMAP", counts[:, pixels], header(COORDSYS="C"), pixels=pixels),
        table("EXPOSURE", exposure[:, pixels], header(COORDSYS="C"), pixels=pixels),
        ebounds(np.array([2.0, 20.0])),
    )
    obs = read_observation(path, 90, None)
    away = np.degrees(np.arccos(np.prod(np.cos(np.radians(obs.region.glon_glat())), axis=0)))
    assert 12 < away.max() < 21
    assert obs.counts.sum() == 1000


def broken(name, path):
    if name == "text":
        path.write_text("no FITS")
    elif name == "cut":
        sky_file(path)
        path.write_bytes(path.read_bytes()[:20_000])
    elif name == "no table":
        write(path)
    elif name == "no exposure":
        sky_file(path, exposure=None)
    elif name == "no energies":
        write(path, table("SKYMAP", COUNTS, header()), table("EXPOSURE", EXPOSURE, header()))
    elif name == "exposure unit":
        hdus = table("SKYMAP", COUNTS, header()), table("EXPOSURE", EXPOSURE, header(), unit="kg")
        write(path, *hdus, ebounds())
    elif name == "no column":
        write(path, table("SKYMAP", EXPOSURE, header(), names=["EXPOSURE1", "EXPOSURE2"]), ebounds())
    elif name == "explicit without nside":
        hdus = (
            table("SKYMAP", COUNTS, header(NSIDE=None), pixels=np.arange(N_PIX)),
            table("EXPOSURE", EXPOSURE, header()),
        )
        write(path, *hdus, ebounds())
    elif name == "repeated pixels":
        hdus = table("SKYMAP", COUNTS, header(), pixels=np.arange(N_PIX) // 2), table("EXPOSURE", EXPOSURE, header())
        write(path, *hdus, ebounds())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text", r"sky.fits: must be a whole FITS file"),
        ("cut", r"sky.fits: must be a whole FITS file"),
        ("no table", r"sky.fits: must hold a table with a HEALPix map, has \['PRIMARY'\]"),
        ("no exposure", r"sky.fits: exposure: must be in columns EXPOSURE.. or a table"),
        ("no energies", r"sky.fits: energy_edges: must be given, as the file has no table EBOUNDS or ENERGIES"),
        ("exposure unit", r"sky.fits: column CHANNEL1: must have a unit of cm2 s, got 'kg'"),
        ("no column", r"sky.fits: table SKYMAP must hold a column of map values"),
        ("explicit without nside", r"sky.fits: NSIDE: must be declared in the header of an explicit table, got None"),
        ("repeated pixels", r"sky.fits: column PIX: must hold distinct pixels in \[0, 3072\)"),
    ],
)
def test_broken_files(tmp_path, name, message):
    broken(name, tmp_path / "sky.fits")
    with pytest.raises(InputError, match=message) as caught:
        read_observation(tmp_path / "sky.fits")
    assert "\n" not in str(caught.value)


INSIDE = Region.disc(NSIDE).pixels[7]


def spoilt(value, pixel=5):
    counts = COUNTS.astype(float)
    counts[1, pixel] = value
    return counts


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ORDERING": None}, r"sky.fits: ORDERING: must be declared in the header of table 'SKYMAP' .* got nothing"),
        ({"ORDERING": "SPIRAL"}, r"ORDERING: .* one of \['NEST', 'NESTED', 'RING'\], got SPIRAL"),
        ({"COORDSYS": None}, r"sky.fits: COORDSYS: must be declared in the header of table 'SKYMAP' .* got nothing"),
        ({"NSIDE": 8}, r"sky.fits: NSIDE: must be that of the map's 3072 pixels, 16, got 8"),
        ({"counts": COUNTS[:, :100], "NSIDE": None}, r"sky.fits: map: must have a HEALPix size, .*, got 100 pixels"),
        ({"counts": spoilt(-1)}, r"sky.fits: counts: must not be negative, got -1"),
        ({"counts": spoilt(0.5)}, r"sky.fits: counts: must be whole numbers, got 0.5"),
        ({"counts": spoilt(np.nan, INSIDE)}, r"sky.fits: counts: must be finite, got 1 NaN or infinite"),
        ({"exposure": 0 * EXPOSURE}, r"sky.fits: exposure: must be above zero inside the region"),
        (
            {"axis": ebounds(EDGES[::-1])},
            r"sky.fits: EBOUNDS: energy bins must join and increase|must be positive and incr",
        ),
        ({"axis": ebounds(np.array([2.0, 5.0, 5.0]))}, r"sky.fits: energy_edges: must be positive and increasing"),
        ({"axis": ebounds(np.array([2.0, 5.0]))}, r"sky.fits: energy_edges: must be 3 for 2 maps of counts, got 2"),
        ({"axis": energies(EDGES[:2])}, r"sky.fits: energy_edges: must be 3 for 2 maps of counts, got 2"),
    ],
)
def test_bad_maps(tmp_path, changed, message):
    with pytest.raises(InputError, match=message) as caught:
        read_observation(sky_file(tmp_path / "sky.fits", **changed))
    assert "\n" not in str(caught.value)


def test_gap_between_energy_bins(tmp_path):
    axis = ebounds()
    axis.data["E_MIN"][1] *= 1.1
    with pytest.raises(InputError, match=r"sky.fits: EBOUNDS: energy bins must join"):
        read_observation(sky_file(tmp_path / "sky.fits", axis=axis))


def test_arguments_that_do_not_fit_a_file(tmp_path):
    path = sky_file(tmp_path / "sky.fits")
    with pytest.raises(
        InputError, match=r"mask: must be None, an array or a file for the map '.*sky.fits', got '3fgl'"
    ):
        read_observation(path, mask="3fgl")
    with pytest.raises(InputError, match=r"exposure: must be an existing file or folder, got '.*none.fits'"):
        read_observation(path, exposure=tmp_path / "none.fits")
    with pytest.raises(InputError, match=r"sky.fits: energy_edges: must be positive and increasing"):
        read_observation(path, energy_edges=[3, 2, 1])


def test_the_real_map_survives_the_way_through_fits(data_folder, tmp_path):
    obs = read_observation(data_folder / "fermi-573w", 25, 2, "3fgl")
    write_observation(tmp_path / "real.fits", obs)
    back = read_observation(tmp_path / "real.fits", 25, 2)
    assert back.region == obs.region
    np.testing.assert_array_equal(back.counts, obs.counts)
    np.testing.assert_array_equal(back.exposure, obs.exposure)


# -- maps as people have them ------------------------------------------------------------------------------------------


def car(path, frame="GLON GLAT", n=(180, 360), size=1.0, crval=0.0, energy=EDGES, flip=False, law=None):
    """A gtexpcube2 image: ε = law(lon, lat) × (1, 2, 3, ..) at the energies."""
    lon_name, lat_name = frame.split()
    rows, columns = n
    cards = {"CTYPE1": f"{lon_name.ljust(4, '-')}-CAR", "CTYPE2": f"{lat_name.ljust(4, '-')}-CAR", "CRVAL1": crval}
    cards |= {"CRVAL2": 0.0, "CRPIX1": (columns + 1) / 2, "CRPIX2": (rows + 1) / 2, "CDELT1": -size, "CDELT2": size}
    lon = crval - (np.arange(columns) - (columns - 1) / 2) * size
    lat = (np.arange(rows) - (rows - 1) / 2) * size
    sky = law(*np.meshgrid(lon, lat))
    data = (1 + np.arange(len(energy)))[:, None, None] * sky
    if flip:
        data, cards["CDELT1"] = data[..., ::-1], size
    header = fits.Header(list(cards.items()))
    fits.HDUList([fits.PrimaryHDU(data.astype(np.float32), header), energies(energy)]).writeto(path)
    return path


def smooth_law(lon, lat):
    return 1e10 * (3 + np.sin(np.radians(lat)) + np.cos(np.radians(lon)) * np.cos(np.radians(lat)))


@pytest.mark.parametrize("options", [{}, {"crval": 180.0}, {"flip": True}, {"n": (60, 70)}, {"n": (181, 360)}])
def test_plate_carree_exposure(tmp_path, options):
    sky_file(tmp_path / "sky.fits", exposure=None)
    car(tmp_path / "exposure.fits", law=smooth_law, **options)
    obs = read_observation(tmp_path / "sky.fits", exposure=tmp_path / "exposure.fits")
    assert obs.region == Region.disc(NSIDE)
    shape = by_quadrature(EDGES, np.array([1.0, 2.0, 3.0]), EDGES, 2.4)[:, None]
    np.testing.assert_allclose(obs.exposure, shape * smooth_law(*obs.region.glon_glat()), rtol=2e-4)


def test_equatorial_plate_carree_exposure(tmp_path):
    sky_file(tmp_path / "sky.fits", exposure=None)
    car(tmp_path / "exposure.fits", "RA DEC", law=smooth_law)
    obs = read_observation(tmp_path / "sky.fits", exposure=tmp_path / "exposure.fits")
    towards = SkyCoord(*obs.region.glon_glat(), unit="deg", frame="galactic").icrs
    shape = by_quadrature(EDGES, np.array([1.0, 2.0, 3.0]), EDGES, 2.4)[:, None]
    np.testing.assert_allclose(obs.exposure, shape * smooth_law(towards.ra.deg, towards.dec.deg), rtol=2e-4)


def test_a_small_exposure_image_leaves_out_what_it_does_not_cover(tmp_path):
    sky_file(tmp_path / "sky.fits", exposure=None)
    car(tmp_path / "exposure.fits", n=(20, 20), law=smooth_law)
    obs = read_observation(tmp_path / "sky.fits", exposure=tmp_path / "exposure.fits")
    glon, glat = obs.region.glon_glat()
    assert np.abs(glon).max() <= 10
    assert np.abs(glat).max() <= 10
    car(tmp_path / "far.fits", n=(20, 20), crval=120.0, law=smooth_law)
    with pytest.raises(InputError, match=r"far.fits: exposure: must be known in the region, is in none of its pixels"):
        read_observation(tmp_path / "sky.fits", exposure=tmp_path / "far.fits")


def test_silent_headers_are_stated_by_arguments(tmp_path):
    ring = COUNTS[:, hp.ring2nest(NSIDE, np.arange(N_PIX))]
    exposure = table("EXPOSURE", EXPOSURE, header(COORDSYS=None, COORD="G"))
    silent = table("SKYMAP", ring, header(ORDERING=None, COORDSYS=None))
    path = write(tmp_path / "sky.fits", silent, exposure, ebounds())
    expected(read_observation(path, order="ring", frame="galactic"))
    with pytest.raises(InputError, match=r"ORDERING: must be declared .* the argument order states it"):
        read_observation(path, frame="G")
    with pytest.raises(InputError, match=r"COORDSYS: must be declared .* the argument frame states it"):
        read_observation(path, order="RING")
    with pytest.raises(InputError, match=r"frame: must be one of .*, got 'altaz'"):
        read_observation(path, order="RING", frame="altaz")
    told = sky_file(tmp_path / "told.fits")
    with pytest.raises(InputError, match="order: must be that of the header's ORDERING, NESTED, or None, got RING"):
        read_observation(told, order="ring")
    with pytest.raises(InputError, match="frame: must be that of the header's COORDSYS, GAL, or None, got C"):
        read_observation(told, frame="equatorial")


@pytest.mark.parametrize("name", ["PIX", "PIXEL", "IPIX", "ipix"])
def test_a_pixel_column_is_never_counts(tmp_path, name):
    pixels = Region.disc(NSIDE).pixels
    hdu = table(
        "SKYMAP", [pixels, *COUNTS[:, pixels]], header(INDXSCHM="EXPLICIT"), [name, "CHANNEL1", "CHANNEL2"], "J"
    )
    path = write(tmp_path / "sky.fits", hdu, table("EXPOSURE", EXPOSURE, header()), ebounds())
    expected(read_observation(path))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"INDXSCHM": "SPARSE"}, "INDXSCHM: must be IMPLICIT or EXPLICIT in table 'SKYMAP', got SPARSE"),
        ({"INDXSCHM": "EXPLICIT"}, "INDXSCHM: is EXPLICIT, so a column must be one of"),
        ({"PIXTYPE": "CAR"}, "PIXTYPE: must be HEALPIX in table 'SKYMAP', got CAR"),
        ({"NSIDE": "many"}, "NSIDE: must be a power of two in the header of table 'SKYMAP', got 'many'"),
        ({"NSIDE": True}, "NSIDE: must be a power of two in the header"),
        ({"NSIDE": 12}, "NSIDE: must be a power of two in the header of table 'SKYMAP', got 12"),
        ({"ORDER": 5}, "ORDER: must be log2 of NSIDE = 16, got 5"),
        ({"COORDSYS": "ALTAZ"}, r"COORDSYS: must be declared .* got ALTAZ"),
    ],
)
def test_contradicting_headers(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        read_observation(sky_file(tmp_path / "sky.fits", **changed))


@pytest.mark.parametrize("nside", ["16", 16.0, " 16 "])
def test_nside_in_other_forms(tmp_path, nside):
    expected(read_observation(sky_file(tmp_path / "sky.fits", NSIDE=nside, ORDER=4)))


def test_an_implicit_table_with_pixel_numbers_counts_them_all(tmp_path):
    shuffled = table("SKYMAP", COUNTS, header(INDXSCHM="IMPLICIT"), pixels=np.arange(N_PIX)[::-1])
    path = write(tmp_path / "sky.fits", shuffled, table("EXPOSURE", EXPOSURE, header()), ebounds())
    with pytest.raises(InputError, match="INDXSCHM: is IMPLICIT, so column PIX must count the pixels from 0 to 3071"):
        read_observation(path)


def test_missing_pixels_are_not_negative_counts(tmp_path):
    pixels = Region.disc(NSIDE).pixels
    counts = COUNTS.copy()
    counts[0, pixels[3]], counts[1, pixels[9]] = -999, -32768
    columns = [fits.Column(f"CHANNEL{i}", "J", null=-32768, array=row) for i, row in enumerate(counts, 1)]
    hdu = fits.BinTableHDU.from_columns(columns, name="SKYMAP")
    hdu.header.update(header(BAD_DATA=-999.0))
    path = write(tmp_path / "sky.fits", hdu, table("EXPOSURE", EXPOSURE, header()), ebounds())
    obs = read_observation(path)
    np.testing.assert_array_equal(obs.region.pixels, np.delete(pixels, [3, 9]))
    expected(obs)


def test_nan_outside_the_region_is_no_matter(tmp_path):
    expected(read_observation(sky_file(tmp_path / "sky.fits", counts=spoilt(np.nan))))


@pytest.mark.parametrize("unit", ["KEV", "kev", "MEV", "MeV", "GEV"])
def test_units_and_columns_in_any_case(tmp_path, unit):
    factor = {"KEV": 1e6, "MEV": 1e3, "GEV": 1.0}[unit.upper()]
    columns = [fits.Column(n, "D", unit, array=e * factor) for n, e in (("e_min", EDGES[:-1]), ("e_max", EDGES[1:]))]
    axis = fits.BinTableHDU.from_columns(columns, name="EBOUNDS")
    expected(read_observation(sky_file(tmp_path / "sky.fits", axis=axis)))


def test_few_rows_of_a_fine_map_cost_little(tmp_path):
    """Nside 8192 has 805 million pixels; twelve of them are read in less than 64 MiB."""
    nside = 8192
    pixels = np.sort(hp.ang2pix(nside, np.linspace(1, 12, 12), 5.0, nest=True, lonlat=True))
    for frame in "G", "C":
        hdus = [
            table(name, values, header(NSIDE=nside, INDXSCHM="EXPLICIT", COORDSYS=frame), pixels=pixels)
            for name, values in (("SKYMAP", np.ones((2, 12))), ("EXPOSURE", np.full((2, 12), 1e10)))
        ]
        path = write(tmp_path / f"{frame}.fits", *hdus, ebounds())
        tracemalloc.start()
        if frame == "G":
            np.testing.assert_array_equal(read_observation(path).region.pixels, pixels)
        else:
            with pytest.raises(InputError, match="must leave at least one pixel"):
                read_observation(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
        tracemalloc.stop()


def test_a_packed_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = sky_file(tmp_path / "sky.fits.gz")
    expected(read_observation(path))
    monkeypatch.setattr("gcesbi.io.reading.MAX_UNPACKED", 2**16)
    with pytest.raises(InputError, match=r"sky.fits.gz: must unpack to at most 0 MiB.*unpack it with gunzip"):
        read_observation(path)


def test_a_bomb_is_refused_before_it_is_kept(tmp_path):
    with gzip.open(tmp_path / "bomb.fits.gz", "wb", compresslevel=1) as file:
        file.write(b"SIMPLE  =                    T".ljust(2880))
        for _ in range(150):
            file.write(bytes(2**22))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bomb.fits.gz: must unpack to at most 512 MiB"):
        read_observation(tmp_path / "bomb.fits.gz")
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


@pytest.mark.parametrize(("key", "value"), [("NAXIS2", 10**12), ("NAXIS1", 10**9), ("NAXIS2", -5), ("PCOUNT", 10**15)])
def test_sizes_that_the_file_has_not(tmp_path, key, value):
    path = sky_file(tmp_path / "sky.fits")
    raw = path.read_bytes()
    at = raw.index(key.encode(), 2880)
    card = f"{key:8}= {value:20d}".ljust(80).encode()
    path.write_bytes(raw[:at] + card + raw[at + 80 :])
    with pytest.raises(InputError, match=r"sky.fits: must be a whole FITS file"):
        read_observation(path)


def test_gammapy_axes_are_read(tmp_path):
    """Bins in a table *_BANDS with columns E_MIN and E_MAX beside their middles."""
    columns = [fits.Column("CHANNEL", "J", array=[0, 1]), fits.Column("ENERGY", "D", "MeV", array=[3162.0, 10000.0])]
    columns += [fits.Column(n, "D", "MeV", array=e * 1e3) for n, e in (("E_MIN", EDGES[:-1]), ("E_MAX", EDGES[1:]))]
    axis = fits.BinTableHDU.from_columns(columns, name="SKYMAP_BANDS")
    expected(read_observation(sky_file(tmp_path / "sky.fits", axis=axis)))


def test_centre_and_energy_range_of_a_map(tmp_path):
    path = sky_file(tmp_path / "sky.fits")
    obs = read_observation(path, 600 * u.arcmin, 0 * u.deg, centre=SkyCoord(40, 20, unit="deg", frame="galactic"))
    assert obs.region == Region.disc(NSIDE, 10.0, 0.0, (40.0, 20.0))
    one = read_observation(path, energy_range=[5, 20] * u.GeV, event_type="PSF3")
    np.testing.assert_array_equal(one.counts, read_observation(path).counts[1:])
    assert one.event_type == "PSF3"
    with pytest.raises(InputError, match="energy_range: must hold at least one of the bins"):
        read_observation(path, energy_range=(6, 7))
    with pytest.raises(InputError, match=r"energy_range: must be \(low, high\) in GeV"):
        read_observation(path, energy_range=(1, 2, 3))


def test_energies_in_the_counts_own_file_are_those_of_its_exposure(tmp_path):
    """Maps at other energies than the counts' edges are integrated, or refused where they do not cover the bins."""
    maps = np.array([1e10, 2e10, 4e10])[:, None] * np.ones(N_PIX)
    for i, (nodes, rule) in enumerate(
        [([1.0, 10.0, 100.0], None), ([3.0, 10.0, 100.0], "must cover the bins"), ([1.0, 2, 3, 4, 5], "ENERGIES: must")]
    ):
        path = tmp_path / f"{i}.fits"
        exposure = table("HPXEXPOSURES", maps, header(), unit="cm2 s")
        write(path, table("SKYMAP", COUNTS, header()), ebounds(), exposure, energies(np.array(nodes)))
        if rule is None:
            obs = read_observation(path)
            wanted = by_quadrature(np.array(nodes), maps[:, 0], EDGES, 2.4)
            np.testing.assert_allclose(obs.exposure, wanted[:, None] * np.ones(obs.region.n_pix))
        else:
            with pytest.raises(InputError, match=rule):
                read_observation(path)

"""The NumPy folder layout: reading, writing, and every rule broken."""

import healpy as hp
import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.io import degrade, read_mask, read_observation, read_template, write_observation
from gcesbi.sky import Observation, Region

NSIDE = 16
N_PIX = 12 * NSIDE**2


def make_folder(folder, n_energy=None, **changed):
    """A folder of small RING maps; `changed` files replace or remove (None) the plain ones."""
    rng = np.random.default_rng(0)
    shape = (N_PIX,) if n_energy is None else (n_energy, N_PIX)
    mask = np.zeros(N_PIX, dtype=np.int64)
    mask[hp.query_disc(NSIDE, hp.ang2vec(10.0, 8.0, lonlat=True), np.radians(6))] = 1
    files = {
        "fermidata_counts": rng.poisson(3.0, shape).astype(float),
        "fermidata_exposure": rng.uniform(1e10, 2e10, shape),
        "fermidata_pscmask_3fgl": mask,
        "template_iso": rng.uniform(0, 1, shape),
        **changed,
    }
    folder.mkdir(exist_ok=True)
    for name, values in files.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    return files


def test_observation_is_the_ring_map_in_nested_order(tmp_path):
    files = make_folder(tmp_path / "sky")
    obs = read_observation(tmp_path / "sky", 25, 2, "3fgl")
    glon, glat = obs.region.glon_glat()
    ring = hp.ang2pix(NSIDE, glon, glat, lonlat=True)
    np.testing.assert_array_equal(obs.counts[0], files["fermidata_counts"][ring])
    np.testing.assert_array_equal(obs.exposure[0], files["fermidata_exposure"][ring])
    np.testing.assert_array_equal(obs.energy_edges, [2, 20])
    assert np.all(files["fermidata_pscmask_3fgl"][ring] == 0)
    assert np.all(np.diff(obs.region.pixels) > 0)
    assert np.all((np.abs(glat) > 2) & (np.cos(np.radians(glat)) * np.cos(np.radians(glon)) > np.cos(np.radians(25))))
    unmasked = read_observation(tmp_path / "sky")
    assert unmasked.region == Region.disc(NSIDE)
    assert unmasked.region.n_pix > obs.region.n_pix


def test_a_mask_array_states_its_order(tmp_path):
    files = make_folder(tmp_path / "sky")
    by_name = read_observation(tmp_path / "sky", mask="3fgl")
    nested = hp.reorder(files["fermidata_pscmask_3fgl"].astype(float), r2n=True).astype(bool)
    for order, mask in ("nested", nested), ("ring", files["fermidata_pscmask_3fgl"].astype(bool)):
        assert read_observation(tmp_path / "sky", mask=mask, mask_order=order).region == by_name.region
    with pytest.raises(
        InputError, match="mask_order: must be 'ring' or 'nested' for mask, an array over the whole sky"
    ):
        read_observation(tmp_path / "sky", mask=nested)
    np.save(tmp_path / "mask.npy", nested)
    assert read_observation(tmp_path / "sky", mask=tmp_path / "mask.npy", mask_order="nest").region == by_name.region
    hp.write_map(tmp_path / "mask.fits", nested, nest=True, coord="G", dtype=np.int32)
    assert read_observation(tmp_path / "sky", mask=str(tmp_path / "mask.fits")).region == by_name.region
    with pytest.raises(InputError, match=r"mask_order: must be one of .*, got 'spiral'"):
        read_observation(tmp_path / "sky", mask=nested, mask_order="spiral")
    np.testing.assert_array_equal(read_mask(tmp_path / "sky", "3fgl"), nested)


def test_several_energies(tmp_path):
    make_folder(tmp_path / "sky", 3)
    obs = read_observation(tmp_path / "sky", energy_edges=[1, 2, 4, 8])
    assert obs.counts.shape == (3, obs.region.n_pix)
    np.testing.assert_array_equal(obs.energy_edges, [1, 2, 4, 8])


def test_degrading_sums_counts_and_masks_what_is_partly_masked(tmp_path):
    files = make_folder(tmp_path / "sky")
    obs = read_observation(tmp_path / "sky", mask="3fgl", nside=8)
    assert obs.region.nside == 8
    for index in (0, obs.region.n_pix // 2):
        children = hp.nest2ring(NSIDE, 4 * obs.region.pixels[index] + np.arange(4))
        assert obs.counts[0, index] == files["fermidata_counts"][children].sum()
        assert obs.exposure[0, index] == pytest.approx(files["fermidata_exposure"][children].mean())
    children = hp.nest2ring(NSIDE, (4 * obs.region.pixels[:, None] + np.arange(4)).ravel())
    assert not files["fermidata_pscmask_3fgl"][children].any()
    unmasked = set(read_observation(tmp_path / "sky", nside=8).region.pixels)
    for pixel in unmasked - set(obs.region.pixels):
        assert files["fermidata_pscmask_3fgl"][hp.nest2ring(NSIDE, 4 * pixel + np.arange(4))].any()
    assert unmasked - set(obs.region.pixels)


def test_degrade_keeps_sums_and_means():
    values = np.arange(2 * N_PIX, dtype=float).reshape(2, N_PIX)
    np.testing.assert_array_equal(degrade(values, 4).sum(axis=1), values.sum(axis=1))
    np.testing.assert_allclose(degrade(values, 4, "mean").mean(axis=1), values.mean(axis=1))
    np.testing.assert_array_equal(degrade(values, NSIDE), values)
    with pytest.raises(InputError, match="nside: must be at most the map's own, 16, got 32"):
        degrade(values, 32)
    with pytest.raises(InputError, match="how: must be 'sum', 'mean' or 'any', got 'median'"):
        degrade(values, 4, "median")


def test_template_is_returned_nested(tmp_path):
    files = make_folder(tmp_path / "sky")
    np.testing.assert_array_equal(
        read_template(tmp_path / "sky", "iso", NSIDE), hp.reorder(files["template_iso"], r2n=True)
    )


def test_round_trip(tmp_path):
    rng = np.random.default_rng(5)
    region = Region(NSIDE, np.array([0, 3, 700, N_PIX - 1]))
    obs = Observation(rng.poisson(50, (2, 4)), rng.uniform(1e10, 2e10, (2, 4)), np.array([0.1, 1 / 3, 7.7]), region)
    write_observation(tmp_path / "out", obs)
    back = read_observation(tmp_path / "out", None, None)
    assert back.region == region
    for name in ("counts", "exposure", "energy_edges"):
        np.testing.assert_array_equal(getattr(back, name), getattr(obs, name))
    with pytest.raises(InputError, match=r"fermidata_counts.npy' exists, and overwrite is False"):
        write_observation(tmp_path / "out", obs)
    (tmp_path / "out" / "template_iso.npy").write_bytes(b"kept")
    more = Observation(obs.counts + 1, obs.exposure, obs.energy_edges, region)
    write_observation(tmp_path / "out", more, overwrite=True)
    np.testing.assert_array_equal(read_observation(tmp_path / "out", None, None).counts, more.counts)
    assert (tmp_path / "out" / "template_iso.npy").read_bytes() == b"kept"
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_writing_needs_a_place(tmp_path):
    obs = Observation(np.ones((1, 1)), np.ones((1, 1)), np.array([2, 20]), Region(1, np.array([0])))
    with pytest.raises(InputError, match="path: must lie in an existing folder"):
        write_observation(tmp_path / "none" / "out", obs)
    with pytest.raises(InputError, match="path: must be a path, got Observation"):
        write_observation(obs, tmp_path / "out")
    with pytest.raises(InputError, match="observation: must be an Observation, got str"):
        write_observation(tmp_path / "more", "obs")
    with pytest.raises(InputError, match=r"path: must end in one of .*, got '.*out.txt'"):
        write_observation(tmp_path / "out.txt", obs)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="path: must be a folder, got the file"):
        write_observation(tmp_path / "file", obs)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(file, values, allow_pickle):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", fail)
    obs = Observation(np.ones((1, 1)), np.ones((1, 1)), np.array([2, 20]), Region(1, np.array([0])))
    with pytest.raises(InputError, match=r"out: cannot be written \(disk full\); what was written before is whole"):
        write_observation(tmp_path / "out", obs)
    assert list(tmp_path.iterdir()) == []


def spoilt(value, dtype=float):
    counts = np.ones(N_PIX, dtype=dtype)
    counts[5] = value
    return counts


GC_EXPOSURE = np.where(np.arange(N_PIX) == hp.ang2pix(NSIDE, 0.0, 10.0, lonlat=True), 0.0, 1e10)


@pytest.mark.parametrize(
    ("changed", "arguments", "message"),
    [
        ({"fermidata_counts": None}, {}, r"file: must be an existing file or folder, got '.*fermidata_counts.npy'"),
        ({"fermidata_exposure": None}, {}, r"file: must be an existing file or folder, got '.*fermidata_exposure.npy'"),
        (
            {"fermidata_counts": np.ones(1000)},
            {},
            r"fermidata_counts.npy: must have a HEALPix size, .* got 1000 pixels",
        ),
        ({"fermidata_counts": np.ones(12 * 81)}, {}, r"fermidata_counts.npy: must have a HEALPix size, .* got 972"),
        ({"fermidata_counts": np.ones((1, 1, 12))}, {}, r"fermidata_counts.npy: must have shape .*, got \(1, 1, 12\)"),
        ({"fermidata_counts": spoilt(-1)}, {}, r"fermidata_counts.npy: counts: must not be negative, got -1"),
        ({"fermidata_counts": spoilt(0.5)}, {}, r"fermidata_counts.npy: counts: must be whole numbers, got 0.5"),
        (
            {"fermidata_counts": spoilt(np.nan)},
            {"radius": None},
            r"fermidata_counts.npy: counts: must be finite, got 1 NaN",
        ),
        ({"fermidata_counts": np.array(["a"] * 12)}, {}, r"fermidata_counts.npy: must be a NumPy file of plain real"),
        (
            {"fermidata_counts": np.array([{}] * 12)},
            {},
            r"fermidata_counts.npy: must be a NumPy file of plain numbers .*Python objects",
        ),
        (
            {"fermidata_exposure": GC_EXPOSURE},
            {},
            r"fermidata_exposure.npy: exposure: must be above zero inside the region",
        ),
        ({"fermidata_exposure": np.full(N_PIX, np.nan)}, {}, r"fermidata_exposure.npy: exposure: must be above zero"),
        (
            {"fermidata_exposure": np.ones(12)},
            {},
            r"fermidata_exposure.npy: exposure: must have the nside of the counts, 16",
        ),
        (
            {"fermidata_exposure": np.ones((3, N_PIX))},
            {},
            r"fermidata_exposure.npy: exposure: must hold 1 map, .*got 3",
        ),
        (
            {"fermidata_energy_edges": np.array([2.0, 1.0])},
            {},
            r"energy_edges.npy: energy_edges: must be positive and incr",
        ),
        ({"fermidata_pscmask_3fgl": np.full(N_PIX, 2)}, {"mask": "3fgl"}, r"pscmask_3fgl.npy: must hold only 0 and 1"),
        ({}, {"mask": "5fgl"}, r"mask: must be one of those in '.*sky', \['3fgl'\], got '5fgl'"),
        ({}, {"mask": np.zeros(13)}, "mask: must have a HEALPix size"),
        ({}, {"mask": np.zeros((1, 12))}, "mask: must have shape"),
        ({}, {"mask": np.zeros(12), "mask_order": "ring"}, "mask: must have nside 16, as the maps, got 1"),
        (
            {},
            {"mask": np.ones(N_PIX), "mask_order": "ring"},
            r"counts.npy: radius, band, mask: must leave at least one pixel.*3072 pixels masked",
        ),
        (
            {},
            {"radius": 5, "band": 10},
            r"must leave at least one pixel, none is left of 3072 with radius 5 deg, band 10",
        ),
        ({}, {"radius": 0}, r"radius: must lie in \(0, 180\] degrees, got 0"),
        ({}, {"band": -1}, r"band: must lie in \[0, 90\) degrees, got -1"),
        ({}, {"energy_edges": [20, 2]}, r"counts.npy: energy_edges: must be positive and increasing"),
        ({}, {"energy_edges": [1, 2, 3]}, "energy_edges: must be 2 for 1 maps of counts, got 3"),
        ({}, {"nside": 32}, "nside: must be at most the map's own, 16, got 32"),
        ({}, {"exposure": "other.fits"}, "exposure: must be None for the folder"),
        ({}, {"order": "nested"}, "order: must be None for the folder, which has its own, .*, got 'nested'"),
        ({}, {"mask": np.zeros(12, "U1"), "mask_order": "ring"}, "mask: must hold only 0 and 1"),
    ],
)
def test_bad_input(tmp_path, changed, arguments, message):
    make_folder(tmp_path / "sky", **changed)
    with pytest.raises(InputError, match=message) as caught:
        read_observation(tmp_path / "sky", **arguments)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_archive(tmp_path):
    with pytest.raises(InputError, match=r"path: must be an existing file or folder, got '.*none'"):
        read_observation(tmp_path / "none")
    make_folder(tmp_path / "sky")
    with (tmp_path / "sky" / "fermidata_counts.npy").open("wb") as file:
        np.savez(file, counts=np.ones(12))
    with pytest.raises(
        InputError, match=r"fermidata_counts.npy: must be a NumPy file of plain real numbers, got an archive"
    ):
        read_observation(tmp_path / "sky")
    (tmp_path / "sky" / "fermidata_counts.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"fermidata_counts.npy: must be a NumPy file of plain numbers"):
        read_observation(tmp_path / "sky")


@pytest.mark.parametrize(
    ("values", "nside", "message"),
    [
        (None, None, r"template: must be one of those in '.*sky', \['iso'\], got 'bub'"),
        (np.ones(100), None, r"template_bub.npy: must have a HEALPix size"),
        (np.ones(12 * 8**2), NSIDE, r"template_bub.npy: nside: must be that of the counts, 16, got 8"),
        (spoilt(-0.1), NSIDE, r"template_bub.npy: must be finite and not negative, got -0.1 \(1 such\)"),
        (spoilt(np.nan), NSIDE, r"template_bub.npy: must be finite and not negative, got nan"),
    ],
)
def test_bad_templates(tmp_path, values, nside, message):
    make_folder(tmp_path / "sky", template_bub=values)
    with pytest.raises(InputError, match=message):
        read_template(tmp_path / "sky", "bub", nside)


def test_the_real_map(data_folder):
    obs = read_observation(data_folder / "fermi-573w", 25, 2, "3fgl")
    assert (obs.region.n_pix, obs.counts.sum()) == (7749, 161694)
    assert obs.exposure.mean() == pytest.approx(9.1e10, rel=0.01)
    assert obs.region.solid_angle == pytest.approx(0.495, abs=0.001)
    pixels = obs.region.pixels
    for name in ("Opi", "nfw_g1p2"):
        assert read_template(data_folder / "fermi-573w", name, 128)[pixels].min() > 0


def test_the_real_template_norm(data_folder):
    """The folder's templates have unit mean within 30° at |b| > 2°: RING to NESTED went right."""
    inside = Region.disc(128, 30.0, 2.0).pixels
    template = read_template(data_folder / "fermi-573w", "nfw_g1p2", 128)
    assert template[inside].mean() == pytest.approx(1, abs=2e-3)

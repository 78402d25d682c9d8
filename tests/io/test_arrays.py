"""NumPy maps over the whole sky, and the small file that lists them: the order is stated."""

import healpy as hp
import numpy as np
import pytest
from astropy import units as u

from gcesbi.errors import InputError
from gcesbi.io import read_observation
from gcesbi.sky import Region

NSIDE = 16
N_PIX = 12 * NSIDE**2
EDGES = [2.0, 5.0, 20.0]
RNG = np.random.default_rng(3)
COUNTS = RNG.poisson(4.0, (2, N_PIX))  # NESTED
EXPOSURE = RNG.uniform(1e10, 2e10, (2, N_PIX))
TO_RING = hp.ring2nest(NSIDE, np.arange(N_PIX))


def expected(obs):
    assert obs.region == Region.disc(NSIDE)
    np.testing.assert_array_equal(obs.counts, COUNTS[:, obs.region.pixels])
    np.testing.assert_allclose(obs.exposure, EXPOSURE[:, obs.region.pixels], rtol=1e-12)


@pytest.mark.parametrize(("order", "places"), [("ring", TO_RING), ("NESTED", slice(None)), ("nest", slice(None))])
def test_arrays_in_a_stated_order(tmp_path, order, places):
    counts, exposure = COUNTS[:, places], EXPOSURE[:, places]
    expected(read_observation(counts, exposure=exposure, order=order, energy_edges=EDGES))
    quantity = exposure / 1e4 * u.m**2 * u.s
    expected(read_observation(counts, exposure=quantity, order=order, energy_edges=EDGES * u.GeV))
    np.save(tmp_path / "counts.npy", counts)
    np.save(tmp_path / "exposure.npy", exposure)
    where = tmp_path / "counts.npy"
    expected(read_observation(where, exposure=tmp_path / "exposure.npy", order=order, energy_edges=EDGES))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"order": None}, "order: must be 'ring' or 'nested' for counts, an array over the whole sky, got None"),
        ({"order": "spiral"}, r"order: must be one of \['NEST', 'NESTED', 'RING'\], in capitals or not, got 'spiral'"),
        ({"energy_edges": None}, "counts: energy_edges: must be given, as an array has none"),
        ({"exposure": None}, "counts: exposure: must be given, an array or a file"),
        ({"exposure": EXPOSURE[:, :100]}, "exposure: must have a HEALPix size"),
        ({"exposure": EXPOSURE * u.kg}, "exposure: must have a unit of cm2 s, got 'kg'"),
        ({"path": COUNTS[None]}, r"counts: must be numbers of shape \(12 nside²,\) or"),
        ({"path": COUNTS - 5}, "counts: must not be negative"),
        ({"mask": "3fgl"}, "mask: must be None, an array or a file for the map"),
        ({"path": COUNTS * u.s}, "counts: must be in photons or counts, or without a unit, got 's'"),
        ({"path": np.ma.masked_less(COUNTS, 1)}, "counts: must be an array without masked values, has"),
        ({"exposure": np.ma.masked_less(EXPOSURE, 1.1e10)}, "exposure: must be an array without masked values, has"),
        ({"mask": [[1, [2]]]}, r"mask: must be an array, with rows of one length, got \[\[1, \[2\]\]\]"),
    ],
)
def test_what_an_array_does_not_state_is_asked_for(changes, message):
    given = {"path": COUNTS, "exposure": EXPOSURE, "order": "nested", "energy_edges": EDGES} | changes
    with pytest.raises(InputError, match=message) as caught:
        read_observation(given.pop("path"), **given)
    assert "\n" not in str(caught.value)


def listed(folder, text=None, **more):
    np.save(folder / "photons.npy", COUNTS[:, TO_RING])
    np.save(folder / "area.npy", EXPOSURE[:, TO_RING])
    np.save(folder / "bright.npy", np.arange(N_PIX) < N_PIX // 2)
    lines = {"order": '"ring"', "counts": '"photons.npy"', "exposure": '"area.npy"', "energy_edges": str(EDGES)} | more
    told = "\n".join(f"{key} = {value}" for key, value in lines.items() if value is not None)
    (folder / "maps.toml").write_text(told if text is None else text, encoding="utf-8-sig")
    return folder / "maps.toml"


def test_a_list_of_maps_of_other_names(tmp_path):
    path = listed(tmp_path, masks='{ bright = "bright.npy" }')
    expected(read_observation(path))
    ring = hp.nest2ring(NSIDE, read_observation(path, mask="bright").region.pixels)
    assert ring.min() >= N_PIX // 2
    unseen = read_observation(listed(tmp_path, unobserved='"bright.npy"'))
    np.testing.assert_array_equal(hp.nest2ring(NSIDE, unseen.region.pixels), ring)
    one = read_observation(path, energy_range=(5, 20))
    np.testing.assert_array_equal(one.counts, COUNTS[1:, one.region.pixels])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"order": None}, "maps.toml: must state order"),
        ({"coutns": "1"}, r"maps.toml: coutns: is no key of a list of maps; the nearest valid one is 'counts'"),
        ({"counts": '"none.npy"'}, r"maps.toml: counts: must be a file beside it, there is none at '.*none.npy'"),
        ({"counts": "3"}, "maps.toml: counts: must be a path, got 3"),
        ({"order": '"any"'}, "order: must be one of"),
        ({"masks": "3"}, "maps.toml: must be a TOML file"),
        ({"text": "order = "}, "maps.toml: must be a TOML file"),
        ({"energy_edges": '["a"]'}, "energy_edges: must be numbers in GeV"),
    ],
)
def test_broken_lists_are_named(tmp_path, more, message):
    with pytest.raises(InputError, match=message) as caught:
        read_observation(listed(tmp_path, **more))
    assert "\n" not in str(caught.value)

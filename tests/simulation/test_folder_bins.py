"""Models of data folders with several energy bins: the public maps in 40, and a folder with edges of its own."""

import numpy as np
import pytest

from gcesbi import InputError, Simulator, SkyModel, read_observation
from gcesbi.baselines import PoissonFit
from gcesbi.io.layouts import EBINS

NSIDE, N_PIX = 16, 12 * 16**2


def fill(folder, names, n_energy, rng):
    for name in names:
        np.save(folder / f"{name}.npy", rng.uniform(0.5, 1.5, (n_energy, N_PIX)))


@pytest.fixture
def forty(tmp_path):
    """A replica of the layout of the maps in 40 bins."""
    rng = np.random.default_rng(1)
    fill(tmp_path, EBINS.templates.values(), 40, rng)
    np.save(tmp_path / f"{EBINS.counts}.npy", rng.poisson(3.0, (40, N_PIX)).astype(float))
    np.save(tmp_path / f"{EBINS.exposure}.npy", np.geomspace(1e9, 9e10, 40)[:, None] * np.ones(N_PIX))
    for mask in EBINS.masks.values():
        np.save(tmp_path / f"{mask}.npy", (rng.random((40, N_PIX)) < 0.02) * rng.uniform(0.1, 1, (40, N_PIX)))
    return tmp_path


def test_ten_bins_of_the_forty(forty):
    model = SkyModel.from_folder(forty, diffuse="O", nside=NSIDE)
    assert (model.names, model.n_energy) == (("pi", "ic", "iso", "bub", "gce", "disk"), 10)
    np.testing.assert_allclose(model.energy_edges[[0, -1]], [2.0, 20.0], rtol=1e-6)
    np.testing.assert_allclose(model.exposure[:, 0], np.geomspace(1e9, 9e10, 40)[10:20])
    seen = read_observation(forty, mask="3fgl")
    assert model.region == seen.region
    fit = PoissonFit(model, seen).run()
    assert fit.norms.shape == (6, 10)
    drawn = Simulator(model).sample(3, seed=1)
    assert drawn.counts.shape == (3, 10, model.region.n_pix)


def test_a_range_of_bins_is_another_sky(forty):
    narrow = SkyModel.from_folder(forty, nside=NSIDE, energy_range=(2.0, 5.1), mask=None)
    assert narrow.n_energy == 4
    assert narrow.fingerprint != SkyModel.from_folder(forty, nside=NSIDE, mask=None).fingerprint


def test_a_folder_of_three_bins_is_a_sky(tmp_path):
    rng = np.random.default_rng(2)
    fill(tmp_path, [f"template_{n}" for n in ("Opi", "Oic", "iso", "bub", "nfw_g1p2", "dsk_z0p3")], 3, rng)
    np.save(tmp_path / "fermidata_counts.npy", rng.poisson(3.0, (3, N_PIX)).astype(float))
    np.save(tmp_path / "fermidata_exposure.npy", np.full((3, N_PIX), 5e10))
    np.save(tmp_path / "fermidata_energy_edges.npy", [1.0, 3.0, 6.0, 20.0])
    model = SkyModel.from_folder(tmp_path, nside=NSIDE, mask=None)
    np.testing.assert_allclose(model.energy_edges, [1.0, 3.0, 6.0, 20.0])
    assert PoissonFit(model, read_observation(tmp_path, mask=None)).run().norms.shape == (6, 3)


def test_a_folder_of_more_maps_than_bins_is_refused(tmp_path):
    """Its first maps are not taken for all."""
    for stem in ("fermidata_exposure", "template_Opi"):
        np.save(tmp_path / f"{stem}.npy", np.ones((3, 12)))
    with pytest.raises(InputError, match=r"fermidata_exposure.npy: must hold 1 map or 1, one for each .*, holds 3"):
        SkyModel.from_folder(tmp_path)

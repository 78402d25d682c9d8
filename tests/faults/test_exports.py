"""Exports keep what a fit knows: chains as chains, its own R-hat and effective sample size, what spoke against it."""

import arviz
import numpy as np
import pytest
import xarray

from gcesbi import Simulator, SkyModel
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.baselines import NPTF
from gcesbi.baselines.samplers.ensemble import Ensemble

pytestmark = pytest.mark.filterwarnings("ignore:NPTF not converged")


@pytest.fixture(scope="module")
def fitted():
    model = SkyModel.preset(nside=16, n_energy=1, weeks=30)
    seen, _ = Simulator(model).observe(model.prior().draw(1, np.random.default_rng(0))[0], seed=1)
    return NPTF(model, seen).run(Ensemble(n_steps=60), seed=1, progress=False)


def test_an_export_has_the_fits_own_r_hat_and_effective_sample_size(fitted, tmp_path):
    run = Run.create(tmp_path / "run", load_settings("test", ["sky.nside=16", "sky.n_energy=1", "sky.weeks=30"]))
    run.write_posterior("nptf", fitted)
    stored = xarray.open_dataset(run.folder / "posteriors" / "nptf.nc", group="posterior", engine="h5netcdf")
    names = list(fitted.convergence.names)
    assert stored.sizes["chain"] == fitted.n_chain > 1
    r_hat, ess = arviz.rhat(stored[names]), arviz.ess(stored[names])
    np.testing.assert_allclose([r_hat[n] for n in names], fitted.convergence.r_hat, rtol=1e-6)
    np.testing.assert_allclose([ess[n] for n in names], fitted.convergence.ess, rtol=1e-6)
    assert stored.attrs["converged"] == 0
    assert "R-hat" in stored.attrs["problems"]
    assert stored.attrs["ess"] == pytest.approx(fitted.convergence.ess.min())


def test_fewer_draws_are_taken_at_equal_steps_of_every_chain(fitted):
    chains = fitted.to_arviz()["posterior"]["flux"]
    np.testing.assert_array_equal(np.concatenate(chains.to_numpy()), fitted.samples["flux"])
    assert fitted.to_arviz(10)["posterior"].sizes["chain"] == 1


def test_posteriors_have_the_mode_that_the_user_asks_for(fitted, tmp_path):
    run = Run.create(tmp_path / "run", load_settings("test", ["sky.nside=16", "sky.n_energy=1", "sky.weeks=30"]))
    run.write_posterior("nptf", fitted)
    (tmp_path / "plain").touch()
    wanted = (tmp_path / "plain").stat().st_mode
    assert {path.stat().st_mode for path in run.folder.rglob("*") if path.is_file()} == {wanted}

"""A run in Python: the NPTF by the run's settings, and what is told of runs that cannot be opened."""

import json

import numpy as np
import pytest

from gcesbi import InputError
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.simulate import mock_observation
from gcesbi.baselines import Nuts
from gcesbi.simulation import SkyModel

CHANGES = ["sky.nside=16", "sky.weeks=30", "sky.n_energy=1", "nptf.n_steps=20"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = load_settings("test", CHANGES, seed=4)
    return Run.create(tmp_path_factory.mktemp("run") / "run", settings, SkyModel.build(settings.sky))


def test_the_nptf_is_sampled_by_the_runs_settings_and_seed(run):
    seen, _ = mock_observation(run)
    first, again = (run.fit_nptf(seen) for _ in range(2))
    assert first.theta.shape[0] == 36 * 16  # walkers, and steps after the burn-in of a fifth
    assert {"flux_fraction", "scd_cdf", "poisson_flux_fraction"} <= set(first.names)
    assert np.isfinite(first.log_likelihood).all()
    np.testing.assert_array_equal(first.theta, again.theta)


def test_the_nptf_takes_vectors_of_counts_where_settings_say_so(tmp_path):
    changes = [*CHANGES, "sky.n_energy=2", "sky.weeks=4", 'nptf.energies="joint"', 'nptf.sampler="nested"']
    settings = load_settings("test", [*changes, 'nptf.priors="model"', "nptf.max_seconds=0.1"], seed=4)
    joint = Run.create(tmp_path / "run", settings, SkyModel.build(settings.sky))
    posterior = joint.fit_nptf(mock_observation(joint)[0])
    assert {"spectrum", "spectrum_fraction", "scd_cdf", "n_sources", "gce_spectrum_xi"} <= set(posterior.names)
    joint.write_posterior("nptf", posterior)
    assert (joint.folder / "posteriors" / "nptf.nc").is_file()


def test_nuts_is_a_setting():
    assert load_settings("test", ['nptf.sampler="nuts"', "nptf.n_samples=7"]).nptf.sampling() == Nuts(n_samples=7)


@pytest.mark.parametrize(
    ("group", "section", "value"),
    [
        ("simulate", "sky", "inner-galaxy"),
        ("simulate", "network", {"wings": 2}),
        ("images simulate", "interstellar", 3),
    ],
)
def test_a_run_of_settings_that_nobody_knows_is_named_with_the_command_that_makes_it_anew(
    run, tmp_path, group, section, value
):
    told = json.loads((run.folder / "run.json").read_text())
    told["settings"][section] = value
    told["version"] = "0.0.9"
    (tmp_path / "run.json").write_text(json.dumps(told))
    message = rf"run.json, by gcesbi 0.0.9, is damaged or too old for gcesbi .*make it anew: gcesbi {group} --out "
    with pytest.raises(InputError, match=message):
        Run.open(tmp_path)

"""Neural posteriors as steps of a run: trained on demand, and a column of their own beside the networks."""

import pytest

from gcesbi import steps
from gcesbi.comparison import comparison_table
from gcesbi.run import Run
from gcesbi.settings import load_settings

CHANGES = [
    "sky.nside=16",
    "sky.weeks=30",
    "sky.n_energy=1",
    "simulation.n_test=100",
    "simulation.n_train=128",
    "network.widths=[4, 8]",
    "network.n_features=8",
    "training.max_maps=128",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = load_settings("test", CHANGES)
    run = Run.create(tmp_path_factory.mktemp("neural") / "run", settings, settings.sky.build())
    steps.simulate(run)
    return run


def test_a_run_shows_the_neural_posteriors_that_it_has_trained(run):
    observation, _ = steps.mock_observation(run)
    assert steps.infer_neural_posteriors(run, observation) == {}
    assert set(steps.train(run, only=["npe", "fmpe"])) == {"npe", "fmpe"}
    found = steps.infer_neural_posteriors(run, observation)
    assert list(found) == ["NPE", "FMPE"]
    for name, posterior in found.items():
        assert posterior.names == ("flux_fraction", "scd_mean", "scd_width")
        run.write_posterior(name.lower(), posterior)
    table = comparison_table(found, run.model.bins)
    assert table.columns == ("quantity", "NPE", "FMPE")
    assert "(" in table.rows[0][1]  # a flux fraction with its interval

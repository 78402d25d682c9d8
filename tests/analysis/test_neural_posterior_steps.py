"""Neural posteriors as steps of a run: settings, training by name or by preset, a column of their own, judgement."""

import json
import sys

import numpy as np
import pytest

from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import neural_posteriors as neural_posterior_steps
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.gate import calibrate_gate
from gcesbi.analysis.neural_posteriors import evaluate_neural_posteriors, infer_neural_posteriors
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings, load_settings
from gcesbi.cli import main as cli
from gcesbi.errors import InputError
from gcesbi.estimators import FmpeEstimator, NpeEstimator, SpectralEstimator, read_notes
from gcesbi.evaluation.neural_posteriors import judge_neural_posterior
from gcesbi.report.tables import comparison_table
from gcesbi.report.validation import neural_posterior_section
from gcesbi.simulation import SkyModel

CHANGES = [
    "sky.nside=16",
    "sky.weeks=30",
    "sky.n_energy=1",
    "simulation.n_test=256",
    "simulation.n_train=128",
    "network.widths=[4, 8]",
    "network.n_features=8",
    "training.max_maps=128",
    "neural_posterior.hidden=8",
    "neural_posterior.n_layer=2",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    settings = load_settings("test", CHANGES)
    run = Run.create(tmp_path_factory.mktemp("neural") / "run", settings, SkyModel.build(settings.sky))
    simulate_step.simulate(run, backend="threads")
    return run


@pytest.fixture(scope="module")
def trained(run):
    observation, _ = simulate_step.mock_observation(run)
    assert infer_neural_posteriors(run, observation) == {}
    assert evaluate_neural_posteriors(run) == {}
    assert set(train_step.train(run, only=["npe", "fmpe"])) == {"npe", "fmpe"}
    return run


def with_settings(run, folder, *changes):
    """A run of other settings on the same maps, its model not built again."""
    settings = load_settings("test", [*CHANGES, *changes, f"simulation.store='{run.folder / 'simulations'}'"])
    return Run.create(folder, settings, run.model)


def test_a_run_shows_the_neural_posteriors_that_it_has_trained(trained):
    observation, _ = simulate_step.mock_observation(trained)
    found = infer_neural_posteriors(trained, observation)
    assert list(found) == ["NPE", "FMPE"]
    for name, posterior in found.items():
        assert posterior.names == ("flux_fraction", "scd_mean", "scd_width")
        trained.write_posterior(name.lower(), posterior)
    table = comparison_table(found, trained.model.bins)
    assert table.columns == ("quantity", "NPE", "FMPE")
    assert "(" in table.rows[0][1]  # a flux fraction with its interval
    assert [row for row in table.rows if row[0] == "excess: mean of log₁₀ F"]


def test_neural_posteriors_are_judged_and_the_figures_noted(trained):
    judged = evaluate_neural_posteriors(trained, n_maps=100, n_sample=40)
    assert list(judged) == ["NPE", "FMPE"]
    names = [report.name for report in judged["NPE"].reports]
    assert names[:2] == ["flux_fraction of pi", "flux_fraction of ic"]
    assert names[-2:] == ["scd_width of gce", "scd_width of disk"]
    assert {report.n_map for report in judged["NPE"].reports} == {100}
    notes = read_notes(trained.weights("npe"))["validation"]
    assert notes["quantities"]["scd_mean of gce"]["n_map"] == 100
    section = neural_posterior_section(judged)
    assert len(section.blocks[0].rows) == 2 * len(names)
    assert "NPE: p = " in section.parts[0]


class Exact(NpeEstimator):
    """Knows the truth of its maps, and reports Gaussians of a given width about truth + one standard deviate."""

    width = 1.0

    def sample(self, counts, n, seed=0):
        rng, scale = np.random.default_rng(seed), self.truth.std(axis=0)
        centre = self.truth + scale * rng.standard_normal(self.truth.shape)
        return {"theta": centre + self.width * scale * rng.standard_normal((n, *self.truth.shape))}


@pytest.mark.parametrize(("width", "judgement"), [(1.0, "calibrated"), (0.6, "over-confident")])
def test_the_judge_passes_an_exact_posterior_and_rejects_a_narrow_one(run, width, judgement):
    estimator = Exact.for_model(run.model, ("theta",), hidden=4, n_layer=1, network=run.settings.network)
    estimator.quantities.parameters.update(dict.fromkeys(run.model.prior().names, (None, None)))
    maps = run.store.read(0, 256)
    estimator.truth, estimator.width = maps.theta, width
    judged = judge_neural_posterior(estimator, maps, n_sample=300, seed=3)
    found = [report.judgement for report in judged.reports]
    assert found.count(judgement) >= len(found) - 3  # each judges at 5 %: of 17, more than 3 wrong are rare (0.9 %)
    assert judged.joint.calibrated == (judgement == "calibrated")


def test_a_preset_chooses_the_neural_posterior_and_the_covariance(run, tmp_path):
    other = with_settings(
        run,
        tmp_path / "other",
        "neural_posterior.kind=npe",
        'neural_posterior.quantities=["flux", "theta"]',
        "spectra.covariance=low_rank",
        "spectra.rank=2",
    )
    assert set(train_step.train(other)) == {"spectra", "source_counts", "npe"}
    assert set(train_step.training_histories(other)) == {"spectra", "source_counts", "npe"}
    npe, spectra = (
        other.network(NpeEstimator.kind, NpeEstimator),
        other.network(SpectralEstimator.kind, SpectralEstimator),
    )
    assert (npe.quantities.names, npe.hidden, npe.n_layer) == (("flux", "theta"), 8, 2)
    assert (spectra.covariance, spectra.rank) == ("low_rank", 2)
    observation, _ = simulate_step.mock_observation(other)
    scale = infer_step.infer(other, observation).parts[0].scale
    assert scale.shape[-1] == len(run.model.names) - 1 + 2  # contrasts and rank


def test_a_rank_beyond_the_contrasts_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="rank: must lie between 1 and the number of contrasts 5, got 8"):
        train_step.train(with_settings(run, tmp_path / "other", "spectra.covariance=low_rank"), only=["spectra"])


def test_runs_made_before_these_settings_still_open(run):
    card = json.loads((run.folder / "run.json").read_text())
    for section in ("spectra", "neural_posterior"):
        del card["settings"][section]
    before = RunSettings.model_validate(card["settings"])
    assert (before.spectra.covariance, before.neural_posterior.kind) == ("diagonal", "none")


def test_the_commands_show_and_judge_them(trained, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(neural_posterior_steps, "MAPS", 100)
    monkeypatch.setattr(neural_posterior_steps, "SAMPLES", 40)
    trained.write_observation(simulate_step.mock_observation(trained)[0])
    train_step.train(trained, only=["spectra", "source_counts"])
    calibrate_gate(trained, 1200)
    for command in ("infer", "validate"):
        monkeypatch.setattr(sys, "argv", ["gcesbi", command, str(trained.folder), "--quiet"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code, capfd.readouterr().err
    assert "FMPE" in capfd.readouterr().out
    stored = json.loads((trained.folder / "posteriors" / "npe.json").read_text())
    assert set(stored["quantities"]) == {"flux_fraction", "scd_mean", "scd_width"}
    judged = json.loads((trained.folder / "validation.json").read_text())["neural_posteriors"]
    assert set(judged) == {"NPE", "FMPE"}
    assert "NPE: scd_mean of gce" in (trained.folder / "validation.html").read_text()


def test_kinds_are_named_after_their_methods():
    assert (NpeEstimator.kind, FmpeEstimator.kind) == ("npe", "fmpe")

"""The whole job on a small sky: everything is written, nothing is half-written, numbers agree."""

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import arviz
import numpy as np
import pytest
from rich.console import Console

from gcesbi import InputError, SkyModel
from gcesbi.analysis import evaluate as evaluate_step
from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import quickstart as steps
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis.fit import fit_poisson
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.typical import SHARES
from gcesbi.baselines import goodness_of_fit
from gcesbi.cli.quickstart import quickstart
from gcesbi.physics.scd import DEFAULT_BINS
from gcesbi.report.answers import Answer
from gcesbi.report.explained import Explained
from gcesbi.report.quickstart import QuickstartResult
from gcesbi.report.tables import comparison_table, cumulative_at
from gcesbi.validation.misspecification import GateVerdict

METHODS = ["Poisson fit", "NPTF, literature priors", "NPTF, model's priors", "networks"]
SMALL = [
    "sky.nside=16",
    "sky.weeks=30",
    "sky.n_energy=2",
    "simulation.n_train=128",
    "simulation.n_test=128",
    "training.max_maps=256",
    "network.widths=[8, 8]",
    "network.n_features=16",
    "nptf.n_steps=40",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quickstart") / "run"
    with (folder.parent / "log.txt").open("w") as log:
        console = Console(file=log, width=100)
        return quickstart(folder, load_settings("test", SMALL, seed=5), progress=False, console=console, workers=1)


def test_everything_is_written(run):
    names = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    assert names >= {
        "run.json",
        "observation.fits",
        "results.json",
        "report.html",
        "posteriors/poisson.nc",
        "posteriors/nptf.nc",
        "posteriors/nptf-model-priors.nc",
        "posteriors/networks.nc",
        "weights/spectra.safetensors",
        "weights/source_counts.safetensors",
        "simulations/store.json",
    }
    assert not [name for name in names if "partial" in name or "checkpoint" in name]


def test_the_table_sets_methods_side_by_side(run):
    log = " ".join((run.folder.parent / "log.txt").read_text().replace("│", " ").split())
    for words in (
        "Methods side by side",
        "truth",
        "Poisson fit",
        "NPTF",
        "networks",
        "Report:",
        "has not converged",
        "Sources or",
    ):
        assert words in log
    table = json.loads((run.folder / "results.json").read_text())["table"]
    assert table["columns"] == ["quantity", "truth", *METHODS]
    assert table["rows"][0] == ["priors", "–", "flat norms", "flat, broken power laws", "the model's", "the model's"]
    assert len(table["rows"]) == 1 + 6 + 2 * 5 + 2 + 1
    shares = [row for row in table["rows"] if row[0].startswith("Poisson share of excess")]
    assert [[cell != "–" for cell in row[1:]] for row in shares] == [[False, False, True, False, False]] * 2
    truth = [float(row[1]) for row in table["rows"][1:7]]
    assert sum(truth) == pytest.approx(100, abs=0.5)
    assert table["rows"][-1][0] == "truth inside"
    missed = sum("✗" in row[2] for row in table["rows"])
    assert table["rows"][-1][2] == f"{6 - missed} of 6"


def test_results_hold_every_method_and_the_truth(run):
    results = json.loads((run.folder / "results.json").read_text())
    assert set(results["posteriors"]) == set(METHODS)
    fractions = [v["median"] for v in results["posteriors"]["Poisson fit"]["flux_fraction"].values()]
    assert sum(fractions) == pytest.approx(1, abs=0.1)
    assert results["truth"]["theta"] == simulate_step.mock_observation(run)[1].theta[0].tolist()
    assert set(results["evaluation"]["source_counts"]) == {"gce", "disk"}
    assert results["evaluation"]["source_counts"]["gce"]["n_map"] == 128
    assert results["seconds"]["Train the networks"] > 0


def test_held_out_maps_are_not_training_maps(run):
    wanted = run.settings.simulation
    test = run.store.read(0, wanted.n_test)
    train = run.store.read(wanted.n_test, wanted.n_test + wanted.n_train)
    assert not {tuple(t) for t in test.theta} & {tuple(t) for t in train.theta}


def test_posteriors_are_read_by_arviz(run):
    for name in ("poisson", "nptf", "nptf-model-priors", "networks"):
        data = arviz.from_netcdf(run.folder / "posteriors" / f"{name}.nc")
        assert data.posterior["flux_fraction"].sizes["template"] == 6


def test_the_report_is_one_file_with_every_section(run):
    page = (run.folder / "report.html").read_text()
    for title in (
        "Sources or smooth emission",
        "What to trust",
        "How many sources, and how bright",
        "Joint posterior: what goes together",
        "Does the Poisson fit explain the map?",
        "Who misses the truth, and why",
        "Are the error bars true?",
        "Training",
        "How this was made",
    ):
        assert title in page
    assert page.count("data:image/png;base64") >= 10
    assert not re.search(r'(src|href)="https?://', page)


def test_the_mock_is_composed_like_the_real_sky(run):
    flux = np.array(json.loads((run.folder / "results.json").read_text())["truth"]["flux"]).sum(axis=1)
    assert flux / flux.sum() == pytest.approx(list(SHARES.values()), abs=0.01)
    drawn = [simulate_step.mock_observation(run, draw)[1].theta for draw in ("typical", "prior")]
    assert not np.allclose(*drawn)
    with pytest.raises(InputError, match="draw: must be typical or prior, got 'wild'"):
        simulate_step.mock_observation(run, "wild")


def test_recalibration_is_on_maps_that_do_not_judge(run):
    results = json.loads((run.folder / "results.json").read_text())
    before, after = (results[key]["spectra"]["gce"] for key in ("evaluation_before_recalibration", "evaluation"))
    assert before["n_map"] == after["n_map"] == 128
    assert before["dispersion"] != after["dispersion"]
    assert results["started_from"] == {"spectra": "random weights", "source_counts": "random weights"}


def test_a_refusal_comes_first_and_marks_what_is_written(run, tmp_path):
    verdict = GateVerdict(0.001, 0.01, ("deviance",), (9.0,), (26.9,), (0.001,))
    fit, poisson = fit_poisson(run.model, run.observation())
    evaluation = evaluate_step.evaluate(run)
    result = QuickstartResult(
        model=run.model,
        settings=run.read_json("run.json")["settings"],
        posteriors={"Poisson fit": poisson, "networks": infer_step.infer(run, run.observation())},
        priors={},
        explained=Explained(run.observation(), fit, goodness_of_fit(fit, 20), verdict),
        evaluation=evaluation,
        before=None,
        histories={},
    )
    assert result.verdict.startswith("REFUSED. The training model does not produce maps like this one")
    assert "+26.9" in result.results({})["refused"]
    assert {each.decision for each in result.answers.values()} == {"not to be trusted"}
    page = result.page({}, result.results({}))
    assert page.mood == "bad"
    differ = replace(result, explained=replace(result.explained, gate=None))
    vars(differ)["answers"] = {"one": Answer("sources", ""), "other": Answer("undecided", "")}
    assert differ.mood == "caution"
    run.write_posterior("refused", poisson, refused=result.explained.refused)
    assert "+26.9" in arviz.from_netcdf(run.folder / "posteriors" / "refused.nc").posterior.attrs["refused"]


def test_the_bayes_factor_is_of_the_fit_without_sources_in_the_excess(run, monkeypatch):
    asked, error = [], 0.04

    def fitted(model, observation, settings, seed, progress, checkpoint, point_sources=None):
        asked.append((settings.priors, checkpoint.name, point_sources))
        z = 10.0 if point_sources is None else 4.0
        return SimpleNamespace(log_evidence=z, log_evidence_error=0.03 if point_sources is None else error)

    monkeypatch.setattr(steps, "fit_nptf", fitted)
    *_, odds = steps.answers(run, run.observation(), lambda *a, **k: nullcontext())
    assert asked[1] == ("literature", "nptf-no-sources.checkpoint.h5", ("disk",))
    assert [each[::2] for each in asked[::2]] == [("literature", None), ("model", None)]
    assert odds == {"NPTF, literature priors": (6.0, pytest.approx(0.05))}
    error = np.nan  # a clock ended it
    assert steps.answers(run, run.observation(), lambda *a, **k: nullcontext())[-1] == {}


def test_a_run_opens_again_and_infers_the_same(run):
    opened = Run.open(run.folder)
    posterior = infer_step.infer(opened, opened.observation())
    told = json.loads((run.folder / "results.json").read_text())["posteriors"]["networks"]["flux_fraction"]["gce"]
    median = posterior.quantiles("flux_fraction", [0.5])[0, 4]
    assert median == pytest.approx(told["median"], rel=1e-5)


def test_what_does_not_fit_is_refused(run, tmp_path):
    with pytest.raises(InputError, match="exists; choose another folder or give --overwrite"):
        quickstart(run.folder, run.settings)
    other = tmp_path / "notes"
    other.mkdir()
    (other / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="is no run folder, and is not overwritten"):
        Run.check_free(other, overwrite=True)
    with pytest.raises(InputError, match="is no run folder"):
        Run.open(tmp_path)
    empty = Run.create(tmp_path / "new", run.settings, run.model)
    with pytest.raises(InputError, match=r"is not trained \(it holds no spectra.safetensors\)"):
        infer_step.load_networks(empty)
    card = json.loads((tmp_path / "new" / "run.json").read_text())
    (tmp_path / "new" / "run.json").write_text(json.dumps({**card, "model": "0123"}))
    with pytest.raises(InputError, match="was made with model 0123"):
        _ = Run.open(tmp_path / "new").model
    (tmp_path / "new" / "run.json").write_text("{}")
    with pytest.raises(InputError, match="is damaged"):
        Run.open(tmp_path / "new")
    part = run.model.with_region(type(run.model.region)(16, run.model.region.pixels[1:]))
    from gcesbi import Simulator

    seen, _ = Simulator(part).observe(run.model.prior().draw(1, np.random.default_rng(0))[0])
    with pytest.raises(InputError, match=r"that the networks of .* were trained for"):
        infer_step.infer(run, seen)


def test_a_stopped_quickstart_goes_on_and_a_finished_one_is_kept(run, tmp_path):
    import shutil

    shutil.copytree(run.folder, tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    with pytest.raises(InputError, match="was made with another seed: 5, now 6"):
        quickstart(tmp_path / "run", load_settings("test", SMALL, seed=6), progress=False)
    written = (tmp_path / "run" / "weights" / "spectra.safetensors").stat().st_mtime_ns
    again = quickstart(tmp_path / "run", run.settings, progress=False)
    assert (tmp_path / "run" / "weights" / "spectra.safetensors").stat().st_mtime_ns == written
    one, two = (json.loads((each.folder / "results.json").read_text()) for each in (run, again))
    assert one["posteriors"] == two["posteriors"]
    assert one["table"] == two["table"]


def test_several_devices_are_refused_before_anything_is_made(tmp_path):
    settings = load_settings("test", ["training.devices=2"])
    told = r"training.devices: must be 1 in the quickstart.*, got 2; use gcesbi simulate, train and infer"
    with pytest.raises(InputError, match=told):
        quickstart(tmp_path / "new", settings)
    assert not (tmp_path / "new").exists()


def test_weights_of_another_model_are_refused(run, tmp_path):
    import shutil

    other = Run.create(
        tmp_path / "other",
        load_settings("test", [*SMALL, "sky.gamma=1.0"]),
        SkyModel.preset(nside=16, n_energy=2, gamma=1.0, weeks=30),
    )
    shutil.copytree(run.folder / "weights", other.folder / "weights")
    with pytest.raises(InputError, match=r"made for another model; sky.gamma: 1.2, now 1.0$"):
        infer_step.load_networks(other)


def test_cumulative_shares_interpolate_between_edges():
    cdf = np.linspace(1, 26, 26)[None] / 26
    assert cumulative_at(cdf, DEFAULT_BINS, DEFAULT_BINS.edges[[1, 13, 26]])[0] == pytest.approx([1 / 26, 0.5, 1])


def test_a_method_that_does_not_know_gets_a_dash(run):
    from gcesbi.baselines import PoissonFit

    table = comparison_table({"fit": PoissonFit(run.model, run.observation()).run().posterior()}, run.model.bins)
    assert table.rows[-1][1] == "–"
    assert table.rows[0][1] != "–"

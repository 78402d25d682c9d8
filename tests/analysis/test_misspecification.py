"""A small trained run: its validation page, the gate, misspecified skies, injections, two runs side by side."""

import json
import re
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import torch
from scipy.stats import linregress
from scipy.stats import t as student

from gcesbi.analysis import evaluate as evaluate_step
from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import injection as injection_steps
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.compare import compare_runs
from gcesbi.analysis.gate import calibrate_gate, judge
from gcesbi.analysis.misspecification import evaluate_misspecified
from gcesbi.analysis.run import Run
from gcesbi.analysis.sections import NptfSettings
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.variations import variations
from gcesbi.baselines import PoissonFit
from gcesbi.baselines.poisson.goodness_of_fit import deviance
from gcesbi.baselines.poisson.many_maps import fitted_means, fitted_norms, poisson_fractions
from gcesbi.cli import main as cli
from gcesbi.cli import validate as cli_validate
from gcesbi.errors import InputError
from gcesbi.estimators.training.devices import has_bfloat16
from gcesbi.evaluation.injection import Injection
from gcesbi.evaluation.matched_maps import at_composition, fitted_fluxes
from gcesbi.evaluation.misspecification import MisspecificationTest
from gcesbi.evaluation.networks import Evaluation
from gcesbi.evaluation.residuals import FIT_STATISTICS, fit_statistics
from gcesbi.evaluation.score_tests import alternatives, scores_towards
from gcesbi.plots import recovered_fluxes
from gcesbi.report.calibration import calibration_verdict
from gcesbi.report.misspecification import comparison_report, misspecification_report
from gcesbi.report.parts import calibration_mood
from gcesbi.simulation import Simulator, SkyModel
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky
from gcesbi.validation import Calibration

CHANGES = [
    "sky.nside=16",
    "sky.weeks=30",
    "sky.n_energy=2",
    "simulation.n_test=256",
    "simulation.n_train=512",
    "training.max_maps=1024",
    "network.widths=[8, 8]",
    "network.n_features=16",
]


def trained(folder, *changes):
    settings = load_settings("test", [*CHANGES, *changes])
    run = Run.create(folder, settings, SkyModel.build(settings.sky))
    simulate_step.simulate(run)
    train_step.train(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = trained(tmp_path_factory.mktemp("misspecification") / "run")
    run.write_observation(simulate_step.mock_observation(run)[0])
    return run


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """The same sky, by networks that see the counts summed over energies."""
    return trained(tmp_path_factory.mktemp("twin") / "summed", "network.energy=summed")


@pytest.fixture(scope="module")
def gate(run):
    return calibrate_gate(run, 1200, 0.02)


# -- evaluation -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluation(run):
    return evaluate_step.evaluate(run)


def test_evaluation_holds_every_measure(evaluation):
    found = evaluation
    assert len(found.reports) == 8
    details = found.details
    quantities = {report.name for report in found.reports}
    for key in ("bins", "pit", "groups", "searched", "regions", "ratio", "skill"):
        assert set(getattr(details, key)) == quantities, key
    assert len(details.bins["source counts of gce"]) == 26
    assert details.bins["source counts of gce"][-1] is None  # the CDF is one there
    assert all(ratio > 0 for ratio in details.ratio.values())
    json.dumps({**found.to_dict(), "details": details.to_dict()}, allow_nan=False)


@pytest.mark.parametrize(
    ("n_map", "told", "mood"),
    [(40, "too few to judge", "neutral"), (400, "all 1 sets of error bars are calibrated", "good")],
)
def test_too_few_maps_are_not_praised(n_map, told, mood):
    z = np.random.default_rng(0).normal(size=(n_map, 2))
    found = Evaluation({"pi": Calibration.from_gaussian(z, 0 * z, 1 + 0 * z)}, {})
    assert told in calibration_verdict(found)
    assert calibration_mood(found.reports) == mood


def test_recalibrated_bands_hold_at_least_what_they_say(evaluation):
    """One half of 256 maps judges, one half calibrates: 4 σ of both, bins of a map going together."""
    for _, after in evaluation.details.recalibration.values():
        allowed = 4 * np.sqrt(2 * after.alphas * (1 - after.alphas) / 128)
        assert np.all(after.coverage > after.alphas - allowed)


def test_poisson_fractions_are_those_of_fits_one_by_one(run):
    maps = run.store.read(0, 6)
    mean, error = poisson_fractions(maps.counts, run.model)
    means = fitted_means(fitted_norms(maps.counts, run.model), run.model)
    assert mean.sum(axis=1) == pytest.approx(1)
    assert np.all((error > 0) & (error <= 0.5))
    from gcesbi.sky import Observation

    seen = Observation(maps.counts[0], run.model.exposure, run.model.energy_edges, run.model.region)
    result = PoissonFit(run.model, seen).run()
    np.testing.assert_allclose(mean[0], result.spectrum_fraction, atol=2e-4)
    np.testing.assert_allclose(means[0], np.einsum("te,tep->ep", result.spectrum, run.model.templates), rtol=1e-3)


def test_errors_of_poisson_fractions_are_those_of_many_maps(run):
    """400 bright Poisson maps in which every template shines: scatter over error is 1 within 4/√800."""
    mean = 300 * run.model.templates.sum(axis=0)
    maps = np.random.default_rng(0).poisson(mean, (400, *mean.shape))
    share, error = poisson_fractions(maps, run.model)
    np.testing.assert_allclose(share.std(axis=0) / error.mean(axis=0), 1, atol=4 / np.sqrt(800))


# -- the gate -------------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_their_definitions(run):
    """The deviance against the baselines' own, asymmetries and powers against loops."""
    counts = run.store.read(0, 4).counts
    found = dict(zip(FIT_STATISTICS, fit_statistics(counts, run.model).T, strict=True))
    free = counts[0].size - len(run.model.names) * counts.shape[1]
    expected = deviance(counts, run.model) / free
    np.testing.assert_allclose(found["deviance of the Poisson fit"], expected, rtol=1e-6)
    mu = fitted_means(fitted_norms(counts, run.model), run.model).sum(axis=1)
    rest = np.minimum(counts.sum(axis=1) - mu, 4 * np.sqrt(mu))
    _, glat = run.model.region.glon_glat()
    north = (rest[:, glat > 0].sum(axis=1) - rest[:, glat < 0].sum(axis=1)) / np.sqrt(mu.sum(axis=1))
    np.testing.assert_allclose(found["north-south"], north, rtol=1e-3, atol=1e-3)
    parents = run.model.region.pixels // 4
    cells = [p for p in np.unique(parents) if np.count_nonzero(parents == p) >= 2]
    power = [
        np.mean([r[parents == p].sum() ** 2 / m[parents == p].sum() for p in cells])
        for r, m in zip(rest, mu, strict=True)
    ]
    np.testing.assert_allclose(found["angular power in cells of 2 pixels"], np.log(power), atol=1e-3)


@pytest.fixture(scope="module")
def others(run):
    thick = InnerGalaxySky(**{**run.settings.sky.model_dump(), "disk_height": 1.0})
    return alternatives(run.model, {"thick disk": SkyModel.build(thick), "the same": run.model})


def test_a_sky_differs_in_the_templates_it_changes(run, others):
    """Only the disk's, at the same flux in every bin; a sky that changes nothing is none."""
    (thick,) = others
    assert [run.model.names[row] for row in thick.rows] == ["disk"]
    flux = thick.change / run.model.exposure
    rounding = 2.0**-11 * np.abs(flux).sum(axis=-1)  # what half precision can move, each pixel at worst
    assert np.all(np.abs(flux.sum(axis=-1)) <= rounding)
    assert np.all(rounding < 1e-3 * run.model.flux_per_norm[thick.rows])


def test_scores_are_those_of_least_squares(run, others):
    """Against numpy's weighted least squares, bin by bin, on maps without any pixel bright enough to be cut."""
    model, (thick,) = run.model, others
    norms = np.broadcast_to(np.array([3.0, 2.0, 1.0, 1.0, 2.0, 5.0])[:, None], (6, 2)) + np.zeros((3, 6, 2))
    means = np.einsum("nte,tep->nep", norms, model.templates)
    counts = np.minimum(np.random.default_rng(0).poisson(means), means + 3 * np.sqrt(means)).astype(int)
    expected = []
    for k, mu in zip(counts, means, strict=True):
        above = information = 0.0
        for e in range(2):
            root = np.sqrt(mu[e])
            added = 5.0 * thick.change[0, e].astype(float) / root
            own = added - (columns := model.templates[:, e].T / root[:, None]) @ np.linalg.lstsq(columns, added)[0]
            above, information = above + (k[e] - mu[e]) / root @ own, information + own @ own
        expected.append(above / np.sqrt(information))
    found = scores_towards(others, counts, norms, means, model)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_scores_are_standard_normal_on_poisson_maps_and_see_the_other_sky(run, others):
    """600 bright maps of smooth templates: mean and variance within 4 σ; the other sky's lie apart."""
    model = run.model
    norms = 10 * np.array([30.0, 20.0, 10.0, 10.0, 20.0, 50.0])[:, None] * np.ones((6, 2))
    mean = np.einsum("te,tep->ep", norms, model.templates)
    other = mean + 500 * others[0].change[0]
    scores = []
    for each in (mean, other):
        counts = np.random.default_rng(1).poisson(each, (600, *mean.shape))
        fitted = fitted_norms(counts, model)
        scores.append(scores_towards(others, counts, fitted, fitted_means(fitted, model), model)[:, 0])
    assert abs(scores[0].mean()) < 4 / np.sqrt(600) + 0.1  # counts are cut at 4 σ, and norms end at zero
    assert abs(scores[0].var() - 1) < 4 * np.sqrt(2 / 600)
    assert scores[1].mean() > 3


def test_maps_of_an_observation_are_as_bright_as_it_template_by_template(run):
    """Every flux is the fit's, scattered by its errors, but where the prior ends; the brightest has its spectrum."""
    seen, model = run.observation(), run.model
    fluxes = fitted_fluxes(model, seen, 300, np.random.default_rng(0))
    theta = at_composition(model, model, seen, 300, np.random.default_rng(0))
    assert np.isfinite(model.prior().log_prob(torch.as_tensor(theta)).numpy()).all()
    best = fitted_norms(seen.counts[None], model)[0] * model.flux_per_norm
    assert np.all(np.abs(fluxes.mean(axis=0) - best) < fluxes.std(axis=0) + 1e-12)  # none below zero: not the mean
    emission = model.emission(theta)
    excess1, excess2, disk = (each.flux for each in emission.populations)
    sources = np.stack([excess1 + excess2, disk], axis=1)
    found = np.concatenate([(emission.norms * model.flux_per_norm[:4]).sum(axis=-1), sources], axis=1)
    same = np.isclose(found, fluxes.sum(axis=-1), rtol=1e-6)
    limits = [(m.low, m.high) for m in model.prior().marginals[:4]]
    at_end = np.stack([(theta[:, i] == low) | (theta[:, i] == high) for i, (low, high) in enumerate(limits)], axis=1)
    assert np.all(same[:, :4] | at_end)
    assert same[:, :4].mean() > 0.2
    assert same[:, 4:].mean() > 0.5
    brightest = int(np.argmax(best.sum(axis=-1)))
    share = fluxes[:, brightest] / fluxes[:, brightest].sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(emission.spectra[:, brightest], share, atol=0.02)


def test_fresh_maps_pass_and_others_do_not(run, gate):
    """300 fresh maps: 2 % false alarms within 4 σ of the maps and of the 400 that calibrate."""
    fresh = run.simulator.sample(300, seed=99)
    error = np.sqrt(0.02 * 0.98 * (1 / 300 + 1 / 400))
    assert np.mean(gate.p_values(fresh.counts) <= 0.02) <= 0.02 + 4 * error
    tilted = fresh.counts[:100] * (1 + 2 * (run.model.region.glon_glat()[1] > 0))
    assert np.mean(gate.p_values(tilted) <= 0.02) > 0.9
    verdict = gate.verdict(tilted[0])
    assert not verdict.accepted
    assert "Do not trust the posterior" in str(verdict)


def test_the_gate_is_kept_and_belongs_to_its_weights(run, gate, tmp_path):
    seen = run.observation()
    assert str(judge(run, seen)) == str(gate.verdict(seen.counts))
    assert sum(str(name).startswith("towards ") for name in gate.gate.names) == len(gate.others) == 6
    gate.save(tmp_path / "gate.npz")
    spectra, source_counts = infer_step.load_networks(Run.open(run.folder))  # own ones: they are spoilt below
    again = MisspecificationTest.load(tmp_path / "gate.npz", run.model, spectra, source_counts)
    assert again.half == gate.half == has_bfloat16()
    other = replace(gate, half=not gate.half)
    np.testing.assert_allclose(other.z(seen.counts[None]), gate.z(seen.counts[None]), atol=0.5)
    np.testing.assert_array_equal(again.z(seen.counts[None]), gate.z(seen.counts[None]))
    next(iter(spectra.head.parameters())).data += 1
    with pytest.raises(InputError, match="was made for another model or other weights"):
        MisspecificationTest.load(tmp_path / "gate.npz", run.model, spectra, source_counts)
    (tmp_path / "gate.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        MisspecificationTest.load(tmp_path / "gate.npz", run.model, spectra, source_counts)
    with pytest.raises(InputError, match="n_maps: a gate needs at least 1200 maps, got 500"):
        calibrate_gate(run, 500)


# -- misspecified skies --------------------------------------------------------------------------------------------


def test_variations_change_one_belief_each():
    sky = InnerGalaxySky(nside=16)
    found = variations(sky)
    assert list(found)[-2:] == ["thick disk", "NFW of slope 1"]
    assert len(found) == 6
    assert "interstellar snr-10-150" not in found
    assert found["thick disk"] == sky.model_copy(update={"disk_height": 1.0})
    folder = variations(FolderSky(path="x", diffuse="O"))
    assert [v.diffuse for v in folder.values()] == ["A", "F", "O", "O"]
    assert list(variations(FolderSky(path="x", diffuse="p6v11"))) == ["thick disk", "NFW of slope 1"]


def test_misspecified_maps_are_judged_beside_nominal_ones_of_the_same_brightness(run, gate, twin):
    skies = {"thick disk": InnerGalaxySky(**{**run.settings.sky.model_dump(), "disk_height": 1.0})}
    seen = run.observation()
    found = evaluate_misspecified(run, skies, 100, observation=seen, twin=twin)
    assert list(found.evaluations) == ["nominal", "thick disk"]
    assert found.area["nominal"].value == pytest.approx(0.5)
    assert found.counts == pytest.approx(seen.counts.sum(), rel=0.15)
    assert 0 <= found.detected["thick disk"] <= 1
    assert "towards thick disk" in found.named["thick disk"]
    assert str(found.verdict) == str(gate.verdict(seen.counts))
    each = found.twins["thick disk"]["source counts of disk"]
    assert each.names == ("networks", "twin")
    assert each.pairs[0].correlation.value < 1
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["skies"]["thick disk"]["twin"]["source counts of disk"]["verdict"].startswith("networks: ")
    titles = [section.title for section in misspecification_report(found, "").sections]
    assert titles[0] == "Could the model have produced the map?"
    assert titles[-1] == "The twin on the same maps"


# -- injections -----------------------------------------------------------------------------------------------------


def test_what_is_injected_has_the_flux_and_source_counts_asked_for(run):
    seen = run.observation()
    found = injection_steps.inject(run, seen, [1e-7, 4e-7], xi=-10.5, omega2=0.01, n_repeat=4)
    np.testing.assert_allclose(found.injected.mean(axis=1), [1e-7, 4e-7], rtol=0.2)
    brightest = run.model.bins.centres[np.argmax(np.diff(found.injected_cdf[1, 0], prepend=0))]
    assert brightest == pytest.approx(-10.5, abs=0.5)
    assert set(found.recovered) == {"networks", "Poisson fit"}
    slope = found.slope("Poisson fit")
    assert slope.low < slope.value < slope.high
    assert slope.value == pytest.approx(1, abs=0.5)
    json.dumps(found.to_dict(), allow_nan=False)


def injection(offset=0.0, slope=1.0, noise=0.0, n_flux=4, n_repeat=3):
    """Populations of which a method recovers `slope` of the flux, and `offset`, less and more than before."""
    injected = np.outer(np.arange(1, n_flux + 1) * 3e-8, np.linspace(0.95, 1.05, n_repeat))
    scatter = noise * np.random.default_rng(0).normal(size=injected.shape)
    recovered = np.repeat((1e-7 + offset + slope * injected + scatter)[..., None], 3, axis=-1)
    curves = np.ones((n_flux, n_repeat, 26))
    return Injection("gce", injected, {"one": recovered}, {"one": 1e-7}, curves, curves)


def test_slope_and_offset_are_those_of_linear_regression():
    found = injection(2e-9, 0.9, 1e-9)
    slope, offset = found.line("one")
    x, y = found.injected.ravel(), found.recovered["one"][..., 1].ravel() - 1e-7
    expected, reach = linregress(x, y), student.ppf(0.975, 10)
    assert slope.value == pytest.approx(expected.slope)
    assert offset.value == pytest.approx(expected.intercept)
    assert slope.high - slope.value == pytest.approx(reach * expected.stderr)
    assert offset.value - offset.low == pytest.approx(reach * expected.intercept_stderr)
    assert slope.low < 0.9 < slope.high
    through = found.slope("one")
    assert through.value == pytest.approx(x @ y / (x @ x))
    assert through.value > slope.value  # it takes up the offset


def test_too_few_populations_have_no_bands():
    """A point has a slope through the flux before, without a band; a line through it is not known at all."""
    one = injection(slope=0.8, n_flux=1, n_repeat=1)
    assert (one.slope("one").value, one.slope("one").low) == (pytest.approx(0.8), -np.inf)
    assert np.isnan(one.line("one")[0].value)
    data = json.loads(json.dumps(one.to_dict(), allow_nan=False))
    assert data["slope"]["one"]["low"] is None
    two = injection(slope=0.8, n_flux=2, n_repeat=1).line("one")[0]
    assert (two.value, two.high) == (pytest.approx(0.8), np.inf)


def test_the_nptf_is_asked_about_the_first_populations_of_each_flux(run):
    """Some live points on a faint sky of two bins: whether numbers come out, and where they go; not what they are."""
    settings = NptfSettings(sampler="nested", n_live=60, n_eff=60, max_seconds=2.0)
    found = injection_steps.inject(run, run.observation(), [2e-7], n_repeat=2, n_nptf=1, nptf=settings)
    assert found.recovered["NPTF"].shape == (1, 1, 3)
    assert found.recovered["networks"].shape == (1, 2, 3)
    assert np.all(np.diff(found.recovered["NPTF"], axis=-1) >= 0)
    assert np.isfinite(found.slope("NPTF").value)
    figure = recovered_fluxes(found.injected, found.recovered, found.before, "flux")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()][1:] == list(found.recovered)


def test_nothing_but_the_population_is_drawn(run):
    alone = run.model.composition.alone("disk", {"xi": -10.0, "omega2": 0.1, "a": 0.0, "flux": 3e-7})
    assert [each.name for each in alone.components] == ["disk"]
    model = SkyModel.build(alone, run.model.maps)
    drawn = Simulator(model).sample(4, seed=0)
    assert model.names == ("disk",)
    np.testing.assert_allclose(drawn.flux.sum(axis=(1, 2)), 3e-7, rtol=0.5)
    with pytest.raises(InputError, match="template: must be one of gce, disk, got 'pi'"):
        run.model.composition.alone("pi", {})


def test_a_poisson_sky_has_curves_for_every_level(run):
    smooth = injection_steps.poisson_excess(run, run.observation(), 10)
    assert smooth.shape == (79, 2, 26)
    assert np.all(np.diff(smooth, axis=0) <= 1e-9)  # high levels are brighter
    np.testing.assert_allclose(smooth[..., -1], 1)


def test_the_excess_alone_is_poisson(run):
    drawn = injection_steps.smooth_excess(run, run.observation(), 20)
    excess, disk = (run.model.point_sources.index(name) for name in ("gce", "disk"))
    np.testing.assert_array_equal(drawn.n_sources[:, excess], 0)
    np.testing.assert_allclose(drawn.scd[:, excess, 0], 1)  # all of it below the dimmest bin
    shining = drawn.flux[:, run.model.names.index("disk")].sum(axis=-1) > 0
    assert np.all(drawn.n_sources[shining, disk] > 0)
    assert shining.sum() > 2


def test_bad_input_is_named(run):
    seen = run.observation()
    with pytest.raises(InputError, match="template: must be one of gce, disk, got 'pi'"):
        injection_steps.inject(run, seen, [1e-7], template="pi")
    with pytest.raises(InputError, match="fluxes: must be finite numbers above zero"):
        injection_steps.inject(run, seen, [0.0])
    with pytest.raises(InputError, match="fluxes: must be finite numbers above zero"):
        injection_steps.inject(run, seen, [np.nan])
    with pytest.raises(InputError, match=r"fluxes: must be at most .*, 1e\+08 photons, got 1e\+300"):
        injection_steps.inject(run, seen, [1e300])
    with pytest.raises(InputError, match="n_nptf: must lie between 0 and n_repeat, 5, got 6"):
        injection_steps.inject(run, seen, [1e-7], n_nptf=6)
    with pytest.raises(InputError, match="n_maps: must be at least 1, got 0"):
        injection_steps.poisson_excess(run, seen, 0)
    with pytest.raises(InputError, match=r"counts: must have shape \(n, 2, "):
        fitted_norms(seen.counts, run.model)


# -- two runs, and the command line ---------------------------------------------------------------------------------


def test_the_energy_independent_twin_is_compared_on_the_same_maps(run, twin, tmp_path):
    found = compare_runs(run, twin, ("resolved", "summed"))
    assert len(found) == 8
    each = found["source counts of gce"]
    assert each.names == ("resolved", "summed")
    assert 0 < each.pairs[0].correlation.value < 1
    page = comparison_report(found, ("resolved", "summed"))
    coverage, better = page.sections[:2]
    assert len(better.blocks[0].rows) == len(coverage.blocks) == 8
    assert page.summary.rows[-1][0] == "source counts of disk: summed"
    assert better.blocks[0].rows[-1][0] == "source counts of disk: summed against resolved"
    other = Run(tmp_path, twin.settings)
    other.__dict__["model"] = SkyModel.build(InnerGalaxySky(nside=16, n_energy=2, weeks=30, gamma=1.0))
    with pytest.raises(InputError, match="other: must be a run of model"):
        compare_runs(run, other)


def call(monkeypatch, capfd, *words):
    monkeypatch.setattr(sys, "argv", ["gcesbi", *map(str, words)])
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    out, err = capfd.readouterr()
    return status, " ".join(out.split()), err


@pytest.fixture(scope="module")
def told(run, gate):  # the gate is there before it is asked
    """The page, as the command writes it, and what the command says."""
    with redirect_stdout(StringIO()) as out:
        cli_validate.validate_run(run.folder, quiet=True)
    return run.folder / "validation.html", " ".join(out.getvalue().split())


def test_the_page_answers_four_questions(run, told):
    path, out = told
    assert "maps that training never saw" in out
    assert "The training model" in out
    page = path.read_text()
    assert "Loss of the network for spectra" in page
    assert "those in which the prediction leaves that open" in page
    for question in ("Calibrated?", "Sharper than the Poisson fit?", "Biased?", "Trustworthy on this observation?"):
        assert question in page
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) > 10
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    stored = json.loads((run.folder / "validation.json").read_text())
    assert stored["gate"]["false_alarm"] == 0.02
    assert stored["details"]["whole"]["source counts of gce"]["curve"]["alphas"] == [0.5, 0.68, 0.95]


OTHERS = [pytest.param(*window, marks=pytest.mark.slow) for window in ((390, False), (1200, True))]


@pytest.mark.parametrize(("width", "dark"), [(320, True), *OTHERS])
def test_chromium_shows_the_whole_page(browser, told, width, dark):
    """Nothing is requested or complained of, the verdict stands first, the page does not scroll sideways."""
    try:
        browser.open(told[0], width, dark)
        assert browser.log() == []
        requested = browser.run("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in requested if not name.startswith("data:")] == []
        assert browser.run("document.getElementById('verdict').textContent").startswith(
            "On 256 maps that training never"
        )
        assert 0 < browser.run("document.getElementById('verdict').getBoundingClientRect().top") < 450
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0 && i.alt.length >= 20)")
        assert browser.run("document.images.length") > 10
        narrow = "[...document.querySelectorAll('p, figcaption, caption')].every(e => e.offsetWidth <= innerWidth)"
        assert browser.run(narrow)
        sizes = (
            "[...document.querySelectorAll('p, td, th, caption')].map(e => parseFloat(getComputedStyle(e).fontSize))"
        )
        assert min(browser.run(sizes)) >= 14
        ink, paper = (browser.run(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
        assert (brightness(ink) > brightness(paper)) == dark
    finally:
        browser.leave()


def brightness(colour):
    """Sum of the channels of "rgb(r, g, b)"."""
    return sum(int(x) for x in re.findall(r"\d+", colour)[:3])


@pytest.mark.usefixtures("gate")
def test_injections_and_inference_by_command(monkeypatch, capfd, run):
    status, out, err = call(
        monkeypatch,
        capfd,
        "validate",
        "inject",
        run.folder,
        "--flux",
        2e-7,
        "--repeat",
        2,
        "--poisson-maps",
        5,
        "--quiet",
    )
    assert (status, err) == (0, "")
    assert "Flux recovered per flux injected: networks" in out
    assert (run.folder / "injection.html").is_file()
    status, out, err = call(monkeypatch, capfd, "infer", run.folder, "--quiet")
    assert (status, err) == (0, "")
    assert "The training model" in out
    assert json.loads((run.folder / "gate.json").read_text())["false_alarm"] == 0.02


@pytest.mark.parametrize("command", ["run", "gate", "misspecification", "inject", "compare"])
def test_help_has_examples(monkeypatch, capfd, command):
    status, out, _ = call(monkeypatch, capfd, "validate", command, "--help")
    assert status == 0
    assert "Example: gcesbi validate" in out


def test_bad_words_end_with_status_2(monkeypatch, capfd, run, tmp_path):
    for words, message in (
        (["validate", "/nowhere"], "is no run folder"),
        (["validate", "inject", "/nowhere"], "is no run folder"),
        (["validate", "gate", run.folder, "--n", "5"], "1200"),
    ):
        status, _, err = call(monkeypatch, capfd, *words)
        assert status == 2
        assert message in err

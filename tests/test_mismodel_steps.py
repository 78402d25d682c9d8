"""A small trained run: its validation page, the gate, other skies, injections, two runs side by side."""

import json
import re
import sys

import numpy as np
import pytest

from gcesbi import cli, mismodel_steps, steps
from gcesbi.baselines.goodness_of_fit import deviance
from gcesbi.errors import InputError
from gcesbi.evaluation import poisson_fractions
from gcesbi.mismodelling import FIT_STATISTICS, MapGate, fit_statistics, fitted_means
from gcesbi.run import Run
from gcesbi.settings import load_settings
from gcesbi.simulation import Simulator
from gcesbi.simulation.skies import FolderSky, InnerGalaxySky

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
    run = Run.create(folder, settings, settings.sky.build())
    steps.simulate(run)
    steps.train(run)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = trained(tmp_path_factory.mktemp("mismodel") / "run")
    run.write_observation(steps.mock_observation(run)[0])
    return run


@pytest.fixture(scope="module")
def gate(run):
    return mismodel_steps.calibrate_gate(run, 1200, 0.02)


# -- evaluation -----------------------------------------------------------------------------------------------------


def test_evaluation_holds_every_measure(run):
    found = steps.evaluate(run)
    assert len(found.reports) == 8
    details = found.details
    quantities = {report.name for report in found.reports}
    for key in ("bins", "pit", "groups", "searched", "regions", "ratio", "skill"):
        assert set(getattr(details, key)) == quantities, key
    assert len(details.bins["source counts of gce"]) == 26
    assert details.bins["source counts of gce"][-1] is None  # the CDF is one there
    assert all(ratio > 0 for ratio in details.ratio.values())
    json.dumps({**found.to_dict(), "details": details.to_dict()}, allow_nan=False)


def test_recalibrated_bands_hold_at_least_what_they_say(run):
    """One half of 256 maps judges, one half calibrates: 4 σ of both, bins of a map going together."""
    for _, after in steps.evaluate(run).details.recalibration.values():
        allowed = 4 * np.sqrt(2 * after.alphas * (1 - after.alphas) / 128)
        assert np.all(after.coverage > after.alphas - allowed)


def test_poisson_fractions_are_those_of_fits_one_by_one(run):
    maps = run.store.read(0, 6)
    mean, error = poisson_fractions(maps.counts, run.model)
    means = fitted_means(maps.counts, run.model)
    assert mean.sum(axis=1) == pytest.approx(1)
    assert np.all((error > 0) & (error <= 0.5))
    from gcesbi.baselines import PoissonFit
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
    rest = counts.sum(axis=1) - fitted_means(counts, run.model).sum(axis=1)
    mu = fitted_means(counts, run.model).sum(axis=1)
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
    assert str(mismodel_steps.judge(run, seen)) == str(gate.verdict(seen.counts))
    other = MapGate(gate.model, gate.spectra, gate.source_counts, gate.reference, gate.gate)
    other.save(tmp_path / "gate.npz")
    spectra, source_counts = steps.load_networks(run)
    again = MapGate.load(tmp_path / "gate.npz", run.model, spectra, source_counts)
    np.testing.assert_array_equal(again.z(seen.counts[None]), gate.z(seen.counts[None]))
    next(iter(spectra.head.parameters())).data += 1
    with pytest.raises(InputError, match="was made for another model or other weights"):
        MapGate.load(tmp_path / "gate.npz", run.model, spectra, source_counts)
    (tmp_path / "gate.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        MapGate.load(tmp_path / "gate.npz", run.model, spectra, source_counts)
    with pytest.raises(InputError, match="n_maps: a gate needs at least 1200 maps, got 500"):
        mismodel_steps.calibrate_gate(run, 500)


# -- other skies ----------------------------------------------------------------------------------------------------


def test_variations_change_one_belief_each():
    sky = InnerGalaxySky(nside=16)
    found = mismodel_steps.variations(sky)
    assert list(found)[-2:] == ["thick disk", "NFW of slope 1"]
    assert len(found) == 6
    assert "interstellar snr-10-150" not in found
    assert found["thick disk"] == sky.model_copy(update={"disk_height": 1.0})
    folder = mismodel_steps.variations(FolderSky(path="x", diffuse="O"))
    assert [v.diffuse for v in folder.values()] == ["A", "F", "O", "O"]
    assert list(mismodel_steps.variations(FolderSky(path="x", diffuse="p6v11"))) == ["thick disk", "NFW of slope 1"]


def test_mismodelled_maps_are_judged_beside_nominal_ones_of_the_same_brightness(run, gate):
    skies = {"thick disk": InnerGalaxySky(**{**run.settings.sky.model_dump(), "disk_height": 1.0})}
    seen = run.observation()
    found = mismodel_steps.mismodel(run, skies, 100, observation=seen)
    assert list(found.evaluations) == ["nominal", "thick disk"]
    assert found.area["nominal"].value == pytest.approx(0.5)
    assert found.counts == pytest.approx(seen.counts.sum(), rel=0.1)
    assert 0 <= found.detected["thick disk"] <= 1
    json.dumps(found.to_dict(), allow_nan=False)


# -- injections -----------------------------------------------------------------------------------------------------


def test_what_is_injected_has_the_flux_and_source_counts_asked_for(run):
    seen = run.observation()
    found = mismodel_steps.inject(run, seen, [1e-7, 4e-7], xi=-10.5, omega2=0.01, n_repeat=4)
    np.testing.assert_allclose(found.injected.mean(axis=1), [1e-7, 4e-7], rtol=0.2)
    brightest = run.model.bins.centres[np.argmax(np.diff(found.injected_cdf[1, 0], prepend=0))]
    assert brightest == pytest.approx(-10.5, abs=0.5)
    assert set(found.recovered) == {"networks", "Poisson fit"}
    slope = found.slope("Poisson fit")
    assert slope.low < slope.value < slope.high
    assert slope.value == pytest.approx(1, abs=0.5)
    json.dumps(found.to_dict(), allow_nan=False)


def test_nothing_but_the_population_is_drawn(run):
    theta = mismodel_steps._population_alone(run.model, "gce", -10.0, 0.1, 0.0, np.array([3e-7]))
    drawn = Simulator(run.model).draw(theta, np.random.default_rng(0))
    row = run.model.names.index("gce")
    assert drawn.flux[0, row].sum() > 0
    assert np.delete(drawn.flux[0], row, axis=0).sum() == 0


def test_a_poisson_sky_has_curves_for_every_level(run):
    smooth = mismodel_steps.poisson_excess(run, run.observation(), 10)
    assert smooth.shape == (79, 2, 26)
    assert np.all(np.diff(smooth, axis=0) <= 1e-9)  # high levels are brighter
    np.testing.assert_allclose(smooth[..., -1], 1)


def test_bad_input_is_named(run):
    seen = run.observation()
    with pytest.raises(InputError, match="template: must be one of gce, disk, got 'pi'"):
        mismodel_steps.inject(run, seen, [1e-7], template="pi")
    with pytest.raises(InputError, match="fluxes: must be numbers above zero"):
        mismodel_steps.inject(run, seen, [0.0])
    with pytest.raises(InputError, match="n_maps: must be at least 1, got 0"):
        mismodel_steps.poisson_excess(run, seen, 0)
    with pytest.raises(InputError, match=r"counts: must have shape \(n, 2, "):
        fitted_means(seen.counts, run.model)


# -- two runs, and the command line ---------------------------------------------------------------------------------


def test_the_energy_independent_twin_is_compared_on_the_same_maps(run, tmp_path):
    twin = trained(tmp_path / "summed", "network.energy=summed")
    found = mismodel_steps.compare_runs(run, twin, ("resolved", "summed"))
    assert len(found) == 8
    each = found["source counts of gce"]
    assert (each.first.name, each.second.name) == ("resolved", "summed")
    assert 0 < each.correlation.value < 1
    other = Run(tmp_path / "summed", twin.settings)
    other.__dict__["model"] = InnerGalaxySky(nside=16, n_energy=2, weeks=30, gamma=1.0).build()
    with pytest.raises(InputError, match="other: must be a run of model"):
        mismodel_steps.compare_runs(run, other)


def call(monkeypatch, capfd, *words):
    monkeypatch.setattr(sys, "argv", ["gcesbi", *map(str, words)])
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    out, err = capfd.readouterr()
    return status, " ".join(out.split()), err


@pytest.mark.usefixtures("gate")
def test_the_page_answers_four_questions(monkeypatch, capfd, run):
    status, out, err = call(monkeypatch, capfd, "validate", run.folder, "--quiet")
    assert (status, err) == (0, "")
    assert "maps that training never saw" in out
    assert "The training model" in out
    page = (run.folder / "validation.html").read_text()
    for question in ("Calibrated?", "Sharp?", "Biased?", "Trustworthy on this observation?"):
        assert question in page
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) > 10
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    stored = json.loads((run.folder / "validation.json").read_text())
    assert stored["gate"]["false_alarm"] == 0.02
    assert stored["details"]["whole"]["source counts of gce"]["curve"]["alphas"] == [0.5, 0.68, 0.95]


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


@pytest.mark.parametrize("command", ["run", "gate", "mismodel", "inject", "compare"])
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

"""The networks that ship with the package: they answer without training, and their recorded figures hold."""

import json
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from gcesbi import InputError, SkyModel
from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.keeping import package_folder
from gcesbi.analysis.kept_sky import KEPT_MAPS
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.shipped import networks_for, shipped_answers, shipped_networks
from gcesbi.analysis.simulate import mock_observation
from gcesbi.analysis.start import AS_SHIPPED, started_from
from gcesbi.cli import main as cli
from gcesbi.estimators import SpectralPosterior
from gcesbi.evaluation.predictions import TAUS
from gcesbi.physics.scd import true_cdf
from gcesbi.validation import coverage, gaussian_coverage

K = 4.0
N = 300
LEVELS = [0.68, 0.95]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run.pretrained(tmp_path_factory.mktemp("pretrained") / "run")


@pytest.fixture(scope="module")
def fresh(run):
    """Maps of another seed than that of the maps which the networks were trained and judged on."""
    return run.simulator.sample(N, seed=run.settings.seed + 1000, workers=2)


def holds(found, each, recorded, n_recorded):
    """Whether a coverage agrees with a recorded one; `each` (n_map,) is the share of every map that is covered."""
    spread = each.std(ddof=1)
    return abs(found - recorded) < K * spread * np.hypot(1 / np.sqrt(len(each)), 1 / np.sqrt(n_recorded))


def test_recorded_coverage_holds_on_fresh_maps(run, fresh):
    figures = json.loads((run.folder / "validation.json").read_text())
    spectra, source_counts = infer_step.load_networks(run)
    quantiles = source_counts.quantiles(fresh.counts, TAUS)
    predicted = spectra.predict(fresh.counts)
    checked = 0
    for level in LEVELS:
        for j, name in enumerate(run.model.point_sources):
            recorded, n = recorded_coverage(figures["source_counts"][name], level)
            truth = true_cdf(fresh.scd[:, j])
            maps = [coverage(truth[i : i + 1], quantiles[:, i : i + 1, j], TAUS, [level])[0] for i in range(N)]
            maps = np.array(maps)[np.isfinite(maps)]
            assert holds(coverage(truth, quantiles[:, :, j], TAUS, [level])[0], maps, recorded, n), (name, level)
            checked += 1
        for i, name in enumerate(run.model.names):
            recorded, n = recorded_coverage(figures["spectra"][name], level)
            truth, mean, std = fresh.flux_fractions[:, i], predicted.mean[:, i], predicted.std[:, i]
            maps = np.array([gaussian_coverage(truth[[k]], mean[[k]], std[[k]], [level])[0] for k in range(N)])
            assert holds(maps.mean(), maps, recorded, n), (name, level)
            checked += 1
    assert checked == 16


def test_pair_sums_of_shares_have_the_errors_that_their_samples_claim(run, fresh):
    """Root mean squares of z, of 300 maps, beyond 10 taken for 10: 0.1 and 4 Monte Carlo errors of 0.04 by bins

    together and in all energies; without correlations π⁰ + disk has 0.5 there.
    """
    spectra, _ = infer_step.load_networks(run)
    i, j = np.array(list(combinations(range(len(run.model.names)), 2))).T
    truth, scores, alone = spectra.targets(fresh).double().numpy(), [], []
    for seed, posterior in enumerate(SpectralPosterior.each(spectra, fresh.counts, run.model.coordinates)):
        drawn = posterior.sample(300, seed)
        shares = np.dstack([drawn["spectrum_fraction"], drawn["flux_fraction"]])
        sums, true = shares[:, i] + shares[:, j], truth[seed, i] + truth[seed, j]
        scores.append((true - sums.mean(axis=0)) / sums.std(axis=0))
        alone.append(
            (truth[seed, [0, 5], -1] - posterior.total_mean[[0, 5]]).sum() / np.hypot(*posterior.total_std[[0, 5]])
        )
    square = np.minimum(np.abs(scores), 10) ** 2
    for found in (np.sqrt(square[..., :-1].mean(axis=(0, 2))), np.sqrt(square[..., -1].mean(axis=0))):
        assert np.all(np.abs(found - 1) < 0.1 + K * 0.04), found
    assert np.sqrt(np.mean(np.square(alone))) < 0.65


def test_samples_are_shares_and_keep_their_intervals(run, fresh):
    """On 60 maps: sums are one, and intervals hold what the network's own hold, to the Monte Carlo error of one map."""
    spectra, _ = infer_step.load_networks(run)
    maps, held, own = fresh[:60], [], []
    truth = maps.flux.sum(axis=2) / maps.flux.sum(axis=(1, 2))[:, None]
    for counts, true in zip(maps.counts, truth, strict=True):
        posterior = SpectralPosterior.of(spectra, counts, run.model.coordinates)
        drawn = posterior.sample(400)
        for name in ("flux_fraction", "spectrum_fraction"):
            assert drawn[name].min() >= 0
            np.testing.assert_allclose(drawn[name].sum(axis=1), 1, atol=1e-9)
        low, high = np.quantile(drawn["flux_fraction"], [0.025, 0.975], axis=0)
        held.append((low <= true) & (true <= high))
        low, high = posterior.quantiles("flux_fraction", [0.025, 0.975])
        own.append((low <= true) & (true <= high))
    assert abs(np.mean(held) - np.mean(own)) < 0.03


def test_networks_that_are_taken_as_they_ship_are_taken_once(run, tmp_path, monkeypatch):
    monkeypatch.setattr(train_step, "measure_errors", lambda run: None)
    mine = Run.create(tmp_path / "run", load_settings("quick"), run.model)
    first = train_step.train(mine)
    written = {kind: mine.weights(kind).stat().st_mtime_ns for kind in first}
    assert started_from(mine, first) == dict.fromkeys(train_step.TRAINED, AS_SHIPPED)
    again = train_step.train(Run.open(mine.folder))
    assert {kind: mine.weights(kind).stat().st_mtime_ns for kind in again} == written
    assert again == first


def recorded_coverage(figures, level):
    found = figures["curve"]
    return found["coverage"][found["alphas"].index(level)], figures["n_map"]


def test_the_package_stays_small(run):
    files = [path for path in run.folder.rglob("*") if path.is_file() and path.name != KEPT_MAPS]  # not shipped
    assert sum(path.stat().st_size for path in files) < 8e6


def test_networks_of_the_real_sky_answer_about_the_real_map(data_folder, tmp_path, monkeypatch, capsys):
    """They are found by the map, their gate takes it, and the excess they find is that of the models of the field."""
    assert sum(path.stat().st_size for path in package_folder("robust").rglob("*") if path.is_file()) < 10e6
    folder = tmp_path / "real"
    words = ["infer", folder, "--pretrained", "--observation", data_folder / "fermi-573w", "--quiet"]
    monkeypatch.setattr(sys, "argv", ["gcesbi", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code, capsys.readouterr().out
    gate = json.loads((folder / "gate.json").read_text())
    assert gate["p_value"] >= 0.05
    found = Run.open(folder)
    answer = found.infer(found.observation())
    excess = answer.quantiles("flux_fraction", [0.16, 0.84])[:, found.model.names.index("gce")]
    assert 0.03 < excess[0] < excess[1] < 0.08  # 3.9 % by Model F to 7.3 % by Model O


@pytest.mark.slow  # quick: that of the default networks, above
def test_recorded_coverage_of_the_real_skys_networks_holds_on_fresh_maps(data_folder, tmp_path):
    found = Run.pretrained(tmp_path / "robust", "robust")
    fresh = found.simulator.sample(N, seed=found.settings.seed + 1000)
    figures = json.loads((found.folder / "validation.json").read_text())["spectra"]
    predicted = infer_step.load_networks(found)[0].predict(fresh.counts)
    for i, name in enumerate(found.model.names):
        for level in LEVELS:
            recorded, n = recorded_coverage(figures[name], level)
            truth, mean, std = fresh.flux_fractions[:, i], predicted.mean[:, i], predicted.std[:, i]
            maps = np.array([gaussian_coverage(truth[[k]], mean[[k]], std[[k]], [level])[0] for k in range(N)])
            assert holds(maps.mean(), maps, recorded, n), (name, level)


def test_one_call_answers_without_training(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gcesbi", "infer", str(tmp_path / "a"), "--pretrained", "--quiet"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    told = " ".join(capsys.readouterr().out.split())
    for word in ("excess", "disk", "Poisson"):
        assert word in told
    assert (tmp_path / "a" / "posteriors" / "networks.json").is_file()
    assert (tmp_path / "a" / "observation.fits").is_file()


def test_networks_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gcesbi", "infer", "--pretrained", "list"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    told = capsys.readouterr().out
    for each in shipped_networks():
        assert f"{each.name}: {each}" in told
    assert "images: pictures of the Galactic Centre, by `gcesbi images infer --pretrained`" in told


def test_networks_of_images_answer_without_training(tmp_path, monkeypatch, capsys):
    """About a mock image of a model that they never saw: the gate takes it, and quantiles hold its share of sources."""
    monkeypatch.setattr(sys, "argv", ["gcesbi", "images", "infer", str(tmp_path / "a"), "--pretrained", "--quiet"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert "The models could have produced the image" in " ".join(capsys.readouterr().out.split())
    told = json.loads((tmp_path / "a" / "inference.json").read_text())
    assert told["quantiles"][0] < 0.691 < told["quantiles"][-1]
    assert (tmp_path / "a" / "infer.html").is_file()


def test_networks_are_found_for_a_map(run):
    seen = mock_observation(run)[0]
    assert networks_for(lambda each: seen) == ("default", seen)


def test_a_run_on_another_sky_hears_the_shipped_networks_too(run, tmp_path):
    """Of the templates that both have; a run on their own sky needs no such column."""
    seen = mock_observation(run)[0]
    assert shipped_answers(run, seen) == {}
    sky = run.model.composition.change("gce", template={"formula": "nfw", "gamma": 1.0})
    other = Run.create(tmp_path / "other", run.settings.model_copy(update={"sky": sky}))
    (found,) = shipped_answers(other, seen).values()
    own = infer_step.infer(run, seen)
    assert found.coordinates == other.model.coordinates
    np.testing.assert_allclose(found.quantiles("flux", [0.5]), own.quantiles("flux", [0.5]))
    bright = replace(seen, counts=seen.counts * 3)
    assert list(shipped_answers(other, bright)) == ["default networks, refused"]


def test_a_map_that_no_networks_know_is_told_what_to_do(run):
    seen = mock_observation(run)[0]
    other = replace(seen, energy_edges=seen.energy_edges * 2)
    with pytest.raises(InputError, match=r"default .* energy edges must be .* gcesbi quickstart --observation"):
        networks_for(lambda each: other)
    part = seen.cut(run.model.region.only(np.arange(run.model.region.n_pix) > 0))
    with pytest.raises(InputError, match="must have their 2044 pixels, has 2043"):
        networks_for(lambda each: part)


def test_what_a_map_lacks_is_said_once():
    def lacking(each):
        raise InputError("exposure: must be given; --exposure FILE states it")

    with pytest.raises(InputError, match=r"^exposure: must be given; --exposure FILE states it$"):
        networks_for(lacking)


def test_a_name_that_does_not_ship_is_named():
    with pytest.raises(InputError, match=r"networks: must be one of .*default.*, got 'nope'"):
        Run.pretrained("a", "nope")


def test_another_run_in_the_folder_is_left_alone(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="holds another run than the pretrained one"):
        Run.pretrained(tmp_path)
    assert (tmp_path / "run.json").read_text() == "{}"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "precious").write_text("")
    with pytest.raises(InputError, match="exists"):
        Run.pretrained(tmp_path / "b")


def test_only_its_own_model_gets_the_shipped_run(run):
    shipped = Run.shipped(run.model)
    assert shipped is not None
    assert shipped.model is run.model
    assert Run.shipped(SkyModel.preset(nside=16, n_energy=2)) is None

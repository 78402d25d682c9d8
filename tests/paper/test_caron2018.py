"""Figures and tables of caron2018 from a tiny run: panels, labels, number of curves, and the numbers of the run."""

import json
import shutil

import numpy as np
import pytest
import torch

from gcesbi import InputError
from gcesbi.analysis.evaluate import binned_errors, predict
from gcesbi.analysis.fit import fit_images, read_template_fits
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.estimators import save_estimator
from gcesbi.estimators.images import ShareEstimator, activations
from gcesbi.evaluation.images import SHARES
from gcesbi.validation.binned_errors import BinnedErrors

CHANGES = (
    'interstellar.training=["snr-10-150"]',
    'interstellar.testing=["lorimer-4-150"]',
    "simulation.n_train=64",
    "joint.gamma=[1.0, 1.04]",
    "sky.weeks=100",
)
METHODS = ("full", "left", "right", "top", "bottom", "halves", "all", "quantiles", "npe", "npe_slope")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A run whose networks are random but not flat, with all files that a trained run has."""
    from paper.caron2018.collect import collect

    run = Run.create(tmp_path_factory.mktemp("images") / "tiny", load_settings("images-test", CHANGES, seed=3))
    for name, free, n in (("snr-10-150", False, 164), ("lorimer-4-150", False, 128), ("lorimer-4-150", True, 128)):
        run.images.new_store(name, free).fill(run.images.simulator(name, free), n)
    _random_networks(run)
    held = run.images.validation()
    errors = {name: BinnedErrors.measure(each, held.theta[:, 0]) for name, each in predict(run, held.counts).items()}
    for file in ("errors.json", "errors_testing.json"):
        run.write_json(file, {name: each.to_dict() for name, each in errors.items()})
    run.write_json(
        "learning.json", {"n_train": [16, 64], "rmse": {"validation": [0.31, 0.21], "lorimer-4-150": [0.4, 0.3]}}
    )
    run.write_json("evaluation.json", _evaluation())
    fit_images(run, n_image=3, gammas=(1.0, 1.1, 1.2, 1.3))
    collect(run)
    return run


def _random_networks(run):
    """Untrained networks whose last layer is scaled so that answers to validation images differ."""
    model, counts = run.images.model("snr-10-150"), run.images.validation().counts
    run.weights("full").parent.mkdir()
    for seed, name in enumerate(SHARES):
        network = ShareEstimator(
            model.region,
            model.exposure,
            part=name,
            network=run.settings.network,
            fingerprint=run.images.fingerprint(),
            seed=seed,
        )
        last = [each for each in network.modules() if isinstance(each, torch.nn.Linear)][-1]
        odds = np.log(1 / network.predict(counts) - 1)
        with torch.no_grad():
            last.weight /= odds.std()
            last.bias += odds.mean()
            last.bias /= odds.std()
        save_estimator(network, run.weights(name))


def _evaluation():
    def judged(k):
        return {"n": 90, "rmse": 0.1 + 0.01 * k, "coverage_68": 0.6 + 0.01 * k, "width_68": 0.2, "crps": None}

    sets = {name: {m: judged(k) for k, m in enumerate(METHODS)} for name in ("validation", "lorimer-4-150")}
    free = {name: {m: told for m, told in each.items() if m != "npe_slope"} for name, each in sets.items()}
    return {"fixed": sets, "free": free}


@pytest.fixture(scope="module")
def drawn(tiny):
    """All figures, by number."""
    from paper.caron2018 import PAPER
    from paper.style import styled

    with styled():
        return {label: script.draw(tiny.folder) for label, script in PAPER.figures.items()}


def panels(figure):
    """Panels of a figure, without its colour bars."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def pair_of(held):
    """The image with the least f_src, and that with the most among those of α > 0."""
    bright = np.flatnonzero(held.theta[:, 1] > 0)
    return [int(np.argmin(held.theta[:, 0])), int(bright[np.argmax(held.theta[bright, 0])])]


def test_the_network_is_drawn_with_its_weights(drawn, tiny):
    network, panel = tiny.network("full"), drawn["6"].axes[0]
    told = [text.get_text() for text in panel.texts]
    assert [tick.get_text() for tick in panel.get_xticklabels()] == [
        *("picture", "conv. 1", "conv. 2", "conv. 3", "dense", "dense", "f_src")
    ]
    assert told[0] == "1×16×16"
    counted = sum(int(each.replace(",", "")) for each in told[3::2])
    assert counted == sum(each.numel() for each in network.parameters())


def test_a_network_that_sees_smooth_light_is_drawn_whole(tiny):
    from paper.caron2018.figure_6 import layers

    model = tiny.images.model("snr-10-150")
    settings = load_settings("images").network
    network = ShareEstimator(model.region, model.exposure, part="full", network=settings, n_light=1)
    drawn = layers(network)
    convolutions = [f"conv. {k + 1}" for k in range(len(settings.widths))]
    assert [layer.name for layer in drawn] == ["picture", *convolutions, "dense", "light", "dense", "f_src"]
    assert sum(layer.n_weight for layer in drawn) == sum(each.numel() for each in network.parameters())


def test_every_figure_of_the_issue_is_there(drawn):
    assert tuple(drawn) == ("2", "3", "5", "6", "7", "8", "9", "T3")


def test_figure_2_shows_the_profiles_and_best_slopes_of_the_fits(drawn, tiny):
    fits, (left, middle, right) = read_template_fits(tiny.folder), panels(drawn["2"])
    for panel, shown in ((left, {name: each[0] for name, each in fits.own.items()}), (middle, fits.other)):
        curves = [line for line in panel.lines if len(line.get_xdata()) > 2]
        dots = [line for line in panel.lines if line.get_marker() == "o"]
        assert len(curves) == len(dots) == len(shown) == 2
        for curve, dot, fit in zip(curves, dots, shown.values(), strict=True):
            assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (fit.gamma, fit.test_statistic)
            between = np.interp(fit.gammas, curve.get_xdata(), curve.get_ydata())
            np.testing.assert_allclose(between, fit.test_statistics, rtol=0.01)
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("inner slope γ", "test statistic")
    assert middle.get_title("right") == "one image of training C"
    bars = right.containers
    assert [bar.get_label() for bar in bars] == ["training A", "training C"]
    for bar, name in zip(bars, fits.own, strict=True):
        np.testing.assert_array_equal(bar.lines[0].get_xdata(), fits.theta[name][:, 0])
        np.testing.assert_allclose(bar.lines[0].get_ydata(), [fit.gamma for fit in fits.own[name]])
        low, high = np.array([segment[:, 1] for segment in bar.lines[2][0].get_segments()]).T
        np.testing.assert_allclose((high - low) / 2, [fit.gamma_error for fit in fits.own[name]])
    assert [line.get_ydata()[0] for line in right.lines if line.get_linestyle() == ":"] == [1.1]


def test_the_real_image_has_a_panel_and_a_table_where_there_is_one(tiny, tmp_path):
    from paper.caron2018 import figure_2
    from paper.caron2018.tables import table_1

    for name in ("run.json", "template_fits.json"):
        shutil.copy(tiny.folder / name, tmp_path)
    stored = json.loads((tmp_path / "template_fits.json").read_text())
    (tmp_path / "template_fits.json").write_text(json.dumps(stored | {"observed": stored["other"]}))
    *_, panel = panels(figure_2.draw(tmp_path))
    assert panel.get_title("right") == "real image"
    dots = [line for line in panel.lines if line.get_marker() == "o"]
    fits = read_template_fits(tmp_path).observed
    assert [dot.get_ydata()[0] for dot in dots] == [fit.test_statistic for fit in fits.values()]
    text = table_1(tmp_path)
    assert text.startswith(table_1(tiny.folder))
    last = text.strip().splitlines()[-1].split(" | ")
    assert last[1].startswith(f"{fits['lorimer-4-150'].gamma:.3f} ± ")
    assert "\nThe real image; " in text


def test_figure_3_shows_two_images_of_the_testing_model(drawn, tiny):
    shown = [panel.images[0].get_array() for panel in panels(drawn["3"])]
    assert len(shown) == 6
    held, model = tiny.images.test("lorimer-4-150"), tiny.images.model("lorimer-4-150")
    low, high = pair_of(held)
    background = model.background_mean[0].reshape(16, 16)
    np.testing.assert_allclose(shown[0], background)
    np.testing.assert_allclose(shown[3], model.halo_templates[0, 0].reshape(16, 16) / np.sqrt(background))
    for k, i in ((1, low), (2, high)):
        np.testing.assert_array_equal(shown[k], held.counts[i, 0].reshape(16, 16))
        np.testing.assert_allclose(shown[k + 3] * np.sqrt(background) + background, shown[k])
        assert panels(drawn["3"])[k].get_title("right") == (
            rf"$f_\mathrm{{src}}$ = {held.theta[i, 0]:.2f}, α = {held.theta[i, 1]:.2f}"
        )
    assert panels(drawn["3"])[0].images[0].get_extent() == [8.0, -8.0, -8.0, 8.0]
    units = [axes.get_ylabel() for axes in drawn["3"].axes if axes.get_label() == "<colorbar>"]
    assert units == ["counts per pixel", "excess / √background"]
    assert panels(drawn["3"])[3].get_xlabel() == "glon (deg)"
    assert panels(drawn["3"])[3].get_ylabel() == "glat (deg)"


def test_figure_8_shows_every_held_out_image_in_every_network(drawn, tiny):
    grid = np.array(panels(drawn["8"])).reshape(2, 6)
    for row, held in zip(grid, (tiny.images.validation(), tiny.images.test("lorimer-4-150")), strict=True):
        predicted = predict(tiny, held.counts)
        for panel, name in zip(row, METHODS[:6], strict=True):
            points, diagonal = panel.lines
            np.testing.assert_array_equal(points.get_xdata(), held.theta[:, 0])
            np.testing.assert_allclose(points.get_ydata(), predicted[name], rtol=1e-5)
            assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
            error = np.sqrt(np.mean((predicted[name] - held.theta[:, 0]) ** 2))
            assert panel.texts[0].get_text() == f"{error:.3f}"
    assert [panel.get_title() for panel in grid[0]][::5] == ["full image", "mean of halves"]
    assert [panel.texts[-1].get_text() for panel in grid[:, -1]] == ["validation", "training C"]
    assert drawn["8"].get_supxlabel() == r"true $f_\mathrm{src}$"
    assert np.ptp(grid[0, 0].lines[0].get_ydata()) > 0.2  # else it would show little


def test_figure_5_shows_an_image_of_every_interstellar_model(drawn, tiny):
    held = {name: tiny.images.validation(name) for name in tiny.images.training}
    held |= {name: tiny.images.test(name) for name in tiny.images.testing}
    for panel, (name, each) in zip(panels(drawn["5"]), held.items(), strict=True):
        counts = each.counts[0].sum(axis=0).reshape(16, 16)
        np.testing.assert_array_equal(panel.images[0].get_array(), np.maximum(counts, 0.5))
        assert panel.get_title("right") == {"snr-10-150": "training A", "lorimer-4-150": "training C"}[name]


def test_figure_7_shows_what_the_convolutions_give(drawn, tiny):
    held, network = tiny.images.test("lorimer-4-150"), tiny.network("full")
    counts = held.counts[pair_of(held)]
    shown = [panel.images[0].get_array() for panel in panels(drawn["7"]) if panel.images]
    layers = activations(network, counts)
    assert len(shown) == 2 + 8 * len(layers)
    np.testing.assert_allclose(shown[0], network.picture(counts)[0].sum(axis=0))
    for k, layer in enumerate(layers):
        inner = slice(1, -1) if layer.shape[-1] >= 6 else slice(None)
        spread = np.sort(layer[:, :, inner, inner].std(axis=(0, 2, 3)))[::-1]
        row = shown[2 + 8 * k : 10 + 8 * k]
        for j in range(4):
            pair = np.stack([row[j], row[j + 4]])
            assert pair[:, inner, inner].std() == pytest.approx(spread[j], rel=1e-5)
            assert any(np.allclose(pair, layer[:, f]) for f in range(layer.shape[1]))
    names = [text.get_text() for panel in panels(drawn["7"]) for text in panel.texts]
    assert names[2] == f"convolution 1: 4 of {layers[0].shape[1]} filters, 16 × 16"
    assert len(names) == 2 + len(layers)


def test_table_3_as_a_figure_shows_the_runs_binned_errors(drawn, tiny):
    found, held = binned_errors(tiny), tiny.images.validation()
    for panel, name in zip(panels(drawn["T3"]), ("full", "halves", "all"), strict=True):
        assert len(panel.patches) == 4
        for k, patch in enumerate(panel.patches):
            np.testing.assert_array_equal(patch.get_data().values, found[name].errors[k])
            np.testing.assert_array_equal(patch.get_data().edges, found[name].edges)
        predicted = predict(tiny, held.counts)[name]
        np.testing.assert_allclose(panel.lines[0].get_ydata(), np.abs(predicted - held.theta[:, 0]), atol=1e-5)
        assert panel.get_xlabel() == r"predicted $f_\mathrm{src}$"
    legend = drawn["T3"].legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["1σ", "2σ", "3σ", "largest"]


def test_figure_9_shows_mean_errors_by_slope(drawn, tiny):
    held = tiny.images.test("lorimer-4-150", free=True)
    (panel,) = panels(drawn["9"])
    error = predict(tiny, held.counts)["halves"] - held.theta[:, 0]
    gamma = held.theta[:, 2]
    edges = np.linspace(gamma.min(), gamma.max(), 5)
    assert len(panel.containers) == 4
    for k, bar in enumerate(panel.containers):
        inside = (gamma >= edges[k]) & (gamma <= edges[k + 1])
        first = inside & (held.theta[:, 0] < 0.2)
        assert bar.lines[0].get_ydata()[0] == pytest.approx(error[first].mean(), abs=1e-5)
        low, high = bar.lines[2][0].get_segments()[0][:, 1]
        assert (high - low) / 2 == pytest.approx(error[first].std(ddof=1) / np.sqrt(first.sum()), abs=1e-5)
        assert bar.get_label() == f"γ {edges[k]:.2f}–{edges[k + 1]:.2f}"
    assert drawn["9"].legends[0].get_title().get_text() == "learnt: γ = 1.1"
    assert panel.get_ylabel() == r"predicted less true $f_\mathrm{src}$"


def test_tables_tell_the_numbers_of_the_run(tiny):
    from paper.caron2018.tables import results

    text = results({"images": tiny.folder})
    fits, errors = read_template_fits(tiny.folder), binned_errors(tiny)["halves"]
    assert "| training A | snr, 10 kpc, 150 K | 45.59 |" in text
    other = fits.other["snr-10-150"]
    assert f"| {other.gamma:.3f} ± {other.gamma_error:.3f} |" in text
    loss = other.log_likelihood - fits.other["lorimer-4-150"].log_likelihood
    assert f"| {other.test_statistic:.0f} | {loss:.0f} |" in text
    k = int(np.argmax(errors.number))
    cells = " | ".join(f"{value:.3f}" for value in errors.errors[:, k])
    for kind in ("validation images", "testing models"):
        assert f"| {k / 10:.2f}–{(k + 1) / 10:.2f} | {kind} | {errors.number[k]} | {cells} |" in text
    assert "| quantiles | training C | free | 90 | 0.170 | 0.670 | 0.200 | – |" in text
    assert "| 64 | 0.210 | 0.300 |" in text
    assert "seed 3" in text
    assert "not finished" in results({})


def test_quoted_numbers_stand_beside_ours(tiny, tmp_path):
    from paper.caron2018.tables import results

    folder = tmp_path / "images"
    shutil.copytree(tiny.folder, folder)
    (folder / "plan.json").write_text(json.dumps({"commit": "abc", "date": "2026-11-30", "machine": "a mill"}))
    text = results({"images": folder}, "test")
    assert text.startswith("# Quoted numbers of Caron et al. (2018), at scale 'test'\n")
    assert "`python -m paper --paper caron2018 --scale test`, at commit abc, 2026-11-30, on a mill;" in text
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if "| `images`" in line]
    held = tiny.images.test("lorimer-4-150")
    off = predict(tiny, held.counts)["halves"] - held.theta[:, 0]
    (row,) = [each for each in rows if each[0] == "error of f_src, mean of halves" and "training C" in each[3]]
    error = np.sqrt(np.mean(off**2))
    noise = np.std([np.sqrt(np.mean(off[np.random.default_rng(k).integers(128, size=128)] ** 2)) for k in range(400)])
    ours, _, margin = row[2].removesuffix(" %").partition(" ± ")
    assert (row[1], float(ours)) == ("up to 10 %", pytest.approx(100 * error, abs=0.06))
    assert float(margin) == pytest.approx(100 * noise, rel=0.2, abs=0.1)
    (row,) = [each for each in rows if "<σv>" in each[0] and "training A" in each[3]]
    found = np.mean([fit.cross_section for fit in read_template_fits(folder).own["snr-10-150"]]) / 1e-27
    assert row[1] == "45.59"
    assert row[2].startswith(f"{found:.1f} ± ")
    largest = np.nanmax(binned_errors(tiny, True)["halves"].errors[3])
    (row,) = [each for each in rows if "largest (Table 3)" in each[0] and "testing" in each[3]]
    assert row[1] == "–"
    assert row[2].endswith(f"–{largest:.3f}")
    assert f"Made by `python -m paper.caron2018 {folder}`;" in results({"images": folder})


def test_a_slope_beyond_those_tried_is_a_bound():
    from gcesbi.baselines.poisson.halo_slope import SlopeFit
    from paper.caron2018.tables import _one_fit

    gammas, ones = np.array([0.8, 1.0, 1.2, 1.4]), np.ones(4)
    rising = SlopeFit(gammas, 50 * gammas, 100 * gammas, ones, 0.1 * ones, 4e-26)
    assert _one_fit(rising) == ("≥ 1.40", "40.0", "140")
    falling = SlopeFit(gammas, -50 * gammas, 200 - 100 * gammas, ones, 0.1 * ones, 4e-26)
    assert _one_fit(falling) == ("≤ 0.80", "40.0", "120")


@pytest.fixture
def unsaved(monkeypatch):
    """Do not write pictures, which takes seconds: an empty file of their name."""
    import paper.caron2018.__main__
    import paper.driver

    def save(figure, stem):
        stem.parent.mkdir(parents=True, exist_ok=True)
        stem.with_suffix(".png").touch()

    monkeypatch.setattr(paper.caron2018.__main__, "save", save)
    monkeypatch.setattr(paper.driver, "save", save)


def test_pictures_are_written(tiny, tmp_path):
    from paper.caron2018.__main__ import main

    assert main([str(tiny.folder), "--out", str(tmp_path), "--draw-only", "--only", "8"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"figure_8.{kind}" for kind in ("pdf", "png", "txt")}
    assert (tmp_path / "figure_8.pdf").read_bytes()[:5] == b"%PDF-"


@pytest.mark.usefixtures("unsaved")
def test_the_command_draws_what_can_be_drawn_and_says_what_is_missing(tiny, tmp_path, capsys):
    from paper.caron2018 import PAPER
    from paper.caron2018.__main__ import main

    run = tmp_path / "run"
    shutil.copytree(tiny.folder, run)
    out = tmp_path / "out"
    assert main([str(run), "--out", str(out), "--draw-only"]) == 0
    assert {path.name for path in out.iterdir()} == {
        *(f"figure_{label}.{kind}" for label in PAPER.figures for kind in ("png", "txt")),
        "RESULTS.md",
    }
    caption = (out / "figure_8.txt").read_text()
    assert "Predicted against true share" in caption
    assert (
        f"run {run}: simulated images of 16 x 16 pixels of 1 deg, 1 to 6 GeV, 100 weeks, no catalogue sources; seed 3;"
        in caption
    )
    (run / "errors.json").unlink()
    (run / "template_fits.json").unlink()
    capsys.readouterr()
    assert main([str(run), "--out", str(tmp_path / "part"), "--draw-only"]) == 1
    told = capsys.readouterr()
    lines = told.err.strip().splitlines()
    assert [line.split(" is missing: ")[0] for line in lines] == ["figure 2", "figure T3", "tables"]
    assert "holds no template_fits.json" in lines[0]
    assert "holds no errors.json" in lines[1]
    assert told.out.strip().endswith("; missing: figure 2, figure T3, tables")
    assert len(list((tmp_path / "part").glob("*.png"))) == 6


def test_runs_that_are_unfit_are_named(tiny, tmp_path, capsys):
    from paper.caron2018.__main__ import main
    from paper.caron2018.collect import ARCHIVE, Collected, collect

    assert main([str(tmp_path / "none")]) == 2
    assert "is no run folder" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.json").write_text(json.dumps({"settings": {"sky": {"kind": "inner-galaxy"}}}))
    assert main([str(other)]) == 2
    assert "must be that of a run on images, is one on maps" in capsys.readouterr().err
    run = tmp_path / "run"
    shutil.copytree(tiny.folder, run)
    whole = (run / ARCHIVE).read_bytes()
    for damaged in (b"not an archive", whole[: len(whole) // 2]):
        (run / ARCHIVE).write_bytes(damaged)
        with pytest.raises(InputError, match=r"caron2018.npz:? (is damaged|must be a whole)"):
            Collected.read(run)
    (run / ARCHIVE).unlink()
    with pytest.raises(InputError, match=r"is unfinished, it holds no paper/caron2018.npz"):
        Collected.read(run)
    (run / "weights" / "left.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds no left.safetensors"):
        collect(Run.open(run))


@pytest.mark.usefixtures("unsaved")
def test_the_paper_is_planned_at_every_scale_and_refuses_the_run_of_another(tiny, tmp_path):
    from paper.caron2018 import PAPER as paper
    from paper.driver import draw_paper
    from paper.graph import SCALES

    laws = {}
    for scale in SCALES:
        (plan,) = paper.plans(scale, tmp_path, tmp_path)
        assert plan.name == "images"
        assert [step.name for step in plan.steps] == ["simulate", "train", "fit", "collect"]
        laws[scale] = plan.law
        assert plan.data == (None if scale == "test" else tmp_path.parent / "catalogs")
        assert (plan.settings["sky"]["catalogue"] is None) == (scale == "test")
    lines = []
    (tmp_path / "new").mkdir()
    missing = draw_paper(paper, "quick", tmp_path / "new", tmp_path / "none" / "maps", tell=lines.append).missing
    assert lines[0].startswith("run images is missing: needs the data folder")
    assert len(missing) == 8
    run = tmp_path / "runs" / "caron2018" / "images"
    shutil.copytree(tiny.folder, run)
    (run / "plan.json").write_text(json.dumps({**laws["test"], "about": "tiny", "version": "0"}))
    outcome = draw_paper(paper, "quick", tmp_path, tmp_path, make_runs=False)
    assert not outcome.drawn
    assert all("was made otherwise" in line for line in outcome.missing.values())
    outcome = draw_paper(paper, "test", tmp_path, tmp_path, make_runs=False)
    assert all("unfinished, step 'simulate' is missing" in line for line in outcome.missing.values())
    for step in ("simulate", "train", "fit", "collect"):
        (run / "steps").mkdir(exist_ok=True)
        (run / "steps" / f"{step}.json").write_text("{}")
    outcome = draw_paper(paper, "test", tmp_path, tmp_path, make_runs=False, only=["5", "8"])
    assert (outcome.drawn, outcome.missing) == (["5", "8"], {})
    assert "run images: tiny; seed 1" in (tmp_path / "figures" / "caron2018" / "figure_5.txt").read_text()

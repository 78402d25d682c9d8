"""The graph of runs and figures: what is made, skipped, refused; what is drawn where something is missing."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import healpy as hp
import numpy as np
import pytest
from matplotlib.figure import Figure

from gcesbi import InputError


@pytest.fixture
def paper():
    """A paper of three figures and three runs that write a number each."""
    from paper.graph import Paper

    def figure(*needs):
        def draw(*folders):
            numbers = [json.loads((folder / "number.json").read_text())["number"] for folder in folders]
            drawn = Figure(figsize=(2, 2))
            axes = drawn.add_subplot()
            axes.plot(numbers)
            axes.set_axis_off()  # a PDF's fonts take a hundred times as long as its lines
            return drawn

        return SimpleNamespace(NEEDS=needs, CAPTION="Numbers.", draw=draw)

    return Paper(
        name="toy",
        title="A toy (2025)",
        figures={"1": figure("a"), "2": figure("a", "b"), "S3": figure("real")},
        plans=plans,
        results=lambda folders, scale: f"{scale}: {', '.join(folders)}\n",
    )


DONE = []


def plans(scale, data, folder, number=1):
    from paper.graph import Plan, Step

    def plan(name, steps, **more):
        def begin(run):
            run.mkdir(parents=True, exist_ok=True)
            return run

        settings = {"seed": 3, "scale": scale, "sky": {"nside": 16}}
        return Plan(name=name, about=f"run {name}", settings=settings, begin=begin, steps=steps, **more)

    def write(run):
        DONE.append(f"{run.name}: write")
        (run / "number.json").write_text(json.dumps({"number": number}))

    def fail(run):
        DONE.append(f"{run.name}: fail")
        raise InputError("nothing works here")

    first = Step(name="write", do=write, options={"number": number})
    return (
        plan("a", (first,)),
        plan("b", (first, *((Step(name="fail", do=fail),) if scale == "paper" else ())), needs=("a",)),
        plan("real", (first,), data=data),
        plan("idle", (first,)),
    )


@pytest.fixture(autouse=True)
def nothing_done():
    DONE.clear()


def test_runs_are_made_once_and_figures_drawn(paper, tmp_path):
    from paper.driver import draw_paper

    told = []
    outcome = draw_paper(paper, "quick", tmp_path, tmp_path, tell=told.append)
    assert outcome.drawn == ["1", "2", "S3"]
    assert outcome.missing == {}
    assert DONE == ["a: write", "b: write", "real: write"]  # no figure needs the fourth
    figures = tmp_path / "figures" / "toy"
    assert sorted(path.name for path in figures.iterdir()) == sorted(
        f"figure_{label}.{kind}" for label in ("1", "2", "s3") for kind in ("pdf", "png", "txt")
    )
    caption = (figures / "figure_2.txt").read_text()
    for fact in (
        "Figure 2 of A toy (2025), redrawn at scale 'quick'",
        "Numbers.",
        "run a",
        "run b",
        "seed 3",
        "nside 16",
    ):
        assert fact in caption
    assert (tmp_path / "RESULTS-toy.md").read_text() == "quick: a, b, real\n"
    draw_paper(paper, "quick", tmp_path, tmp_path)
    assert len(DONE) == 3  # nothing twice
    spent = json.loads((tmp_path / "runs" / "toy" / "a" / "steps" / "write.json").read_text())
    assert spent["options"] == {"number": 1}
    assert spent["seconds"] >= 0


def test_an_interrupted_run_goes_on_where_it_was(paper, tmp_path):
    from paper.graph import make

    _, run, *_ = plans("paper", tmp_path, tmp_path)
    with pytest.raises(InputError, match="nothing works"):
        make(run, tmp_path / "b")
    with pytest.raises(InputError, match="nothing works"):
        make(run, tmp_path / "b")
    assert DONE == ["b: write", "b: fail", "b: fail"]


def test_a_step_that_was_interrupted_says_that_its_cost_is_of_its_last_call_alone(paper, tmp_path):
    from paper.graph import make

    run, *_ = plans("quick", tmp_path, tmp_path)
    begun = tmp_path / "a" / "steps" / "write.begun"
    begun.parent.mkdir(parents=True)
    begun.touch()  # as a kill leaves it
    make(run, tmp_path / "a")
    assert json.loads(begun.with_suffix(".json").read_text())["resumed"] is True
    assert not begun.exists()
    make(run, tmp_path / "other")
    assert json.loads((tmp_path / "other" / "steps" / "write.json").read_text())["resumed"] is False


def test_a_run_made_otherwise_is_refused_and_says_how(paper, tmp_path):
    from paper.graph import check, make

    run, *_ = plans("quick", tmp_path, tmp_path)
    make(run, tmp_path / "a")
    check(run, tmp_path / "a")
    other, *_ = plans("default", tmp_path, tmp_path, number=2)
    for use in (make, check):
        with pytest.raises(InputError, match=r"settings.scale: 'quick', now 'default'; steps.write.number: 1, now 2"):
            use(other, tmp_path / "a")
    changed = replace(other, settings={"seed": 4, "scale": "default", "sky": {"nside": 32}})
    with pytest.raises(InputError, match=r"seed: 3, now 4; .*; settings.sky.nside: 16, now 32; and 1 more$"):
        check(changed, tmp_path / "a")
    (tmp_path / "a" / "plan.json").write_text("{}")
    with pytest.raises(InputError, match=r"plan\.json is damaged"):
        check(run, tmp_path / "a")


def test_a_missing_data_folder_costs_its_figures_alone(paper, tmp_path):
    from paper.driver import draw_paper

    told = []
    outcome = draw_paper(paper, "quick", tmp_path, tmp_path / "nowhere", tell=told.append)
    assert outcome.drawn == ["1", "2"]
    assert list(outcome.missing) == ["S3"]
    (line,) = (line for line in told if "data folder" in line)
    assert line.startswith("run real is missing: needs the data folder")
    assert "nowhere" in line
    assert "\n" not in line
    assert (tmp_path / "RESULTS-toy.md").read_text() == "quick: a, b\n"


def test_an_unfinished_run_costs_its_figures_alone(paper, tmp_path):
    from paper.driver import draw_paper

    outcome = draw_paper(paper, "paper", tmp_path, tmp_path)
    assert outcome.drawn == ["1", "S3"]
    assert "unfinished, step 'fail' is missing" in outcome.missing["2"]


def test_what_needs_a_failed_run_is_not_made(paper, tmp_path):
    from paper.driver import draw_paper

    other, *_ = plans("default", tmp_path, tmp_path)
    from paper.graph import make

    make(other, tmp_path / "runs" / "toy" / "a")
    told = []
    outcome = draw_paper(paper, "quick", tmp_path, tmp_path, tell=told.append)
    assert outcome.drawn == ["S3"]
    assert "run b is missing: it needs a" in told
    assert "was made otherwise" in outcome.missing["1"]


def test_what_nobody_foresaw_costs_a_line_and_leaves_its_traceback(paper, tmp_path):
    """A figure and the results fail in ways that are no InputError: the others are drawn all the same."""
    from paper.driver import draw_paper

    def broken(*_):
        raise ZeroDivisionError("one\nby zero")

    paper.figures["2"].draw = broken
    spoilt = replace(paper, results=broken)
    told = []
    outcome = draw_paper(spoilt, "quick", tmp_path, tmp_path, tell=told.append)
    assert outcome.drawn == ["1", "S3"]
    report = tmp_path / "errors" / "toy" / "figure_2.txt"
    assert outcome.missing["2"] == f"ZeroDivisionError: one by zero ({report})"
    assert "broken" in report.read_text()
    assert [line for line in told if "missing" in line] == [
        f"figure 2 is missing: {outcome.missing['2']}",
        f"results are missing: {outcome.missing['results']}",
    ]
    draw_paper(paper, "quick", tmp_path, tmp_path, only=["1"])
    assert report.is_file()  # figure 2 was not drawn again
    paper.figures["2"].draw = paper.figures["1"].draw
    draw_paper(paper, "quick", tmp_path, tmp_path)
    assert not report.exists()


def test_a_run_that_breaks_costs_itself_and_its_figures(paper, tmp_path):
    from paper.driver import draw_paper

    def broken(*given):
        def fail(_):
            raise RuntimeError("out of luck")

        first, second, *others = plans(*given)
        return (replace(first, begin=fail), second, *others)

    told = []
    outcome = draw_paper(replace(paper, plans=broken), "quick", tmp_path, tmp_path, tell=told.append)
    assert outcome.drawn == ["S3"]
    assert told[0].startswith("run a is missing: RuntimeError: out of luck (")
    assert told[1] == "run b is missing: it needs a"


def test_figures_can_be_chosen(paper, tmp_path):
    from paper.driver import draw_paper

    outcome = draw_paper(paper, "quick", tmp_path, tmp_path, only=["2"])
    assert outcome.drawn == ["2"]
    assert DONE == ["a: write", "b: write"]
    assert not (tmp_path / "RESULTS-toy.md").exists()
    with pytest.raises(InputError, match="figures of toy are 1, 2, S3, got 'S9'"):
        draw_paper(paper, "quick", tmp_path, tmp_path, only=["S9"])


def test_drawing_alone_makes_no_run(paper, tmp_path):
    from paper.driver import draw_paper

    out = tmp_path / "not" / "there"
    outcome = draw_paper(paper, "quick", out, tmp_path, make_runs=False)
    assert DONE == []
    assert "not made yet" in outcome.missing["1"]
    assert (out / "RESULTS-toy.md").read_text() == "quick: \n"


def test_the_exit_status_says_that_figures_are_missing(paper, tmp_path, monkeypatch, capsys):
    from paper import command

    monkeypatch.setattr(command, "PAPERS", {"toy": paper})
    arguments = ["--scale", "quick", "--out", str(tmp_path), "--data"]
    assert command.main([*arguments, str(tmp_path)]) == 0
    assert "3 figures drawn" in capsys.readouterr().out
    (tmp_path / "runs" / "toy" / "real" / "steps" / "write.json").unlink()
    assert command.main([*arguments, str(tmp_path / "nowhere")]) == 1
    assert "2 figures drawn" in (said := capsys.readouterr().out)
    assert "1 missing" in said
    assert command.main([*arguments, str(tmp_path), "--only", "9"]) == 2
    assert "of toy 1, 2, S3; got '9'" in capsys.readouterr().err
    assert command.main([*arguments, str(tmp_path), "--only", "S3", "--draw-only"]) == 1
    assert "1 missing" in capsys.readouterr().out


# -- the declared graph ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["test", "quick", "default", "paper"])
def test_every_need_is_a_run_of_every_scale(scale, tmp_path):
    from paper.list2025 import PAPER

    declared = {plan.name: plan for plan in PAPER.plans(scale, tmp_path / "nowhere", tmp_path)}
    for script in PAPER.figures.values():
        assert set(script.NEEDS) <= set(declared)
    for name in {name for script in PAPER.figures.values() for name in script.NEEDS}:
        json.dumps(declared[name].law, allow_nan=False)
    assert declared["summed"].needs == ("ten",)
    ten, twin = (declared[name].settings for name in ("ten", "summed"))
    assert ten["sky"] == twin["sky"]
    assert twin["network"]["energy"] == "summed"
    assert ten["sky"]["n_energy"] == (2 if scale == "test" else 10)
    weeks = [declared[f"weeks_{number}"].settings["sky"]["weeks"] for number in (567, 812)]
    assert weeks[1] / weeks[0] == pytest.approx(812 / 567)
    assert declared["real_single"].settings["sky"]["gce_populations"] == 1
    assert declared["real_bright"].settings["sky"]["gce_xi_low"] == -12.0
    assert declared["jitter"].settings["sky"]["spectral_jitter"] == 0.5
    assert declared["real_a"].settings["sky"]["diffuse"] == "A"
    early = declared["p6v11"]
    assert early.settings["sky"]["diffuse"] == "p6v11"
    assert early.law["steps"]["fit-nptf"]["priors"]["brightness"] == "amplitude"
    assert declared["one_bin"].settings["sky"]["n_energy"] == 1
    assert declared["one_bin"].law["steps"]["observe"] == {"of": "ten", "summed": True}
    thinned = declared["weeks_567"]
    assert thinned.needs == ("weeks_812",)
    assert thinned.law["steps"]["observe"]["of"] == "weeks_812"
    assert thinned.law["steps"]["observe"]["share"] == 567 / 812
    assert declared["skies"].needs == ("ten", "summed")
    assert declared["skies"].settings["n_maps"] == {"test": 100, "quick": 128}.get(scale, 1000)
    goes_on = scale == "default"
    for name in ("jitter", "weeks_567", "weeks_812"):
        assert (declared[name].settings["training"]["start"] == "shipped") is goes_on
    for name in ("real_a", "real_bright", "real_single"):
        assert declared[name].needs == (("real_o",) if goes_on else ())
        assert declared[name].law["steps"]["train-spectra"] == ({"start": "real_o"} if goes_on else {})
    for name in ("summed", "one_bin", "real_o"):  # twins are trained alike, from nothing
        assert declared[name].settings["training"] == declared["summed"].settings["training"]
        assert declared[name].settings["training"]["start"] == "scratch"
    assert declared["ten"].law["steps"]["poisson-excess"]["n_maps"] == (8 if scale == "test" else 100)


def test_the_papers_network_fits_the_real_map(tmp_path):
    from paper.list2025 import PAPER

    declared = {plan.name: plan for plan in PAPER.plans("paper", tmp_path / "nowhere", tmp_path)}
    for name, nside in (("ten", 256), ("real_o", 128)):
        assert len(declared[name].settings["network"]["widths"]) == np.log2(nside)


def test_a_library_run_of_other_settings_is_refused(several):
    from gcesbi.analysis.settings import load_settings
    from paper.library import library_plan

    settings = load_settings("test", ("sky.nside=16", "sky.n_energy=3"))
    with pytest.raises(InputError, match=r"was made otherwise; seed: 5, now \d+; sky.n_energy: 2, now 3"):
        library_plan("several", "", settings, ()).begin(several)


@pytest.mark.parametrize(("lost", "now"), [("nside", 64), ("n_energy", None)])
def test_settings_that_an_earlier_version_did_not_store_are_defaults(tmp_path, lost, now):
    """A run is known again if what it lacks has its default now, whatever the version; else it is refused."""
    from gcesbi.analysis.settings import load_settings
    from paper.graph import check
    from paper.library import library_plan, plain

    settings = load_settings("test", ("sky.nside=64", "sky.n_energy=3"))
    plan = library_plan("a", "", settings, ())
    stored = {"settings": plain(settings), "steps": {}}
    del stored["settings"]["sky"][lost]
    (tmp_path / "plan.json").write_text(json.dumps(stored))
    if now is not None:
        check(plan, tmp_path)
        return
    with pytest.raises(InputError, match=rf"was made otherwise; settings.sky.{lost}"):
        check(plan, tmp_path)


def test_results_name_what_they_were_made_from(several, one, others, skies):
    from paper.list2025.results import results
    from paper.view import RunView

    mocks = dict.fromkeys(("ten", "summed", "weeks_567", "weeks_812"), several)
    real = dict.fromkeys(("real_o", "real_bright", "nptf_o", "p6v11"), one)
    told = results({**mocks, **real, "skies": skies}, "test")
    view = RunView.open(several)
    share = 100 * view.answer().at("flux_fraction", 0.5)[view.names.index("gce")]
    assert f"| flux share of the excess | ≈ 7 % | {share:.1f} % (" in told
    assert f"{100 * view.answer().more['poisson_share']['excluded_95']:.1f} %" in told
    for quoted in (
        "35,000",
        "3.3 bins",
        "1.6 bins",
        "54 % / 46 %",
        "34 %",
        "200,000",
        "≈ 200",
        "3–4 photons",
        "τ ≤ 0.35",
        "0.271 dex",
        "Model A",
    ):
        assert quoted in told
    assert "0.00 (between the curves" in told  # one run stands for both
    table = [line for line in told.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table[:20]} == {6}
    assert "missing" not in told
    brighter = [line for line in table if line.startswith("| +")]
    assert [line.split("|")[3].strip() for line in brighter] == 4 * ["`ten`", "`summed`", "`real_o`"]
    excluded = np.median(100 * view.arrays("brighter")["excluded"][3])
    assert f"| {excluded:.0f} % (" in brighter[9]
    assert "are 0.00 (0.00–0.00) bins apart; at least the paper's 3.3 bins on 0.0 % of them" in told
    spent = [view.step(path.stem)["cpu_seconds"] for path in (several / "steps").glob("*.json")]
    assert table[-9].startswith("| `ten` | ")
    assert table[-9].endswith(f"| {sum(spent):.0f} s |")
    assert f"at commit {view.json('plan.json')['commit']}, " in told
    assert "whose rows are missing: real_o, real_bright, nptf_o, p6v11, skies" in results(mocks, "test")
    shipped = results({**mocks, **real, "skies": skies, "shipped": others["several"]}, "test")
    assert "| mock, `several`, networks |" in shipped
    alone = results({"shipped": several, "nptf_o": one}, "test")
    assert "35,000" in alone
    assert "54 % / 46 %" in alone


def test_costs_of_interrupted_steps_are_lower_limits(several, tmp_path):
    from paper.list2025.results import _costs
    from paper.view import RunView

    copy = shutil.copytree(several, tmp_path / "run", ignore=shutil.ignore_patterns("simulations"))
    path = copy / "steps" / "evaluate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "resumed": True, "cpu_seconds": 2.0}))
    (own, *_), (total, *_) = _costs({"ten": RunView.open(copy)}), _costs({"ten": RunView.open(several)})
    assert own[4] == "≥ 2 s"
    assert own[-1].startswith("≥ ")
    assert not any("≥" in cell for cell in total)


def test_brighter_mocks_are_brighter_and_the_same_for_twins(several):
    """Sources of the excess move by the shift of ξ: the mean of log₁₀F, weighted by flux, in bins of a quarter dex."""
    from paper.list2025.brighter import moved
    from paper.list2025.mock import Composition
    from paper.view import RunView

    view = RunView.open(several)
    stored = view.arrays("brighter")
    assert stored["shifts"].tolist() == [0.0, 0.5, 1.0, 1.5]
    assert stored["truth"].shape == stored["median"].shape == (4, 4, 26)
    assert stored["excluded"].shape == (4, 4)
    assert stored["held_out"].shape == (128, 26)
    place = (1 - stored["truth"]).sum(axis=2).mean(axis=1)  # in bins, from the first
    assert np.diff(place) == pytest.approx(2.0, abs=0.3)
    assert moved(Composition(), 1.5).excess_counts.xi == pytest.approx(-10.64)
    assert moved(Composition(), 1.5).disk_counts == Composition().disk_counts


def test_a_mock_of_another_run_is_taken_over(several, tmp_path):
    from paper.library import observe_like

    stored = []
    model = SimpleNamespace(**vars(_Model))
    copy = _copied(several, tmp_path / "run").folder
    run = SimpleNamespace(folder=copy, model=model, write_observation=stored.append)
    observe_like(several).do(run)
    (observation,) = stored
    known, found = (json.loads((path / "paper" / "sky.json").read_text()) for path in (several, copy))
    assert observation.counts.sum() == known["counts"]
    assert found["truth"] == known["truth"]
    assert found["fingerprint"] == "of the other run"


class _Model:
    """As much of a model as a description takes."""

    fingerprint, names, point_sources = "of the other run", ("gce",), ("gce",)
    region = SimpleNamespace(nside=16, n_pix=2, solid_angle=0.5)
    energy_edges = scd_edges = np.array([2.0, 20.0])
    exposure = np.ones((1, 2))


# -- maps that are looked at ----------------------------------------------------------------------------------------


def _copied(run, folder):
    """Another run of the same sky."""
    from gcesbi.analysis.run import Run

    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("simulations"))
    return Run.open(folder)


def test_567_weeks_are_photons_of_812(several, tmp_path):
    from paper.library import observe_thinned

    run, share = _copied(several, tmp_path / "run"), 567 / 812
    whole = run.observation().counts
    observe_thinned(several, share, 2025).do(run)
    kept = run.observation().counts
    assert np.all(kept <= whole)
    total = whole.sum()
    assert abs(kept.sum() - share * total) < 5 * np.sqrt(total * share * (1 - share))
    observe_thinned(several, share, 2025).do(run)
    assert np.array_equal(run.observation().counts, kept)
    known, thinned = (json.loads((path / "paper" / "sky.json").read_text()) for path in (several, run.folder))
    assert thinned["truth"] == known["truth"]


def test_one_bin_is_the_sum_of_all(several, one, tmp_path):
    from gcesbi.analysis.run import Run
    from paper.library import observe_summed

    run = _copied(one, tmp_path / "run")
    observe_summed(several).do(run)
    whole = Run.open(several).observation().counts
    assert np.array_equal(run.observation().counts, whole.sum(axis=0, keepdims=True))
    known, summed = (json.loads((path / "paper" / "sky.json").read_text())["truth"] for path in (several, run.folder))
    assert np.array(summed["flux"]) == pytest.approx(np.array(known["flux"]).sum(axis=1, keepdims=True))
    assert summed["scd"] == known["scd"]


def _maps(folder, nside=16):
    """A data folder's interstellar templates: gradients across the sky, each its own."""
    folder.mkdir()
    for k, letter in enumerate("OAF"):
        for name in ("pi", "ic"):
            values = 1 + (k + 1) * np.linspace(0, 1, 12 * nside**2) ** (1 + (name == "ic"))
            np.save(folder / f"template_{letter}{name}.npy", values)
    return folder


def test_other_skies_have_the_interstellar_maps_of_the_folder(several, tmp_path):
    from gcesbi.analysis.run import Run
    from gcesbi.simulation import SkyModel
    from paper.list2025.skies import other_sky

    data, run = _maps(tmp_path / "data"), Run.open(several)
    own = run.settings.sky_of_maps
    assert other_sky(own, "nominal", data) is None
    for letter in "OAF":
        model = SkyModel.build(other_sky(own, f"Model {letter}", data)).like(run.model)
        ring = hp.nest2ring(16, model.region.pixels)
        for row, name in enumerate(("pi", "ic")):
            shape = np.load(data / f"template_{letter}{name}.npy")[ring]
            for template in model.templates[row]:
                assert template / template.sum() == pytest.approx(shape / shape.sum())
        assert model.templates[2:] == pytest.approx(run.model.templates[2:])
    assert other_sky(own, "thick disk", data).disk_height == 1.0
    assert other_sky(own, "NFW of slope 1", data).gamma == 1.0


def test_networks_of_both_kinds_are_asked_about_the_same_maps_of_model_a(several, tmp_path):
    from paper.graph import make
    from paper.list2025.skies import skies_plan, stored_skies

    runs = tmp_path / "runs"
    runs.mkdir()
    for name in ("ten", "summed"):
        (runs / name).symlink_to(several)
    plan = skies_plan(_maps(tmp_path / "data"), runs, 12, ("nominal", "Model A", "thick disk"))
    make(plan, runs / "skies")
    stored = stored_skies(runs / "skies", ("nominal", "Model A", "thick disk"))
    for sky, arrays in stored.items():
        assert arrays["with/source counts/gce/semd"].shape == (12,)
        assert arrays["with/spectrum/disk/sharpness"].shape == (12, 2)
        assert ("without/source counts/gce/semd" in arrays) == (sky != "thick disk")
    first = stored["Model A"]
    assert np.array_equal(first["with/source counts/gce/emd"], first["without/source counts/gce/emd"])  # one network
    assert not np.array_equal(first["with/source counts/gce/emd"], stored["nominal"]["with/source counts/gce/emd"])


# -- a data folder of several energy bins ---------------------------------------------------------------------------


def test_a_folder_of_several_bins_takes_the_mocks_place(tmp_path):
    from paper.list2025 import PAPER

    data = _maps(tmp_path / "several")
    np.save(data / "fermidata_energy_edges.npy", np.geomspace(2, 20, 11))
    np.save(data / "fermidata_exposure.npy", np.ones((10, 3072)))
    declared = {plan.name: plan for plan in PAPER.plans("quick", data, tmp_path)}
    for name in ("ten", "summed", "jitter"):
        plan = declared[name]
        assert (plan.settings["sky"]["kind"], plan.settings["sky"]["diffuse"], plan.data) == ("folder", "O", data)
        assert "mock" not in plan.about
    assert declared["ten"].law["steps"]["observe"] == {}
    assert declared["real_o"].data == declared["one_bin"].data == tmp_path / "fermi-573w"
    assert "mock" in declared["weeks_812"].about


def _ten_of_forty(folder, nside=16):
    """A replica of the public maps in 40 bins, its counts a mock of their own model."""
    from gcesbi import Simulator, SkyModel
    from gcesbi.io.layouts import EBINS
    from paper.list2025.mock import Composition, theta

    folder.mkdir()
    rng, n_pix = np.random.default_rng(40), 12 * nside**2
    dimmer = np.geomspace(2.0, 0.002, 40)[:, None]
    for stem in EBINS.templates.values():
        np.save(folder / f"{stem}.npy", dimmer * rng.uniform(0.5, 1.5, n_pix))
    for stem in EBINS.masks.values():
        np.save(folder / f"{stem}.npy", np.tile(rng.random(n_pix) < 0.02, (40, 1)).astype(float))
    np.save(folder / f"{EBINS.exposure}.npy", np.full((40, n_pix), 9e9))
    counts = np.zeros((40, n_pix))
    np.save(folder / f"{EBINS.counts}.npy", counts)
    model = SkyModel.from_folder(folder, nside=nside, mask=None)
    seen, _ = Simulator(model).observe(theta(model, Composition()), seed=40)
    counts[10:20, hp.nest2ring(nside, model.region.pixels)] = seen.counts
    np.save(folder / f"{EBINS.counts}.npy", counts)
    return seen, folder


def test_the_nominal_run_is_made_on_the_public_maps_in_several_bins(tmp_path, monkeypatch):
    from gcesbi.analysis.run import Run
    from gcesbi.estimators import PoissonFraction
    from paper.driver import draw_paper
    from paper.list2025 import PAPER
    from paper.view import RunView

    monkeypatch.setitem(PoissonFraction.fit.__kwdefaults__, "n_step", 40)
    seen, data = _ten_of_forty(tmp_path / "fermi-573w-energies")
    outcome = draw_paper(PAPER, "test", tmp_path / "out", data, only=["S1"])
    assert (outcome.drawn, outcome.missing) == (["S1"], {})
    run = Run.open(tmp_path / "out" / "runs" / "list2025" / "ten")
    of_run = np.isin(seen.region.pixels, run.model.region.pixels)
    assert np.array_equal(run.observation().counts, seen.counts[:, of_run])
    view = RunView.open(run.folder)
    assert (view.n_energy, view.is_mock) == (10, False)
    told = (tmp_path / "out" / "figures" / "list2025" / "figure_s1.txt").read_text()
    assert "real 573-week map in several energy bins, Model O" in told


# -- why 34 % is not found ------------------------------------------------------------------------------------------


def test_every_run_that_asks_for_a_reason_differs_from_another_in_one_thing(tmp_path):
    from gcesbi.estimators.files import differences
    from paper.list2025.reasons import REASONS

    plans = {plan.name: plan for plan in REASONS.plans("default", tmp_path, tmp_path)}
    declared = {name: plan.settings for name, plan in plans.items()}
    assert {name: each["simulation"]["n_train"] for name, each in declared.items()} == {
        "maps_65k": 65_536,
        "maps_262k": 262_144,
        "maps_524k": 524_288,
        "longer": 65_536,
        "xi": 65_536,
        "expected": 65_536,
    }
    assert all(each["training"]["max_maps"] == 3 * each["simulation"]["n_train"] for each in declared.values())
    assert [name for name, plan in plans.items() if plan.needs == ("maps_262k",)] == ["longer", "xi", "expected"]
    for name, changed in (("xi", "sky.gce_xi_low"), ("expected", "sky.expected_labels")):
        (unlike,) = differences(declared["longer"], declared[name])
        assert unlike.startswith(changed)


def test_a_run_may_go_on_with_the_weights_of_another(several, tmp_path):
    from gcesbi.analysis.run import Run
    from paper import library

    (step,) = library.train(("source_counts",), several)
    assert (step.name, step.options) == ("train-source-counts", {"start": "several"})
    start = Run.open(several)
    slow = replace(start.settings.training, max_maps=64, learning_rate=1e-9)
    run = Run.create(tmp_path / "on", start.settings.model_copy(update={"training": slow}), start.model)
    library.simulate().do(run)
    step.do(run)
    before, after = (each.network("source_counts").state_dict() for each in (start, run))
    learnt = [name for name, _ in run.network("source_counts").named_parameters()]
    assert all(np.allclose(before[name], after[name], atol=1e-6) for name in learnt)
    assert before.keys() == after.keys()


def test_mocks_of_known_poisson_share_are_asked(several, tmp_path):
    from paper.list2025.reasons import SHARES, at_flux_of_map, known_shares, results
    from paper.view import RunView

    run = _copied(several, tmp_path / "run")
    known_shares(3).do(run)
    at_flux_of_map(128, 3).do(run)
    view = RunView.open(run.folder)
    for file in ("known_shares", "at_flux_of_map"):
        found = view.arrays(file)
        assert found["shares"].tolist() == list(SHARES)
        assert found["excluded"].shape == (5, 3)
        values = np.append(found["excluded"], found["observed"])
        assert np.all((values >= 0) & (values <= 1))
    told = results({"maps_65k": run.folder}, "test")
    assert f"| {100 * found['observed'][0]:.1f} % | {100 * np.median(found['excluded'][0]):.1f} % (" in told
    assert "Not made: maps_262k, maps_524k, longer, xi, expected." in told

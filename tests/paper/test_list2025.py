"""Every figure of list2025 from tiny runs: panels, labels, units, number of curves, and the numbers of the run."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gcesbi import InputError
from gcesbi.validation import coverage

LABELS = ("1", "2", *(f"S{number}" for number in range(1, 21)))
PHOTON = "one photon"
SCD = "F² dN/dF [photons cm⁻² s⁻¹ sr⁻¹]"
FLUX = "F [photons cm⁻² s⁻¹]"


@pytest.fixture(scope="module")
def drawn(several, one, others, skies):
    """All figures, by number; second runs have other answers than the first."""
    from paper.list2025 import PAPER
    from paper.style import styled

    folders = {"ten": several, "weeks_567": several, "real_o": one, "one_bin": one, "skies": skies}
    folders["nptf_o"] = one
    folders |= dict.fromkeys(("summed", "jitter", "weeks_812"), others["several"])
    folders |= dict.fromkeys(("real_a", "p6v11", "real_bright", "real_single"), others["one"])
    with styled():
        return {
            label: script.draw(*(folders[name] for name in script.NEEDS)) for label, script in PAPER.figures.items()
        }


@pytest.fixture(scope="module")
def view(several):
    from paper.view import RunView

    return RunView.open(several)


@pytest.fixture(scope="module")
def real(one):
    from paper.view import RunView

    return RunView.open(one)


def panels(figure):
    """Panels of a figure, without its colour bar."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def lines(axes, n_point):
    """Data of the lines with so many points."""
    return np.array([line.get_ydata() for line in axes.lines if len(line.get_ydata()) == n_point])


def texts(figure):
    legends = [*figure.legends, *(axes.get_legend() for axes in panels(figure))]
    return {text.get_text() for legend in legends if legend is not None for text in legend.get_texts()}


def test_every_figure_of_the_issue_is_there(drawn):
    assert tuple(drawn) == LABELS
    assert all(isinstance(figure, Figure) for figure in drawn.values())


@pytest.mark.parametrize("label", LABELS)
def test_panels_have_labels_and_letters(drawn, label):
    figure = drawn[label]
    outer = [axes for axes in panels(figure) if axes.get_subplotspec().is_last_row()]
    said = [axes.get_xlabel() for axes in outer] + [figure.get_supxlabel()]
    assert any(said), "no panel says what its horizontal axis is"
    assert any(axes.get_ylabel() or axes.get_yticklabels() for axes in panels(figure)) or figure.get_supylabel()
    if len(panels(figure)) > 1:
        letters = [f"({c})" for c in "abcdefghijklmnop"][: len(panels(figure))]
        assert [axes.get_title("left") for axes in panels(figure)] == letters


@pytest.mark.parametrize("label", LABELS)
def test_captions_say_what_differs_from_the_papers_figure(label):
    from paper.list2025 import PAPER

    assert "Differs from the paper's figure" in PAPER.figures[label].CAPTION.split("\n\n")[-1]


@pytest.mark.parametrize(
    ("label", "panel"),
    [("1", 1), ("2", 0), ("S2", 0), ("S4", 0), ("S11", 2), ("S16", 0), ("S17", 2), ("S19", 0), ("S20", 0)],
)
def test_source_counts_have_the_papers_axes_and_lines(drawn, label, panel):
    axes = panels(drawn[label])[panel]
    assert axes.get_ylabel() == SCD
    assert {PHOTON, "3FGL threshold", "median"} <= texts(drawn[label])
    assert drawn[label].axes[-1].get_ylabel() == "quantile level τ, dim to bright"
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert len(lines(axes, 26)) == 20  # nineteen levels, and the median again


def bands(axes):
    """Medians of the NPTFs in a panel, by name."""
    known = {patch.get_label(): patch for patch in axes.patches}
    return {name: known[name].get_data().values for name in known if name.startswith("NPTF")}


@pytest.mark.parametrize("label", ["1", "2", "S4", "S11", "S19", "S20"])
def test_real_maps_are_shown_beside_the_nptf(drawn, label):
    assert "NPTF (68 %)" in texts(drawn[label])


def test_the_nptf_of_2016_is_that_of_its_own_run(drawn, real, others):
    from paper.view import RunView

    early = RunView.open(others["one"])
    for axes, source in ((panels(drawn["1"])[2], 0), (panels(drawn["S4"])[0], 0), (panels(drawn["S4"])[1], 1)):
        found = bands(axes)
        for name, view in (("NPTF (68 %)", real), ("NPTF (2016)", early)):
            assert found[name] == pytest.approx(view.arrays("nptf")["f2dndf"][1, source] / view.solid_angle)
    networks, nptf, nptf_2016 = panels(drawn["S4"])[2].lines
    assert networks.get_xdata() == pytest.approx(real.answer().quantities["n_sources"][:, 0])
    assert nptf.get_xdata() == pytest.approx(real.arrays("nptf")["n_sources"][:, 0])
    assert nptf_2016.get_xdata() == pytest.approx(early.arrays("nptf")["n_sources"][:, 0])


def test_the_priors_of_2016_have_one_break_and_amplitudes_flat_in_their_logarithm():
    from paper.library import PRIORS_2016

    assert (PRIORS_2016.n_break, PRIORS_2016.brightness) == (1, "amplitude")
    assert PRIORS_2016.indices == ((2.05, 30.0), (-2.0, 1.95))
    assert PRIORS_2016.breaks == ((0.05, 80.0),)


def spectra_of(axes, n_energy):
    """Of one panel: bands (low, high), medians, points of the fit, truths, each in the order of the components."""
    steps = [patch.get_data() for patch in axes.patches if len(patch.get_data().values) == n_energy]
    fills = [each for each in steps if each.baseline is not None]
    points = [container[0].get_ydata() for container in axes.containers]
    plain = [each.values for each in steps if each.baseline is None]
    return fills, plain, points


@pytest.mark.parametrize(
    ("label", "panel", "who"),
    [
        ("1", 0, "several"),
        ("S11", 0, "one"),
        ("S11", 1, "other one"),
        ("S17", 0, "several"),
        ("S17", 1, "other several"),
        ("S18", 0, "several"),
        ("S18", 1, "other several"),
    ],
)
def test_spectra_are_bands_of_networks_points_of_the_fit_and_truth(drawn, several, one, others, label, panel, who):
    from paper.view import RunView

    known = {"several": several, "one": one, "other several": others["several"], "other one": others["one"]}
    view = RunView.open(known[who])
    axes = panels(drawn[label])[panel]
    assert axes.get_ylabel() == ("E² dN/dE [10⁻⁷ GeV cm⁻² s⁻¹ sr⁻¹]" if panel == 0 else "")
    fills, plain, points = spectra_of(axes, view.n_energy)
    by = view.solid_angle * 1e-7
    answer, fit = view.answer(), view.answer("poisson")
    assert len(fills) == len(points) == 6
    for i in range(6):
        assert fills[i].baseline == pytest.approx(answer.at("spectrum", 0.16)[i] / by)
        assert fills[i].values == pytest.approx(answer.at("spectrum", 0.84)[i] / by)
        assert points[i] == pytest.approx(fit.at("spectrum", 0.5)[i] / by)
    medians = plain[:: 2 if view.is_mock else 1]
    assert np.array(medians) == pytest.approx(answer.at("spectrum", 0.5) / by)
    if view.is_mock:
        low, high = np.array(view.sky["energy_edges"][:-1]), np.array(view.sky["energy_edges"][1:])
        assert np.array(plain[1::2]) == pytest.approx(view.true("flux") * low * high / (high - low) / by)


def test_source_counts_are_those_of_the_run_per_steradian(drawn, view):
    shown = lines(panels(drawn["S16"])[0], 26)
    curves = view.curves["f2dndf"][:, 0] / view.solid_angle
    assert shown[:-1] == pytest.approx(curves, abs=0)
    assert shown[-1] == pytest.approx(curves[9], abs=0)
    assert view.curves["taus"][9] == pytest.approx(0.5)
    width = np.log(10) * np.diff(view.scd_edges)[0]
    flux = view.answer().at("flux", 0.5)[view.names.index("gce")]
    assert curves.sum(axis=1) * width * view.solid_angle == pytest.approx(flux, rel=1e-6, abs=0)  # area is flux
    disk = lines(panels(drawn["S16"])[3], 26)
    assert disk[:-1] == pytest.approx(view.curves["f2dndf"][:, 1] / view.solid_angle, abs=0)


def test_dim_levels_are_darker(drawn):
    first, *_, last, _ = (line for line in panels(drawn["S16"])[0].lines if len(line.get_ydata()) == 26)
    assert sum(first.get_color()[:3]) < sum(last.get_color()[:3])


def test_photon_and_threshold_stand_where_they_should(drawn, view):
    axes = panels(drawn["S16"])[0]
    (photon,) = (line for line in axes.lines if line.get_label() == PHOTON)
    assert photon.get_xdata()[0] == view.photon_flux
    assert view.photon_flux == pytest.approx(1.1e-11 * 573 / 30, rel=0.02, abs=0)  # thirty weeks
    (threshold,) = (patch for patch in axes.patches if patch.get_label() == "3FGL threshold")
    assert threshold.get_x() == 4e-10
    assert threshold.get_width() == pytest.approx(1e-10, rel=1e-9, abs=0)


def test_figure_2_is_the_disk_with_both_networks_and_the_nptf(drawn, view, real):
    with_energies, without = panels(drawn["2"])
    assert lines(with_energies, 26)[:-1] == pytest.approx(view.curves["f2dndf"][:, 1] / view.solid_angle)
    assert lines(without, 26)[:-1] == pytest.approx(real.curves["f2dndf"][:, 1] / real.solid_angle)
    assert bands(without)["NPTF (68 %)"] == pytest.approx(real.arrays("nptf")["f2dndf"][1, 1] / real.solid_angle)


def test_spectra_have_a_panel_for_each_component(drawn, view):
    figure = drawn["S1"]
    assert [axes.get_title() for axes in panels(figure)][4] == "excess"
    assert figure.get_supylabel() == "E² dN/dE [10⁻⁷ GeV cm⁻² s⁻¹ sr⁻¹]"
    by = view.solid_angle * 1e-7
    for i, axes in enumerate(panels(figure)):
        (fill,), (median, _), (point,) = spectra_of(axes, 2)
        assert fill.values == pytest.approx(view.answer().at("spectrum", 0.84)[i] / by)
        assert median == pytest.approx(view.answer().at("spectrum", 0.5)[i] / by)
        assert point == pytest.approx(view.answer("poisson").at("spectrum", 0.5)[i] / by)


def test_four_representations_are_of_one_posterior(drawn, view):
    density, counts, shares, number = panels(drawn["S2"])
    assert lines(density, 26)[:-1] == pytest.approx(view.curves["f2dndf"][:, 0] / view.solid_angle)
    assert counts.get_ylabel() == "dN/dF [photons⁻¹ cm² s sr⁻¹]"
    assert lines(counts, 26) == pytest.approx(view.curves["dndf"][:, 0] / view.solid_angle)
    (median,) = (patch for patch in shares.patches if patch.get_label() == "median")
    assert median.get_data().values == pytest.approx(view.curves["scd_cdf"][9, 0])
    assert lines(number, 26)[:, 0] == pytest.approx(view.curves["n_sources"][:, 0])  # all are brighter than the dimmest
    assert np.all(np.diff(lines(number, 26), axis=1) <= 0)


def test_the_poisson_share_is_limited_at_every_level_and_hatched_where_it_extrapolates(drawn, view, real):
    for axes, run in zip(panels(drawn["S10"]), (view, real), strict=True):
        found = run.answer().more["poisson_share"]["by_tau"]
        assert found["confidences"] == [0.7, 0.95]
        assert [line.get_xdata() for line in axes.lines] == [pytest.approx(found["taus"])] * 2
        assert [line.get_ydata() for line in axes.lines] == [pytest.approx(each) for each in found["limits"]]
        assert np.all(np.array(found["limits"][0]) <= found["limits"][1])
        assert len([patch for patch in axes.patches if patch.get_hatch()]) == sum(found["extrapolates"])
    share = view.answer().more["poisson_share"]
    assert 1 - share["by_tau"]["limits"][1][9] == pytest.approx(share["excluded_95"], abs=1e-6)  # the median's


def test_poisson_maps_are_drawn_at_their_quantiles(drawn, view):
    stored = view.arrays("poisson_excess")
    excess = panels(drawn["S3"])[0]
    (median,) = (patch for patch in excess.patches if patch.get_label() == "median")
    assert median.get_data().values == pytest.approx(stored["scd_cdf"][39, 0])
    assert excess.get_ylabel() == "share of flux from sources below F"
    (photon,) = (line for line in excess.lines if line.get_label() == PHOTON)
    fills = [patch.zorder for patch in excess.patches if patch.get_fill()]
    assert len(fills) > 10
    assert max(fills) < photon.zorder < median.zorder  # the line is seen above the bands


def test_coverage_is_that_of_the_evaluation(drawn, view):
    stored = view.json("validation.json")
    for label, key, name in (("S5", "source_counts", "gce"), ("S8", "spectra", "pi")):
        axes = panels(drawn[label])[9]
        assert axes.get_xlabel() == "nominal level α"
        assert axes.lines[1].get_ydata() == pytest.approx(stored[key][name]["curve"]["coverage"])
    assert [len(axes.lines) for axes in panels(drawn["S8"])[9:11]] == [5, 3]  # the diagonal, and four and two templates


def test_distances_and_widths_mark_their_medians(drawn, view):
    arrays = view.arrays("evaluation")
    signed = panels(drawn["S7"])[0]
    marked = sorted(line.get_xdata()[0] for line in signed.lines)
    assert marked == pytest.approx(
        sorted([0.0, *(np.median(arrays[f"source counts/{n}/semd"]) for n in ("gce", "disk"))])
    )
    assert "flux bins" in signed.get_xlabel()
    for label, key in (("S5", "source counts/gce"), ("S6", "source counts/disk")):
        widths = panels(drawn[label])[10]
        assert [line.get_xdata()[0] for line in widths.lines] == pytest.approx([np.median(arrays[f"{key}/sharpness"])])
    widths = [line.get_xdata()[0] for line in panels(drawn["S8"])[11].lines]
    assert widths == pytest.approx([np.median(arrays[f"spectrum/{name}/sharpness"]) for name in ("gce", "disk")])


def test_nine_held_out_maps_are_shown_with_their_truth(drawn, view):
    from gcesbi.analysis.run import Run

    run, found, by = Run.open(view.folder), view.arrays("examples"), view.solid_angle
    maps = run.store.read(0, 9)
    width = np.log(10) * np.diff(view.scd_edges)[0]
    low, high = np.array(view.sky["energy_edges"][:-1]), np.array(view.sky["energy_edges"][1:])
    for label, source in (("S5", 0), ("S6", 1)):
        for k, axes in enumerate(panels(drawn[label])[:9]):
            assert lines(axes, 26)[:-1] == pytest.approx(found["f2dndf"][k, :, source] / by)
            (truth,) = (patch for patch in axes.patches if patch.get_label() == "truth")
            flux = maps.flux[k, 4 + source].sum()
            assert truth.get_data().values == pytest.approx(maps.scd[k, source] * flux / width / by)
    for k, axes in enumerate(panels(drawn["S8"])[:9]):
        _, truths, points = spectra_of(axes, 2)
        assert np.array(points) == pytest.approx(found["spectrum"][k, 1] / by / 1e-7)
        assert np.array(truths) == pytest.approx(maps.flux[k] * low * high / (high - low) / by / 1e-7)
    asked = run.network("source_counts").quantiles(maps.counts, [0.05, 0.5])
    assert found["scd_cdf"][:, [0, 9]] == pytest.approx(np.swapaxes(asked, 0, 1), abs=1e-6)


def test_a_guess_of_one_half_is_calibrated_and_as_sharp_as_its_width():
    from paper.list2025.figure_s9 import TAUS, guesses

    truth, quantiles = guesses()
    covered = coverage(truth, quantiles, TAUS, [0.5, 0.9])
    assert np.all(np.abs(covered - [0.5, 0.9]) < 4 * np.sqrt(np.array([0.25, 0.09]) / len(truth)))
    np.testing.assert_allclose(np.median(quantiles, axis=0), 0.5)
    width = quantiles[-1] - quantiles[0]
    share = np.histogram(width, np.linspace(0, TAUS[-1] - TAUS[0], 11))[0] / len(width)
    np.testing.assert_allclose(share, 0.1, atol=4 * np.sqrt(0.09 / len(width)))
    assert abs(np.corrcoef(truth[:, 0], width[:, 0])[0, 1]) < 4 / np.sqrt(len(width))  # the width says nothing of it


@pytest.mark.parametrize(("label", "quantity"), [("S12", "spectrum"), ("S13", "source counts")])
def test_other_skies_are_shown_beside_the_nominal_one(drawn, skies, label, quantity):
    from paper.list2025.skies import SKIES, stored_skies

    stored = stored_skies(skies)
    assert tuple(stored) == SKIES == ("nominal", "Model O", "Model A", "Model F", "thick disk", "NFW of slope 1")
    assert {"calibrated", *SKIES} <= texts(drawn[label])
    n_column = 3 if quantity == "source counts" else 2
    for row, name in enumerate(("gce", "disk")):
        coverage, widths, *distances = panels(drawn[label])[row * n_column : (row + 1) * n_column]
        key = f"with/{quantity}/{name}"
        shown = {line.get_label(): line.get_ydata() for line in coverage.lines}
        for sky in SKIES:
            assert shown[sky] == pytest.approx(stored[sky][f"{key}/coverage"])
        assert [text.get_text() for text in widths.get_yticklabels()] == list(SKIES)
        assert medians(widths) == pytest.approx([np.median(stored[sky][f"{key}/sharpness"]) for sky in SKIES])
        for panel in distances:
            assert medians(panel) == pytest.approx([np.median(stored[sky][f"{key}/semd"]) for sky in SKIES])


def medians(axes):
    return axes.containers[0][0].get_xdata()


def test_networks_with_and_without_energies_are_compared_under_model_a(drawn, skies):
    from paper.list2025.skies import stored_skies

    stored = stored_skies(skies, ("nominal", "Model A"))
    coverage = panels(drawn["S14"])[0]
    shown = {line.get_label(): line.get_ydata() for line in coverage.lines}
    for name in ("with, Model A", "without, Model A", "with, nominal", "without, nominal"):
        network, sky = name.split(", ")
        assert shown[name] == pytest.approx(stored[sky][f"{network}/source counts/gce/coverage"])
    widths, distances = panels(drawn["S14"])[1:3]
    for axes, key in ((widths, "sharpness"), (distances, "semd")):
        wanted = [
            np.median(arrays[f"{network}/source counts/gce/{key}"].reshape(128, -1).mean(axis=1))
            for arrays in stored.values()
            for network in ("with", "without")
        ]
        assert {round(float(line.get_xdata()[0]), 9) for line in axes.lines} >= {round(float(w), 9) for w in wanted}


def test_the_difference_between_the_networks_is_that_of_the_same_maps(drawn, skies):
    from paper.list2025.skies import stored_skies

    stored = stored_skies(skies, ("nominal", "Model A"))
    for k, (source, measure) in enumerate((s, m) for s in ("gce", "disk") for m in ("semd", "emd")):
        wanted = [0.0]
        for arrays in stored.values():
            with_energies, without = (arrays[f"{n}/source counts/{source}/{measure}"] for n in ("with", "without"))
            wanted.append(float(np.median(with_energies - without)))
        marked = sorted(float(line.get_xdata()[0]) for line in panels(drawn["S15"])[k].lines)
        assert marked == pytest.approx(sorted(wanted))
        assert {text.split(" (")[0] for text in texts(drawn["S15"])} == {"Model A", "nominal"}


def test_one_map_is_shown_to_three_networks(drawn, view, real, others):
    from paper.view import RunView

    titles = [axes.get_title() for axes in panels(drawn["S16"])]
    assert titles[:3] == ["excess: ten channels", "excess: one channel", "excess: one bin"]
    for axes, run in zip(panels(drawn["S16"]), (view, RunView.open(others["several"]), real), strict=False):
        assert lines(axes, 26)[:-1] == pytest.approx(run.curves["f2dndf"][:, 0] / run.solid_angle)


def test_epochs_name_their_weeks(drawn):
    titles = [axes.get_title() for axes in panels(drawn["S17"])]
    rows = [f"{row}: {weeks} weeks" for row in ("spectra", "excess", "disk") for weeks in (567, 812)]
    assert titles == rows


def test_files_are_small_and_the_same_every_time(skies, tmp_path):
    from paper.list2025 import figure_s15
    from paper.style import save, styled

    with styled():
        first, second = (save(figure_s15.draw(skies), tmp_path / name / "figure") for name in "ab")
    assert [path.suffix for path in first] == [".pdf", ".png"]
    for one_file, other in zip(first, second, strict=True):
        assert one_file.stat().st_size < 1_000_000
        assert one_file.read_bytes() == other.read_bytes()
    assert first[0].read_bytes().startswith(b"%PDF")


def test_too_large_a_file_is_refused(drawn, tmp_path, monkeypatch):
    from paper import style

    monkeypatch.setattr(style, "LARGEST", 1000)
    with pytest.raises(InputError, match="must have at most 1000 bytes"):
        style.save(drawn["S15"], tmp_path / "figure")


# -- runs of another kind -------------------------------------------------------------------------------------------


def test_a_run_of_other_energies_is_refused(several, one):
    from paper.list2025 import PAPER

    with pytest.raises(InputError, match=r"the figure needs several energy bins, .* has 1"):
        PAPER.figures["S5"].draw(one)
    with pytest.raises(InputError, match=r"the figure needs one energy bins?, .* has 2"):
        PAPER.figures["S20"].draw(several, several)


def test_a_folder_without_a_run_is_named(tmp_path):
    from paper.list2025 import PAPER

    with pytest.raises(InputError, match="is no run folder"):
        PAPER.figures["S5"].draw(tmp_path)


def test_unfinished_and_damaged_runs_are_named(several, tmp_path):
    import shutil

    from paper.list2025 import PAPER
    from paper.view import RunView

    copy = tmp_path / "run"
    shutil.copytree(several, copy, ignore=shutil.ignore_patterns("simulations"))
    (copy / "paper" / "evaluation.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"evaluation\.npz: must be a whole NumPy archive"):
        PAPER.figures["S5"].draw(copy)
    (copy / "paper" / "evaluation.npz").unlink()
    with pytest.raises(InputError, match=r"unfinished, it holds no paper/evaluation\.npz"):
        PAPER.figures["S5"].draw(copy)
    (copy / "paper" / "networks.json").write_text("{")
    with pytest.raises(InputError, match=r"networks\.json is damaged"):
        RunView.open(copy).answer()
    (copy / "paper" / "sky.json").unlink()
    with pytest.raises(InputError, match=r"unfinished, it holds no sky\.json"):
        RunView.open(copy)


def test_answers_name_what_they_do_not_know(view, real):
    with pytest.raises(InputError, match="level: must be one of"):
        view.answer().at("flux", 0.33)
    with pytest.raises(InputError, match=r"quantity: .* knows .*, got 'mass'"):
        view.answer().at("mass", 0.5)
    with pytest.raises(InputError, match="looks at a real map"):
        real.true("flux")


# -- the mock's composition -----------------------------------------------------------------------------------------


def test_the_mock_has_the_papers_composition():
    from gcesbi import SkyModel
    from paper.list2025.mock import Composition, theta

    model = SkyModel.preset("inner-galaxy", nside=16, n_energy=2, weeks=812)
    composition = Composition()
    found = model.emission(theta(model, composition)[None])
    diffuse = (found.norms[0] * model.flux_per_norm[:4]).sum()
    populations = np.array([each.flux[0] for each in found.populations])
    total = diffuse + populations.sum()
    assert populations[:2].sum() / total == pytest.approx(0.07)
    assert populations[2] / total == pytest.approx(0.065)
    assert found.norms[0, 0].sum() == pytest.approx(2.594 * 256 * 812 / 573)  # counts per pixel grow with both
    prior = model.prior()
    assert np.isfinite(float(prior.log_prob(theta(model, composition))))

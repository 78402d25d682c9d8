"""Every figure of list2025 from tiny runs: panels, labels, units, number of curves, and the numbers of the run."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gcesbi import InputError
from gcesbi.validation import coverage

MOCK = ("ten", "summed", "jitter", "weeks_567", "weeks_812")
LABELS = ("1", "2", *(f"S{number}" for number in range(1, 21)))
PHOTON = "one photon"
SCD = "F² dN/dF [photons cm⁻² s⁻¹ sr⁻¹]"
FLUX = "F [photons cm⁻² s⁻¹]"


@pytest.fixture(scope="module")
def drawn(several, one):
    """All figures, by number."""
    from paper.list2025 import PAPER
    from paper.style import styled

    with styled():
        return {
            label: script.draw(*(several if name in MOCK else one for name in script.NEEDS))
            for label, script in PAPER.figures.items()
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
    if len(panels(figure)) > 1 and label != "S1":
        assert [axes.get_title("left") for axes in panels(figure)] == [f"({c})" for c in "abcdefgh"][
            : len(panels(figure))
        ]


@pytest.mark.parametrize("label", ["1", "S4", "S10", "S11", "S16", "S17", "S18", "S19", "S20"])
def test_source_counts_have_the_papers_axes_and_lines(drawn, label):
    figure = drawn[label]
    assert panels(figure)[0].get_ylabel() == SCD
    assert panels(figure)[-1].get_xlabel() == FLUX
    assert {PHOTON, "3FGL threshold", "median"} <= texts(figure)
    assert figure.axes[-1].get_ylabel() == "quantile level τ, dim to bright"
    for axes in panels(figure)[:1]:
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert len(lines(axes, 26)) == 20  # nineteen levels, and the median again


@pytest.mark.parametrize("label", ["1", "S4", "S10", "S11", "S19", "S20"])
def test_real_maps_are_shown_beside_the_nptf(drawn, label):
    assert "NPTF (68 %)" in texts(drawn[label])


def test_source_counts_are_those_of_the_run_per_steradian(drawn, view):
    shown = lines(panels(drawn["S16"])[0], 26)
    curves = view.curves["f2dndf"][:, 0] / view.solid_angle
    assert shown[:-1] == pytest.approx(curves, abs=0)
    assert shown[-1] == pytest.approx(curves[9], abs=0)
    assert view.curves["taus"][9] == pytest.approx(0.5)
    width = np.log(10) * np.diff(view.scd_edges)[0]
    flux = view.answer().at("flux", 0.5)[view.names.index("gce")]
    assert curves.sum(axis=1) * width * view.solid_angle == pytest.approx(flux, rel=1e-6, abs=0)  # area is flux
    disk = lines(panels(drawn["S16"])[2], 26)
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


def test_figure_2_shows_quantiles_of_numbers_and_shares(drawn, real):
    left, right = panels(drawn["2"])
    answer = real.answer()
    networks, nptf = left.lines
    assert networks.get_xdata() == pytest.approx(answer.quantities["n_sources"][:, 0])
    assert networks.get_ydata() == pytest.approx(answer.levels)
    assert nptf.get_xdata() == pytest.approx(real.arrays("nptf")["n_sources"][:, 0])
    assert right.lines[0].get_xdata() == pytest.approx(answer.more["poisson_share"]["quantiles"])
    smooth = right.lines[1]
    assert np.all(np.diff(smooth.get_xdata()) >= 0)
    assert np.all(np.diff(smooth.get_ydata()) > 0)


def test_spectra_show_truth_and_two_methods(drawn, view):
    figure = drawn["S1"]
    assert len(panels(figure)) == 6
    assert texts(figure) == {"networks", "Poisson fit", "truth"}
    assert figure.get_supylabel() == "E² dN/dE [10⁻⁷ GeV cm⁻² s⁻¹ / sr]"
    (steps,) = (patch for patch in panels(figure)[4].patches if patch.get_label() == "truth")
    low, high = view.sky["energy_edges"][:2]
    energy = np.sqrt(low * high)
    flux = 1e7 * view.true("flux")[4, 0] / view.solid_angle
    assert steps.get_data().values[0] == pytest.approx(flux * energy**2 / (high - low))


def test_flux_fractions_are_those_of_three_methods(drawn, real):
    figure = drawn["S2"]
    assert {"networks", "Poisson fit", "NPTF"} <= texts(figure)
    medians = [container[0].get_xdata() for container in panels(figure)[0].containers]
    for shown, method in zip(medians, ("networks", "poisson", "nptf"), strict=True):
        assert shown == pytest.approx(real.answer(method).at("flux_fraction", 0.5))


def test_poisson_maps_are_drawn_at_their_quantiles(drawn, view):
    stored = view.arrays("poisson_excess")
    excess = panels(drawn["S3"])[0]
    (median,) = (patch for patch in excess.patches if patch.get_label() == "median")
    assert median.get_data().values == pytest.approx(stored["scd_cdf"][39, 0])
    assert excess.get_ylabel() == "share of flux from sources below F"


def test_coverage_is_that_of_the_evaluation(drawn, view):
    stored = view.json("validation.json")
    for label, key, name in (("S5", "source_counts", "gce"), ("S8", "spectra", "pi")):
        axes = panels(drawn[label])[0]
        assert axes.get_xlabel() == "nominal level α"
        assert axes.lines[1].get_ydata() == pytest.approx(stored[key][name]["curve"]["coverage"])
    assert [len(axes.lines) for axes in panels(drawn["S8"])] == [5, 3]  # the diagonal, and four and two templates


def test_distances_and_widths_mark_their_medians(drawn, view):
    arrays = view.arrays("evaluation")
    signed = panels(drawn["S7"])[0]
    marked = sorted(line.get_xdata()[0] for line in signed.lines)
    assert marked == pytest.approx(
        sorted([0.0, *(np.median(arrays[f"source counts/{n}/semd"]) for n in ("gce", "disk"))])
    )
    assert "flux bins" in signed.get_xlabel()
    widths = [line.get_xdata()[0] for line in panels(drawn["S6"])[0].lines]
    assert widths == pytest.approx([np.median(arrays[f"source counts/{n}/sharpness"]) for n in ("gce", "disk")])


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


def test_misspecified_skies_are_named_and_the_nominal_one_comes_first(drawn, view):
    arrays = view.arrays("misspecification")
    assert {"calibrated", "nominal", "thick disk"} <= texts(drawn["S12"])
    nominal = panels(drawn["S12"])[0].lines[1]
    assert nominal.get_ydata() == pytest.approx(arrays["nominal/source counts/gce/coverage"])
    widths, distances = panels(drawn["S13"])
    assert [text.get_text() for text in widths.get_yticklabels()] == ["nominal", "thick disk"]
    shown = distances.containers[0][0].get_xdata()
    assert shown == pytest.approx(
        [np.median(arrays[f"{sky}/source counts/gce/semd"]) for sky in ("nominal", "thick disk")]
    )


def test_names_of_interstellar_models_can_be_read():
    from paper.list2025.figure_s12 import title_of

    assert title_of("interstellar lorimer-10-100000") == "Lorimer, 10 kpc, 10⁵ K"
    assert title_of("interstellar snr-4-100000") == "SNR, 4 kpc, 10⁵ K"
    assert title_of("thick disk") == "thick disk"


def test_twins_are_compared_map_by_map(drawn, view):
    semd = view.arrays("evaluation")["source counts/gce/semd"]
    axes = panels(drawn["S15"])[0]
    assert axes.lines[1].get_xdata() == pytest.approx(semd)
    assert axes.get_title() == "excess: r = 1.00"  # the run stands for both
    assert len(panels(drawn["S14"])) == 6
    assert {"with", "without", "calibrated"} <= texts(drawn["S14"])


def test_four_representations_are_of_one_posterior(drawn, real):
    _, counts, _, shares = panels(drawn["S10"])
    assert counts.get_ylabel() == "dN/dF [photons⁻¹ cm² s sr⁻¹]"
    assert lines(counts, 26) == pytest.approx(real.curves["dndf"][:, 0] / real.solid_angle)
    assert lines(shares, 26).sum(axis=1) == pytest.approx(np.ones(19))


def test_epochs_name_their_weeks(drawn):
    titles = [axes.get_title() for axes in panels(drawn["S17"])]
    assert titles == ["excess: 567 weeks", "excess: 812 weeks", "disk: 567 weeks", "disk: 812 weeks"]


def test_files_are_small_and_the_same_every_time(several, tmp_path):
    from paper.list2025 import figure_s15
    from paper.style import save, styled

    with styled():
        first, second = (save(figure_s15.draw(several, several), tmp_path / name / "figure") for name in "ab")
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
        PAPER.figures["2"].draw(several)


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
    with pytest.raises(InputError, match=r"evaluation\.npz is damaged"):
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

"""Figures show the numbers they were given, and leave matplotlib's global state alone."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, to_hex

from gcesbi import plots
from gcesbi.errors import InputError
from gcesbi.plots.calibration import draw_histograms
from gcesbi.plots.sky import draw_sky
from gcesbi.plots.style import blank, method_styles
from gcesbi.sky import Region

NAMES = ("pi", "ic", "iso", "bub", "gce", "disk")
EDGES = np.linspace(-13.5 - 6.5 / 24, -7 + 6.5 / 24, 27)
TAUS = np.arange(1, 20) / 20


@pytest.fixture(scope="module")
def region():
    return Region.disc(32)


def summary(median, error=0.1):
    return {"low": median - error, "median": median, "high": median + error}


def cdfs():
    """Falling with τ, from dim to bright: (n_tau, n_bin)."""
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    pdf = np.exp(-0.5 * ((centres - (-11 + TAUS[:, None])) / 0.6) ** 2)
    return np.cumsum(pdf / pdf.sum(axis=1, keepdims=True), axis=1)


def curve(n=19):
    alphas = np.linspace(0.05, 0.95, n)
    return SimpleNamespace(alphas=alphas, coverage=alphas**1.2, low=alphas**1.2 - 0.03, high=alphas**1.2 + 0.03)


def labels(axes):
    return axes.get_legend_handles_labels()[1]


def drawn(figure, tmp_path):
    figure.savefig(tmp_path / "figure.png", dpi=50)
    return (tmp_path / "figure.png").stat().st_size > 1000


# --- sky


def sky_map(region, values, unit="counts per pixel", title="", scale="linear"):
    figure, axes = blank(6.2, 5.2)
    draw_sky(axes, region, values, unit, title, scale)
    return figure


def test_sky_image_holds_every_pixel_where_the_sky_has_it(region):
    """Every centre of a region's pixel, looked up in the image by its coordinates, gives that pixel's value."""
    values = np.arange(region.n_pix, dtype=float)
    image, (left, right, bottom, top) = plots.sky_image(region, values, n=800)
    assert left > right
    glon, glat = region.glon_glat()
    column = ((left - glon) / (left - right) * image.shape[1]).astype(int)
    row = ((glat - bottom) / (top - bottom) * image.shape[0]).astype(int)
    np.testing.assert_array_equal(image[row, column], values)


def test_sky_image_is_empty_outside_the_region(region):
    image, (left, right, bottom, top) = plots.sky_image(region, np.ones(region.n_pix))
    assert np.isnan(image[0, 0])
    rows = bottom + (np.arange(image.shape[0]) + 0.5) / image.shape[0] * (top - bottom)
    assert np.isnan(image[np.abs(rows) < 0.5]).all()
    share = np.isfinite(image).mean() * (left - right) * (top - bottom)
    assert share == pytest.approx(np.degrees(np.degrees(region.solid_angle)) / np.cos(np.radians(12)), rel=0.04)


def test_sky_image_of_a_region_across_the_anticentre_stays_in_one_piece():
    region = Region.disc(32, radius=10, min_latitude=0, centre=(180.0, 0.0))
    _, (left, right, *_) = plots.sky_image(region, np.ones(region.n_pix))
    assert 20 < left - right < 26


@pytest.mark.parametrize("scale", ["linear", "log", "signed"])
def test_sky_map(region, tmp_path, scale):
    values = np.random.default_rng(0).poisson(3, size=region.n_pix) - (4 if scale == "signed" else 0)
    figure = sky_map(region, values, "photons per pixel", "Counts", scale)
    axes, bar = figure.axes
    assert axes.get_xlim()[0] > 0 > axes.get_xlim()[1]
    assert "Galactic longitude" in axes.get_xlabel()
    assert "[deg]" in axes.get_xlabel()
    assert axes.get_title() == "Counts"
    assert bar.get_ylabel() == "photons per pixel"
    image = axes.images[0]
    assert isinstance(image.norm, LogNorm) == (scale == "log")
    if scale == "signed":
        assert image.norm.vmin == -image.norm.vmax
    assert to_hex(image.cmap.get_bad()) == to_hex("0.82")
    assert np.isfinite(image.get_array().compressed()).sum() > 0.4 * image.get_array().size
    assert drawn(figure, tmp_path)


def test_counts_and_residuals_are_in_standard_deviations(region, tmp_path):
    model = np.full(region.n_pix, 4.0)
    counts = np.full(region.n_pix, 4)
    counts[7] = 10
    figure = plots.counts_and_residuals(region, counts, model, "Poisson fit")
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["Counts", "Poisson fit", "Residuals"]
    assert panels[2].images[0].get_array().max() == pytest.approx(3.0)
    assert panels[2].images[0].get_array().min() == pytest.approx(0.0)
    assert panels[0].images[0].get_clim() == panels[1].images[0].get_clim()
    assert drawn(figure, tmp_path)


@pytest.mark.parametrize("nside", [16, 64])
@pytest.mark.parametrize("three", [False, True])
def test_nothing_is_cut_off(nside, three):
    region = Region.disc(nside)
    ones = np.ones(region.n_pix)
    figure = plots.counts_and_residuals(region, ones, ones) if three else sky_map(region, ones, title="Counts")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole, page = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    assert min(whole.x0, whole.y0) >= 0
    assert whole.x1 <= page[0]
    assert whole.y1 <= page[1]


# --- spectra


def test_spectra_show_each_methods_numbers_in_each_templates_panel(tmp_path):
    rng = np.random.default_rng(1)
    median, truth, edges = rng.uniform(0.2, 0.4, (6, 10)), rng.uniform(0.2, 0.4, (6, 10)), np.geomspace(2, 20, 11)
    methods = {"neural": summary(median), "fit": summary(median / 2, 0.05)}
    figure = plots.spectra(NAMES, edges, methods, truth)
    assert len(figure.axes) == 6
    for i, axes in enumerate(figure.axes):
        assert axes.get_title() == NAMES[i]
        for container, factor, error in zip(axes.containers, (1, 0.5), (0.1, 0.05), strict=True):
            x, y = container.lines[0].get_data()
            np.testing.assert_allclose(y, factor * median[i])
            assert np.all((x > edges[:-1]) & (x < edges[1:]))
            bars = np.array(container.lines[2][0].get_segments())
            np.testing.assert_allclose(np.ptp(bars[:, :, 1], axis=1), 2 * error)
        np.testing.assert_allclose(axes.patches[0].get_data().values, truth[i])
    assert figure.get_supxlabel() == "energy [GeV]"
    assert set(labels(figure.axes[0])) == {"neural", "fit", "truth"}
    assert drawn(figure, tmp_path)


def test_spectrum_of_one_energy_bin_is_a_dot_plot(tmp_path):
    median = np.linspace(0.05, 0.3, 6)
    figure = plots.spectra(NAMES, [2, 20], {"fit": summary(median[:, None])}, median[:, None])
    np.testing.assert_allclose([panel.containers[0].lines[0].get_xdata()[0] for panel in figure.axes], median)
    assert [panel.get_title() for panel in figure.axes] == list(NAMES)
    assert figure.get_supxlabel() == "flux fraction"
    assert drawn(figure, tmp_path)


def test_spectra_per_steradian_are_divided_by_the_solid_angle():
    median, edges = np.full((6, 3), 4e-7), [2, 4, 9, 20]
    unit = "E² dN/dE [GeV / cm² / s]"
    figure = plots.spectra(NAMES, edges, {"neural": summary(median, 1e-7)}, median, unit, solid_angle=0.5)
    (container,) = figure.axes[0].containers
    np.testing.assert_allclose(container.lines[0].get_data()[1], 8e-7)
    np.testing.assert_allclose(np.ptp(np.array(container.lines[2][0].get_segments())[:, :, 1], axis=1), 4e-7)
    np.testing.assert_allclose(figure.axes[0].patches[0].get_data().values, 8e-7)
    assert figure.get_supylabel() == "E² dN/dE [GeV / cm² / s / sr]"
    with pytest.raises(InputError, match="solid_angle: must be positive, got 0"):
        plots.spectra(NAMES, edges, {"neural": summary(median)}, solid_angle=0)


def test_methods_do_not_hide_each_other():
    median = np.full(6, 0.2)
    figure = plots.flux_fractions(NAMES, {name: summary(median) for name in "abcd"})
    heights = np.ravel([container.lines[0].get_ydata() for container in figure.axes[0].containers])
    assert np.all(np.diff(heights) > 0.1)
    assert np.all(np.abs(heights) < 0.5)
    colours = {container.lines[0].get_color() for container in figure.axes[0].containers}
    markers = {container.lines[0].get_marker() for container in figure.axes[0].containers}
    assert len(colours) == len(markers) == 4


def test_every_template_has_axes_of_its_own():
    median = np.array([0.6, 0.3, 0.02, 0.05, 0.07, 0.05])
    figure = plots.flux_fractions(NAMES, {"fit": summary(median, 0.1 * median)}, median)
    assert [panel.get_title() for panel in figure.axes] == list(NAMES)
    assert figure.axes[4].get_xlim()[1] < 0.1 < 0.6 < figure.axes[0].get_xlim()[1]


def test_powers_of_ten_are_as_large_as_other_text():
    bands = np.sort(np.random.default_rng(0).uniform(1, 1e4, (5, 26)), axis=0)
    counts = np.random.default_rng(0).poisson(30, 500)
    for figure in (plots.number_densities(EDGES, {"a": bands}), plots.counts_histogram(counts, {"a": counts[None]})):
        FigureCanvasAgg(figure).draw()
        ticks = [each for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for each in axis.get_ticklabels()]
        told = [each.get_text() for each in ticks]
        assert "10²" in told
        assert not any("$" in each for each in told)
        assert min(each.get_fontsize() for each in ticks) >= 10  # points: 11 pixels where a phone shrinks figures


# --- source counts


def test_source_counts(tmp_path):
    density = np.diff(cdfs(), axis=1, prepend=0) * 1e-7 / (6.5 / 24)
    truth = density[12]
    figure = plots.source_counts(
        EDGES, density, TAUS, {"NPTF": summary(truth, 0.2 * truth)}, truth, photon_flux=8.8e-12, title="Excess"
    )
    axes, bar = figure.axes
    *coloured, median = [line for line in axes.lines if len(line.get_xdata()) == 26]
    np.testing.assert_allclose([line.get_ydata() for line in coloured], density)
    np.testing.assert_allclose(median.get_ydata(), density[9])
    assert to_hex(median.get_color()) == "#000000"
    brightness = [np.mean(matplotlib.colors.to_rgb(line.get_color())) for line in (coloured[0], coloured[-1])]
    assert brightness[0] < brightness[1]
    one_photon = [line for line in axes.lines if len(line.get_xdata()) == 2]
    assert one_photon[0].get_xdata()[0] == 8.8e-12
    assert set(labels(axes)) == {"median", "truth", "NPTF", "one photon", "3FGL threshold"}
    steps = {patch.get_label(): patch.get_data().values for patch in axes.patches if hasattr(patch, "get_data")}
    np.testing.assert_allclose(steps["truth"], truth)
    np.testing.assert_allclose(steps["NPTF"], truth)
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert "photons / cm² / s" in axes.get_xlabel()
    assert "dim to bright" in bar.get_ylabel()
    assert drawn(figure, tmp_path)


def test_cumulative_source_counts(tmp_path):
    quantiles = cdfs()
    figure = plots.cumulative_source_counts(EDGES, quantiles, TAUS, quantiles[5], photon_flux=8.8e-12)
    axes = figure.axes[0]
    steps = [patch for patch in axes.patches if hasattr(patch, "get_data")]
    fills = [patch for patch in steps if patch.get_fill()]
    assert len(fills) == len(TAUS) - 1
    np.testing.assert_allclose(fills[3].get_data().values, quantiles[4])
    np.testing.assert_allclose(fills[3].get_data().baseline, quantiles[3])
    named = {patch.get_label(): patch.get_data().values for patch in steps}
    np.testing.assert_allclose(named["median"], quantiles[9])
    np.testing.assert_allclose(named["truth"], quantiles[5])
    assert drawn(figure, tmp_path)


def test_an_empty_population_can_be_drawn(tmp_path):
    assert drawn(plots.source_counts(EDGES, np.zeros((19, 26)), TAUS), tmp_path)


# --- calibration


def test_coverage_curves(tmp_path):
    figure = plots.coverage_curves({"excess": curve(), "disk": curve(10)}, "Held-out maps")
    axes = figure.axes[0]
    diagonal, excess, _ = axes.lines
    np.testing.assert_allclose(diagonal.get_xdata(), diagonal.get_ydata())
    np.testing.assert_allclose(excess.get_ydata(), curve().coverage)
    assert labels(axes) == ["calibrated", "excess", "disk"]
    assert len(axes.collections) == 2
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(curve().low.min())
    assert heights.max() == pytest.approx(curve().high.max())
    assert drawn(figure, tmp_path)


@pytest.mark.parametrize("origin", [None, 0.0])
def test_histograms_share_bins_and_mark_medians(tmp_path, origin):
    rng = np.random.default_rng(2)
    samples = {"excess": rng.normal(0.5, 0.1, (500, 26)), "disk": rng.normal(0.8, 0.2, 700)}
    figure, axes = blank()
    draw_histograms(axes, samples, "width", origin)
    outlines = {patch.get_label().split(" (")[0]: patch.get_data() for patch in axes.patches if not patch.get_fill()}
    for name, sample in samples.items():
        heights = np.histogram(sample, outlines[name].edges)[0] / np.size(sample)
        np.testing.assert_allclose(outlines[name].values, heights)
        assert outlines[name].values.sum() == pytest.approx(1.0)
        assert any(np.isclose(line.get_xdata()[0], np.median(sample)) for line in axes.lines)
    np.testing.assert_array_equal(outlines["excess"].edges, outlines["disk"].edges)
    assert (origin is not None) == any(line.get_xdata()[0] == 0 for line in axes.lines)
    assert drawn(figure, tmp_path)


def test_training_curves(tmp_path):
    steps = np.arange(100)
    figure = plots.training_curves({"training": (steps, 1 / (1 + steps)), "held-out": (steps[::10], steps[::10])})
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), 1 / (1 + steps))
    assert labels(figure.axes[0]) == ["training", "held-out"]
    assert drawn(figure, tmp_path)


# --- rules


def test_global_state_is_left_alone(region, tmp_path):
    before, figures = dict(matplotlib.rcParams), pyplot.get_fignums()
    drawn(plots.flux_fractions(NAMES, {"fit": summary(np.ones(6))}), tmp_path)
    drawn(sky_map(region, np.ones(region.n_pix)), tmp_path)
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == figures == []


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda r: sky_map(r, np.zeros(3)), r"values: must have shape .*, got \(3,\)"),
        (
            lambda r: sky_map(r, np.zeros(r.n_pix), scale="log"),
            "values: a logarithmic map needs a value",
        ),
        (
            lambda r: plots.counts_and_residuals(r, np.ones(r.n_pix), np.zeros(r.n_pix)),
            "model: expected counts must be above zero, got 0",
        ),
        (lambda r: plots.spectra(NAMES, [2, 20], {}), "methods: needs at least one method, got none"),
        (
            lambda r: plots.spectra(NAMES, [2, 20], {"fit": summary(np.zeros((6, 1)))}, order=("networks",)),
            "order: must name every method, fit, got networks",
        ),
        (
            lambda r: plots.spectra(NAMES, [2, 5, 20], {"fit": summary(np.zeros((6, 3)))}),
            r"fit.low: must have shape \(6, 2\), got \(6, 3\)",
        ),
        (
            lambda r: plots.flux_fractions(NAMES, {"fit": {"median": np.zeros(6)}}),
            "fit: a summary needs low, median and high, lacks high, low",
        ),
        (
            lambda r: plots.source_counts(EDGES[::-1], cdfs(), TAUS),
            "edges: must be a vector of increasing",
        ),
        (lambda r: plots.source_counts(10 ** (EDGES + 20), cdfs(), TAUS), r"edges: must be finite log10 fluxes in"),
        (
            lambda r: plots.source_counts(EDGES, cdfs()[:, :5], TAUS),
            r"curves: must have shape \(19, 26\), got \(19, 5\)",
        ),
        (
            lambda r: plots.source_counts(EDGES, cdfs(), TAUS, {str(i): summary(np.ones(26)) for i in range(4)}),
            "bands: at most 3 can be told apart, got 4",
        ),
        (lambda r: plots.coverage_curves({}), "nothing to draw: needs at least one named entry, got none"),
    ],
)
def test_bad_input_is_named(region, draw, message):
    with pytest.raises(InputError, match=message):
        draw(region)


def test_number_densities_have_a_panel_a_method_in_its_colour(tmp_path):
    bands = np.sort(np.random.default_rng(0).uniform(1, 1e4, (5, 26)), axis=0)
    figure = plots.number_densities(EDGES, {"b": bands, "c": bands}, bands[2], 8.8e-12, order=("a", "b", "c"))
    assert [axes.get_title() for axes in figure.axes] == ["b", "c"]
    told = plots.number_densities(EDGES, {"b": bands}, told={"b": "three sources"})
    assert told.axes[0].get_title() == "b\nthree sources"
    assert drawn(figure, tmp_path)
    with pytest.raises(InputError, match="methods: needs at least one"):
        plots.number_densities(EDGES, {})


def test_corner_has_marginals_on_the_diagonal_and_nothing_above(tmp_path):
    rng = np.random.default_rng(0)
    figure = plots.corner({"a": rng.normal(size=(500, 3)), "b": rng.normal(size=(500, 3))}, "xyz", np.zeros(3))
    assert len(figure.axes) == 6
    assert drawn(figure, tmp_path)


def test_counts_histogram_holds_every_pixel(tmp_path):
    rng = np.random.default_rng(0)
    figure = plots.counts_histogram(rng.poisson(3.0, 500), {"fit": rng.poisson(3.0, (50, 500))})
    observed = [patch for patch in figure.axes[0].patches if patch.get_label() == "observed"]
    values, edges, _ = observed[0].get_data()
    assert values @ np.diff(edges) == pytest.approx(500)
    assert drawn(figure, tmp_path)
    with pytest.raises(InputError, match="predicted: needs at least one"):
        plots.counts_histogram([1, 2], {})


def test_no_two_methods_look_alike():
    styles = list(method_styles(map(str, range(36))).values())
    assert len(set(styles)) == 36
    assert [len(set(each)) for each in zip(*styles[:6], strict=True)] == [6, 6]

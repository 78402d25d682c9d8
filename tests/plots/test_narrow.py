"""Figures for a phone: one column, all that is labelled still labelled, and the figure as it was afterwards."""

from io import BytesIO
from types import SimpleNamespace

import matplotlib.image as images
import numpy as np
import pytest

from gcesbi import SkyModel, plots

MEDIAN = np.linspace(0.1, 0.5, 5)
METHODS = {name: {"low": MEDIAN - 0.1, "median": MEDIAN, "high": MEDIAN + 0.1} for name in ("a long name", "another")}


def drawn(figure):
    return plots.png(figure, 50)


def shows_numbers(axes):
    return any(label.get_visible() for label in axes.get_xticklabels())


def places(figure):
    return [axes.get_position().bounds for axes in figure.axes]


def test_panels_stand_one_below_the_other_while_it_lasts():
    figure = plots.flux_fractions(tuple("abcde"), METHODS, MEDIAN)
    before, wide = drawn(figure), figure.get_size_inches()
    with plots.narrowed(figure, 3.7):
        drawn(figure)
        left, bottom, *_ = np.transpose(places(figure))
        assert np.ptp(left) < 1e-6
        assert (np.diff(bottom) < 0).all()
        assert figure.get_figwidth() == 3.7
        assert figure.get_figheight() == wide[1] * 5 / 2
        wide_legend, legend = figure.legends
        assert not wide_legend.get_visible()
        box = legend.get_window_extent()
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
    assert drawn(figure) == before


def test_every_panel_has_numbers_on_its_axes():
    edges = np.geomspace(2, 20, 4)
    known = {"a": {key: np.full((4, 3), value) for key, value in (("low", 1), ("median", 2), ("high", 3))}}
    figure = plots.spectra(tuple("abcd"), edges, known)
    labelled = [shows_numbers(axes) for axes in figure.axes]
    assert not all(labelled)  # those of the first row are those below
    with plots.narrowed(figure, 3.7):
        assert all(shows_numbers(axes) for axes in figure.axes)
    assert [shows_numbers(axes) for axes in figure.axes] == labelled


def test_colour_bars_find_their_way_back():
    region = SkyModel.preset("inner-galaxy", nside=16, n_energy=1).region
    values = np.random.default_rng(0).normal(size=region.n_pix)
    figure = plots.residual_maps(region, values + 10, values, values)
    before = drawn(figure)
    with plots.narrowed(figure, 3.7):
        drawn(figure)
    assert drawn(figure) == before


def test_what_is_written_below_a_panel_of_fixed_shape_is_not_cut():
    levels = np.linspace(0.05, 0.95, 19)
    held = SimpleNamespace(alphas=levels, coverage=levels, low=levels - 0.02, high=levels + 0.02)
    figure = plots.coverage_curves({f"spectrum of template {k}": held for k in range(9)})
    with plots.narrowed(figure, 3.7):
        pixels = images.imread(BytesIO(drawn(figure)))
        assert (pixels[-2:] == 1).all()  # else letters reach the edge
        assert (pixels[-20:] < 0.5).any()


@pytest.mark.parametrize("n", [1, 3])
def test_the_figure_is_as_it_was_after_an_error(n):
    figure = plots.flux_fractions(tuple("abc")[:n], {"m": {key: np.ones(n) for key in ("low", "median", "high")}})
    before = drawn(figure)
    with pytest.raises(RuntimeError, match="stopped"), plots.narrowed(figure, 3.7):
        raise RuntimeError("stopped")
    assert drawn(figure) == before

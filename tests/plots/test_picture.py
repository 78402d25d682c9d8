"""Figures as pictures: what matplotlib draws of them, once everything is in its place."""

from io import BytesIO

import numpy as np
import pytest

from gcesbi import SkyModel, plots

METHODS = {"a": {"low": np.full(4, 0.2), "median": np.full(4, 0.3), "high": np.full(4, 0.4)}}


def saved(figure, dots_per_inch):
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white")
    return buffer.getvalue()


def sky():
    region = SkyModel.preset("inner-galaxy", nside=16, n_energy=1).region
    values = np.random.default_rng(0).normal(size=region.n_pix)
    return plots.residual_maps(region, values + 10, values, values)


def test_it_is_matplotlibs_own():
    figure = plots.flux_fractions(tuple("abcd"), METHODS)
    assert plots.png(figure, 60) == saved(figure, 60)


def test_colour_bars_are_where_matplotlib_puts_them_in_the_end():
    figure = sky()
    drawn = plots.png(figure, 60)
    other = sky()
    for _ in range(4):
        last = saved(other, 60)
    assert drawn == last
    assert plots.png(figure, 60) == drawn


def test_the_figure_is_as_it_was(monkeypatch):
    figure = plots.flux_fractions(tuple("abcd"), METHODS)
    layout, dots = figure.get_layout_engine(), figure.get_dpi()
    plots.png(figure, 33)
    assert (figure.get_layout_engine(), figure.get_dpi()) == (layout, dots)
    monkeypatch.setattr(figure, "savefig", None)
    with pytest.raises(TypeError):
        plots.png(figure, 33)
    assert (figure.get_layout_engine(), figure.get_dpi()) == (layout, dots)

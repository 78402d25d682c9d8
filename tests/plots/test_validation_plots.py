"""Figures of the validation pages: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from gcesbi import plots
from gcesbi.errors import InputError
from gcesbi.validation import Estimate, conditional_mean, curves_along, pit_histogram_band


def test_coverage_by_bin_has_a_point_for_every_known_bin():
    rng = np.random.default_rng(0)
    alphas = np.array([0.68, 0.95])
    curves = curves_along(rng.uniform(size=(2, 120, 5)) < alphas[:, None, None], alphas)
    figure = plots.bin_coverage((None, *curves), np.arange(6.0), "energy")
    first = figure.axes[0].containers[0].lines[0]
    np.testing.assert_allclose(first.get_xdata(), np.arange(1, 6))
    np.testing.assert_allclose(first.get_ydata(), [curve.coverage[0] for curve in curves])
    with pytest.raises(InputError, match="curves: needs at least one bin"):
        plots.bin_coverage((None,), [0.0], "energy")


def test_pit_panels():
    values = np.random.default_rng(1).uniform(size=(150, 3))
    figure = plots.pit_bands({"a": pit_histogram_band(values), "b": pit_histogram_band(values**2)})
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    with pytest.raises(InputError, match="histograms: needs at least one"):
        plots.pit_bands({})


def test_groups_are_named_with_their_maps_and_the_worst_stands_on_top():
    values = np.random.default_rng(2).normal(size=(200, 2)) ** 2
    masks = {"quiet": np.arange(200) < 150, "loud": np.arange(200) >= 150}
    values[150:] *= 4
    axes = plots.group_means(conditional_mean(values, masks, 1.0)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["quiet (150)", "loud (50)"]


def test_estimates_and_recovered_fluxes():
    figure = plots.estimates({"disk": Estimate(0.7, 0.6, 0.8)}, "area", 0.5)
    assert isinstance(figure, Figure)
    with pytest.raises(InputError, match="values: needs at least one"):
        plots.estimates({}, "area", 0.5)
    injected = np.array([[1e-8, 2e-8]])
    recovered = {"fit": np.stack([injected, injected + 1e-9, injected + 3e-9], axis=-1) + 5e-9}
    axes = plots.recovered_fluxes(injected, recovered, {"fit": 6e-9}, "flux").axes[0]
    np.testing.assert_allclose(axes.containers[0].lines[0].get_ydata(), injected.ravel())
    assert axes.get_legend() is not None

"""Families of source counts: densities on nodes, expected and drawn histograms, and what is refused."""

import numpy as np
import pytest
from scipy import stats

from gcesbi import InputError, Map, PointSources, Simulator, SkyModel, Smooth
from gcesbi.physics.scd import DEFAULT_BINS
from gcesbi.simulation.device import DeviceSimulator
from gcesbi.simulation.expected import expected_quantities
from gcesbi.simulation.population_families import (
    BrokenPowerLawPopulation,
    PowerLawPopulation,
    SkewNormalPopulation,
)

K = 5.0  # tolerance of every moment test, in Monte Carlo standard errors
CUT = -7.0
FAMILIES = {
    "skew normal": (SkewNormalPopulation(xi=(-12, -9), flux=(0, 1e-7)), (-10.5, 0.3, 1.0)),
    "no break": (BrokenPowerLawPopulation(indices=[(1, 1.9)], flux=(0, 1e-7)), (1.5,)),
    "one break": (
        BrokenPowerLawPopulation(indices=[(2.1, 5), (-1, 1.9)], breaks=[(-11, -9)], flux=(0, 1e-7)),
        (3.1, 0.4, -10.2),
    ),
    "two breaks": (
        BrokenPowerLawPopulation(
            indices=[(2.1, 5), (1, 2.5), (-1, 3)], breaks=[(-10, -9), (-12, -10)], low=-13.5, flux=(0, 1e-7)
        ),
        (4.0, 1.8, 2.2, -9.4, -10.9),
    ),
    "threshold": (PowerLawPopulation(alpha=(-2.2, -1), low=-12, threshold=-8.8, flux=(0, 1e-7)), (-1.6,)),
}


def density(name):
    """dN/dlog₁₀F of the law, of any unit, and its ends, from the formulas of the literature."""
    _, shape = FAMILIES[name]
    if name == "skew normal":
        law = stats.skewnorm(shape[2], shape[0], np.sqrt(shape[1]))
        return law.pdf, -18.0, CUT
    if name == "threshold":
        return (lambda x: 10.0 ** ((1 + shape[0]) * x)), -12.0, -8.8
    n = (len(shape) + 1) // 2
    indices, breaks = shape[:n], shape[n:]
    low = -13.5 if name == "two breaks" else -25.0

    def dndx(x):
        out = np.zeros_like(x)
        for i, index in enumerate(indices):
            top = breaks[i - 1] if i else CUT
            bottom = breaks[i] if i < len(breaks) else low
            out += (1 - index) * np.clip(x - top, bottom - top, 0)
        return 10.0 ** (out - out.max())

    return dndx, low, CUT


def table(name, n=400_001):
    dndx, low, high = density(name)
    x = np.linspace(low, high, n)
    return x, dndx(x)


@pytest.mark.parametrize("name", FAMILIES)
def test_nodes_have_the_moments_of_the_law(name):
    """Shares of number and flux above any flux: errors of piecewise linear nodes stay below 1 %."""
    family, shape = FAMILIES[name]
    first, step, nodes = family.nodes(np.array(shape), CUT)
    x, exact = table(name)
    at = first + step * np.arange(len(nodes))
    fine = np.linspace(at[0], at[-1], 40_001)
    ours = np.interp(fine, at, nodes)
    for power in (1.0, 2.0):
        told, meant = (
            np.trapezoid(d * 10.0 ** (power * (grid - CUT)), grid) / np.trapezoid(d * 10.0 ** (grid - CUT), grid)
            for d, grid in ((ours, fine), (exact, x))
        )
        assert told == pytest.approx(meant, rel=0.01)
    flux = np.cumsum(ours * 10.0**fine)
    expected = np.interp(fine, x, np.cumsum(exact * 10.0**x) / np.sum(exact * 10.0**x))
    assert np.max(np.abs(flux / flux[-1] - expected)) < 5e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_the_expected_histogram_is_the_integral(name):
    family, shape = FAMILIES[name]
    x, exact = table(name)
    flux = np.concatenate([[0.0], np.cumsum(exact * 10.0**x)])
    upto = np.interp(DEFAULT_BINS.edges[1:-1], np.append(x[0], x), flux / flux[-1])
    expected = np.diff(np.concatenate([[0.0], upto, [1.0]]))
    scd = family.scd(np.array(shape), 3e-8, CUT, 4001)
    found = scd.histogram(DEFAULT_BINS)
    assert found.shape == (26,)
    assert np.max(np.abs(found - expected)) < 1e-3
    if name != "skew normal" and family.model_dump().get("low") is None:
        return  # of infinitely many dim sources there is no number to compare
    number = 3e-8 * np.trapezoid(exact, x) / np.trapezoid(exact * 10.0**x, x)
    assert scd.n_sources == pytest.approx(number, rel=2e-3)


def sky(family, poisson_share=None):
    flat = Map(values=np.ones(12 * 8**2), order="nested", quantity="counts", smoothed=True)
    parts = [
        Smooth(name="flat", template=flat, norm=(0.0, 1.0)),
        PointSources(name="dots", template="nfw", populations=[family], poisson_share=poisson_share),
    ]
    return SkyModel(parts, region={"nside": 8, "radius": 20}, energy_edges=[2.0, 20.0], exposure=1e11)


def theta_of(name, n, flux=3e-8):
    return np.tile([0.5, *FAMILIES[name][1], flux], (n, 1))


@pytest.mark.parametrize("name", FAMILIES)
def test_drawn_sources_have_the_expected_histogram(name):
    """χ² of the mean flux in every bin, and the mean counts: all flux inside, some of it leaks through the PSF."""
    model, n = sky(FAMILIES[name][0]), 400
    theta = theta_of(name, n)
    drawn = Simulator(model).draw(theta, np.random.default_rng(3))
    told = expected_quantities(model, theta[:1])
    expected = np.diff(told["scd_cdf"][0, 0], prepend=0.0) * told["flux"][0, 1]
    each = drawn.scd[:, 0] * drawn.flux[:, 1].sum(axis=-1)[:, None]
    error = each.std(axis=0, ddof=1) / np.sqrt(n)
    used = each.mean(axis=0) > 1e-3 * expected.sum()
    pull = (each.mean(axis=0) - expected)[used] / np.hypot(error[used], 2e-3 * expected[used])
    assert np.max(np.abs(pull)) < K
    assert stats.chi2.sf(np.sum(pull**2), used.sum()) > 1e-4
    assert told["flux"][0, 1] == pytest.approx(3e-8, rel=1e-3)


@pytest.mark.parametrize("name", ["one break", "two breaks", "threshold"])
def test_devices_draw_the_same_law(name):
    model, n = sky(FAMILIES[name][0], poisson_share=(0, 1)), 400
    theta = np.column_stack([theta_of(name, n), np.full(n, 0.3)])
    simulator = Simulator(model)
    one = simulator.draw(theta, np.random.default_rng(1))
    import torch

    other = DeviceSimulator(simulator).draw(theta, torch.Generator().manual_seed(2))
    for field in ("counts", "scd", "flux"):
        ours, theirs = (np.asarray(getattr(d, field), dtype=float).reshape(n, -1) for d in (one, other))
        if field == "counts":
            ours, theirs = ours.sum(axis=1, keepdims=True), theirs.sum(axis=1, keepdims=True)
        error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / n) + 2e-3 * np.abs(ours.mean(axis=0)) / K
        assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= K * error)
    total_one, total_other = (np.asarray(d.counts, dtype=float).sum(axis=(1, 2)) for d in (one, other))
    assert stats.ks_2samp(total_one, total_other).pvalue > 1e-4


def test_a_break_beyond_the_cut_is_no_break():
    family = BrokenPowerLawPopulation(indices=[(2.1, 5), (1, 1.9)], breaks=[(-9, -5)], flux=(0, 1e-7))
    plain = BrokenPowerLawPopulation(indices=[(1, 1.9)], flux=(0, 1e-7))
    for one, other in zip(
        family.nodes(np.array([3.0, 1.5, -6.0]), CUT), plain.nodes(np.array([1.5]), CUT), strict=True
    ):
        np.testing.assert_allclose(one, other)


def test_parameters_have_names_and_units():
    model = sky(FAMILIES["two breaks"][0])
    assert model.prior().names[1:] == tuple(f"dots_{each}" for each in ("n1", "n2", "n3", "break1", "break2", "flux"))
    units = {each.name: each.unit for each in model.prior().parameters}
    assert units["dots_break1"] == "log10 cm-2 s-1"
    assert units["dots_flux"] == "cm-2 s-1"
    assert units["dots_n1"] == ""


DIVERGES = "population: its flux diverges: the last index must stay below 2"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"family": "broken-power-law", "indices": [(1, 2.5)], "flux": (0, 1)}, DIVERGES),
        ({"family": "broken-power-law", "indices": [2.0], "flux": (0, 1)}, DIVERGES),
        (
            {"family": "broken-power-law", "indices": [{"prior": "normal", "centre": 1, "scale": 0.1}], "flux": (0, 1)},
            DIVERGES,
        ),
        (
            {"family": "broken-power-law", "indices": [(1, 1.9)], "breaks": [(-9, -8)], "flux": (0, 1)},
            "indices: must be one more than the 1 breaks, got 1",
        ),
        (
            {"family": "broken-power-law", "indices": [3, 1, 1], "breaks": [(-11, -10), (-10.5, -9)], "flux": (0, 1)},
            "breaks: priors must descend from bright to dim without overlap, break 2 reaches -9",
        ),
        (
            {"family": "broken-power-law", "indices": [3, 1], "breaks": [(-13, -10)], "low": -12, "flux": (0, 1)},
            "low: must lie below every break, got -12",
        ),
        ({"family": "power-law", "alpha": -2, "low": -8, "threshold": -9, "flux": (0, 1)}, "low: must be below"),
        (
            {"family": "power-law", "alpha": -2, "low": float("-inf"), "flux": (0, 1)},
            "its flux may diverge",
        ),
        (
            {"family": "power-law", "alfa": -2, "flux": (0, 1)},
            "alfa: unknown setting; the nearest .* 'alpha'",
        ),
        ({"xi": (-12, -10)}, "flux: is missing"),
        ({"xi": (-12, -10), "flux": (-1, 1)}, "component dots: flux must not be negative nor nil"),
        ({"xi": (-12, -10), "flux": 0.0}, "component dots: flux must not be negative nor nil"),
        ({"xi": 1e300, "flux": 1e-7}, r"xi: must have a mean within \[-30, 0\], has 1e\+300"),
        ({"xi": (-12, -10), "omega2": 1e300, "flux": 1e-7}, r"omega2: must have a mean within \[0, 100\]"),
        ({"xi": (-12, -10), "flux": (0, 1e300)}, r"component dots: flux: must have a mean within \[0, 1\], has 5e"),
        ({"family": "skw-normal", "xi": 1, "flux": 1}, "skew-normal"),
    ],
)
def test_bad_populations_are_refused(told, message):
    with pytest.raises(InputError, match=message) as caught:
        PointSources(name="dots", template="nfw", populations=[told])
    assert "\n" not in str(caught.value)

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import poisson

from gcesbi.baselines import BrokenPowerLaws, NptfLikelihood, nptf_log_likelihood
from gcesbi.baselines.nptf.count_integrals import mean_counts
from gcesbi.baselines.nptf.likelihood import exposure_groups
from gcesbi.baselines.nptf.scd_family import SourceView, log_mean_gradient
from gcesbi.errors import InputError
from gcesbi.physics.broken_power_law import BrokenPowerLaw

F, RHO = np.array([0.1, 0.5, 0.9]), np.array([2.0, 0.7, 0.5])
THETA = [0.4, 6.0, 1.3, -1.0, 8.0, 1.5]


@pytest.fixture(scope="module")
def reference(reference_folder):
    return json.loads((reference_folder / "nptf_log_likelihood.json").read_text())


def theta_gradient(likelihood, mean, thetas):
    """Log-likelihood and its derivatives by [A, n_1 .., S_1 ..] of every template, through those of unit vectors."""
    found = likelihood.vector_gradient(mean, likelihood._vectors([np.asarray(theta) for theta in thetas]))
    slopes = []
    for j, (theta, view) in enumerate(zip(thetas, likelihood.views, strict=True)):
        shape, norm = np.array(theta[1:]), mean_counts(np.array([theta]))[0]
        unit = BrokenPowerLaws(len(theta) // 2 - 1).bind(view).unit_gradient(shape)
        by_unit = np.einsum("gm,gsm->s", found.by_vectors[:, j, : view.n], unit)
        by_shape = by_unit[1:] + log_mean_gradient(shape) * by_unit[0]
        slopes.append(norm * np.concatenate([[by_unit[0] / theta[0]], by_shape]))
    return found.value, slopes


def point_arguments(maps, reference, point):
    ratio = maps.exposure / maps.exposure.mean()
    table = reference["psf_correction"]
    mean = np.asarray(point["poisson_norms"]) @ maps.templates
    thetas = [np.array(point["theta_gce"]), np.array(point["theta_dsk"])]
    return maps.counts, mean, maps.templates[4:6] / ratio, thetas, table["f"], table["df_rho"]


def test_reference_points(real_maps, reference):
    assert len(reference["points"]) == 28
    for point in reference["points"]:
        got = nptf_log_likelihood(*point_arguments(real_maps, reference, point))
        assert abs(got - point["log_likelihood"]) < 1e-6, point["id"]


def test_gradient_on_the_real_map(real_maps, reference):
    for point in reference["points"][::9]:
        counts, mean, templates, thetas, f, rho = point_arguments(real_maps, reference, point)
        likelihood = NptfLikelihood.build(counts, templates, f, rho)
        value, gradient = theta_gradient(likelihood, mean, thetas)
        assert value == pytest.approx(point["log_likelihood"], abs=1e-6)
        for j in range(2):
            for i in range(len(thetas[j])):
                h = 1e-4 * abs(thetas[j][i])
                values = []
                for shift in (-2, -1, 1, 2):
                    moved = [theta.copy() for theta in thetas]
                    moved[j][i] += shift * h
                    values.append(likelihood(mean, moved))
                slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
                assert gradient[j][i] == pytest.approx(slope, rel=1e-6, abs=1e-9 / h)


def simple_x(theta, m, template=1.0):
    """x_m by adaptive quadrature, and x_Σ for m = 0."""
    n_break = len(theta) // 2 - 1
    scd = BrokenPowerLaw(theta[0], tuple(theta[1 : n_break + 2]), tuple(theta[n_break + 2 :]))

    def integrand(v):
        s = np.exp(v)
        shown = 1 - np.exp(-F * s) if m == 0 else poisson.pmf(m, F * s)
        return s * scd.density(s) * (RHO @ shown)

    edges = np.log([1e-9, *sorted(scd.breaks), 1e3])
    return template * sum(quad(integrand, a, b, epsabs=0, epsrel=1e-11, limit=400)[0] for a, b in pairwise(edges))


def test_small_map_agrees_with_quadrature():
    counts, mean, template = np.array([0, 1, 6, 3]), np.array([1.0, 0.0, 2.0, 0.5]), np.array([1.0, 0.6, 2.0, 0.0])
    x = np.array([simple_x(THETA, m) for m in range(7)])
    expected = 0.0
    for k, mu, t in zip(counts, mean, template, strict=True):
        y = np.arange(7) * t * x
        y[1] += mu
        p = [np.exp(-mu - t * x[0])]
        for i in range(1, k + 1):
            p.append(sum(y[m] * p[i - m] for m in range(1, i + 1)) / i)
        expected += np.log(p[k])
    assert nptf_log_likelihood(counts, mean, [template], [THETA], F, RHO) == pytest.approx(expected, abs=1e-8)


def test_simulated_pixels_follow_the_probabilities():
    """Brute force: draw sources, spread and count their photons; chi-square within 5 standard deviations."""
    rng = np.random.default_rng(11)
    theta = [2.0, 6.0, -1.0, 4.0]
    scd = BrokenPowerLaw(2.0, (6.0, -1.0), (4.0,))
    n_map = 40_000
    total = np.zeros(n_map, dtype=np.int64)
    for f, weight in zip(F, RHO, strict=True):
        number = rng.poisson(weight * float(scd.number_between(0, np.inf)), n_map)
        photons = rng.poisson(f * scd.sample(int(number.sum()), rng))
        total += np.bincount(np.repeat(np.arange(n_map), number), photons, minlength=n_map).astype(np.int64)
    total += rng.poisson(1.5, n_map)
    k = np.arange(40)
    likelihood = NptfLikelihood.build(k, np.ones((1, k.size)), F, RHO)
    expected = n_map * np.exp(likelihood.log_probabilities(np.full(k.size, 1.5), [theta]))
    seen = np.bincount(total, minlength=40)[:40]
    used = expected > 20
    chi2 = np.sum((seen - expected)[used] ** 2 / expected[used])
    assert abs(chi2 - used.sum()) < 5 * np.sqrt(2 * used.sum())


@given(
    n1=st.floats(2.5, 30),
    n2=st.one_of(st.floats(-10, 1.999), st.sampled_from([1.0, 1 + 1e-6, 0.0])),
    s1=st.floats(0.01, 20),
    mean=st.floats(0, 10),
)
@settings(deadline=None, max_examples=25)
def test_probabilities_sum_to_one(n1, n2, s1, mean):
    photons = 5.0  # per pixel, whatever the distribution
    scd = BrokenPowerLaw(1.0, (n1, n2), (s1,))
    k = np.arange(2000)
    likelihood = NptfLikelihood.build(k, np.ones((1, k.size)), F, RHO)
    p = np.exp(likelihood.log_probabilities(np.full(k.size, mean), [[photons / scd.total_flux, n1, n2, s1]]))
    far = 1e4 * photons / scd.total_flux * s1 * (s1 / 2000) ** (n1 - 1)  # bound on sources beyond 2,000 photons
    assert abs(p.sum() - 1) < 1e-12 + far


HARD = {
    "steep and faint": [30.0, 1.2, -2.0, 0.05, 0.01],
    "bright": [2.5, 1.7, 0.5, 500.0, 3.0],
    "index near 1": [6.0, 1 + 1e-6, 1 - 1e-7, 30.0, 2.0],
    "whole indices": [3.0, 2.0, 1.0, 20.0, 1.0],
    "breaks almost equal": [10.0, 1.5, -10.0, 12.0, 12.0 - 1e-7],
    "three breaks": [20.0, 2.2, 1.8, -1.0, 40.0, 10.0, 0.5],
    "barely finite flux": [12.0, 1.5, 1.999, 15.0, 1.0],
    "one break": [4.0, -3.0, 8.0],
}


def generating_function(shape, t):
    """Σ ρ ∫ dN/dS (e^{f S (t - 1)} - 1) dS for A = 1, (n_t,): neither X_m nor a recursion; linear in S below 1e-12."""
    n_break = len(shape) // 2
    scd = BrokenPowerLaw(1.0, tuple(shape[: n_break + 1]), tuple(shape[n_break + 1 :]))
    nodes, weights = np.polynomial.legendre.leggauss(12)
    edges = sorted([np.log(1e-12), 0.0, *np.log(scd.breaks), np.log(scd.breaks[0]) + 40 / (shape[0] - 1)])
    width = {a: 0.4 if b <= 0 else 0.1 for a, b in pairwise(edges)}  # nothing oscillates below one photon
    pieces = np.concatenate([np.linspace(a, b, max(2, int((b - a) / width[a])) + 1) for a, b in pairwise(edges)])
    half = np.diff(pieces)[:, None] / 2
    s = np.exp(pieces[:-1, None] + half * (1 + nodes)).ravel()
    number = (half * weights).ravel() * s * scd.density(s)
    total = float(scd.flux_between(0.0, 1e-12)) * (F @ RHO) * (t - 1)
    for f, rho in zip(F, RHO, strict=True):
        total = total + rho * np.expm1(np.outer(t - 1, f * s)) @ number
    return total, scd.total_flux


@pytest.mark.parametrize("name", list(HARD))
def test_hard_points_agree_with_the_inverted_generating_function(name):
    """ln L of a map by a Fourier sum over a circle, at corners of the parameter space.

    The sum mixes in the probability of 2,048 more photons; within the unit circle it does so 10⁻¹² times less. Half the
    circle tells the other.
    """
    shape = HARD[name]
    radius = 1e-12 ** (1 / 2048)
    t = radius * np.exp(2j * np.pi * np.arange(1025) / 2048)
    exponent, photons = generating_function(shape, t)
    theta = [8.0 / photons, *shape]
    counts = np.array([0, 2, 9, 30, 5, 12, 0])
    mean = np.array([1.0, 0.0, 3.0, 6.0, 5.0, 0.0, 0.0])
    template = np.array([0.3, 0.5, 1.0, 2.0, 0.0, 1.5, 0.0])  # no sources in two pixels, nothing at all in one
    expected = 0.0
    for k, mu, weight in zip(counts, mean, template, strict=True):
        values = np.exp(mu * (t - 1) + weight * theta[0] * exponent)
        expected += np.log(np.fft.hfft(values, 2048)[k] / 2048) - k * np.log(radius)
    got = nptf_log_likelihood(counts, mean, [template], [theta], F, RHO)
    assert got == pytest.approx(expected, abs=1e-6)


def test_faint_sources_are_poisson():
    counts, template = np.array([3, 0, 8]), np.array([1.0, 2.0, 0.5])
    scd = BrokenPowerLaw(1.0, (30.0, -5.0), (1e-5,))
    theta = [4.0 / scd.total_flux, 30.0, -5.0, 1e-5]
    got = nptf_log_likelihood(counts, np.ones(3), [template], [theta], F, RHO)
    mean = 1 + 4 * template * (F @ RHO)
    assert got == pytest.approx(poisson.logpmf(counts, mean).sum(), abs=1e-4)


def test_exposure_groups_agree_with_their_own_maps():
    rng = np.random.default_rng(3)
    counts, mean, template = rng.poisson(5, 40), np.full(40, 3.0), rng.random(40)
    ratio = np.repeat([0.8, 1.3], 20)
    group, means = exposure_groups(ratio, 2, 40)
    view = SourceView(np.tile(F, (2, 1)), np.tile(RHO, (2, 1)), means, 1.0, int(counts.max()) + 1)
    grouped = NptfLikelihood.of_groups(counts, [template], group, [view])
    expected = 0.0
    for value in (0.8, 1.3):
        part = ratio == value
        theta = [THETA[0] / value, *THETA[1:4], THETA[4] * value, THETA[5] * value]
        expected += nptf_log_likelihood(counts[part], mean[part], [template[part]], [theta], F, RHO)
    assert grouped(mean, [THETA]) == pytest.approx(expected, abs=1e-10)
    gradient = theta_gradient(grouped, mean, [THETA])[1][0]
    for i, t in enumerate(THETA):
        h = 1e-5 * max(abs(t), 0.1)
        up, down = list(THETA), list(THETA)
        up[i], down[i] = t + h, t - h
        assert gradient[i] == pytest.approx((grouped(mean, [up]) - grouped(mean, [down])) / (2 * h), rel=1e-6, abs=1e-6)


def test_batches_do_not_depend_on_the_number_of_workers():
    rng = np.random.default_rng(4)
    counts, template, smooth = rng.poisson(5, 50), rng.random((2, 50)), rng.random((3, 50))
    likelihood = NptfLikelihood.build(counts, template, F, RHO)
    norms = 2 * rng.random((9, 3))
    thetas = np.tile(np.array(THETA), (9, 2, 1)) * (1 + 0.1 * rng.random((9, 2, 1)))
    families = [BrokenPowerLaws(2).bind(view) for view in likelihood.views]

    def vectors(part):
        out = np.zeros((part.stop - part.start, 1, 2, likelihood.n_row))
        for j, family in enumerate(families):
            family.unit_vectors(thetas[part, j, 1:], out[:, :, j])
            out[:, :, j] *= mean_counts(thetas[part, j])[:, None, None]
        return out

    runs = [likelihood.evaluate_many(norms, likelihood.lanes(smooth), vectors, workers) for workers in (1, 3)]
    assert runs[0].tobytes() == runs[1].tobytes()
    single = [likelihood(norm @ smooth, list(theta)) for norm, theta in zip(norms, thetas, strict=True)]
    np.testing.assert_allclose(runs[0], single, rtol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thetas": [[0.4, 6.0, 1.3, -1.0, 1.5, 8.0]]}, "theta: breaks must be positive and descending"),
        ({"thetas": [[0.4, 6.0, 2.0, 8.0]]}, "the last index must be below 2"),
        ({"thetas": [[0.4, 1.0, 1.0, 8.0]]}, "the first index must be above 1"),
        ({"thetas": [[-0.4, 6.0, 1.0, 8.0]]}, "A must not be negative"),
        ({"thetas": [[np.nan, 6.0, 1.0, 8.0]]}, "theta: must be finite"),
        ({"thetas": [[0.4, 6.0, 1.0]]}, "theta: must hold"),
        ({"thetas": [THETA, THETA]}, "thetas: need one for each of 1"),
        ({"counts": [1, -2]}, "counts: must not be negative"),
        ({"counts": np.ma.masked_equal([1, 2], 2)}, "counts: must be an array without masked values, has 1"),
        ({"mean": [1.0, -2.0]}, "mean: must be finite and not negative, got -2.0"),
        ({"mean": [1.0, np.inf]}, "mean: must be finite and not negative, got inf"),
        ({"mean": [1.0]}, r"mean: must have shape \(2,\), got \(1,\)"),
        ({"templates": [[1.0, -1.0]]}, "templates: must be finite and not negative"),
        ({"templates": [[1.0]]}, "templates: must have shape"),
        ({"psf_f": [0.1, 0.5, 1.2]}, "psf_f: must lie in"),
        ({"psf_df_rho": [0.1, 0.5]}, "psf_f, psf_df_rho: must be vectors of one length"),
        ({"psf_df_rho": [0.1, 0.5, -1.0]}, "psf_df_rho: must be finite and not negative"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"counts": [1, 2], "mean": [1.0, 2.0], "templates": [[1.0, 0.5]], "thetas": [THETA], "psf_f": F}
    with pytest.raises(InputError, match=message):
        nptf_log_likelihood(**({**arguments, "psf_df_rho": RHO} | change))


def test_exposure_groups_are_checked():
    with pytest.raises(InputError, match="n_exposure: must be at least 1"):
        exposure_groups(None, 0, 1)
    with pytest.raises(InputError, match="exposure_ratio: must be above zero"):
        exposure_groups([1.0, 0.0], 2, 2)

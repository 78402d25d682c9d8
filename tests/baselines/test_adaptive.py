"""Adaptive template fits: the solver on arrays against finite differences, quadrature and the plain fit."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from gcesbi.baselines.poisson.adaptive import AdaptiveProblem
from gcesbi.baselines.poisson.modes import ModeBasis, Modes
from gcesbi.baselines.poisson.optimum import PoissonProblem


def problem(n_energy=2, n_pix=60, sigma=0.3, seed=0, n_mode=6, brightness=20.0, together=False):
    """Three templates: the first (and second) and the last are modulated, the last with its own modes in each bin."""
    rng = np.random.default_rng(seed)
    templates = rng.uniform(0.5, 1.5, (3, n_energy, n_pix))
    wide = rng.standard_normal((n_pix, 3))
    narrow = random_array((n_pix, n_mode), density=0.2, rng=rng, format="csr")
    shared = ModeBasis(csr_array(sigma * np.concatenate([wide, narrow.toarray()], axis=1)))
    own = []
    for e in range(n_energy):
        modes = np.zeros((n_pix, 2 * n_energy))
        modes[:, 2 * e : 2 * e + 2] = sigma * rng.standard_normal((n_pix, 2))
        own.append(ModeBasis(csr_array(modes)))
    modes = (Modes((0, 1) if together else (0,), (shared,) * n_energy), Modes((2,), tuple(own)))
    n_norm = 3 * n_energy
    norms = brightness * rng.uniform(0.5, 1.0, n_norm)
    bounds = np.tile([0.0, np.inf], (n_norm, 1))
    empty = np.zeros((n_energy, n_pix), dtype=np.int64)
    weights = rng.uniform(0.8, 1.2, (n_energy, n_pix))
    made = AdaptiveProblem(empty, templates, bounds, norms, np.full(n_norm, 10.0), modes, weights)
    z = rng.standard_normal(made.n_latent)
    mean = np.einsum("et,tep->ep", norms.reshape(n_energy, -1), made.modulated(z))
    return replace(made, counts=rng.poisson(mean)), norms, z


def differences(function, at, step=1e-5):
    moved = [(function(at + step * e), function(at - step * e)) for e in np.eye(len(at))]
    return np.array([(np.asarray(up) - np.asarray(down)) / (2 * step) for up, down in moved])


@pytest.mark.parametrize("together", [False, True])
def test_gradient_and_information_are_those_of_differences(together):
    made, norms, z = problem(together=together)
    n = len(norms)

    def value(x):
        return made.objective(x[:n], x[n:])

    def mean(x):
        return np.einsum("et,tep->ep", x[:n].reshape(2, -1), made.modulated(x[n:])).ravel()

    point = np.concatenate([1.1 * norms, 0.5 * z])
    slope = np.concatenate(made.gradient(point[:n], point[n:]))
    np.testing.assert_allclose(slope, differences(value, point), rtol=1e-5, atol=1e-5)
    jacobian, known = differences(mean, point), np.concatenate([made.width**-2.0, np.ones(len(z))])
    information = jacobian * (made.counts.ravel() / mean(point) ** 2) @ jacobian.T + np.diag(known)
    by_norms, mixed, by_latent = made.curvature(point[:n], point[n:])
    found = np.block([[by_norms, mixed], [mixed.T, by_latent]])
    np.testing.assert_allclose(found, information, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("together", [False, True])
def test_the_determinant_moves_as_its_slopes_say(together):
    """Counts are as expected, so that observed and expected information are one; z follows the norms."""
    made, _, _ = problem(together=together)
    best = made.maximise()

    def log_determinant(norms):
        latent = best.latent - best.response @ (norms - best.norms)
        mean = np.einsum("et,tep->ep", norms.reshape(2, -1), made.modulated(latent))
        return np.linalg.slogdet(replace(made, counts=mean).curvature(norms, latent)[2])[1]

    mean = made.mean(best)
    expected = replace(made, counts=mean).curvature(best.norms, best.latent)[2]
    at = replace(best, factor=np.linalg.cholesky(expected))
    slopes = made.log_determinant_slopes(at)
    np.testing.assert_allclose(slopes, differences(log_determinant, best.norms, 1e-4), rtol=1e-4, atol=1e-6)


def test_sums_of_templates_stay_in_their_weights():
    made, _, z = problem()
    kept = (made.weights * made.modulated(z)).sum(axis=-1)
    np.testing.assert_allclose(kept, (made.weights * made.templates).sum(axis=-1), rtol=1e-12)


def test_the_maximum_is_one():
    made, _, _ = problem()
    best = made.maximise()
    by_norm, by_latent = made.gradient(best.norms, best.latent)
    assert best.converged
    assert np.abs(by_norm).max() < 1e-3
    assert np.abs(by_latent).max() < 1e-3
    rng = np.random.default_rng(1)
    for _ in range(20):
        near = made.objective(best.norms + 0.1 * rng.standard_normal(6), best.latent + 0.1 * rng.standard_normal(13))
        assert near < best.objective


def test_without_amplitude_it_is_the_plain_fit():
    made, _, _ = problem(n_energy=1, sigma=1e-9)
    plain = PoissonProblem(made.counts[0], made.templates[:, 0], made.bounds, made.centre, made.width)
    best, other = made.maximise(), plain.maximise()
    np.testing.assert_allclose(best.norms, other.norms, rtol=1e-6)
    np.testing.assert_allclose(made.covariance(best), plain.covariance(other), rtol=1e-6)
    assert best.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-9)


def one_mode(sigma=0.4, n_pix=40, brightness=6.0, seed=3):
    """One template and one mode, so that the posterior can be summed on a grid."""
    rng = np.random.default_rng(seed)
    template = np.ones((1, 1, n_pix))
    modes = (Modes((0,), (ModeBasis(csr_array(sigma * np.linspace(-1.5, 1.5, n_pix)[:, None])),)),)
    flat = np.array([0.0]), np.array([np.inf])
    made = AdaptiveProblem(np.zeros((1, n_pix), np.int64), template, np.array([[0.0, np.inf]]), *flat, modes)
    mean = brightness * made.modulated(np.array([0.7]))[0]
    return replace(made, counts=rng.poisson(mean))


def test_norm_errors_and_evidence_are_those_of_quadrature():
    made = one_mode()
    best = made.maximise()
    norms, z = np.linspace(3, 10, 201), np.linspace(-2, 3, 201)
    grid = np.array([[made.objective(np.array([a]), np.array([b])) for b in z] for a in norms])
    weight = np.exp(grid - grid.max())
    by_norm = weight.sum(axis=1) / weight.sum()
    mean = by_norm @ norms
    error = np.sqrt(by_norm @ (norms - mean) ** 2)
    assert best.norms[0] == pytest.approx(mean, abs=0.1 * error)
    assert np.sqrt(made.covariance(best)[0, 0]) == pytest.approx(error, rel=0.03)
    cell = (norms[1] - norms[0]) * (z[1] - z[0])
    constant = best.log_likelihood - best.objective - 0.5 * best.latent @ best.latent
    exact = np.log(weight.sum() * cell) + grid.max() + constant - 0.5 * np.log(2 * np.pi)
    assert made.log_evidence(best) == pytest.approx(exact, abs=0.02)
    by_mode = weight.sum(axis=0) / weight.sum()
    spread = np.sqrt(by_mode @ (z - by_mode @ z) ** 2)
    rng = np.random.default_rng(0)
    draws = best.norms + rng.normal(0, error, (4000, 1))
    assert made.draw_latent(best, draws, rng).std() == pytest.approx(spread, rel=0.05)


def test_norms_at_a_bound_stay_there():
    made, _, _ = problem(n_energy=1)
    bounds = made.bounds.copy()
    bounds[1] = 0.0, 1e-3
    best = replace(made, bounds=bounds).maximise()
    assert best.norms[1] == pytest.approx(1e-3)
    assert best.gradient[1] > 0
    assert best.converged


def test_held_norms_lie_on_the_profile():
    made, _, _ = problem(n_energy=1)
    best = made.maximise()
    held = made.hold(np.array([0, 0]), best.norms[0] * np.array([0.9, 1.1]), best.point)
    error = np.sqrt(made.covariance(best)[0, 0])
    drop = best.objective - held.objective
    np.testing.assert_allclose(drop, 0.5 * (0.1 * best.norms[0] / error) ** 2, rtol=0.3)


def test_norms_hold_the_truth_once_modes_are_marginalised():
    """A flat template beside one that many modes modulate: the joint maximum is biased, the marginal one is not."""
    rng, n_pix, n_mode, n = np.random.default_rng(5), 120, 30, 60
    ramp = np.linspace(0.2, 1.8, n_pix)
    kernel = np.exp(-((np.linspace(0, 1, n_pix)[:, None] - np.linspace(0, 1, n_mode)) ** 2) * n_mode**2)
    basis = 0.3 * kernel / np.linalg.norm(kernel, axis=1, keepdims=True)
    templates = np.stack([ramp, np.ones(n_pix)])[:, None]
    flat = np.zeros(2), np.full(2, np.inf)
    empty = np.zeros((1, n_pix), dtype=np.int64)
    bounds = np.tile([0.0, np.inf], (2, 1))
    made = AdaptiveProblem(empty, templates, bounds, *flat, (Modes((0,), (ModeBasis(csr_array(basis)),)),))
    true, pulls = np.array([40.0, 20.0]), []
    for _ in range(n):
        mean = np.einsum("t,tep->ep", true, made.modulated(rng.standard_normal(n_mode)))
        own = replace(made, counts=rng.poisson(mean))
        joint = own.maximise(np.concatenate([true, np.zeros(n_mode)]))
        found = own.marginalise(joint)
        error = np.sqrt(np.diag(own.covariance(found)))
        pulls.append(((joint.norms - true) / error, (found.norms - true) / error))
    biased, pull = np.array(pulls).transpose(1, 2, 0)
    assert np.all(np.abs(pull.mean(axis=1)) < 4 / np.sqrt(n))
    assert np.all(np.abs(pull.mean(axis=1)) < np.abs(biased.mean(axis=1)))
    assert np.all((pull.std(axis=1) > 0.7) & (pull.std(axis=1) < 1.4))

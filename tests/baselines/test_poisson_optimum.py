from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.baselines.poisson.optimum import PoissonProblem, box_step, covariance, maximise, maximise_many


def random_problem(seed, n=4, n_pix=30, rate=1.0):
    rng = np.random.default_rng(seed)
    templates = rng.random((n, n_pix)) * 10 ** rng.uniform(-1, 1, (n, 1))
    return templates, rng.poisson(
        rate * rng.random(n) @ (templates / templates.mean(axis=1, keepdims=True)), (9, n_pix)
    )


@given(seed=st.integers(0, 10**6), n=st.integers(1, 5), rate=st.sampled_from([0.01, 0.3, 20.0]))
@settings(deadline=None, max_examples=40)
def test_many_maps_are_single_ones(seed, n, rate):
    templates, counts = random_problem(seed, n, rate=rate)
    found = maximise_many(counts, templates)
    assert found.converged.all()
    for i, each in enumerate(counts):
        alone = maximise(each, templates)
        assert found[i].log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-8)
        assert found[i].objective == pytest.approx(alone.objective, abs=1e-8)
    elsewhere = maximise_many(counts, templates, start=np.full(n, 1e3))
    np.testing.assert_allclose(elsewhere.log_likelihood, found.log_likelihood, atol=1e-8)


def test_chunks_do_not_matter(monkeypatch):
    templates, counts = random_problem(1)
    whole = maximise_many(counts, templates)
    monkeypatch.setattr("gcesbi.baselines.poisson.optimum._CHUNK", 2 * counts.shape[1])
    np.testing.assert_allclose(maximise_many(counts, templates).norms, whole.norms, atol=1e-7)
    assert len(whole) == len(list(whole)) == 9


@given(seed=st.integers(0, 10**6), n=st.integers(1, 6))
@settings(deadline=None, max_examples=60)
def test_box_step_is_the_maximum_of_the_quadratic_model(seed, n):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((3, n, n + 2))
    matrix, slope = root @ root.transpose(0, 2, 1), rng.standard_normal((3, n))
    low, high = -rng.random((3, n)) * rng.integers(0, 2, (3, n)), rng.random((3, n))
    step = box_step(slope, matrix, low, high)
    assert np.all((step >= low - 1e-12) & (step <= high + 1e-12))
    rest = slope - np.einsum("nij,nj->ni", matrix, step)
    assert np.all(rest[step < high - 1e-9] <= 1e-8)  # nothing to gain upwards
    assert np.all(rest[step > low + 1e-9] >= -1e-8)  # nor downwards


def test_covariance_is_the_inverse_and_says_where_there_is_none():
    matrix = np.array([[4.0, 1.0], [1.0, 2.0]])
    np.testing.assert_allclose(covariance(matrix), np.linalg.inv(matrix))
    flat = np.zeros((3, 3))
    flat[:2, :2] = 1.0  # only the sum of the first two is known, nothing of the third
    assert np.all(np.isinf(np.diag(covariance(flat))))
    flat[:2, :2] = matrix
    found = covariance(flat)
    np.testing.assert_allclose(found[:2, :2], np.linalg.inv(matrix))
    assert np.isinf(found[2, 2])
    assert not found[2, :2].any()


def test_a_held_norm_is_that_of_a_fit_without_it():
    templates, counts = random_problem(3, rate=5.0)
    k = counts[0]
    flat = np.tile([0.0, np.inf], (4, 1)), np.zeros(4), np.full(4, np.inf)
    problem = PoissonProblem(k, templates, *flat)
    best = problem.maximise()
    held = problem.hold(np.array([1, 2]), np.array([0.0, best.norms[2]]), best.norms)
    without = maximise(k, np.delete(templates, 1, axis=0))
    assert held.log_likelihood[0] == pytest.approx(without.log_likelihood, abs=1e-8)
    assert held.log_likelihood[1] == pytest.approx(best.log_likelihood, abs=1e-8)
    value, gradient, information = problem.evaluate(best.norms)
    assert value == pytest.approx(best.objective, abs=1e-8)
    np.testing.assert_allclose(gradient, best.gradient, atol=1e-6)
    np.testing.assert_allclose(information, best.information, rtol=1e-9)


def test_derivatives_are_those_of_the_objective():
    templates, counts = random_problem(4, n=3)
    known = np.array([[0.0, 9.0]] * 3), np.array([0.2, 0.0, 0.0]), np.array([0.1, np.inf, np.inf])
    problem = PoissonProblem(counts[0], templates, *known)
    at, h = np.array([0.5, 0.3, 0.8]), 1e-5
    _, gradient, information = problem.evaluate(at)
    for i, e in enumerate(np.eye(3) * h):
        up, down = problem.evaluate(at + e), problem.evaluate(at - e)
        assert (up[0] - down[0]) / (2 * h) == pytest.approx(gradient[i], rel=1e-6)
        np.testing.assert_allclose(-(up[1] - down[1]) / (2 * h), information[i], rtol=1e-5)


def test_counts_where_nothing_may_shine():
    templates = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = maximise(np.array([2, 1, 3]), templates, bounds=[[0.0, np.inf], [0.0, 0.0]])
    assert found.log_likelihood == -np.inf
    assert not found.converged
    assert maximise(np.array([2, 1, 0]), templates, bounds=[[0.0, np.inf], [0.0, 0.0]]).converged

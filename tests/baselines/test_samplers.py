"""Samplers on a target with two modes and known evidence."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf, ndtr, ndtri
from scipy.stats import multivariate_t, norm, truncnorm

from gcesbi.baselines import (
    Ensemble,
    ImportanceSampling,
    NestedConvergence,
    NestedSampling,
    Nuts,
    SamplingWarning,
    maximise,
)
from gcesbi.baselines.samplers.block_move import BlockMove
from gcesbi.baselines.samplers.correction import Correction
from gcesbi.baselines.samplers.laplace import Laplace, climb
from gcesbi.baselines.samplers.maximum import start_points
from gcesbi.baselines.samplers.mixture import Mixture, alike
from gcesbi.baselines.samplers.quadratic import Quadratic
from gcesbi.baselines.samplers.student import FREEDOM, Student
from gcesbi.baselines.samplers.target import Limits, Target, save_arrays
from gcesbi.baselines.samplers.weighed import ImportanceConvergence
from gcesbi.errors import InputError

CENTRES = np.array([[0.3, 0.3, 0.5], [0.7, 0.7, 0.5]])
WIDTHS = np.array([0.03, 0.03, 0.3])
SHARES = np.array([0.75, 0.25])
WALLS = np.array([[0.0, 1.0]]).repeat(3, axis=0)
MOVES = BlockMove([np.array([0, 1]), np.array([2]), np.arange(3)], WALLS)


def log_likelihood(u):
    """Two Gaussians in the cube, far from each other, with shares 3 : 1."""
    z = (u[:, None] - CENTRES) / WIDTHS
    return np.logaddexp.reduce(np.log(SHARES) - 0.5 * np.sum(z**2, axis=2), axis=1)


def gradient(u):
    z = (u - CENTRES) / WIDTHS
    logs = np.log(SHARES) - 0.5 * np.sum(z**2, axis=1)
    value = np.logaddexp.reduce(logs)
    return float(value), -np.exp(logs - value) @ (z / WIDTHS)


def one_mode(u):
    return -0.5 * np.sum(((u - CENTRES[0]) / WIDTHS) ** 2, axis=1)


def one_mode_gradient(u):
    return float(one_mode(u[None])[0]), -(u - CENTRES[0]) / WIDTHS**2


TARGET = Target(("x", "y", "w"), log_likelihood, MOVES, gradient)
SIMPLE = Target(
    ("x", "y", "w"), one_mode, MOVES, lambda u: (float(one_mode(u[None])[0]), -(u - CENTRES[0]) / WIDTHS**2)
)
INSIDE = float(np.prod(erf([0.3 / 0.03 / 2**0.5, 0.3 / 0.03 / 2**0.5, 0.5 / 0.3 / 2**0.5])))
TRUTH = float(np.log(np.prod(WIDTHS) * (2 * np.pi) ** 1.5 * INSIDE))
FAST = {
    "nested": NestedSampling(n_live=100, n_update=100, n_eff=600, n_networks=0, batch=50, slice_size=500),
    "ensemble": Ensemble(n_walkers=20, n_steps=400),
    "importance": ImportanceSampling(n_eff=1000, batch=200, n_rounds=4),
    "nuts": Nuts(n_samples=30, n_warmup=18, n_chains=2, max_depth=3),
}
NEEDS_PYRO = pytest.mark.skipif(importlib.util.find_spec("pyro") is None, reason="needs pyro-ppl")
ALL = [*(name for name in FAST if name != "nuts"), pytest.param("nuts", marks=NEEDS_PYRO)]


def test_modes_are_weighed_and_the_evidence_found():
    """ln Z within 4 of its own errors; the bright mode's share 0.75 within 5 binomial errors."""
    found = FAST["nested"].sample(TARGET, seed=2)
    assert found.convergence.converged, found.convergence.problems
    assert 0 < found.log_evidence_error < 0.3
    assert abs(found.log_evidence - TRUTH) < 4 * found.log_evidence_error
    n = min(len(found.u), 600)
    assert np.mean(found.u[:, 0] < 0.5) == pytest.approx(0.75, abs=5 * np.sqrt(0.75 * 0.25 / n))
    np.testing.assert_allclose(found.log_likelihood, log_likelihood(found.u))
    assert found.u[:, 2].mean() == pytest.approx(0.5, abs=5 * 0.3 / np.sqrt(n))
    assert log_likelihood(found.best[None])[0] == found.log_likelihood.max()


def test_evidence_agrees_with_dynesty():
    """Another nested sampler on the same target: ln Z within 4 combined errors."""
    dynesty = pytest.importorskip("dynesty")
    sampler = dynesty.NestedSampler(
        lambda u: float(log_likelihood(u[None])[0]), lambda u: u, 3, nlive=200, rstate=np.random.default_rng(1)
    )
    sampler.run_nested(print_progress=False, dlogz=0.5)
    found = FAST["nested"].sample(TARGET, seed=4)
    error = np.hypot(sampler.results.logzerr[-1], found.log_evidence_error)
    assert abs(sampler.results.logz[-1] - found.log_evidence) < 4 * error


def test_ensemble_keeps_the_target():
    found = Ensemble(n_walkers=20, n_steps=3000).sample(SIMPLE, seed=1)
    assert found.convergence.converged, found.convergence.problems
    error = 5 / np.sqrt(found.convergence.ess.min())
    np.testing.assert_allclose(found.u[:, :2].mean(axis=0), 0.3, atol=error * 0.03)
    np.testing.assert_allclose(found.u[:, :2].std(axis=0), 0.03, rtol=error)


def test_importance_sampling_keeps_the_target_and_finds_the_evidence():
    """Mean, width and ln Z within 5 Monte Carlo errors, cut at the wall of the wide parameter."""
    found = ImportanceSampling(n_eff=2000, batch=2000).sample(SIMPLE, seed=3)
    assert found.convergence.converged, found.convergence.problems
    error = 5 / np.sqrt(found.convergence.ess)
    assert found.log_evidence == pytest.approx(TRUTH, abs=error)
    np.testing.assert_allclose(found.u[:, :2].mean(axis=0), 0.3, atol=error * 0.03)
    np.testing.assert_allclose(found.u[:, :2].std(axis=0), 0.03, rtol=error)
    assert found.u[:, 2].std() == pytest.approx(truncnorm.std(-0.5 / 0.3, 0.5 / 0.3, scale=0.3), rel=error)
    few = ImportanceSampling(n_eff=2000, batch=200, n_rounds=1).sample(SIMPLE, seed=3)
    assert any(problem.startswith("effective sample size is") for problem in few.convergence.problems)


def test_importance_sampling_weighs_the_modes_that_climbs_find():
    """Two modes, 3 : 1, 13 widths apart: shares within 5 Monte Carlo errors, ln Z too."""
    found = ImportanceSampling(n_eff=1000, batch=2000, n_start=12).sample(TARGET, seed=2)
    error = 5 / np.sqrt(found.convergence.ess)
    assert np.mean(found.u[:, 0] < 0.5) == pytest.approx(0.75, abs=error / 2)
    assert found.log_evidence == pytest.approx(TRUTH, abs=error)


def bent(u):
    """A third parameter that follows the first by a parabola, beside the two modes of the first two."""
    return log_likelihood(u) + 0.5 * ((u[:, 2] - 0.5) / 0.3) ** 2 - 0.5 * ((u[:, 2] - bend(u)) / 0.1) ** 2


def bend(u):
    return 0.3 + u[:, 0] ** 2


def bent_gradient(u):
    _, slope = gradient(u)
    off = (u[2] - bend(u[None])[0]) / 0.01
    slope[2] = -off
    slope[0] += off * 2 * u[0]
    return float(bent(u[None])[0]), slope


def flat_modes(u):
    return log_likelihood(np.column_stack([u, np.full(len(u), 0.5)]))


def flat_gradient(u):
    value, slope = gradient(np.array([*u, 0.5]))
    return value, slope[:2]


class Parabola:
    """What the third parameter adds: a square of its distance from a parabola, so a quadratic in both."""

    coarser = Target(("x", "y"), flat_modes, BlockMove([np.arange(2)], WALLS[:2]), flat_gradient)
    first_blocks = (np.arange(2),)
    blocks = (np.array([2]),)

    def first(self, z):
        return ndtr(z)

    def part(self, block, z):
        return ndtr(z)

    def features(self, first, parts):
        return np.column_stack([bend(first), parts[:, 0]])

    def expansion(self, z):
        at = np.array([bend(ndtr(z[None]))[0], ndtr(z[2])])
        off = at[1] - at[0]
        return Quadratic(
            at, -50 * off**2, 100 * off * np.array([1.0, -1.0]), 100 * np.array([[-1.0, 1.0], [1.0, -1.0]])
        )


BENT = Target(TARGET.names, bent, MOVES, bent_gradient, Parabola())


def test_importance_sampling_begins_with_draws_of_a_coarser_target():
    """One climb finds one mode of two; both come with the coarser target, and the evidence with them."""
    found = ImportanceSampling(n_eff=1000, batch=1000, n_start=6).sample(BENT, seed=2)
    assert found.convergence.converged, found.convergence.problems
    right_of_bent(found)


def test_walks_reach_a_posterior_that_the_law_misses(monkeypatch):
    """Uncorrected the law has the parabola half a width too low, and its evidence by 1; walks put both right."""
    monkeypatch.setattr(
        Parabola, "expansion", lambda self, z: Quadratic(np.array([0.0, -0.05]), -1.0, np.zeros(2), LOW)
    )
    monkeypatch.setattr(Correction, "__call__", lambda self, x: np.zeros(len(x)))
    monkeypatch.setattr("gcesbi.baselines.samplers.correction._STEPS", 1)  # it is not asked
    found = ImportanceSampling(n_eff=1000, batch=1000, n_start=6).sample(BENT, seed=2)
    assert found.convergence.converged, found.convergence.problems
    right_of_bent(found)


LOW = 100 * np.array([[-1.0, 1.0], [1.0, -1.0]])


def right_of_bent(found):
    error = 5 / np.sqrt(found.convergence.ess)
    assert np.mean(found.u[:, 0] < 0.5) == pytest.approx(0.75, abs=error / 2)
    x = np.linspace(0, 1, 2001)[:, None]
    modes = np.exp(-0.5 * ((x - CENTRES[:, 0]) / WIDTHS[0]) ** 2) * SHARES
    free = np.diff(erf((np.array([0.0, 1.0]) - bend(x)[:, None]) / 0.1 / 2**0.5)) / 2 * 0.1 * np.sqrt(2 * np.pi)
    truth = np.log(np.trapezoid(modes.sum(axis=1) * free[:, 0], x[:, 0]) * WIDTHS[1] * np.sqrt(2 * np.pi))
    assert found.log_evidence == pytest.approx(truth, abs=error)
    bright = found.u[found.u[:, 0] < 0.5]
    assert np.mean(bright[:, 2] - bend(bright)) == pytest.approx(0, abs=0.1 * error)
    assert np.corrcoef(bright[:, 0], bright[:, 2])[0, 1] == pytest.approx(0.6 * 0.03 / np.hypot(0.018, 0.1), abs=error)


def test_a_law_is_corrected_where_it_is_known():
    """What bends is found again, in the units of its inputs; hopeless points have no say; far outside nothing new."""
    rng, lost = np.random.default_rng(5), np.arange(3000) < 100
    x = rng.normal(size=(3000, 3)) * [0.01, 30.0, 0.5] + [1.0, 1e3, -1.0]

    def truth(x):
        white = (x - [1.0, 1e3, -1.0]) / [0.01, 30.0, 0.5]
        return -7 + np.sin(white[:, 0]) + white[:, 1] * np.tanh(white[:, 2])

    off = truth(x)
    found = Correction.fitted(x, np.where(lost, -1e5, off), 3)
    near = rng.normal(size=(1000, 3)) * [0.01, 30.0, 0.5] + [1.0, 1e3, -1.0]
    assert np.std(found(near) - truth(near)) < 0.15 * truth(near).std()
    assert found(x[:100] - [3.0, -1e4, 2.0]).min() >= off[100:].min()
    assert found(x[:100] - [-3.0, -1e4, -9.0]).max() <= off[100:].max()


def test_draws_of_a_mixture_follow_a_bend_and_their_density():
    """Points on a thin parabola, far from white: means of draws weighed by truth over density are those of truth."""
    rng, scale = np.random.default_rng(8), np.array([1e-3, 40.0])
    x = rng.normal(size=3000)
    mixture = Mixture.of(np.column_stack([x, x**2 + 0.1 * rng.normal(size=3000)]) * scale, np.arange(2), rng)
    drawn = mixture.draw(np.zeros((20_000, 2)), rng)
    z = drawn / scale
    truth = norm.logpdf(z[:, 0]) + norm.logpdf(z[:, 1], z[:, 0] ** 2, 0.1) - np.log(scale).sum()
    weights = np.exp(truth - mixture.log_density(drawn))
    assert weights.mean() == pytest.approx(1, abs=5 * weights.std() / np.sqrt(len(z)))
    assert np.sum(weights) ** 2 / np.sum(weights**2) > 0.5 * len(z)
    assert np.average(z[:, 1], weights=weights) == pytest.approx(1, abs=0.1)


def test_draws_of_a_mixture_follow_the_other_coordinates():
    """Of a bend that two others move: means of weighed draws are the conditional ones; widths are the narrow ones."""
    rng, z = np.random.default_rng(9), np.random.default_rng(10).normal(size=(4000, 4))
    z[:, 1] = z[:, 0] ** 2 + z[:, 2] - z[:, 3] + 0.1 * z[:, 1]
    mixture = Mixture.of(z, np.arange(2), rng)
    given = np.tile([0.0, 0.0, 1.5, -1.0], (20_000, 1))
    given[:, :2] = drawn = mixture.draw(given, rng)
    log_w = (
        norm.logpdf(drawn[:, 0]) + norm.logpdf(drawn[:, 1], drawn[:, 0] ** 2 + 2.5, 0.1) - mixture.log_density(given)
    )
    weights = np.exp(log_w - log_w.max())
    assert np.sum(weights) ** 2 / np.sum(weights**2) > 0.2 * len(drawn)
    assert np.average(drawn[:, 1], weights=weights) == pytest.approx(3.5, abs=0.1)
    assert np.std(drawn[:, 1] - drawn[:, 0] ** 2) < 0.6 < np.std(z[:, 1] - z[:, 0] ** 2)


def test_what_goes_along_is_found_by_correlation():
    z = np.random.default_rng(11).normal(size=(2000, 6))
    z[:, 5] += z[:, 1]
    z[:, 3] -= 2 * z[:, 5]
    assert alike(z, np.array([1, 2])).tolist() == [1, 2, 3, 5]
    assert alike(z, np.array([0, 4])).tolist() == [0, 4]


def test_a_state_of_another_version_is_refused(tmp_path):
    settings, path = FAST["importance"], tmp_path / "state.npz"
    save_arrays(path, BENT.identity(settings, 7), {"z": np.zeros((4, 3)), "value": np.zeros(4)})
    with pytest.raises(InputError, match="checkpoint: was written by another version of gcesbi; remove it"):
        settings.sample(BENT, 7, Limits(checkpoint=path))


def test_a_fit_from_a_coarser_target_goes_on_without_refining_it_again(tmp_path):
    """Stopped within its second round, it ends in the bytes of one that was left alone."""
    settings, path, rounds = ImportanceSampling(n_eff=1000, batch=200, n_rounds=3), tmp_path / "state.npz", []

    def stopped(u):
        rounds.extend([len(u)] * (len(u) == 800))
        if len(rounds) == 5:  # two that teach the law, where walks begin, and the first round are behind
            raise KeyboardInterrupt
        return bent(u)

    with pytest.raises(KeyboardInterrupt):
        settings.sample(replace(BENT, log_likelihood=stopped), 7, Limits(checkpoint=path))
    refined = Parabola()
    refined.expansion = None
    resumed = settings.sample(replace(BENT, refinement=refined), 7, Limits(checkpoint=path))
    assert resumed.u.tobytes() == settings.sample(BENT, 7).u.tobytes()


def test_a_coarser_target_badly_known_is_told():
    settings = ImportanceSampling(n_eff=400, batch=50, n_rounds=2)
    problems = settings.sample(BENT, seed=2).convergence.problems
    assert any("effective sample size is" in problem for problem in problems)


def test_what_speaks_against_the_beginning_of_walks_is_told():
    told = ImportanceConvergence(0.1, 500.0, 400.0, remembered=0.3, coarser="time ran out").problems
    assert told[0] == "the coarser posterior: time ran out"
    assert len(told) == 2
    assert "correlation 0.30, above 0.2" in told[1]
    assert ImportanceConvergence(0.1, 500.0, 400.0, remembered=0.2).converged


def test_proposals_follow_a_student_t_law():
    """Log-densities by scipy; draws have the mean and the covariance of theory."""
    rng = np.random.default_rng(3)
    root = np.tril(rng.normal(size=(4, 4))) + 2 * np.eye(4)
    mean, scale, z = rng.normal(size=4), root @ root.T, rng.normal(size=(5, 4)) * 4
    law = Student(mean, scale)
    np.testing.assert_allclose(law.log_pdf(z), multivariate_t(mean, scale, df=FREEDOM).logpdf(z), rtol=1e-12)
    drawn = law.draw(200_000, rng)
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), scale * FREEDOM / (FREEDOM - 2), rtol=0.05, atol=0.05)


def test_a_climb_steps_back_from_where_the_likelihood_is_no_number():
    """Its first step is as long as 1 and goes there, to the wall of the cube were there bounds: it must not end it."""

    def value(u):
        z = ndtri(u)
        return np.where(z[:, 0] > 0.6, np.nan, -1000 * (z[:, 0] - 0.4) ** 2 - z[:, 1] ** 2)

    def slope(u):
        z = ndtri(u)
        there = np.array([-2000 * (z[0] - 0.4), -2 * z[1]]) * np.exp(0.5 * z**2) * np.sqrt(2 * np.pi)
        return float(value(u[None])[0]), np.where(z[0] > 0.6, np.nan, there)

    end = climb(Target(("a", "b"), value, BlockMove([np.arange(2)], WALLS[:2]), slope), np.array([0.0, 1.0]))
    np.testing.assert_allclose(end.z, [0.4 * 2000 / 2001, 0], atol=1e-3)


def test_nuts_keeps_the_target():
    """Mean and width within 5 Monte Carlo errors; the wall at 1 of the wide parameter is no trouble."""
    pytest.importorskip("pyro")
    found = Nuts(n_samples=250, n_warmup=100, n_chains=2).sample(SIMPLE, seed=3)
    assert found.convergence.converged, found.convergence.problems
    error = 5 / np.sqrt(found.convergence.ess.min())
    np.testing.assert_allclose(found.u[:, :2].mean(axis=0), 0.3, atol=error * 0.03)
    np.testing.assert_allclose(found.u[:, :2].std(axis=0), 0.03, rtol=error)
    assert found.u[:, 2].std() == pytest.approx(truncnorm.std(-0.5 / 0.3, 0.5 / 0.3, scale=0.3), rel=error)


@NEEDS_PYRO
def test_nuts_takes_the_scale_of_its_target():
    """Step sizes in units of the posterior's own width, correlated though it is: few gradients a draw."""
    lower = np.array([[0.02, 0.0, 0.0], [0.0199, 0.001, 0.0], [0.0, 0.0, 0.1]])
    precision = np.linalg.inv(lower @ lower.T)

    def value(u):
        return -0.5 * np.einsum("ni,ij,nj->n", u - 0.5, precision, u - 0.5)

    target = Target(TARGET.names, value, MOVES, lambda u: (float(value(u[None])[0]), -precision @ (u - 0.5)))
    settings = Nuts(n_samples=200, n_warmup=120, n_chains=2)
    found = settings.sample(target, seed=1)
    assert found.convergence.converged, found.convergence.problems
    assert (found.n_evaluation - Laplace.about(target, 2, 1).n_evaluation) / (2 * 320) < 12
    np.testing.assert_allclose(found.u.std(axis=0), [0.02, 0.0199, 0.1], rtol=5 / np.sqrt(found.convergence.ess.min()))


@NEEDS_PYRO
def test_nuts_out_of_time_after_the_warm_up():
    slow = Target(SIMPLE.names, one_mode, MOVES, lambda u: (time.sleep(0.002), SIMPLE.gradient(u))[1])
    settings = Nuts(n_samples=100_000, n_warmup=6, n_chains=2, max_depth=3)
    found = settings.sample(slow, 1, Limits(seconds=4.0))
    assert found.convergence.warm
    assert found.convergence.missing == 100_000 - len(found.u) // 2 > 0
    assert any("draws before the end of every chain" in problem for problem in found.convergence.problems)


def test_laplace_is_exact_for_a_normal_posterior():
    """A likelihood normal in z, in a plane of three axes: mean and covariance known; a free axis has the prior's."""
    root = np.array([[10.0, 6.0, 0.0], [0.0, 4.0, 0.0]])
    precision, centre = root.T @ root, np.array([0.4, -0.7, 0.0])

    def gradient(u):
        off = ndtri(u) - centre
        return -0.5 * off @ precision @ off, -precision @ off * np.sqrt(2 * np.pi) * np.exp(0.5 * ndtri(u) ** 2)

    target = Target(TARGET.names, lambda u: np.array([gradient(each)[0] for each in u]), MOVES, gradient)
    found = Laplace.about(target, 3, seed=1)
    covariance = np.linalg.inv(precision + np.eye(3))
    np.testing.assert_allclose(found.ends, np.tile(covariance @ precision @ centre, (3, 1)), atol=2e-3)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-3, atol=1e-6)
    starts = found.starts(target, 2000, seed=1)
    np.testing.assert_allclose(starts.std(axis=0), np.sqrt(np.diag(covariance)), rtol=0.1)


def test_chains_in_different_modes_are_told():
    pytest.importorskip("pyro")
    found = Nuts(n_samples=20, n_warmup=30, n_chains=3).sample(TARGET, seed=3)
    assert any(problem.startswith("R-hat is") for problem in found.convergence.problems)


def test_chains_start_about_all_maxima_of_like_height():
    """ln L is lower than the highest by at most the number of parameters, and points spread as far as that allows."""
    points, n_evaluation = start_points(TARGET, 200, seed=1)
    assert np.all((points > 0) & (points < 1))
    below = np.log(0.75) - log_likelihood(points)
    assert np.all(below < 3)
    assert np.median(below) > 0.5
    assert 0.3 < np.mean(points[:, 0] < 0.5) < 0.9
    assert 200 < n_evaluation < 4000
    assert points.tobytes() == start_points(TARGET, 200, seed=1)[0].tobytes()


def test_maximum_is_found_with_its_walls():
    found = maximise(TARGET, n_start=6, seed=1)
    np.testing.assert_allclose(found.u, CENTRES[0], atol=1e-5)
    assert found.log_likelihood == pytest.approx(np.log(0.75), abs=1e-9)
    assert found.others[0] == found.log_likelihood
    np.testing.assert_allclose(log_likelihood(found.ends), found.others)
    assert found.others[-1] == pytest.approx(np.log(0.25), abs=1e-6)
    assert found.walls == ()
    assert found.gradient < 1e-3

    def ramp(u):
        return 3 * u[:, 0] - (u[:, 1] - 0.2) ** 2

    def ramp_gradient(u):
        return float(ramp(u[None])[0]), np.array([3.0, -2 * (u[1] - 0.2)])

    at_wall = maximise(Target(("x", "y"), ramp, MOVES, ramp_gradient), n_start=2)
    assert at_wall.walls == ("x",)
    assert at_wall.u[1] == pytest.approx(0.2, abs=1e-5)
    assert at_wall.gradient < 1e-4


@pytest.mark.parametrize("name", ALL)
def test_same_seed_same_draws(name):
    runs = [FAST[name].sample(TARGET, seed).u for seed in (5, 5, 6)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert runs[0].tobytes() != runs[2].tobytes()


def _slowly(u):
    time.sleep(0.004)
    return log_likelihood(u)


def _slow_gradient(u):
    time.sleep(0.004)
    return gradient(u)


SLOW = Target(TARGET.names, _slowly, MOVES, _slow_gradient)


def _run_until_killed(name, path):
    FAST[name].sample(SLOW, 7, Limits(checkpoint=path))


@pytest.mark.parametrize("name", ALL)
def test_a_killed_run_goes_on_where_it_was(name, tmp_path):
    """kill -9 once there is a checkpoint: the resumed run ends in the same bytes as one that was left alone."""
    path = tmp_path / "state.h5"
    process = multiprocessing.get_context("fork").Process(target=_run_until_killed, args=(name, path))
    process.start()
    waited = time.monotonic()
    while not path.exists() and time.monotonic() - waited < 60:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    kept = path.stat().st_size
    assert kept > 0
    calls = []

    def counted(u):
        calls.append(len(u))
        return log_likelihood(u)

    def counted_gradient(u):
        calls.append(1)
        return gradient(u)

    found = FAST[name].sample(Target(TARGET.names, counted, MOVES, counted_gradient), 7, Limits(checkpoint=path))
    alone = FAST[name].sample(TARGET, 7)
    assert found.u.tobytes() == alone.u.tobytes()
    np.testing.assert_equal(found.log_evidence, alone.log_evidence)
    assert found.n_evaluation == alone.n_evaluation
    assert sum(calls) < alone.n_evaluation
    with pytest.raises(InputError, match=r"checkpoint: .* belongs to another likelihood, sampler or seed"):
        FAST[name].sample(TARGET, 8, Limits(checkpoint=path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nested", "time ran out before the bounds reached the peak"),
        ("ensemble", "time ran out"),
        ("importance", "effective sample size is"),
        pytest.param("nuts", "time ran out within the warm-up", marks=NEEDS_PYRO),
    ],
)
def test_out_of_time_keeps_what_there_is(name, message):
    found = FAST[name].sample(SLOW, 1, Limits(seconds=0.1))
    assert len(found.u) > 0
    assert np.isfinite(found.log_likelihood).all()
    assert any(message in problem for problem in found.convergence.problems)
    with pytest.warns(SamplingWarning, match="not converged: "):
        found.tell()


def test_nested_sampling_evaluates_one_batch_however_short_the_time():
    found = FAST["nested"].sample(TARGET, 1, Limits(seconds=1e-9))
    assert found.n_evaluation == FAST["nested"].batch
    assert len(found.u) > 0
    assert not found.convergence.converged


def test_nested_sampling_tells_how_far_it_came():
    told = [
        NestedConvergence(explored=explored, n_eff=n_eff, wanted=1000.0, exploration_kept=False).problems
        for explored, n_eff in ((True, 1500.0), (True, 500.0), (True, 50.0), (False, 500.0))
    ]
    assert told[0] == ()
    assert told[1] == ("time ran out at an effective sample size of 500, 1000 were wanted",)
    assert told[2] == ("effective sample size is 50, below 200",)
    assert len(told[3]) == 1
    assert told[3][0].startswith("time ran out before the bounds reached the peak")


def test_impossible_points_do_no_harm():
    """A likelihood that is 0 or NaN in a part of the cube."""

    def holes(u):
        return np.where(u[:, 2] > 0.7, np.nan, np.where(u[:, 2] < 0.1, -np.inf, log_likelihood(u)))

    found = FAST["nested"].sample(Target(TARGET.names, holes, MOVES), 1)
    assert found.u[:, 2].min() >= 0.1
    assert found.u[:, 2].max() <= 0.7


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NestedSampling(n_live=3), "n_live: must be at least 20"),
        (lambda: NestedSampling(batch=0), "batch: must be at least 1"),
        (lambda: NestedSampling(n_update=3), "n_update: must be at least 20"),
        (lambda: Ensemble(n_steps=2), "n_steps: must be at least 4"),
        (lambda: Ensemble(burn_in=1.0), "burn_in: must lie in"),
        (lambda: Ensemble(n_walkers=5).sample(TARGET, 1), "n_walkers: must be even and at least 8"),
        (lambda: Nuts(n_chains=1), "n_chains: must be at least 2"),
        (lambda: ImportanceSampling(batch=10), "batch: must be at least 50, got 10"),
        (lambda: ImportanceSampling().sample(Target(("x",), one_mode, MOVES), 1), "target: has no gradient"),
        (lambda: Nuts(n_warmup=2), "n_warmup: must be at least 3"),
        (lambda: Nuts().sample(Target(("x",), one_mode, MOVES), 1), "target: has no gradient for NUTS"),
        (lambda: maximise(Target(("x",), one_mode, MOVES)), "target: has no gradient to climb by"),
        (lambda: maximise(TARGET, n_start=0), "n_start: must be at least 1"),
    ],
)
def test_bad_settings_are_named(build, message):
    with pytest.raises(InputError, match=message):
        build()


def test_checkpoints_have_a_form(tmp_path):
    with pytest.raises(InputError, match=r"checkpoint: must end in \.h5"):
        FAST["nested"].sample(TARGET, 1, Limits(checkpoint=tmp_path / "x.npz"))

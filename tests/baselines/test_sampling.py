from __future__ import annotations

import warnings

import emcee
import numpy as np
import pytest

from gcesbi.baselines.samplers.block_move import BlockMove
from gcesbi.baselines.samplers.sampling import SamplingWarning, run_emcee
from gcesbi.errors import InputError

BOX = np.array([[-10.0, 10.0], [-10.0, 10.0], [0.0, 1.0]])
MOVE = BlockMove([np.array([0, 1]), np.array([2]), np.array([0, 1, 2])], BOX)
NAMES = ("x", "y", "u")


def log_likelihood(theta):
    """Two Gaussians of width 0.5 in (x, y), with weights 3 : 1; flat in u."""
    one = -0.5 * np.sum((theta[:, :2] - 4) ** 2, axis=1) / 0.25
    two = -0.5 * np.sum((theta[:, :2] + 4) ** 2, axis=1) / 0.25
    return np.logaddexp(np.log(0.75) + one, np.log(0.25) + two)


def log_probability(theta):
    inside = np.all((theta >= BOX[:, 0]) & (theta <= BOX[:, 1]), axis=1)
    return np.where(inside, log_likelihood(theta), -np.inf)


def draw(n, seed):
    return BOX[:, 0] + (BOX[:, 1] - BOX[:, 0]) * np.random.default_rng(seed).random((n, 3))


def test_block_moves_keep_the_target():
    """A Gaussian cut by a wall at its centre: what happens at the wall must not distort it."""
    box = np.array([[0.0, 20.0]])

    def half_gaussian(x):
        return -0.5 * x[:, 0] ** 2

    start = np.abs(np.random.default_rng(0).normal(size=(20, 1)))
    move = BlockMove([np.array([0])], box)
    chain = run_emcee(half_gaussian, start, 3000, 3, ("x",), progress=False, moves=move)
    assert chain.convergence.converged
    error = 5 * 0.6 / np.sqrt(chain.convergence.ess[0])
    assert chain.flat.mean() == pytest.approx(np.sqrt(2 / np.pi), abs=error)
    assert np.mean(chain.flat**2) == pytest.approx(1.0, abs=2.5 * error)
    assert chain.flat.min() >= 0


def test_block_moves_keep_a_correlated_target_between_walls():
    """Exact draws of a ridge that all walls cut stay draws of it; moves that reflect miss by 18 standard errors."""
    k, n, low, high = 5, 4000, -1.0, 2.0
    covariance = np.array([[1.0, -0.9], [-0.9, 1.0]])
    precision = np.linalg.inv(covariance)
    drawn = np.random.default_rng(2).multivariate_normal([0, 0], covariance, size=100 * n)
    exact = drawn[np.all((drawn > low) & (drawn < high), axis=1)]

    def ridge(x):
        return -0.5 * np.einsum("ni,ij,nj->n", x, precision, x)

    def moments(x):
        return np.stack([x[:, 0], x[:, 1], x[:, 0] ** 2, x[:, 1] ** 2, x[:, 0] * x[:, 1]], axis=1)

    move = BlockMove([np.array([0, 1])], np.array([[low, high], [low, high]]))
    sampler = emcee.EnsembleSampler(n, 2, ridge, moves=move, vectorize=True)
    sampler.random_state = np.random.RandomState(3).get_state()
    found, wanted = moments(sampler.run_mcmc(exact[:n], 60).coords), moments(exact)
    error = np.hypot(found.std(axis=0) / np.sqrt(n), wanted.std(axis=0) / np.sqrt(len(wanted)))
    assert np.all(np.abs(found.mean(axis=0) - wanted.mean(axis=0)) < k * error)


def test_a_good_chain_is_told_from_a_bad_one():
    start = 4 + 0.5 * np.random.default_rng(0).normal(size=(16, 3)) * [1, 1, 0]
    start[:, 2] = np.random.default_rng(1).random(16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good = run_emcee(log_probability, start, 4000, 1, NAMES, progress=False, moves=MOVE)
    assert good.convergence.converged
    assert good.convergence.problems == ()
    assert good.samples.shape == (2400, 16, 3)

    split = start.copy()
    split[::2, :2] -= 8  # half the walkers in the other mode, too far to cross
    with pytest.warns(SamplingWarning) as told:
        bad = run_emcee(log_probability, split, 40, 1, NAMES, progress=False)
    assert not bad.convergence.converged
    assert [str(w.message).split(": ", 1)[1] for w in told] == list(bad.convergence.problems)
    assert any("R-hat is" in problem for problem in bad.convergence.problems)
    assert any("autocorrelation times" in problem for problem in bad.convergence.problems)


@pytest.mark.filterwarnings("ignore::gcesbi.baselines.samplers.sampling.SamplingWarning")
def test_same_seed_same_chain():
    runs = [run_emcee(log_probability, draw(10, 3), 20, seed, NAMES, progress=False).samples for seed in (5, 5, 6)]
    assert runs[0].tobytes() == runs[1].tobytes()
    assert runs[0].tobytes() != runs[2].tobytes()


def test_a_chain_that_is_stopped_prints_nothing(capsys):
    """emcee's own wrapper prints a traceback of a signal, which the command line says in one line."""
    calls = []

    def stopped(theta):
        calls.append(len(theta))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return log_probability(theta)

    with pytest.raises(KeyboardInterrupt):
        run_emcee(stopped, draw(16, 1), 10, 1, NAMES, progress=False)
    told = capsys.readouterr()
    assert told.out == told.err == ""


def test_bad_settings_are_named():
    with pytest.raises(InputError, match="n_walkers: must be even and at least 8"):
        run_emcee(log_probability, draw(7, 0), 20, 0, NAMES)
    with pytest.raises(InputError, match="burn_in: must lie in"):
        run_emcee(log_probability, draw(8, 0), 20, 0, NAMES, burn_in=1.0)
    with pytest.raises(InputError, match="n_steps: must leave at least 4 steps"):
        run_emcee(log_probability, draw(8, 0), 5, 0, NAMES)
    with pytest.raises(InputError, match="start: every walker must begin"):
        run_emcee(log_probability, draw(8, 0) + 100, 20, 0, NAMES)

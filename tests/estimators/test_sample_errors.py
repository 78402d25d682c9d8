"""Samples learn from maps of known truth how far they scatter, and sums of shares then err as they claim."""

from itertools import combinations

import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators import NetworkSettings, SpectralEstimator, SpectralPosterior, load_estimator, save_estimator
from gcesbi.estimators.sample_errors import fit_samples
from gcesbi.estimators.simplex import student_factors
from gcesbi.posterior import Coordinates
from gcesbi.simulation.simulations import Simulations

K = 4.0
T, N = 4, 500
NAMES = ("a", "b", "c", "d")
COORDINATES = Coordinates(NAMES, (2.0, 5.0, 12.0), (), (-1.0, 0.0))
WEIGHT = np.array([0.5, 0.3, 0.2])


def judged(toy, tail, seed, larger=(1, 1, 1, 1)):
    """Maps, and an estimator that errs on them as it says but for tails of Student's t with ν = 1 / `tail`.

    And but for templates whose errors are larger than it says, by a factor.
    """
    rng = np.random.default_rng(seed)
    scale = np.random.default_rng(0).normal(size=(T, 3, 9)) * 0.01
    scale -= scale.mean(axis=0)
    scale = np.concatenate([scale, np.einsum("tem,e->tm", scale, WEIGHT)[:, None]], axis=1)
    errors = np.einsum("tcm,nm->ntc", scale, rng.normal(size=(N, 9)))
    errors *= student_factors(np.array([tail]), N, rng)[:, None]
    shares = rng.dirichlet(np.full(T, 50.0), (N, 3)).swapaxes(1, 2)
    counts = np.broadcast_to(np.round(1e4 * WEIGHT)[:, None], (N, 3, toy.region.n_pix)).astype(np.uint16)
    maps = Simulations(np.zeros((N, 0)), counts, shares * WEIGHT, np.zeros((N, 0, 2)), np.zeros((N, 0)))
    network = NetworkSettings(widths=(2, 2), n_features=2)
    estimator = SpectralEstimator(toy.region, toy.exposure, NAMES, network=network, fingerprint="toy")
    std = np.linalg.norm(scale, axis=-1) / np.array(larger)[:, None]
    told = estimator.targets(maps).double().numpy() - errors, np.broadcast_to(std, (N, T, 4))
    estimator._columns = lambda _: told
    return estimator, maps


def spread(estimator, maps):
    """Root mean square of z of every sum of two shares by samples, (n_pair, n_column)."""
    i, j = np.array(list(combinations(range(T), 2))).T
    scores = []
    truth = estimator.targets(maps).double().numpy()
    posteriors = SpectralPosterior.each(estimator, maps.counts, COORDINATES)
    for seed, (true, posterior) in enumerate(zip(truth, posteriors, strict=True)):
        drawn = posterior.sample(300, seed)
        shares = np.dstack([drawn["spectrum_fraction"], drawn["flux_fraction"]])
        sums = shares[:, i] + shares[:, j]
        scores.append((true[i] + true[j] - sums.mean(axis=0)) / sums.std(axis=0))
    return np.sqrt(np.mean(np.square(scores), axis=0))


def test_factors_make_gaussians_of_students_t():
    """Their mean squares are ν / (ν − 2), to 4 Monte Carlo errors; none are drawn for a Gaussian."""
    rng = np.random.default_rng(1)
    square = student_factors(np.array([0.0, 0.1]), 20_000, rng) ** 2
    np.testing.assert_array_equal(square[:, 0], 1)
    assert square[:, 1].mean() == pytest.approx(10 / 8, abs=K * square[:, 1].std() / np.sqrt(20_000))
    state = rng.bit_generator.state
    assert np.all(student_factors(np.zeros(3), 5, rng) == 1)
    assert rng.bit_generator.state == state


def test_samples_learn_their_tails_from_maps_and_keep_what_they_claim_on_others(toy):
    """With ν = 6 pair sums err by 1.22 of what Gaussians claim. 500 maps tell that to 0.06, as all their errors

    grow together; what tails change on the same maps is known far better.
    """
    estimator, maps = judged(toy, 1 / 6, seed=1)
    estimator.fit_errors(maps)
    gaussian = spread(estimator, maps)
    assert gaussian.mean() == pytest.approx(np.sqrt(6 / 4), abs=K * 0.06)
    fit_samples(estimator, maps, COORDINATES)
    assert np.all(np.abs(spread(estimator, maps).mean(axis=0) - 1) < 0.04)
    fresh, others = judged(toy, 1 / 6, seed=2)
    fresh.error_correlation.copy_(estimator.error_correlation)
    before = spread(fresh, others)
    fresh.tails.copy_(estimator.tails)
    fresh.sample_covariance.copy_(estimator.sample_covariance)
    assert (before / spread(fresh, others)).mean() == pytest.approx(gaussian.mean(), abs=0.05)


def test_a_template_that_errs_by_more_than_the_others_is_told_apart(toy):
    """Errors of one are 1.5 times what is told: then each sum of two claims what it errs by on other maps.

    500 maps tell the spread of a sum to 0.03, twice; the mean of all alone would leave sums at 0.9 and 1.2.
    """
    estimator, maps = judged(toy, 0.0, seed=4, larger=(1, 1, 1, 1.5))
    estimator.fit_errors(maps)
    before = spread(estimator, maps)
    assert np.ptp(before, axis=0).max() > 0.3
    fit_samples(estimator, maps, COORDINATES)
    fresh, others = judged(toy, 0.0, seed=5, larger=(1, 1, 1, 1.5))
    for name in ("tails", "sample_covariance"):
        getattr(fresh, name).copy_(getattr(estimator, name))
    assert np.abs(spread(fresh, others) - 1).max() < K * 0.03 * np.sqrt(2)
    np.testing.assert_allclose(
        np.linalg.eigvalsh(estimator.sample_covariance.double().numpy()).clip(max=0), 0, atol=1e-5
    )


def test_quantiles_stay_those_of_the_gaussian(toy):
    estimator, maps = judged(toy, 0.2, seed=1)
    asked = []
    for tail in (0.0, 0.2):
        estimator.tails.fill_(tail)
        estimator.sample_covariance.copy_((1 + tail) * torch.eye(T * 4))
        posterior = next(SpectralPosterior.each(estimator, maps.counts, COORDINATES))
        asked.append(posterior.quantiles("spectrum_fraction", [0.025, 0.84]))
    np.testing.assert_array_equal(*asked)


def test_gaussian_errors_have_no_tails(toy):
    estimator, maps = judged(toy, 0.0, seed=3)
    estimator.fit_errors(maps)
    fit_samples(estimator, maps, COORDINATES)
    assert np.all(estimator.tails.numpy() < 0.06)


def test_what_is_measured_is_stored_and_older_weights_have_none(toy, tmp_path):
    estimator, _ = judged(toy, 0.2, seed=1)
    estimator.tails.fill_(0.125)
    estimator.sample_covariance.fill_(0.5)
    save_estimator(estimator, tmp_path / "a")
    assert np.all(load_estimator(tmp_path / "a").tails.numpy() == 0.125)
    assert np.all(load_estimator(tmp_path / "a").sample_covariance.numpy() == 0.5)
    for name in ("tails", "sample_covariance"):
        estimator.register_buffer(name, None)
    save_estimator(estimator, tmp_path / "b")
    assert np.all(load_estimator(tmp_path / "b").tails.numpy() == 0)
    assert np.all(load_estimator(tmp_path / "b").sample_covariance.numpy() == 0)


def test_tails_are_checked(toy):
    with pytest.raises(InputError, match=r"tails: must have shape \(2,\), got \(3,\)"):
        SpectralPosterior(
            Coordinates(("a", "b"), (2.0,), (), (-1.0, 0.0)), [[0.5], [0.5]], [[0.1], [0.1]], [0.5, 0.5], [0.1, 0.1],
            [1.0], tails=np.zeros(3),
        )  # fmt: skip

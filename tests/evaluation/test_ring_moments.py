"""The baselines beside networks of images: moments against their definition, and a guess that is found out."""

import numpy as np
import pytest
import torch

from gcesbi.estimators.images import ImageNetworkSettings, ShareEstimator
from gcesbi.evaluation.images import judge_baselines, rmse
from gcesbi.evaluation.ring_moments import Comparison, RingRidge, ring_moments
from gcesbi.sky.image import ImageGeometry
from gcesbi.validation.binned_errors import BinnedErrors

REGION = ImageGeometry((12, 12), 1.0).whole()
NETWORK = ImageNetworkSettings(widths=(4,), n_features=8, scaling="contrast")


def images(n, seed):
    """Counts of mean 20 a pixel, up to half of them in seven bright pixels: f_src is the share of those."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(size=n)
    bright = rng.random((n, REGION.n_pix)).argsort(axis=1) < 7
    part = share[:, None] / 2
    return rng.poisson(20 * (1 - part) + 20 * part * bright * REGION.n_pix / 7)[:, None], share


@pytest.fixture(scope="module")
def untrained():
    network = ShareEstimator(REGION, np.full((1, REGION.n_pix), 1e11), network=NETWORK)
    counts, share = images(600, 1)
    network.prepare(torch.from_numpy(counts).float(), torch.from_numpy(share))
    return network


def test_moments_are_those_of_the_pixels_of_a_ring():
    pictures = np.random.default_rng(2).normal(size=(3, 2, 12, 12))
    distance = np.hypot(*np.meshgrid(np.arange(12) - 5.5, np.arange(12) - 5.5))
    found = ring_moments(pictures, distance)
    ring = pictures[1, 1, (distance < distance.max() / 12 * 2) & (distance >= distance.max() / 12)]
    assert ring.size == 4
    away = ring - ring.mean()
    variance = np.mean(away**2)
    wanted = [ring.mean(), np.log(variance), np.mean(away**3) / variance**1.5, np.mean(away**4) / variance**2]
    np.testing.assert_allclose(found[1, [1, 3, 5, 7]], wanted, rtol=1e-9)  # channel 1 of the first ring with pixels
    assert found.shape[1] % 8 == 0


def test_a_guess_is_recognised_beside_a_ridge_regression(untrained):
    ridge = RingRidge.learn(untrained, *images(1500, 3))
    counts, share = images(500, 4)
    found = ridge.predict(counts)
    assert rmse(found, share) < 0.35 * share.std()
    assert found.min() >= ridge.bounds[0]
    assert found.max() <= ridge.bounds[1]
    guess = untrained.predict(counts)
    compared = Comparison(network=rmse(guess, share), prior=float(share.std()), ridge=rmse(found, share))
    assert not compared.learnt
    assert "NOT LEARNT: the network 'full' errs by 0." in compared.told("full")
    assert "a ridge regression on ring moments of the same picture by 0." in compared.told("full")
    assert Comparison(network=0.05, prior=0.29, ridge=0.08).learnt
    assert not Comparison(network=0.59, prior=0.29, ridge=0.6).learnt


def test_rescaling_leaves_a_guess_a_guess(untrained):
    counts, share = images(400, 5)
    before = untrained.predict(counts)
    untrained.rescale(counts, share)
    after = untrained.predict(counts)
    assert rmse(after, share) <= rmse(before, share)
    assert after.max() <= share.max()


def test_baselines_are_judged_as_methods_are(untrained):
    ridge = RingRidge.learn(untrained, *images(1500, 3))
    held, truth = images(600, 6)
    errors = BinnedErrors.measure(ridge.predict(held), truth)
    told = judge_baselines(ridge, errors, *images(600, 7), truth)
    assert told["prior"]["rmse"] == pytest.approx(12**-0.5, abs=0.03)
    assert told["prior"]["coverage_68"] == pytest.approx(0.68, abs=0.06)
    assert told["ridge"]["coverage_68"] == pytest.approx(0.68, abs=0.08)

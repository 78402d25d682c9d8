"""The toy sky whose posterior can be computed: its likelihood, its sampler and its scores.

What the networks make of it takes minutes of training: ``benchmarks/toy_known_answer.py`` says.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from gcesbi import Simulator, SkyModel
from gcesbi.baselines import NPTF, ModelPriors
from gcesbi.physics.scd import SkewNormalScd
from gcesbi.sky import Observation


def load():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "toy_known_answer.py"
    spec = importlib.util.spec_from_file_location("toy_known_answer", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


toy = load()
THETA = np.array([[1.0, -11.0, 0.3, 1.0, 2e-9], [0.3, -10.6, 0.05, -3.0, 4e-9], [1.7, -11.4, 0.8, 4.0, 1e-9]])


@pytest.fixture(scope="module")
def exact():
    return toy.ExactPosterior(toy.toy_model())


@pytest.fixture(scope="module")
def maps(exact):
    return Simulator(exact.model).sample(5, seed=3)


def numbers(counts):
    return np.stack([np.bincount(each.ravel(), minlength=toy.N_FFT) for each in counts])


def test_probabilities_are_those_of_drawn_maps(exact):
    simulator = Simulator(SkyModel.build(exact.model.composition.replace(expected_labels=False)))
    for theta in THETA:
        counts = simulator.draw(np.tile(theta, (300, 1)), np.random.default_rng(1)).counts
        expected = counts.size * np.exp(exact.log_probabilities(theta[None])[0])
        found = np.bincount(counts.ravel(), minlength=toy.N_FFT)
        assert expected.sum() == pytest.approx(counts.size, rel=1e-6)
        used = expected > 10
        chi2 = np.sum((found - expected)[used] ** 2 / expected[used])
        assert chi2 < used.sum() + 5 * np.sqrt(2 * used.sum())  # five standard deviations


def test_the_likelihood_is_that_of_the_nptf(exact, maps):
    model = exact.model
    uneven = 1 + 1e-3 * (-1.0) ** np.arange(12 * model.region.nside**2)  # else the fit cannot tell the two
    model = toy.toy_model(uneven=uneven)
    observation = Observation(maps.counts[0], model.exposure, model.energy_edges, model.region)
    nptf = NPTF(model, observation, ModelPriors())
    assert nptf.names == model.prior().names
    here = exact.log_likelihood(THETA, numbers(maps.counts[:1]))[:, 0]
    there = nptf.log_likelihood(THETA)
    assert np.diff(here) == pytest.approx(np.diff(there), abs=0.02)


def test_curves_are_the_expected_histograms(exact):
    for theta, cdf in zip(THETA, exact.cdf(THETA), strict=True):
        assert cdf == pytest.approx(np.cumsum(SkewNormalScd(*theta[1:], toy.CUT).histogram()), abs=0.03)  # a grid step


def test_samples_have_the_moments_of_importance_sampling(exact, maps):
    drawn = exact.sample(maps.counts[:2, 0], n=600, n_prior=8_000, n_steps=10, seed=1)
    prior = exact.model.prior().draw(20_000, np.random.default_rng(2))
    for theta, value in zip(drawn, exact.log_likelihood(prior, numbers(maps.counts[:2])).T, strict=True):
        weight = np.exp(value - value.max())
        weight /= weight.sum()
        mean = weight @ prior
        spread = np.sqrt(weight @ (prior - mean) ** 2)
        error = spread * np.sqrt(np.sum(weight**2) + 3 / 600)  # of both; moves leave the samples correlated
        assert (np.abs(theta.mean(axis=0) - mean) < 4.5 * error).all()


def test_the_score_knows_equal_from_shifted_curves():
    rng = np.random.default_rng(1)
    first, second = (np.sort(rng.uniform(size=(300, 26)), axis=1) for _ in range(2))
    assert toy.score_of_curves(first, second, 2) == pytest.approx(0.5, abs=0.06)
    assert toy.score_of_curves(first, second**2, 2) > 0.6


def test_npe_behind_the_histogram_sees_neither_order_nor_place_of_pixels(exact, maps):
    npe = toy.HistogramNpe.for_model(exact.model, ("theta",), n_layer=1, hidden=8, seed=1)
    shuffled = np.random.default_rng(1).permuted(maps.counts, axis=2)
    features = [np.concatenate([f.numpy() for f in npe.outputs(counts)]) for counts in (maps.counts, shuffled)]
    np.testing.assert_array_equal(*features)
    assert len(np.unique(features[0], axis=0)) == len(maps)

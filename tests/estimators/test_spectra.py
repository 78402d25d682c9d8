import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators import SpectralEstimator
from gcesbi.estimators.losses import gaussian_nll


def _nll(value, mean, std):
    return float(gaussian_nll(*(torch.from_numpy(np.asarray(a)) for a in (value, mean, np.log(std)))).mean())


def test_training_beats_the_best_constant_prediction(spectra, maps):
    truth = maps.fresh.flux_fractions
    constant = _nll(truth, truth.mean(0)[None], truth.std(0)[None])
    assert _nll(truth, *spectra.predict(maps.fresh.counts)) < constant - 0.5


def test_fractions_are_found(spectra, maps):
    """Where sources are mostly bright, the error is well below the spread of the prior."""
    bright = maps.fresh[maps.fresh.theta[:, 1] < 0.5]
    error = spectra.predict(bright.counts).mean - bright.flux_fractions
    assert np.sqrt(np.mean(error**2)) < 0.6 * bright.flux_fractions.std(0).mean()


@pytest.mark.parametrize(("width", "level"), [(1.0, 0.683), (1.96, 0.95)])
def test_coverage_on_fresh_maps(spectra, maps, width, level):
    """Up to 4 Monte Carlo errors plus 0.05 for learning; entries of a map go together, so n is the number of maps."""
    mean, std = spectra.predict_total(maps.fresh.counts)
    flux = maps.fresh.flux.sum(2)
    covered = (np.abs(flux / flux.sum(1, keepdims=True) - mean) < width * std).mean()
    assert covered == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 500) + 0.05)


def test_means_are_shares(spectra, maps):
    mean, std = spectra.predict(maps.fresh.counts)
    assert mean.shape == std.shape == (500, 2, 3)
    np.testing.assert_allclose(mean.sum(1), 1, atol=1e-5)
    assert np.all(std > 0)
    total = spectra.predict_total(maps.fresh.counts)
    assert total.mean.shape == total.std.shape == (500, 2)
    np.testing.assert_allclose(total.mean.sum(1), 1, atol=1e-5)


def test_targets_end_with_all_energies_together(toy, maps):
    targets = toy.spectra().targets(maps.train).numpy()
    flux = maps.train.flux
    np.testing.assert_allclose(targets[..., :3], maps.train.flux_fractions, atol=1e-6)
    np.testing.assert_allclose(targets[..., 3], flux.sum(2) / flux.sum((1, 2))[:, None], atol=1e-6)


def test_one_energy_bin_is_its_own_total(toy, maps):
    estimator = SpectralEstimator(toy.region, toy.exposure[:1], ("flat", "dots"))
    counts = maps.fresh.counts[:4, :1]
    spectrum, total = estimator.predict(counts), estimator.predict_total(counts)
    np.testing.assert_array_equal(spectrum.mean[..., 0], total.mean)
    assert spectrum.std.shape == (4, 2, 1)


def test_prediction_is_deterministic_and_leaves_the_estimator_alone(spectra, maps):
    before = {name: value.clone() for name, value in spectra.state_dict().items()}
    first, second = (spectra.predict(maps.fresh.counts[:50]) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in spectra.state_dict().items())


def test_counts_of_another_shape_are_refused(spectra, maps, toy):
    message = (
        rf"counts: must have shape \(n, 3, {toy.region.n_pix}\), as the spectra estimator was made for, got \(500, 2,"
    )
    with pytest.raises(InputError, match=message):
        spectra.predict(maps.fresh.counts[:, :2])
    with pytest.raises(InputError, match="counts: must have shape"):
        spectra.predict(maps.fresh.counts[0])


@pytest.mark.parametrize(
    ("exposure", "message"),
    [
        (np.ones((3, 7)), "exposure: must have shape"),
        (np.zeros(1), "exposure: must have shape"),
    ],
)
def test_exposure_of_another_shape_is_refused(toy, exposure, message):
    with pytest.raises(InputError, match=message):
        SpectralEstimator(toy.region, exposure, ("a",))


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_exposure_must_be_positive(toy, value):
    exposure = toy.exposure.copy()
    exposure[1, 5] = value
    with pytest.raises(InputError, match="exposure: must be positive in every pixel"):
        SpectralEstimator(toy.region, exposure, ("a",))


@pytest.mark.parametrize("names", [(), ("a", "a")])
def test_names_must_be_distinct(toy, names):
    with pytest.raises(InputError, match="names: must be distinct, at least one"):
        SpectralEstimator(toy.region, toy.exposure, names)


def test_large_maps_are_split_into_smaller_batches(spectra, maps, monkeypatch):
    """At most 1 + _PIXELS_AT_ONCE // size maps at once, with the same answer."""
    whole = spectra.predict(maps.fresh.counts[:10])
    monkeypatch.setattr("gcesbi.estimators.base._PIXELS_AT_ONCE", 2 * spectra.exposure.size)
    assert [len(output.mean) for output in spectra.outputs(maps.fresh.counts[:10])] == [3, 3, 3, 1]
    np.testing.assert_allclose(spectra.predict(maps.fresh.counts[:10]), whole, atol=1e-6)

from dataclasses import replace

import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators import PoissonFraction, SpectralEstimator, TrainingSettings, load_estimator, save_estimator
from gcesbi.estimators.losses import gaussian_nll
from gcesbi.estimators.spectra import all_energies


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


def test_networks_train_where_the_user_has_switched_gradients_off(toy, maps):
    network = toy.spectra()
    before = {name: each.clone() for name, each in network.head.named_parameters()}
    with torch.no_grad():
        network.fit(maps.train, TrainingSettings(max_maps=64, head_maps=0, batch_size=16))
    assert any(not torch.equal(each, before[name]) for name, each in network.head.named_parameters())


def test_buffers_have_dtypes_of_their_own_whatever_the_user_has_set(toy):
    def built():
        networks = (
            SpectralEstimator(toy.region, toy.exposure, ("flat", "dots")),
            PoissonFraction(np.arange(5.0), "dots"),
        )
        return [{name: each.dtype for name, each in network.state_dict().items()} for network in networks]

    before = built()
    torch.set_default_dtype(torch.float64)
    try:
        assert built() == before
    finally:
        torch.set_default_dtype(torch.float32)


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


CORRELATED = [{"covariance": "full"}, {"covariance": "low_rank", "rank": 2}]


LEARNT = [pytest.param(CORRELATED[0], marks=pytest.mark.slow), CORRELATED[1]]


@pytest.fixture(scope="module", params=LEARNT, ids=lambda options: options["covariance"])
def correlated(request, toy, maps):
    """A trained estimator whose errors go together."""
    estimator = toy.spectra(**request.param)
    estimator.fit(maps.train, replace(toy.settings, max_maps=20_000))
    return estimator


def test_a_correlated_gaussian_beats_independent_entries(correlated, spectra, maps):
    """The toy's fractions are the same in all bins, so their errors go together: joint likelihood of fresh maps."""
    outputs = list(correlated.outputs(maps.fresh.counts))
    targets = correlated.targets(maps.fresh).split([len(out.mean) for out in outputs])
    with torch.no_grad():
        joint = torch.cat([correlated.joint_nll(out, y) for out, y in zip(outputs, targets, strict=True)])
    mean, std = spectra.predict(maps.fresh.counts)
    contrast = (maps.fresh.flux_fractions - mean)[:, 0] * np.sqrt(2)
    alone = _nll(contrast, np.zeros_like(contrast), std[:, 0] * np.sqrt(2)) * 3
    assert float(joint.mean()) < alone - 1


def test_correlations_are_those_of_the_errors(correlated, maps):
    """Standardised errors of neighbouring bins correlate in fresh maps as predicted, to 0.2 (4 errors 1/√500)."""
    mean, std, scale = correlated.joint(maps.fresh.counts)
    error = (maps.fresh.flux_fractions - mean) / std
    found = np.mean(error[:, 1, 0] * error[:, 1, 2])
    predicted = np.mean(np.einsum("nm,nm->n", scale[:, 1, 0], scale[:, 1, 2]) / (std[:, 1, 0] * std[:, 1, 2]))
    assert predicted > 0.8
    assert found == pytest.approx(predicted, abs=0.2)


@pytest.mark.parametrize(("width", "level"), [(1.0, 0.683), (1.96, 0.95)])
def test_coverage_of_what_follows_from_a_correlated_gaussian(correlated, maps, width, level):
    """As for the learnt total: 4 Monte Carlo errors plus 0.05 for learning."""
    flux = maps.fresh.flux.sum(2)
    share = flux / flux.sum(1, keepdims=True)
    for truth, (mean, std) in (
        (maps.fresh.flux_fractions, correlated.predict(maps.fresh.counts)),
        (share, correlated.predict_total(maps.fresh.counts)),
    ):
        covered = (np.abs(truth - mean) < width * std).mean()
        assert covered == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 500) + 0.05)


def test_all_energies_follow_from_the_bins():
    """Against a million draws: mean and deviation within 5 Monte Carlo errors."""
    rng = np.random.default_rng(0)
    mean, scale = np.array([[0.7, 0.2], [0.3, 0.8]]), np.zeros((2, 2, 2))
    scale[0] = [[0.05, 0], [0.03, 0.02]]
    scale[1] = -scale[0]
    flux, error = np.array([3.0, 1.0]), np.array([0.3, 0.05])
    n = 1_000_000
    share = mean + np.einsum("tem,nm->nte", scale, rng.normal(size=(n, 2)))
    drawn = np.einsum("nte,ne->nt", share, flux_drawn := flux + error * rng.normal(size=(n, 2)))
    drawn /= flux_drawn.sum(1, keepdims=True)
    found = all_energies(mean[None], scale[None], flux[None], error[None])
    np.testing.assert_allclose(found.mean[0], drawn.mean(0), atol=2e-3)  # second order in the errors of fluxes
    np.testing.assert_allclose(found.std[0], drawn.std(0), rtol=2e-2)


def test_a_diagonal_joint_keeps_its_deviations_and_sums_to_zero(spectra, maps):
    """Two templates: errors are opposite, and of one deviation, between the two that are predicted."""
    mean, _, scale = spectra.joint(maps.fresh.counts[:3])
    expected, total = spectra.predict(maps.fresh.counts[:3]), spectra.predict_total(maps.fresh.counts[:3])
    np.testing.assert_array_equal(mean[..., :-1], expected.mean)
    np.testing.assert_array_equal(mean[..., -1], total.mean)
    np.testing.assert_allclose(scale.sum(axis=1), 0, atol=1e-12)
    std = np.concatenate([expected.std, total.std[..., None]], axis=2)
    found = np.linalg.norm(scale, axis=-1)
    assert np.all((0.9 * std.min(axis=1, keepdims=True) < found) & (found < 1.1 * std.max(axis=1, keepdims=True)))


def test_an_unknown_covariance_is_refused(toy):
    with pytest.raises(InputError, match="covariance: must be one of diagonal, full, low_rank, got 'dense'"):
        toy.spectra(covariance="dense")


def test_a_diagonal_estimator_is_known_by_the_names_it_always_had(toy):
    """Weights written before covariances were a choice stay loadable."""
    estimator = toy.spectra()
    assert [name for name in estimator.state_dict() if name.startswith("head")] == [
        "head.base_mean",
        "head.base_spread",
        "head.linear.weight",
        "head.linear.bias",
    ]
    assert not {"covariance", "rank"} & set(estimator.identity())


@pytest.mark.parametrize("options", CORRELATED, ids=lambda options: options["covariance"])
def test_a_correlated_estimator_comes_back_from_disk(toy, maps, tmp_path, options):
    estimator = toy.spectra(**options)
    estimator.prepare(torch.from_numpy(maps.train.counts[:64]), estimator.targets(maps.train[:64]))
    save_estimator(estimator, tmp_path / "a")
    loaded = load_estimator(tmp_path / "a")
    assert loaded.identity() == estimator.identity()
    for ours, theirs in zip(loaded.joint(maps.fresh.counts[:3]), estimator.joint(maps.fresh.counts[:3]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_diagonal_covariance_has_no_joint_likelihood_of_contrasts(toy, maps):
    estimator = toy.spectra()
    output = next(estimator.outputs(maps.fresh.counts[:2]))
    with pytest.raises(InputError, match="covariance: must be full or low_rank for a joint likelihood, got 'diagonal'"):
        estimator.joint_nll(output, estimator.targets(maps.fresh[:2]))

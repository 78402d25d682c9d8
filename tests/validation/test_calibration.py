"""The report passes exact posteriors and rejects widths that are 10 % off, at 500 maps."""

import json
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import beta, norm

from gcesbi.errors import InputError
from gcesbi.validation import Calibration, rearrange

TAUS = np.arange(1, 100) / 100
CDF_TAUS = np.arange(1, 40) / 40


def linear_gaussian(rng, n_map=500, n_parameter=6, n_data=10):
    """Parameters θ ~ N(0, 1), data A θ + N(0, 1): truth, exact posterior means and standard deviations."""
    matrix = rng.normal(size=(n_data, n_parameter))
    theta = rng.normal(size=(n_map, n_parameter))
    data = theta @ matrix.T + rng.normal(size=(n_map, n_data))
    covariance = np.linalg.inv(matrix.T @ matrix + np.eye(n_parameter))
    mean = data @ matrix @ covariance
    return theta, mean, np.broadcast_to(np.sqrt(np.diag(covariance)), mean.shape)


@lru_cache
def dirichlet_cdfs(seed, factor, n_map=500, n_bin=26, n_photon=60):
    """Histograms with a Dirichlet prior seen through multinomial counts: truth, exact CDF quantiles that fall with τ.

    `factor` stretches the belief: z of the levels are multiplied by it.
    """
    rng, prior = np.random.default_rng(seed), np.full(n_bin, 0.5)
    pdf = rng.dirichlet(prior, size=n_map)
    seen = prior + rng.multinomial(n_photon, pdf)
    below = np.cumsum(seen, axis=1)[:, :-1]
    levels = norm.cdf(factor * norm.ppf(1 - CDF_TAUS))[:, None, None]
    inner = beta.ppf(levels, below, seen.sum(axis=1, keepdims=True) - below)
    return np.cumsum(pdf, axis=1), np.concatenate([inner, np.ones((len(CDF_TAUS), n_map, 1))], axis=-1)


def judge(kind, factor, seed=1):
    if kind == "cdf":
        return Calibration.from_quantiles(*dirichlet_cdfs(seed, factor), CDF_TAUS)
    rng = np.random.default_rng(seed)
    truth, mean, std = linear_gaussian(rng)
    if kind == "gaussian":
        return Calibration.from_gaussian(truth, mean, factor * std)
    if kind == "samples":
        draws = mean + factor * std * rng.normal(size=(1000, *mean.shape))
        return Calibration.from_samples(truth, draws)
    return Calibration.from_quantiles(truth, mean + factor * std * norm.ppf(TAUS)[:, None, None], TAUS, cdf=False)


@pytest.mark.parametrize("kind", ["gaussian", "quantiles", "samples", "cdf"])
@pytest.mark.parametrize(
    ("factor", "judgement"), [(1.0, "calibrated"), (0.9, "over-confident"), (1.1, "under-confident")]
)
def test_passes_the_exact_posterior_and_rejects_ten_percent(kind, factor, judgement):
    report = judge(kind, factor)
    assert report.judgement == judgement, report.verdict
    assert report.verdict.startswith(judgement.capitalize())
    assert report.dispersion.value == pytest.approx(1 / factor, abs=0.07)


def test_false_alarms_and_power_over_many_experiments():
    """40 exact and 40 × 10 % over-confident sets of 500 maps of 4 numbers: about 5 % and over 99 % are flagged.

    Allowed: 7 false alarms (binomial probability of more: 10⁻³), 1 miss.
    """
    alarms = {1.0: 0, 0.9: 0}
    for seed in range(40):
        z = np.random.default_rng(seed).normal(size=(500, 4))
        for factor in alarms:
            report = Calibration.from_gaussian(z, np.zeros_like(z), np.full(z.shape, factor))
            alarms[factor] += report.judgement != "calibrated"
    assert alarms[1.0] <= 7
    assert alarms[0.9] >= 39


@pytest.mark.parametrize("n_sample", [9, 40, 200])
def test_few_samples_are_judged_by_ranks_which_are_exact(n_sample):
    """Quantiles of few samples lie too far inside: by them an exact posterior would be over-confident."""
    rng = np.random.default_rng(8)
    mean = rng.normal(size=(500, 6))
    truth, draws = mean + rng.normal(size=mean.shape), mean + rng.normal(size=(n_sample, *mean.shape))
    report = Calibration.from_samples(truth, draws)
    assert report.judgement == "calibrated", report.verdict
    np.testing.assert_allclose(
        report.curve.coverage, report.curve.alphas, rtol=0, atol=0.05
    )  # 4 standard errors of 3,000 pairs are 0.036
    assert Calibration.from_samples(truth, mean + 0.8 * (draws - mean)).judgement == "over-confident"


def test_samples_and_quantiles_of_many_samples_agree():
    rng = np.random.default_rng(9)
    truth, draws = rng.normal(size=(200, 3)), rng.normal(size=(4000, 200, 3))
    one = Calibration.from_samples(truth, draws)
    levels = np.arange(1, 400) / 400
    two = Calibration.from_quantiles(
        truth, np.quantile(draws, levels, axis=0, method="median_unbiased"), levels, cdf=False
    )
    for name in ("width_68", "width_95"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), rel=1e-3)
    for name in ("dispersion", "bias", "coverage_68", "crps"):
        assert getattr(one, name).value == pytest.approx(getattr(two, name).value, abs=3e-3)
    np.testing.assert_allclose(one.curve.coverage, two.curve.coverage, atol=2e-3)


def test_widths_of_few_draws_are_those_of_the_posterior():
    """Normal: ± 0.994 (levels 0.16 and 0.84) and ± 1.960; NumPy's default gives 2.5 % less."""
    rng = np.random.default_rng(10)
    report = Calibration.from_samples(rng.normal(size=(500, 20)), rng.normal(size=(199, 500, 20)))
    assert report.width_68 == pytest.approx(2 * 0.99446, rel=0.004)
    assert report.width_95 == pytest.approx(2 * 1.95996, rel=0.008)


def test_bad_samples_are_named():
    with pytest.raises(
        InputError, match=r"samples: must have shape \(n_sample, \*truth.shape\) = \(n_sample, 4, 2\), got \(9, 4, 3\)"
    ):
        Calibration.from_samples(np.zeros((4, 2)), np.zeros((9, 4, 3)))
    with pytest.raises(InputError, match="samples: must be finite"):
        Calibration.from_samples(np.zeros((4, 2)), np.full((9, 4, 2), np.nan))


def test_bias_is_told_with_its_side():
    rng = np.random.default_rng(2)
    truth, quantiles = rng.normal(size=(500, 6)), norm.ppf(TAUS)[:, None, None] + np.zeros((500, 6))
    report = Calibration.from_quantiles(truth + 0.15, quantiles, TAUS, cdf=False)
    assert report.bias.value == pytest.approx(0.15, abs=4 / np.sqrt(3000))
    assert "predictions lie too low by 0.1" in report.verdict
    assert Calibration.from_gaussian(truth - 0.1, 0 * truth, 1 + 0 * truth).judgement == "biased"


def test_a_dim_prediction_is_low_and_has_a_negative_semd():
    truth, quantiles = dirichlet_cdfs(1, 1.0)
    dimmer = np.concatenate([quantiles[..., 1:], np.ones((*quantiles.shape[:-1], 1))], axis=-1)
    report = Calibration.from_quantiles(truth, dimmer, CDF_TAUS)
    assert report.semd.value == pytest.approx(-1.0, abs=0.15)
    assert report.emd.value >= 1.0 - 0.15
    assert report.bias.value > 0
    assert "too low" in report.verdict


def test_heavy_tails_are_not_taken_for_calibration():
    """Errors of unit variance, from a mixture: too small in the core, too large in the tails."""
    rng = np.random.default_rng(4)
    scale = np.where(rng.uniform(size=(2000, 6)) < 0.1, 2.6, 0.6)
    truth = rng.normal(size=scale.shape) * scale
    assert Calibration.from_gaussian(truth, 0 * truth, 1 + 0 * truth).judgement != "calibrated"


def test_few_maps_are_not_judged():
    z = np.random.default_rng(5).normal(size=(20, 6))
    report = Calibration.from_gaussian(z, 0 * z, 1 + 0 * z)
    assert report.few_maps
    assert report.verdict.startswith("Too few maps to judge (20 of at least 100): errors are ")


def test_numbers_survive_json():
    report = judge("cdf", 1.0)
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["verdict"] == report.verdict
    assert found["curve"]["coverage"] == report.curve.coverage.tolist()
    assert found["dispersion"] == {
        "value": report.dispersion.value,
        "low": report.dispersion.low,
        "high": report.dispersion.high,
    }
    assert found["bin_coverage"][0][-1] is None


def test_levels_that_do_not_reach_are_left_out():
    z = np.random.default_rng(6).normal(size=(200, 3))
    taus = np.array([0.25, 0.5, 0.75])
    report = Calibration.from_quantiles(z, norm.ppf(taus)[:, None, None] + 0 * z, taus, cdf=False)
    assert report.curve.alphas.max() == 0.5
    assert report.coverage_68 is None
    assert np.isnan(report.width_68)
    assert report.judgement == "calibrated"


def test_crossing_curves_are_refused_and_sorting_mends_them():
    truth, quantiles = (x.copy() for x in dirichlet_cdfs(7, 1.0, n_map=50))
    good = Calibration.from_quantiles(truth, quantiles, CDF_TAUS)
    quantiles[[20, 21]] = quantiles[[21, 20]]
    with pytest.raises(
        InputError, match=r"quantiles: must not cross, but .* between tau 0.525 and 0.55 at .*rearrange"
    ):
        Calibration.from_quantiles(truth, quantiles, CDF_TAUS)
    assert Calibration.from_quantiles(truth, rearrange(quantiles), CDF_TAUS).to_dict() == good.to_dict()


def test_bad_input_is_named():
    with pytest.raises(InputError, match="truth: no pair counts"):
        Calibration.from_quantiles(np.ones((5, 3)), np.ones((3, 5, 3)), [0.1, 0.5, 0.9])
    with pytest.raises(InputError, match=r"taus: must reach to 0.475 and 0.525 at least, got 0.5 to 0.5"):
        Calibration.from_quantiles(np.zeros((5, 3)), np.zeros((1, 5, 3)), [0.5], cdf=False)

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, kstest, norm, poisson

from gcesbi.baselines import PoissonFit, deviance, deviant_pixels, goodness_of_fit, poisson_deviance
from gcesbi.baselines.poisson.goodness_of_fit import (
    _uniform_p_value,
    count_pit,
    pixel_significance,
    smoothed_significance,
)
from gcesbi.errors import InputError
from gcesbi.sky.region import Region

from .conftest import SmallModel, observe


@pytest.mark.parametrize("norm_", [0.05, 3.0])
def test_deviance_of_many_maps_is_that_of_single_fits(norm_):
    model = SmallModel.build(n_energy=2)
    counts = np.random.default_rng(1).poisson(norm_ * model.templates.sum(axis=0), (7, *model.exposure.shape))
    found = deviance(counts, model)
    for i, seen in enumerate(counts):
        result = PoissonFit(model, observe(model, seen)).run()
        assert found[i] == pytest.approx(poisson_deviance(seen, result.mean), abs=1e-7)
    assert deviance(counts[:1].astype(np.uint16), model)[0] == pytest.approx(found[0], abs=1e-7)


def test_deviance_follows_chi_squared_where_counts_are_many():
    model = SmallModel.build(names=("iso", "ic", "gce"))
    n = 400
    counts = np.random.default_rng(2).poisson(300 * model.templates.sum(axis=0), (n, *model.exposure.shape))
    freedom = model.region.n_pix - 3
    found = deviance(counts, model)
    # k = 4 Monte Carlo errors; the expansion of D beyond chi-squared is 1 / (6 μ) a pixel, here below 0.01 %
    assert found.mean() == pytest.approx(freedom, abs=4 * np.sqrt(2 * freedom / n) + 1e-3 * freedom)
    assert found.std() == pytest.approx(np.sqrt(2 * freedom), rel=4 / np.sqrt(2 * n))


def test_deviance_grows_where_the_templates_are_wrong():
    model = SmallModel.build()
    rng = np.random.default_rng(3)
    mean = 20 * model.templates.sum(axis=0)
    right = deviance(rng.poisson(mean, (50, *mean.shape)), model)
    wrong = deviance(rng.poisson(rng.gamma(10.0, mean / 10.0, (50, *mean.shape))), model)
    assert wrong.min() > right.max()


@pytest.mark.parametrize("shape", [(3, 10), (3, 1, 10), (0, 1, 10)])
def test_deviance_refuses_other_shapes(shape):
    with pytest.raises(InputError, match=r"counts: must have shape \(n, "):
        deviance(np.zeros(shape, dtype=int), SmallModel.build())


def test_deviance_refuses_fractions():
    model = SmallModel.build()
    with pytest.raises(InputError, match="counts: must be whole numbers"):
        deviance(np.full((1, *model.exposure.shape), 0.5), model)


@given(k=st.integers(0, 300), mu=st.floats(1e-3, 300.0))
@settings(deadline=None, max_examples=60)
def test_pixel_significance_is_the_quantile_of_the_mid_p_value(k, mu):
    with mpmath.workdps(320):
        point = mpmath.exp(-mu) * mpmath.mpf(mu) ** k / mpmath.factorial(k)
        above = mpmath.gammainc(k + 1, 0, mu, regularized=True) + point / 2
        p = min(above, 1 - above)
        if p < mpmath.mpf(10) ** -280:
            return
        expected = norm.isf(float(p)) * (1 if above < 0.5 else -1)
    assert pixel_significance(k, mu) == pytest.approx(expected, abs=1e-7)


def test_far_tails_stay_finite():
    found = pixel_significance([0, 5000, 3], [900.0, 3.0, 0.0])
    assert np.isfinite(found).all()
    assert found[0] < -30
    assert found[1] > 30


def test_pit_is_uniform_for_the_right_mean_and_heaped_for_a_wider_law():
    rng = np.random.default_rng(4)
    mean = rng.gamma(2.0, 1.0, 4000)
    right = count_pit(rng.poisson(mean), mean, seed=1)
    assert kstest(right, "uniform").pvalue > 0.001
    wide = count_pit(rng.poisson(rng.gamma(1.0, mean)), mean, seed=1)
    assert kstest(wide, "uniform").pvalue < 1e-6
    assert np.mean((wide < 0.1) | (wide > 0.9)) > 0.25
    np.testing.assert_array_equal(count_pit([3, 0], [2.0, 1.0], 7), count_pit([3, 0], [2.0, 1.0], 7))
    lower, point = poisson.cdf([3, 0], [2.0, 1.0]), poisson.pmf([3, 0], [2.0, 1.0])
    v = np.random.default_rng(7).random(2)
    np.testing.assert_allclose(count_pit([3, 0], [2.0, 1.0], 7), lower - v * point, rtol=1e-12)


def test_the_test_of_uniform_ranks_is_kolmogorovs_and_smirnovs():
    for n in (100, 5000):
        for power in (1.0, 1.03, 1.1):
            values = np.random.default_rng(n).random(n) ** power
            assert _uniform_p_value(values) == pytest.approx(kstest(values, "uniform").pvalue, abs=2e-4)


def test_smoothed_significance_by_brute_force():
    region = Region.disc(16, 15.0)
    rng = np.random.default_rng(5)
    mean = rng.gamma(5.0, 1.0, region.n_pix)
    counts = rng.poisson(mean)
    glon, glat = (np.radians(angle) for angle in region.glon_glat())
    cosine = np.sin(glat) * np.sin(glat[:, None])
    cosine += np.cos(glat) * np.cos(glat[:, None]) * np.cos(glon - glon[:, None])
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    weight = np.where(angle <= 12.0, np.exp(-0.5 * (angle / 4.0) ** 2), 0.0)
    expected = weight @ (counts - mean) / np.sqrt(weight**2 @ mean)
    np.testing.assert_allclose(smoothed_significance(counts, mean, region, 4.0), expected, atol=1e-5)
    narrow = smoothed_significance(counts, mean, region, 0.1)
    np.testing.assert_allclose(narrow, (counts - mean) / np.sqrt(mean))
    with pytest.raises(InputError, match="sigma: must lie in"):
        smoothed_significance(counts, mean, region, 0.0)


def planted(model, extra, seed=6, pixels=(40, 70)):
    counts = np.random.default_rng(seed).poisson(5 * model.templates.sum(axis=0))
    counts[0, list(pixels)] += extra
    return observe(model, counts)


def test_planted_pixels_are_found_and_the_refit_returns():
    model = SmallModel.build(n_energy=2)
    clean = PoissonFit(model, planted(model, 0)).run()
    fit = PoissonFit(model, planted(model, 80)).run()
    assert deviant_pixels(clean) == ()
    judged = goodness_of_fit(fit, n_simulated=60, seed=1, sigma=5.0)
    assert {p.pixel for p in judged.deviant} == set(model.region.pixels[[40, 70]].tolist())
    worst = judged.deviant[0]
    i = int(np.searchsorted(model.region.pixels, worst.pixel))
    assert worst.counts == fit.observed[:, i].sum()
    assert worst.expected == pytest.approx(fit.mean[:, i].sum())
    assert worst.p_value == pytest.approx(2 * poisson.sf(worst.counts - 1, worst.expected), rel=1e-9)
    assert (worst.glon, worst.glat) == tuple(angle[i] for angle in model.region.glon_glat())
    for pixel in judged.deviant:
        exact = binom.sf(0, model.region.n_pix, pixel.p_value)
        assert pixel.p_after_trials == pytest.approx(exact, rel=1e-6)
        assert 0 < pixel.expected_error < np.sqrt(pixel.expected)
    assert judged.p_value == judged.smoothed_p_value == 1 / 61
    assert judged.z > 5
    again = judged.refit()
    assert again.observed.shape[1] == model.region.n_pix - 2
    # the planted photons are gone: what is left differs from the clean map by two of its pixels
    assert np.all(np.abs(clean.shift_to(again)) < 0.5)
    assert np.abs(clean.shift_to(fit)).max() > 1.0
    assert judged.to_dict()["deviant_pixels"][0]["pixel"] == worst.pixel


def test_a_right_model_passes():
    model = SmallModel.build()
    judged = goodness_of_fit(PoissonFit(model, planted(model, 0, seed=8)).run(), n_simulated=99, seed=3, sigma=5.0)
    assert judged.deviant == ()
    assert 0.01 < judged.p_value < 0.99
    assert judged.smoothed_p_value > 0.01
    assert judged.pit_p_value > 0.01
    assert abs(judged.z) < 3
    assert judged.significance.std() == pytest.approx(1.0, abs=0.15)


def test_p_values_are_uniform_under_the_model():
    """20 maps of the model: their mean p-value is 1/2 within k = 4 errors of 1/sqrt(12 * 20)."""
    model = SmallModel.build(names=("iso", "gce"), nside=8)
    found = [
        goodness_of_fit(PoissonFit(model, observe(model, seed=seed)).run(), 40, seed, sigma=8.0) for seed in range(20)
    ]
    for name in ("p_value", "smoothed_p_value", "pit_p_value"):
        values = np.array([getattr(each, name) for each in found])
        assert abs(values.mean() - 0.5) < 4 / np.sqrt(12 * 20), name


def test_the_same_seed_judges_the_same():
    model = SmallModel.build()
    fit = PoissonFit(model, planted(model, 10)).run()
    one, two = (goodness_of_fit(fit, 5, seed=2, sigma=5.0) for _ in range(2))
    assert one.to_dict() == two.to_dict()
    np.testing.assert_array_equal(one.pit, two.pit)


def test_bad_input_is_named():
    result = PoissonFit(SmallModel.build(), observe(SmallModel.build(), seed=1)).run()
    with pytest.raises(InputError, match="n_simulated: must be at least 2, got 1"):
        goodness_of_fit(result, n_simulated=1)
    with pytest.raises(InputError, match=r"threshold: must lie in \(0, 1\]"):
        deviant_pixels(result, threshold=0.0)
    with pytest.raises(InputError, match="pixels: must be numbers of pixels in the region, got -1"):
        result.without([-1])


def test_the_real_map_shows_what_the_mask_left(real_maps):
    model = SmallModel.of_maps(real_maps)
    result = PoissonFit(model, observe(model, real_maps.counts[None])).run()
    judged = goodness_of_fit(result, n_simulated=20, seed=0)
    assert [p.pixel for p in judged.deviant][:3] == [75277, 75290, 75276]  # beside PSR J1709-4429
    worst = judged.deviant[0]
    assert (worst.counts, round(worst.expected, 1)) == (228, 60.8)
    assert (round(worst.glon, 2), round(worst.glat, 2)) == (-16.52, -2.99)
    assert worst.p_after_trials < 1e-50
    assert judged.z > 10  # point sources: the whole map scatters more than Poisson
    again = judged.refit()
    assert again.test_statistic("gce") > result.test_statistic("gce")
    assert 0.5 < np.abs(result.shift_to(again)).max() < 2

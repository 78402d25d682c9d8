"""Source-count distributions: conversions, the skew-normal family, and the skew normal itself."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from gcesbi import InputError
from gcesbi.physics import scd, skew_normal
from gcesbi.physics.scd import DEFAULT_BINS, ScdBins, SkewNormalScd


def test_default_bins_are_those_of_the_paper():
    assert len(DEFAULT_BINS) == 26
    assert DEFAULT_BINS.edges[1] == pytest.approx(-13.5)
    assert DEFAULT_BINS.edges[-2] == pytest.approx(-7)
    assert np.allclose(np.diff(DEFAULT_BINS.edges), 6.5 / 24)


def test_fluxes_beyond_the_range_fall_into_the_overflow_bins():
    assert DEFAULT_BINS.index([-30, -13.500001, -13.499, -7.0001, -6.9999, 0]).tolist() == [0, 0, 1, 24, 25, 25]


@given(st.lists(st.floats(0.01, 1), min_size=26, max_size=26), st.floats(1e-9, 1e-6))
@settings(deadline=None, max_examples=30)
def test_representations_convert_both_ways(weights, total):
    pdf = np.array(weights) / np.sum(weights)
    assert np.allclose(scd.cdf_to_pdf(scd.pdf_to_cdf(pdf)), pdf)
    flux = scd.pdf_to_f2dndf(pdf, total) * DEFAULT_BINS.width * np.log(10)
    assert np.allclose(flux / flux.sum(), pdf)
    assert flux.sum() == pytest.approx(total)
    assert np.allclose(scd.pdf_to_dndf(pdf, total) * DEFAULT_BINS.flux**2, scd.pdf_to_f2dndf(pdf, total))


def test_f2dndf_of_a_histogram_is_that_of_its_density():
    population = SkewNormalScd(-10.5, 0.3, 1.0, 1e-7)
    fine = ScdBins(-16, -7, 900)
    binned = scd.pdf_to_f2dndf(population.histogram(fine), population.total_flux, fine)[1:-1]
    x = fine.centres[1:-1]
    exact = 10.0**x * population.dndlogf(x) / np.log(10)
    assert np.allclose(binned, exact, rtol=0.01, atol=1e-4 * exact.max())


def test_number_of_sources_is_that_of_a_delta_function():
    pdf = np.zeros(26)
    pdf[10] = 1
    assert scd.n_sources(pdf, 1e-7) == pytest.approx(1e-7 / DEFAULT_BINS.flux[10])


@pytest.mark.parametrize(
    "shape", [(-11, 0.1, 0), (-10, 1.0, 3), (-12, 2.0, -5), (-9, 0.5, 1), (-10, 0.0, 2), (-11, 1e-6, 0)]
)
def test_population_integrals_agree_with_quadrature_and_draws(shape):
    population = SkewNormalScd(*shape, total_flux=1e-7)
    x, *_ = population._table
    assert x.max() <= -7
    drawn = population.sample(20_000, np.random.default_rng(1))
    assert drawn.max() <= 1e-7
    error = drawn.std() / np.sqrt(len(drawn))
    assert abs(drawn.mean() - population.mean_flux) < 5 * error + 1e-9 * drawn.mean()  # k = 5
    number, _ = integrate.quad(lambda u: float(population.dndlogf(u)), x[0], x[-1], limit=500, points=[shape[0]])
    assert number == pytest.approx(population.n_sources, rel=1e-4)
    histogram = population.histogram()
    assert histogram.sum() == pytest.approx(1)
    assert histogram.min() >= 0
    weights = drawn / drawn.mean()
    sampled = np.array([np.mean(weights * (DEFAULT_BINS.index(np.log10(drawn)) == i)) for i in range(26)])
    spread = np.array([np.std(weights * (DEFAULT_BINS.index(np.log10(drawn)) == i)) for i in range(26)])
    assert np.all(np.abs(sampled - histogram) < 6 * spread / np.sqrt(len(drawn)) + 0.02 * (spread == 0) + 1e-4)


@given(st.floats(-8, 8), st.floats(-20, 20))
@settings(deadline=None, max_examples=30)
def test_log_pdf_and_compiled_pdf_are_mpmaths(z, a):
    exact = mpmath.log(2 * mpmath.npdf(z) * mpmath.ncdf(mpmath.mpf(a) * z)) - mpmath.log(0.7)
    ours = float(skew_normal.log_pdf(1 + 0.7 * z, 1.0, 0.49, a))
    assert ours == pytest.approx(float(exact), rel=1e-9, abs=1e-9)
    if exact > -600:
        assert np.log(skew_normal.pdf_scalar(1 + 0.7 * z, 1.0, 0.7, a)) == pytest.approx(
            float(exact), rel=1e-6, abs=1e-8
        )


def test_cdf_and_draws_are_scipys():
    x = np.linspace(-4, 6, 30)
    assert np.allclose(skew_normal.cdf(x, 1, 4, 3), stats.skewnorm.cdf(x, 3, 1, 2), atol=1e-8)
    drawn = skew_normal.rvs(1, 4, 3, 20_000, np.random.default_rng(0))
    assert stats.kstest(drawn, lambda u: skew_normal.cdf(u, 1, 4, 3)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScdBins(-7, -13), "low must be below high"),
        (lambda: ScdBins(n_inner=0), "n_inner must be at least 1"),
        (lambda: SkewNormalScd(-10, -1, 0, 1e-7), "omega2: must be finite and not negative"),
        (lambda: SkewNormalScd(-10, 1, 0, -1e-7), "total_flux: must not be negative"),
    ],
)
def test_bad_populations_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()

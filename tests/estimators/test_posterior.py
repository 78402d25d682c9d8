import numpy as np
import pytest
from scipy.stats import norm

from gcesbi.errors import InputError
from gcesbi.estimators import SourceCountPosterior, SpectralPosterior, total_flux
from gcesbi.posterior import QUANTITIES, Coordinates, Posterior

MEAN = np.array([[0.6, 0.5, 0.7], [0.4, 0.5, 0.3]])
STD = np.array([[0.05, 0.04, 0.02], [0.05, 0.1, 0.01]])


@pytest.fixture
def gaussian(toy):
    return SpectralPosterior(toy.coordinates, MEAN, STD, [0.58, 0.42], [0.03, 0.02], [3.0, 2.0, 1.0])


@pytest.fixture
def observed(spectra, maps, toy):
    return SpectralPosterior.of(spectra, maps.fresh.counts[0], toy.coordinates)


@pytest.fixture
def scd(source_counts, maps, toy):
    return SourceCountPosterior(source_counts, maps.fresh.counts[0], toy.coordinates, template_flux=[300.0])


def test_total_flux_sums_counts_over_exposure():
    np.testing.assert_allclose(total_flux([[1, 2], [3, 4]], [[1.0, 2.0], [0.5, 4.0]]), [2.0, 7.0])


def test_gaussian_quantiles_are_scipys(gaussian):
    levels = [0.025, 0.3, 0.5, 0.975]
    expected = norm.ppf(np.reshape(levels, (-1, 1, 1)), MEAN, STD)
    np.testing.assert_allclose(gaussian.quantiles("spectrum_fraction", levels), expected)
    expected = norm.ppf(np.reshape(levels, (-1, 1)), [0.58, 0.42], [0.03, 0.02])
    np.testing.assert_allclose(gaussian.quantiles("flux_fraction", levels), expected)
    np.testing.assert_allclose(gaussian.quantiles("flux", levels), 6 * expected)


def test_samples_have_the_gaussians_moments(gaussian):
    n = 4000
    samples = gaussian.sample(n, seed=1)
    error = STD / np.sqrt(n)
    assert np.all(np.abs(samples["spectrum_fraction"].mean(0) - MEAN) < 5 * error)
    assert np.all(np.abs(samples["spectrum_fraction"].std(0) - STD) < 5 * error / np.sqrt(2))
    np.testing.assert_allclose(samples["flux"], 6 * samples["flux_fraction"])


def test_fractions_stay_in_their_range(toy):
    wide = SpectralPosterior(toy.coordinates, MEAN, 5 + STD, [0.5, 0.5], [3, 3], [1, 1, 1])
    for values in (wide.sample(100)["flux_fraction"], wide.quantiles("spectrum_fraction", [0.01, 0.99])):
        assert values.min() == 0
        assert values.max() == 1


@pytest.mark.parametrize("kind", ["observed", "scd"])
def test_axes_are_those_of_the_quantities(kind, request):
    posterior = request.getfixturevalue(kind)
    assert isinstance(posterior, Posterior)
    sizes = {
        axis: len(getattr(posterior.coordinates, axis)) for axis in ("template", "energy", "point_source", "flux_bin")
    }
    samples = posterior.sample(5)
    assert set(samples) == set(posterior.names)
    for name in posterior.names:
        shape = tuple(sizes[axis] for axis in QUANTITIES[name].axes)
        assert samples[name].shape == (5, *shape)
        assert posterior.quantiles(name, [0.2, 0.4]).shape == (2, *shape)
        band = posterior.summary(0.9)[name]
        assert np.all(band["low"] <= band["median"])
        assert np.all(band["median"] <= band["high"])


@pytest.mark.parametrize("kind", ["observed", "scd"])
def test_samples_follow_the_quantiles_and_the_seed(kind, request):
    posterior = request.getfixturevalue(kind)
    n = 4000
    samples = posterior.sample(n, seed=2)
    for name in posterior.names:
        # share of samples at or below the 0.3-quantile, within 5 binomial errors; ties at a bound are left out
        quantile = posterior.quantiles(name, 0.3)[0]
        share = (samples[name] <= quantile).mean(0)
        spread = samples[name].std(0) > 1e-3 * np.abs(samples[name]).mean(0) + 1e-9
        assert spread.any()
        assert np.all(np.abs(share - 0.3)[spread] < 5 * np.sqrt(0.3 * 0.7 / n))
        np.testing.assert_array_equal(samples[name], posterior.sample(n, seed=2)[name])
        assert not np.array_equal(samples[name], posterior.sample(n, seed=3)[name])


def test_observed_posterior_holds_the_truth(observed, maps, toy):
    """Flux of both templates within 5 standard deviations, and their sum near the map's flux."""
    mean, low, high = (observed.quantiles("flux", norm.cdf(z))[0] for z in (0, -5, 5))
    truth = maps.fresh.flux[0].sum(1)
    assert np.all((low < truth) & (truth < high))
    assert mean.sum() == pytest.approx(maps.fresh.counts[0].sum())


def test_low_quantiles_of_the_cdf_are_bright(scd, source_counts, maps):
    """The q-quantile of the CDF is the curve of τ = 1 - q."""
    expected = source_counts.quantiles(maps.fresh.counts[:1], [0.9, 0.1])[:, 0]
    np.testing.assert_array_equal(scd.quantiles("scd_cdf", [0.1, 0.9]), expected)


def test_number_of_sources_is_the_sum_over_bins(scd, toy):
    cdf = scd.quantiles("scd_cdf", 0.5)[0, 0]
    share = [cdf[0], *np.diff(cdf)]
    expected = sum(300 * p / 10**x for p, x in zip(share, toy.coordinates.flux_bin, strict=True))
    assert scd.quantiles("n_sources", 0.5)[0, 0] == pytest.approx(expected)


def test_number_of_sources_needs_the_templates_flux(source_counts, maps, toy):
    posterior = SourceCountPosterior(source_counts, maps.fresh.counts[0], toy.coordinates)
    assert posterior.names == ("scd_cdf",)
    with pytest.raises(InputError, match="quantity: neural source counts knows scd_cdf, got 'n_sources'"):
        posterior.quantiles("n_sources", 0.5)


def test_coordinates_must_be_the_estimators(source_counts, maps):
    other = Coordinates(("flat", "dots"), (2.0,), ("gce",), (1.0, 2.0))
    with pytest.raises(InputError, match=r"coordinates: must name point sources \('dots',\) and 8 flux bins, got"):
        SourceCountPosterior(source_counts, maps.fresh.counts[0], other)


@pytest.mark.parametrize(
    ("flux", "message"),
    [
        ([1.0, 2.0], r"template_flux: must have shape \(1,\)"),
        ([-1.0], "template_flux: must be finite and not negative"),
    ],
)
def test_template_flux_is_checked(source_counts, maps, toy, flux, message):
    with pytest.raises(InputError, match=message):
        SourceCountPosterior(source_counts, maps.fresh.counts[0], toy.coordinates, template_flux=flux)


def test_shapes_and_signs_are_checked(toy):
    with pytest.raises(InputError, match=r"total_flux: must have shape \(3,\), got \(2,\)"):
        SpectralPosterior(toy.coordinates, MEAN, STD, [0.5, 0.5], [0.1, 0.1], [1.0, 2.0])
    with pytest.raises(InputError, match=r"std: must be finite and not negative, got -0.1"):
        SpectralPosterior(toy.coordinates, MEAN, STD - 0.11, [0.5, 0.5], [0.1, 0.1], [1.0, 2.0, 3.0])

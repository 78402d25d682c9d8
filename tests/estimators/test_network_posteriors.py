import numpy as np
import pytest
from scipy.stats import norm, spearmanr

from gcesbi.errors import InputError
from gcesbi.estimators import SourceCountPosterior, SpectralPosterior, flux_error, total_flux
from gcesbi.estimators.network_posteriors import flux_correlation
from gcesbi.physics.spectra import e2dnde
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


def test_flux_error_is_the_scatter_of_poisson_counts():
    """Against 20,000 draws: 5 errors of a standard deviation, and by hand."""
    mean, exposure = np.array([[30.0, 5.0, 80.0]]), np.array([[1.0, 0.2, 4.0]])
    drawn = total_flux(np.random.default_rng(0).poisson(mean, (20_000, 1, 3)), exposure)
    assert flux_error(mean, exposure)[0] == pytest.approx(np.sqrt(30 + 5 / 0.04 + 80 / 16))
    assert drawn.std() == pytest.approx(flux_error(mean, exposure)[0], rel=5 / np.sqrt(2 * 20_000))


def test_gaussian_quantiles_are_scipys(gaussian):
    levels = [0.025, 0.3, 0.5, 0.975]
    expected = norm.ppf(np.reshape(levels, (-1, 1, 1)), MEAN, STD)
    np.testing.assert_allclose(gaussian.quantiles("spectrum_fraction", levels), expected)
    expected = norm.ppf(np.reshape(levels, (-1, 1)), [0.58, 0.42], [0.03, 0.02])
    np.testing.assert_allclose(gaussian.quantiles("flux_fraction", levels), expected)
    np.testing.assert_allclose(gaussian.quantiles("flux", levels), 6 * expected)


def test_samples_have_the_gaussians_moments(toy):
    """Of deviations that two opposite errors can have; five Monte Carlo errors."""
    n, std, total = 4000, np.tile(STD[0], (2, 1)), MEAN @ [0.5, 1 / 3, 1 / 6]
    gaussian = SpectralPosterior(toy.coordinates, MEAN, std, total, [0.025, 0.025], [3.0, 2.0, 1.0])
    samples = gaussian.sample(n, seed=1)
    error = std / np.sqrt(n)
    assert np.all(np.abs(samples["spectrum_fraction"].mean(0) - MEAN) < 5 * error + 2e-3)
    assert np.all(np.abs(samples["spectrum_fraction"].std(0) - std) < 5 * error / np.sqrt(2) + 2e-3)
    np.testing.assert_allclose(samples["flux_fraction"].std(0), 0.025, rtol=5 / np.sqrt(2 * n) + 0.02)
    np.testing.assert_allclose(samples["flux"], 6 * samples["flux_fraction"])
    np.testing.assert_allclose(samples["spectrum_fraction"] @ [0.5, 1 / 3, 1 / 6], samples["flux_fraction"])


def test_samples_are_shares(observed, gaussian):
    for posterior in (observed, gaussian):
        drawn = posterior.sample(200)
        for name in ("spectrum_fraction", "flux_fraction"):
            assert drawn[name].min() >= 0
            np.testing.assert_allclose(drawn[name].sum(axis=1), 1, atol=1e-12)


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
    summary = posterior.summary(0.9)
    for name in posterior.names:
        shape = tuple(sizes[axis] for axis in QUANTITIES[name].axes)
        assert samples[name].shape == (5, *shape)
        assert posterior.quantiles(name, [0.2, 0.4]).shape == (2, *shape)
        band = summary[name]
        assert np.all(band["low"] <= band["median"])
        assert np.all(band["median"] <= band["high"])


@pytest.mark.parametrize("kind", ["observed", "scd"])
def test_samples_follow_the_quantiles_and_the_seed(kind, request):
    posterior = request.getfixturevalue(kind)
    n = 4000
    samples, again, others = (posterior.sample(n, seed=seed) for seed in (2, 2, 3))
    for name in set(posterior.names) - {"scd_pdf", "f2dndf", "dndf"}:  # differences, in which float32 makes ties
        # share of samples at or below the 0.3-quantile, within 5 binomial errors; ties at a bound are left out
        quantile = posterior.quantiles(name, 0.3)[0]
        share = (samples[name] <= quantile).mean(0)
        spread = samples[name].std(0) > 1e-3 * np.abs(samples[name]).mean(0) + 1e-9
        assert spread.any()
        assert np.all(np.abs(share - 0.3)[spread] < 5 * np.sqrt(0.3 * 0.7 / n))
        np.testing.assert_array_equal(samples[name], again[name])
        assert not np.array_equal(samples[name], others[name])


def test_observed_posterior_holds_the_truth(observed, maps, toy):
    """Flux of both templates within 5 standard deviations, and their sum near the map's flux."""
    mean, low, high = (observed.quantiles("flux", norm.cdf(z))[0] for z in (0, -5, 5))
    truth = maps.fresh.flux[0].sum(1)
    assert np.all((low < truth) & (truth < high))
    assert mean.sum() == pytest.approx(maps.fresh.counts[0].sum())


EDGES = [1.0, 3.0, 8.0, 20.0]
FLUX, FLUX_ERROR = np.array([3.0, 2.0, 1.0]), np.array([0.3, 0.1, 0.2])


def _joint_scale() -> np.ndarray:
    """Errors of two templates that sum to zero, with deviations STD[1] and a correlation of 0.8 between bins."""
    shape = np.linalg.cholesky(0.2 * np.eye(3) + 0.8)
    one = np.array([0.05, 0.06, 0.02])[:, None] * shape
    return np.stack([one, -one])


@pytest.fixture
def joint(toy):
    scale = _joint_scale()
    return SpectralPosterior(
        toy.coordinates,
        MEAN,
        np.linalg.norm(scale, axis=-1),
        MEAN @ FLUX / 6,
        np.linalg.norm(np.einsum("tem,e->tm", scale, FLUX), axis=-1) / 6,
        FLUX,
        total_flux_error=FLUX_ERROR,
        scale=scale,
        energy_edges=EDGES,
    )


def test_joint_samples_have_the_covariance_and_sum_to_one(joint):
    """Fractions are far from 0 and 1; correlations to 5 Monte Carlo errors 1/√n."""
    n = 20_000
    share = joint.sample(n, seed=1)["spectrum_fraction"]
    np.testing.assert_allclose(share.sum(1), 1, atol=1e-12)
    flat, scale = share.reshape(n, -1), _joint_scale().reshape(6, -1)
    covariance = scale @ scale.T
    unit = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(
        np.cov(flat.T) / np.outer(unit, unit), covariance / np.outer(unit, unit), atol=5 / np.sqrt(n)
    )


def test_quantities_of_a_joint_sample_belong_together(joint):
    drawn = joint.sample(500, seed=2)
    in_bin = drawn["spectrum"] / e2dnde(np.ones(3), EDGES)  # flux of templates in bins
    np.testing.assert_allclose(in_bin.sum(2), drawn["flux"])
    np.testing.assert_allclose(in_bin / in_bin.sum(1, keepdims=True), drawn["spectrum_fraction"])
    np.testing.assert_allclose(drawn["flux"] / drawn["flux"].sum(1, keepdims=True), drawn["flux_fraction"])


def test_fluxes_of_the_map_scatter_as_poisson(joint):
    n = 20_000
    drawn = joint.sample(n, seed=3)
    in_bin = (drawn["spectrum"] / e2dnde(np.ones(3), EDGES)).sum(1)
    assert np.all(np.abs(in_bin.mean(0) - FLUX) < 5 * FLUX_ERROR / np.sqrt(n))
    np.testing.assert_allclose(in_bin.std(0), FLUX_ERROR, rtol=5 / np.sqrt(n))


@pytest.mark.parametrize("name", ["spectrum", "flux", "flux_fraction", "spectrum_fraction"])
def test_gaussian_quantiles_are_those_of_joint_samples(joint, name):
    """Where errors are small: to a tenth of the 68 % interval, which second order and 20,000 draws allow."""
    drawn = joint.sample(20_000, seed=4)[name]
    low, middle, high = joint.quantiles(name, [0.16, 0.5, 0.84])
    found = np.quantile(drawn, [0.16, 0.5, 0.84], axis=0)
    assert np.all(np.abs(found - [low, middle, high]) < 0.1 * (high - low))


def test_spectra_are_e2dnde_of_the_fluxes(toy, spectra, maps):
    counts, exposure = maps.fresh.counts[0], 2 * toy.exposure
    posterior = SpectralPosterior.of(spectra, counts, toy.coordinates, exposure=exposure, energy_edges=EDGES)
    median = posterior.quantiles("spectrum", 0.5)[0]
    width = np.diff(EDGES)
    expected = posterior.quantiles("spectrum_fraction", 0.5)[0] * counts.sum(1) / 2 * np.array([3, 24, 160]) / width
    np.testing.assert_allclose(median, expected)
    error = np.diff(posterior.quantiles("spectrum", norm.cdf([0, 1])), axis=0)[0]
    assert np.all(error**2 > (expected / np.sqrt(counts.sum(1))) ** 2)  # the error of the total counts is in it
    assert "spectrum" not in SpectralPosterior.of(spectra, counts, toy.coordinates).names


def test_scales_and_edges_are_checked(toy):
    arguments = (toy.coordinates, MEAN, STD, [0.5, 0.5], [0.1, 0.1], FLUX)
    with pytest.raises(InputError, match=r"scale: must have shape \(2, 3, 'm'\), got \(2, 3\)"):
        SpectralPosterior(*arguments, scale=STD)
    with pytest.raises(InputError, match="scale: must be finite"):
        SpectralPosterior(*arguments, scale=np.full_like(_joint_scale(), np.nan))
    one = {"scale": _joint_scale(), "total_scale": np.ones(2)}
    with pytest.raises(InputError, match=r"total_scale: must have shape \(2, 3\), got \(2,\)"):
        SpectralPosterior(toy.coordinates, MEAN, np.linalg.norm(_joint_scale(), axis=-1), *arguments[3:], **one)
    with pytest.raises(InputError, match=r"energy_edges: must have shape \(4,\), got \(2,\)"):
        SpectralPosterior(*arguments, energy_edges=[1, 2])
    with pytest.raises(InputError, match="total_flux_error: must be finite and not negative"):
        SpectralPosterior(*arguments, total_flux_error=-FLUX)


def test_low_quantiles_of_the_cdf_are_bright(scd, source_counts, maps):
    """The q-quantile of the CDF is the curve of τ = 1 - q."""
    expected = source_counts.quantiles(maps.fresh.counts[:1], [0.9, 0.1])[:, 0]
    np.testing.assert_array_equal(scd.quantiles("scd_cdf", [0.1, 0.9]), expected)


def test_curves_are_one_scd_in_all_representations(scd, toy):
    """By hand from the CDF, for the median and an outer curve."""
    flux = 10 ** np.array(toy.coordinates.flux_bin)
    curves = scd.curves([0.5, 0.9])
    for row, tau in enumerate((0.5, 0.9)):
        cdf = scd.quantiles("scd_cdf", 1 - tau)[0, 0]
        share = np.array([cdf[0], *np.diff(cdf)])
        np.testing.assert_allclose(curves["scd_cdf"][row, 0], cdf)
        np.testing.assert_allclose(curves["scd_pdf"][row, 0], share, atol=1e-12)
        np.testing.assert_allclose(curves["f2dndf"][row, 0], 300 * share / (0.5 * np.log(10)), atol=1e-9)
        np.testing.assert_allclose(curves["dndf"][row, 0] * flux**2, curves["f2dndf"][row, 0])
        assert curves["n_sources"][row, 0] == pytest.approx(np.sum(300 * share / flux))


def test_quantiles_of_the_number_of_sources_are_those_of_the_curves(scd):
    """N rises from bright to dim curves of one template; 4 binomial errors of 4096 draws in level."""
    for level in (0.16, 0.5, 0.84):
        width = 4 * np.sqrt(level * (1 - level) / 4096)
        low, high = scd.curves([1 - level + width, 1 - level - width])["n_sources"][:, 0]
        assert low <= scd.quantiles("n_sources", level)[0, 0] <= high


def test_the_error_of_the_flux_widens_the_number_of_sources(source_counts, maps, toy, scd):
    wider = SourceCountPosterior(
        source_counts, maps.fresh.counts[0], toy.coordinates, [300.0], template_flux_error=[150.0]
    )
    np.testing.assert_array_equal(wider.sample(9, 1)["scd_cdf"], scd.sample(9, 1)["scd_cdf"])
    relative = wider.sample(4000, 1)["n_sources"] / scd.sample(4000, 1)["n_sources"]
    assert relative.std() == pytest.approx(0.5, abs=0.03)
    assert relative.min() >= 0
    assert abs(np.corrcoef(relative[:, 0], scd.sample(4000, 1)["n_sources"][:, 0])[0, 1]) < 5 / np.sqrt(4000)


def test_the_flux_goes_with_the_level_as_told(source_counts, maps, toy, scd):
    """Normal scores of τ and of the flux, n_sources over that of the flux without an error: 5 Monte Carlo errors."""
    arguments = (source_counts, maps.fresh.counts[0], toy.coordinates, [300.0])
    posterior = SourceCountPosterior(*arguments, template_flux_error=[30.0], flux_correlation=[-0.6])
    flux = posterior.sample(4000, 1)["n_sources"] / scd.sample(4000, 1)["n_sources"]
    found = np.corrcoef(flux[:, 0], norm.ppf(source_counts.draw_levels(4000, 1)[0]))[0, 1]
    assert found == pytest.approx(-0.6, abs=5 * 0.64 / np.sqrt(4000))
    assert flux.std() == pytest.approx(0.1, rel=0.1)
    for wrong in ([0.1, 0.2], [1.5], [np.nan]):
        with pytest.raises(InputError, match=r"flux_correlation: must be 1 numbers in \[-1, 1\], got"):
            SourceCountPosterior(*arguments, flux_correlation=wrong)


def test_levels_of_true_scds_are_uniform_and_go_with_fluxes_by_their_errors(spectra, source_counts, maps):
    """4 Monte Carlo errors plus 0.05 for learning; the correlation is that of the normal scores."""
    level = source_counts.true_levels(maps.fresh)
    assert level.shape == (500, 1)
    assert np.mean(level < 0.5) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(500) + 0.05)
    (found,) = flux_correlation(spectra, source_counts, maps.fresh)
    mean, std = spectra.predict_total(maps.fresh.counts)
    flux = maps.fresh.flux.sum(axis=2)
    error = (flux[:, 1] / flux.sum(axis=1) - mean[:, 1]) / std[:, 1]
    assert found == pytest.approx(spearmanr(error, level[:, 0]).statistic, abs=0.1)


def test_number_of_sources_needs_the_templates_flux(source_counts, maps, toy):
    posterior = SourceCountPosterior(source_counts, maps.fresh.counts[0], toy.coordinates)
    assert posterior.names == ("scd_cdf", "scd_pdf")
    assert set(posterior.sample(3)) == set(posterior.curves(0.5)) == {"scd_cdf", "scd_pdf"}
    with pytest.raises(InputError, match="quantity: neural source counts knows scd_cdf, scd_pdf, got 'n_sources'"):
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

"""What the simulator draws is what the analytic likelihood describes.

Without a PSF the counts of a pixel follow p_k, Σ_k p_k t^k = exp(b (t - 1) + Σ_m x_m (t^m - 1)), with
x_m = T ∫ dN/dF Poisson(m; F ε) dF. Three ways lead to p_k here: a Fourier transform of the generating function, written
as exp(b (t - 1) + T ∫ dN (e^{F ε (t - 1)} - 1)) with a quadrature over fluxes; the NPTF's compiled recursion, for
broken power laws; and simulated maps. With a PSF, mean and variance are compared.
"""

import healpy as hp
import numpy as np
import pytest
from psf_oracles import smooth_maps
from scipy import stats

from gcesbi import Observation, Region, Simulator, SkyModel
from gcesbi.baselines import NPTF, ModelPriors, psf_correction
from gcesbi.baselines.nptf.likelihood import NptfLikelihood
from gcesbi.physics import templates
from gcesbi.physics.broken_power_law import BrokenPowerLaw
from gcesbi.physics.psf import PSF
from gcesbi.physics.scd import SkewNormalScd
from gcesbi.physics.smoothing import smooth
from gcesbi.simulation import Map, PointSources, Smooth
from gcesbi.sky.region import in_disc

K = 5.0  # tolerance of every moment test, in Monte Carlo standard errors
EXPOSURE = 1e11  # cm² s: a flux of 10⁻¹¹ gives one count
BACKGROUND = 0.7  # counts per pixel
N_FFT = 1024
POINTLIKE = PSF.king(1.0, 1.0, 50.0, 1.0, 50.0, scale=1e-7)


def plain_sky(psf, radius, nside, n_population=1, population=None):
    """Uniform background and sources, densities and exposures of two kinds of pixels, one energy bin."""
    kind = np.arange(12 * nside**2) % 2 if psf is POINTLIKE else np.zeros(12 * nside**2)
    flat = Map(values=np.ones(12 * nside**2), order="nested", quantity="counts", smoothed=True)
    population = population or {"xi": (-13, -9), "flux": (0, 1)}
    return SkyModel(
        [
            Smooth(name="flat", template=flat, norm=(0.0, 1.0)),
            PointSources(
                name="dots", template=Map(values=1 + 2 * kind, order="nested"), populations=[population] * n_population
            ),
        ],
        region=Region.disc(nside, radius, min_latitude=0),
        energy_edges=[2.0, 20.0],
        exposure={"values": EXPOSURE * (1 + 0.5 * kind), "order": "nested"},
        psf=psf,
    )


def draw(model, populations, n, seed):
    """Counts (n, n_pix) for populations (n_population, 4)."""
    theta = np.concatenate([[BACKGROUND], np.ravel(populations)])
    return Simulator(model).draw(np.tile(theta, (n, 1)), np.random.default_rng(seed)).counts[:, 0]


def generated(log_flux, number, exposure):
    """p_k (N_FFT,) of a pixel with `number` (n,) expected sources of each flux, by a Fourier transform.

    It is real: half the circle tells the other.
    """
    t = np.exp(-2j * np.pi * np.arange(N_FFT // 2 + 1) / N_FFT)
    exponent = BACKGROUND * (t - 1)
    for part in np.array_split(np.arange(len(log_flux)), 20):
        exponent += np.expm1(np.outer(t - 1, exposure * 10.0 ** log_flux[part])) @ number[part]
    return np.fft.irfft(np.exp(exponent), N_FFT)


def check_histogram(counts, model, probability):
    """χ² test of the counts of each kind of pixel against p_k; bins with few expected counts are joined."""
    exposure = model.exposure[0]
    for value in np.unique(exposure):
        seen = counts[:, exposure == value].ravel()
        expected = seen.size * probability(value)
        found = np.bincount(seen, minlength=expected.size).astype(float)
        assert expected.sum() == pytest.approx(seen.size, rel=1e-5)  # the rest is brighter still
        last = np.flatnonzero(expected > 20)[-1]
        found = np.append(found[:last], found[last:].sum())
        expected = np.append(expected[:last], seen.size - expected[:last].sum())
        used = expected > 5
        assert used.sum() > 12
        chi2 = np.sum((found - expected)[used] ** 2 / expected[used])
        assert stats.chi2.sf(chi2, used.sum() - 1) > 1e-4


def per_pixel(model, exposure):
    """Share of the region's sources in a pixel of that exposure."""
    density = model.point_source_templates[0].intensity[0, model.inside]
    return density[model.exposure[0] == exposure][0] / density.sum()


@pytest.fixture(scope="module")
def sharp():
    return plain_sky(POINTLIKE, radius=15, nside=16)


@pytest.mark.parametrize(
    "shape",
    [(-10.8, 0.01, 0.0), (-11.0, 0.3, 0.0), (-11.8, 0.6, 3.0), (-9.9, 0.4, -4.0)],
    ids=["narrow", "wide", "skewed up", "skewed down"],
)
def test_counts_of_skew_normal_populations_follow_the_likelihood(sharp, shape):
    n_pix = sharp.region.n_pix
    scd = SkewNormalScd(*shape, total_flux=n_pix * 3e-11)
    omega = np.sqrt(shape[1])
    x = np.linspace(shape[0] - 9 * omega, min(shape[0] + 9 * omega, -7.0), 8001)
    number = scd.dndlogf(x) * np.gradient(x)
    number[[0, -1]] /= 2

    def probability(exposure):
        return generated(x, number * per_pixel(sharp, exposure), exposure)

    counts = draw(sharp, [*shape, scd.total_flux], n=100_000 // n_pix, seed=11)
    check_histogram(counts, sharp, probability)


POWER_LAWS = {  # indices bright to dim, breaks in photons / cm² / s
    "power law": ((3.5, -20.0), (1e-11,)),  # as good as cut below
    "one break": ((3.5, 0.5), (2e-11,)),
    "two breaks": ((4.0, 1.7, -1.0), (8e-11, 6e-12)),
}
CELL = 0.04  # log₁₀F


def as_spikes(scd):
    """A source-count distribution as populations of sources of one flux, one for each cell of log₁₀F."""
    edges = 10.0 ** np.arange(-13.0, -8.0 + CELL / 2, CELL)
    number = scd.number_between(edges[:-1], edges[1:])
    flux = scd.flux_between(edges[:-1], edges[1:])
    keep = flux > 1e-7 * flux.sum()
    log_flux = np.log10(flux[keep] / number[keep])
    zero = np.zeros(keep.sum())
    return np.stack([log_flux, zero, zero, flux[keep]], axis=1)


def power_law(name, sharp):
    """Distribution of sources, and the NPTF's p_k (N_FFT / 2,) of a pixel of that exposure."""
    indices, breaks = POWER_LAWS[name]
    n_pix = sharp.region.n_pix
    shape = BrokenPowerLaw(1.0, indices, breaks)
    scd = BrokenPowerLaw(n_pix * 3e-11 / shape.total_flux, indices, breaks)

    def by_recursion(exposure):
        k = np.arange(N_FFT // 2)
        likelihood = NptfLikelihood.build(k, np.full((1, k.size), per_pixel(sharp, exposure)), [1.0], [1.0])
        theta = [scd.norm / exposure, *indices, *(np.array(breaks) * exposure)]
        return np.exp(likelihood.log_probabilities(np.full(k.size, BACKGROUND), [theta]))

    return scd, by_recursion


@pytest.mark.parametrize("name", POWER_LAWS)
def test_the_nptf_is_the_transform_of_spikes(sharp, name):
    scd, by_recursion = power_law(name, sharp)
    populations = as_spikes(scd)
    assert populations[:, 3].sum() == pytest.approx(scd.total_flux, rel=2e-3)
    value = sharp.exposure[0, 0]
    number = populations[:, 3] / 10.0 ** populations[:, 0]
    transformed = generated(populations[:, 0], number * per_pixel(sharp, value), value)
    assert np.allclose(by_recursion(value)[:60], transformed[:60], rtol=5e-3, atol=1e-7)  # of the cells


def test_counts_of_a_power_law_follow_the_nptf(sharp):
    """The kernels draw skew normals; a hundred spikes of them make any source-count distribution."""
    scd, by_recursion = power_law("two breaks", sharp)
    populations = as_spikes(scd)
    model = plain_sky(POINTLIKE, radius=15, nside=16, n_population=len(populations))
    check_histogram(draw(model, populations, n=40_000 // sharp.region.n_pix, seed=12), model, by_recursion)


FAMILIES = {
    "threshold": {"family": "power-law", "alpha": (-2.5, -1.0), "low": -12.0, "threshold": -9.8},
    "one break": {"family": "broken-power-law", "indices": [(3.0, 6.0), (0.0, 1.0)], "breaks": [(-11.0, -10.0)]},
    "two breaks": {
        "family": "broken-power-law",
        "indices": [(3.0, 6.0), (1.0, 1.9), (-2.0, 0.0)],
        "breaks": [(-10.5, -9.0), (-12.0, -11.0)],
    },
}
AT = {"threshold": [-1.6], "one break": [4.5, 0.5, -10.4], "two breaks": [5.0, 1.6, -1.0, -10.1, -11.3]}


@pytest.mark.parametrize("name", FAMILIES)
def test_counts_of_power_law_populations_follow_the_nptf(name):
    """Maps of the families themselves, against the NPTF with the model's own priors, on a map with all counts once."""
    model = plain_sky(POINTLIKE, radius=20, nside=32, population={**FAMILIES[name], "flux": (0, 1)})
    n_pix, exposure = model.region.n_pix, model.exposure[0]
    values = np.array([BACKGROUND, *AT[name], n_pix * 3e-11])
    every = np.zeros(n_pix, dtype=int)
    for value in np.unique(exposure):
        every[exposure == value] = np.arange(np.count_nonzero(exposure == value))
    seen = Observation(every[None], model.exposure, model.energy_edges, model.region)
    nptf = NPTF(model, seen, ModelPriors(), n_exposure=2)
    assert nptf.names == model.prior().names
    mean = BACKGROUND * model.templates[0, 0]
    known = np.exp(nptf.likelihood.log_probabilities_of(mean, nptf.vectors(values[None])[0]))
    counts = Simulator(model).draw(np.tile(values, (60_000 // n_pix, 1)), np.random.default_rng(15)).counts[:, 0]
    check_histogram(counts, model, lambda value: known[exposure == value])


# -- with a PSF -----------------------------------------------------------------------------------------------------


def test_with_a_psf_the_variance_is_that_of_the_nptf():
    """Var = b + ∫ dN F ε + Σ f² Δρ ∫ dN (F ε)², of pixels 0.9° wide and a PSF whose 68 % lie within 0.4°."""
    psf = PSF.default(2.0, 2.5)
    model = plain_sky(psf, radius=10, nside=64)
    scd = SkewNormalScd(-10.3, 0.04, 0.0, model.region.n_pix * 4e-11)
    n = 2000
    counts = draw(model, [scd.xi, scd.omega2, scd.a, scd.total_flux], n=n, seed=13).astype(float)
    x = np.linspace(-12.3, -8.3, 8001)
    dn = scd.dndlogf(x) * (x[1] - x[0]) / model.region.n_pix
    first, second = dn @ (EXPOSURE * 10.0**x), dn @ (EXPOSURE * 10.0**x) ** 2
    table = psf_correction(psf, model.region)
    kept = table.f**2 @ table.df_rho
    assert 0.2 < kept < 0.8
    per_map = counts.mean(axis=1)
    error = per_map.std(ddof=1) / np.sqrt(n)
    assert abs(per_map.mean() - BACKGROUND - first) < K * error
    squares = ((counts - BACKGROUND - first) ** 2).mean(axis=1)
    error = squares.std(ddof=1) / np.sqrt(n)
    expected = BACKGROUND + first + kept * second
    assert error < 0.02 * (expected - BACKGROUND - first)
    assert abs(squares.mean() - expected) < K * error
    assert abs(squares.mean() - (BACKGROUND + first + second)) > 3 * K * error  # it would notice a missing PSF


@pytest.mark.parametrize("template", ["gce", "disk"])
def test_with_a_psf_the_mean_is_the_templates(model, simulator, template):
    """Mean counts of a population in every pixel of both energy bins, with a χ² of its pulls.

    They have the template's shape, and F_tot is what sources inside the region emit: of those outside, some leaks in.
    """
    names = model.prior().names
    theta = model.prior().draw(1, np.random.default_rng(0))[0]
    theta[[i for i, name in enumerate(names) if name.endswith(("_norm", "_flux"))]] = 0.0
    first = "gce1" if template == "gce" else "disk"
    wanted = {f"{first}_{key}": v for key, v in (("xi", -11.0), ("omega2", 0.1), ("a", 0.0), ("flux", 1.4e-7))}
    for name, value in (wanted | {f"{template}_spectrum_{k}": v for k, v in _FLAT.items()}).items():
        theta[names.index(name)] = value
    n, row = 1500, model.names.index(template)
    counts = simulator.draw(np.tile(theta, (n, 1)), np.random.default_rng(14)).counts.astype(float)
    share = model.emission(theta[None]).spectra[0, row]
    source = model.point_source_templates[row - 4]
    within = source.intensity[0, model.inside].sum()
    spread = np.stack([smooth(source.intensity, model.patch.region, psf)[0] for psf in model.psf])[:, model.inside]
    expected = 1.4e-7 * share[:, None] * spread * model.exposure / within
    assert np.allclose(expected / model.templates[row], (expected / model.templates[row])[:, :1])
    used = expected > 0.1
    pull = (counts.mean(axis=0) - expected)[used] / np.hypot(
        counts.std(axis=0, ddof=1)[used] / np.sqrt(n), 1e-3 * expected[used]
    )  # the quadrature of the smoothing errs by 0.1 %
    assert np.max(np.abs(pull)) < K
    assert abs(np.sum(pull**2) - used.sum()) < K * np.sqrt(2 * used.sum())


_FLAT = {"xi": 0.8, "omega2": 4.0, "a": 0.0}


# -- diffuse emission -----------------------------------------------------------------------------------------------


def test_diffuse_maps_are_poisson_about_the_smoothed_templates(model, simulator):
    """Mean and variance of every pixel of whole simulated maps without sources."""
    names = model.prior().names
    theta = model.prior().draw(1, np.random.default_rng(3))[0]
    theta[[i for i, name in enumerate(names) if name.endswith("_flux")]] = 0.0
    n = 1000
    counts = simulator.draw(np.tile(theta, (n, 1)), np.random.default_rng(15)).counts.astype(float)
    norms = model.emission(theta[None]).norms[0]
    expected = np.einsum("te,tep->ep", norms, np.stack([t.counts[0][:, model.inside] for t in model.diffuse]))
    used = expected > 1
    assert used.any(axis=1).all()
    chi2 = n * np.sum((counts.mean(axis=0) - expected)[used] ** 2 / expected[used])
    assert abs(chi2 - used.sum()) < K * np.sqrt(2 * used.sum())
    mean = expected[used]
    variance = ((counts - expected) ** 2).mean(axis=0)[used]
    error = np.sqrt((mean + 2 * mean**2) / n)
    assert np.max(np.abs(variance - mean) / error) < K + 1  # the largest of hundreds
    assert abs(np.mean(variance / mean - 1)) < K * np.sqrt(np.sum((error / mean) ** 2)) / used.sum()


SHAPES = {
    "pi": templates.PionDecay(),
    "ic": templates.InverseCompton(),
    "iso": templates.Isotropic(),
    "bub": templates.Bubbles(),
    "gce": templates.NFW(),
    "disk": templates.Disk(),
}


def against_harmonics(model):
    """Largest and median difference, over the region, of each template from the harmonically smoothed whole sky.

    Relative to the pixel; for the bubbles, which are zero between them, relative to their greatest value.
    """
    nside, inside = model.region.nside, model.inside
    disc = model.patch.region.index[np.flatnonzero(in_disc(nside, 30.0, 2.0))]
    found = {}
    for template in (*model.diffuse, *model.point_source_templates):
        whole = smooth_maps(SHAPES[template.name].map(nside), model.psf)
        oracle = whole[:, model.patch.grid.pixels] * model.patch_exposure
        oracle = (oracle / oracle[:, disc].mean(axis=1, keepdims=True))[:, inside]
        scale = oracle.max() if template.name == "bub" else oracle
        difference = np.abs(template.counts[0][:, inside] - oracle) / scale
        found[template.name] = difference.max(), np.median(difference)
    return found


def test_templates_are_smoothed_as_by_spherical_harmonics():
    """Two independent ways: light sent out point by point, from pixels of even intensity, and the window B_l a_lm.

    They differ in what they take the sky within a pixel to be, hence less on finer pixels.
    """
    coarse, fine = (against_harmonics(SkyModel.preset("inner-galaxy", nside=n, n_energy=2)) for n in (32, 64))
    largest = {"pi": 0.02, "ic": 0.002, "iso": 0.002, "bub": 0.05, "gce": 0.02, "disk": 0.005}
    for name, (most, median) in fine.items():
        assert most < largest[name], name
        assert median < 0.005, name
    for name in ("pi", "gce", "disk"):
        assert fine[name][0] < 0.7 * coarse[name][0], name
        assert fine[name][1] < 0.5 * coarse[name][1], name


def test_every_energy_bin_has_its_own_psf(model):
    """Low energies are smeared more: a template is further from its bare self there."""
    bare = templates.NFW().map(model.patch.nside, model.patch.grid.pixels)
    disc = model.patch.region.index[np.flatnonzero(in_disc(model.patch.nside, 30.0, 2.0))]
    bare = bare * model.patch_exposure
    bare /= bare[:, disc].mean(axis=1, keepdims=True)
    change = np.abs(model.templates[4] / bare[:, model.inside] - 1).max(axis=1)
    assert change[0] > 1.2 * change[1] > 0


def test_smoothing_keeps_the_light_of_every_template():
    """Away from the patch's border no light is lost: a spot in the middle keeps its sum."""
    patch = Region.disc(32, 20, min_latitude=0)
    spot = (hp.ang2pix(32, 1.0, 3.0, nest=True, lonlat=True) == patch.pixels).astype(float)
    assert smooth(spot, patch, PSF.default(2.0, 2.5)).sum() == pytest.approx(1, abs=1e-9)

"""The thinned simulator draws what a simulator of every source draws."""

from itertools import pairwise

import numpy as np
import pytest
from brute_force import draw_population
from scipy import stats

from gcesbi.physics.scd import DEFAULT_BINS, SkewNormalScd
from gcesbi.physics.smoothing import smooth
from gcesbi.simulation import draws, kernels

K = 5.0  # tolerance of every moment test, in Monte Carlo standard errors
SPECTRUM = np.array([0.7, 0.3])
POPULATIONS = {  # xi, omega2, a, total flux
    "dim": (-12.0, 0.04, 0.0, 3e-9),
    "bright": (-9.5, 0.01, 0.0, 3e-8),
    "wide": (-11.0, 0.8, 0.0, 2e-8),
    "skewed up": (-11.0, 0.5, 6.0, 2e-8),
    "skewed down": (-9.3, 0.6, -6.0, 2e-8),
    "a delta": (-10.5, 0.0, 0.0, 1e-8),
    "cut": (-8.0, 1.0, 3.0, 4e-8),
}
N = 400


def thinned(simulator, name, rng, n=N):
    template, source = simulator.model.point_source_templates[0], simulator.sources[0]
    xi, omega2, a, flux = POPULATIONS[name]
    nodes = kernels.skew_normal_nodes(xi, np.sqrt(max(omega2, 1e-8)), a, simulator.model.flux_cut)
    strength = simulator.sky.effective @ SPECTRUM
    for _ in range(n):
        counts = np.zeros((2, simulator.model.region.n_pix), dtype=np.int32)
        label = np.zeros(26)
        *told, beyond = kernels.draw_population(
            rng, simulator.sky, source, strength, *nodes, flux, SPECTRUM, counts, label
        )
        far = np.zeros_like(counts)
        kernels.draw_poisson(rng, beyond[:, None] * SPECTRUM, source.beyond, np.zeros(far.shape), far)
        counts += far
        told[1] += far.sum()
        told[2] += far.sum()
        yield template, counts, label, told


@pytest.fixture(scope="module", params=POPULATIONS)
def both(request, simulator):
    """Counts, labels and numbers of sources of both simulators, for one population."""
    name = request.param
    ours = [(c, label, told[0]) for _, c, label, told in thinned(simulator, name, np.random.default_rng(1))]
    rng = np.random.default_rng(2)
    template = simulator.model.point_source_templates[0]
    brute = [draw_population(simulator.model, template, POPULATIONS[name], SPECTRUM, rng)[:3] for _ in range(N)]
    return name, *(tuple(np.array(column) for column in zip(*drawn, strict=True)) for drawn in (ours, brute))


def differ_in_mean(ours, brute):
    """Largest difference of means in standard errors, over entries that vary."""
    error = np.sqrt((ours.var(axis=0) + brute.var(axis=0)) / len(ours))
    difference = np.abs(ours.mean(axis=0) - brute.mean(axis=0))
    return np.max(difference / np.where(error > 0, error, np.inf))


def test_photons_per_map_follow_the_same_law(both):
    _, (counts, _, _), (counts_0, _, _) = both
    for energy in range(2):
        ours, brute = counts[:, energy].sum(axis=-1), counts_0[:, energy].sum(axis=-1)
        assert differ_in_mean(ours, brute) < K
        assert stats.ks_2samp(ours, brute, method="asymp").pvalue > 1e-4


def test_pixels_have_the_same_mean_and_variance(both):
    _, (counts, _, _), (counts_0, _, _) = both
    groups = np.arange(counts.shape[-1]) // 8  # eight neighbours together, for counts well above zero
    n_group = groups[-1] + 1
    shape = (N, 2, n_group)
    ours, brute = np.zeros(shape), np.zeros(shape)
    for g in range(n_group):
        ours[..., g], brute[..., g] = counts[..., groups == g].sum(-1), counts_0[..., groups == g].sum(-1)
    assert differ_in_mean(ours, brute) < K
    for drawn in (ours, brute):
        drawn -= drawn.mean(axis=0)
    # the variance of a pixel, summed over pixels: its error from the scatter between maps
    assert differ_in_mean((ours**2).sum(axis=(1, 2)), (brute**2).sum(axis=(1, 2))) < K


def test_labels_follow_the_same_law(both):
    _, (_, label, number), (_, label_0, number_0) = both
    assert differ_in_mean(label, label_0) < K
    assert stats.ks_2samp(label.sum(axis=1), label_0.sum(axis=1), method="asymp").pvalue > 1e-4
    assert differ_in_mean(number, number_0) < K
    for i in np.flatnonzero(label_0.mean(axis=0) > 0.1 * label_0.mean(axis=0).max()):
        assert stats.ks_2samp(label[:, i], label_0[:, i], method="asymp").pvalue > 1e-5


def test_labels_have_the_expected_flux_and_histogram(both):
    name, (_, label, number), _ = both
    scd = SkewNormalScd(*POPULATIONS[name])
    for ours, exact in ((label.sum(axis=1), scd.total_flux), (number, scd.n_sources)):
        assert abs(ours.mean() - exact) < K * ours.std() / np.sqrt(N)
    expected = scd.total_flux * scd.histogram()
    brightest = 10.0 ** (DEFAULT_BINS.edges[1:])  # variance of a bin's flux, ∫ F² dN, is below this times its mean
    error = np.sqrt(expected * brightest / N)
    assert np.all(np.abs(label.mean(axis=0) - expected) < K * error + brightest / N)


def test_counts_and_label_of_one_map_belong_together(simulator):
    """Bright sources are seen: flux in the label and photons rise together, with the exposure as slope."""
    drawn = [
        (label.sum(), counts.sum()) for _, counts, label, _ in thinned(simulator, "bright", np.random.default_rng(3))
    ]
    flux, photons = np.array(drawn).T
    assert np.corrcoef(flux, photons)[0, 1] > 0.9


@pytest.mark.parametrize("mean", [1e-4, 0.019, 0.021, 0.8, 11.0, 40.0])
def test_photons_of_a_source_with_at_least_two_are_truncated_poisson(mean):
    exact = stats.poisson.sf(1, mean)
    assert kernels._chance_of_two(mean, np.exp(-mean)) == pytest.approx(exact, rel=1e-9)
    rng, n = np.random.default_rng(5), 20_000
    state = draws.fast_state(rng)
    drawn = np.array([draws.two_or_more(rng, state, mean, np.exp(-mean), exact) for _ in range(n)])
    k = np.arange(2, 80)
    expected = stats.poisson.pmf(k, mean) / exact * n
    found = np.bincount(drawn, minlength=k[-1] + 1)[2 : k[-1] + 1]
    assert drawn.min() >= 2
    assert np.all(np.abs(found - expected) < K * np.sqrt(expected) + 1)


def test_diffuse_maps_have_the_summed_mean_and_are_poisson(simulator):
    templates = simulator.model.templates[:4]
    norms = np.array([[3.0, 1.0], [2.0, 0.5], [0.3, 0.2], [0.1, 0.4]])
    mean = np.einsum("te,tep->ep", norms, templates)
    rng, n = np.random.default_rng(1), 500
    drawn = np.zeros((n, *mean.shape), dtype=np.int32)
    for counts in drawn:
        kernels.draw_poisson(rng, norms[:3], templates[:3], norms[3:].T * templates[3], counts)
    chi2 = n * np.sum((drawn.mean(axis=0) - mean) ** 2 / mean)
    assert abs(chi2 - mean.size) < K * np.sqrt(2 * mean.size)
    ratio = drawn.var(axis=0, ddof=1) / mean
    assert abs(ratio.mean() - 1) < K * ratio.std() / np.sqrt(mean.size)


@pytest.mark.parametrize("energy", [0, 1])
def test_containment_is_that_of_the_psf(simulator, energy):
    """A source of a million photons in the middle of the region: radii of the photons' displacements."""
    sky = simulator.sky
    psf = simulator.model.psf[energy]
    rng, n = np.random.default_rng(9), 200_000
    place = (sky.drop.shape[1] - 1) * (1 - np.sqrt(rng.random(n)))
    i = np.minimum(place.astype(int), sky.drop.shape[1] - 2)
    drop = sky.drop[energy, i] + (place - i) * (sky.drop[energy, i + 1] - sky.drop[energy, i])
    theta = np.degrees(np.arccos(1 - drop))
    for level in (0.68, 0.95):
        within = np.mean(theta < psf.containment_radius(level))
        assert abs(within - level) < K * np.sqrt(level * (1 - level) / n)


def test_photons_are_kept_or_leak(simulator):
    """Photons drawn = photons in the map + photons that left the region; none leaves a region that is the sky."""
    for _, counts, _, (_, drawn, landed) in thinned(simulator, "bright", np.random.default_rng(4), n=20):
        assert counts.sum() == landed <= drawn


@pytest.mark.parametrize("place", [(0.0, 0.0), (12.0, 9.0), (-20.0, -6.0)])
def test_photons_of_a_pixel_land_where_the_smoothed_pixel_is(simulator, place):
    """Two independent ways to smear light that is even within a pixel: drawing and quadrature."""
    from gcesbi.simulation.simulator import Simulator

    model, n = simulator.model, 400_000
    patch = model.patch.region
    sky = Simulator(model.with_region(patch)).sky
    centre = int(np.argmin(np.hypot(*[c - p for c, p in zip(patch.glon_glat(), place, strict=True)])))
    counts = np.zeros((2, patch.n_pix), dtype=np.int32)
    pixels, photons = np.full(n, centre), np.ones(n, dtype=np.int64)
    assert kernels._emit(draws.fast_state(np.random.default_rng(1)), sky, pixels, photons, SPECTRUM, counts) == n
    one = np.zeros((1, patch.n_pix))
    one[0, centre] = 1.0
    share = SPECTRUM * sky.effective[centre]
    for energy in range(2):
        expected = n * share[energy] / share.sum() * smooth(one, patch, model.psf[energy])[0]
        used = expected > 10
        assert np.count_nonzero(used) >= 5
        error = np.sqrt(expected[used]) + 1e-3 * n * share[energy] / share.sum() / K  # and the quadrature's 0.1 %
        assert np.max(np.abs(counts[energy, used] - expected[used]) / error) < K


def test_zones_are_the_region_and_what_reaches_it(simulator):
    source, reach = simulator.sources[0], simulator._reach.max(axis=0)
    zones = np.split(source.pixels, source.zones[1:-1])
    assert np.array_equal(zones[0], simulator.model.inside)
    outside = np.setdiff1d(np.flatnonzero(reach > 0), zones[0])
    assert np.array_equal(np.sort(np.concatenate(zones[1:])), outside)
    assert all(reach[a].min() > reach[b].max() for a, b in pairwise(zones[1:]))
    intensity = simulator.model.point_source_templates[0].intensity[0]
    assert source.share == pytest.approx([intensity[z].sum() / intensity[zones[0]].sum() for z in zones], rel=1e-12)


@pytest.mark.parametrize(("mean", "most"), [(2.0, 3.5), (0.4, 1.0), (5.0, 5.5)])
def test_candidates_are_thinned_to_the_second_process(mean, most):
    """Shares of rejected candidates and of 1, 2, 3 .. photons, against the module's formulas."""
    rng, n = np.random.default_rng(6), 40_000
    state = draws.fast_state(rng)
    found = np.bincount([kernels._photons_of_candidate(rng, state, mean, most) for _ in range(n)], minlength=30)
    k = np.arange(1, 30)
    rate = stats.poisson.pmf(k, mean)
    rate[0] = mean * (np.exp(-mean) - np.exp(-most))
    envelope = stats.poisson.sf(1, most)
    expected = n * np.concatenate([[1 - rate.sum() / envelope], rate / envelope])
    assert np.all(np.abs(found[:30] - expected) < K * np.sqrt(expected) + 1)

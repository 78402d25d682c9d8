"""The point-spread function, against quadrature, closed forms and Monte Carlo."""

from itertools import pairwise

import healpy as hp
import mpmath
import numpy as np
import pytest
from astropy import units
from hypothesis import given, settings
from hypothesis import strategies as st
from psf_oracles import pixel_shares, smooth_maps, window
from scipy.integrate import quad
from scipy.special import eval_legendre, gammaln, ive, kve

from gcesbi.errors import InputError
from gcesbi.physics.psf import PSF
from gcesbi.physics.psf_table import P8R3_ULTRACLEANVETO_V3_PSF3, KingTable

CUSTOMARY = PSF.customary_2gev()
BIN = PSF.default(2.0, 20.0)
psfs = pytest.mark.parametrize("psf", [CUSTOMARY, BIN, PSF.default(100.0, 100.0)], ids=["2 GeV", "2-20 GeV", "100 GeV"])
kings = st.builds(
    PSF.king,
    f_core=st.floats(0, 1),
    s_core=st.floats(0.05, 3),
    g_core=st.floats(1.05, 20),
    s_tail=st.floats(0.05, 3),
    g_tail=st.floats(1.05, 20),
    scale=st.floats(1e-4, 0.05),
    theta_max=st.floats(1, 180),
)


def integral(psf, function, upper):
    """∫ density(θ) function(θ) dΩ within `upper` degrees."""

    def integrand(theta):
        return 2 * np.pi * psf.density(np.degrees(theta)) * np.sin(theta) * function(theta)

    edges = np.radians([0.0, *(p for p in (0.01, 0.05, 0.2, 1.0) if p < upper), upper])
    return sum(quad(integrand, a, b, limit=400, epsabs=1e-13)[0] for a, b in pairwise(edges))


@psfs
def test_density_integrates_to_the_containment(psf):
    for theta in (0.05, 0.3, 2.0, 5.0):
        assert integral(psf, lambda _: 1.0, theta) == pytest.approx(psf.containment(theta), abs=1e-10)
    assert psf.containment([5.0, 7.0, 180.0]) == pytest.approx([1, 1, 1], abs=1e-14)
    assert psf.density(5.001) == 0


def test_density_is_the_lat_double_king_function():
    """Written out with θ² (mpmath), which the chord meets within 0.07 % inside 5°."""
    scale, share = mpmath.mpf("0.00456544262478"), mpmath.mpf("0.748988248179")

    def king(x, s, g):
        return (1 - 1 / g) / (2 * mpmath.pi * s**2) * (1 + x**2 / (2 * g * s**2)) ** -g

    for theta in (0.0, 0.1, 0.5, 1.0):
        x = mpmath.radians(theta) / scale
        core = king(x, mpmath.mpf("0.428653790656"), mpmath.mpf("7.82363229341"))
        tail = king(x, mpmath.mpf("0.715962650769"), mpmath.mpf("3.61883748683"))
        want = float((share * core + (1 - share) * tail) / scale**2)
        assert CUSTOMARY.density(theta) == pytest.approx(want, rel=2e-4)


def test_radii_of_the_customary_function():
    """Against a root found in the cumulative trapezium sum of the density."""
    theta = np.linspace(0, 5, 500_001)
    light = 2 * np.pi * CUSTOMARY.density(theta) * np.sin(np.radians(theta)) * np.radians(theta[1])
    cumulative = np.concatenate([[0], np.cumsum((light[1:] + light[:-1]) / 2)])
    want = np.interp([0.68, 0.95], cumulative, theta)
    np.testing.assert_allclose(CUSTOMARY.containment_radius([0.68, 0.95]), want, rtol=1e-5)
    np.testing.assert_allclose(want, [0.222, 0.480], atol=5e-4)


@settings(deadline=None, max_examples=50)
@given(psf=kings, levels=st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_containment_radius_inverts_containment(psf, levels):
    radius = psf.containment_radius(levels)
    np.testing.assert_allclose(psf.containment(radius), levels, atol=1e-9)
    assert np.all((radius >= 0) & (radius <= psf.theta_max * (1 + 1e-12)))


@settings(deadline=None, max_examples=30)
@given(psf=kings)
def test_containment_rises_and_density_falls(psf):
    theta = np.linspace(0, psf.theta_max, 200)
    assert np.all(np.diff(psf.containment(theta)) >= -1e-14)
    assert np.all(np.diff(psf.density(theta[:-1])) <= 0)
    assert 0 <= psf.lost_light < 1


def test_lost_light_is_what_a_wider_cap_regains():
    wide = PSF.customary_2gev(theta_max=180.0)
    assert CUSTOMARY.lost_light == pytest.approx(1 - wide.containment(5.0) * (1 - wide.lost_light), rel=1e-6)
    assert 1.4e-6 < CUSTOMARY.lost_light < 1.5e-6
    assert 4e-3 < PSF.default(0.3, 0.3).lost_light < 5e-3


@psfs
def test_samples_follow_the_containment(psf):
    """Kolmogorov-Smirnov distance below 2.2/√n: exceeded by chance in 1 of 8000."""
    n = 100_000
    theta = np.sort(psf.sample(n, np.random.default_rng(3)))
    distance = np.abs(psf.containment(theta) - (np.arange(n) + 0.5) / n).max()
    assert distance < 2.2 / np.sqrt(n)
    assert theta[-1] <= 5


def test_samples_of_a_harshly_truncated_function():
    """Within 0.2° more than a tenth of the light is dropped, from core and tail in unlike shares."""
    psf = PSF.customary_2gev(theta_max=0.2)
    assert psf.lost_light > 0.1
    n = 100_000
    theta = np.sort(psf.sample(n, np.random.default_rng(4)))
    assert np.abs(psf.containment(theta) - (np.arange(n) + 0.5) / n).max() < 2.2 / np.sqrt(n)


def test_same_seed_same_samples():
    first, second = (CUSTOMARY.sample(5, np.random.default_rng(1)) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert CUSTOMARY.sample(0, np.random.default_rng(1)).shape == (0,)


@psfs
def test_window_against_quadrature(psf):
    found = window(psf, 800)
    assert found[0] == 1
    for degree in (1, 17, 300, 800):
        want = integral(psf, lambda theta, degree=degree: eval_legendre(degree, np.cos(theta)), 5.0)
        assert found[degree] == pytest.approx(want, abs=1e-9)


def test_window_against_the_flat_sky_closed_form():
    """The Hankel transform of a King function is a Matérn function of (ℓ + ½) σ √(2γ), for small σ."""
    sigma, gamma = 0.002, 3.0
    psf = PSF(np.ones(1), np.full(1, sigma), np.full(1, gamma), 180.0)
    degree = np.array([10, 100, 400, 1500])
    z = (degree + 0.5) * sigma * np.sqrt(2 * gamma)
    nu = gamma - 1
    want = 2 * np.exp(nu * np.log(z / 2) - gammaln(nu) - z) * kve(nu, z)
    np.testing.assert_allclose(window(psf, 1500)[degree], want, atol=3e-6)


def test_window_of_a_steep_king_function_is_that_of_von_mises_and_fisher():
    """For γ → ∞ the density is exp(cos θ / σ²), whose window is a ratio of modified Bessel functions."""
    psf = PSF(np.ones(1), np.full(1, 0.02), np.full(1, 1e8), 60.0)
    degree = np.arange(201)
    want = ive(degree + 0.5, 0.02**-2) / ive(0.5, 0.02**-2)
    np.testing.assert_allclose(window(psf, 200), want, atol=1e-7)


def test_window_over_the_whole_sphere():
    psf = PSF.king(0.5, 0.4, 2.0, 0.8, 3.0, 0.8, theta_max=180.0)
    for degree in (1, 2, 9):
        want = integral(psf, lambda theta, degree=degree: eval_legendre(degree, np.cos(theta)), 180.0)
        assert window(psf, 9)[degree] == pytest.approx(want, abs=1e-9)


def test_bin_is_the_spectrum_weighted_mean_of_its_energies():
    """Against the midpoint rule with 500 energies, weights E^-2 dE."""
    edges = np.geomspace(2, 20, 501)
    energies = np.sqrt(edges[1:] * edges[:-1])
    weights = np.diff(edges) * energies**-2.0
    theta = np.array([0.02, 0.1, 0.3, 1.0])
    singles = np.array([PSF.default(e, e).containment(theta) for e in energies])
    np.testing.assert_allclose(BIN.containment(theta), weights @ singles / weights.sum(), atol=2e-4)
    steep = PSF.default(2, 20, index=4)
    assert np.all(steep.containment(theta) < BIN.containment(theta))


def test_equal_edges_give_the_function_at_that_energy():
    f_core, s_core, g_core, s_tail, g_tail, scale = P8R3_ULTRACLEANVETO_V3_PSF3.at(5.0)
    king = PSF.king(f_core, s_core, g_core, s_tail, g_tail, scale)
    np.testing.assert_allclose(PSF.default(5, 5).density([0, 0.1, 1]), king.density([0, 0.1, 1]), rtol=1e-12)


def test_table_at_2_gev_is_the_customary_function():
    got = P8R3_ULTRACLEANVETO_V3_PSF3.at(2.0)
    want = (0.748988248179, 0.428653790656, 7.82363229341, 0.715962650769, 3.61883748683, 0.00456544262478)
    np.testing.assert_allclose(got, want, rtol=6e-3)
    assert got[-1] == pytest.approx(want[-1], rel=1e-6)
    np.testing.assert_allclose(
        PSF.default(2, 2).containment_radius([0.68, 0.95]), CUSTOMARY.containment_radius([0.68, 0.95]), rtol=5e-3
    )


def test_radii_shrink_with_energy():
    radii = [PSF.default(e, e).containment_radius(0.68) for e in (0.3, 1, 3, 10, 30)]
    assert np.all(np.diff(radii) < 0)


def test_quantities_are_taken():
    assert PSF.default(2000 * units.MeV, 20 * units.GeV).density(6 * units.arcmin) == pytest.approx(BIN.density(0.1))
    assert BIN.containment(0.01 * units.rad) == pytest.approx(BIN.containment(np.degrees(0.01)))


def wide_psf(scale=0.1):
    """Degrees wide, so that small maps resolve it."""
    return PSF.king(0.6, 0.5, 4.0, 0.9, 4.0, scale, theta_max=90.0)


def test_smoothing_multiplies_harmonics_by_the_window():
    nside, degree = 32, 12
    glat = hp.pix2ang(nside, np.arange(12 * nside**2), nest=True, lonlat=True)[1]
    wave = eval_legendre(degree, np.sin(np.radians(glat)))
    psf = wide_psf()
    smoothed = smooth_maps(2 + wave, (psf,))[0]
    assert window(psf, degree)[degree] < 0.8
    np.testing.assert_allclose(smoothed, 2 + window(psf, degree)[degree] * wave, atol=0.01)


@pytest.mark.parametrize("scale", [0.05, 0.1, 0.2])
def test_smoothing_agrees_with_the_pixel_shares_of_many_sources(scale):
    """A blob wider than a pixel, made of one source in each pixel of nside 64, seen at nside 16 (3.7° pixels)."""
    nside, psf = 16, wide_psf(scale)
    fine = np.stack(hp.pix2vec(64, np.arange(12 * 64**2), nest=True), axis=1)
    sky = np.exp((fine @ hp.ang2vec(40.0, -30.0, lonlat=True) - 1) / 0.1**2)
    sky[sky < 1e-5] = 0
    want = np.zeros(12 * nside**2)
    for pixel in np.flatnonzero(sky):
        pixels, shares = pixel_shares(psf, nside, *hp.pix2ang(64, pixel, nest=True, lonlat=True), fineness=0.3)
        want[pixels] += sky[pixel] * shares
    got = smooth_maps(sky.reshape(want.size, -1).sum(axis=1), (psf,))[0]
    assert np.abs(got - want).max() < 0.01 * want.max()


def test_a_constant_map_stays():
    np.testing.assert_allclose(smooth_maps(np.full(12 * 16**2, 3.0), (CUSTOMARY,))[0], 3.0, rtol=1e-12)
    np.testing.assert_array_equal(smooth_maps(np.zeros(12 * 16**2), (CUSTOMARY,))[0], 0)


def test_a_function_narrower_than_a_pixel_leaves_the_map():
    rng = np.random.default_rng(1)
    values = rng.uniform(0.5, 1.5, 12 * 16**2)
    narrow = PSF.king(0.5, 0.5, 3.0, 0.9, 4.0, 1e-4)
    np.testing.assert_allclose(smooth_maps(values, (narrow,))[0], values, rtol=1e-3)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-4, 0.2))
def test_smoothing_keeps_sum_and_sign(seed, scale):
    values = np.zeros(12 * 16**2)
    values[np.random.default_rng(seed).integers(values.size, size=20)] = 1.0
    smoothed = smooth_maps(values, (PSF.king(0.6, 0.5, 4.0, 0.9, 4.0, scale),))[0]
    assert smoothed.min() >= 0
    assert smoothed.sum() == pytest.approx(20 if values.sum() == 20 else values.sum(), rel=1e-12)


@psfs
@pytest.mark.parametrize("position", [(3.3, -5.2), (0.0, 0.0), (120.0, 89.7)])
def test_pixel_shares_against_photons(psf, position):
    """200,000 photons; χ² over the pixels with more than 20, within 5 σ of its mean."""
    nside, n = 128, 200_000
    rng = np.random.default_rng(7)
    theta, azimuth = np.radians(psf.sample(n, rng)), rng.uniform(0, 2 * np.pi, n)
    axis = np.array(hp.ang2vec(*position, lonlat=True))
    east = np.cross(axis, [0.3, 0.4, 0.5])
    east /= np.linalg.norm(east)
    north = np.cross(axis, east)
    arrivals = (
        np.cos(theta)[:, None] * axis
        + (np.sin(theta) * np.cos(azimuth))[:, None] * east
        + (np.sin(theta) * np.sin(azimuth))[:, None] * north
    )
    photons = np.bincount(hp.vec2pix(nside, *arrivals.T, nest=True), minlength=12 * nside**2)
    pixels, shares = pixel_shares(psf, nside, *position)
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    assert np.all(np.diff(pixels) > 0)
    assert photons[pixels].sum() == n
    mean = n * shares
    many = mean > 20
    chi2 = np.sum((photons[pixels][many] - mean[many]) ** 2 / mean[many])
    assert abs(chi2 - many.sum()) < 5 * np.sqrt(2 * many.sum())


def test_pixel_shares_converge():
    pixels, fine = pixel_shares(CUSTOMARY, 128, 3.3, -5.2, fineness=0.01)
    want = np.zeros(12 * 128**2)
    want[pixels] = fine
    pixels, shares = pixel_shares(CUSTOMARY, 128, 3.3, -5.2)
    assert np.abs(shares - want[pixels]).max() < 1e-4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: PSF(np.ones(2), np.ones(1), np.full(1, 2.0)), "weights, sigmas, gammas: must be of one length"),
        (lambda: PSF(-np.ones(1), np.ones(1), np.full(1, 2.0)), "weights: must not be negative"),
        (lambda: PSF(np.ones(1), np.zeros(1), np.full(1, 2.0)), "sigmas: must be above 0"),
        (lambda: PSF(np.ones(1), np.ones(1), np.ones(1)), "gammas: must be above 1"),
        (lambda: PSF(np.ones(1), np.ones(1), np.full(1, 2.0), 0.0), "theta_max: must lie in"),
        (lambda: PSF.king(1.1, 1, 2, 1, 2, 0.01), r"f_core: must lie in \[0, 1\], got 1.1"),
        (lambda: PSF.default(20, 2), "energy_low, energy_high: must be positive and ordered"),
        (lambda: PSF.default(0.1, 2), r"energy: must lie in \[0.2371, 1334\] GeV"),
        (lambda: CUSTOMARY.containment_radius(1.5), r"level: must lie in \[0, 1\], got 1.5"),
        (lambda: KingTable.from_rows([(1, 0.5, 1, 2, 1, 2)], (0.05, 0, -0.8)), "energy: must be two or more"),
        (lambda: table(1, 2.0), "f_core: must lie in"),
        (lambda: table(2, 0.0), "s_core: must be above 0"),
        (lambda: table(5, 1.0), "g_tail: must be above 1"),
        (lambda: table(4, np.nan), "s_tail: must hold one finite number"),
    ],
)
def test_guards(call, message):
    with pytest.raises(InputError, match=message):
        call()


def table(column, value):
    rows = np.array([(1, 0.5, 1, 2, 1, 2), (2, 0.5, 1, 2, 1, 2)], dtype=float)
    rows[1, column] = value
    return KingTable.from_rows(rows, (0.05, 0, -0.8))

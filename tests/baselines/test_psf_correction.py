from __future__ import annotations

import healpy as hp
import numpy as np
import pytest
from psf_oracles import pixel_shares

from gcesbi.baselines.nptf.psf_correction import _Containment, _shares_around, psf_correction
from gcesbi.errors import InputError
from gcesbi.physics.psf import PSF
from gcesbi.sky import ImageGeometry, Region


@pytest.fixture(scope="module")
def region():
    return Region.disc(128)


@pytest.mark.parametrize(("psf", "nside"), [(PSF.customary_2gev(), 128), (PSF.default(14.0, 20.0), 64)])
def test_no_light_is_lost(psf, nside):
    table = psf_correction(psf, Region.disc(nside))
    assert np.sum(table.f * table.df_rho) == pytest.approx(1.0, abs=1e-12)
    assert np.all(np.diff(table.f) < 0)
    assert table.edges[-1] == 0
    # before normalisation, the light that one pixel receives from everywhere is that of one source
    light, area = _shares_around(_Containment.mix([psf], np.ones(1)), Region.disc(nside), 1000, 48, 48)
    assert np.sum(light * area) == pytest.approx(1.0, abs=2e-3)


def test_an_image_s_pixel_has_all_light_of_a_source_and_its_share_within():
    """From everywhere as much as one source gives; from its middle what the PSF has within a square, by quadrature."""
    psf, image = PSF.customary_2gev(), ImageGeometry((40, 40), 0.5).whole()
    light, area = _shares_around(_Containment.mix([psf], np.ones(1)), image, 780, 48, 48)
    assert np.sum(light * area) == pytest.approx(1.0, abs=2e-3)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    x, y = np.meshgrid(0.25 * nodes, 0.25 * nodes)
    within = np.sum(np.outer(weights, weights) * psf.density(np.hypot(x, y))) * np.radians(0.25) ** 2
    assert light.max() == pytest.approx(within, rel=5e-3)


def test_shares_agree_with_summed_density(region):
    """The line integral against the PSF's own sum over sub-pixels."""
    psf = PSF.customary_2gev()
    pixel = int(region.pixels[4321])
    light, _ = _shares_around(_Containment.mix([psf], np.ones(1)), region, 4321, 48, 48)
    glon, glat = hp.pix2ang(128, pixel, nest=True, lonlat=True)
    pixels, shares = pixel_shares(psf, 128, glon, glat, fineness=0.02)
    assert light.max() == pytest.approx(shares[pixels == pixel][0], rel=1e-3)


def test_table_agrees_with_monte_carlo(region):
    """Photons of random sources, pixelised by healpy: Σ f² within 0.1 %, Σ f³ within 0.25 %: 5 Monte Carlo errors.

    Sources are stratified within their pixels (along the Morton curve), which leaves Monte Carlo errors of 0.02 % and
    0.05 %, the scatter of five seeds; n (n - 1) and n (n - 1) (n - 2) over photon numbers n are free of the photons'
    own noise.
    """
    psf, rng = PSF.customary_2gev(), np.random.default_rng(5)
    n_source, n_photon = 4096, 2000
    strata = (np.arange(n_source) + rng.random(n_source)) / n_source * 4**10
    fine = rng.choice(region.pixels, n_source) * 4**10 + strata.astype(np.int64)
    centres = np.array(hp.pix2vec(128 * 2**10, fine, nest=True)).T
    second, third = np.mean([moments(psf, centre, n_photon, rng) for centre in centres], axis=0)
    table = psf_correction(psf, region)
    assert np.sum(table.f**2 * table.df_rho) == pytest.approx(second, rel=1e-3)
    assert np.sum(table.f**3 * table.df_rho) == pytest.approx(third, rel=2.5e-3)


def moments(psf, centre, n, rng):
    """Unbiased Σ f² and Σ f³ over pixels of one source, from n photons."""
    theta, phi = np.radians(psf.sample(n, rng)), rng.uniform(0, 2 * np.pi, n)
    east = np.cross([0, 0, 1], centre) / np.hypot(centre[0], centre[1])
    across = np.cos(phi)[:, None] * east + np.sin(phi)[:, None] * np.cross(centre, east)
    towards = np.cos(theta)[:, None] * centre + np.sin(theta)[:, None] * across
    k = np.unique(hp.vec2pix(128, *towards.T, nest=True), return_counts=True)[1].astype(float)
    pairs = k * (k - 1)
    return np.sum(pairs) / (n * (n - 1)), np.sum(pairs * (k - 2)) / (n * (n - 1.0) * (n - 2.0))


def test_energies_mix():
    region, fast = Region.disc(32), {"n_shape": 2, "n_azimuth": 24, "n_side": 16}
    low, high = PSF.default(2.0, 2.5), PSF.default(16.0, 20.0)
    alone = psf_correction(high, region, **fast)
    np.testing.assert_allclose(psf_correction([low, high], region, [0.0, 3.0], **fast).f, alone.f)
    mixed = psf_correction([low, high], region, [0.5, 0.5], **fast)
    assert psf_correction(low, region, **fast).f[0] < mixed.f[0] < alone.f[0]


def test_bad_input_is_named(region):
    psf = PSF.customary_2gev()
    with pytest.raises(InputError, match="weights: must not be negative, one for each of 1 PSFs"):
        psf_correction(psf, region, [1.0, 2.0])
    with pytest.raises(InputError, match="n_bin: must be at least 1"):
        psf_correction(psf, region, n_bin=0)

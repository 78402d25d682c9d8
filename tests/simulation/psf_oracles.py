"""What a point-spread function does to maps, by other means than the library: harmonics, and pixels divided."""

import healpy as hp
import numpy as np


def window(psf, lmax):
    """Legendre window B_l (lmax + 1,) = 2π ∫ density P_l(cos θ) d cos θ, B_0 = 1.

    Gauss-Legendre panels in θ resolve both the function's core and the oscillations of P_l; the upward recurrence
    l P_l = (2l - 1) x P_{l-1} - (l - 1) P_{l-2} is stable on [-1, 1]. Good to 10⁻⁹.
    """
    theta, step = _quadrature(psf, lmax)
    light = 2 * np.pi * psf._density(2 * np.sin(theta / 2) ** 2) * np.sin(theta) * step
    window = np.empty(lmax + 1)
    before, legendre, x = np.zeros_like(theta), np.ones_like(theta), np.cos(theta)
    for degree in range(lmax + 1):
        window[degree] = light @ legendre
        before, legendre = legendre, ((2 * degree + 1) * x * legendre - degree * before) / (degree + 1)
    return window / window[0]


def _quadrature(psf, lmax):
    """Nodes and weights (n,) in θ, radians, over [0, theta_max]."""
    end = np.radians(psf.theta_max)
    geometric = np.geomspace(min(psf.sigmas.min() / 4, end), end, 40)
    even = np.linspace(0, end, 2 + int(lmax * end / 8))
    edges = np.union1d(geometric, even)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()


def pixel_shares(psf, nside, glon, glat, *, fineness=0.05):
    """Shares of a source's light in HEALPix pixels.

    A pixel is split in four until it is smaller than `fineness` times its distance from the source or, near it,
    times the width of the narrowest King function; the density at the pieces' centres is then summed.

    Parameters
    ----------
    nside : int
        HEALPix resolution.
    glon, glat : float, deg
        Position of the source.
    fineness : float
        Largest ratio of a piece to the length over which the function changes; the error of a share falls with its
        square and is below 10⁻⁴ at 0.05.

    Returns
    -------
    pixels : array (n,)
        NESTED indices, ascending, of the pixels that have light.
    shares : array (n,)
        Their shares; they sum to 1.
    """
    source = hp.ang2vec(float(glon), float(glat), lonlat=True)
    reach = min(np.radians(psf.theta_max) + 2 * hp.max_pixrad(nside), np.pi)
    cells = hp.query_disc(nside, source, reach, inclusive=False, nest=True)
    pixels, light = [], []
    for level in range(30 - int(np.log2(nside))):
        fine = nside << level
        versine = _versine_between(hp.pix2vec(fine, cells, nest=True), source)
        distance = np.maximum(np.sqrt(2 * versine) - hp.max_pixrad(fine), 0)
        split = hp.nside2resol(fine) > fineness * np.maximum(distance, psf.sigmas.min())
        pixels.append(cells[~split] >> 2 * level)
        done = versine[~split]
        light.append(np.where(done <= psf._versine_max, psf._density(done), 0) * hp.nside2pixarea(fine))
        cells = (4 * cells[split][:, None] + np.arange(4)).ravel()
        if cells.size == 0:
            break
    lit, where = np.unique(np.concatenate(pixels), return_inverse=True)
    shares = np.bincount(where, weights=np.concatenate(light))
    return lit[shares > 0], shares[shares > 0] / shares.sum()


def smooth_maps(values, psfs):
    """A full-sky NESTED map (12 nside²,) of pixel means, smoothed with each of several functions, (n_psf, 12 nside²).

    The map is first interpolated to twice its nside, every pixel keeping its mean. Its harmonics up to L = 6 nside - 1
    are then multiplied by the window B_l, and what it holds beyond them by B_L rather than by 0,
    smooth = B_L map + Y [(B_l - B_L) a_lm], so that the window meets no cliff: a function narrower than a pixel leaves
    the map nearly as it is, without the ringing that a cut at L gives about steep centres and sharp outlines. What
    still undershoots zero is set to zero, and the sum restored.

    At nside 128 and 2-20 GeV, against skies smoothed at nside 512: ψ^-1.4 (softened at 0.05°) is met within 0.04 % in
    every pixel with |b| > 2° (10 % with a plain cut at L), but its central pixel is 7 % off at 2 GeV, as the sky inside
    a pixel is unknown; a sharp edge within 4 % of its step; a disk of height 2° within 0.2 % of its greatest value.
    """
    fine = _prolong(values)
    mean, lmax = fine.mean(), 3 * hp.npix2nside(fine.size) - 1
    harmonics = hp.map2alm(hp.reorder(fine - mean, n2r=True), lmax=lmax, iter=3)
    smoothed = (_smooth_one(fine, mean, harmonics, window(psf, lmax)) for psf in psfs)
    return np.stack([each.reshape(values.size, 4).mean(axis=1) for each in smoothed])


def _prolong(values):
    """Map (12 nside²,) interpolated bilinearly to twice its nside, each pixel scaled to keep its mean."""
    nside = hp.npix2nside(values.size)
    theta, phi = hp.pix2ang(2 * nside, np.arange(4 * values.size), nest=True)
    fine = hp.get_interp_val(values, theta, phi, nest=True).reshape(values.size, 4)
    mean = fine.mean(axis=1)
    scale = np.divide(values, mean, out=np.zeros_like(values), where=mean > 0)
    return (fine * scale[:, None]).ravel()


def _smooth_one(values, mean, harmonics, window):
    """Values (n_pix,) smoothed; `harmonics` are those of values - mean."""
    nside, lmax = hp.npix2nside(values.size), len(window) - 1
    change = hp.alm2map(hp.almxfl(harmonics, window - window[-1]), nside, lmax=lmax)
    smoothed = np.maximum(mean + window[-1] * (values - mean) + hp.reorder(change, r2n=True), 0)
    total = smoothed.sum()
    return smoothed * (values.sum() / total) if total > 0 else smoothed


def _versine_between(vectors, source):
    """1 - cos θ (n,) between unit vectors (3, n) and one unit vector (3,)."""
    return sum((component - towards) ** 2 for component, towards in zip(vectors, source, strict=True)) / 2

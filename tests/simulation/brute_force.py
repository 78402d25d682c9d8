"""A simulator that draws every source and every photon, in plain NumPy: the oracle of the compiled one."""

import healpy as hp
import numpy as np

from gcesbi.physics.scd import SkewNormalScd


def draw_population(model, template, population, spectrum, rng):
    """Counts (n_energy, n_pix), flux per flux bin (n_bin,), number of sources, photons of every source inside."""
    patch, region = model.patch.region, model.region
    scd = SkewNormalScd(*population, cut=model.flux_cut)
    share = template.intensity[0] / template.intensity[0, model.inside].sum()
    n = rng.poisson(scd.n_sources * share.sum())
    flux = scd.sample(n, rng)
    where = rng.choice(len(share), n, p=share / share.sum())
    inside = np.isin(where, model.inside)
    label = np.bincount(model.bins.index(np.log10(flux[inside])), weights=flux[inside], minlength=len(model.bins))
    photons = rng.poisson(flux[:, None] * (model.patch_exposure * spectrum[:, None])[:, where].T)
    counts = np.zeros((model.n_energy, region.n_pix), dtype=int)
    source, energy = np.nonzero(photons)
    repeats = photons[source, energy]
    source, energy = np.repeat(source, repeats), np.repeat(energy, repeats)
    glon, glat = _within_pixels(patch.nside, patch.pixels[where], rng)
    landed = _displace(model, glon[source], glat[source], energy, rng)
    at = region.index[landed]
    np.add.at(counts, (energy[at >= 0], at[at >= 0]), 1)
    return counts, label, inside.sum(), photons.sum(axis=1)[inside]


def _within_pixels(nside, pixels, rng):
    """Random directions in pixels: the centres of their descendants at a far higher resolution."""
    fine = nside * 2**12
    children = pixels * 4**12 + rng.integers(4**12, size=len(pixels))
    return hp.pix2ang(fine, children, nest=True, lonlat=True)


def _displace(model, glon, glat, energy, rng):
    theta = np.empty(len(glon))
    for e, psf in enumerate(model.psf):
        theta[energy == e] = np.radians(psf.sample(np.count_nonzero(energy == e), rng))
    phi = rng.uniform(0, 2 * np.pi, len(theta))
    start = hp.ang2vec(glon, glat, lonlat=True)
    east = np.stack([-np.sin(np.radians(glon)), np.cos(np.radians(glon)), np.zeros(len(glon))], axis=1)
    north = np.cross(start, east)
    end = (
        np.cos(theta)[:, None] * start
        + (np.sin(theta) * np.cos(phi))[:, None] * north
        + (np.sin(theta) * np.sin(phi))[:, None] * east
    )
    return hp.vec2pix(model.region.nside, *end.T, nest=True)

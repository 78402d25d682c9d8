"""Expected counts of a catalogue's sources in HEALPix pixels."""

from __future__ import annotations

import healpy as hp
import numpy as np
from numpy.typing import NDArray

from gcesbi.io import read_catalogue
from gcesbi.simulation.patches import Patch
from gcesbi.sky import RadialPSF

__all__ = ["catalogue_counts"]

Array = NDArray[np.float64]

_N_POINT = 4096  # directions in which the light of a source is spread


def catalogue_counts(
    file: str, patch: Patch, energy_edges: Array, exposure: Array, psf: tuple[RadialPSF, ...]
) -> Array:
    """Expected counts (n_energy, n_patch) of a catalogue's sources, at the exposure (n_energy, n_patch), cm² s.

    A source's light is spread over points of one Sobol sequence, by the PSF of each energy bin.
    """
    catalogue = read_catalogue(file)
    glon, glat, source, share = catalogue.points()
    home = patch.at(np.stack(hp.ang2vec(glon, glat, lonlat=True), axis=0))
    kept = home >= 0
    home, share, source = home[kept], share[kept], source[kept]
    flux = catalogue.flux(energy_edges)[source] * share[:, None]
    at = np.stack(hp.ang2vec(glon[kept], glat[kept], lonlat=True), axis=0) if len(home) else np.zeros((0, 3))
    east = np.cross([0.0, 0.0, 1.0], at)
    east /= np.maximum(np.linalg.norm(east, axis=1, keepdims=True), 1e-12)
    north = np.cross(at, east)
    from scipy.stats import qmc

    u, v = qmc.Sobol(2, rng=0).random(_N_POINT).T
    out = np.zeros((len(psf), len(patch)))
    for e, each in enumerate(psf):
        theta = np.radians(each.containment_radius(u))
        steps = np.stack([np.cos(theta), np.sin(theta) * np.cos(2 * np.pi * v), np.sin(theta) * np.sin(2 * np.pi * v)])
        for place, here in enumerate(home):
            towards = steps.T @ np.stack([at[place], east[place], north[place]])
            landed = patch.at(towards)
            landed = landed[landed >= 0]
            np.add.at(out[e], landed, flux[place, e] * exposure[e, here] / _N_POINT)
    return out

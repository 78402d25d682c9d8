"""Full-sky maps brought from another frame to Galactic coordinates, at the same nside.

Pixels of two frames do not coincide. Exposure is smooth and interpolated. Counts must stay whole numbers and stay
Poisson: every photon is placed at random within its pixel (at the centre of one of 256 sub-pixels, with a seed) and
counted in the Galactic pixel that holds it. The number of photons is kept; each has moved by a fraction of a pixel.
Splitting Poisson counts at random leaves independent Poisson counts, whereas moving a pixel as a whole would leave
Galactic pixels that no centre falls in without light, and give others twice their due.
"""

from __future__ import annotations

import healpy as hp
import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_to_galactic", "exposure_to_galactic", "observed_in_galactic"]

_SUBPIXELS = 256
_CORNERS = 16


def counts_to_galactic(counts: NDArray[np.int64], frame: str, seed: int) -> NDArray[np.int64]:
    """Counts (n_energy, 12 nside²) of `frame` ("C", "E" or "G"), NESTED, photon by photon in Galactic pixels."""
    rng = np.random.default_rng(seed)
    n_pix = counts.shape[-1]
    nside = hp.npix2nside(n_pix)
    rotated = np.empty_like(counts)
    for energy, row in enumerate(counts):
        photons = np.repeat(np.arange(n_pix), row)
        fine = photons * _SUBPIXELS + rng.integers(_SUBPIXELS, size=photons.size)
        theta, phi = hp.pix2ang(nside * int(np.sqrt(_SUBPIXELS)), fine, nest=True)
        theta, phi = _rotate(theta, phi, frame, "G")
        rotated[energy] = np.bincount(hp.ang2pix(nside, theta, phi, nest=True), minlength=n_pix)
    return rotated


def exposure_to_galactic(exposure: NDArray[np.float64], frame: str) -> NDArray[np.float64]:
    """Map (n_energy, 12 nside²) of `frame`, NESTED, interpolated bilinearly at the centres of Galactic pixels."""
    nside = hp.npix2nside(exposure.shape[-1])
    theta, phi = hp.pix2ang(nside, np.arange(exposure.shape[-1]), nest=True)
    theta, phi = _rotate(theta, phi, "G", frame)
    return np.stack([hp.get_interp_val(row, theta, phi, nest=True) for row in exposure])


def observed_in_galactic(observed: NDArray[np.bool_], frame: str) -> NDArray[np.bool_]:
    """Galactic pixels (12 nside²,), NESTED, of whose 16 sub-pixels all lie in observed pixels of `frame`."""
    if observed.all():
        return observed
    nside = hp.npix2nside(observed.size)
    theta, phi = hp.pix2ang(nside * int(np.sqrt(_CORNERS)), np.arange(observed.size * _CORNERS), nest=True)
    theta, phi = _rotate(theta, phi, "G", frame)
    seen = observed[hp.ang2pix(nside, theta, phi, nest=True)]
    return seen.reshape(-1, _CORNERS).all(axis=1)


def _rotate(
    theta: NDArray[np.float64], phi: NDArray[np.float64], source: str, target: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colatitude and longitude, radians, of points given in `source`, in `target`."""
    if theta.size == 0:
        return theta, phi
    theta, phi = hp.Rotator(coord=[source, target])(theta, phi)
    return theta, phi

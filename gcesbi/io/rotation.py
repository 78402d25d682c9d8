"""Maps brought from another frame to Galactic coordinates, at the same nside, in the pixels that they hold.

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

from gcesbi.io.reading import check_number

__all__ = ["counts_to_galactic", "interpolate_in_galactic", "observed_in_galactic", "places_of"]

_SUBPIXELS = 256
_CORNERS = 16

Array = NDArray[np.float64]
Pixels = NDArray[np.int64]


def places_of(pixels: Pixels, wanted: Pixels) -> Pixels:
    """Positions (...) of pixels `wanted` (...) among ascending `pixels` (n_pix,); -1 where they are not."""
    if pixels.size == 0:
        return np.full(np.shape(wanted), -1)
    at = np.minimum(np.searchsorted(pixels, wanted), pixels.size - 1)
    return np.where(pixels[at] == wanted, at, -1)


def counts_to_galactic(
    nside: int, pixels: Pixels, counts: NDArray[np.int64], frame: str, seed: int
) -> tuple[Pixels, NDArray[np.int64]]:
    """Galactic pixels (n,) with light, and counts (n_energy, n) in them, photon by photon; all NESTED.

    Parameters
    ----------
    pixels : array (n_pix,)
        Of `frame` ("C", "E" or "G").
    counts : array (n_energy, n_pix)

    Raises
    ------
    InputError
        If there are more photons than fit into memory.
    """
    check_number(int(counts.sum(dtype=np.float64)), "counts in another frame")
    rng = np.random.default_rng(seed)
    found = []
    for row in counts:
        photons = np.repeat(pixels, row)
        fine = photons * _SUBPIXELS + rng.integers(_SUBPIXELS, size=photons.size)
        found.append(_pixels_in(nside, *_directions(nside, fine, _SUBPIXELS), frame, "G"))
    lit = np.unique(np.concatenate(found))
    return lit, np.stack([np.bincount(places_of(lit, each), minlength=lit.size) for each in found])


def interpolate_in_galactic(nside: int, pixels: Pixels, values: Array, frame: str, wanted: Pixels) -> Array:
    """Maps (n_map, n_pix) of `frame` at Galactic pixels' centres (n,): (n_map, n), NaN where a pixel is missing."""
    if wanted.size == 0:
        return np.empty((len(values), 0))
    theta, phi = _rotate(*_directions(nside, wanted, 1), "G", frame)
    neighbours, weights = hp.get_interp_weights(nside, theta, phi, nest=True)
    at = places_of(pixels, neighbours)
    return np.stack([np.sum(np.where(at < 0, np.nan, row[at]) * weights, axis=0) for row in values])


def observed_in_galactic(nside: int, pixels: Pixels, frame: str) -> Pixels:
    """Galactic pixels (n,), NESTED, of whose 16 sub-pixels all lie in observed `pixels` of `frame`."""
    if pixels.size == 12 * nside**2:
        return pixels
    fine = (pixels[:, None] * _CORNERS + np.arange(_CORNERS)).ravel()
    candidates = np.unique(_pixels_in(nside, *_directions(nside, fine, _CORNERS), frame, "G"))
    corners = (candidates[:, None] * _CORNERS + np.arange(_CORNERS)).ravel()
    seen = places_of(pixels, _pixels_in(nside, *_directions(nside, corners, _CORNERS), "G", frame)) >= 0
    return candidates[seen.reshape(-1, _CORNERS).all(axis=1)]


def _directions(nside: int, fine: Pixels, division: int) -> tuple[Array, Array]:
    """Colatitude and longitude, radians, of sub-pixels, `division` to a pixel."""
    theta, phi = hp.pix2ang(nside * int(np.sqrt(division)), fine, nest=True)
    return theta, phi


def _pixels_in(nside: int, theta: Array, phi: Array, source: str, target: str) -> Pixels:
    return np.asarray(hp.ang2pix(nside, *_rotate(theta, phi, source, target), nest=True), dtype=np.int64)


def _rotate(theta: Array, phi: Array, source: str, target: str) -> tuple[Array, Array]:
    """Colatitude and longitude, radians, of points given in `source`, in `target`."""
    if theta.size == 0:
        return theta, phi
    theta, phi = hp.Rotator(coord=[source, target])(theta, phi)
    return theta, phi

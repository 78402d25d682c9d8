"""What is not known of the instrument: one factor of the exposure, and one of the angles of the PSF, in every map.

Relative errors are stated. The exposure's factor is 1 + error · t, t a standard normal variable cut at ±3. The PSF's
is one of five, equally likely, at the 10, 30, 50, 70 and 90 % quantiles of a normal variable of the stated error,
stretched to have that standard deviation: templates, and where sources' photons land, are known for each beforehand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["CUT", "draw_exposures", "psf_factors"]

Array = NDArray[np.float64]

CUT = 3.0
"""Errors of the exposure's scale at which it is cut."""
_QUANTILES = ndtri([0.1, 0.3, 0.5, 0.7, 0.9])


def psf_factors(error: float) -> tuple[float, ...]:
    """Factors, ascending, of the PSF's angles; one, of 1, where there is no error."""
    return tuple((1 + error * _QUANTILES / _QUANTILES.std()).tolist()) if error else (1.0,)


def draw_exposures(error: float, n: int, rng: np.random.Generator) -> Array:
    """Factors (n,) of the exposure; nothing is drawn where there is no error."""
    if not error:
        return np.ones(n)
    lowest = ndtr(-CUT)
    return np.asarray(1 + error * ndtri(lowest + (1 - 2 * lowest) * rng.random(n)))

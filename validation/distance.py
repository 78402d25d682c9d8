"""Distance between histograms over flux bins: the Earth mover's distance and its signed companion.

With true histogram y and predicted ŷ, and their CDFs Y and Ŷ, EMD = Σ_i |Y_i − Ŷ_i| and SEMD = Σ_i (Y_i − Ŷ_i), both in
flux bins: the SEMD is how many bins the predicted flux lies too bright (positive) or too dim (negative) on average
(List et al. 2025, 2507.17804). SEMD is a bias, not an error: opposite displacements cancel.
"""

import numpy as np
from numpy.typing import ArrayLike

from gcesbi.errors import InputError

from .checks import Array, check_finite, check_pdf

__all__ = ["emd", "pdf_from_cdf", "semd"]


def semd(true_pdf: ArrayLike, predicted_pdf: ArrayLike) -> Array:
    """Signed Earth mover's distance, flux bins: negative where the prediction is too dim, positive where too bright.

    Parameters
    ----------
    true_pdf, predicted_pdf : array (n_map, n_bin)
        Histograms, each summing to 1 over bins (within 10⁻³). Further axes between are allowed.

    Returns
    -------
    array (n_map,)

    Raises
    ------
    InputError
        If shapes differ, a value is NaN, or a histogram does not sum to 1.

    Examples
    --------
    >>> semd([[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]).tolist()  # two bins too dim
    [-2.0]
    """
    return _cdf_difference(true_pdf, predicted_pdf).sum(axis=-1)


def emd(true_pdf: ArrayLike, predicted_pdf: ArrayLike) -> Array:
    """Earth mover's distance (n_map,), flux bins: as :func:`semd`, displacements both ways adding up."""
    return np.abs(_cdf_difference(true_pdf, predicted_pdf)).sum(axis=-1)


def pdf_from_cdf(cdf: ArrayLike) -> Array:
    """Histogram (..., n_bin) of a CDF (..., n_bin)."""
    return np.diff(np.atleast_1d(check_finite("cdf", cdf)), axis=-1, prepend=0.0)


def _cdf_difference(true_pdf: ArrayLike, predicted_pdf: ArrayLike) -> Array:
    """True less predicted CDF, (n_map, n_bin)."""
    true, predicted = check_pdf("true_pdf", true_pdf), check_pdf("predicted_pdf", predicted_pdf)
    if true.shape != predicted.shape:
        raise InputError(f"predicted_pdf: must have the shape of true_pdf, {true.shape}, got {predicted.shape}")
    return np.cumsum(true - predicted, axis=-1)

"""What the measures ask of their input, checked where it enters."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError, shown

__all__ = [
    "check_alphas",
    "check_cdfs",
    "check_curves",
    "check_draws",
    "check_finite",
    "check_levels_within",
    "check_pair",
    "check_pdf",
    "check_taus",
    "crossings",
    "is_decreasing",
]

Array = NDArray[np.float64]
#: Slack in the sum of a histogram and the end of a CDF: cumulative sums in single precision stay well within it.
CDF_TOLERANCE = 1e-3
#: Slack in the order of quantile curves, relative to their largest value: rounding in single precision stays below.
CROSSING_TOLERANCE = 1e-6
#: What takes samples as they are.
SAMPLES = "gcesbi.validation.report"
#: What to do with values that are no CDFs.
NO_CDFS = "; values that are no CDFs go to gcesbi.validation.interval_coverage, or, where there is one, take cdf=False"


def check_finite(name: str, values: ArrayLike) -> Array:
    """Values as a float array; raise InputError if there are none, or any is no number, NaN, infinite or masked."""
    if np.ma.is_masked(values):
        raise InputError(f"{name}: must be an array without masked values, has {np.ma.count_masked(values)}")
    try:
        array = np.asarray(values)
        if np.iscomplexobj(array):
            raise TypeError("complex numbers")
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: tensors with gradients
        told = " ".join(f"{values!r:.60}".split())
        raise InputError(f"{name}: must be an array of numbers, got {told}: {error}") from None
    if array.size == 0:
        raise InputError(f"{name}: must hold at least one value, got shape {array.shape}")
    bad = np.count_nonzero(~np.isfinite(array))
    if bad:
        raise InputError(f"{name}: must be finite, got {bad} NaN or infinite of {array.size} values")
    return array


def check_taus(taus: ArrayLike) -> Array:
    """Quantile levels (n_tau,); raise InputError unless they increase strictly within (0, 1)."""
    values = check_finite("taus", taus)
    if values.ndim != 1:
        raise InputError(f"taus: must be a vector, got shape {values.shape}")
    outside = values[(values <= 0) | (values >= 1)]
    if outside.size:
        raise InputError(f"taus: must lie in (0, 1), got {outside[0]:g}")
    if np.any(np.diff(values) <= 0):
        at = int(np.flatnonzero(np.diff(values) <= 0)[0])
        raise InputError(f"taus: must be sorted, strictly increasing, got {values[at]:g} before {values[at + 1]:g}")
    return values


def check_alphas(alphas: ArrayLike) -> Array:
    """Nominal levels (n_alpha,); raise InputError unless all lie in [0, 1]."""
    values = np.atleast_1d(check_finite("alphas", alphas))
    if values.ndim != 1 or np.any((values < 0) | (values > 1)):
        raise InputError(f"alphas: must be a vector of numbers in [0, 1], got {shown(values)}")
    return values


def check_levels_within(levels: Array, taus: Array, name: str) -> None:
    """Raise InputError if a level lies outside the range of the given quantile levels (10⁻⁹ of slack)."""
    outside = levels[(levels < taus[0] - 1e-9) | (levels > taus[-1] + 1e-9)]
    if outside.size:
        raise InputError(
            f"{name}: needs the quantile at level {outside[0]:g}, but taus reach only from {taus[0]:g} to {taus[-1]:g}"
        )


def check_draws(
    truth: ArrayLike, draws: ArrayLike, name: str = "samples", first: str = "n_sample", n: int | None = None
) -> tuple[Array, Array]:
    """Truth (n_map, ...) and draws (n, n_map, ...) as finite arrays; `first` is what the first axis of draws counts.

    Raises
    ------
    InputError
        If the shapes do not match: the message states the order of axes, and says so where one axis moved would do.
    """
    values, array = check_finite("truth", truth), check_finite(name, draws)
    if values.ndim < 1:
        raise InputError(f"truth: must have shape (n_map, ...), got {values.shape}")
    if array.ndim == values.ndim + 1 and array.shape[1:] == values.shape and n in (None, len(array)):
        return values, array
    expected = f"({first if n is None else n}, {str(values.shape)[1:-1].rstrip(',')})"
    raise InputError(
        f"{name}: must have shape ({first}, *truth.shape) = {expected}, got {array.shape}"
        + _transposed(values.shape, array.shape, name, first, n)
    )


def _transposed(truth: tuple[int, ...], got: tuple[int, ...], name: str, first: str, n: int | None) -> str:
    """What to do about axes in another order, where sizes tell."""
    for axis, size in enumerate(got):
        if axis and (*got[:axis], *got[axis + 1 :]) == truth and n in (None, size):
            return f"; axis {axis} seems to be {first}: pass numpy.moveaxis({name}, {axis}, 0)"
    if len(truth) > 1 and got[1:] == truth[::-1] and n in (None, got[0]):
        return f"; the axes of truth are in reverse: pass numpy.transpose({name}, {(0, *range(len(truth), 0, -1))})"
    if got[::-1][1:] == truth and n in (None, got[-1]):
        return f"; the axes are in reverse: pass {name}.T"
    if n is not None and got[1:] == truth:
        return f"; if these are samples, pass numpy.quantile({name}, taus, axis=0), or them as they are to {SAMPLES}"
    if got[1:] == (*truth, 1):
        return f"; drop the last axis: pass {name}[..., 0]"
    if (*got[1:], 1) == truth:
        return f"; a last axis is missing: pass {name}[..., None]"
    if n is None and got[2:] == truth:
        return f"; join chains into one axis of draws: pass {name}.reshape(-1, *{truth})"
    return ""


def check_pair(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike) -> tuple[Array, Array, Array]:
    """Truth (n_map, ...), quantiles (n_tau, n_map, ...) and taus (n_tau,) as finite arrays of matching shapes."""
    levels = check_taus(taus)
    values, curves = check_draws(truth, quantiles, "quantiles", "n_tau", len(levels))
    _check_order(curves, levels)
    return values, curves, levels


def check_curves(quantiles: ArrayLike, taus: ArrayLike) -> tuple[Array, Array]:
    """Quantiles (n_tau, ...) and taus (n_tau,) as finite arrays, one curve a level, none crossing another."""
    levels, curves = check_taus(taus), check_finite("quantiles", quantiles)
    if len(np.atleast_1d(curves)) != len(levels):
        raise InputError(
            f"quantiles: must have one curve per tau, {len(levels)}, along the first axis, got shape {curves.shape}"
        )
    _check_order(curves, levels)
    return curves, levels


def is_decreasing(quantiles: Array) -> bool:
    """Whether the curves, on the whole, fall with τ, as CDFs of source-count distributions do."""
    return bool(np.sum(quantiles[-1] - quantiles[0]) < 0)


def crossings(quantiles: Array) -> NDArray[np.bool_]:
    """Where neighbouring curves (n_tau, ...) cross, against the main direction: (n_tau - 1, ...)."""
    steps = np.diff(quantiles, axis=0) * (-1 if is_decreasing(quantiles) else 1)
    return steps < -CROSSING_TOLERANCE * max(np.abs(quantiles).max(), np.finfo(np.float64).tiny)


def _check_order(curves: Array, levels: Array) -> None:
    crossed = crossings(curves)
    if not crossed.any():
        return
    tau, *place = (int(i) for i in np.argwhere(crossed)[0])
    where = f" at (map, ...) = {tuple(place)}" if place else ""
    raise InputError(
        f"quantiles: must not cross, but {np.count_nonzero(crossed)} of {crossed.size} neighbouring pairs do "
        f"({100 * crossed.mean():.2g} %), the first between tau {levels[tau]:g} and {levels[tau + 1]:g}{where}; "
        "sort them first with gcesbi.validation.rearrange"
    )


def check_cdfs(truth: Array, quantiles: Array) -> None:
    """Raise InputError if a true CDF leaves [0, 1], or true or predicted CDFs rise as CDFs do, yet do not end at 1.

    Rows of truth that fall somewhere are no CDFs but unrelated numbers (the guess-a-uniform-number toy of List et al.
    2025, Fig. S9), and so is a single bin: nothing is asked of their end, nor of their predictions'.
    """
    worst = truth.flat[np.argmax(np.abs(truth - 0.5))]
    if abs(worst - 0.5) > 0.5 + CDF_TOLERANCE:
        raise InputError(f"truth: CDF values must lie in [0, 1], got {worst:g}{NO_CDFS}")
    if truth.shape[-1] == 1 or not _rises(truth):
        return
    _check_end("truth", truth)
    if _rises(quantiles):
        _check_end("quantiles", quantiles)


def _rises(values: Array) -> bool:
    return bool(np.all(np.diff(values, axis=-1) >= -1e-6))


def _check_end(name: str, values: Array) -> None:
    ends = values[..., -1]
    worst = ends.flat[np.argmax(np.abs(ends - 1))]
    if abs(worst - 1) > CDF_TOLERANCE:
        raise InputError(f"{name}: every CDF must end at 1, got one that ends at {worst:g}{NO_CDFS}")


def check_pdf(name: str, values: ArrayLike) -> Array:
    """Histograms (n_map, n_bin); raise InputError unless each sums to 1 within 10⁻³."""
    array = check_finite(name, values)
    if array.ndim < 1:
        raise InputError(f"{name}: must have shape (n_map, n_bin), got {array.shape}")
    sums = array.sum(axis=-1)
    worst = sums.flat[np.argmax(np.abs(sums - 1))]
    if abs(worst - 1) > CDF_TOLERANCE:
        raise InputError(f"{name}: every histogram must sum to 1, so that its CDF ends at 1, got a sum of {worst:g}")
    return array

"""Coverage of CDFs without choosing pairs by their truth: the PIT, with atoms at 0 and 1.

A CDF of a source-count distribution is exactly 0 below the dimmest source and exactly 1 above the brightest, so that
its posterior has atoms there. The ε-threshold of :func:`~gcesbi.validation.coverage` leaves out the pairs whose *truth*
lies on an atom, as List et al. (2025, 2507.17804) do. That chooses by the truth, and moves the coverage of even an
exact posterior away from nominal: among maps with the same prediction only those off the atom are left, and they lie to
one side.

Here all pairs count. Values up to ε are one atom, values from 1 − ε another, in truth and prediction alike, and a truth
on an atom has a PIT that is uniform between P(t < y) and P(t ≤ y) (Brockwell 2007, Stat. Probab. Lett. 77, 1473): over
the levels whose curve lies on the atom. The mean over that draw is taken in closed form, as Czado, Gneiting & Held
(2009, Biometrics 65, 1254) do: a pair with bounds [l, u] adds

    |[l, u] ∩ [(1 − α)/2, (1 + α)/2]| / (u − l)

to the coverage at level α, which is then α for an exact posterior, whatever its atoms. Where an atom ends between two
of the given levels, it is taken to end half-way, which errs by less than their distance and by nothing on average.

The result is nominal for an exact posterior at any ε. The default, a thousandth of the flux, is what a prediction may
be asked to resolve: networks hardly ever state less than 10⁻⁵, and at that ε a CDF of 0.0001 where the truth is 0 would
be a miss like any other.

A prediction that lies on one atom at all levels adds α whatever the level, if it is right, and dilutes the faults of
the others. :func:`undecided` tells the pairs whose prediction is open; it does not know the truth, so that coverage
over them is nominal too.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

from .checks import Array, check_alphas, check_cdfs, check_finite, check_levels_within, check_pair, is_decreasing
from .coverage import CalibrationCurve, Mask, calibration_curve, check_epsilon
from .pit import pit_bounds

__all__ = ["ATOM", "atom_bounds", "coverage_with_atoms", "pit_with_atoms", "share_inside", "snapped", "undecided"]

Index = NDArray[np.intp]
ATOM = 1e-3
"""CDF values within this of 0 or 1 are taken for 0 or 1."""


def undecided(quantiles: ArrayLike, epsilon: float = ATOM) -> Mask:
    """Pairs (n_map, ...) whose predicted curves (n_tau, n_map, ...) do not all lie on one atom."""
    curves, threshold = check_finite("quantiles", quantiles), check_epsilon(epsilon)
    return np.asarray(~((curves <= threshold).all(axis=0) | (curves >= 1 - threshold).all(axis=0)))


def atom_bounds(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, epsilon: float = ATOM) -> tuple[Array, Array]:
    """Bounds (n_map, ...) between which the PIT is uniform: one level off the atoms, all levels of an atom on it.

    Parameters
    ----------
    truth : array (n_map, ...)
        True CDF values.
    quantiles : array (n_tau, n_map, ...)
        Predicted CDFs at the quantile levels `taus`.
    taus : array (n_tau,)
    epsilon : float
        Values up to ε are one atom, values from 1 − ε the other.
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    threshold = check_epsilon(epsilon)
    values, curves = snapped(values, threshold), snapped(curves, threshold)
    first, last = (1.0, 0.0) if is_decreasing(curves) else (0.0, 1.0)
    n_first, n_last = ((curves == atom).sum(axis=0) for atom in (first, last))
    low, high = (_off_atoms(bound, n_first, n_last, levels) for bound in pit_bounds(values, curves, levels))
    edges = np.concatenate([[0.0], (levels[:-1] + levels[1:]) / 2, [1.0]])  # where an atom of n levels ends
    on_first, on_last = (values == first) & (n_first > 0), (values == last) & (n_last > 0)
    low = np.where(on_first, 0.0, np.where(on_last, edges[len(levels) - n_last], low))
    high = np.where(on_last, 1.0, np.where(on_first, edges[n_first], high))
    return low, high


def pit_with_atoms(
    truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, epsilon: float = ATOM, seed: int = 0
) -> Array:
    """Randomised PIT (n_map, ...): a uniform draw within :func:`atom_bounds`; uniform on (0, 1) if calibrated."""
    low, high = atom_bounds(truth, quantiles, taus, epsilon)
    return low + np.random.default_rng(seed).uniform(size=low.shape) * (high - low)


def share_inside(low: Array, high: Array, alphas: ArrayLike) -> Array:
    """Probability (n_alpha, n_map, ...) that a PIT uniform in [low, high] lies in the central interval of level α."""
    nominal, low, high = check_alphas(alphas), check_finite("low", low), check_finite("high", high)
    if low.shape != high.shape or np.any(high < low - 1e-12):
        raise InputError(f"high: must have the shape of low, {low.shape}, and lie above it, got shape {high.shape}")
    width = high - low
    found = []
    for start, end in zip((1 - nominal) / 2, (1 + nominal) / 2, strict=True):
        overlap = np.clip(np.minimum(high, end) - np.maximum(low, start), 0.0, None)
        inside = (low >= start) & (low <= end)
        found.append(np.divide(overlap, width, out=inside.astype(np.float64), where=width > 1e-12))
    return np.stack(found)


def coverage_with_atoms(
    truth: ArrayLike,
    quantiles: ArrayLike,
    taus: ArrayLike,
    alphas: ArrayLike,
    epsilon: float = ATOM,
    used: Mask | None = None,
) -> CalibrationCurve:
    """Coverage against nominal level with atoms at 0 and 1, over all pairs: nominal for an exact posterior.

    Parameters
    ----------
    truth : array (n_map, ..., n_bin)
        True CDF values.
    quantiles : array (n_tau, n_map, ..., n_bin)
    taus : array (n_tau,)
    alphas : array (n_alpha,)
        Nominal levels; (1 ∓ α)/2 must lie within the range of `taus`.
    epsilon : float
    used : array (n_map, ..., n_bin), optional
        Pairs that count, chosen without knowing the truth, as by :func:`undecided`; all by default.

    Examples
    --------
    >>> import numpy as np
    >>> rng, taus = np.random.default_rng(0), np.linspace(0.01, 0.99, 99)
    >>> truth = np.clip(rng.uniform(-0.5, 1.5, size=(4000, 5)), 0, 1)  # a quarter lies on each atom
    >>> quantiles = np.broadcast_to(np.clip(2 * taus - 0.5, 0, 1)[:, None, None], (99, 4000, 5))
    >>> [f"{share:.2f}" for share in coverage_with_atoms(truth, quantiles, taus, [0.3, 0.9]).coverage]
    ['0.30', '0.90']
    """
    values, curves, levels = check_pair(truth, quantiles, taus)
    nominal = check_alphas(alphas)
    check_levels_within(np.concatenate([(1 - nominal) / 2, (1 + nominal) / 2]), levels, "alphas")
    check_cdfs(values, curves)
    covered = share_inside(*atom_bounds(values, curves, levels, epsilon), nominal)
    return calibration_curve(covered, nominal, used)


def snapped(values: ArrayLike, epsilon: float = ATOM) -> Array:
    """CDF values with those within ε of 0 or 1 put there."""
    values, epsilon = check_finite("values", values), check_epsilon(epsilon)
    return np.where(values <= epsilon, 0.0, np.where(values >= 1 - epsilon, 1.0, values))


def _off_atoms(bound: Array, n_first: Index, n_last: Index, levels: Array) -> Array:
    """A level between curves; one beside an atom is moved out of the half of the cell that belongs to the atom."""
    n = len(levels)
    above, below = levels[np.minimum(n_first, n - 1)], levels[np.maximum(n - n_last - 1, 0)]
    bound = np.where((n_first > 0) & (n_first < n) & (bound < above), (above + bound) / 2, bound)
    return np.where((n_last > 0) & (n_last < n) & (bound > below), (below + bound) / 2, bound)

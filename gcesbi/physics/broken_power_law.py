r"""Broken power law of source fluxes, with any number of breaks.

.. math:: \frac{dN}{dF} = A\,(F/F_1)^{-n_1} \;(F \ge F_1), \qquad A\,(F/F_1)^{-n_2} \;(F_2 \le F < F_1), \;\dots

continuous at every break; indices and breaks go from bright to dim (Mishra-Sharma, Rodd & Safdi 2017,
arXiv:1612.03173). It may be cut at a lowest and a highest flux. Without a break it is a plain power law, and A its
density at the upper cut (at the lower one if there is no upper). Segments are integrated in a form that is regular at
indices 1 and 2.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.physics.power_law import power_integral

__all__ = ["BrokenPowerLaw"]


@dataclass(frozen=True)
class BrokenPowerLaw:
    """dN/dF as a broken power law.

    Parameters
    ----------
    norm : float
        A, density at the brightest break (without a break, at the upper cut, or else at the lower), per unit of flux.
    indices : tuple of float
        n_1 .. n_(b+1), bright to dim.
    breaks : tuple of float
        F_1 > .. > F_b, photons / cm² / s (or any other unit, such as expected counts).
    low, high : float
        No source is dimmer than `low` or brighter than `high`.

    Raises
    ------
    InputError
        If the norm is negative, the number of indices is not that of breaks plus one, breaks are not positive and
        descending within the cuts, or the flux diverges: n_1 <= 2 without an upper cut, or n_(b+1) >= 2 without a
        lower one.

    Examples
    --------
    >>> scd = BrokenPowerLaw(norm=1.0, indices=(3.0, 1.0), breaks=(2.0,))
    >>> scd.total_flux
    8.0
    >>> float(scd.flux_between(0.0, 1.0))
    2.0
    """

    norm: float
    indices: tuple[float, ...]
    breaks: tuple[float, ...] = ()
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", tuple(float(n) for n in self.indices))
        object.__setattr__(self, "breaks", tuple(float(f) for f in self.breaks))
        _check(self)

    @property
    def pivot(self) -> float:
        """Flux at which the density is `norm`."""
        if self.breaks:
            return self.breaks[0]
        return self.high if math.isfinite(self.high) else self.low

    @property
    def _segments(self) -> tuple[tuple[float, float, float, float, float], ...]:
        """(density at reference, reference, index, lower edge, upper edge) of each segment, bright to dim."""
        edges = (self.high, *self.breaks, self.low)
        segments = []
        density, reference = self.norm, self.pivot
        for j, index in enumerate(self.indices):
            if j > 1:
                density *= (edges[j] / reference) ** -self.indices[j - 1]
                reference = edges[j]
            segments.append((density, reference, index, edges[j + 1], edges[j]))
        return tuple(segments)

    def density(self, flux: ArrayLike) -> NDArray[np.float64]:
        """dN/dF (...) at fluxes (...)."""
        f = np.asarray(flux, dtype=np.float64)
        value = np.zeros_like(f)
        for density, reference, index, low, high in self._segments:
            inside = (f >= low) & ((f < high) | (f == self.high)) & (f > 0)
            value[inside] = density * (f[inside] / reference) ** -index
        return value

    def number_between(self, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
        """Number of sources with fluxes from `low` to `high` (...); inf where it diverges."""
        return self._moment(0, low, high)

    def flux_between(self, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
        """Flux of all sources with fluxes from `low` to `high` (...)."""
        return self._moment(1, low, high)

    @property
    def total_flux(self) -> float:
        """Flux of all sources."""
        return float(self.flux_between(0.0, math.inf))

    def histogram(self, edges: ArrayLike) -> NDArray[np.float64]:
        """Share of the total flux between neighbouring `edges` (n + 1,); sources beyond count in the outer bins."""
        inner = np.asarray(edges, dtype=np.float64)[1:-1]
        bounds = np.concatenate([[0.0], inner, [np.inf]])
        flux = self.flux_between(bounds[:-1], bounds[1:])
        total = flux.sum()
        return flux / total if total > 0 else flux

    def sample(self, n: int, rng: np.random.Generator, low: float | None = None) -> NDArray[np.float64]:
        """Draw the fluxes of `n` sources brighter than `low`, (n,), each segment by inverting its distribution.

        Raises
        ------
        InputError
            If the number of sources diverges: choose a `low` above zero.
        """
        floor = self.low if low is None else max(low, self.low)
        segments = [s for s in self._segments if s[4] > floor]
        numbers = np.array([float(self.number_between(max(s[3], floor), s[4])) for s in segments])
        if not np.isfinite(numbers).all():
            raise InputError(f"low: the number of sources diverges below any flux, must be above 0, got {floor}")
        if not numbers.sum() > 0:
            raise InputError(f"low: there must be sources above it, are none above {floor}")
        chosen = rng.choice(len(segments), size=n, p=numbers / numbers.sum())
        level = rng.random(n)
        flux = np.empty(n)
        for j, (_, _, index, lower, upper) in enumerate(segments):
            mine = chosen == j
            flux[mine] = _inverse(level[mine], 1.0 - index, max(lower, floor), upper)
        return flux

    def _moment(self, power: int, low: ArrayLike, high: ArrayLike) -> NDArray[np.float64]:
        low, high = np.broadcast_arrays(np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64))
        total = np.zeros(low.shape)
        for density, reference, index, lower, upper in self._segments:
            a, b = np.maximum(low, lower), np.minimum(high, upper)
            total = total + density * reference ** (power + 1) * power_integral(
                power + 1.0 - index, a / reference, b / reference
            )
        return total


def _inverse(level: NDArray[np.float64], s: float, a: float, b: float) -> NDArray[np.float64]:
    """Value x at which ∫_a^x y^(s - 1) dy is the share `level` of the integral to b."""
    if a == 0.0:
        return b * level ** (1.0 / s)
    if math.isinf(b):
        return a * (1.0 - level) ** (1.0 / s)
    z = s * math.log(b / a)
    if abs(z) < 1e-8:
        return a * (b / a) ** level
    if z > 0:  # from the upper end, where x^s does not overflow
        return b * np.exp(np.log(level + (1.0 - level) * math.exp(-z)) / s)
    return a * np.exp(np.log1p(level * math.expm1(z)) / s)


def _check(scd: BrokenPowerLaw) -> None:
    if len(scd.indices) != len(scd.breaks) + 1:
        raise InputError(f"indices: must be one more than the {len(scd.breaks)} breaks, got {len(scd.indices)}")
    if not all(math.isfinite(value) for value in (scd.norm, *scd.indices, *scd.breaks)):
        raise InputError(f"broken power law: must be finite, got norm {scd.norm}, {scd.indices}, {scd.breaks}")
    if scd.norm < 0:
        raise InputError(f"norm: must not be negative, got {scd.norm}")
    if not 0 <= scd.low < scd.high:
        raise InputError(f"low, high: must satisfy 0 <= low < high, got {scd.low} and {scd.high}")
    edges = (scd.high, *scd.breaks, scd.low)
    if any(upper <= lower for upper, lower in pairwise(edges)):
        raise InputError(f"breaks: must be positive and descending between the cuts, got {list(scd.breaks)}")
    if math.isinf(scd.high) and scd.indices[0] <= 2:
        raise InputError(f"indices: the first must be above 2, or the flux diverges, got {scd.indices[0]}")
    if scd.low == 0 and scd.indices[-1] >= 2:
        raise InputError(f"indices: the last must be below 2, or the flux diverges, got {scd.indices[-1]}")

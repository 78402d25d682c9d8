r"""Fluxes of sources that follow a single power law between two limits, dN/dS ∝ S^α.

With t = α + 1 the number of sources is N ∝ (S_2^t - S_1^t) / t and their flux ∝ (S_2^(t+1) - S_1^(t+1)) / (t + 1); the
limit t → 0 is a logarithm. A lowest flux S_1 = 0 needs α > -1 for a finite number, and α > -2 for a finite flux.
(Caron et al. 2018, arXiv:1708.06706: α from -1.05 to 1.05, below S_2 = 10⁻⁹ photons / cm² / s.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.physics.power_law import power_integral

__all__ = ["PowerLawFluxes"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PowerLawFluxes:
    """dN/dS ∝ S^α for low < S < high.

    Parameters
    ----------
    alpha : float
    high : float, photons / cm² / s
        The threshold above which sources are known one by one.
    low : float, photons / cm² / s

    Raises
    ------
    InputError
        If the threshold is not above the lowest flux, or number or flux of the sources diverges at a lowest flux of 0.

    Examples
    --------
    >>> round(PowerLawFluxes(alpha=1.0, high=1e-9, low=0.0).mean * 1e9, 6)
    0.666667
    """

    alpha: float
    high: float = 1e-9
    low: float = 1e-12

    def __post_init__(self) -> None:
        if not np.isfinite(self.alpha):
            raise InputError(f"alpha: must be finite, got {self.alpha}")
        if not self.low >= 0:
            raise InputError(f"flux_low: must not be negative, got {self.low}")
        if not self.low < self.high < np.inf:
            raise InputError(f"flux_threshold: must be above the lowest flux {self.low}, got {self.high}")
        if self.low == 0 and self.alpha <= -2:
            raise InputError(
                f"alpha: must be above -2 where the lowest flux is 0, or the flux diverges, got {self.alpha}"
            )
        if self.low == 0 and self.alpha <= -1:
            raise InputError(
                f"alpha: must be above -1 where the lowest flux is 0, or the number diverges, got {self.alpha}"
            )

    @property
    def mean(self) -> float:
        """Mean flux of a source, photons / cm² / s."""
        ratio = self.low / self.high
        flux, number = (float(power_integral(self.alpha + k, ratio, 1.0)) for k in (2, 1))
        return self.high * flux / number

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Fluxes (n,) of sources, photons / cm² / s."""
        return self.high * self._quantile(rng.random(n))

    def _quantile(self, u: Array) -> Array:
        t, ratio = self.alpha + 1, self.low / self.high
        if abs(t) < 1e-9:
            return ratio ** (1 - u)
        edge = ratio**t if ratio > 0 else 0.0
        return (edge + u * (1 - edge)) ** (1 / t)

"""Injection and recovery: a simulated population of known flux added to an observation, and what every method finds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from gcesbi.validation import Estimate
from gcesbi.validation.calibration import plain

__all__ = ["Injection"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Injection:
    """A simulated population added to an observation, for a grid of fluxes.

    Parameters
    ----------
    template : str
    injected : array (n_flux, n_repeat), photons / cm² / s
        Flux of the sources that were drawn.
    recovered : dict of str to array (n_flux, n, 3)
        By method: 16 %, 50 % and 84 % quantiles of the template's flux, for the first n populations of each flux: all,
        or for a method that takes long fewer.
    before : dict of str to float
        Each method's median on the observation alone.
    cdf : array (n_flux, n_repeat, n_bin)
        Predicted median CDF of the template's source counts.
    injected_cdf : array (n_flux, n_repeat, n_bin)
        Of the injected sources alone.
    """

    template: str
    injected: Array
    recovered: dict[str, Array]
    before: dict[str, float]
    cdf: Array
    injected_cdf: Array

    def slope(self, method: str) -> Estimate:
        """Flux recovered per flux injected, by least squares through the flux before; 1 if all is recovered."""
        x, y = self._gained(method)
        return _least_squares(x[:, None], y)[0]

    def line(self, method: str) -> tuple[Estimate, Estimate]:
        """Slope and offset of flux recovered, less the flux before, against flux injected.

        The offset, in photons / cm² / s, takes up an error of the flux before, which is one number for all populations.
        """
        x, y = self._gained(method)
        slope, offset = _least_squares(np.stack([x, np.ones(len(x))], axis=1), y)
        return slope, offset

    def _gained(self, method: str) -> tuple[Array, Array]:
        recovered = self.recovered[method][..., 1]
        return self.injected[:, : recovered.shape[1]].ravel(), (recovered - self.before[method]).ravel()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {
            "template": self.template,
            "injected": self.injected.tolist(),
            "recovered": {name: values.tolist() for name, values in self.recovered.items()},
            "before": self.before,
            "slope": {name: plain(vars(self.slope(name))) for name in self.recovered},
            "line": {
                name: dict(zip(("slope", "offset"), (plain(vars(each)) for each in self.line(name)), strict=True))
                for name in self.recovered
            },
            "cdf": self.cdf.tolist(),
            "injected_cdf": self.injected_cdf.tolist(),
        }


def _least_squares(columns: Array, y: Array) -> list[Estimate]:
    """Coefficients of columns (n, m) that give y (n,), with 95 % bands by Student's t; unbounded where n is too small.

    Columns that cannot be told apart, as of one flux alone and a constant, leave nothing known.
    """
    n, m = columns.shape
    scale = np.sqrt(np.sum(columns**2, axis=0))
    gram = (columns / scale).T @ (columns / scale)
    if n < m or np.linalg.cond(gram) > 1e12:
        return [Estimate(np.nan, -np.inf, np.inf)] * m
    inverse = np.linalg.inv(gram)
    value = inverse @ (columns / scale).T @ y / scale
    rest = y - columns @ value
    if n == m:
        return [Estimate(float(v), -np.inf, np.inf) for v in value]
    reach = stdtrit(n - m, 0.975) * np.sqrt(rest @ rest / (n - m) * np.diag(inverse)) / scale
    return [Estimate(float(v), float(v - r), float(v + r)) for v, r in zip(value, reach, strict=True)]

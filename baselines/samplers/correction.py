"""What a law misses, learnt from values that are known by a small network."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.samplers.quadratic import RIDGE

__all__ = ["Correction"]

FloatArray = NDArray[np.float64]

_USUAL, _FAR = 0.84, 3.0  # where a law is this many times as far below the median as this share above: hopeless
_UNITS = 32  # of each of two layers
_DECAY = 10.0  # of weights, in squares of the points' scatter
_STEPS = 400  # of quasi-Newton, at most


@dataclass(frozen=True, eq=False)
class Correction:
    """A network of two layers of tanh; what it answers stays in the range that it was taught.

    Attributes
    ----------
    first : array (n_input + 1, n_unit)
        Weights, the last row what is added; also of the others.
    second : array (n_unit + 1, n_unit)
    last : array (n_unit + 1,)
    floor, ceiling : float
    """

    first: FloatArray
    second: FloatArray
    last: FloatArray
    floor: float
    ceiling: float

    @classmethod
    def fitted(cls, x: FloatArray, off: FloatArray, seed: int) -> Correction:
        """To what a law misses (n,) at inputs x (n, n_input); where it is hopeless has no say."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor

        median, above = np.quantile(off, [0.5, _USUAL])
        kept = off >= median - _FAR * (above - median)
        x, off = x[kept], off[kept]
        mean, width, level, scatter = x.mean(axis=0), np.sqrt(x.var(axis=0) + RIDGE), off.mean(), off.std() + RIDGE
        network = MLPRegressor(
            hidden_layer_sizes=(_UNITS, _UNITS),
            activation="tanh",
            solver="lbfgs",
            alpha=_DECAY,
            max_iter=_STEPS,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # an approximation is all that is asked
            network.fit((x - mean) / width, (off - level) / scatter)
        first, second, last = (np.vstack(pair) for pair in zip(network.coefs_, network.intercepts_, strict=True))
        first[:-1] /= width[:, None]
        first[-1] -= mean @ first[:-1]
        last = scatter * last[:, 0]
        last[-1] += level
        return cls(first, second, last, float(off.min()), float(off.max()))

    def __call__(self, x: FloatArray) -> FloatArray:
        """Values (n,) at inputs x (n, n_input)."""
        for weights in (self.first, self.second):
            x = np.tanh(x @ weights[:-1] + weights[-1])
        return np.clip(x @ self.last[:-1] + self.last[-1], self.floor, self.ceiling)

r"""Template fits of images, one interstellar model after another (Caron et al. 2018, 1708.06706).

Two questions. *Own*: the first images of every interstellar model, fitted with that model, tell how well γ and <σv> are
found where the background is known, and how much sources add to the scatter. *Other*: one image, fitted with every
interstellar model in turn, tells how far γ and <σv> move where the background is wrong; no other choice shows in the
real sky. *Observed*: the real image, where the run was made for one, likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.poisson.halo_slope import SlopeFit

__all__ = ["FittedModel", "TemplateFits"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What a fit with one interstellar model finds.

    Attributes
    ----------
    slope : SlopeFit
        Its profile over γ, norms of the background free in every bin.
    norms : dict of str to float
        Of the background, at the slope of the model that fits best.
    cross_section : float, cm³ / s
        Of the excess there.
    flux : float, photons / cm² / s
        Of the excess in the image's region and band.
    """

    slope: SlopeFit
    norms: dict[str, float]
    cross_section: float
    flux: float


@dataclass(frozen=True, eq=False)
class TemplateFits:
    """Fits of a run's images.

    Attributes
    ----------
    theta : mapping of str to array (n_image, n_parameter)
        Parameters of the images, by interstellar model.
    own : mapping of str to tuple of SlopeFit
        Fits of those images with the model that they were drawn from.
    drawn_from : str
        Interstellar model of the image that `other` fits: the first of its images.
    other : mapping of str to SlopeFit
        That image, by the interstellar model it was fitted with.
    observed : mapping of str to SlopeFit
        The real image that the run was made for, likewise; empty without one.
    """

    theta: Mapping[str, Array]
    own: Mapping[str, tuple[SlopeFit, ...]]
    drawn_from: str
    other: Mapping[str, SlopeFit]
    observed: Mapping[str, SlopeFit]

    def to_dict(self) -> dict[str, Any]:
        """Profiles over γ and the parameters of the images, as plain numbers."""
        return {
            "drawn_from": self.drawn_from,
            "theta": {name: theta.tolist() for name, theta in self.theta.items()},
            "other": {name: _plain(fit) for name, fit in self.other.items()},
            "observed": {name: _plain(fit) for name, fit in self.observed.items()},
            "own": {name: [_plain(fit) for fit in each] for name, each in self.own.items()},
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> TemplateFits:
        """The fits that :meth:`to_dict` told."""
        own = {name: tuple(_slope_fit(fit) for fit in fits) for name, fits in stored["own"].items()}
        other, observed = (
            {name: _slope_fit(fit) for name, fit in stored[key].items()} for key in ("other", "observed")
        )
        theta = {name: np.array(values) for name, values in stored["theta"].items()}
        return cls(theta, own, stored["drawn_from"], other, observed)


_STORED = {
    "gamma": "gammas",
    "log_likelihood": "log_likelihoods",
    "test_statistic": "test_statistics",
    "norm": "norms",
    "norm_error": "norm_errors",
}


def _plain(fit: SlopeFit) -> dict[str, Any]:
    return {"cross_section_of_norm_1": fit.reference} | {
        key: getattr(fit, name).tolist() for key, name in _STORED.items()
    }


def _slope_fit(stored: Mapping[str, Any]) -> SlopeFit:
    known = {name: np.array(stored[key], dtype=np.float64) for key, name in _STORED.items()}
    return SlopeFit(**known, reference=float(stored["cross_section_of_norm_1"]))

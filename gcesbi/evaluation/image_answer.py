"""Answers about one image, and what to hold against them.

The five networks and their means give f_src with the 1σ to 3σ and largest errors of validation images with like
predictions; the quantile network its median and intervals; the joint posterior intervals of every parameter. None of
these errors knows of a sky that the simulations do not hold: the paper itself names the interstellar model, whose
errors the excess lies under, as the main one. So an answer comes with caveats, and with a test of whether the image
looks like those that the networks learnt from:

    χ² = Σ_p (√(k_p + 3/8) - m_p)² / v_p,

m and v mean and variance of √(k + 3/8) over the validation images of one interstellar model. Its place among their χ²
gives a two-sided p-value, and that of the model which resembles the image most is told: a smooth sky unlike all theirs,
a source missing in the catalogue, or too little light makes it small. It need not notice all that misleads a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.evaluation.images import ImageNetworks
from gcesbi.validation.binned_errors import LEVELS, BinnedErrors

__all__ = ["STRANGE", "TAUS", "ImageAnswer", "ShareOfSources", "likeness"]

TAUS = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Levels of the quantiles that are told."""
STRANGE = 0.01
"""A p-value below it is told as a caveat of its own."""
_DRAWS = 4096


@dataclass(frozen=True, kw_only=True)
class ShareOfSources:
    """f_src by one network, or by a mean of several.

    Attributes
    ----------
    prediction : float
    errors : tuple of float
        1σ, 2σ, 3σ and the largest of validation images with predictions like it.
    """

    prediction: float
    errors: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ImageAnswer:
    """All that a run says about an image.

    Attributes
    ----------
    f_src : dict of str to ShareOfSources
        By network: see :meth:`gcesbi.evaluation.images.ImageNetworks.predict`.
    quantiles : tuple of float
        Of f_src by the quantile network, at :data:`TAUS`.
    posterior : dict of str to tuple of float
        Quantiles of every parameter of the joint posterior, at :data:`TAUS`.
    at_slope : tuple of float
        Those of f_src given the slope of the sky; empty where the sky fixes none.
    photons : int
    p_value : float
        That the image is like the validation images of the interstellar model most like it.
    photons_known : tuple of int
        Fewest and most photons in a validation image.
    caveats : tuple of str
    """

    f_src: dict[str, ShareOfSources]
    quantiles: tuple[float, ...]
    posterior: dict[str, tuple[float, ...]]
    at_slope: tuple[float, ...]
    photons: int
    photons_known: tuple[int, int]
    p_value: float
    caveats: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return {**asdict(self), "taus": list(TAUS), "error_levels": list(LEVELS)}

    @classmethod
    def of(
        cls,
        networks: ImageNetworks,
        counts: NDArray[np.integer],
        errors: Mapping[str, BinnedErrors],
        *,
        seed: int,
        gamma: float | None,
        photons_known: NDArray[np.integer],
        p_value: float,
        caveats: tuple[str, ...],
    ) -> ImageAnswer:
        """The answer of networks about counts (n_energy, n_pix), with the errors of validation images.

        `gamma` is the slope of the sky, if it fixes one; `photons_known` (n,) are those of validation images.
        """
        seen, joint = counts[None], networks.joint
        shares = {
            name: ShareOfSources(prediction=float(each[0]), errors=tuple(errors[name].of(each)[:, 0].tolist()))
            for name, each in networks.predict(seen).items()
        }
        drawn = np.quantile(joint.sample(seen, _DRAWS, seed)["theta"][:, 0], TAUS, axis=0)
        return cls(
            f_src=shares,
            quantiles=tuple(networks.quantiles.quantiles(seen, TAUS)[:, 0].tolist()),
            posterior={
                name: tuple(column.tolist()) for name, column in zip(joint.parameter_names, drawn.T, strict=True)
            },
            at_slope=() if gamma is None else tuple(joint.at_slope(seen, TAUS, gamma)[:, 0].tolist()),
            photons=int(counts.sum()),
            photons_known=(int(photons_known.min()), int(photons_known.max())),
            p_value=p_value,
            caveats=caveats,
        )


def likeness(counts: ArrayLike, others: ArrayLike) -> float:
    """Two-sided p-value of an image's χ² (n_energy, n_pix) among those of other images (n, n_energy, n_pix).

    (k + 1) / (n + 1), k of the n others at least as far from their median: never 0, whatever the image.
    """
    roots = np.sqrt(np.asarray(others, dtype=np.float64) + 0.375)
    mean, variance = roots.mean(axis=0), np.maximum(roots.var(axis=0), 1e-3)
    chi2 = ((roots - mean) ** 2 / variance).sum(axis=(1, 2))
    own = np.sum((np.sqrt(np.asarray(counts, dtype=np.float64) + 0.375) - mean) ** 2 / variance)
    middle = np.median(chi2)
    farther = np.count_nonzero(np.abs(chi2 - middle) >= abs(own - middle))
    return float((farther + 1) / (len(chi2) + 1))

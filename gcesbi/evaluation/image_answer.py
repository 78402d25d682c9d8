"""Answers about one image, and what to hold against them.

The five networks and their means give f_src with the 1σ to 3σ and largest errors of validation images with like
predictions; the quantile network its median and intervals; the joint posterior intervals of every parameter. None of
these errors knows of a sky that the simulations do not hold: the paper itself names the interstellar model, whose
errors the excess lies under, as the main one. So an answer comes with caveats, and with the verdict of a gate
(:mod:`gcesbi.evaluation.image_gate`) on whether the image looks like those that the networks learnt from. It need not
notice all that misleads a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.evaluation.images import ImageNetworks
from gcesbi.validation.binned_errors import LEVELS, BinnedErrors
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["TAUS", "ImageAnswer", "ShareOfSources"]

TAUS = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Levels of the quantiles that are told."""
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
    prior : dict of str to (low, high)
        68 % interval of every parameter in the prior.
    at_slope : tuple of float
        Those of f_src given the slope of the sky; empty where the sky fixes none.
    photons : int
    photons_known : tuple of int
        Fewest and most photons in a validation image.
    gate : GateVerdict
        Whether the models that the networks learnt from could have produced the image.
    caveats : tuple of str
    """

    f_src: dict[str, ShareOfSources]
    quantiles: tuple[float, ...]
    posterior: dict[str, tuple[float, ...]]
    prior: dict[str, tuple[float, float]]
    at_slope: tuple[float, ...]
    photons: int
    photons_known: tuple[int, int]
    gate: GateVerdict
    caveats: tuple[str, ...]

    @property
    def p_value(self) -> float:
        """Probability that an image of the models is at least as unusual."""
        return self.gate.p_value

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        levels = {"taus": list(TAUS), "error_levels": list(LEVELS)}
        return {**asdict(self), "gate": self.gate.to_dict(), "p_value": self.p_value, **levels}

    @classmethod
    def of(
        cls,
        networks: ImageNetworks,
        counts: NDArray[np.integer],
        errors: Mapping[str, BinnedErrors],
        *,
        seed: int,
        gamma: float | None,
        photons_known: tuple[int, int],
        gate: GateVerdict,
        caveats: tuple[str, ...],
    ) -> ImageAnswer:
        """The answer of networks about counts (n_energy, n_pix), with the errors of validation images.

        `gamma` is the slope of the sky, if it fixes one; `photons_known` are the fewest and most of a validation
        image.
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
            prior={
                name: (float(low or 0) + TAUS[1] * width, float(low or 0) + TAUS[3] * width)
                for name, (low, high) in joint.quantities.parameters.items()
                for width in (float(1 if high is None else high) - float(low or 0),)
            },
            at_slope=() if gamma is None else tuple(joint.at_slope(seen, TAUS, gamma)[:, 0].tolist()),
            photons=int(counts.sum()),
            photons_known=photons_known,
            gate=gate,
            caveats=caveats,
        )

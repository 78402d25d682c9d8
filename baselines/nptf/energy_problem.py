"""A non-Poissonian template fit of the sum of energy bins, of bands, or of vectors of counts, by one name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.nptf.floating_spectra import FloatingSpectra
from gcesbi.baselines.nptf.joint import JointLikelihood
from gcesbi.baselines.nptf.joint_refinement import JointRefinement
from gcesbi.baselines.nptf.parameters import NptfParameters
from gcesbi.baselines.nptf.problem import NptfProblem
from gcesbi.baselines.samplers.target import Target
from gcesbi.errors import InputError

__all__ = ["EnergyProblem"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EnergyProblem(NptfProblem):
    """The fit of the sum and of bands; in a joint fit, of vectors of counts with floating spectra.

    Raises
    ------
    InputError
        As :class:`.NptfProblem`; and if energies are none of the three, or a joint fit has exposure groups or templates
        that float.
    """

    def __post_init__(self) -> None:
        if self.energies not in ("sum", "bands", "joint"):
            raise InputError(f"energies: must be 'sum', 'bands' or 'joint', got {self.energies!r}")
        if self.energies == "joint" and self.n_exposure != 1:
            raise InputError(f"n_exposure: must be 1 where energies are 'joint', got {self.n_exposure}")
        if self.energies == "joint" and self.model.parameters.shapes:
            shapes = ", ".join(self.model.parameters.shapes)
            raise InputError(f"energies: 'joint' holds templates; state values of {shapes} by SkyModel.at")
        if self.energies == "joint" and self.model.modulated:
            raise InputError("energies: 'joint' holds smooth templates; log-fields are for 'sum' and 'bands'")
        for i in self.model.modulated:
            if (template := self.model.diffuse[i]).basis.names:
                raise InputError(f"model: {template.name} floats and has log-fields; state its values by SkyModel.at")
        super().__post_init__()

    @cached_property
    def _stated(self) -> NptfParameters:
        """Parameters of the fit to the sum."""
        return self.priors.parameters(self.sky, tuple(self.smooth or ()))

    @cached_property
    def _spectra(self) -> FloatingSpectra:
        fitted = (*self._stated.smooth_templates, *self.sky.point_sources)
        return FloatingSpectra.of(self.model, fitted, len(self._stated.names))

    @cached_property
    def parameters(self) -> NptfParameters:
        """What the parameters stand for; spectra, in a joint fit, come last."""
        return self._stated if self.energies != "joint" else self._stated.beside(self._spectra.parameters)

    @cached_property
    def joint(self) -> JointLikelihood | None:
        """The likelihood of vectors of counts, in a joint fit."""
        if self.energies != "joint":
            return None
        return JointLikelihood(self.sky, self.parameters, self._spectra, self.coarse_above, self.workers)

    def log_likelihood(self, theta: ArrayLike) -> FloatArray:
        """Log-likelihoods (...) of parameter vectors (..., n_dim) within the prior, on all cores."""
        if self.joint is None:
            return super().log_likelihood(theta)
        values = np.asarray(theta, dtype=np.float64)
        if values.shape[-1] != len(self.names) or values.ndim > 2:
            raise InputError(f"theta: must have shape (n, {len(self.names)}), got {values.shape}")
        return self.joint.evaluate_many(np.atleast_2d(values)).reshape(values.shape[:-1])

    def log_likelihood_gradient(self, theta: ArrayLike) -> tuple[float, FloatArray]:
        """Log-likelihood and its gradient (n_dim,) at one parameter vector (n_dim,), in closed form."""
        if self.joint is None:
            return super().log_likelihood_gradient(theta)
        return self.joint.log_likelihood_gradient(np.asarray(theta, dtype=np.float64))

    @property
    def target(self) -> Target:
        """The likelihood over the unit cube, for any sampler; that of a joint fit refines the sum's."""
        target = super().target
        if self.joint is None or not self.joint.spectra.parameters:
            return target
        refinement = JointRefinement(self.joint, replace(self, energies="sum"))
        return replace(target, moves=target.moves.beside(list(refinement.blocks)), refinement=refinement)

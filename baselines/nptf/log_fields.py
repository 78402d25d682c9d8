r"""Log-fields of smooth templates in a non-Poissonian fit: their coefficients are sampled with all else.

A template with a log-field shines as T' = T exp(g) / Z, g = B z, z ~ N(0, 1), as in
:mod:`gcesbi.baselines.poisson.adaptive`. The derivative of the likelihood by z is that by every pixel's mean of the
smooth emission, which the recursion gives, drawn through T'. So z joins the parameters θ, and NUTS marginalises it.

Hundreds of coefficients mix well where their posterior is round. The adaptive Poisson fit (ẑ, norms Â, curvature
H = L Lᵀ by z, mixed curvature M) tells how: what is sampled is y with

.. math:: z = \hat z - H^{-1} M^T (A(\theta) - \hat A) + L^{-T} y,

whose target is ln L(θ, z) - ½ z² + ½ y² over the unit cube of θ and Φ(y). No approximation is made by that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import ndtri

from gcesbi.baselines.nptf.problem import NptfProblem
from gcesbi.baselines.poisson.modulated import LogFields
from gcesbi.baselines.samplers.target import Sampled, Target

__all__ = ["FieldTarget"]

FloatArray = NDArray[np.float64]

_EDGE = 1e-9  # closest that the cube of y comes to its walls


@dataclass(frozen=True, eq=False)
class FieldTarget:
    """Joint posterior of an NPTF's parameters and the coefficients of log-fields.

    Parameters
    ----------
    nptf : NptfProblem
        Of the sum of energy bins, or of bands; modulated templates do not float.
    """

    nptf: NptfProblem

    @property
    def _fields(self) -> LogFields:
        return self.nptf.sky.fit.log_fields

    @property
    def n_theta(self) -> int:
        """Number of the NPTF's own parameters."""
        return len(self.nptf.names)

    @cached_property
    def target(self) -> Target:
        """What NUTS samples."""
        from gcesbi.baselines.samplers.block_move import BlockMove

        n = self.n_theta + self._fields.problem.n_latent
        names = (*self.nptf.names, *(f"y{i}" for i in range(n - self.n_theta)))
        moves = BlockMove([np.arange(n)], np.array([[0.0, 1.0]]).repeat(n, axis=0))
        return Target(names, lambda u: np.array([self.gradient(each)[0] for each in u]), moves, self.gradient)

    def own(self, sampled: Sampled) -> Sampled:
        """The draws of the NPTF's own parameters."""
        return replace(sampled, u=sampled.u[:, : self.n_theta])

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Template of each smooth norm, and of each population."""
        names, parameters = self.nptf.model.names, self.nptf.parameters
        smooth = [names.index(name) for name in parameters.smooth_templates]
        sources = [names.index(population.template) for population in parameters.populations]
        return np.array(smooth, dtype=np.int64), np.array(sources, dtype=np.int64)

    def latent(self, theta: FloatArray, y: FloatArray) -> FloatArray:
        """The coefficients z (n_latent,) of parameters (n_dim,) and y (n_latent,)."""
        fields, parameters, (smooth, sources) = self._fields, self.nptf.parameters, self._places
        norms = np.zeros(len(self.nptf.model.names))
        np.add.at(norms, smooth, parameters.smooth_norms(theta[None])[0])
        np.add.at(norms, sources, parameters.source_norms(theta[None])[0])
        moved = (norms[:, None] * self.nptf.sky.spectrum).T.ravel() - fields.optimum.norms
        spread = solve_triangular(fields.optimum.factor, y, lower=True, trans=1, check_finite=False)
        return fields.optimum.latent - fields.optimum.response @ moved + spread

    def gradient(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Logarithm of the target, but for a constant, and its derivatives at a point (n,) of the cube."""
        nptf, n = self.nptf, self.n_theta
        theta, y = nptf.from_cube(u[:n]), ndtri(np.clip(u[n:], _EDGE, 1 - _EDGE))
        z = self.latent(theta, y)
        value, by_theta, by_z = self.log_likelihood_gradient(theta, z)
        by_z = by_z - z
        by_norms = -(by_z @ self._fields.optimum.response).reshape(-1, len(nptf.model.names))
        by_template = np.einsum("et,te->t", by_norms, nptf.sky.spectrum)
        smooth, sources = self._places
        still = [np.zeros(len(population.shape)) for population in nptf.parameters.populations]
        by_theta = by_theta + nptf.parameters.pull_back(theta, by_template[smooth], by_template[sources], still)
        by_y = solve_triangular(self._fields.optimum.factor, by_z, lower=True, check_finite=False) + y
        density = np.exp(-0.5 * y**2) / np.sqrt(2 * np.pi)
        total = value - 0.5 * float(z @ z) + 0.5 * float(y @ y)
        return total, np.concatenate([nptf.to_cube_slope(theta, by_theta), by_y / density])

    def log_likelihood_gradient(self, theta: FloatArray, z: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """Log-likelihood of parameters (n_dim,) and coefficients z (n_latent,), with its derivatives by both."""
        nptf, fields = self.nptf, self._fields
        names, spectrum = nptf.model.names, nptf.sky.spectrum
        templates = fields.problem.modulated(z)
        maps = {}
        for modes in fields.problem.modes:
            for row in modes.rows:
                binned = spectrum[row][:, None] * templates[row]
                maps[names[row]] = (binned.ravel() if nptf.sky.bands else binned.sum(axis=0))[None]
        value, by_theta, by_mean = nptf.gradient_by_mean(theta, maps)
        by_cell = np.broadcast_to(by_mean.reshape(-1, templates.shape[-1]), templates.shape[1:])
        norms = np.zeros(len(names))
        np.add.at(norms, self._places[0], nptf.parameters.smooth_norms(theta[None])[0])
        return value, by_theta, fields.problem.pull_back(z, norms[None] * spectrum.T, by_cell)

"""Posterior of an NPTF: named quantities from parameters, and what their sampler says of itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.problem import NptfProblem
from gcesbi.baselines.samplers.target import Sampled
from gcesbi.posterior import SamplePosterior

__all__ = ["NptfPosterior", "log_bayes_factor", "nptf_quantities"]

FloatArray = NDArray[np.float64]
Quantities = Callable[[FloatArray], dict[str, FloatArray]]


def nptf_quantities(nptf: NptfProblem, theta: FloatArray) -> dict[str, FloatArray]:
    """Named quantities (n, ...) of parameter vectors (n, n_dim)."""
    model, sky, parameters = nptf.model, nptf.sky, nptf.parameters
    smooth, sources = (np.zeros((len(theta), len(model.names))) for _ in range(2))
    norms, source_norms = parameters.smooth_norms(theta), parameters.source_norms(theta)
    for i, name in enumerate(parameters.smooth_templates):
        smooth[:, model.names.index(name)] += norms[:, i]
    for p, population in enumerate(parameters.populations):
        sources[:, model.names.index(population.template)] += source_norms[:, p]
    per_norm = np.ones((len(theta), len(model.names)))
    for name in parameters.bases:
        per_norm[:, model.names.index(name)] = parameters.flux_per_norm(theta, name)
    smooth, sources = smooth * per_norm, sources * per_norm
    flux = smooth + sources
    total = flux.sum(axis=1, keepdims=True)
    ps = sky.rows(tuple(model.point_sources))
    pdf = _histograms(nptf, theta, source_norms)
    centres = 10.0 ** np.asarray(model.coordinates.flux_bin)
    result = {
        "flux_fraction": flux / total,
        "flux": flux,
        "scd_cdf": np.cumsum(pdf, axis=-1),
        "n_sources": sources[:, ps] * np.sum(pdf / centres, axis=-1),
        "poisson_flux_fraction": smooth[:, ps] / total,
        "point_source_flux_fraction": sources[:, ps] / total,
    }
    return result | {name: theta[:, i] for i, name in enumerate(nptf.names)}


def _histograms(nptf: NptfProblem, theta: FloatArray, norms: FloatArray) -> FloatArray:
    """Expected SCD histograms (n, n_point_source, n_bin); in the dimmest bin where there are no point sources."""
    names, edges = nptf.model.point_sources, np.asarray(nptf.model.scd_edges)
    pdf = np.zeros((len(theta), len(names), len(edges) - 1))
    for p, population in enumerate(nptf.parameters.populations):
        shapes = nptf.parameters.shapes(theta, p)
        histogram = nptf.family_of(p).histogram(shapes, edges)
        pdf[:, names.index(population.template)] += norms[:, p, None] * histogram
    pdf[..., 0] += np.where(pdf.sum(axis=-1) > 0, 0.0, 1.0)
    return np.asarray(pdf / pdf.sum(axis=-1, keepdims=True))


def log_bayes_factor(one: NptfPosterior, other: NptfPosterior) -> tuple[float, float]:
    """Ln of the Bayes factor for one fit of a map against another, and its standard error; NaN without evidences."""
    error = math.hypot(one.log_evidence_error, other.log_evidence_error)
    return one.log_evidence - other.log_evidence, error


class NptfPosterior(SamplePosterior):
    """Posterior of an NPTF, with what its sampler says of itself.

    Besides the quantities of every posterior it holds the fit's own parameters by name, and ``poisson_flux_fraction``
    and ``point_source_flux_fraction`` (n_sample, n_point_source_template): the smooth and the point-source share of
    the point-source templates in the region's flux; their sum is in ``flux_fraction``.

    Parameters
    ----------
    nptf : NptfProblem
    sampled : Sampled
        Draws in the unit cube.
    n_sample : int
        Draws that are kept, at equal steps of every chain.
    quantities : callable
        Named quantities of parameter vectors (n, n_dim).
    """

    def __init__(self, nptf: NptfProblem, sampled: Sampled, n_sample: int, quantities: Quantities) -> None:
        chains = sampled.thinned(n_sample)
        rows = chains.ravel()
        theta = nptf.from_cube(sampled.u[rows])
        super().__init__("NPTF", nptf.model.coordinates, quantities(theta), len(chains))
        self.theta = theta
        self.log_likelihood = sampled.log_likelihood[rows]
        self.best_theta = nptf.from_cube(sampled.best)
        self.best_log_likelihood = float(sampled.log_likelihood.max())
        self.log_evidence = sampled.log_evidence
        self.log_evidence_error = sampled.log_evidence_error
        self.n_evaluation = sampled.n_evaluation
        self.convergence = sampled.convergence

    @property
    def attributes(self) -> dict[str, str | float]:
        """Method, convergence with the worst R-hat and effective sample size of any parameter, evidence if known."""
        told: dict[str, str | float] = super().attributes | {
            "converged": float(self.converged),
            "problems": "; ".join(self.convergence.problems),
            "n_evaluation": float(self.n_evaluation),
            "log_evidence": self.log_evidence,
        }
        worst = {"r_hat": np.max, "ess": np.min}
        return told | {
            name: float(of(getattr(self.convergence, name)))
            for name, of in worst.items()
            if hasattr(self.convergence, name)
        }

    @property
    def converged(self) -> bool:
        """Whether nothing speaks against convergence; ``convergence.problems`` lists what does."""
        return self.convergence.converged

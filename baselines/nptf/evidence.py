r"""Bayes factor for point sources: ln Z of the NPTF with them, less ln Z without.

Without the point sources of a template its smooth emission, and all else, keeps its parameters and priors. The factor
depends on those priors, above all on that of the brightness: it says how much better this model with this prior
predicted the map, no more. Without any point sources the likelihood is Poisson.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from gcesbi.baselines.samplers.nested import NestedSampling
from gcesbi.baselines.samplers.sampling import BlockMove
from gcesbi.baselines.samplers.target import Limits, Sampled, Sampler, Target
from gcesbi.errors import InputError
from gcesbi.simulation.prior import Prior

if TYPE_CHECKING:
    from gcesbi.baselines.nptf.fit import NPTF

__all__ = ["BayesFactor", "bayes_factor", "smooth_target"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BayesFactor:
    """Two evidences.

    Attributes
    ----------
    log_factor, error : float
        ln Z with the point sources less ln Z without, and its standard error.
    with_sources, without_sources : Sampled
        Both runs, in the unit cubes of their own parameters.
    """

    log_factor: float
    error: float
    with_sources: Sampled
    without_sources: Sampled

    @property
    def converged(self) -> bool:
        """Whether both runs converged."""
        return self.with_sources.convergence.converged and self.without_sources.convergence.converged


def bayes_factor(
    nptf: NPTF,
    without: Sequence[str] | None = None,
    sampler: Sampler | None = None,
    seed: int = 0,
    limits: Limits | None = None,
) -> BayesFactor:
    """Bayes factor for the point sources of templates.

    Parameters
    ----------
    nptf : NPTF
        With the sources.
    without : sequence of str, optional
        Templates whose sources are left out for the comparison; all by default.
    sampler : Sampler, optional
        One that gives evidences; :class:`~gcesbi.baselines.samplers.nested.NestedSampling` by default.
    seed : int
    limits : Limits, optional
        Of each of the two runs; without a checkpoint.

    Warns
    -----
    SamplingWarning
        If a run did not converge.
    """
    left_out = tuple(nptf.sky.point_sources if without is None else without)
    unknown = set(left_out) - set(nptf.sky.point_sources)
    if unknown or not left_out:
        raise InputError(f"without: must be among {', '.join(nptf.sky.point_sources)}, got {', '.join(left_out)!r}")
    limits = limits or Limits()
    if limits.checkpoint is not None:
        raise InputError("checkpoint: one file cannot hold two runs; sample each target by itself")
    remaining = tuple(name for name in nptf.sky.point_sources if name not in left_out)
    smaller = replace(nptf, point_sources=remaining).target if remaining else smooth_target(nptf)
    method = sampler or NestedSampling()
    runs = [
        method.sample(target, seed, Limits(limits.seconds, None, limits.progress)).tell()
        for target in (nptf.target, smaller)
    ]
    error = math.hypot(runs[0].log_evidence_error, runs[1].log_evidence_error)
    return BayesFactor(runs[0].log_evidence - runs[1].log_evidence, error, runs[0], runs[1])


def smooth_target(nptf: NPTF) -> Target:
    """The smooth templates of an NPTF alone, with their priors, under the Poisson likelihood of the same counts."""
    parameters = nptf.parameters
    columns = [column for _, column in parameters.smooth]
    if not columns:
        raise InputError("smooth: without point sources nothing shines; give smooth templates")
    prior = Prior([parameters.names[c] for c in columns], [parameters.prior.marginals[c] for c in columns])
    maps = nptf.sky.maps[nptf.sky.rows(tuple(name for name, _ in parameters.smooth))]
    counts = nptf.sky.counts
    seen = counts > 0
    factorials = float(gammaln(counts + 1.0).sum())

    def log_likelihood(u: FloatArray) -> FloatArray:
        mean = prior.from_uniform(np.clip(u, 1e-12, 1 - 1e-12)) @ maps
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(mean[:, seen]) @ counts[seen] - mean.sum(axis=1) - factorials)

    everything = np.arange(len(columns))
    moves = BlockMove([everything, *np.split(everything, len(columns))], np.array([[0.0, 1.0]]).repeat(len(columns), 0))
    return Target(prior.names, log_likelihood, moves)

r"""Non-Poissonian template fit of a sky model: likelihood of its parameters, and their posterior.

Every template may shine smoothly (Poisson), and point-source templates through sources as well, whose source-count
distribution is of a family that the prior chooses (:mod:`gcesbi.baselines.nptf.priors`). Norms, smooth or of point
sources, are mean expected counts per pixel over the normalisation disc, as everywhere in the library.

Parameters, with :class:`~gcesbi.baselines.nptf.priors.NptfPriors`: ``<name>_norm`` of every smooth template; then for
every point-source template ``<name>_ps_norm``, ``<name>_n1 ..`` and ``<name>_S1 ..``. With
:class:`~gcesbi.baselines.nptf.priors.ModelPriors` they are those of the model's own prior, without spectra.

What several energy bins mean is told in :mod:`gcesbi.baselines.nptf.sky`. Spectra are inferred by a joint fit alone:
``spectrum_fraction`` and ``spectrum`` are among its posterior's quantities, not among those of others.

The posterior of the excess as point sources and as smooth emission is strongly anti-correlated: a population below
one photon per source is indistinguishable from smooth emission, by definition. Their sum (``flux_fraction``) is what is
measured best.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.energy_problem import EnergyProblem
from gcesbi.baselines.nptf.log_fields import FieldTarget
from gcesbi.baselines.nptf.sampled_posterior import NptfPosterior, nptf_quantities
from gcesbi.baselines.samplers.maximum import Maximum, maximise
from gcesbi.baselines.samplers.nested import NestedSampling
from gcesbi.baselines.samplers.nuts import Nuts
from gcesbi.baselines.samplers.target import Limits, Sampled, Sampler
from gcesbi.errors import InputError, checked_seed, whole_number

__all__ = ["NPTF"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NPTF(EnergyProblem):
    """Non-Poissonian template fit of `model` to `observation`; arguments are those of :class:`.NptfProblem`."""

    def maximise(self, n_start: int = 8, seed: int = 0) -> Maximum:
        """Maximum of the likelihood within the prior's box, by its gradient from several starts.

        ``from_cube(maximum.u)`` are its parameters. Log-fields are held where the adaptive Poisson fit finds them.
        """
        return maximise(self.target, n_start, seed)

    def run(
        self,
        sampler: Sampler | None = None,
        seed: int = 0,
        n_sample: int = 4000,
        max_seconds: float = math.inf,
        checkpoint: str | Path | None = None,
        progress: bool = True,
    ) -> NptfPosterior:
        """Sample the posterior.

        Parameters
        ----------
        sampler : NestedSampling, Ensemble or Nuts
            :class:`~gcesbi.baselines.samplers.nested.NestedSampling` by default; of a model with log-fields only
            :class:`~gcesbi.baselines.samplers.nuts.Nuts`, which samples their coefficients along.
        seed : int
            Same seed, same samples, whatever the number of workers (unless time runs out).
        n_sample : int
            Samples that are kept in the posterior, at most.
        max_seconds : float
            When these are over the sampler stops and keeps what it has.
        checkpoint : path, optional
            File from which a run that was killed goes on.
        progress : bool
            Whether to show a progress bar.

        Warns
        -----
        SamplingWarning
            If the sampler did not converge; the posterior's ``convergence.problems`` say why.
        """
        if not max_seconds > 0:
            raise InputError(f"max_seconds: must be above 0, got {max_seconds}")
        n_sample = whole_number(n_sample, "n_sample", 1)
        limits = Limits(max_seconds, None if checkpoint is None else Path(checkpoint), progress)
        if self.model.modulated:
            found = self._with_fields(sampler, checked_seed(seed), limits)
        else:
            found = (sampler or NestedSampling()).sample(self.target, checked_seed(seed), limits)
        return NptfPosterior(self, found.tell(), n_sample, self.quantities)

    def _with_fields(self, sampler: Sampler | None, seed: int, limits: Limits) -> Sampled:
        """Draws of the parameters, log-fields sampled along."""
        if sampler is not None and not isinstance(sampler, Nuts):
            raise InputError(f"sampler: log-fields have too many coefficients but for Nuts, got {sampler!r}")
        joint = FieldTarget(self)
        return joint.own((sampler or Nuts()).sample(joint.target, seed, limits))

    # -- what is concluded ---------------------------------------------------------------------------------------

    def quantities(self, theta: FloatArray) -> dict[str, FloatArray]:
        """Named quantities (n, ...) of parameter vectors (n, n_dim)."""
        return nptf_quantities(self, theta) if self.joint is None else self.joint.quantities(theta)

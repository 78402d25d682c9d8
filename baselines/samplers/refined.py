"""Draws of a coarser posterior that are refined by annealing, and weighed by the dear likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from gcesbi.baselines.samplers.annealing import Annealing, Law, Particles
from gcesbi.baselines.samplers.laplace import climb
from gcesbi.baselines.samplers.quadratic import Correction, Quadratic
from gcesbi.baselines.samplers.target import Target
from gcesbi.baselines.samplers.weighed import TRUSTED, Weighed

__all__ = ["Refined"]

FloatArray = NDArray[np.float64]

_ROUNDS = 4  # in which particles are asked; then they move on
_TRIALS = 4  # populations from the prior of spectra: one may lose modes that another finds


@dataclass(frozen=True, eq=False, kw_only=True)
class Refined(Weighed):
    """Draws of the refined law.

    Attributes
    ----------
    known : array (n_known, n_dim)
    known_value : array (n_known,)
        Values of the target that taught the law, draws of earlier laws among them.
    particles : array (n_particle, n_dim)
        z of draws of that law; a part of them is weighed in each round.
    particle_value : array (n_particle,)
        Log-density of the law there, but for its norm.
    at, slope : array (n_feature,)
    curvature : array (n_feature, n_feature)
    top : float
        Of the quadratic, the last its value.
    centre, added_slope : array (n_dim,)
    added_curvature, precision : array (n_dim, n_dim)
    added : float
        Of its correction, the last its value at the centre.
    steps : array (1 + n_block,)
        Lengths of moves.
    log_norm, norm_variance : float
        Of the law, and its variance: one over the number of particles that all descend from, as good as independent.
    shared : float
        Of the variance of a mean of particles over theirs, what is due to their descent.
    coarse_k : float
        k̂ of the coarser posterior's draws.
    """

    known: FloatArray
    known_value: FloatArray
    particles: FloatArray
    particle_value: FloatArray
    at: FloatArray
    slope: FloatArray
    curvature: FloatArray
    top: float
    centre: FloatArray
    added_slope: FloatArray
    added_curvature: FloatArray
    precision: FloatArray
    added: float
    steps: FloatArray
    log_norm: float
    norm_variance: float
    shared: float
    coarse_k: float

    @classmethod
    def begin(cls, target: Target, given: Weighed, batch: int, seed: int) -> Refined:
        """No draws yet, but particles: draws of the coarser posterior, annealed about the top that one climb finds."""
        refinement = target.refinement
        assert refinement is not None
        start = np.concatenate([given.highest, np.zeros(target.n_dim - refinement.coarser.n_dim)])
        top = climb(target, start)
        expansion = refinement.expansion(top.z)
        drawn, trials = given.z[given.rows(seed)], []
        for i in range(_TRIALS):
            annealing = Annealing(refinement, np.random.default_rng([seed, 3, i]))
            trials.append(annealing.towards(annealing.begin(drawn, batch), Law(expansion))[0])
        wide = Particles.joined(trials)
        known, value = wide.z, target.finite(ndtr(wide.z))
        law = annealing.corrected(Law(expansion), known, value)
        near, log_norm = annealing.towards(annealing.begin_like(drawn, _ROUNDS * batch, wide), law)
        known, value = np.concatenate([known, near.z]), np.append(value, target.finite(ndtr(near.z)))
        law = annealing.corrected(law, known, value)
        annealed, more = annealing.towards(near, law)
        particles = annealing.on(annealed)
        none = np.empty(0)
        return cls(
            z=np.empty((0, target.n_dim)),
            value=none,
            log_proposed=none,
            n_round=0,
            spent=top.n_evaluation + 1 + 2 * len(expansion.at) + (_TRIALS + _ROUNDS) * batch,
            known=known,
            known_value=value,
            particles=particles.z,
            particle_value=particles.log_density(1.0),
            at=expansion.at,
            slope=expansion.slope,
            curvature=expansion.curvature,
            top=expansion.value,
            **_parts(law),
            steps=annealing.steps,
            log_norm=given.log_evidence + log_norm + more,
            norm_variance=given.log_evidence_error**2 + 1 / annealed.n_origin,
            shared=_kept(annealed.z, particles.z) / annealed.n_origin,
            coarse_k=given.pareto_k,
        )

    def on(self, target: Target, batch: int, seed: int) -> Refined:
        """Weigh the next part of the particles, which are moved on when all have been."""
        moved = self if self.n_round == 0 or self.n_round % _ROUNDS else self._moved(target, seed)
        part = slice(self.n_round % _ROUNDS, None, _ROUNDS)
        new = moved.particles[part]
        return replace(
            moved,
            z=np.concatenate([moved.z, new]),
            value=np.concatenate([moved.value, target.finite(ndtr(new))]),
            log_proposed=np.concatenate([moved.log_proposed, moved.particle_value[part] - moved.log_norm]),
            n_round=self.n_round + 1,
            spent=self.spent + len(new),
        )

    def _moved(self, target: Target, seed: int) -> Refined:
        """Particles moved on, and where weights have a heavy tail to a law that they correct, without draws yet."""
        assert target.refinement is not None
        annealing = Annealing(target.refinement, np.random.default_rng([seed, 4, self.n_round]))
        annealing.law, annealing.steps = self._law, self.steps.copy()
        now = annealing.at(self.particles)
        if super().pareto_k <= TRUSTED:
            return self._with(annealing, now, self.shared)
        known, value = np.concatenate([self.known, self.z]), np.append(self.known_value, self.value)
        law = annealing.corrected(self._law, known, value)
        annealed, more = annealing.towards(now, law)
        none = np.empty(0)
        taught = replace(
            self,
            z=np.empty((0, target.n_dim)),
            value=none,
            log_proposed=none,
            known=known,
            known_value=value,
            log_norm=self.log_norm + more,
            norm_variance=self.norm_variance + 1 / annealed.n_origin,
            **_parts(law),
        )
        return taught._with(annealing, annealed, self.shared + 1 / annealed.n_origin)

    def _with(self, annealing: Annealing, now: Particles, shared: float) -> Refined:
        """With particles moved on."""
        particles = annealing.on(now)
        return replace(
            self,
            shared=shared * _kept(now.z, particles.z),
            particles=particles.z,
            particle_value=particles.log_density(1.0),
            steps=annealing.steps,
        )

    @property
    def _law(self) -> Law:
        inside = Quadratic(self.centre, self.added, self.added_slope, self.added_curvature)
        return Law(Quadratic(self.at, self.top, self.slope, self.curvature), Correction(inside, self.precision))

    @property
    def pareto_k(self) -> float:
        """The larger k̂, of the weights and of the coarser posterior's draws."""
        return max(super().pareto_k, self.coarse_k)

    @property
    def log_evidence_error(self) -> float:
        """Standard error of ln Z, that of the law's norm included."""
        return math.sqrt(1 / super().ess + self.norm_variance)

    @property
    def ess(self) -> float:
        """Effective draws, what they share by their descent included."""
        return 1 / (1 / super().ess + self.shared)


def _parts(law: Law) -> dict[str, Any]:
    """A correction as it is kept."""
    assert law.correction is not None
    inside = law.correction.inside
    return {
        "centre": inside.at,
        "added_slope": inside.slope,
        "added_curvature": inside.curvature,
        "precision": law.correction.precision,
        "added": inside.value,
    }


def _kept(before: FloatArray, after: FloatArray) -> float:
    """Share of the variance that particles (n, n_dim) keep of where they were, mean of all coordinates."""
    z, moved = before - before.mean(axis=0), after - after.mean(axis=0)
    correlation = np.sum(z * moved, axis=0) / np.sqrt(np.sum(z**2, axis=0) * np.sum(moved**2, axis=0))
    return float(np.mean(correlation**2))

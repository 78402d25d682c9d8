"""Draws of a coarser posterior that are refined by annealing, and walk on to the posterior of the dear likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from gcesbi.baselines.samplers.annealing import Annealing, Law, Particles, effective, reach, switched_on
from gcesbi.baselines.samplers.correction import Correction
from gcesbi.baselines.samplers.laplace import climb
from gcesbi.baselines.samplers.quadratic import Quadratic
from gcesbi.baselines.samplers.target import Sampled, Target
from gcesbi.baselines.samplers.weighed import ImportanceConvergence, Weighed

__all__ = ["Refined"]

FloatArray = NDArray[np.float64]

_BATCHES = 4  # of draws that teach the law, and that follow it and walk on
_LESSONS = 3  # of the law, by values at its draws, at most
_TRIALS = 4  # populations from the prior of spectra: one may lose modes that another finds
_EDGE = 1e-15  # of the cube
_LEAST = 1e-300  # variance of a coordinate


@dataclass(frozen=True, eq=False, kw_only=True)
class Refined(Weighed):
    """Draws of the refined law that walk on to the posterior.

    What is left between law and posterior is switched on step by step as well, each as long as leaves 60 % effective
    draws. In each round all walk: the dear likelihood is asked where walks that keep the law have led, and decides
    (surrogate transitions, Liu 2001; delayed acceptance, Christen & Fox 2005). When all is switched on all values that
    are known correct the law that walks keep; of the rounds since, the later half counts.

    Attributes
    ----------
    drawn : array (n_drawn, n_dim)
        z of draws of the law, in whose shape walks are proposed; then of the posterior.
    known : array (n_known, n_dim)
    known_value : array (n_known,)
        Log-likelihoods that are to correct the law when all is switched on.
    at, slope : array (n_feature,)
    curvature : array (n_feature, n_feature)
    top : float
        Of the law's quadratic, the last its value.
    first, second, last, floor, ceiling : array and float
        Of its correction.
    steps : array (n_block,)
        Lengths of moves.
    now : array (n_walk, n_dim)
        Where the walks have led.
    now_value : array (n_walk,)
        Log-likelihoods there.
    began : array (n_walk, n_dim)
        Where they were after the first round with all switched on, or are if not all is.
    n_settled : int
        Rounds since, that one included.
    origin : array (n_walk,)
        Draw of the law that each descends from.
    reached : float
        How much of what is left is switched on.
    log_norm, norm_variance : float
        Of what has been reached, and its variance: one over the number of particles that all descend from, as good as
        independent.
    shared : float
        Of the variance of a mean of draws of the law over theirs, what is due to their descent.
    coarser : str
        What speaks against the coarser posterior's draws; empty if nothing does.
    """

    drawn: FloatArray
    known: FloatArray
    known_value: FloatArray
    at: FloatArray
    slope: FloatArray
    curvature: FloatArray
    top: float
    first: FloatArray
    second: FloatArray
    last: FloatArray
    floor: float
    ceiling: float
    steps: FloatArray
    now: FloatArray
    now_value: FloatArray
    began: FloatArray
    n_settled: int
    origin: NDArray[np.int64]
    reached: float
    log_norm: float
    norm_variance: float
    shared: float
    coarser: str

    @classmethod
    def begin(cls, target: Target, given: Sampled, batch: int, seed: int) -> Refined:
        """No draws yet, but where walks begin: draws of the coarser posterior, annealed about one climb's top."""
        refinement = target.refinement
        assert refinement is not None
        rows, highest = (ndtri(np.clip(u, _EDGE, 1 - _EDGE)) for u in (given.u, given.best))
        start = np.concatenate([highest, np.zeros(target.n_dim - refinement.coarser.n_dim)])
        top = climb(target, start)
        expansion = refinement.expansion(top.z)
        trials = []
        for i in range(_TRIALS):
            annealing = Annealing(refinement, np.random.default_rng([seed, 3, i]))
            trials.append(annealing.towards(annealing.begin(rows, batch), Law(expansion))[0])
        known = Particles.joined(trials)
        value = target.finite(ndtr(known.z))
        law = annealing.corrected(Law(expansion), known, value)
        annealed, log_norm = annealing.towards(annealing.begin_like(rows, _BATCHES * batch, known), law)
        for lesson in range(_LESSONS):
            drawn = annealing.on(annealed)
            begun = target.finite(ndtr(drawn.z))
            known, value = Particles.joined([known, drawn]), np.append(value, begun)
            if lesson + 1 == _LESSONS or reach(0.0, begun - drawn.coarse - drawn.added) == 1:
                break
            law = annealing.corrected(law, known, value)
            annealed, more = annealing.towards(drawn, law)
            log_norm += more
        return cls(
            z=np.empty((0, target.n_dim)),
            value=np.empty(0),
            log_proposed=np.empty(0),
            n_round=0,
            spent=top.n_evaluation + 1 + 2 * len(expansion.at) + len(value),
            drawn=drawn.z,
            known=known.z,
            known_value=value,
            at=expansion.at,
            slope=expansion.slope,
            curvature=expansion.curvature,
            top=expansion.value,
            **_parts(law),
            steps=annealing.steps,
            now=drawn.z,
            now_value=begun,
            began=drawn.z,
            n_settled=0,
            origin=np.arange(len(drawn.z)),
            reached=0.0,
            log_norm=given.log_evidence + log_norm,
            norm_variance=given.log_evidence_error**2 + 1 / effective(annealed.origin),
            shared=float(np.max(_correlation(annealed.z, drawn.z) ** 2)) / effective(annealed.origin),
            coarser="; ".join(given.convergence.problems),
        )

    def on(self, target: Target, batch: int, seed: int) -> Refined:
        """Switch more on where not all is, and walk."""
        assert target.refinement is not None
        rng = np.random.default_rng([seed, 4, self.n_round])
        annealing = Annealing(target.refinement, rng)
        annealing.law, annealing.steps = self._law, self.steps
        settled, now = self.reached == 1, replace(annealing.at(self.now), origin=self.origin)
        state, now = (self, now) if settled else self._switched(now, rng)
        there = annealing.walked(now, self.drawn)
        asked = target.finite(ndtr(there.z))
        gain, offered = state.now_value - now.coarse - now.added, asked - there.coarse - there.added
        accepted = np.log(rng.random(len(gain))) < state.reached * (offered - gain)
        now = now.moved(accepted, there)
        value, gain = np.where(accepted, asked, state.now_value), np.where(accepted, offered, gain)
        log_proposed = now.log_density(1.0) + state.reached * gain - state.log_norm
        n_settled = state.n_settled + int(state.reached == 1)
        late = slice(-max((n_settled + 1) // 2, 1) * len(value), None)
        walked = replace(
            state,
            z=np.concatenate([state.z, now.z])[late],
            value=np.append(state.value, value)[late],
            log_proposed=np.append(state.log_proposed, log_proposed)[late],
            n_round=self.n_round + 1,
            spent=self.spent + len(value),
            now=now.z,
            now_value=value,
            began=state.began if settled else now.z,
            n_settled=n_settled,
        )
        return walked if settled else walked._told(annealing, there.z, asked)

    def _switched(self, now: Particles, rng: np.random.Generator) -> tuple[Refined, Particles]:
        """More of what is left switched on, without draws yet, and the particles that are left by weight."""
        reached, rows, more = switched_on(self.reached, self.now_value - now.coarse - now.added, rng)
        state = replace(
            self,
            z=self.z[:0],
            value=self.value[:0],
            log_proposed=self.log_proposed[:0],
            now_value=self.now_value[rows],
            origin=self.origin[rows],
            reached=reached,
            log_norm=self.log_norm + more,
        )
        return state, now.take(rows)

    def _told(self, annealing: Annealing, z: FloatArray, value: FloatArray) -> Refined:
        """More values known, and where all is switched on the law that they all correct."""
        known, known_value = np.concatenate([self.known, z]), np.append(self.known_value, value)
        if self.reached < 1:
            return replace(self, known=known, known_value=known_value)
        points = annealing.at(np.concatenate([known, self.now]))
        law = annealing.corrected(self._law, points, np.append(known_value, self.now_value))
        return replace(self, drawn=self.now, known=known[:0], known_value=known_value[:0], **_parts(law))

    @property
    def _law(self) -> Law:
        correction = Correction(self.first, self.second, self.last, self.floor, self.ceiling)
        return Law(Quadratic(self.at, self.top, self.slope, self.curvature), correction)

    def convergence(self, wanted: float) -> ImportanceConvergence:
        """What speaks against the draws; also that walks are too short, and against the coarser posterior's."""
        remembered = float(np.max(_correlation(self._powers(self.began), self._powers(self.now))))
        return replace(super().convergence(wanted), remembered=remembered, coarser=self.coarser)

    @property
    def log_evidence_error(self) -> float:
        """Standard error of ln Z, that of the law's norm included."""
        return math.sqrt(1 / super().ess + self.norm_variance + 1 / effective(self.origin))

    @property
    def ess(self) -> float:
        """Effective draws of the worst coordinate or square of one, what walks keep and share by descent included."""
        powers, began = self._powers(self.z), self._powers(self.began)
        ends = powers.reshape(-1, *began.shape).mean(axis=0)
        variance = np.maximum(powers.var(axis=0), _LEAST)
        kept, alike = ends.var(axis=0) / variance, np.mean((ends - ends.mean(axis=0)) * began, axis=0) / variance
        shared = (self.shared + 1 / effective(self.origin)) * alike**2
        return 1 / (1 / super().ess + float(np.max(kept / len(ends) + shared)) - 1 / len(self.z))

    def _powers(self, z: FloatArray) -> FloatArray:
        """How far points (n, n_dim) lie from the draws' mean, and the squares of that, (n, 2 n_dim)."""
        away = z - self.z.mean(axis=0)
        return np.concatenate([away, away**2], axis=1)


def _correlation(one: FloatArray, other: FloatArray) -> FloatArray:
    """Of every coordinate (n_dim,) of points (n, n_dim) with the same of others."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    norm = np.sqrt(np.sum(one**2, axis=0) * np.sum(other**2, axis=0))
    return np.asarray(np.sum(one * other, axis=0) / np.maximum(norm, _LEAST))


def _parts(law: Law) -> dict[str, Any]:
    """A correction as it is kept."""
    assert law.correction is not None
    return {each.name: getattr(law.correction, each.name) for each in fields(law.correction)}

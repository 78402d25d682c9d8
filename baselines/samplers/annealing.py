r"""The posterior of a coarser likelihood, refined by annealing to nearly that of a dear one.

A dear likelihood L(θ) often has a cheap one of its first parameters, L_c(θ₁), beside it: an NPTF of counts with
energies has that of their sum. What the dear one adds, ln L − ln L_c, may be bent in the parameters but close to a
quadratic Q in some *features* y(θ), numbers that are cheap to compute: of templates with spectra, their counts in each
energy bin. The law

.. math:: S(θ) \propto π(θ)\, L_c(θ_1)\, e^{Q(y(θ))}

is then near the posterior, and costs no dear values. It is drawn from as sequential Monte Carlo does (Del Moral, Doucet
& Jasra 2006): particles begin as draws of the coarser posterior and of the other parameters' prior, Q is switched on
step by step, each as long as leaves 60 % effective draws, particles are drawn anew by weight, and moved by Metropolis'
rule: blocks of the other parameters alone, all by their covariance with the first ones, the first ones alone, and along
the difference of two others (ter Braak 2006). So modes and bent tails come with the coarser posterior and the prior.
Particles of one annealing descend from few of its start; a second start, from draws of the coarser posterior again and
a normal law of the others as wide as several such populations together, spreads them.
Where dear values of some of these draws are known, Q may be corrected by a quadratic in the first parameters, and
particles annealed on to the law that it makes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, ndtr

from gcesbi.baselines.samplers.quadratic import RIDGE, Quadratic, cholesky
from gcesbi.baselines.samplers.target import Refinement

__all__ = ["Annealing", "Particles", "log_prior", "systematic"]

FloatArray = NDArray[np.float64]

_LEFT = 0.6  # of the particles, effective after a step
_SWEEPS = 6  # of moves between steps
_WHOLE = 2  # of them with moves of all parameters, which ask the coarser likelihood
_LAST = 48  # sweeps of all moves at the end
_WANTED = (0.3, 0.25)  # accepted, of moves of blocks and of all parameters
_GAIN = 0.3  # in ln of a step's length, for each unit that acceptance is off
_SPREAD = 0.7  # of ln of a step's length
_STRETCH = 1.5  # of the widths that particles begin anew with


@dataclass(frozen=True, eq=False)
class Conditional:
    """A normal law of the other parameters given the first.

    Attributes
    ----------
    mean : array (n_dim,)
    slope : array (n_first, n_other)
    root : array (n_other, n_other)
        Lower triangular, of the covariance that is left.
    """

    mean: FloatArray
    slope: FloatArray
    root: FloatArray

    @classmethod
    def of(cls, z: FloatArray, n_first: int, stretch: float) -> Conditional:
        """That of points (n, n_dim), its widths stretched."""
        covariance = np.cov(z.T)
        first, across = covariance[:n_first, :n_first] + RIDGE * np.eye(n_first), covariance[:n_first, n_first:]
        slope = np.asarray(np.linalg.solve(first, across))
        return cls(z.mean(axis=0), slope, stretch * cholesky(covariance[n_first:, n_first:] - across.T @ slope))

    def draw(self, first: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Points (n, n_dim) of which the first coordinates (n, n_first) are given."""
        normal = rng.standard_normal((len(first), len(self.root)))
        return np.concatenate([first, self._centre(first) + normal @ self.root.T], axis=1)

    def _centre(self, first: FloatArray) -> FloatArray:
        n = first.shape[1]
        return np.asarray(self.mean[n:] + (first - self.mean[:n]) @ self.slope)

    def log_ratio(self, z: FloatArray) -> FloatArray:
        """Logarithm of its density over the prior's, (n,), at points (n, n_dim)."""
        n = len(self.slope)
        white = solve_triangular(self.root, (z[:, n:] - self._centre(z[:, :n])).T, lower=True)
        return np.asarray(
            0.5 * (np.sum(z[:, n:] ** 2, axis=1) - np.sum(white**2, axis=0)) - np.log(np.diag(self.root)).sum()
        )


@dataclass(frozen=True, eq=False)
class Particles:
    """Points and what is known of them.

    Attributes
    ----------
    z : array (n, n_dim)
    first : array (n, n_value)
    parts : array (n, n_block, n_number)
    coarse : array (n,)
        The coarser log-likelihood.
    before, added : array (n,)
        Q that is left behind, 0 at the start, and the one that is switched on.
    origin : array (n,)
        Particle of the start that each descends from.
    """

    z: FloatArray
    first: FloatArray
    parts: FloatArray
    coarse: FloatArray
    before: FloatArray
    added: FloatArray
    origin: NDArray[np.int64]

    @classmethod
    def joined(cls, populations: Sequence[Particles]) -> Particles:
        """Several populations in one."""
        return cls(*(np.concatenate([getattr(p, each.name) for p in populations]) for each in fields(cls)))

    def take(self, rows: NDArray[np.int64] | slice) -> Particles:
        """Some of them."""
        return Particles(*(getattr(self, each.name)[rows] for each in fields(self)))

    def moved(self, where: NDArray[np.bool_], to: Particles) -> Particles:
        """Others in their place where (n,) is true."""
        pairs = [(getattr(to, each.name), getattr(self, each.name)) for each in fields(self)]
        there = (np.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old) for new, old in pairs)
        return replace(Particles(*there), origin=self.origin)

    @property
    def n_origin(self) -> float:
        """Effective number of particles of the start that these descend from."""
        return float(len(self.z) ** 2 / np.sum(np.bincount(self.origin) ** 2))

    def log_density(self, switched: float) -> FloatArray:
        """Log-density (n,), but for its norm, of the law in which Q is switched on so far."""
        return self.coarse + self.before + switched * (self.added - self.before) + log_prior(self.z)


class Annealing:
    """Draws of the refined law.

    Parameters
    ----------
    refinement : Refinement
    rng : numpy.random.Generator

    Attributes
    ----------
    law : Quadratic or Conditional, optional
        Q that is switched on, or being so; or the law that particles begin with.
    block_steps, steps : array (n_block,), array (3,)
        Lengths of moves of blocks and of all parameters, learnt on the way.
    """

    def __init__(self, refinement: Refinement, rng: np.random.Generator) -> None:
        self._refinement, self._rng = refinement, rng
        self._before: Quadratic | Conditional | None = None
        self.law: Quadratic | Conditional | None = None
        self.block_steps = np.full(len(refinement.blocks), 0.7)
        self.steps = np.full(3, 0.5)
        self._share = 0.0

    @property
    def n_first(self) -> int:
        """Number of the coarser likelihood's parameters."""
        return self._refinement.coarser.n_dim

    def begin(self, given: FloatArray, n: int) -> Particles:
        """Draws of the coarser posterior, some of `given` (n_given, n_first), and of the other parameters' prior."""
        n_other = sum(len(block) for block in self._refinement.blocks)
        chosen = given[self._rng.integers(len(given), size=n)]
        return self.at(np.concatenate([chosen, self._rng.standard_normal((n, n_other))], axis=1))

    def begin_like(self, given: FloatArray, n: int, particles: Particles) -> Particles:
        """Draws of the coarser posterior again, the others as they are in `particles` given the first, but wider."""
        self.law = start = Conditional.of(particles.z, self.n_first, _STRETCH)
        return self.at(start.draw(given[self._rng.integers(len(given), size=n)], self._rng))

    def towards(self, now: Particles, law: Quadratic) -> tuple[Particles, float]:
        """Anneal particles to the law of another Q.

        Returns
        -------
        particles : Particles
        log_norm : float
            Logarithm of the new law's norm over that of the one before.
        """
        self._before, self.law = self.law, law
        before, added = self._both(now.z, now.first, now.parts)
        now, n = replace(now, before=before, added=added), len(now.z)
        reached = log_norm = 0.0
        while reached < 1:
            gain = now.added - now.before
            new = _next(reached, gain)
            log_w = (new - reached) * gain
            log_norm += float(logsumexp(log_w)) - math.log(n)
            w = np.exp(log_w - logsumexp(log_w))
            now, reached = now.take(systematic(w, n, self._rng)), new
            now = self._swept(now, reached, _SWEEPS, _WHOLE)
        return now, log_norm

    def on(self, now: Particles) -> Particles:
        """Particles of the law moved on."""
        return self._swept(now, 1.0, _LAST, _LAST)

    def at(self, z: FloatArray) -> Particles:
        """Points (n, n_dim) and all that is known of them."""
        refinement = self._refinement
        first = refinement.first(z[:, : refinement.coarser.n_dim])
        parts = np.stack([refinement.part(i, z[:, block]) for i, block in enumerate(refinement.blocks)], axis=1)
        return Particles(z, first, parts, self._coarse(z), *self._both(z, first, parts), np.arange(len(z)))

    def features(self, z: FloatArray, first: FloatArray, parts: FloatArray) -> FloatArray:
        """Features, and the first coordinates after them."""
        return np.concatenate([self._refinement.features(first, parts), z[:, : self.n_first]], axis=1)

    def _coarse(self, z: FloatArray) -> FloatArray:
        return self._refinement.coarser.finite(ndtr(z[:, : self.n_first]))

    def _both(self, z: FloatArray, first: FloatArray, parts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Q that is left behind, and the one that is switched on."""
        features = self.features(z, first, parts)
        before, added = (_value(law, z, features) for law in (self._before, self.law))
        return before, added

    # -- moves ----------------------------------------------------------------------------------------------------

    def _swept(self, now: Particles, switched: float, n: int, n_whole: int) -> Particles:
        """Particles after sweeps of moves."""
        for sweep in range(n):
            for i in range(len(self._refinement.blocks)):
                now = self._move_block(now, i, switched)
            if sweep < n_whole:
                for i, move in enumerate((self._all_by_the_first, self._first_alone, self._along_others)):
                    now = self._accepted(now, move(now, self._lengths(self.steps[i], len(now.z))), switched)
                    self.steps[i] *= math.exp(_GAIN * (self._share - _WANTED[1]))
        return now

    def _lengths(self, step: float, n: int) -> FloatArray:
        return np.asarray(step * np.exp(self._rng.normal(0, _SPREAD, (n, 1))))

    def _accepted(self, now: Particles, new: Particles, switched: float) -> Particles:
        gain = new.log_density(switched) - now.log_density(switched)
        accepted = np.log(self._rng.random(len(gain))) < gain
        self._share = float(accepted.mean())
        return now.moved(accepted, new)

    def _move_block(self, now: Particles, i: int, switched: float) -> Particles:
        """Move one block of the other parameters: the coarser likelihood stays."""
        columns, z = self._refinement.blocks[i], now.z.copy()
        root = cholesky(np.cov(z[:, columns].T))
        normal = self._rng.standard_normal((len(z), len(columns)))
        z[:, columns] += self._lengths(self.block_steps[i], len(z)) * (normal @ root.T)
        parts = now.parts.copy()
        parts[:, i] = self._refinement.part(i, z[:, columns])
        before, added = self._both(z, now.first, parts)
        now = self._accepted(now, replace(now, z=z, parts=parts, before=before, added=added), switched)
        self.block_steps[i] *= math.exp(_GAIN * (self._share - _WANTED[0]))
        return now

    def _first_steps(self, now: Particles, lengths: FloatArray) -> FloatArray:
        k = self.n_first
        normal = self._rng.standard_normal((len(now.z), k))
        return np.asarray(lengths * (normal @ cholesky(np.cov(now.z[:, :k].T)).T))

    def _all_by_the_first(self, now: Particles, lengths: FloatArray) -> Particles:
        """Steps of the first parameters, which the others follow by their regression."""
        step, slope = self._first_steps(now, lengths), Conditional.of(now.z, self.n_first, 1.0).slope
        return self.at(now.z + np.concatenate([step, step @ slope], axis=1))

    def _first_alone(self, now: Particles, lengths: FloatArray) -> Particles:
        k, z = self.n_first, now.z.copy()
        z[:, :k] += self._first_steps(now, lengths)
        first = self._refinement.first(z[:, :k])
        before, added = self._both(z, first, now.parts)
        return replace(now, z=z, first=first, coarse=self._coarse(z), before=before, added=added)

    def _along_others(self, now: Particles, lengths: FloatArray) -> Particles:
        one, other = self._rng.integers(len(now.z), size=(2, len(now.z)))
        return self.at(now.z + lengths * (now.z[one] - now.z[other]))


def _value(law: Quadratic | Conditional | None, z: FloatArray, features: FloatArray) -> FloatArray:
    if law is None:
        return np.zeros(len(z))
    return law.log_ratio(z) if isinstance(law, Conditional) else np.nan_to_num(law(features), nan=-1e300)


def _next(reached: float, gain: FloatArray) -> float:
    """How far to switch so that weights leave the effective particles that are wanted, at most 1."""

    def left(new: float) -> float:
        log_w = (new - reached) * gain
        return float(np.exp(2 * logsumexp(log_w) - logsumexp(2 * log_w))) / len(gain)

    if left(1.0) >= _LEFT:
        return 1.0
    return _bisected(left, reached)


def _bisected(left: Callable[[float], float], low: float) -> float:
    high, start = 1.0, low
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if left(middle) >= _LEFT else (low, middle)
    return low if low > start else high


def systematic(weights: FloatArray, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Places (n,) of draws of equal weight, by weights (n_weight,) that add up to 1."""
    points = (rng.random() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1)


def log_prior(z: FloatArray) -> FloatArray:
    """Log-density (n,) of a standard normal at z (n, n_dim)."""
    return np.asarray(-0.5 * np.sum(z**2, axis=1) - 0.5 * z.shape[1] * math.log(2 * math.pi))

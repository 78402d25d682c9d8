r"""The posterior of a coarser likelihood, refined by annealing to nearly that of a dear one.

A dear likelihood L(θ) often has a cheap one of its first parameters, L_c(θ₁), beside it: an NPTF of counts with
energies has that of their sum. What the dear one adds, ln L − ln L_c, may be bent in the parameters but close to a
quadratic Q in some *features* y(θ), numbers that are cheap to compute: of templates with spectra, their counts in each
energy bin. The law

.. math:: S(θ) \propto π(θ)\, L_c(θ_1)\, e^{Q(y(θ))}

is then near the posterior, and costs no dear values. It is drawn from as sequential Monte Carlo does (Del Moral, Doucet
& Jasra 2006): particles begin as draws of the coarser posterior and of the other parameters' prior, Q is switched on
step by step, each as long as leaves 60 % effective draws, particles are drawn anew by weight, and moved by the rule of
Metropolis and Hastings: blocks of parameters one by one, by steps, and by draws given all others from a mixture of
normal laws in the shape that the particles had, which follows ridges however bent; blocks also together with what goes
along with them. So modes and bent tails come with the coarser posterior and the prior.
Particles of one annealing descend from few of its start; a second start, from draws of the coarser posterior again and
a normal law of the others as wide as several such populations together, spreads them.
Where dear values of some of these draws are known, Q is corrected by a small network of z and y, and particles are
annealed on to the law that it makes. A walk by the same moves in random order, which leaves that law as it is and looks
the same backwards, is then a proposal of whole points, on which the dear likelihood decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp, ndtr

from gcesbi.baselines.samplers.correction import Correction
from gcesbi.baselines.samplers.mixture import Mixture, alike
from gcesbi.baselines.samplers.quadratic import RIDGE, Quadratic, cholesky
from gcesbi.baselines.samplers.target import Refinement

__all__ = ["Annealing", "Law", "Particles", "effective", "log_prior", "reach", "switched_on", "systematic"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_LEFT = 0.6  # of the particles, effective after a step
_SWEEPS = 6  # of moves between steps
_WHOLE = 1  # of them with moves of the first parameters, which ask the coarser likelihood
_LAST = 8  # sweeps of all moves at the end
_WALK = 12  # sweeps of a walk
_OFTEN = 4  # times in such a sweep that what does not ask it is moved
_WANTED = 0.25  # of steps, accepted
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
    def of(cls, z: FloatArray, n_first: int) -> Conditional:
        """That of points (n, n_dim), but wider."""
        covariance = np.cov(z.T)
        first, across = covariance[:n_first, :n_first] + RIDGE * np.eye(n_first), covariance[:n_first, n_first:]
        slope = np.asarray(np.linalg.solve(first, across))
        return cls(z.mean(axis=0), slope, _STRETCH * cholesky(covariance[n_first:, n_first:] - across.T @ slope))

    def draw(self, first: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Points (n, n_dim) of which the first coordinates (n, n_first) are given."""
        normal = rng.standard_normal((len(first), len(self.root)))
        return np.concatenate([first, self._centre(first) + normal @ self.root.T], axis=1)

    def _centre(self, first: FloatArray) -> FloatArray:
        n = first.shape[1]
        return np.asarray(self.mean[n:] + (first - self.mean[:n]) @ self.slope)

    def __call__(self, z: FloatArray, features: FloatArray) -> FloatArray:
        """Logarithm of its density over the prior's, (n,), at points (n, n_dim), whatever their features."""
        n = len(self.slope)
        white = solve_triangular(self.root, (z[:, n:] - self._centre(z[:, :n])).T, lower=True)
        return np.asarray(
            0.5 * (np.sum(z[:, n:] ** 2, axis=1) - np.sum(white**2, axis=0)) - np.log(np.diag(self.root)).sum()
        )


@dataclass(frozen=True, eq=False)
class Law:
    """Q: an expansion by features, and its correction."""

    expansion: Quadratic
    correction: Correction | None = None

    def __call__(self, z: FloatArray, features: FloatArray) -> FloatArray:
        """Values (n,) at points (n, n_dim) and their features (n, n_feature)."""
        found = np.nan_to_num(self.expansion(features), nan=-1e300)
        return found if self.correction is None else found + self.correction(_inputs(z, features))


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
    origin: IntArray

    @classmethod
    def joined(cls, populations: Sequence[Particles]) -> Particles:
        """Several populations in one."""
        return cls(*(np.concatenate([getattr(p, each.name) for p in populations]) for each in fields(cls)))

    def take(self, rows: IntArray | slice) -> Particles:
        """Some of them."""
        return Particles(*(getattr(self, each.name)[rows] for each in fields(self)))

    def moved(self, where: NDArray[np.bool_], to: Particles) -> Particles:
        """Others in their place where (n,) is true."""
        pairs = [(getattr(to, each.name), getattr(self, each.name)) for each in fields(self)]
        there = (np.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old) for new, old in pairs)
        return replace(Particles(*there), origin=self.origin)

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
    law : Law or Conditional, optional
        Q that is switched on, or being so; or the law that particles begin with.
    steps : array (n_block,)
        Lengths of steps of blocks, those of the first parameters included, learnt on the way.
    """

    def __init__(self, refinement: Refinement, rng: np.random.Generator) -> None:
        self._refinement, self._rng = refinement, rng
        self._before: Law | Conditional | None = None
        self.law: Law | Conditional | None = None
        self._columns = (*refinement.first_blocks, *refinement.blocks)
        self._roots: list[FloatArray] = []
        self._mixtures: list[Mixture] = []
        self.steps = np.full(len(self._columns), 0.5)

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
        self.law = start = Conditional.of(particles.z, self.n_first)
        return self.at(start.draw(given[self._rng.integers(len(given), size=n)], self._rng))

    def towards(self, now: Particles, law: Law) -> tuple[Particles, float]:
        """Anneal particles to the law of another Q.

        Returns
        -------
        particles : Particles
        log_norm : float
            Logarithm of the new law's norm over that of the one before.
        """
        self._before, self.law = self.law, law
        before, added = self._both(now.z, now.first, now.parts)
        now = replace(now, before=before, added=added)
        reached = log_norm = 0.0
        while reached < 1:
            self._mix(now.z)
            reached, rows, more = switched_on(reached, now.added - now.before, self._rng)
            now, log_norm = self._swept(now.take(rows), reached, _SWEEPS, _WHOLE), log_norm + more
        return now, log_norm

    def on(self, now: Particles) -> Particles:
        """Particles of the law moved on."""
        self._before = None
        self._mix(now.z)
        return self._swept(now, 1.0, _LAST, _LAST)

    def walked(self, now: Particles, like: FloatArray) -> Particles:
        """Where a walk ends that keeps the law, reversible, its proposals in the shape of other points (n, n_dim)."""
        self._mix(like)
        n = len(self._columns)
        moved = [*self._columns, *(mixture.columns for mixture in self._mixtures)]
        sweep = np.repeat(np.arange(len(moved)), [1 if self._asks(columns) else _OFTEN for columns in moved])
        for _ in range(_WALK):
            for i in self._rng.permutation(sweep):
                now = self._stepped(now, i, 1.0)[0] if i < n else self._drawn(now, self._mixtures[i - n], 1.0)
        return now

    def at(self, z: FloatArray) -> Particles:
        """Points (n, n_dim) and all that is known of them."""
        refinement = self._refinement
        first = refinement.first(z[:, : refinement.coarser.n_dim])
        parts = np.stack([refinement.part(i, z[:, block]) for i, block in enumerate(refinement.blocks)], axis=1)
        return Particles(z, first, parts, self._coarse(z), *self._both(z, first, parts), np.arange(len(z)))

    def corrected(self, law: Law, known: Particles, value: FloatArray) -> Law:
        """A law corrected anew by what the dear likelihood (n,) is at particles, and the coarser one is not."""
        features = self._refinement.features(known.first, known.parts)
        off, inputs = value - known.coarse - law.expansion(features), _inputs(known.z, features)
        return Law(law.expansion, Correction.fitted(inputs, off, int(self._rng.integers(2**31))))

    def _coarse(self, z: FloatArray) -> FloatArray:
        return self._refinement.coarser.finite(ndtr(z[:, : self.n_first]))

    def _both(self, z: FloatArray, first: FloatArray, parts: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Q that is left behind, and the one that is switched on."""
        features = self._refinement.features(first, parts)
        before, added = (np.zeros(len(z)) if law is None else law(z, features) for law in (self._before, self.law))
        return before, added

    # -- moves ----------------------------------------------------------------------------------------------------

    def _swept(self, now: Particles, switched: float, n: int, n_whole: int) -> Particles:
        """Particles after sweeps of moves, those of the first parameters in the first of them."""
        for sweep in range(n):
            for i, columns in enumerate(self._columns):
                if sweep < n_whole or not self._asks(columns):
                    now, share = self._stepped(now, i, switched)
                    self.steps[i] *= math.exp(_GAIN * (share - _WANTED))
            for mixture in self._mixtures:
                if sweep < n_whole or not self._asks(mixture.columns):
                    now = self._drawn(now, mixture, switched)
        return now

    def _asks(self, columns: IntArray) -> bool:
        """Whether a move of these asks the coarser likelihood."""
        return bool(np.any(columns < self.n_first))

    def _mix(self, z: FloatArray) -> None:
        """Learn from points what blocks, and these with what goes along, are drawn from, and how blocks step."""
        self._roots = [cholesky(np.cov(z[:, columns].T)) for columns in self._columns]
        groups = (alike(z, columns) for columns in self._columns)
        sets = dict.fromkeys(tuple(columns) for columns in (*self._columns, *groups))
        self._mixtures = [Mixture.of(z, np.array(columns), self._rng) for columns in sets]

    def _stepped(self, now: Particles, i: int, switched: float) -> tuple[Particles, float]:
        """Steps of one block's parameters by their covariance, and the share that was accepted."""
        z, columns = now.z.copy(), self._columns[i]
        lengths = self.steps[i] * np.exp(self._rng.normal(0, _SPREAD, (len(z), 1)))
        z[:, columns] += lengths * (self._rng.standard_normal((len(z), len(columns))) @ self._roots[i].T)
        return self._accepted(now, self._with(now, z, columns), np.zeros(len(z)), switched)

    def _drawn(self, now: Particles, mixture: Mixture, switched: float) -> Particles:
        """Some parameters anew, whatever they were."""
        z = now.z.copy()
        z[:, mixture.columns] = mixture.draw(now.z, self._rng)
        more = mixture.log_density(now.z) - mixture.log_density(z)
        return self._accepted(now, self._with(now, z, mixture.columns), more, switched)[0]

    def _with(self, now: Particles, z: FloatArray, columns: IntArray) -> Particles:
        """Particles at z (n, n_dim), which has other coordinates there than now."""
        first, parts, coarse = now.first, now.parts.copy(), now.coarse
        if self._asks(columns):
            first, coarse = self._refinement.first(z[:, : self.n_first]), self._coarse(z)
        for i, block in enumerate(self._refinement.blocks):
            if np.isin(block, columns).any():
                parts[:, i] = self._refinement.part(i, z[:, block])
        before, added = self._both(z, first, parts)
        return Particles(z, first, parts, coarse, before, added, now.origin)

    def _accepted(self, now: Particles, new: Particles, more: FloatArray, switched: float) -> tuple[Particles, float]:
        """By Metropolis' and Hastings' rule, and the share that was; `more` (n,) is ln of the odds of proposals."""
        gain = new.log_density(switched) - now.log_density(switched) + more
        accepted = np.log(self._rng.random(len(gain))) < gain
        return now.moved(accepted, new), float(accepted.mean())


def _inputs(z: FloatArray, features: FloatArray) -> FloatArray:
    """Of a correction, (n, n_dim + n_feature), whatever number they are."""
    return np.nan_to_num(np.concatenate([z, features], axis=1))


def switched_on(reached: float, gain: FloatArray, rng: np.random.Generator) -> tuple[float, IntArray, float]:
    """Switch more of a gain (n,) in log-density on, as much as leaves 60 % effective particles.

    Returns
    -------
    reached : float
        How much is on then, at most 1.
    rows : array (n,)
        Places of particles drawn anew by weight.
    log_norm : float
        Logarithm of the law's norm then over that before.
    """
    new = reach(reached, gain)
    log_w = (new - reached) * gain
    total = float(logsumexp(log_w))
    return new, systematic(np.exp(log_w - total), len(gain), rng), total - math.log(len(gain))


def reach(reached: float, gain: FloatArray) -> float:
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


def effective(origin: IntArray) -> float:
    """Effective number of particles of the start that others (n,) descend from."""
    return float(len(origin) ** 2 / np.sum(np.bincount(origin) ** 2))


def systematic(weights: FloatArray, n: int, rng: np.random.Generator) -> IntArray:
    """Places (n,) of draws of equal weight, by weights (n_weight,) that add up to 1."""
    points = (rng.random() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1)


def log_prior(z: FloatArray) -> FloatArray:
    """Log-density (n,) of a standard normal at z (n, n_dim)."""
    return np.asarray(-0.5 * np.sum(z**2, axis=1) - 0.5 * z.shape[1] * math.log(2 * math.pi))

r"""Vectors of counts of a whole map, given vectors X of its sources, and what is used of its bright pixels.

The cost of a pixel grows with a power of its photons K, one higher for every kind of spectrum
(:mod:`gcesbi.baselines.nptf.energies`). A pixel of more than K₀ photons may therefore be used *coarsely*, by K alone.
Which pixels these are is a function of the data that coarsening does not change, so what is used has the law

.. math:: p(k)\ \text{if}\ K \le K_0, \qquad p(K) = \sum_{k:\,\Sigma k = K} p(k)\ \text{if}\ K > K_0 ,

which adds up to 1: the likelihood is proper. What is lost is the spectrum of the photons of these pixels, no more.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.nptf.energy_recursion import (
    LANES,
    LOG_FACTORIALS,
    Simplex,
    gradients,
    log_probabilities,
    simplex,
)
from gcesbi.errors import InputError
from gcesbi.sky.observation import check_counts

__all__ = ["LARGEST_CELLS", "EnergyMap", "MapGradient"]

Array = NDArray[np.float64]
Pixels = NDArray[np.int64]
_Given = tuple[Any, ...]  # arguments of the recursion

LARGEST_CELLS = 2**25
"""Numbers b_n of one pixel that are kept in memory at once (256 MiB)."""


@dataclass(frozen=True, eq=False)
class MapGradient:
    """Log-likelihood and its derivatives by what the recursion sees.

    Attributes
    ----------
    value : float
    by_mean : array (n_pix, n_energy)
        By every pixel's mean of the smooth emission.
    by_vectors : array (n_ps, n_row)
        By X_Σ (index 0) and X_m of every template.
    by_templates : array (n_ps, n_pix)
    by_splits : array (n_ps, n_pix, n_energy)
        By the splits of every template in every pixel, held independent of each other.
    """

    value: float
    by_mean: Array
    by_vectors: Array
    by_templates: Array
    by_splits: Array


@dataclass(frozen=True, eq=False)
class EnergyMap:
    """Counts with energies, ready for many evaluations. Make one by :meth:`build`.

    Attributes
    ----------
    counts : array (n_pix, n_energy)
    coarse_above : int, optional
        K₀: pixels of more photons are used by their number alone.
    workers : int
        Threads.
    """

    counts: NDArray[np.int64]
    coarse_above: int | None
    workers: int

    @classmethod
    def build(cls, counts: ArrayLike, coarse_above: int | None = None, workers: int | None = None) -> EnergyMap:
        """Check the data once.

        Raises
        ------
        InputError
            If counts are none, or a number is out of range.
        """
        k = check_counts(counts)
        if k.ndim != 2 or k.size == 0:
            raise InputError(f"counts: must have shape (n_pix, n_energy), got {k.shape}")
        threads = len(os.sched_getaffinity(0)) if workers is None else workers
        if threads < 1:
            raise InputError(f"workers: must be at least 1, got {threads}")
        if coarse_above is not None and coarse_above < 0:
            raise InputError(f"coarse_above: must not be negative, got {coarse_above}")
        return cls(np.ascontiguousarray(k, dtype=np.int64), coarse_above, threads)

    @cached_property
    def totals(self) -> NDArray[np.int64]:
        """Photons K of every pixel, (n_pix,)."""
        return np.asarray(self.counts.sum(axis=1))

    @cached_property
    def largest(self) -> int:
        """Photons of the brightest pixel."""
        return int(self.totals.max())

    @cached_property
    def coarse(self) -> NDArray[np.bool_]:
        """Pixels that are used by their number of photons alone, (n_pix,)."""
        limit = self.largest if self.coarse_above is None else self.coarse_above
        return self.totals > limit

    def log_probabilities(
        self, mean: Array, templates: Array, vectors: Array, splits: Array, workers: int | None = None
    ) -> Array:
        """Log-probability of what is used of every pixel's counts, (n_pix,); unchecked.

        Parameters
        ----------
        mean : array (n_pix, n_energy)
        templates : array (n_ps, n_pix)
        vectors : array (n_ps, >= largest + 1)
            X of every template.
        splits : array (n_ps, n_pix, n_energy)
        workers : int, optional
            Threads, in place of the map's own.
        """
        out = np.empty(len(self.counts))

        def work(blocks: Pixels, given: _Given) -> None:
            log_probabilities(blocks, *given, out)

        self._share(work, self._given(mean, templates, vectors, splits, _equal_rows(splits)), workers)
        return out

    def gradient(
        self, mean: Array, templates: Array, vectors: Array, splits: Array, workers: int | None = None
    ) -> MapGradient:
        """Log-likelihood and its derivatives, in closed form; arguments are those of :meth:`log_probabilities`."""
        out, by_mean = np.empty(len(self.counts)), np.empty(self.counts.shape)
        by_templates, by_splits = np.empty(templates.shape), np.zeros(splits.shape)
        by_sum, by_one = np.zeros((len(out), 1)), np.empty((1, len(out), 1))
        by_vectors: list[Array] = []

        def work(blocks: Pixels, given: _Given) -> None:
            slopes = (by_sum, by_one) if given[0] is not self.counts else (by_mean, by_splits)
            by_vector = np.zeros(vectors.shape)
            gradients(blocks, *given, out, slopes[0], by_vector, by_templates, slopes[1])
            by_vectors.append(by_vector)

        self._share(work, self._given(mean, templates, vectors, splits, np.arange(len(templates))), workers)
        by_mean[self.coarse] = by_sum[self.coarse]
        return MapGradient(float(out.sum()), by_mean, np.sum(by_vectors, axis=0), by_templates, by_splits)

    def _given(
        self, mean: Array, templates: Array, vectors: Array, splits: Array, kind: Pixels
    ) -> list[tuple[Pixels, _Given]]:
        """Blocks of pixels, and what the recursion is given: of all energies, and of bright pixels their sum."""
        given: list[tuple[Pixels, _Given]] = []
        fine, bright = (_blocks(self.totals, chosen) for chosen in (~self.coarse, self.coarse))
        if len(fine):
            first = np.unique(kind, return_index=True)[1]
            grid = self._grid(int(self.totals[fine].max()), len(first))
            given.append((fine, (self.counts, mean, templates, vectors, kind, splits, first, grid)))
        if len(bright):
            one = np.zeros(1, dtype=np.int64)
            counts, total = self.totals[:, None], mean.sum(axis=1, keepdims=True)
            whole = np.ones((1, *counts.shape)), one, self._grid(self.largest, 1)
            given.append((bright, (counts, total, templates, vectors, np.zeros_like(kind), *whole)))
        return given

    def _share(
        self, work: Callable[[Pixels, _Given], None], given: list[tuple[Pixels, _Given]], workers: int | None
    ) -> None:
        """Let every thread do a share of the blocks, of as much work each."""
        threads = workers or self.workers
        parts = []
        for blocks, rest in given:
            cost = np.cumsum(10.0 + self.totals[blocks[:, 0]].astype(np.float64) ** (1 + len(rest[6])))
            edges = np.searchsorted(cost, np.linspace(0, cost[-1], threads + 1))
            edges[-1] = len(blocks)
            parts += [(blocks[a:b], rest) for a, b in pairwise(edges.tolist()) if b > a]
        if threads == 1:
            for part in parts:
                work(*part)
            return
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda part: work(*part), parts))

    def _grid(self, k: int, n_kind: int) -> Simplex:
        """Numbers of photons, up to k, of all kinds of sources but the last.

        Raises
        ------
        InputError
            If these numbers do not fit into :data:`LARGEST_CELLS`.
        """
        if math.comb(k + n_kind - 1, n_kind - 1) * (k + 1) > LARGEST_CELLS or k >= len(LOG_FACTORIALS):
            most = next(n for n in range(k, -1, -1) if math.comb(n + n_kind - 1, n_kind - 1) * (n + 1) <= LARGEST_CELLS)
            raise InputError(
                f"counts: pixel {int(np.argmax(self.totals == k))} holds {k} photons; with {n_kind} kinds of spectra "
                f"of sources memory allows K₀ = {min(most, len(LOG_FACTORIALS) - 1)}: mask it, or sum the energies of "
                "pixels so bright (coarse_above)"
            )
        return simplex(k, n_kind - 1)


def _equal_rows(splits: Array) -> Pixels:
    """Kind of every template, (n_ps,): those of equal splits have one."""
    first = [next(i for i in range(j + 1) if np.array_equal(splits[i], splits[j])) for j in range(len(splits))]
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def _blocks(totals: Pixels, chosen: NDArray[np.bool_]) -> Pixels:
    """Chosen pixels (n_block, LANES), the brightest first; -1 where there is none."""
    pixels = np.flatnonzero(chosen)
    pixels = pixels[np.argsort(-totals[pixels], kind="stable")]
    return np.pad(pixels, (0, -pixels.size % LANES), constant_values=-1).reshape(-1, LANES)

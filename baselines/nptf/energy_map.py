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

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.nptf.energy_recursion import LOG_FACTORIALS, Simplex, gradients, log_probabilities, simplex
from gcesbi.errors import InputError
from gcesbi.sky.observation import check_counts

__all__ = ["LARGEST_CELLS", "EnergyMap", "MapGradient"]

Array = NDArray[np.float64]
Pixels = NDArray[np.int64]

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
        k = check_counts(np.asarray(counts))
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
        kinds = _equal_rows(splits)
        fine, bright = np.flatnonzero(~self.coarse), np.flatnonzero(self.coarse)
        n_fine = int(self.totals[fine].max()) if fine.size else 0
        grid = self._grid(n_fine, len(kinds))
        first = [rows[0] for rows in kinds]

        def work(part: Pixels) -> None:
            used = vectors[:, : n_fine + 1]
            x = np.stack([templates[rows][:, part].T @ used[rows] for rows in kinds], axis=1)
            a = np.ascontiguousarray(splits[first][:, part].transpose(1, 0, 2))
            found = np.empty(part.size)
            log_probabilities(self.counts[part], mean[part], x, a, grid, found)
            out[part] = found

        def coarsely(part: Pixels) -> None:
            found = np.empty(part.size)
            log_probabilities(*self._summed(part, mean, templates, vectors), self._grid(self.largest, 1), found)
            out[part] = found

        self._share(work, fine, workers)
        self._share(coarsely, bright, workers)
        return out

    def gradient(
        self, mean: Array, templates: Array, vectors: Array, splits: Array, workers: int | None = None
    ) -> MapGradient:
        """Log-likelihood and its derivatives, in closed form; arguments are those of :meth:`log_probabilities`."""
        n_ps, (n_pix, n_energy) = len(templates), self.counts.shape
        fine, bright = np.flatnonzero(~self.coarse), np.flatnonzero(self.coarse)
        n_fine = int(self.totals[fine].max()) if fine.size else 0
        grid = self._grid(n_fine, n_ps)
        out, by_mean = np.empty(n_pix), np.empty((n_pix, n_energy))
        by_templates, by_splits = np.empty((n_ps, n_pix)), np.zeros((n_ps, n_pix, n_energy))
        by_vectors: list[Array] = []

        def keep(part: Pixels, found: Array, slope: Array, by_x: Array) -> None:
            """Note derivatives by x (n_part, n_ps or 1, n_row)."""
            out[part], by_mean[part] = found, slope
            n_row = by_x.shape[2]
            by_x = np.broadcast_to(by_x, (part.size, n_ps, n_row))
            by_templates[:, part] = np.einsum("pjm,jm->jp", by_x, vectors[:, :n_row])
            whole = np.zeros(vectors.shape)
            whole[:, :n_row] = np.einsum("jp,pjm->jm", templates[:, part], by_x)
            by_vectors.append(whole)

        def work(part: Pixels) -> None:
            x = templates[:, part].T[:, :, None] * vectors[:, : n_fine + 1]
            a = np.ascontiguousarray(splits[:, part].transpose(1, 0, 2))
            found, slope, by_x, by_a = np.empty(part.size), np.zeros((part.size, n_energy)), np.zeros_like(x), 0.0 * a
            gradients(self.counts[part], mean[part], x, a, grid, found, slope, by_x, by_a)
            keep(part, found, slope, by_x)
            by_splits[:, part] = by_a.transpose(1, 0, 2)

        def coarsely(part: Pixels) -> None:
            k, mu, x, a = self._summed(part, mean, templates, vectors)
            found, slope, by_x, by_a = np.empty(part.size), np.zeros_like(mu), np.zeros_like(x), 0.0 * a
            gradients(k, mu, x, a, self._grid(self.largest, 1), found, slope, by_x, by_a)
            keep(part, found, slope, by_x)

        self._share(work, fine, workers)
        self._share(coarsely, bright, workers)
        return MapGradient(float(out.sum()), by_mean, np.sum(by_vectors, axis=0), by_templates, by_splits)

    def _summed(
        self, part: Pixels, mean: Array, templates: Array, vectors: Array
    ) -> tuple[NDArray[np.int64], Array, Array, Array]:
        """Counts, means, x and splits of pixels whose energies are summed."""
        x = (templates[:, part].T @ vectors[:, : self.largest + 1])[:, None]
        return self.totals[part, None], mean[part].sum(axis=1, keepdims=True), x, np.ones((part.size, 1, 1))

    def _share(self, work: Callable[[Pixels], None], pixels: Pixels, workers: int | None) -> None:
        """Let every thread do a share of some pixels, of as much work each."""
        threads = workers or self.workers
        cost = np.cumsum(1.0 + self.totals[pixels].astype(np.float64) ** 2)
        edges = np.searchsorted(cost, np.linspace(0, cost[-1], threads + 1)) if pixels.size else np.zeros(1, np.int64)
        edges[-1] = pixels.size
        parts = [pixels[a:b] for a, b in pairwise(edges.tolist()) if b > a]
        if len(parts) <= 1:
            for part in parts:
                work(part)
            return
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(work, parts))

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


def _equal_rows(splits: Array) -> list[list[int]]:
    """Templates of equal splits, together."""
    kinds: list[list[int]] = []
    for j, each in enumerate(splits):
        same = next((rows for rows in kinds if np.array_equal(splits[rows[0]], each)), None)
        kinds.append([j]) if same is None else same.append(j)
    return kinds

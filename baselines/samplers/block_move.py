"""Moves of an ensemble in a few coordinates at a time, for many parameters."""

from __future__ import annotations

from collections.abc import Sequence

import emcee
import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockMove"]


class BlockMove(emcee.moves.RedBlueMove):
    """Differential evolution in a random block of coordinates, in a box whose opposite walls are one.

    A walker moves along the difference of two others, in the coordinates of one block. The scale is the optimal
    2.38 / √(2 d) or a part of it, and 1, which carries walkers from mode to mode, in one move of ten. A walker that
    leaves the box enters it at the opposite wall: a move and its reverse are equally likely. They would not be if it
    were reflected in several coordinates whose steps are correlated.

    Parameters
    ----------
    blocks : sequence of array
        Indices of the coordinates that move together; one block is chosen at random for every walker.
    bounds : array (n_dim, 2)
        Walls of the box.
    """

    def __init__(self, blocks: Sequence[NDArray[np.int64]], bounds: NDArray[np.float64]) -> None:
        self._low, self._width = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
        self._mask = np.zeros((len(blocks), len(bounds)))
        for mask, block in zip(self._mask, blocks, strict=True):
            mask[block] = 1.0
        super().__init__()
        self._blocks, self._bounds = tuple(blocks), bounds

    def beside(self, blocks: Sequence[NDArray[np.int64]]) -> BlockMove:
        """The same with further blocks."""
        return BlockMove([*self._blocks, *blocks], self._bounds)

    def get_proposal(
        self,
        s: NDArray[np.float64],
        c: Sequence[NDArray[np.float64]],
        random: np.random.RandomState,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Proposals (n, n_dim) for walkers `s` given the others `c`, and log factors 0; `random` is emcee's."""
        others = np.concatenate(c)
        n = len(s)
        mask = self._mask[random.randint(len(self._mask), size=n)]
        first = random.randint(len(others), size=n)
        second = (first + random.randint(1, len(others), size=n)) % len(others)
        scale = 2.38 / np.sqrt(2 * mask.sum(axis=1)) * random.choice([0.3, 0.6, 1.0], size=n)
        scale = np.where(random.random_sample(n) < 0.1, 1.0, scale)
        step = scale[:, None] * (others[first] - others[second])
        step += 1e-4 * self._width * random.standard_normal(s.shape)
        moved = self._low + self._width * np.mod((s + mask * step - self._low) / self._width, 1.0)
        return np.where(mask > 0, moved, s), np.zeros(n)

"""Modes of log-fields, g = B z: sums and quadratic forms of a basis B that is partly sparse, partly dense."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gcesbi.sky.compiled import njit

__all__ = ["ModeBasis", "Modes"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ModeBasis:
    """Modes in the pixels of one energy bin: the matrix B, `modes` (n_pix, n_mode)."""

    modes: csr_array

    @cached_property
    def _wide(self) -> NDArray[np.bool_]:
        """Which modes reach most pixels, (n_mode,)."""
        n_pix, n_mode = self.modes.shape
        return np.asarray(np.bincount(self.modes.indices, minlength=n_mode) > 0.5 * n_pix)

    @cached_property
    def _dense(self) -> Array:
        return np.ascontiguousarray(self.modes[:, np.flatnonzero(self._wide)].toarray())

    @cached_property
    def _sparse(self) -> csr_array:
        found = csr_array(self.modes[:, np.flatnonzero(~self._wide)])
        found.sort_indices()
        return found

    @cached_property
    def _transposed(self) -> csr_array:
        return csr_array(self._sparse.T)

    def gram(self, other: ModeBasis, weights: Array) -> Array:
        """Σ_p w_p B_p B'_pᵀ (n_mode, n_mode'), of weights (n_pix,)."""
        found = np.zeros((self.modes.shape[1], other.modes.shape[1]))
        wide, narrow = np.flatnonzero(self._wide), np.flatnonzero(~self._wide)
        other_wide, other_narrow = np.flatnonzero(other._wide), np.flatnonzero(~other._wide)
        left, right = weights[:, None] * self._dense, weights[:, None] * other._dense
        found[np.ix_(wide, other_wide)] = left.T @ other._dense
        found[np.ix_(narrow, other_wide)] = self._transposed @ right
        found[np.ix_(wide, other_narrow)] = (other._transposed @ left).T
        own, beside = self._sparse, other._sparse
        sparse = np.zeros((len(narrow), len(other_narrow)))
        if own is beside:
            _add_half_gram(own.indptr, own.indices, own.data, weights, sparse)
            sparse += np.triu(sparse, 1).T
        else:
            _add_gram(own.indptr, own.indices, own.data, beside.indptr, beside.indices, beside.data, weights, sparse)
        found[np.ix_(narrow, other_narrow)] = sparse
        return found

    def quadratic(self, other: ModeBasis, matrix: Array) -> Array:
        """Forms B_p C B'_p (n_pix,), of a matrix C (n_mode, n_mode')."""
        own, beside = self.modes, other.modes
        found = np.zeros(own.shape[0])
        ends = own.indptr, own.indices, own.data, beside.indptr, beside.indices, beside.data
        _quadratic(*ends, np.ascontiguousarray(matrix), found)
        return found


@dataclass(frozen=True, eq=False)
class Modes:
    """One log-field, of one template or of several at once.

    Parameters
    ----------
    rows : tuple of int
        The templates.
    basis : tuple of ModeBasis
        B in every energy bin. Bins that share modes have the same basis, which then is worked on once.
    """

    rows: tuple[int, ...]
    basis: tuple[ModeBasis, ...]

    @property
    def n(self) -> int:
        """Number of modes."""
        return int(self.basis[0].modes.shape[1])

    def logs(self, z: Array) -> Array:
        """B z (n_energy, n_pix), of z (n_mode,) or one for each bin (n_energy, n_mode)."""
        if z.ndim == 2:
            return np.stack([each.modes @ own for each, own in zip(self.basis, z, strict=True)])
        known = {id(each): each.modes @ z for each in {id(b): b for b in self.basis}.values()}
        return np.stack([known[id(each)] for each in self.basis])

    def sums(self, weights: Array) -> Array:
        """Σ_p w_p B_p in every energy bin, (n, n_energy, n_mode), of weights (n, n_energy, n_pix)."""
        return np.stack([weights[:, e] @ each.modes for e, each in enumerate(self.basis)], axis=1)

    def gram(self, other: Modes, weights: Array) -> Array:
        """Σ_c w_c B_c B'_cᵀ (n_mode, n_mode'), of weights (n_energy, n_pix)."""
        pairs: dict[tuple[int, int], tuple[ModeBasis, ModeBasis, Array]] = {}
        for left, right, row in zip(self.basis, other.basis, weights, strict=True):
            known = pairs.get((id(left), id(right)))
            pairs[id(left), id(right)] = (left, right, row if known is None else known[2] + row)
        return np.sum([left.gram(right, row) for left, right, row in pairs.values()], axis=0)

    def quadratic(self, other: Modes, matrix: Array) -> Array:
        """Forms B_c C B'_c (n_energy, n_pix), of a matrix C (n_mode, n_mode')."""
        known: dict[tuple[int, int], Array] = {}
        for left, right in zip(self.basis, other.basis, strict=True):
            if (id(left), id(right)) not in known:
                known[id(left), id(right)] = left.quadratic(right, matrix)
        return np.stack([known[id(a), id(b)] for a, b in zip(self.basis, other.basis, strict=True)])


@njit(cache=True, nogil=True)
def _add_half_gram(ptr, at, value, weights, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add the upper half of Σ_p w_p B_p B_pᵀ to `out`, columns of every pixel ascending."""
    for p in range(len(weights)):
        for a in range(ptr[p], ptr[p + 1]):
            scaled = weights[p] * value[a]
            row = out[at[a]]
            for b in range(a, ptr[p + 1]):
                row[at[b]] += scaled * value[b]


@njit(cache=True, nogil=True)
def _add_gram(ptr, at, value, other_ptr, other_at, other_value, weights, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Add Σ_p w_p B_p B'_pᵀ of two sparse matrices to `out`."""
    for p in range(len(weights)):
        for a in range(ptr[p], ptr[p + 1]):
            scaled = weights[p] * value[a]
            row = out[at[a]]
            for b in range(other_ptr[p], other_ptr[p + 1]):
                row[other_at[b]] += scaled * other_value[b]


@njit(cache=True, nogil=True)
def _quadratic(ptr, at, value, other_ptr, other_at, other_value, matrix, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """B_p C B'_p of two sparse matrices."""
    for p in range(len(out)):
        total = 0.0
        for a in range(ptr[p], ptr[p + 1]):
            row, part = matrix[at[a]], 0.0
            for b in range(other_ptr[p], other_ptr[p + 1]):
                part += row[other_at[b]] * other_value[b]
            total += value[a] * part
        out[p] = total

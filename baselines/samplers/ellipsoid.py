r"""The ellipsoid of least volume about a set of points, by Khachiyan's algorithm with rank-one updates.

Weights u_i of points x_i, q_i = (x_i, 1), are moved to the point whose :math:`g_i = q_i^T V^{-1} q_i`,
:math:`V = \sum_i u_i q_i q_i^T`, is largest; with all g_i at most d + 1 the ellipsoid is the smallest (Todd & Yıldırım
2007, Discrete Applied Mathematics 155, 1731). nautilus (1.0.6) does the same steps, and inverts V anew for each of them
in Python: at 17 parameters that is most of its own work. :func:`fast_ellipsoids` lends it this function while a sampler
runs, and takes it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["enclosing_ellipsoid", "fast_ellipsoids"]

FloatArray = NDArray[np.float64]


def enclosing_ellipsoid(
    points: FloatArray, n_max: int = 100, n_batch: int = 20
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centre c (n_dim,), matrix A and its inverse of an ellipsoid (x - c)ᵀ A (x - c) ≤ 1 about points (n, n_dim).

    Parameters
    ----------
    n_max, n_batch : int
        Rounds, and points to which weights are moved in each.
    """
    u = _weights(np.hstack([points, np.ones((len(points), 1))]).copy(), n_max, n_batch)
    c = u @ points
    inverse = np.atleast_2d(np.cov(points, aweights=u, rowvar=False, bias=True))
    matrix = np.linalg.inv(inverse)
    scale = np.einsum("ni,ij,nj->n", points - c, matrix, points - c, optimize=True).max()
    return c, matrix / scale, inverse * scale


def _weights(q: FloatArray, n_max: int, n_batch: int) -> FloatArray:
    u = np.full(len(q), 1.0 / len(q))
    for _ in range(n_max):
        v_inverse = np.linalg.inv(q.T @ (q * u[:, None]))
        g = np.sum((q @ v_inverse) * q, axis=1)
        _move(u, v_inverse, q, np.argsort(g)[: -n_batch - 1 : -1])
    return u


@njit(cache=True)
def _move(u: FloatArray, v_inverse: FloatArray, q: FloatArray, towards: NDArray[np.intp]) -> None:
    """Move weights u to one point after the other, and V⁻¹ with them."""
    d = q.shape[1]
    w = np.empty(d)
    for j in towards:
        g = 0.0
        for k in range(d):
            w[k] = 0.0
            for i in range(d):
                w[k] += v_inverse[k, i] * q[j, i]
            g += w[k] * q[j, k]
        if g < d:
            continue
        a = (g - d) / (d * (g - 1.0))
        b = a / (1.0 - a)
        for k in range(d):
            for i in range(d):
                v_inverse[k, i] = (v_inverse[k, i] - b / (1.0 + b * g) * w[k] * w[i]) / (1.0 - a)
        for i in range(len(u)):
            u[i] *= 1.0 - a
        u[j] += a


@contextmanager
def fast_ellipsoids() -> Iterator[None]:
    """Let nautilus find its ellipsoids by :func:`enclosing_ellipsoid`."""
    from nautilus.bounds import basic

    own = basic.minimum_volume_enclosing_ellipsoid
    basic.minimum_volume_enclosing_ellipsoid = enclosing_ellipsoid
    try:
        yield
    finally:
        basic.minimum_volume_enclosing_ellipsoid = own

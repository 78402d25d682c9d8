r"""Likelihood of the non-Poissonian template fit with energies: an exact law of vectors of counts.

In a pixel the sources of template j give n_j photons, over all energies, with the probability P_j(n) of the fit without
energies (:mod:`gcesbi.baselines.nptf.likelihood`). Each of those photons falls into energy bin e with probability a_je,
the *split*: spectrum times exposure, Σ_e a_je = 1. Smooth emission adds Poisson counts of mean μ_e. Counts k_e then
have, with L the linear map that takes the monomial Π_j s_j^{n_j} to Π_j n_j! P_j(n_j),

.. math:: p(k_1 \ldots k_E) = L\Big[\prod_e \frac{e^{-\mu_e}}{k_e!}\,\Big(\mu_e + \sum_j a_{je} s_j\Big)^{k_e}\Big] .

Proof: the generating function of the counts is Π_e e^{μ_e (t_e - 1)} Π_j G_j(Σ_e a_je t_e), with G_j that of P_j; and
n_j! P_j(n_j) is the n_j-th derivative of G_j at 0, which multiplies what a choice of n_j photons for template j leaves.

The product is never multiplied out. From b_n = Π_j n_j! P_j(n_j), every photon, of energy e, takes b to

.. math:: b_n \leftarrow \mu_e b_n + \sum_j a_{je}\, b_{n + \hat e_j} ,

and after all K = Σ_e k_e photons b_0 is left: O(K²) steps with one template, O(K³) with two. All terms are positive, so
nothing cancels. With s_j measured in units of σ_j, about the photons that template j gives to the pixel, and each
factor divided by μ_e + Σ_j a_je σ_j, every step is a weighted mean, so nothing leaves the range of doubles either.
Templates of equal splits count as one. The derivatives are those of the steps, taken backwards.

The law is exact where the share f of a source's light in the pixel does not depend on energy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from gcesbi.baselines.nptf.count_integrals import count_vectors, count_vectors_with_derivatives
from gcesbi.baselines.nptf.likelihood import check_theta
from gcesbi.baselines.nptf.recursion import _saddle_point
from gcesbi.errors import InputError
from gcesbi.sky.observation import check_counts

__all__ = ["LARGEST_CELLS", "EnergyGradient", "NptfEnergyLikelihood", "nptf_energy_log_likelihood"]

Array = NDArray[np.float64]

LARGEST_CELLS = 2**25
"""Numbers b_n of one pixel that are kept in memory at once (256 MiB)."""

_FACTORIALS = np.array([math.factorial(n) for n in range(171)], dtype=np.float64)
_LOG_FACTORIALS = gammaln(np.arange(100_001) + 1.0)
_DIRECT = 120  # up to so many photons n! P(n) is computed as it stands
_SAFE = 1e-250


@dataclass(frozen=True, eq=False)
class EnergyGradient:
    """Log-likelihood and its derivatives.

    Attributes
    ----------
    value : float
    by_mean : array (n_pix, n_energy)
        By every pixel's mean of the smooth emission.
    by_theta : tuple of array
        By [A, n_1 .., S_1 ..] of every point-source template.
    by_splits : array (n_ps, n_pix, n_energy)
        By the splits of every template in every pixel, held independent of each other.
    """

    value: float
    by_mean: Array
    by_theta: tuple[Array, ...]
    by_splits: Array


@dataclass(frozen=True, eq=False)
class NptfEnergyLikelihood:
    """Likelihood of one counts map with energies, ready for many evaluations. Make one by :meth:`build`.

    Attributes
    ----------
    counts : array (n_pix, n_energy)
    templates : array (n_ps, n_pix)
    shares, density : array (n_share,)
        Shares f of a source's light, and the expected number of pixels per source that receive them.
    workers : int
        Threads.
    """

    counts: NDArray[np.int64]
    templates: Array
    shares: Array
    density: Array
    workers: int

    @classmethod
    def build(
        cls,
        counts: ArrayLike,
        templates: ArrayLike,
        psf_f: ArrayLike,
        psf_df_rho: ArrayLike,
        workers: int | None = None,
    ) -> NptfEnergyLikelihood:
        """Check the data once.

        Parameters
        ----------
        counts : array (n_pix, n_energy)
        templates : array (n_ps, n_pix)
            T_j dN_j/dS is the source-count distribution, in counts over all energies, of sources in the pixel.
        psf_f, psf_df_rho : array (n_share,)
            See :func:`gcesbi.baselines.nptf_log_likelihood`.
        workers : int, optional
            Threads; all cores by default.

        Raises
        ------
        InputError
            If shapes disagree or values are negative or not finite.
        """
        k = check_counts(np.asarray(counts))
        if k.ndim != 2 or k.size == 0:
            raise InputError(f"counts: must have shape (n_pix, n_energy), got {k.shape}")
        maps = _checked("templates", templates)
        if maps.ndim != 2 or maps.shape[1] != len(k) or len(maps) == 0:
            raise InputError(f"templates: must have shape (n_ps, {len(k)}), got {maps.shape}")
        shares, density = _checked("psf_f", psf_f), _checked("psf_df_rho", psf_df_rho)
        if shares.shape != density.shape or shares.ndim != 1 or shares.size == 0:
            raise InputError(
                f"psf_f, psf_df_rho: must be vectors of one length, got {shares.shape} and {density.shape}"
            )
        if not np.all((shares > 0) & (shares <= 1)):
            raise InputError(f"psf_f: must lie in (0, 1], got {shares[~((shares > 0) & (shares <= 1))][0]}")
        threads = len(os.sched_getaffinity(0)) if workers is None else workers
        if threads < 1:
            raise InputError(f"workers: must be at least 1, got {threads}")
        return cls(np.ascontiguousarray(k, dtype=np.int64), maps, shares, density, threads)

    @property
    def largest(self) -> int:
        """Photons of the brightest pixel, K."""
        return int(self.counts.sum(axis=1).max())

    def log_probabilities(self, mean: ArrayLike, thetas: Sequence[ArrayLike], splits: ArrayLike) -> Array:
        """Log-probability of every pixel's counts, (n_pix,); -inf where they are impossible.

        Parameters
        ----------
        mean : array (n_pix, n_energy)
            Expected counts of smooth emission.
        thetas : sequence of n_ps arrays
            [A, n_1 .. n_{b+1}, S_1 .. S_b], S in counts over all energies.
        splits : array (n_ps, n_energy) or (n_ps, n_pix, n_energy)
            Share of a source's counts in each energy bin; rows sum to 1.
        """
        smooth, shares = self._checked_mean(mean), self._checked_splits(splits)
        vectors = self._vectors(thetas)
        kinds = _equal_rows(shares)
        x = np.stack([np.einsum("jp,jm->pm", self.templates[rows], vectors[rows]) for rows in kinds], axis=1)
        grid = self._grid(len(kinds))
        out = np.empty(len(self.counts))

        def work(part: slice) -> None:
            a = np.ascontiguousarray(shares[[rows[0] for rows in kinds], part].transpose(1, 0, 2))
            _log_probabilities(self.counts[part], smooth[part], x[part], a, *grid, out[part])

        self._share(work)
        return out

    def __call__(self, mean: ArrayLike, thetas: Sequence[ArrayLike], splits: ArrayLike) -> float:
        """Log-likelihood; arguments are those of :meth:`log_probabilities`."""
        return float(self.log_probabilities(mean, thetas, splits).sum())

    def gradient(self, mean: ArrayLike, thetas: Sequence[ArrayLike], splits: ArrayLike) -> EnergyGradient:
        """Log-likelihood and its derivatives, in closed form; arguments are those of :meth:`log_probabilities`.

        Norms and spectra of smooth templates follow by the chain rule from `by_mean`.
        """
        smooth, shares = self._checked_mean(mean), self._checked_splits(splits)
        vectors = self._vectors(thetas, derivatives=True)
        n_ps, n_row = len(self.templates), vectors.shape[2]
        x = np.einsum("jp,jm->pjm", self.templates, vectors[:, 0])
        grid = self._grid(n_ps)
        out, by_mean = np.empty(len(self.counts)), np.zeros(smooth.shape)
        by_x, by_a = np.zeros((len(self.counts), n_ps, n_row)), np.zeros((len(self.counts), n_ps, smooth.shape[1]))

        def work(part: slice) -> None:
            a = np.ascontiguousarray(shares[:, part].transpose(1, 0, 2))
            _gradients(
                self.counts[part], smooth[part], x[part], a, *grid, out[part], by_mean[part], by_x[part], by_a[part]
            )

        self._share(work)
        by_vector = np.einsum("jp,pjm->jm", self.templates, by_x)
        by_theta = tuple(vectors[j, 1 : 1 + np.size(theta)] @ by_vector[j] for j, theta in enumerate(thetas))
        return EnergyGradient(float(out.sum()), by_mean, by_theta, by_a.transpose(1, 0, 2))

    def _share(self, work: Callable[[slice], None]) -> None:
        """Let every thread do a share of the pixels, as many photons each."""
        cost = np.cumsum(1.0 + self.counts.sum(axis=1, dtype=np.float64) ** 2)
        edges = np.searchsorted(cost, np.linspace(0, cost[-1], self.workers + 1))
        edges[-1] = len(self.counts)
        parts = [slice(int(a), int(b)) for a, b in pairwise(edges) if b > a]
        if len(parts) == 1:
            work(parts[0])
            return
        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(work, parts))

    def _grid(self, n_kind: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows of b: numbers of photons of all kinds but the last (n_row, n_kind - 1), neighbours, and rows by degree.

        Raises
        ------
        InputError
            If the brightest pixel's numbers do not fit into :data:`LARGEST_CELLS`.
        """
        k = self.largest
        if math.comb(k + n_kind - 1, n_kind - 1) * (k + 1) > LARGEST_CELLS or k >= len(_LOG_FACTORIALS):
            most = next(n for n in range(k, -1, -1) if math.comb(n + n_kind - 1, n_kind - 1) * (n + 1) <= LARGEST_CELLS)
            pixel = int(self.counts.sum(axis=1).argmax())
            raise InputError(
                f"counts: pixel {pixel} holds {k} photons; with {n_kind} kinds of spectra of sources memory allows "
                f"K₀ = {min(most, len(_LOG_FACTORIALS) - 1)}: mask it, or sum its energies"
            )
        return _simplex(k, n_kind - 1)

    def _vectors(self, thetas: Sequence[ArrayLike], derivatives: bool = False) -> Array:
        """X (n_ps, K + 1) or, with derivatives, (n_ps, 1 + n_theta, K + 1)."""
        if len(thetas) != len(self.templates):
            raise InputError(f"thetas: need one for each of {len(self.templates)} templates, got {len(thetas)}")
        checked = [check_theta(theta) for theta in thetas]
        rows = 1 + max(map(len, checked)) if derivatives else 1
        out = np.zeros((len(checked), rows, self.largest + 1))
        for j, theta in enumerate(checked):
            if derivatives:
                count_vectors_with_derivatives(theta, self.shares, self.density, out[j, 0], out[j, 1 : 1 + len(theta)])
            else:
                count_vectors(theta, self.shares, self.density, out[j, 0])
        return out if derivatives else out[:, 0]

    def _checked_mean(self, mean: ArrayLike) -> Array:
        smooth = _checked("mean", mean)
        if smooth.shape != self.counts.shape:
            raise InputError(f"mean: must have shape {self.counts.shape}, as counts have, got {smooth.shape}")
        return smooth

    def _checked_splits(self, splits: ArrayLike) -> Array:
        """Splits (n_ps, n_pix, n_energy)."""
        a = _checked("splits", splits)
        n_ps, (n_pix, n_energy) = len(self.templates), self.counts.shape
        if a.shape not in ((n_ps, n_energy), (n_ps, n_pix, n_energy)):
            raise InputError(
                f"splits: must have shape ({n_ps}, {n_energy}) or ({n_ps}, {n_pix}, {n_energy}), got {a.shape}"
            )
        worst = np.abs(a.sum(axis=-1) - 1).max()
        if not worst <= 1e-9:
            raise InputError(f"splits: must sum to 1 over energies, one differs by {worst:.3g}")
        return np.broadcast_to(a if a.ndim == 3 else a[:, None], (n_ps, n_pix, n_energy))


def nptf_energy_log_likelihood(
    counts: ArrayLike,
    mean: ArrayLike,
    templates: ArrayLike,
    thetas: Sequence[ArrayLike],
    splits: ArrayLike,
    psf_f: ArrayLike,
    psf_df_rho: ArrayLike,
) -> float:
    """Return ln Π_p p(k_1 .. k_E) of a counts map with energies, normalised over counts.

    Parameters
    ----------
    counts, mean : array (n_pix, n_energy)
        Photons, and the expected numbers from smooth emission.
    templates : array (n_ps, n_pix)
    thetas : sequence of n_ps arrays
        As of :func:`gcesbi.baselines.nptf_log_likelihood`; S is in counts over all energies.
    splits : array (n_ps, n_energy) or (n_ps, n_pix, n_energy)
        Share of a source's counts in each energy bin; rows sum to 1.
    psf_f, psf_df_rho : array (n_share,)

    Examples
    --------
    >>> theta = [0.005, 3.0, 1.5, 10.0]
    >>> counts, mean = [[2, 1], [0, 0]], [[1.2, 0.8], [0.5, 0.5]]
    >>> round(nptf_energy_log_likelihood(counts, mean, [[1.0, 0.0]], [theta], [[0.6, 0.4]], [0.5], [2.0]), 4)
    -3.5342
    """
    return NptfEnergyLikelihood.build(counts, templates, psf_f, psf_df_rho)(mean, thetas, splits)


def _checked(name: str, values: ArrayLike) -> Array:
    array = np.ascontiguousarray(values, dtype=np.float64)
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        raise InputError(f"{name}: must be finite and not negative, got {array[bad][0]} in {bad.sum()} places")
    return array


def _equal_rows(splits: Array) -> list[list[int]]:
    """Templates of equal splits, together."""
    kinds: list[list[int]] = []
    for j, each in enumerate(splits):
        same = next((rows for rows in kinds if np.array_equal(splits[rows[0]], each)), None)
        kinds.append([j]) if same is None else same.append(j)
    return kinds


def _simplex(k: int, n_axis: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Points of Z^n_axis, none below 0, of degree up to k, by degree; their neighbours; and how many there are of each.

    Returns
    -------
    points : array (n_row, n_axis)
    up : array (n_row, n_axis)
        Row of the point that is one higher along an axis; -1 beyond degree k.
    number : array (k + 1,)
        Points of degree up to d.
    """
    cells = np.indices((k + 1,) * n_axis).reshape(n_axis, -1).T if n_axis else np.zeros((1, 0), dtype=np.int64)
    degree = cells.sum(axis=1)
    order = np.argsort(degree, kind="stable")
    order = order[degree[order] <= k]
    row = np.full(len(cells) + 1, -1)
    row[order] = np.arange(len(order))
    strides = (k + 1) ** np.arange(n_axis - 1, -1, -1)
    higher = np.where(degree[order, None] < k, order[:, None] + strides, -1) if n_axis else np.zeros((1, 0), np.int64)
    number = np.searchsorted(degree[order], np.arange(k + 1), side="right")
    return cells[order].astype(np.int64), row[higher].astype(np.int64), number.astype(np.int64)


# -- kernels, one pixel at a time: counts k (n_energy,), mean mu, splits a (n_kind, n_energy), x (n_kind, K + 1) ------


@njit(cache=True, nogil=True, error_model="numpy")
def _scales(k: NDArray[np.int64], mu: Array, x: Array, sigma: Array) -> None:
    """Fill sigma (n_kind,): about the photons that each kind gives to the pixel."""
    photons = 0
    smooth = 0.0
    for e in range(len(k)):
        photons += k[e]
        smooth += mu[e]
    total = 0.0
    for j in range(len(x)):
        sigma[j] = 0.0
        for m in range(1, photons + 1):
            sigma[j] += m * x[j, m]
        total += sigma[j]
    stretch = max(1.0, (photons - smooth) / total) if total > 0 else 1.0
    for j in range(len(x)):
        sigma[j] = sigma[j] * stretch if sigma[j] > 0 else 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _direct_weights(x: Array, n: int, sigma: float, v: Array, f: Array) -> None:
    """Fill v and f so that e^λ n! P(n) / σ^n = f_n v_n, with f_n = n! and v_n = e^λ P(n) / σ^n."""
    y = np.empty(n + 1)
    power = 1.0
    v[0], f[0] = 1.0, 1.0
    for i in range(1, n + 1):
        power /= sigma
        y[i] = i * x[i] * power
        f[i] = _FACTORIALS[i]
        total = 0.0
        for m in range(1, i + 1):
            total += y[m] * v[i - m]
        v[i] = total / i


@njit(cache=True, nogil=True, error_model="numpy")
def _tilted_law(x: Array, n: int, centre: float, v: Array) -> tuple[float, float]:
    """Fill v so that e^λ P(n) = e^scale v_n τ^n, with v about as large at 0 as at `centre`; return scale and ln τ."""
    y = np.zeros(n + 1)
    rho = 0.0
    if np.any(x[1 : n + 1] > 0):
        for m in range(1, n + 1):
            y[m] = m * x[m]
        rho = _saddle_point(y, max(int(centre), 1))
        for m in range(1, n + 1):
            y[m] = math.exp(math.log(y[m]) + m * rho) if y[m] > 0 else 0.0
    scale = 0.0
    v[0] = 1.0
    for i in range(1, n + 1):
        total = 0.0
        for m in range(1, i + 1):
            total += y[m] * v[i - m]
        v[i] = total / i
        if v[i] > 1e200:
            scale += math.log(1e200)
            for j in range(i + 1):
                v[j] *= 1e-200
    return scale, -rho


@njit(cache=True, nogil=True, error_model="numpy")
def _saddle(
    k: NDArray[np.int64], mu: Array, a: Array, log_w: Array, n: int, sigma: Array, at: NDArray[np.int64]
) -> float:
    """Move sigma and `at`, photons of every kind, to where the terms of ln p are largest; return the logarithm there.

    `log_w` (n_kind, n + 1) is ln w_n = ln n! P(n); at the saddle w_n / σ^n is flat about the photons that σ gives.
    """
    value = -np.inf
    for _ in range(30):
        value = 0.0
        at[:] = 0
        photons = np.zeros(len(a))
        for e in range(len(k)):
            if k[e] > 0:
                g = mu[e]
                for j in range(len(a)):
                    g += a[j, e] * sigma[j]
                if not g > 0:
                    return -np.inf
                value += k[e] * math.log(g)
                for j in range(len(a)):
                    photons[j] += k[e] * a[j, e] * sigma[j] / g
        moved = 0.0
        for j in range(len(a)):
            at[j] = min(int(photons[j]), n - 1)
            value += log_w[j, at[j]] - at[j] * math.log(sigma[j])
            slope = log_w[j, at[j] + 1] - log_w[j, at[j]] - math.log(sigma[j])
            if abs(slope) < 1e3:
                sigma[j] *= math.exp(0.5 * slope)
                moved = max(moved, abs(slope))
        if moved < 1e-2:
            break
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _tilted_weights(
    k: NDArray[np.int64], mu: Array, a: Array, x: Array, sigma: Array, v: Array, f: Array, log_tau: Array
) -> float:
    """As :func:`_direct_weights` for all kinds and any number of photons, with f v near 1 where it counts; sigma moves.

    Returns the logarithm of what f v is to be multiplied by.
    """
    n, n_kind = k.sum(), len(x)
    log_w, scale = np.full((n_kind, n + 1), -np.inf), np.empty(n_kind)
    for j in range(n_kind):
        scale[j], log_tau[j] = _tilted_law(x[j], n, min(max(sigma[j], 1.0), n), v[j])
        for i in range(n + 1):
            if v[j, i] > 0:
                log_w[j, i] = math.log(v[j, i]) + i * log_tau[j] + _LOG_FACTORIALS[i]
    other, at, there = np.empty(n_kind), np.zeros(n_kind, np.int64), np.zeros(n_kind, np.int64)
    for j in range(n_kind):
        other[j] = max(x[j, 1], 1e-300)
    if _saddle(k, mu, a, log_w, n, other, there) > _saddle(k, mu, a, log_w, n, sigma, at):
        sigma[:], at[:] = other, there
    total = 0.0
    for j in range(n_kind):
        log_sigma = math.log(sigma[j])
        reference = log_w[j, at[j]] - at[j] * log_sigma
        total += reference + scale[j]
        for i in range(n + 1):
            exponent = _LOG_FACTORIALS[i] + i * (log_tau[j] - log_sigma) - reference
            # weights above e^600 belong to numbers of photons that the other factors forbid
            room = 600.0 - math.log(v[j, i]) if v[j, i] > 0 else 0.0
            f[j, i] = math.exp(min(exponent, room, 700.0))
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _start(n: int, points: NDArray[np.int64], number: NDArray[np.int64], v: Array, f: Array, b: Array) -> None:
    """Fill b with Π_j w_j: rows (number[n], n + 1)."""
    last = len(v) - 1
    for r in range(number[n]):
        degree = 0
        first = 1.0
        for j in range(last):
            i = points[r, j]
            degree += i
            first *= f[j, i] * v[j, i]
        for i in range(n - degree + 1):
            b[r, i] = first * f[last, i] * v[last, i]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _take(
    left: int,
    smooth: float,
    a: Array,
    points: NDArray[np.int64],
    up: NDArray[np.int64],
    number: NDArray[np.int64],
    b: Array,
) -> None:
    """One photon: b_n <- smooth b_n + Σ_j a_j b_(n + e_j) for all n of degree up to `left`."""
    n_axis = points.shape[1]
    last = a[n_axis]
    for r in range(number[left]):
        degree = 0
        for j in range(n_axis):
            degree += points[r, j]
        row = b[r]
        if n_axis == 0:
            for i in range(left + 1):
                row[i] = smooth * row[i] + last * row[i + 1]
        elif n_axis == 1:
            above, share = b[up[r, 0]], a[0]
            for i in range(left - degree + 1):
                row[i] = smooth * row[i] + last * row[i + 1] + share * above[i]
        else:
            for i in range(left - degree + 1):
                row[i] = smooth * row[i] + last * row[i + 1]
            for j in range(n_axis):
                above, share = b[up[r, j]], a[j]
                for i in range(left - degree + 1):
                    row[i] += share * above[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _factors(mu: Array, a: Array, sigma: Array, e: int, share: Array) -> float:
    """Fill share (n_kind,) with a_j σ_j / g and return g = μ + Σ_j a_j σ_j."""
    g = mu[e]
    for j in range(len(a)):
        share[j] = a[j, e] * sigma[j]
        g += share[j]
    for j in range(len(a)):
        share[j] /= g
    return g


@njit(cache=True, nogil=True, error_model="numpy")
def _pixel(
    k: NDArray[np.int64],
    mu: Array,
    a: Array,
    x: Array,
    points: NDArray[np.int64],
    up: NDArray[np.int64],
    number: NDArray[np.int64],
    sigma: Array,
    v: Array,
    f: Array,
    log_tau: Array,
    b: Array,
    kept: Array,
) -> tuple[float, float]:
    """Ln p and b_0 of a pixel; `kept` (n_energy, ..), unless empty, takes b as it is before each energy's photons."""
    n = k.sum()
    _scales(k, mu, x, sigma)
    if n <= _DIRECT:
        for j in range(len(x)):
            _direct_weights(x[j], n, sigma[j], v[j], f[j])
            log_tau[j] = math.log(sigma[j])
        value, b_0 = _take_all(k, mu, a, points, up, number, sigma, v, f, b, kept)
        if _SAFE < b_0 < 1 / _SAFE:
            return value - x[:, 0].sum(), b_0
    scale = _tilted_weights(k, mu, a, x, sigma, v, f, log_tau)
    value, b_0 = _take_all(k, mu, a, points, up, number, sigma, v, f, b, kept)
    return value + scale - x[:, 0].sum(), b_0


@njit(cache=True, nogil=True, error_model="numpy")
def _take_all(
    k: NDArray[np.int64],
    mu: Array,
    a: Array,
    points: NDArray[np.int64],
    up: NDArray[np.int64],
    number: NDArray[np.int64],
    sigma: Array,
    v: Array,
    f: Array,
    b: Array,
    kept: Array,
) -> tuple[float, float]:
    """Let all photons of a pixel take b from the weights f v to b_0; returns ln p, P's masses left out, and b_0."""
    value, left, share = 0.0, k.sum(), np.empty(len(a))
    _start(left, points, number, v, f, b)
    for e in range(len(k)):
        value -= mu[e]
        if k[e] == 0:
            continue
        g = _factors(mu, a, sigma, e, share)
        if not g > 0:
            return -np.inf, 0.0
        value += k[e] * math.log(g) - _LOG_FACTORIALS[k[e]]
        if len(kept):
            kept[e, : number[left], : left + 1] = b[: number[left], : left + 1]
        for _ in range(k[e]):
            left -= 1
            _take(left, mu[e] / g, share, points, up, number, b)
    return (value + math.log(b[0, 0]) if b[0, 0] > 0 else -np.inf), b[0, 0]


@njit(cache=True, nogil=True, error_model="numpy")
def _log_probabilities(
    counts: NDArray[np.int64],
    mean: Array,
    x: Array,
    a: Array,
    points: NDArray[np.int64],
    up: NDArray[np.int64],
    number: NDArray[np.int64],
    out: Array,
) -> None:
    """Fill out (n_pix,) with ln p of every pixel."""
    n_kind, n_row = x.shape[1], x.shape[2]
    sigma, log_tau = np.empty(n_kind), np.empty(n_kind)
    v, f = np.empty((n_kind, n_row)), np.empty((n_kind, n_row))
    b, kept = np.empty((number[n_row - 1], n_row + 1)), np.empty((0, 0, 0))
    for p in range(len(counts)):
        out[p] = _pixel(counts[p], mean[p], a[p], x[p], points, up, number, sigma, v, f, log_tau, b, kept)[0]


@njit(cache=True, nogil=True, error_model="numpy")
def _gradients(
    counts: NDArray[np.int64],
    mean: Array,
    x: Array,
    a: Array,
    points: NDArray[np.int64],
    up: NDArray[np.int64],
    number: NDArray[np.int64],
    out: Array,
    by_mean: Array,
    by_x: Array,
    by_a: Array,
) -> None:
    """Fill out (n_pix,) and the derivatives of every ln p by mean, by x (X_Σ at index 0) and by splits."""
    n_kind, n_row, n_energy = x.shape[1], x.shape[2], counts.shape[1]
    sigma, log_tau, share = np.empty(n_kind), np.empty(n_kind), np.empty(n_kind)
    v, f, slope = np.empty((n_kind, n_row)), np.empty((n_kind, n_row)), np.empty((n_kind, n_row))
    b, c = np.empty((number[n_row - 1], n_row + 1)), np.empty((number[n_row - 1], n_row + 1))
    kept = np.empty((n_energy, number[n_row - 1], n_row + 1))
    for p in range(len(counts)):
        k, mu, split = counts[p], mean[p], a[p]
        out[p], b_0 = _pixel(k, mu, split, x[p], points, up, number, sigma, v, f, log_tau, b, kept)
        by_mean[p] = -1.0
        by_x[p, :, 0] = -1.0
        if not b_0 > 0:
            continue
        n, done = k.sum(), 0
        c[: number[n], : n + 1] = 0.0
        c[0, 0] = 1.0
        for e in range(n_energy - 1, -1, -1):
            if k[e] == 0:
                continue
            g = _factors(mu, split, sigma, e, share)
            for i in range(k[e]):
                if i == k[e] - 1:
                    _photon_slopes(
                        done, k[e] / (g * b_0), e, sigma, points, up, number, c, kept[e], by_mean[p], by_a[p]
                    )
                _give(done, mu[e] / g, share, points, up, number, c)
                done += 1
        _weight_slopes(n, points, number, v, f, c, slope)
        for j in range(n_kind):
            for m in range(1, n + 1):
                total = 0.0
                for i in range(m, n + 1):
                    total += slope[j, i] * f[j, i] * v[j, i - m]
                by_x[p, j, m] = total / b_0 * math.exp(-m * log_tau[j])


@njit(cache=True, nogil=True, error_model="numpy")
def _photon_slopes(
    done: int,
    weight: float,
    e: int,
    sigma: Array,
    points: NDArray[np.int64],
    up: NDArray[np.int64],
    number: NDArray[np.int64],
    c: Array,
    b: Array,
    by_mean: Array,
    by_a: Array,
) -> None:
    """Derivatives of ln p by μ_e and a_je, from b before and the derivatives c after the first photon of energy e."""
    n_axis = points.shape[1]
    for r in range(number[done]):
        degree = 0
        for j in range(n_axis):
            degree += points[r, j]
        for i in range(done - degree + 1):
            here = weight * c[r, i]
            by_mean[e] += here * b[r, i]
            by_a[n_axis, e] += here * sigma[n_axis] * b[r, i + 1]
            for j in range(n_axis):
                by_a[j, e] += here * sigma[j] * b[up[r, j], i]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _give(
    done: int,
    smooth: float,
    a: Array,
    points: NDArray[np.int64],
    up: NDArray[np.int64],
    number: NDArray[np.int64],
    c: Array,
) -> None:
    """The transpose of :func:`_take`: derivatives c by b before a photon, from those after it, of degree up to done."""
    n_axis = points.shape[1]
    for r in range(number[done] - 1, -1, -1):
        degree = 0
        for j in range(n_axis):
            degree += points[r, j]
        for i in range(done - degree, -1, -1):
            value = c[r, i]
            c[r, i] = smooth * value
            c[r, i + 1] += a[n_axis] * value
            for j in range(n_axis):
                c[up[r, j], i] += a[j] * value


@njit(cache=True, nogil=True, error_model="numpy")
def _weight_slopes(
    n: int, points: NDArray[np.int64], number: NDArray[np.int64], v: Array, f: Array, c: Array, slope: Array
) -> None:
    """Fill slope (n_kind, n + 1): derivatives of b_0 by every weight w_j(n_j) = f v."""
    last = len(v) - 1
    slope[:, : n + 1] = 0.0
    for r in range(number[n]):
        degree = 0
        first = 1.0
        for j in range(last):
            i = points[r, j]
            degree += i
            first *= f[j, i] * v[j, i]
        along = 0.0
        for i in range(n - degree + 1):
            slope[last, i] += first * c[r, i]
            along += c[r, i] * f[last, i] * v[last, i]
        for j in range(last):
            others = along
            for h in range(last):
                if h != j:
                    others *= f[h, points[r, h]] * v[h, points[r, h]]
            slope[j, points[r, j]] += others

r"""Likelihood of the non-Poissonian template fit (NPTF): photon statistics of unresolved point sources.

Sources of a template T_j are scattered with a source-count distribution dN/dS over their expected counts S; a source
lends the share f of its light to a pixel with density ρ(f). The number of photons in a pixel then is compound Poisson
(Malyshev & Hogg 2011, arXiv:1104.0010; Lee, Lisanti & Safdi 2015, arXiv:1412.6099; Mishra-Sharma, Rodd & Safdi 2017,
arXiv:1612.03173):

.. math:: \ln\sum_k p_k t^k = \mu\,(t-1) + \sum_{m\ge1} x_m\,(t^m - 1), \qquad
          x_m = \sum_j T_j \sum_i \Delta\rho_i \int dS\,\frac{dN_j}{dS}\,\frac{(f_i S)^m e^{-f_i S}}{m!}.

The likelihood is the product of p_k over pixels, which takes neighbouring pixels as independent although they share the
light of a source: it is not the likelihood of the map (arXiv:1612.03173, sect. 2), and its intervals are somewhat too
narrow.

Two steps, two modules: :mod:`gcesbi.baselines.nptf.count_integrals` (from a broken power law to vectors X_m, once for
the whole map) and :mod:`gcesbi.baselines.nptf.recursion` (from x_m = Σ_j T_j X_m to p_k, for every pixel).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from joblib import cpu_count
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.nptf.count_integrals import count_vectors
from gcesbi.baselines.nptf.recursion import (
    STRIDE,
    FloatArray,
    IntArray,
    PixelBlocks,
    log_likelihood,
    log_probabilities,
    log_probability_gradients,
)
from gcesbi.baselines.nptf.scd_family import SourceView, at_exposure
from gcesbi.errors import InputError, shown
from gcesbi.sky.compiled import njit
from gcesbi.sky.observation import check_counts

__all__ = [
    "NptfLikelihood",
    "VectorGradient",
    "check_theta",
    "exposure_groups",
    "nptf_log_likelihood",
]


def check_theta(theta: ArrayLike, name: str = "theta") -> NDArray[np.float64]:
    """Return [A, n_1 .. n_{b+1}, S_1 .. S_b], b >= 1, as an array; InputError if it is no source-count distribution.

    A must not be negative, breaks be positive and descending, n_1 above 1 (the number of sources with a photon is
    finite) and the last index below 2 (so is the number of photons).
    """
    values = np.asarray(theta, dtype=np.float64)
    if values.ndim != 1 or values.size < 4 or values.size % 2:
        raise InputError(f"{name}: must hold [A, n_1 .. n_(b+1), S_1 .. S_b] with b >= 1, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{name}: must be finite, got {shown(values)}")
    n_break = values.size // 2 - 1
    indices, breaks = values[1 : n_break + 2], values[n_break + 2 :]
    if values[0] < 0:
        raise InputError(f"{name}: A must not be negative, got {values[0]}")
    if breaks[-1] <= 0 or np.any(np.diff(breaks) >= 0):
        raise InputError(f"{name}: breaks must be positive and descending, got {shown(breaks)}")
    if indices[0] <= 1:
        raise InputError(f"{name}: the first index must be above 1, or bright sources diverge, got {indices[0]}")
    if indices[-1] >= 2:
        raise InputError(f"{name}: the last index must be below 2, or the flux diverges, got {indices[-1]}")
    return values


def _check_psf_table(f: ArrayLike, df_rho: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    shares, density = np.asarray(f, dtype=np.float64), np.asarray(df_rho, dtype=np.float64)
    if shares.shape != density.shape or shares.ndim != 1 or shares.size == 0:
        raise InputError(f"psf_f, psf_df_rho: must be vectors of one length, got {shares.shape} and {density.shape}")
    if not np.all((shares > 0) & (shares <= 1)):
        raise InputError(f"psf_f: must lie in (0, 1], got {shares[~((shares > 0) & (shares <= 1))].flat[0]}")
    _check_values("psf_df_rho", density)
    return shares, density


def _check_maps(counts: ArrayLike, templates: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    k = check_counts(counts)
    maps = np.asarray(templates, dtype=np.float64)
    if k.ndim != 1 or k.size == 0:
        raise InputError(f"counts: must have shape (n_pix,), got {k.shape}")
    if maps.ndim != 2 or maps.shape[1:] != k.shape or len(maps) == 0:
        raise InputError(f"templates: must have shape (n_ps, {k.size}), got {maps.shape}")
    _check_values("templates", maps)
    return k, maps


def _check_values(name: str, values: NDArray[np.float64]) -> None:
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        raise InputError(f"{name}: must be finite and not negative, got {values[bad][0]} in {bad.sum()} places")


@dataclass(frozen=True, eq=False)
class VectorGradient:
    """Log-likelihood and its derivatives by what the recursion sees.

    Attributes
    ----------
    value : float
    by_mean : array (n_pix,)
        By every pixel's mean of the smooth emission.
    by_vectors : array (n_group, n_ps, n_row)
        By X_Σ (index 0) and X_m of every point-source template, held independent of each other.
    """

    value: float
    by_mean: NDArray[np.float64]
    by_vectors: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NptfLikelihood:
    """Likelihood of one counts map, ready for many evaluations. Make one by :meth:`build` or :meth:`of_groups`.

    Attributes
    ----------
    blocks : PixelBlocks
    views : tuple of SourceView
        How the instrument sees the sources of every point-source template.
    """

    blocks: PixelBlocks
    views: tuple[SourceView, ...]

    @classmethod
    def build(cls, counts: ArrayLike, templates: ArrayLike, psf_f: ArrayLike, psf_df_rho: ArrayLike) -> NptfLikelihood:
        """Sort pixels of one exposure into blocks; arguments as for :func:`nptf_log_likelihood`."""
        k, maps = _check_maps(counts, templates)
        shares, density = (table[None] for table in _check_psf_table(psf_f, psf_df_rho))
        view = SourceView(shares, density, np.ones(1), 1.0, int(k.max()) + 1)
        return cls.of_groups(k, maps, np.zeros(k.size, dtype=np.int64), [view] * len(maps))

    @classmethod
    def of_groups(
        cls, counts: ArrayLike, templates: ArrayLike, group: NDArray[np.int64], views: Sequence[SourceView]
    ) -> NptfLikelihood:
        """Sort pixels into blocks, each of one `group` (n_pix,): the first index of the views' tables."""
        k, maps = _check_maps(counts, templates)
        return cls(PixelBlocks.build(k, maps, group), tuple(views))

    @property
    def n_ps(self) -> int:
        """Number of point-source templates."""
        return len(self.views)

    @property
    def n_group(self) -> int:
        """Number of groups of pixels."""
        return len(self.views[0].ratio)

    @property
    def n_row(self) -> int:
        """Length of vectors X: index 0, 1 .. largest count, and zeros that the recursion may read."""
        return self.blocks.max_count + 1 + STRIDE

    def lanes(self, maps: ArrayLike) -> NDArray[np.float64]:
        """Maps (..., n_pix) in the order of the blocks, (..., n_block, LANES), 0 in padding."""
        given = np.asarray(maps, dtype=np.float64)
        order = self.blocks.order
        out = np.zeros((math.prod(given.shape[:-1]), *order.shape))
        _gather(given.reshape(len(out), given.shape[-1]), order, out)
        return out.reshape(*given.shape[:-1], *order.shape)

    def log_probabilities(self, mean: ArrayLike, thetas: Sequence[ArrayLike]) -> NDArray[np.float64]:
        """Log-probability of every pixel's count, (n_pix,)."""
        vectors = self._vectors([check_theta(theta) for theta in thetas])
        return self.log_probabilities_of(mean, vectors)

    def log_probabilities_of(self, mean: ArrayLike, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-probability of every pixel's count, (n_pix,), for vectors X (n_group, n_ps, n_row)."""
        out = np.empty(self.blocks.counts.shape)
        blocks = self.blocks
        log_probabilities(blocks.counts, blocks.templates, blocks.group, self.lanes(mean), vectors, out)
        return self._pixels(out)

    def _pixels(self, lanes: NDArray[np.float64]) -> NDArray[np.float64]:
        order = self.blocks.order
        pixels = np.empty(self.blocks.n_pix)
        pixels[order[order >= 0]] = lanes[order >= 0]
        return pixels

    def __call__(self, mean: ArrayLike, thetas: Sequence[ArrayLike]) -> float:
        """Log-likelihood for the mean of the smooth emission (n_pix,) and n_ps source-count distributions."""
        vectors, blocks = self._vectors([check_theta(theta) for theta in thetas]), self.blocks
        return log_likelihood(blocks.counts, blocks.templates, blocks.group, self.lanes(mean), vectors)

    def vector_gradient(self, mean: ArrayLike, vectors: NDArray[np.float64]) -> VectorGradient:
        """Log-likelihood and its derivatives for vectors X (n_group, n_ps, n_row), in closed form."""
        blocks = self.blocks
        out, by_mean = np.empty(blocks.counts.shape), np.empty(blocks.counts.shape)
        slope = np.empty_like(vectors)
        log_probability_gradients(
            blocks.counts, blocks.templates, blocks.group, self.lanes(mean), vectors, out, slope, by_mean
        )
        return VectorGradient(float(out.sum()), self._pixels(by_mean), slope)

    def evaluate_many(
        self,
        norms: NDArray[np.float64],
        smooth: NDArray[np.float64],
        vectors: Callable[[slice], NDArray[np.float64]],
        workers: int | None = None,
    ) -> NDArray[np.float64]:
        """Log-likelihoods (n,) of many parameter vectors, unchecked, on several cores.

        Parameters
        ----------
        norms : array (n, n_smooth)
        smooth : array (n_smooth, n_block, LANES)
            Smooth templates in the order of the blocks, see :meth:`lanes`.
        vectors : callable
            Gives X (n_part, n_group, n_ps, n_row) of a part of the parameter vectors; called in each thread.
        workers : int, optional
            Number of threads; all cores that this process may use by default.
        """
        n_worker = min(workers or cpu_count(), max(len(norms), 1))
        parts = [slice(*pair) for pair in zip(*_split(len(norms), n_worker), strict=True)]
        out = np.empty(len(norms))
        blocks = self.blocks

        def work(part: slice) -> None:
            fixed = (blocks.counts, blocks.templates, blocks.group)
            _evaluate(norms[part], smooth, np.ascontiguousarray(vectors(part)), *fixed, out[part])

        if n_worker == 1:
            work(slice(0, len(norms)))
        else:
            with ThreadPoolExecutor(n_worker) as pool:
                list(pool.map(work, parts))
        return out

    def _vectors(self, thetas: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """X (n_group, n_ps, n_row), zeros at the end."""
        if len(thetas) != self.n_ps:
            raise InputError(f"thetas: need one for each of {self.n_ps} templates, got {len(thetas)}")
        out = np.zeros((self.n_group, self.n_ps, self.n_row))
        for j, (theta, view) in enumerate(zip(thetas, self.views, strict=True)):
            for g, ratio in enumerate(view.ratio):
                count_vectors(at_exposure(theta, ratio), view.shares[g], view.density[g], out[g, j, : view.n])
        return out


def _split(n: int, parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    edges = np.linspace(0, n, parts + 1).astype(np.int64)
    return edges[:-1], edges[1:]


def exposure_groups(
    ratio: ArrayLike | None, n_exposure: int, n_pix: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Split pixels by exposure ratio (n_pix,) into groups of equal size: each pixel's group, each group's mean ratio.

    One group has the ratio 1.
    """
    if n_exposure < 1:
        raise InputError(f"n_exposure: must be at least 1, got {n_exposure}")
    if n_exposure == 1:
        return np.zeros(n_pix, dtype=np.int64), np.ones(1)
    values = np.asarray(ratio, dtype=np.float64)
    if values.shape != (n_pix,) or not np.all(values > 0):
        raise InputError(f"exposure_ratio: must be above zero with shape ({n_pix},), got shape {values.shape}")
    group = np.empty(n_pix, dtype=np.int64)
    group[np.argsort(values, kind="stable")] = np.arange(n_pix) * min(n_exposure, n_pix) // n_pix
    return group, np.bincount(group, values) / np.bincount(group)


@njit(cache=True, nogil=True)
def _gather(maps: FloatArray, order: IntArray, out: FloatArray) -> None:
    """Fill out (n, n_block, LANES) with maps (n, n_pix) in the order of the blocks; padding is left."""
    for i in range(len(maps)):
        for b in range(len(order)):
            for w in range(order.shape[1]):
                if order[b, w] >= 0:
                    out[i, b, w] = maps[i, order[b, w]]


@njit(cache=True, nogil=True, error_model="numpy")
def _evaluate(
    norms: FloatArray,
    smooth: FloatArray,
    vectors: FloatArray,
    counts: IntArray,
    templates: FloatArray,
    group: IntArray,
    out: FloatArray,
) -> None:
    """Fill out (n,) with the log-likelihoods of n parameter vectors."""
    mean = np.empty(counts.shape)
    for i in range(len(norms)):
        mean[:] = 0.0
        for t in range(len(smooth)):
            mean += norms[i, t] * smooth[t]
        out[i] = log_likelihood(counts, templates, group, mean, vectors[i])


def nptf_log_likelihood(
    counts: ArrayLike,
    mean: ArrayLike,
    templates: ArrayLike,
    thetas: Sequence[ArrayLike],
    psf_f: ArrayLike,
    psf_df_rho: ArrayLike,
) -> float:
    """Return ln Π_p p_{k_p} of a counts map, normalised over counts.

    Parameters
    ----------
    counts, mean : array (n_pix,)
        Photons, and the expected number from smooth emission.
    templates : array (n_ps, n_pix)
        Point-source templates: T_j dN_j/dS is the source-count distribution of sources whose centre lies in the pixel.
    thetas : sequence of n_ps arrays
        [A, n_1 .. n_{b+1}, S_1 .. S_b], S_1 > S_2 > ..: dN/dS = A (S/S_1)^-n_1 above S_1, A (S/S_1)^-n_2 below, then
        continuous.
    psf_f, psf_df_rho : array (n_share,)
        Shares f of a source's light, and the expected number of pixels per source that receive them; Σ f Δρ = 1.

    Examples
    --------
    >>> theta = [0.005, 3.0, 1.5, 10.0]
    >>> round(nptf_log_likelihood([3, 0], [2.0, 1.0], [[1.0, 0.0]], [theta], [0.5], [2.0]), 4)
    -2.6956
    """
    likelihood = NptfLikelihood.build(counts, templates, psf_f, psf_df_rho)
    smooth = np.asarray(mean, dtype=np.float64)
    if smooth.shape != (likelihood.blocks.n_pix,):
        raise InputError(f"mean: must have shape ({likelihood.blocks.n_pix},), got {smooth.shape}")
    _check_values("mean", smooth)
    return likelihood(smooth, thetas)

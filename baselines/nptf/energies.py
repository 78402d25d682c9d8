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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.nptf.count_integrals import count_vectors, count_vectors_with_derivatives
from gcesbi.baselines.nptf.energy_map import EnergyMap
from gcesbi.baselines.nptf.likelihood import check_theta
from gcesbi.errors import InputError

__all__ = ["EnergyGradient", "NptfEnergyLikelihood", "nptf_energy_log_likelihood"]

Array = NDArray[np.float64]


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
    map : EnergyMap
        The counts.
    templates : array (n_ps, n_pix)
    shares, density : array (n_share,)
        Shares f of a source's light, and the expected number of pixels per source that receive them.
    """

    map: EnergyMap
    templates: Array
    shares: Array
    density: Array

    @classmethod
    def build(
        cls,
        counts: ArrayLike,
        templates: ArrayLike,
        psf_f: ArrayLike,
        psf_df_rho: ArrayLike,
        workers: int | None = None,
        coarse_above: int | None = None,
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
        coarse_above : int, optional
            Pixels of more photons are used by their number alone, see :mod:`gcesbi.baselines.nptf.energy_map`; none
            by default.

        Raises
        ------
        InputError
            If shapes disagree or values are negative or not finite.
        """
        seen = EnergyMap.build(counts, coarse_above, workers)
        maps = _checked("templates", templates)
        if maps.ndim != 2 or maps.shape[1] != len(seen.counts) or len(maps) == 0:
            raise InputError(f"templates: must have shape (n_ps, {len(seen.counts)}), got {maps.shape}")
        shares, density = _checked("psf_f", psf_f), _checked("psf_df_rho", psf_df_rho)
        if shares.shape != density.shape or shares.ndim != 1 or shares.size == 0:
            raise InputError(
                f"psf_f, psf_df_rho: must be vectors of one length, got {shares.shape} and {density.shape}"
            )
        if not np.all((shares > 0) & (shares <= 1)):
            raise InputError(f"psf_f: must lie in (0, 1], got {shares[~((shares > 0) & (shares <= 1))][0]}")
        return cls(seen, maps, shares, density)

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
        return self.map.log_probabilities(smooth, self.templates, self._vectors(thetas), shares)

    def __call__(self, mean: ArrayLike, thetas: Sequence[ArrayLike], splits: ArrayLike) -> float:
        """Log-likelihood; arguments are those of :meth:`log_probabilities`."""
        return float(self.log_probabilities(mean, thetas, splits).sum())

    def gradient(self, mean: ArrayLike, thetas: Sequence[ArrayLike], splits: ArrayLike) -> EnergyGradient:
        """Log-likelihood and its derivatives, in closed form; arguments are those of :meth:`log_probabilities`.

        Norms and spectra of smooth templates follow by the chain rule from `by_mean`.
        """
        smooth, shares = self._checked_mean(mean), self._checked_splits(splits)
        vectors = self._vectors(thetas, derivatives=True)
        found = self.map.gradient(smooth, self.templates, np.ascontiguousarray(vectors[:, 0]), shares)
        slopes = zip(thetas, vectors, found.by_vectors, strict=True)
        by_theta = tuple(vector[1 : 1 + np.size(theta)] @ slope for theta, vector, slope in slopes)
        return EnergyGradient(found.value, found.by_mean, by_theta, found.by_splits)

    def _vectors(self, thetas: Sequence[ArrayLike], derivatives: bool = False) -> Array:
        """X (n_ps, K + 1) or, with derivatives, (n_ps, 1 + n_theta, K + 1)."""
        if len(thetas) != len(self.templates):
            raise InputError(f"thetas: need one for each of {len(self.templates)} templates, got {len(thetas)}")
        checked = [check_theta(theta) for theta in thetas]
        rows = 1 + max(map(len, checked)) if derivatives else 1
        out = np.zeros((len(checked), rows, self.map.largest + 1))
        for j, theta in enumerate(checked):
            if derivatives:
                count_vectors_with_derivatives(theta, self.shares, self.density, out[j, 0], out[j, 1 : 1 + len(theta)])
            else:
                count_vectors(theta, self.shares, self.density, out[j, 0])
        return out if derivatives else out[:, 0].copy()

    def _checked_mean(self, mean: ArrayLike) -> Array:
        smooth = _checked("mean", mean)
        if smooth.shape != self.map.counts.shape:
            raise InputError(f"mean: must have shape {self.map.counts.shape}, as counts have, got {smooth.shape}")
        return smooth

    def _checked_splits(self, splits: ArrayLike) -> Array:
        """Splits (n_ps, n_pix, n_energy)."""
        a = _checked("splits", splits)
        n_ps, (n_pix, n_energy) = len(self.templates), self.map.counts.shape
        if a.shape not in ((n_ps, n_energy), (n_ps, n_pix, n_energy)):
            raise InputError(
                f"splits: must have shape ({n_ps}, {n_energy}) or ({n_ps}, {n_pix}, {n_energy}), got {a.shape}"
            )
        worst = np.abs(a.sum(axis=-1) - 1).max()
        if not worst <= 1e-9:
            raise InputError(f"splits: must sum to 1 over energies, one differs by {worst:.3g}")
        return np.broadcast_to(a if a.ndim == 3 else a[:, None], (n_ps, n_pix, n_energy)).copy()


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
    -3.5349
    """
    return NptfEnergyLikelihood.build(counts, templates, psf_f, psf_df_rho)(mean, thetas, splits)


def _checked(name: str, values: ArrayLike) -> Array:
    array = np.ascontiguousarray(values, dtype=np.float64)
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        raise InputError(f"{name}: must be finite and not negative, got {array[bad][0]} in {bad.sum()} places")
    return array

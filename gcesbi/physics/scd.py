r"""Source-count distributions (SCDs): how many sources have which flux.

With N sources whose x = log₁₀F has density f(x), dN/dlog₁₀F = N f(x), the mean flux is F_tot = N ∫ 10ˣ f(x) dx.

The binned form used for labels and networks is the *SCD histogram* p_i, the share of the flux that sources in
flux bin i give (List et al. 2021, arXiv:2107.09070). Four representations say the same:

- PDF: p_i, Σ p_i = 1;
- CDF: P_i = Σ_{j ≤ i} p_j;
- F² dN/dF at the bin centres: F_tot p_i / (Δ ln 10), Δ the bin's width in log₁₀F;
- dN/dF: the same divided by F_i².

Divided by the region's solid angle, the last two are per steradian.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.physics import skew_normal

__all__ = [
    "DEFAULT_BINS",
    "ScdBins",
    "SkewNormalScd",
    "cdf_to_pdf",
    "n_sources",
    "pdf_to_cdf",
    "pdf_to_dndf",
    "pdf_to_f2dndf",
    "true_cdf",
]


@dataclass(frozen=True)
class ScdBins:
    """Equal bins of log₁₀F, with one overflow bin of the same width on either side.

    Sources beyond an overflow bin's outer edge count in it: the outer edges serve only to place its centre.

    Parameters
    ----------
    low, high : float
        Range of the inner bins, log₁₀ of photons cm⁻² s⁻¹.
    n_inner : int
        Number of inner bins.
    """

    low: float = -13.5
    high: float = -7.0
    n_inner: int = 24

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(f"flux bins: low must be below high, got {self.low} and {self.high}")
        if self.n_inner < 1:
            raise InputError(f"flux bins: n_inner must be at least 1, got {self.n_inner}")

    def __len__(self) -> int:
        return self.n_inner + 2

    @property
    def width(self) -> float:
        """Width Δ of a bin in log₁₀F."""
        return (self.high - self.low) / self.n_inner

    @cached_property
    def edges(self) -> NDArray[np.float64]:
        """Edges (n_bin + 1,), log₁₀F."""
        return self.low + self.width * (np.arange(len(self) + 1, dtype=np.float64) - 1)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Bin centres (n_bin,), log₁₀F."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def flux(self) -> NDArray[np.float64]:
        """Flux at the bin centres (n_bin,), photons / cm² / s."""
        return 10.0**self.centres

    def index(self, log_flux: ArrayLike) -> NDArray[np.int64]:
        """Bin of every log₁₀F; fluxes beyond the inner range fall into the overflow bins."""
        inner = np.floor((np.asarray(log_flux) - self.low) / self.width) + 1
        return np.clip(inner, 0, len(self) - 1).astype(np.int64)

    def histogram(self, flux: ArrayLike) -> NDArray[np.float64]:
        """SCD histogram p (n_bin,) of the fluxes of drawn sources; zeros if there is no source."""
        weights = self.flux_in_bins(flux)
        return weights / weights.sum() if weights.sum() > 0 else weights

    def flux_in_bins(self, flux: ArrayLike) -> NDArray[np.float64]:
        """Summed flux (n_bin,) of drawn sources."""
        flux = np.asarray(flux, dtype=np.float64)
        return np.bincount(self.index(np.log10(flux)), weights=flux, minlength=len(self)).astype(np.float64)


DEFAULT_BINS = ScdBins()


def pdf_to_cdf(pdf: ArrayLike) -> NDArray[np.float64]:
    """CDF (..., n_bin) of an SCD histogram (..., n_bin)."""
    return np.cumsum(pdf, axis=-1)


def cdf_to_pdf(cdf: ArrayLike) -> NDArray[np.float64]:
    """SCD histogram (..., n_bin) of a CDF (..., n_bin)."""
    return np.diff(cdf, axis=-1, prepend=0.0)


def true_cdf(scd: NDArray[np.float64]) -> NDArray[np.float64]:
    """CDFs of SCD histograms (..., n_bin) that end at exactly one."""
    found = np.minimum(np.cumsum(scd, axis=-1), 1.0)
    found[..., -1] = 1.0
    return found


def pdf_to_f2dndf(pdf: ArrayLike, total_flux: ArrayLike, bins: ScdBins = DEFAULT_BINS) -> NDArray[np.float64]:
    """F² dN/dF (..., n_bin) in photons / cm² / s, from p (..., n_bin) and F_tot (...)."""
    return np.asarray(pdf) * np.asarray(total_flux)[..., None] / (bins.width * np.log(10))


def pdf_to_dndf(pdf: ArrayLike, total_flux: ArrayLike, bins: ScdBins = DEFAULT_BINS) -> NDArray[np.float64]:
    """dN/dF (..., n_bin) in (photons / cm² / s)⁻¹, from p (..., n_bin) and F_tot (...)."""
    return pdf_to_f2dndf(pdf, total_flux, bins) / bins.flux**2


def n_sources(pdf: ArrayLike, total_flux: ArrayLike, bins: ScdBins = DEFAULT_BINS) -> NDArray[np.float64]:
    """Number of sources Σ_i F_tot p_i / F_i (...), from p (..., n_bin) and F_tot (...)."""
    return np.asarray(total_flux) * np.sum(np.asarray(pdf) / bins.flux, axis=-1)


@dataclass(frozen=True)
class SkewNormalScd:
    """Population whose dN/dlog₁₀F is a skew normal, cut at a largest flux.

    Parameters
    ----------
    xi, omega2, a : float
        Location (log₁₀ of photons cm⁻² s⁻¹), squared width and skewness of dN/dlog₁₀F.
    total_flux : float
        Mean flux of the whole population, photons / cm² / s.
    cut : float
        No source is brighter than 10^cut.
    n_node : int
        Nodes of the table behind integrals; their relative error is below 10⁻⁶ with 40,001, and 10⁻⁴ with 4,001.

    Raises
    ------
    InputError
        If omega2 or total_flux is negative.
    """

    xi: float
    omega2: float
    a: float
    total_flux: float
    cut: float = -7.0
    n_node: int = 40_001

    def __post_init__(self) -> None:
        skew_normal.check_omega2(self.omega2)
        if not self.total_flux >= 0:
            raise InputError(f"total_flux: must not be negative, got {self.total_flux}")

    @cached_property
    def _table(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Log-fluxes, the density there, and the flux below, fine enough for sums to be integrals."""
        omega = float(np.sqrt(skew_normal.check_omega2(self.omega2)))
        top = min(self.cut, self.xi + omega * (9 + omega * np.log(10)))
        x = np.linspace(min(self.xi - 9 * omega, top - 9 * omega), top, self.n_node)
        density = np.exp(skew_normal.log_pdf(x, self.xi, self.omega2, self.a))
        flux = density * 10.0**x
        return x, density, np.append(0.0, np.cumsum(np.diff(x) * (flux[1:] + flux[:-1]) / 2))

    @cached_property
    def mean_flux(self) -> float:
        """Mean flux of a source, photons / cm² / s."""
        x, density, below = self._table
        return float(below[-1] / np.trapezoid(density, x))

    @property
    def n_sources(self) -> float:
        """Mean number of sources."""
        return self.total_flux / self.mean_flux

    def dndlogf(self, log_flux: ArrayLike) -> NDArray[np.float64]:
        """dN/dlog₁₀F at log₁₀F."""
        x, density, _ = self._table
        values = np.exp(skew_normal.log_pdf(log_flux, self.xi, self.omega2, self.a)) / np.trapezoid(density, x)
        return np.where(np.asarray(log_flux) <= self.cut, self.n_sources * values, 0.0)

    def histogram(self, bins: ScdBins = DEFAULT_BINS) -> NDArray[np.float64]:
        """Expected SCD histogram (n_bin,)."""
        x, _, below = self._table
        cdf = np.interp(bins.edges[1:-1], x, below / below[-1])
        return np.diff(cdf, prepend=0.0, append=1.0)

    def sample(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw the fluxes of `n` sources (n,), by rejection above the cut."""
        drawn = np.empty(0)
        while len(drawn) < n:
            x = skew_normal.rvs(self.xi, self.omega2, self.a, 2 * n, rng)
            drawn = np.concatenate([drawn, x[x <= self.cut]])
        return 10.0 ** drawn[:n]

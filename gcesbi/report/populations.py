"""What samples of a posterior say of the sources of a template: how bright, how many, above one photon or below.

A source dimmer than one photon is smooth emission for any practical purpose: maps cannot tell the two apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gcesbi.physics.scd import ScdBins, cdf_to_pdf
from gcesbi.posterior import Posterior
from gcesbi.simulation import SkyModel

__all__ = ["Population", "cumulative_at", "drawn_from", "smooth_share"]

Array = NDArray[np.float64]


def drawn_from(posterior: Posterior) -> dict[str, Array]:
    """The samples of a posterior that tables and figures read."""
    return posterior.sample(2000, seed=0)


def cumulative_at(cdf: Array, bins: ScdBins, log_flux: Sequence[float]) -> Array:
    """Share of the flux below `log_flux` (n,), from CDFs (..., n_bin) given at the upper edges of bins: (..., n)."""
    flat = np.concatenate([np.zeros((*cdf.shape[:-1], 1)), cdf], axis=-1).reshape(-1, len(bins) + 1)
    values = np.stack([np.interp(log_flux, bins.edges, row) for row in flat])
    return values.reshape(*cdf.shape[:-1], len(log_flux))


def smooth_share(drawn: Mapping[str, Array], row: int, j: int) -> Array:
    """Share (n,) of a template's flux that is exactly smooth, where a method has such a part beside its sources."""
    if "point_source_flux_fraction" not in drawn:
        return np.zeros(len(next(iter(drawn.values()))))
    total, sources = drawn["flux_fraction"][:, row], drawn["point_source_flux_fraction"][:, j]
    return 1 - np.divide(sources, total, out=np.zeros_like(total), where=total > 0)


@dataclass(frozen=True)
class Population:
    """Samples of the sources of the template `name`, of `drawn` quantities that hold ``scd_cdf``."""

    model: SkyModel
    drawn: Mapping[str, Array]
    name: str

    @property
    def cdf(self) -> Array:
        """Cumulative source counts (n, n_bin)."""
        return self.drawn["scd_cdf"][:, self.model.point_sources.index(self.name)]

    @property
    def smooth(self) -> Array:
        """Share (n,) of the template's flux that is exactly smooth."""
        model = self.model
        return smooth_share(self.drawn, model.names.index(self.name), model.point_sources.index(self.name))

    @property
    def flux(self) -> Array:
        """Flux (n,) of the sources, photons cm⁻² s⁻¹; NaN where a method knows none."""
        if "flux" not in self.drawn:
            return np.full(len(self.cdf), np.nan)
        return self.drawn["flux"][:, self.model.names.index(self.name)] * (1 - self.smooth)

    @property
    def density(self) -> Array:
        """Sources for each decade of their flux, dN/dlog₁₀F (n, n_bin)."""
        bins = self.model.bins
        return np.maximum(cdf_to_pdf(self.cdf), 0) * self.flux[:, None] / 10**bins.centres / bins.width

    @property
    def shown(self) -> tuple[Array, Array]:
        """Edges, log₁₀F, and sources for each decade of their flux (n, n_inner / 2) between them: two bins together.

        Networks' quantiles jump over single bins; and what lies in an overflow bin has no flux of its own.
        """
        edges, pairs = self.model.bins.edges[1:-1:2], self.density[:, 1:-1].reshape(len(self.cdf), -1, 2)
        return edges, pairs.mean(axis=2)

    @property
    def share_above(self) -> Array:
        """Share (n,) of the template's flux that sources above one photon give."""
        below = cumulative_at(self.cdf, self.model.bins, [self._photon])[:, 0]
        return np.clip((1 - below) * (1 - self.smooth), 0, 1)

    @property
    def number_above(self) -> Array:
        """Number (n,) of sources above one photon."""
        edges, width = self.model.bins.edges, self.model.bins.width
        return self.density @ np.clip(edges[1:] - self._photon, 0, width)

    @property
    def _photon(self) -> float:
        """log₁₀ of the flux that gives one photon on average."""
        return -float(np.log10(self.model.exposure.mean()))

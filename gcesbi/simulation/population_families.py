"""Families of source-count distributions, with a prior for every parameter: what a population of sources may be.

Every family gives dN/dlog₁₀F on equal nodes, from which the kernels draw, and the same law in closed form or on a fine
table, from which labels are expected. ``flux``, the last parameter of each, is the population's mean total flux inside
the region. No source is brighter than the model's flux cut: that is part of every family.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from gcesbi.errors import InputError
from gcesbi.physics.broken_power_law import BrokenPowerLaw
from gcesbi.physics.scd import ScdBins, SkewNormalScd
from gcesbi.physics.skew_normal import SMALLEST_OMEGA2
from gcesbi.simulation.kernels import N_NODE, skew_normal_nodes
from gcesbi.simulation.marginals import ChiSquared, Marginal, Normal, check_mean
from gcesbi.simulation.stated_marginals import MarginalField
from gcesbi.simulation.statement import Statement

__all__ = [
    "BrokenPowerLawPopulation",
    "Population",
    "PopulationField",
    "PowerLawPopulation",
    "SkewNormalPopulation",
    "dimmest",
]

Array = NDArray[np.float64]
Nodes = tuple[float, float, Array]

_FINER = 8  # steps, between two nodes, over which a density with breaks is averaged
_NEGLECTED = 1e-4  # share of the flux in sources dimmer than any that are drawn, where there is no dimmest one
_DIMMEST = -25.0
_LOG_FLUXES = -30.0, 0.0


class ExpectedScd(Protocol):
    """What is expected of a population."""

    @property
    def n_sources(self) -> float:
        """Mean number of sources."""
        ...

    def histogram(self, bins: ScdBins) -> Array:
        """Expected SCD histogram (n_bin,)."""
        ...


class Population(Statement):
    """Prior of one population of point sources."""

    flux: MarginalField = Field(description="mean total flux inside the region, photons / cm² / s")

    def marginals(self) -> dict[str, Marginal]:
        """Marginals by parameter name, the flux last."""
        own = {n: getattr(self, n) for n in type(self).model_fields if n != "flux"}
        return {n: each for n, each in own.items() if isinstance(each, Marginal)} | {"flux": self.flux}

    def units(self) -> Mapping[str, str]:
        """Unit of every parameter that has one."""
        return {"flux": "cm-2 s-1"}

    @abstractmethod
    def nodes(self, shape: Array, cut: float) -> Nodes:
        """First node, step and dN/dlog₁₀F in any unit (N_NODE,), of the parameters but the flux, below 10^cut."""

    @abstractmethod
    def scd(self, shape: Array, flux: float, cut: float, n_node: int) -> ExpectedScd:
        """The same law as an object; `n_node` is that of :class:`gcesbi.physics.scd.SkewNormalScd`."""


class SkewNormalPopulation(Population):
    """dN/dlog₁₀F a skew normal (List et al. 2025, arXiv:2507.17804, Table 1)."""

    family: Literal["skew-normal"] = "skew-normal"
    xi: MarginalField = Field(description="location, log₁₀ of photons / cm² / s")
    omega2: MarginalField = Field(ChiSquared(0.25), description="squared width")
    a: MarginalField = Field(Normal(0.0, 3.0), description="skewness")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_mean("xi", self.xi, *_LOG_FLUXES)
        check_mean("omega2", self.omega2, 0, 100)
        return self

    def units(self) -> Mapping[str, str]:
        """ξ is the logarithm of a flux."""
        return {"xi": "log10 cm-2 s-1", **super().units()}

    def nodes(self, shape: Array, cut: float) -> Nodes:
        """Compiled."""
        first, step, density = skew_normal_nodes(shape[0], np.sqrt(max(shape[1], SMALLEST_OMEGA2)), shape[2], cut)
        return first, step, density

    def scd(self, shape: Array, flux: float, cut: float, n_node: int) -> ExpectedScd:
        """On a table."""
        return SkewNormalScd(shape[0], max(shape[1], SMALLEST_OMEGA2), shape[2], flux, cut, n_node)


class BrokenPowerLawPopulation(Population):
    """dN/dF a power law with any number of breaks (Mishra-Sharma, Rodd & Safdi 2017, arXiv:1612.03173)."""

    family: Literal["broken-power-law"] = "broken-power-law"
    indices: tuple[MarginalField, ...] = Field(min_length=1, description="n_1, n_2, .. of F^-n, from bright to dim")
    breaks: tuple[MarginalField, ...] = Field((), description="log₁₀ of the fluxes of the breaks, from bright to dim")
    low: float | None = Field(None, description="log₁₀ of the lowest flux; without one the last index stays below 2")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.indices) != len(self.breaks) + 1:
            raise InputError(
                f"indices: must be one more than the {len(self.breaks)} breaks, got {len(self.indices)} of them"
            )
        for i, index in enumerate(self.indices, 1):
            check_mean(f"n{i}", index, -100, 100)
        for i, place in enumerate(self.breaks, 1):
            check_mean(f"break{i}", place, *_LOG_FLUXES)
        for i, (upper, lower) in enumerate(pairwise(self.breaks)):
            if not lower.range[1] <= upper.range[0]:
                raise InputError(
                    f"breaks: priors must descend from bright to dim without overlap, break {i + 2} reaches "
                    f"{lower.range[1]} above {upper.range[0]}"
                )
        if self.low is None and not self.indices[-1].range[1] < 2:
            raise InputError(
                f"population: its flux diverges: the last index must stay below 2 where there is no lowest flux, its "
                f"prior reaches {self.indices[-1].range[1]}"
            )
        if self.low is not None and self.breaks and not self.low < self.breaks[-1].range[0]:
            raise InputError(f"low: must lie below every break, got {self.low}")
        return self

    def marginals(self) -> dict[str, Marginal]:
        """n1, n2, ..; break1, ..; flux."""
        named = {f"n{i + 1}": each for i, each in enumerate(self.indices)}
        return named | {f"break{i + 1}": each for i, each in enumerate(self.breaks)} | {"flux": self.flux}

    def units(self) -> Mapping[str, str]:
        """Breaks are logarithms of fluxes."""
        return {f"break{i + 1}": "log10 cm-2 s-1" for i in range(len(self.breaks))} | dict(super().units())

    def nodes(self, shape: Array, cut: float) -> Nodes:
        """Averages over the nodes' neighbourhoods, so that number and mean log-flux are those of the law."""
        return _power_law_nodes(*self._parts(shape, cut))

    def scd(self, shape: Array, flux: float, cut: float, n_node: int) -> ExpectedScd:
        """In closed form."""
        indices, breaks, low, high = self._parts(shape, cut)
        law = BrokenPowerLaw(1.0, indices, tuple(10.0**x for x in breaks), 10.0**low, 10.0**high)
        return _ScaledPowerLaw(law, flux)

    def _parts(self, shape: Array, cut: float) -> tuple[tuple[float, ...], tuple[float, ...], float, float]:
        """Indices, log-breaks below the cut, and lowest and highest log-flux."""
        n = len(self.indices)
        indices, breaks = tuple(shape[:n].tolist()), tuple(shape[n:].tolist())
        while breaks and breaks[0] >= cut:
            indices, breaks = indices[1:], breaks[1:]
        low = self.low if self.low is not None else dimmest(breaks[-1] if breaks else cut, indices[-1])
        return indices, breaks, low, cut


class PowerLawPopulation(Population):
    """dN/dF ∝ F^alpha between a lowest flux and a threshold (Caron et al. 2018, arXiv:1708.06706)."""

    family: Literal["power-law"] = "power-law"
    alpha: MarginalField = Field(description="index")
    low: float = Field(-12.0, description="log₁₀ of the lowest flux")
    threshold: float = Field(-9.0, description="log₁₀ of the highest flux")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.threshold:
            raise InputError(f"low: must be below the threshold {self.threshold}, got {self.low}")
        if not np.isfinite(self.low):
            raise InputError(f"population: its flux may diverge without a lowest flux, got low {self.low}")
        check_mean("alpha", self.alpha, -100, 100)
        return self

    def nodes(self, shape: Array, cut: float) -> Nodes:
        """Averages over the nodes' neighbourhoods."""
        return _power_law_nodes((-shape[0],), (), self.low, min(self.threshold, cut))

    def scd(self, shape: Array, flux: float, cut: float, n_node: int) -> ExpectedScd:
        """In closed form."""
        law = BrokenPowerLaw(1.0, (-shape[0],), (), 10.0**self.low, 10.0 ** min(self.threshold, cut))
        return _ScaledPowerLaw(law, flux)


PopulationField = Annotated[
    SkewNormalPopulation | BrokenPowerLawPopulation | PowerLawPopulation, Field(discriminator="family")
]
"""A family of source-count distributions as a field of a statement."""


def dimmest(start: float, index: float) -> float:
    """Log₁₀ of the dimmest flux of F^-index below 10^`start`, where none is stated: 10⁻⁴ of the flux is neglected.

    But never below 10⁻²⁵ photons / cm² / s, where `start` is above.
    """
    return float(max(start + np.log10(_NEGLECTED) / (2.0 - index), min(_DIMMEST, start - 1.0)))


class _ScaledPowerLaw:
    """A power law of fluxes with a given total flux."""

    def __init__(self, law: BrokenPowerLaw, flux: float) -> None:
        self._law, self._flux = law, flux

    @property
    def n_sources(self) -> float:
        return self._flux / self._law.total_flux * float(self._law.number_between(0.0, np.inf))

    def histogram(self, bins: ScdBins) -> Array:
        return self._law.histogram(10.0**bins.edges)


def _power_law_nodes(indices: tuple[float, ...], breaks: tuple[float, ...], low: float, high: float) -> Nodes:
    step = (high - low) / (N_NODE - 1)
    x = low + step * (np.arange((N_NODE - 1) * _FINER) + 0.5) / _FINER
    log_density, at = np.zeros(len(x)), high
    for index, end in zip(indices, (*breaks, low), strict=True):  # from bright to dim
        log_density += (1.0 - index) * np.clip(x - at, end - at, 0.0)
        at = end
    density = 10.0 ** (log_density - log_density.max())
    toward = (np.arange(_FINER) + 0.5) / _FINER
    pieces = density.reshape(-1, _FINER) / _FINER
    out = np.zeros(N_NODE)
    out[:-1] += pieces @ (1 - toward)
    out[1:] += pieces @ toward
    out[[0, -1]] *= 2.0  # half a neighbourhood
    return low, step, out

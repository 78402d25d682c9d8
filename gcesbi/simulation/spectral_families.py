"""Families of spectra, with a prior for every parameter; the spectrum of a component is its share of flux by energy.

In one energy bin a spectrum has no parameters.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from gcesbi.errors import InputError, shown
from gcesbi.io import read_isotropic_spectrum
from gcesbi.physics.spectra import (
    broken_power_law_shares,
    log_parabola_shares,
    power_law_shares,
    skew_normal_shares,
)
from gcesbi.simulation.marginals import Beta, ChiSquared, Marginal, Normal, Uniform
from gcesbi.simulation.stated_marginals import MarginalField
from gcesbi.simulation.statement import Statement, check_keys

__all__ = [
    "BrokenPowerLawSpectrum",
    "FixedShares",
    "FreeSpectrum",
    "LogParabolaSpectrum",
    "PowerLawSpectrum",
    "SkewNormalSpectrum",
    "SpectrumField",
    "SpectrumPrior",
    "TabulatedSpectrum",
    "as_spectrum",
    "stick_marginals",
    "sticks_to_shares",
]

Array = NDArray[np.float64]


class SpectrumPrior(Statement):
    """A family of spectra and its prior."""

    def marginals(self, energy_edges: ArrayLike) -> dict[str, Marginal]:
        """Marginals by parameter, in a model of these bins: those of the fields that hold one."""
        return {n: getattr(self, n) for n in type(self).model_fields if isinstance(getattr(self, n), Marginal)}

    def units(self) -> Mapping[str, str]:
        """Unit of every parameter that has one."""
        return {}

    @abstractmethod
    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """Share of the flux in each energy bin (n, n_energy) for parameters (n, n_value), in the marginals' order."""


class SkewNormalSpectrum(SpectrumPrior):
    """dN/dlog₁₀E a skew normal, cut to the analysis range (List et al. 2025, Table 1)."""

    family: Literal["skew-normal"] = "skew-normal"
    xi: MarginalField | None = Field(None, description="location, log₁₀ of GeV; by default even over the model's bins")
    omega2: MarginalField = Field(ChiSquared(4.0), description="squared width")
    a: MarginalField = Field(Normal(0.0, 5.0), description="skewness")

    def marginals(self, energy_edges: ArrayLike) -> dict[str, Marginal]:
        """ξ, ω² and a."""
        edges = np.asarray(energy_edges)
        xi = Uniform(float(np.log10(edges[0])), float(np.log10(edges[-1]))) if self.xi is None else self.xi
        return {"xi": xi, "omega2": self.omega2, "a": self.a}

    def units(self) -> Mapping[str, str]:
        """ξ is the logarithm of an energy."""
        return {"xi": "log10 GeV"}

    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """See :func:`gcesbi.physics.spectra.skew_normal_shares`."""
        return skew_normal_shares(energy_edges, *values.T)


class PowerLawSpectrum(SpectrumPrior):
    """dN/dE ∝ E^-index."""

    family: Literal["power-law"] = "power-law"
    index: MarginalField = Field(Uniform(1.5, 3.5), description="photon index")

    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """See :func:`gcesbi.physics.spectra.power_law_shares`."""
        return power_law_shares(energy_edges, *values.T)


class LogParabolaSpectrum(SpectrumPrior):
    """dN/dE ∝ (E/E₀)^-(index + curvature ln E/E₀)."""

    family: Literal["log-parabola"] = "log-parabola"
    index: MarginalField = Field(Uniform(1.5, 3.5), description="photon index at the pivot")
    curvature: MarginalField = Field(Uniform(0.0, 1.0), description="of the logarithm")
    pivot: float = Field(2.0, gt=0, description="E₀, GeV")

    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """See :func:`gcesbi.physics.spectra.log_parabola_shares`."""
        index, curvature = values.T
        return log_parabola_shares(energy_edges, index, curvature, self.pivot)


class BrokenPowerLawSpectrum(SpectrumPrior):
    """dN/dE ∝ E^-low_index below a break, E^-high_index above it."""

    family: Literal["broken-power-law"] = "broken-power-law"
    low_index: MarginalField = Field(Uniform(0.5, 3.0), description="photon index below the break")
    high_index: MarginalField = Field(Uniform(2.0, 5.0), description="photon index above the break")
    break_energy: MarginalField = Field(Uniform(2.0, 10.0), description="GeV")

    def units(self) -> Mapping[str, str]:
        """The break is an energy."""
        return {"break_energy": "GeV"}

    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """See :func:`gcesbi.physics.spectra.broken_power_law_shares`."""
        return broken_power_law_shares(energy_edges, *values.T)


class TabulatedSpectrum(SpectrumPrior):
    """A known spectrum, whose norm alone is free: dN/dE at some energies, a power law between neighbours.

    In place of numbers a `file` may be named: lines of energy (MeV) and dN/dE, as Fermi's isotropic spectra come. Its
    numbers are kept.
    """

    family: Literal["tabulated"] = "tabulated"
    energy: tuple[float, ...] = Field(min_length=2, description="GeV, ascending")
    dnde: tuple[float, ...] = Field(description="dN/dE at these energies, above zero, any unit")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "file" in values:
            if {"energy", "dnde"} & values.keys():
                raise InputError("spectrum: needs either a file, or energy and dnde")
            table = read_isotropic_spectrum(values["file"])
            told = {key: each for key, each in values.items() if key != "file"}
            values = {**told, "energy": table.energy.tolist(), "dnde": table.values.tolist()}
        if isinstance(values, Mapping):
            check_keys(cls, values)
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        energy, dnde = np.array(self.energy), np.array(self.dnde)
        if energy.shape != dnde.shape:
            raise InputError(f"spectrum: energy and dnde must be of one length, got {len(energy)} and {len(dnde)}")
        if not (np.isfinite(energy).all() and np.all(energy > 0) and np.all(np.diff(energy) > 0)):
            raise InputError("spectrum: energies must be above zero and ascend")
        if not (np.isfinite(dnde).all() and np.all(dnde > 0)):
            raise InputError("spectrum: dnde must be above zero")
        return self

    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """The same for every row of values (n, 0)."""
        edges, energy = np.log(np.asarray(energy_edges)), np.log(self.energy)
        if edges[0] < energy[0] - 1e-6 or edges[-1] > energy[-1] + 1e-6:
            low, high = np.exp(edges[[0, -1]])
            raise InputError(
                f"spectrum: the table must cover {low:.4g} to {high:.4g} GeV, covers {self.energy[0]:.4g} to "
                f"{self.energy[-1]:.4g}"
            )
        knots = np.union1d(edges, energy[(energy > edges[0]) & (energy < edges[-1])])
        log_density = np.interp(knots, energy, np.log(self.dnde) + energy)  # of dN/dlnE
        rise, step = np.diff(log_density), np.diff(knots)
        safe = np.where(np.abs(rise) < 1e-9, 1.0, rise)
        piece = step * np.exp(log_density[:-1]) * np.where(np.abs(rise) < 1e-9, 1.0 + rise / 2, np.expm1(safe) / safe)
        upto = np.concatenate([[0.0], np.cumsum(piece)])[np.searchsorted(knots, edges)]
        return np.tile(np.diff(upto) / upto[-1], (len(values), 1))


class FreeSpectrum(SpectrumPrior):
    """Shares of flux free in every energy bin: a Dirichlet distribution, by breaking sticks."""

    family: Literal["free"] = "free"
    alpha: float = Field(1.0, gt=0, description="of the Dirichlet distribution; 1 is flat")

    def marginals(self, energy_edges: ArrayLike) -> dict[str, Marginal]:
        """What is broken off the rest of the stick, bin by bin."""
        return stick_marginals("share", np.full(len(np.asarray(energy_edges)) - 1, self.alpha))

    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """Pieces of the stick."""
        return sticks_to_shares(values)


class FixedShares(SpectrumPrior):
    """Shares of flux that are known in the model's own bins: those of a catalogue."""

    values: tuple[float, ...]

    def shares(self, energy_edges: ArrayLike, values: Array) -> Array:
        """The same for every row of values (n, 0)."""
        return np.tile(self.values, (len(values), 1))


def stick_marginals(name: str, alpha: ArrayLike) -> dict[str, Marginal]:
    """Independent marginals of the sticks v_1 .. v_(k-1) whose pieces have a Dirichlet distribution of `alpha` (k,).

    Raises
    ------
    InputError
        If an entry of alpha is not above zero.
    """
    a = np.asarray(alpha, dtype=np.float64)
    if not (np.isfinite(a).all() and np.all(a > 0)):
        raise InputError(f"{name}: weights of a Dirichlet distribution must be above zero, got {shown(a)}")
    rest = np.cumsum(a[::-1])[::-1][1:]
    return {f"{name}{i + 1}": Beta(float(a[i]), float(rest[i])) for i in range(len(a) - 1)}


def sticks_to_shares(sticks: Array) -> Array:
    """Shares (..., k), of sum 1, of sticks (..., k - 1): each is the part of what is left that its share takes."""
    left = np.concatenate([np.ones_like(sticks[..., :1]), np.cumprod(1 - sticks, axis=-1)], axis=-1)
    return left * np.concatenate([sticks, np.ones_like(left[..., :1])], axis=-1)


SpectrumField = Annotated[
    SkewNormalSpectrum
    | PowerLawSpectrum
    | LogParabolaSpectrum
    | BrokenPowerLawSpectrum
    | TabulatedSpectrum
    | FreeSpectrum,
    Field(discriminator="family"),
]
"""A family of spectra as a field of a statement."""


def as_spectrum(value: Any) -> Any:
    """A family by its bare name stands for it with its default priors."""
    return {"family": value} if isinstance(value, str) else value

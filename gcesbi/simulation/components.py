"""The components of a sky, as a user states them: smooth emission, point sources, catalogues of known sources."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Fixed, Marginal, Uniform, check_mean
from gcesbi.simulation.nuisances import NuisanceField
from gcesbi.simulation.population_families import PopulationField, SkewNormalPopulation
from gcesbi.simulation.spectral_families import SkewNormalSpectrum, SpectrumField, as_spectrum
from gcesbi.simulation.stated_data import FileField
from gcesbi.simulation.stated_marginals import MarginalField
from gcesbi.simulation.statement import Statement
from gcesbi.simulation.template_statements import Map, Mixture, TemplateField

__all__ = ["Catalogue", "Component", "ComponentField", "PointSources", "Smooth"]


def _with_default_family(value: Any) -> Any:
    """A population without a family is a skew normal."""
    return {"family": "skew-normal", **value} if isinstance(value, dict) else value


StatedSpectrum = Annotated[SpectrumField, BeforeValidator(as_spectrum)]


class Component(Statement):
    """What every component has."""

    name: str = Field(description="a user's own")

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not re.fullmatch(r"[^\W\d][\w-]*", name):
            raise InputError(f"name: must be a word that begins with a letter, got {name!r}")
        return name


class Smooth(Component):
    """Smooth emission, Poisson in every pixel."""

    kind: Literal["smooth"] = "smooth"
    template: TemplateField
    norm: MarginalField = Field(
        description="mean expected counts per pixel over the normalisation disc, all energies, at the stated exposure"
    )
    spectrum: StatedSpectrum = Field(default_factory=SkewNormalSpectrum)
    nuisances: tuple[NuisanceField, ...] = Field(
        (), exclude_if=lambda value: not value, description="how it may differ from its template"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_norm(self.name, "norm", self.norm)
        for leaf in self.template.leaves() if isinstance(self.template, Mixture) else (self.template,):
            if isinstance(leaf, Map) and leaf.smoothed is None:
                raise InputError(
                    f"component {self.name}: its map must say whether the PSF is applied: smoothed = true or false"
                )
        return self


class PointSources(Component):
    """Populations of point sources that share a template for their places, and a spectrum."""

    kind: Literal["point-sources"] = "point-sources"
    template: TemplateField = Field(description="density of sources")
    populations: tuple[Annotated[PopulationField, BeforeValidator(_with_default_family)], ...] = Field(min_length=1)
    poisson_share: MarginalField | None = Field(
        None, description="share of the flux that is exactly Poisson; without it all flux is that of sources"
    )
    spectrum: StatedSpectrum = Field(default_factory=SkewNormalSpectrum)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for population in self.populations:
            _check_norm(self.name, "flux", population.flux, _MOST_FLUX)
        if self.poisson_share is not None:
            low, high = self.poisson_share.range
            if not 0 <= low <= high <= 1:
                raise InputError(f"component {self.name}: poisson_share must lie in [0, 1], reaches {low} to {high}")
        return self


class Catalogue(Component):
    """Known sources at a catalogue's positions, fluxes and spectra, with a common norm."""

    kind: Literal["catalogue"] = "catalogue"
    file: FileField = Field(description="FITS file of 3FGL or 4FGL")
    norm: MarginalField = Field(Fixed(1.0), description="what multiplies the catalogue's fluxes")

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_norm(self.name, "norm", self.norm)
        return self


ComponentField = Annotated[Smooth | PointSources | Catalogue, Field(discriminator="kind")]
"""A component as a field of a statement."""


_MOST_NORM, _MOST_FLUX = 1e6, 1.0
"""Means that no sky reaches."""


def _check_norm(name: str, what: str, marginal: Marginal, most: float = _MOST_NORM) -> None:
    low, high = marginal.range
    if not (low >= 0 and high > 0):
        hint = "; truncate it" if low == -np.inf else ""
        raise InputError(f"component {name}: {what} must not be negative nor nil, its prior reaches {low}{hint}")
    check_mean(f"component {name}: {what}", marginal, 0, most)


def flat_share() -> Uniform:
    """A share of which nothing is known."""
    return Uniform(0.0, 1.0)


def literature_population(xi: tuple[float, float], flux: tuple[float, float]) -> SkewNormalPopulation:
    """A population with the widths and skewness of List et al. (2025, arXiv:2507.17804, Table 1)."""
    return SkewNormalPopulation(xi=Uniform(*xi), flux=Uniform(*flux))

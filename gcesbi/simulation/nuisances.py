r"""What a user states of how a smooth component may differ from its template: random log-fields of stated amplitude.

The template T becomes T · exp(g) / Z, g a Gaussian field on the sky, drawn anew for every map; Z keeps the component's
flux inside the region. The model, its amplitude and its scale are stated; what g is in a map is not a parameter. After
Buschmann et al. (2020, arXiv:2002.12373; harmonics) and Storm et al. (2017, arXiv:1705.04065; SkyFACT's fields).

In TOML::

    nuisances = [ { kind = "harmonics", l_max = 8, sigma = 0.2 }, { kind = "field", length = 2.0, sigma = [0.0, 0.3] } ]
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from gcesbi.errors import InputError
from gcesbi.simulation.stated_marginals import MarginalField
from gcesbi.simulation.statement import Degrees, Statement

__all__ = ["GaussianField", "Harmonics", "Nuisance", "NuisanceField"]


class Nuisance(Statement):
    """What every log-field has."""

    label: ClassVar[str]
    """What stands in the name of its amplitude."""

    sigma: MarginalField = Field(description="amplitude; a prior makes it a parameter of the model")
    per_energy: bool = Field(False, description="whether every energy bin has a field of its own")

    @model_validator(mode="after")
    def _check_sigma(self) -> Self:
        low = self.sigma.range[0]
        if not low >= 0:
            raise InputError(f"sigma: must not be negative, reaches {low}")
        return self


class Harmonics(Nuisance):
    """g = Σ a_lm Y_lm, l from `l_min` to `l_max`, with a_lm ~ N(0, σ_l²) and σ_l = sigma · l^-slope.

    Y_lm are the real, orthonormal spherical harmonics in Galactic coordinates: g has the variance Σ σ_l² (2l + 1) / 4π.
    """

    label: ClassVar[str] = "harmonics"

    kind: Literal["harmonics"] = "harmonics"
    l_max: int = Field(ge=1)
    l_min: int = Field(1, ge=1)
    slope: float = Field(0.0, ge=-10, le=10, description="of the spectrum of σ_l")

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.l_min > self.l_max:
            raise InputError(f"l_min: must not exceed l_max {self.l_max}, got {self.l_min}")
        return self


class GaussianField(Nuisance):
    """g a stationary Gaussian field of covariance sigma² exp(-d² / (2 length²)), d the distance on the sky."""

    label: ClassVar[str] = "field"

    kind: Literal["field"] = "field"
    length: Degrees = Field(ge=0.5, le=10, description="degrees")


NuisanceField = Annotated[Harmonics | GaussianField, Field(discriminator="kind")]
"""A nuisance as a field of a statement."""

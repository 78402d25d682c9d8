"""Templates as a user states them: a formula whose parameters may float, a map, or a mixture of these.

In TOML a template is a table::

    template = { formula = "nfw", gamma = [0.9, 1.4] }
    template = { file = "gas.fits", smoothed = false }
    template = { mixture = [ { formula = "nfw" }, { file = "bulge.fits", smoothed = false } ] }
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Discriminator, Field, Tag, model_serializer, model_validator

from gcesbi.errors import InputError, nearest
from gcesbi.io import map_nside
from gcesbi.io.template_map import healpix_shape
from gcesbi.physics import templates
from gcesbi.simulation.marginals import Fixed, Marginal, Uniform
from gcesbi.simulation.spectral_families import stick_marginals
from gcesbi.simulation.stated_data import ArrayField, FileField
from gcesbi.simulation.stated_marginals import MarginalField, as_marginal
from gcesbi.simulation.statement import Statement, unsaid

__all__ = ["FORMULAS", "Formula", "Map", "Mixture", "TemplateField"]

FORMULAS: dict[str, type[templates.Template]] = {
    "nfw": templates.NFW,
    "disk": templates.Disk,
    "isotropic": templates.Isotropic,
    "bubbles": templates.Bubbles,
    "pion-decay": templates.PionDecay,
    "inverse-compton": templates.InverseCompton,
}
"""Built-in templates, by the name that a composition gives them; their parameters are those of the classes."""


class Formula(Statement):
    """A built-in template of :mod:`gcesbi.physics.templates`; parameters that have a prior float."""

    formula: str
    parameters: dict[str, MarginalField | str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, values: Any) -> Any:
        """Parameters stand beside the name: ``{ formula = "nfw", gamma = 1.2 }``."""
        if not isinstance(values, Mapping):
            return values
        name = values.get("formula")
        if name not in FORMULAS:
            raise InputError(f"formula: must be a built-in template, got {name!r}; {nearest(str(name), FORMULAS)}")
        given = {
            **values.get("parameters", {}),
            **{k: v for k, v in values.items() if k not in ("formula", "parameters")},
        }
        known = [each.name for each in fields(FORMULAS[name]) if each.init]  # type: ignore[arg-type]
        for key in given:
            if key not in known:
                raise InputError(
                    f"template {name}: {key} is no parameter; {nearest(key, known) if known else 'has none'}"
                )
        told = {key: value if isinstance(value, str) else as_marginal(value) for key, value in given.items()}
        return {"formula": name, "parameters": told}

    @classmethod
    def of(cls, formula: str, **parameters: Any) -> Self:
        """The template of a name and its parameters."""
        return cls(formula=formula, parameters=parameters)

    @property
    def floating(self) -> dict[str, Marginal]:
        """Parameters with a prior."""
        return {
            name: value
            for name, value in self.parameters.items()
            if isinstance(value, Marginal) and not isinstance(value, Fixed)
        }

    def at(self, **values: float) -> templates.Template:
        """The template, floating parameters set to `values`.

        Raises
        ------
        InputError
            If a parameter is out of the template's range.
        """
        known = {n: v.value if isinstance(v, Fixed) else v for n, v in self.parameters.items() if n not in values}
        return FORMULAS[self.formula](**known, **values)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, marginal in self.floating.items():
            low, high = marginal.range
            if not (np.isfinite(low) and np.isfinite(high)):
                raise InputError(f"template {self.formula}: the prior of {name} must have two ends; truncate it")
        low_corner = {name: marginal.range[0] for name, marginal in self.floating.items()}
        for corner in (low_corner, {name: marginal.range[1] for name, marginal in self.floating.items()}):
            self.at(**corner)
        return self

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        told = {n: v.to_data() if isinstance(v, Marginal) else v for n, v in self.parameters.items()}
        return {"formula": self.formula, **told}


class Map(Statement):
    """A map, or a cube over the model's energy bins, from a file or an array.

    A file is FITS (HEALPix, or an image with GLON/GLAT-CAR axes) or ``.npy``; arrays and ``.npy`` cover the whole sky
    and state their order.
    """

    file: FileField | None = None
    values: ArrayField | None = Field(None, description="(12 nside²,) or (n_energy, 12 nside²)")
    hdu: str | None = Field(
        None, exclude_if=unsaid, description="table or image of a FITS file, by name; needed where it holds several"
    )
    order: Literal["ring", "nested"] | None = Field(
        None, description="of an array or .npy file, or of a HEALPix table whose header states none"
    )
    frame: Literal["galactic", "equatorial", "ecliptic"] | None = Field(
        None, exclude_if=unsaid, description="of the same; arrays are Galactic unless stated"
    )
    quantity: Literal["intensity", "counts", "exposure"] = Field(
        "intensity", description="intensity or flux, in any unit; or expected counts, exposure included"
    )
    smoothed: bool | None = Field(
        None, description="whether the map is taken as the instrument sees it; else the PSF is applied"
    )
    bins: tuple[int, int] | None = Field(None, description="first and one past the last of a cube's energy bins")
    index: float | None = Field(
        None,
        exclude_if=unsaid,
        description="of the power law of energy that multiplies maps of counts at energies, as those of gtsrcmaps",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is None) == (self.values is None):
            raise InputError("map: needs either a file or values")
        if self.values is not None and self.values.ndim not in (1, 2, 3):
            raise InputError(f"map: values must be a map or image, or a cube of them, got shape {self.values.shape}")
        return self

    @property
    def floating(self) -> dict[str, Marginal]:
        """Nothing floats."""
        return {}

    @property
    def healpix_shape(self) -> tuple[int, int] | None:
        """How many maps there are, and their nside; None if they are images."""
        if self.file is not None:
            found = healpix_shape(self.file, hdu=self.hdu, order=self.order, frame=self.frame)
        elif self.values is None or self.order is None:
            return None
        else:
            values = np.atleast_2d(self.values)
            found = len(values), map_nside(values.shape[-1], "map")
        if found is None or found[0] == 1 or self.bins is None:
            return found
        return len(range(*self.bins)), found[1]


class Mixture(Statement):
    """Templates with shares of the component's light: of two a `weight` of the first, of more a Dirichlet prior."""

    mixture: tuple[TemplateField, ...] = Field(min_length=2)
    weight: MarginalField | None = Field(None, description="share of the first of two; U[0, 1] by default")
    alpha: tuple[float, ...] | float = Field(1.0, description="of the Dirichlet distribution of the shares; 1 is flat")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.weight is not None:
            if len(self.mixture) != 2:
                raise InputError(f"weight: is for mixtures of two, not of {len(self.mixture)}; use alpha")
            low, high = self.weight.range
            if not 0 <= low <= high <= 1:
                raise InputError(f"weight: must lie in [0, 1], reaches from {low} to {high}")
        alpha = np.atleast_1d(self.alpha)
        if not (np.isfinite(alpha).all() and np.all(alpha > 0)):
            raise InputError(f"alpha: weights of a Dirichlet distribution must be above zero, got {self.alpha}")
        if len(alpha) not in (1, len(self.mixture)):
            raise InputError(f"alpha: must be one number or one for each of {len(self.mixture)}, got {len(alpha)}")
        return self

    @property
    def sticks(self) -> dict[str, Marginal]:
        """Marginals of the shares: see :func:`gcesbi.simulation.spectral_families.stick_marginals`."""
        if len(self.mixture) == 2 and self.weight is not None:
            return {"weight": self.weight}
        alpha = np.broadcast_to(np.asarray(self.alpha, dtype=np.float64), len(self.mixture))
        if len(self.mixture) == 2:
            single = stick_marginals("weight", alpha)["weight1"]
            return {"weight": Uniform(0.0, 1.0) if np.all(alpha == 1.0) else single}
        return stick_marginals("weight", alpha)

    @property
    def floating(self) -> dict[str, Marginal]:
        """The shares, then what floats in the parts, whose names count the parts where two say the same."""
        own = dict(self.sticks)
        for i, part in enumerate(self.mixture):
            for name, marginal in part.floating.items():
                own[name if name not in own else f"part{i + 1}_{name}"] = marginal
        return {name: each for name, each in own.items() if not isinstance(each, Fixed)}

    def check_maps(self) -> None:
        """Raise InputError if maps over the whole sky differ in nside, or in the number of their energies."""
        told = [(leaf, shape) for leaf in self.leaves() if isinstance(leaf, Map) and (shape := leaf.healpix_shape)]
        for what, i in (("nside", 1), ("energies", 0)):
            for leaf, shape in told:
                if shape[i] != told[0][1][i]:
                    where = leaf.file or "map"
                    raise InputError(f"mixture: maps must agree in {what}, {where} has {shape[i]}, not {told[0][1][i]}")

    def leaves(self) -> Iterator[Formula | Map]:
        """All templates in it."""
        for part in self.mixture:
            yield from part.leaves() if isinstance(part, Mixture) else (part,)


def _tag(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else type(value).model_fields if isinstance(value, Statement) else ()
    return next((name for name in ("formula", "mixture") if name in keys), "map")


def _as_template(value: Any) -> Any:
    """A bare name is a formula, an array of Python's is not enough: it must say order and PSF."""
    if isinstance(value, str):
        return {"formula": value}
    if isinstance(value, np.ndarray):
        raise InputError("template: an array must say its order and whether the PSF is applied: Map(values=..., ...)")
    return value


TemplateField = Annotated[
    Annotated[Formula, Tag("formula")] | Annotated[Map, Tag("map")] | Annotated[Mixture, Tag("mixture")],
    Discriminator(_tag),
    BeforeValidator(_as_template),
]
"""A template as a field of a statement."""

Mixture.model_rebuild()

"""The instrument through which a sky is seen, as a user states it: exposure and point-spread function."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from astropy import units
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from gcesbi.errors import InputError
from gcesbi.io import read_exposure, read_king_table, read_psf_table
from gcesbi.io.files import naming
from gcesbi.io.image import holds_psf
from gcesbi.io.template_map import in_rows
from gcesbi.physics.image_psf import TabulatedPSF
from gcesbi.physics.psf import PSF
from gcesbi.simulation.patches import Patch
from gcesbi.simulation.stated_data import ArrayField, FileField
from gcesbi.simulation.statement import Degrees, Statement, unsaid
from gcesbi.simulation.template_statements import Map

__all__ = ["Exposure", "ExposureField", "FilePsf", "KingPsf", "NamedPsf", "PsfField", "SurveyExposure"]

Array = NDArray[np.float64]


class SurveyExposure(Statement):
    """The library's own exposure of the Fermi survey, in proportion to the weeks of observation."""

    kind: Literal["survey"] = "survey"
    weeks: float = Field(573.0, ge=1e-3, le=1e5)

    def on(self, patch: Patch, energy_edges: Array) -> Array:
        """Exposure (n_energy, n_patch), cm² s."""
        return patch.survey(energy_edges, self.weeks)


class Exposure(Statement):
    """A number, or a map or cube over the whole sky, cm² s.

    A FITS file is one of ``gtexpcube2``, HEALPix or plate carrée, at energies or in bins; or a table of ``gtpsf``,
    whose exposure is then that of everywhere.
    """

    kind: Literal["map"] = "map"
    file: FileField | None = None
    values: ArrayField | None = Field(None, description="number, (12 n²,) or (n_energy, 12 n²), cm² s")
    order: Literal["ring", "nested"] | None = Field(
        None, description="of an array or .npy file, or of a HEALPix table whose header states none"
    )
    frame: Literal["galactic", "equatorial", "ecliptic"] | None = Field(
        None, exclude_if=unsaid, description="of the same; arrays are Galactic unless stated"
    )
    scale: float = Field(1.0, gt=0, description="what multiplies it")
    index: float = Field(2.4, description="of the photons' power law, with which it is averaged over a bin")
    bins: tuple[int, int] | None = Field(None, description="first and one past the last of a cube's energy bins")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.file is None) == (self.values is None):
            raise InputError("exposure: needs either a file or values")
        whole = self.values is not None and self.values.ndim > 0
        if self.order is None and (whole or str(self.file).endswith(".npy")):
            raise InputError("exposure: order must be stated, 'ring' or 'nested'")
        return self

    def on(self, patch: Patch, energy_edges: Array) -> Array:
        """Exposure (n_energy, n_patch), cm² s."""
        n = len(energy_edges) - 1
        if self.values is not None and self.values.ndim == 0:
            found = np.full((1, len(patch)), float(self.values))
        elif self.file is None or self.file.endswith(".npy"):
            told = {n: getattr(self, n) for n in ("file", "values", "order", "frame")}
            stated = Map(**told, quantity="exposure")
            found = patch.read(stated, energy_edges)
        elif holds_psf(self.file):
            table = read_psf_table(self.file)
            means = [table.mean_exposure(low, high, self.index) for low, high in pairwise(energy_edges)]
            found = np.tile(np.array(means)[:, None], (1, len(patch)))
        else:
            maps = read_exposure(self.file, order=self.order, frame=self.frame).on(energy_edges)
            found = maps.at(*patch.grid.glon_glat(), energy_edges, self.index)
            known = np.isfinite(found).all(axis=0)
            if not known.any():
                raise InputError(f"{self.file}: exposure: is known nowhere in the region")
            found = patch.extend(found[:, known], np.flatnonzero(known))
        with naming("exposure"):
            found = in_rows(found, self.bins)
        if len(found) not in (1, n):
            raise InputError(f"exposure: needs one map for each of {n} energy bins, or one for all, got {len(found)}")
        return (np.tile(found, (n, 1)) if len(found) < n else found) * self.scale


class NamedPsf(Statement):
    """A function that the library knows: ``default`` is that of each bin's energies, ``customary-2gev`` one for all."""

    kind: Literal["named"] = "named"
    name: Literal["default", "customary-2gev"] = "default"

    def in_bins(self, energy_edges: Array) -> tuple[PSF, ...]:
        """One for each energy bin."""
        if self.name == "default":
            return tuple(PSF.default(low, high) for low, high in pairwise(energy_edges))
        return (PSF.customary_2gev(),) * (len(energy_edges) - 1)


class KingPsf(Statement):
    """Mixtures of King functions, one for every energy bin (or one for all): see :class:`gcesbi.physics.psf.PSF`."""

    kind: Literal["king"] = "king"
    weights: tuple[tuple[float, ...], ...]
    sigmas: tuple[tuple[float, ...], ...] = Field(description="rad")
    gammas: tuple[tuple[float, ...], ...]
    theta_max: Degrees = 5.0

    def in_bins(self, energy_edges: Array) -> tuple[PSF, ...]:
        """One for each energy bin."""
        n, rows = len(energy_edges) - 1, zip(self.weights, self.sigmas, self.gammas, strict=True)
        found = [PSF(np.array(w), np.array(s), np.array(g), self.theta_max) for w, s, g in rows]
        if len(found) not in (1, n):
            raise InputError(f"psf: needs one for each of {n} energy bins, or one for all, got {len(found)}")
        return tuple(found) * (n // len(found))

    @classmethod
    def of(cls, psf: tuple[PSF, ...]) -> KingPsf:
        """The statement of functions that are known."""
        columns = {n: tuple(tuple(getattr(p, n).tolist()) for p in psf) for n in ("weights", "sigmas", "gammas")}
        return cls(**columns, theta_max=psf[0].theta_max)


class FilePsf(Statement):
    """A file's: a table of ``gtpsf``, or the King functions of an event type in an instrument response."""

    kind: Literal["file"] = "file"
    file: FileField
    event_type: str | None = Field(None, description="of an instrument response, such as PSF3 or FRONT")
    index: float = Field(2.4, description="of the photons' power law, with which it is averaged over a bin")

    def in_bins(self, energy_edges: Array) -> tuple[PSF | TabulatedPSF, ...]:
        """One for each energy bin."""
        if self.event_type is None:
            table = read_psf_table(self.file)
            return tuple(table.mean(low, high, self.index) for low, high in pairwise(energy_edges))
        king = read_king_table(self.file, self.event_type)
        return tuple(PSF.from_table(king, low, high, index=self.index) for low, high in pairwise(energy_edges))


def _as_exposure(value: Any) -> Any:
    if isinstance(value, units.Quantity):
        try:
            return {"kind": "map", "values": value.to_value("cm2 s")}
        except units.UnitConversionError:
            raise InputError(f"exposure: must be an area times a time, has the unit {value.unit}") from None
    if isinstance(value, (int, float, np.ndarray)):
        return {"kind": "map", "values": value}
    if isinstance(value, Mapping) and "kind" not in value:
        return {"kind": "map" if set(value) & {"file", "values"} else "survey", **value}
    return value


def _as_psf(value: Any) -> Any:
    if isinstance(value, PSF):
        return KingPsf.of((value,))
    if isinstance(value, (tuple, list)) and value and all(isinstance(each, PSF) for each in value):
        return KingPsf.of(tuple(value))
    if isinstance(value, str):
        return {"kind": "named", "name": value}
    if isinstance(value, Mapping) and "kind" not in value:
        kind = "king" if "sigmas" in value else "file" if "file" in value else "named"
        return {"kind": kind, **value}
    return value


ExposureField = Annotated[SurveyExposure | Exposure, Field(discriminator="kind"), BeforeValidator(_as_exposure)]
"""An exposure as a field of a statement."""
PsfField = Annotated[NamedPsf | KingPsf | FilePsf, Field(discriminator="kind"), BeforeValidator(_as_psf)]
"""A point-spread function as a field of a statement."""

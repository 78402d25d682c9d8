"""A sky as a user states it, whole: where, through which instrument, and which components shine.

A :class:`Composition` is data. Python and TOML say the same; :class:`gcesbi.SkyModel` is what is built from it.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from astropy import units
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from gcesbi.errors import InputError, nearest
from gcesbi.simulation.components import ComponentField, PointSources, flat_share
from gcesbi.simulation.instrument import ExposureField, KingPsf, NamedPsf, PsfField, SurveyExposure
from gcesbi.simulation.instrument_errors import CUT, psf_factors
from gcesbi.simulation.regions import HealpixRegion, RegionField
from gcesbi.simulation.stated_data import array_of, digest_of, is_array
from gcesbi.simulation.statement import Statement
from gcesbi.sky.energy import check_energy_edges, log_energy_edges

__all__ = ["FILES", "Composition", "Variation", "jitter_law"]

Array = NDArray[np.float64]


def _as_edges(value: Any) -> Any:
    """Numbers in GeV, a Quantity, or "low:high:n" for n equal bins of log E."""
    if isinstance(value, units.Quantity):
        try:
            value = value.to_value("GeV")
        except units.UnitConversionError:
            raise InputError(f"energy_edges: must be energies, have the unit {value.unit}") from None
    if isinstance(value, str):
        try:
            low, high, n = value.split(":")
            return tuple(log_energy_edges(int(n), float(low), float(high)).tolist())
        except ValueError:
            raise InputError(f"energy_edges: must be edges in GeV or 'low:high:n', got {value!r}") from None
    return tuple(check_energy_edges(value).tolist())


def _completed(changed: Any, own: Mapping[Any, Mapping[str, Any]]) -> Any:
    return {**own.get(changed.get("name"), {}), **changed} if isinstance(changed, Mapping) else changed


class Variation(Statement):
    """A sky that differs in some components, in its PSF or its exposure; used to ask what if the sky is another."""

    name: str = Field(min_length=1, description="in words")
    components: tuple[ComponentField, ...] = Field((), description="in place of those of the same names")
    exposure: ExposureField | None = None
    psf: PsfField | None = None


class Composition(Statement):
    """All that a sky model is.

    Parameters
    ----------
    region : HealpixRegion, WcsRegion, or a region or image geometry of :mod:`gcesbi.sky`
    energy_edges : sequence of float, Quantity, or "low:high:n"
        GeV.
    exposure : number (cm² s), Quantity, SurveyExposure or Exposure
    psf : "default", "customary-2gev", a PSF or one for each bin, or KingPsf
    components : sequence of Smooth, PointSources and Catalogue
        In any order; their names are the user's own.
    subject : str, optional
        The point sources that questions are about; the first ones by default.

    Raises
    ------
    InputError
        If a key is unknown, names are not distinct, or a part breaks a rule of its own.
    """

    kind: Literal["composed"] = "composed"
    region: RegionField = Field(default_factory=HealpixRegion)
    energy_edges: Annotated[tuple[float, ...], BeforeValidator(_as_edges)] = Field(description="GeV")
    exposure: ExposureField = Field(default_factory=SurveyExposure)
    psf: PsfField = Field(default_factory=NamedPsf)
    components: tuple[ComponentField, ...] = Field(min_length=1)
    subject: str | None = None
    flux_cut: float = Field(-7.0, description="log₁₀ of the flux of the brightest source, photons / cm² / s")
    spectral_jitter: float = Field(0.0, ge=0, le=2, description="relative scatter of every bin of a drawn spectrum")
    expected_labels: bool = Field(False, description="sources are labelled by what the parameters say")
    exposure_error: float = Field(
        0.0, ge=0, lt=0.33, exclude_if=lambda value: not value, description="relative error of its scale, drawn anew"
    )
    psf_error: float = Field(
        0.0, ge=0, lt=0.5, exclude_if=lambda value: not value, description="relative error of its width, drawn anew"
    )
    summed: bool = Field(False, description="draw in all bins, with their PSFs and spectra; sum the counts to one")
    truncations: dict[str, tuple[float, float]] = Field(
        default_factory=dict,
        description="ends to which priors are cut, by names of parameters: norms of smooth components and catalogues, "
        "and what floats in templates",
    )
    variations: tuple[Variation, ...] = Field(
        (), description="other skies that networks and gate are tried on; they change no fingerprint"
    )

    @model_validator(mode="before")
    @classmethod
    def _complete_variations(cls, values: Any) -> Any:
        """What a variation's component does not say is as in the component of that name."""
        if not isinstance(values, Mapping) or not isinstance(values.get("variations"), (list, tuple)):
            return values
        stated = [each if isinstance(each, Mapping) else dict(each) for each in values.get("components", ())]
        own = {each.get("name"): each for each in stated}
        varied = [
            {**each, "components": [_completed(c, own) for c in each.get("components", ())]}
            if isinstance(each, Mapping)
            else each
            for each in values["variations"]
        ]
        return {**values, "variations": varied}

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [each.name for each in self.components]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"components: two have the name {name!r}")
        sources = [each.name for each in self.components if isinstance(each, PointSources)]
        if self.subject is not None and self.subject not in names:
            raise InputError(f"subject: must be a component, got {self.subject!r}; {nearest(self.subject, names)}")
        if not sources:
            raise InputError("components: needs at least one of point sources")
        for what in ("summed", "spectral_jitter"):
            if len(self.energy_edges) == 2 and getattr(self, what):
                raise InputError(f"{what}: needs more than one energy bin")
        if self.summed and isinstance(self.psf, KingPsf) and len(self.psf.weights) > 1:
            raise InputError("summed: psf must be 'default', a file's or one for all bins, as the summed bin has one")
        self._check_variations()
        return self

    def _check_variations(self) -> None:
        kinds = {each.name: each.kind for each in self.components}
        told = [each.name for each in self.variations]
        for variation in self.variations:
            if told.count(variation.name) > 1:
                raise InputError(f"variations: two have the name {variation.name!r}")
            for each in variation.components:
                if each.name not in kinds:
                    raise InputError(
                        f"variation {variation.name}: there is no {each.name!r}; {nearest(each.name, kinds)}"
                    )
                if (each.kind == "point-sources") != (kinds[each.name] == "point-sources"):
                    raise InputError(f"variation {variation.name}: {each.name} must be {kinds[each.name]}")

    def varied(self) -> dict[str, Composition]:
        """The skies of the variations, by name."""
        found = {}
        for variation in self.variations:
            other = {each.name: each for each in variation.components}
            changed: dict[str, Any] = {"components": tuple(other.get(each.name, each) for each in self.components)}
            changed |= {n: each for n in ("exposure", "psf") if (each := getattr(variation, n)) is not None}
            found[variation.name] = self.replace(**changed, variations=())
        return found

    @property
    def exposure_spread(self) -> float:
        """Largest difference from one of the exposure's factor."""
        return CUT * self.exposure_error

    @property
    def psf_factors(self) -> tuple[float, ...]:
        """Factors of the PSF's angles that may be, ascending: see :mod:`gcesbi.simulation.instrument_errors`."""
        return psf_factors(self.psf_error)

    @property
    def subject_name(self) -> str:
        """The component that questions are about."""
        sources = [each.name for each in self.components if isinstance(each, PointSources)]
        return self.subject or sources[0]

    def change(self, name: str, **changes: Any) -> Composition:
        """The same sky with other fields of one component.

        Raises
        ------
        InputError
            If there is no such component, or a change breaks a rule.
        """
        if name not in [each.name for each in self.components]:
            raise InputError(f"component: must be one of {', '.join(c.name for c in self.components)}, got {name!r}")
        changed = tuple(
            type(each)(**{n: getattr(each, n) for n in type(each).model_fields} | changes)
            if each.name == name
            else each
            for each in self.components
        )
        return self.replace(components=changed)

    def replace(self, **changes: Any) -> Composition:
        """The same sky with other fields."""
        return Composition(**{n: getattr(self, n) for n in Composition.model_fields} | changes)

    def with_poisson_share(self) -> Composition:
        """The sky whose subject has a share U[0, 1] that is exactly Poisson."""
        return self.change(self.subject_name, poisson_share=flat_share())

    def alone(self, name: str, population: Mapping[str, Any]) -> Composition:
        """The sky that holds nothing but one population of sources at the places of a component, with its spectrum.

        Raises
        ------
        InputError
            If there are no such point sources.
        """
        sources = {each.name: each for each in self.components if isinstance(each, PointSources)}
        if name not in sources:
            raise InputError(f"template: must be one of {', '.join(sources)}, got {name!r}")
        own = PointSources(**{**dict(sources[name]), "populations": (population,), "poisson_share": None})
        return self.replace(components=(own,), subject=name, variations=())

    def composition(self) -> Composition:
        """Itself: see :class:`gcesbi.simulation.sky_settings.SkySettings`."""
        return self

    def content(self) -> str:
        """Nothing: the law names what files hold."""
        return ""

    def law(self) -> dict[str, Any]:
        """All that decides what is drawn, as plain values; files by their content, wherever they lie."""
        unsaid = {"variations"} if self.truncations else {"variations", "truncations"}
        found: dict[str, Any] = _by_content(self.model_dump(mode="json", exclude=unsaid))
        return found | jitter_law(self.spectral_jitter)

    def digest(self) -> str:
        """Hash of the law."""
        return hashlib.sha256(json.dumps(self.law(), sort_keys=True).encode()).hexdigest()


def jitter_law(jitter: float) -> dict[str, str]:
    """What a sky's law says of scattered spectra: until 29 November 2026 they kept their flux."""
    return {"jitter": "each bin by itself"} if jitter else {}


FILES = ("file", "header", "mask")
"""Keys of a composition that name files."""


def _by_content(told: Any) -> Any:
    """The same with a digest for every file and array: of an array, that of the file in which TOML keeps it."""
    if isinstance(told, list):
        return [_by_content(each) for each in told]
    if not isinstance(told, dict):
        return told
    if is_array(told):
        values, file = array_of(told), io.BytesIO()
        if values.ndim == 0:
            return float(values)
        np.save(file, values)
        return hashlib.sha256(file.getvalue()).hexdigest()
    found = {
        key: digest_of(value) if key in FILES and isinstance(value, str) else _by_content(value)
        for key, value in told.items()
    }
    return found | {"file": found["values"], "values": None} if isinstance(found.get("values"), str) else found

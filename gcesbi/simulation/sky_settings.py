"""The skies that models are built from, as settings: plain data that can be stored and built again.

From :class:`InnerGalaxySky` every template is computed; from :class:`FolderSky` the maps of a data folder are read
(:mod:`gcesbi.simulation.compose`). The variations of List et al. (2025, arXiv:2507.17804) are settings: see
``docs/model.md``.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from gcesbi.errors import InputError, nearest

__all__ = [
    "INTERSTELLAR",
    "FolderSky",
    "InnerGalaxySky",
    "SkySettings",
    "check_keys",
    "make_settings",
]

REFERENCE_WEEKS = 573.0

EXCESS_XI = (-13.0, -9.0)

INTERSTELLAR = {
    "snr-10-150": ("snr", 10.0, 150.0),
    "lorimer-10-100000": ("lorimer", 10.0, 1e5),
    "lorimer-4-150": ("lorimer", 4.0, 150.0),
    "lorimer-10-150": ("lorimer", 10.0, 150.0),
    "snr-4-100000": ("snr", 4.0, 1e5),
}
"""Sources of cosmic rays, halo height (kpc) and spin temperature (K) of Caron et al. (2018, arXiv:1708.06706)."""


class SkySettings(BaseModel):
    """What both skies have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variations: ClassVar[frozenset[str]] = frozenset(
        {"gce_xi_low", "gce_populations", "gce_poisson_share", "expected_labels"}
    )

    radius: float = Field(25.0, gt=0, le=30, description="of the region about the Galactic Centre, degrees")
    band: float = Field(2.0, ge=0, lt=30, description="pixels at |b| up to this are left out, degrees")
    gce_xi_low: float = Field(
        EXCESS_XI[0], ge=-14, lt=EXCESS_XI[1], description="lower end of the prior of the excess' ξ"
    )
    gce_populations: Literal[1, 2] = Field(2, description="of sources that make the excess")
    gce_poisson_share: bool = Field(False, description="a share U[0, 1] of the excess is exactly Poisson")
    expected_labels: bool = Field(
        False, description="source counts are labelled by what the parameters say, not by the sources drawn"
    )

    def law(self) -> dict[str, Any]:
        """All that decides what is drawn, as plain values.

        A variation that is off is left out, so that a new one changes no model's fingerprint; so is the place of maps.
        """
        off = {name for name in self.variations if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude={"path", *off})


class InnerGalaxySky(SkySettings):
    """The inner Galaxy with templates, exposure and PSF of the library's own (``docs/model.md``)."""

    variations: ClassVar[frozenset[str]] = SkySettings.variations | {"interstellar", "spectral_jitter", "summed"}

    kind: Literal["inner-galaxy"] = "inner-galaxy"
    nside: int = Field(64, ge=8, le=1024)
    n_energy: int = Field(10, ge=1, le=40)
    weeks: float = Field(REFERENCE_WEEKS, gt=0, description="of observation")
    gamma: float = Field(1.2, ge=0, lt=1.5, description="inner slope of the generalised NFW profile")
    disk_height: float = Field(0.3, gt=0, description="scale height of the disk of sources, kpc")
    cosmic_rays: Literal["snr", "lorimer"] = "snr"
    halo_height: float = Field(10.0, gt=0, description="of the cosmic-ray halo, kpc")
    spin_temperature: float = Field(150.0, gt=0, description="of atomic hydrogen, K")
    interstellar: (
        Literal["snr-10-150", "lorimer-10-100000", "lorimer-4-150", "lorimer-10-150", "snr-4-100000"] | None
    ) = Field(None, description="a name for the three settings above, stored as those")
    spectral_jitter: float = Field(
        0.0, ge=0, le=2, description="relative scatter of every bin of every drawn spectrum; 0.5 in the paper"
    )
    summed: bool = Field(False, description="draw in n_energy bins, with their PSFs and spectra; sum the counts to one")

    @model_validator(mode="before")
    @classmethod
    def _unfold_name(cls, values: Any) -> Any:
        name = values.get("interstellar") if isinstance(values, dict) else None
        if not isinstance(name, str) or name not in INTERSTELLAR:
            return values
        meant = dict(zip(("cosmic_rays", "halo_height", "spin_temperature"), INTERSTELLAR[name], strict=True))
        for key in meant:
            if key in values:
                raise ValueError(f"interstellar: must stand without {key}, which {name!r} settles")
        return {key: value for key, value in values.items() if key != "interstellar"} | meant

    @model_validator(mode="after")
    def _check_bins(self) -> Self:
        for name in ("summed", "spectral_jitter"):
            if self.n_energy == 1 and getattr(self, name):
                raise ValueError(f"{name}: needs more than one energy bin, got n_energy 1")
        return self


class FolderSky(SkySettings):
    """One energy bin, 2-20 GeV, with the templates, exposure and mask of a data folder, taken as they are.

    The folder's diffuse maps have the PSF applied; its NFW and disk maps have not, and fits use them so, as the field
    does. Simulated point sources are placed by the NFW and disk maps and spread with the customary PSF at 2 GeV, and so
    is the share of the excess that is exactly Poisson, if there is one.
    """

    variations: ClassVar[frozenset[str]] = SkySettings.variations | {"weeks"}

    kind: Literal["folder"] = "folder"
    path: str
    diffuse: Literal["O", "A", "F", "p6v11"] = "O"
    nfw: Literal["g1p2", "g1p0"] = "g1p2"
    disk: Literal["z0p3", "z1p0"] = "z0p3"
    nside: int = 128
    mask: Literal["3fgl", "4fgl"] | None = "3fgl"
    weeks: float = Field(REFERENCE_WEEKS, gt=0, description="of observation; those of the folder's exposure are 573")


Settings = TypeVar("Settings")


def check_keys(kind: Any, values: Mapping[str, Any], section: str = "") -> None:
    """Raise InputError, naming the nearest valid key, if a key of `values` is no field of a settings class."""
    known = list(inspect.signature(kind).parameters)
    for key in values:
        if key not in known:
            raise InputError(f"{section}{key}: unknown setting; {nearest(key, known)}")


def make_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings checked against their types and ranges.

    Raises
    ------
    InputError
        If a key is unknown, naming the nearest valid one, or a value is not allowed.
    """
    check_keys(kind, values)
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise InputError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"

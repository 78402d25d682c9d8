r"""What images of the Galactic centre are drawn from, as settings: plain data that can be stored and built again.

**Brightness of the excess.** The paper fits <σv> anew at every slope γ: what it holds is the light that is seen. So the
excess has the same flux in the image and band at every γ, and <σv> follows,

    <σv>(γ) = <σv>(1.1) J(1.1) / J(γ),      J = ∫ J(ψ) dΩ over the image's region,

with the paper's <σv> at γ = 1.1, fitted beside each interstellar model, or with a flux that is stated. With <σv> held
instead, as version 0.1.0 did, the flux grows with γ: fourfold within 12° between 1.0 and 1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gcesbi.errors import InputError
from gcesbi.io.yields import read_yield
from gcesbi.physics.dark_matter import Annihilation, DarkMatterHalo
from gcesbi.physics.interstellar_image import PARTS
from gcesbi.physics.source_flux import PowerLawFluxes
from gcesbi.physics.templates.nfw import NFW
from gcesbi.simulation.sky_settings import INTERSTELLAR
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry, ImageRegion

__all__ = ["CROSS_SECTIONS", "FITTED_SLOPE", "TESTING", "TRAINING", "ImageSky", "as_stored"]

Range = tuple[float, float]

TRAINING = ("snr-10-150", "lorimer-10-100000", "lorimer-4-150")
"""Interstellar models on which networks are trained (A, B, C of the paper)."""
TESTING = ("lorimer-10-150", "snr-4-100000")
"""Interstellar models that no training sees (testing A, B)."""
CROSS_SECTIONS = dict(zip((*TRAINING, *TESTING), (45.59e-27, 33.61e-27, 39.32e-27, 39.63e-27, 42.67e-27), strict=True))
"""<σv>, cm³ / s, of the excess by interstellar model (the paper's Table 1)."""
FITTED_SLOPE = 1.1
"""Inner slope at which those <σv> give the excess its flux."""
_KIND: Literal["galactic-centre-images"] = "galactic-centre-images"


class ImageSky(BaseModel):
    """What images are drawn from. A range whose ends are equal fixes its parameter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["galactic-centre-images"] = _KIND
    shape: tuple[int, int] = Field((120, 120), description="rows and columns")
    pixel_size: float = Field(0.25, gt=0, le=5, description="degrees")
    energy_edges: tuple[float, ...] = Field(
        (1.0, 6.0), description="GeV; a channel for every bin. Fluxes below are those of the whole range"
    )
    weeks: float = Field(365.25, gt=0, description="of observation")
    interstellar: Literal["snr-10-150", "lorimer-10-100000", "lorimer-4-150", "lorimer-10-150", "snr-4-100000"] = (
        "snr-10-150"
    )
    interstellar_map: str | None = Field(None, description="FITS cube of intensities in place of the built-in model")
    mixed: tuple[str, ...] = Field((), description="names or FITS cubes, mixed with it anew in every image")
    scatter: float = Field(
        0.0, ge=0, le=2, description="of the ln norms of the interstellar emission's parts, anew in every image"
    )
    flux_scatter: float = Field(0.0, ge=0, le=2, description="of the ln flux of the excess, anew in every image")
    catalogue: str | None = Field(None, description="FITS file of 3FGL or 4FGL; no catalogue sources without one")
    norms: dict[str, float] = Field(
        {},
        description="of the background's parts, as a fit finds them: interstellar or its rings, iso, catalogue",
    )
    f_src: Range = Field((0.0, 1.0), description="range of the share of sources in the excess")
    alpha: Range = Field((-1.05, 1.05), description="range of the index of dN/dS")
    gamma: Range = Field((1.1, 1.1), description="range of the halo's inner slope")
    flux_low: float = Field(1e-12, description="lowest flux of a source, photons / cm² / s over all bins")
    flux_threshold: float = Field(1e-9, description="highest flux of a source")
    normalisation: Literal["flux", "cross-section"] = Field(
        "flux", description="what is the same at every slope: the excess' flux in the image and band, or <σv>"
    )
    flux: float | None = Field(
        None, gt=0, description="that flux, photons / cm² / s over all bins; by default what <σv> gives at γ = 1.1"
    )
    cross_section: float | None = Field(None, gt=0, description="<σv>, cm³ / s; by default that of the paper's Table 1")
    mass: float = Field(50.0, gt=0, description="of the dark-matter particle, GeV; 25 to 100 without a table of yields")
    channel: str = Field("b", description="what it annihilates into: b, tau, W, ...; others than b need a table")
    yields: str | None = Field(None, description="that table, AtProduction_gammas.dat; the built-in yield without one")
    local_density: float = Field(0.4, gt=0, description="of dark matter at the Sun, GeV / cm³")
    r_s: float = Field(20.0, gt=0, description="scale radius of the halo, kpc")
    r_sun: float = Field(8.5, gt=0, description="distance of the Sun from the Galactic Centre, kpc")

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_energy_edges(self.energy_edges)
        ImageGeometry(self.shape, self.pixel_size)
        for name, norm in self.norms.items():
            if name not in self.parts:
                raise InputError(f"norms: must be of {', '.join(self.parts)}, got {name!r}")
            if not (np.isfinite(norm) and norm >= 0):
                raise InputError(f"norms: must be finite and not negative, got {name} = {norm}")
        for name in ("f_src", "alpha", "gamma"):
            low, high = getattr(self, name)
            if not low <= high:
                raise InputError(f"{name}: must be a range, low and high, got {low} to {high}")
        if not 0 <= self.f_src[0] <= self.f_src[1] <= 1:
            raise InputError(f"f_src: must lie in [0, 1], got {self.f_src[0]} to {self.f_src[1]}")
        if self.flux is not None and (self.cross_section is not None or self.normalisation != "flux"):
            raise InputError(f"flux: must alone set the brightness of the excess, got {self.flux} beside <σv>")
        for alpha in self.alpha:
            PowerLawFluxes(alpha, self.flux_threshold, self.flux_low)
        for gamma in self.gamma:
            NFW(gamma, self.r_s, self.r_sun)
        if len({self.interstellar_map or self.interstellar, *self.mixed}) <= len(self.mixed):
            raise InputError(f"mixed: must be distinct models, got {', '.join((self.interstellar, *self.mixed))}")
        if self.yields is None and self.channel != "b":
            raise InputError(f"channel: needs sky.yields, a table; the built-in yield is of b, got {self.channel!r}")
        self.halo(FITTED_SLOPE)
        if not self.varied:
            raise InputError("f_src, alpha, gamma: at least one must have a range, all are fixed")
        return self

    @property
    def varied(self) -> tuple[str, ...]:
        """Parameters that are not fixed."""
        return tuple(name for name in ("f_src", "alpha", "gamma") if getattr(self, name)[0] < getattr(self, name)[1])

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the background that have a norm of their own: rings of gas only where all emission is built in."""
        built_in = self.interstellar_map is None and all(name in INTERSTELLAR for name in self.mixed)
        catalogue = () if self.catalogue is None else ("catalogue",)
        return (*(PARTS if built_in else ("interstellar",)), "iso", *catalogue)

    def law(self) -> dict[str, Any]:
        """All that decides what is drawn, as plain values, but for the files."""
        held = {"normalisation", "flux"} if self.normalisation == "cross-section" else set()  # as version 0.1.0 told
        held |= (set() if self.norms else {"norms"}) | ({"channel"} if self.channel == "b" else set())
        held |= {name for name in ("scatter", "flux_scatter") if getattr(self, name) == 0}
        told = self.model_dump(mode="json", exclude={"interstellar_map", "catalogue", "mixed", "yields", *held})
        named = [name if name in INTERSTELLAR else "" for name in self.mixed]
        return told | ({"mixed": named} if named else {})

    @property
    def cross_sections(self) -> tuple[float, ...]:
        """<σv>, cm³ / s, of the excess that goes with every interstellar model that is mixed; at γ = 1.1, or at any."""
        own = CROSS_SECTIONS[self.interstellar]
        if self.flux is not None:
            return (own,) * (1 + len(self.mixed))
        return tuple(self.cross_section or CROSS_SECTIONS.get(name, own) for name in (self.interstellar, *self.mixed))

    def in_band(self, energy_edges: ArrayLike) -> ImageSky:
        """The same sky in other energy bins: fluxes are converted by the spectrum of the excess."""
        edges = tuple(check_energy_edges(energy_edges).tolist())
        ratio = self.flux_ratio(edges)
        if ratio == 1.0:
            return self.model_copy(update={"energy_edges": edges})
        names = ("flux_low", "flux_threshold", *(() if self.flux is None else ("flux",)))
        return self.model_copy(update={"energy_edges": edges} | {name: getattr(self, name) * ratio for name in names})

    def flux_ratio(self, energy_edges: ArrayLike) -> float:
        """Flux of the excess, or of a source in it, over other energy bins, in terms of that over the sky's own."""
        edges = np.asarray(energy_edges, dtype=np.float64)
        seen, stated = edges[[0, -1]], np.array(self.energy_edges)[[0, -1]]
        if np.allclose(seen, stated, rtol=1e-6, atol=0):
            return 1.0
        other, own = (float(self.halo(FITTED_SLOPE).per_j(each)[0]) for each in (seen, stated))
        return other / own

    def halo(self, gamma: float) -> Annihilation:
        """A halo of some inner slope, with the mean of :attr:`cross_sections`."""
        halo = DarkMatterHalo(NFW(gamma, self.r_s, self.r_sun), self.local_density)
        photons = None if self.yields is None else read_yield(self.yields, self.channel, self.mass)
        return Annihilation(halo, self.mass, float(np.mean(self.cross_sections)), photons)

    def excess(self, gamma: float, region: ImageRegion, energy_edges: NDArray[np.float64]) -> Annihilation:
        """The excess for an inner slope, as bright in a region and in energy bins as it is to be."""
        own = self.halo(gamma)
        if self.normalisation == "cross-section":
            return own
        wanted = self.flux or float(self.halo(FITTED_SLOPE).flux_in(region, energy_edges).sum())
        return replace(own, cross_section=own.cross_section * (wanted / float(own.flux_in(region, energy_edges).sum())))


def as_stored(sky: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings of any sky as they were meant: images of version 0.1.0, which do not say, held <σv>."""
    return ({"normalisation": "cross-section"} if sky.get("kind") == _KIND else {}) | dict(sky)

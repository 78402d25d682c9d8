"""The two skies that the library knows by name: settings, each of which states a composition.

In :class:`InnerGalaxySky` every template is computed; :class:`FolderSky` reads the maps of a data folder. The
variations of List et al. (2025, arXiv:2507.17804) are settings: see ``docs/science/model.md``. Norm ranges are those of
that paper, stated at nside 256 and the 573-week exposure; they scale as counts per pixel do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gcesbi.errors import InputError
from gcesbi.io import FolderMaps, read_mask
from gcesbi.io.data import located
from gcesbi.simulation.components import PointSources, Smooth, flat_share, literature_population
from gcesbi.simulation.composition import Composition, jitter_law
from gcesbi.simulation.instrument import Exposure, NamedPsf, SurveyExposure
from gcesbi.simulation.marginals import Uniform
from gcesbi.simulation.regions import HealpixRegion
from gcesbi.simulation.source_mask import SourceMask
from gcesbi.simulation.statement import make_settings
from gcesbi.simulation.template_statements import Formula, Map
from gcesbi.sky.energy import log_energy_edges

__all__ = [
    "INTERSTELLAR",
    "WORDS",
    "FolderSky",
    "InnerGalaxySky",
    "SkySettings",
    "folder_sky",
    "inner_galaxy",
    "preset_of",
]

REFERENCE_WEEKS = 573.0

NORM_RANGES = {"pi": (1.75, 3.5), "ic": (1.0, 2.25), "iso": (0.0, 0.5), "bub": (0.0, 0.5), "dif": (2.75, 5.75)}
"""At nside 256; one map for all interstellar emission, ``dif``, has the sum of two."""
WORDS = {
    "pi": "π⁰ + bremsstrahlung",
    "ic": "inverse Compton",
    "iso": "isotropic",
    "bub": "Fermi bubbles",
    "gce": "excess",
}
"""What pages call the components of both skies."""
EXCESS_XI = (-13.0, -9.0)
EXCESS_FLUX = 2.8e-7  # largest mean flux of the excess, shared evenly by its populations
DISK = literature_population(xi=(-12.0, -9.0), flux=(0.0, 2.8e-7))

CATALOGUES = {"3fgl": "gll_psc_v16.fit.gz", "4fgl": "gll_psc_v27.fit.gz"}
"""Files of the data ``catalogs``."""
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
        {"gce_xi_low", "gce_populations", "gce_poisson_share", "expected_labels", "spectral_jitter"}
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

    spectral_jitter: float = Field(
        0.0, ge=0, le=2, description="relative scatter of every bin of every drawn spectrum; 0.5 in the paper"
    )

    def law(self) -> dict[str, Any]:
        """All that decides what is drawn, as plain values.

        A variation that is off is left out, so that a new one changes no model's fingerprint; so is the place of maps.
        """
        off = {name for name in self.variations if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude={"path", *off}) | jitter_law(self.spectral_jitter)

    def with_poisson_share(self) -> Self:
        """The sky whose excess has a share that is exactly Poisson."""
        return self.model_copy(update={"gce_poisson_share": True})

    def composition(self) -> Composition:
        """What the settings stand for."""
        raise NotImplementedError

    def content(self) -> str:
        """Digest of the files that are read; empty without any."""
        return ""

    def _sources(self, excess: Formula | Map, disk: Formula | Map) -> tuple[PointSources, PointSources]:
        n = self.gce_populations
        population = literature_population(xi=(self.gce_xi_low, EXCESS_XI[1]), flux=(0.0, EXCESS_FLUX / n))
        share = flat_share() if self.gce_poisson_share else None
        return (
            PointSources(name="gce", template=excess, populations=(population,) * n, poisson_share=share),
            PointSources(name="disk", template=disk, populations=(DISK,)),
        )

    def _smooth(self, nside: int, weeks: float, **templates: Formula | Map) -> tuple[Smooth, ...]:
        scale = (256 / nside) ** 2 * weeks / REFERENCE_WEEKS
        ends = {name: (NORM_RANGES[name][0] * scale, NORM_RANGES[name][1] * scale) for name in templates}
        return tuple(Smooth(name=n, template=t, norm=Uniform(*ends[n])) for n, t in templates.items())


def catalogue_mask(name: str | None) -> SourceMask | None:
    """Mask of all sources of a catalogue of :data:`CATALOGUES`, where 95 % of their light falls."""
    return None if name is None else SourceMask(file=str(located(f"catalogs/{CATALOGUES[name]}")), containment=0.95)


class InnerGalaxySky(SkySettings):
    """The inner Galaxy with templates, exposure and PSF of the library's own (``docs/science/model.md``)."""

    variations: ClassVar[frozenset[str]] = SkySettings.variations | {"interstellar", "mask", "summed"}

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
    mask: Literal["3fgl", "4fgl"] | None = Field(
        None, description="catalogue whose sources are masked, where 95 % of their light falls; none by default"
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

    def composition(self) -> Composition:
        """Line-of-sight integrals, with exposure and PSF of the library's own."""
        interstellar = {"sources": self.cosmic_rays, "halo_height": self.halo_height}
        smooth = self._smooth(
            self.nside,
            self.weeks,
            pi=Formula.of("pion-decay", spin_temperature=self.spin_temperature, **interstellar),
            ic=Formula.of("inverse-compton", **interstellar),
            iso=Formula(formula="isotropic"),
            bub=Formula(formula="bubbles"),
        )
        sources = self._sources(Formula.of("nfw", gamma=self.gamma), Formula.of("disk", z_s=self.disk_height))
        return Composition(
            region=HealpixRegion(
                nside=self.nside, radius=self.radius, band=self.band, mask_sources=catalogue_mask(self.mask)
            ),
            energy_edges=log_energy_edges(self.n_energy),
            exposure=SurveyExposure(weeks=self.weeks),
            components=(*smooth, *sources),
            spectral_jitter=self.spectral_jitter,
            expected_labels=self.expected_labels,
            summed=self.summed,
        )


class FolderSky(SkySettings):
    """Templates, exposure and mask of a data folder, taken as they are: of one energy bin, or of several.

    The 573-week folder has one bin, 2-20 GeV. Its diffuse maps have the PSF applied; its NFW and disk maps have not,
    and fits use them so, as the field does. Simulated point sources are placed by the NFW and disk maps and spread with
    the customary PSF at 2 GeV, and so is the share of the excess that is exactly Poisson, if there is one. Bins of
    other folders have the library's PSF at their energies; templates that a folder lacks are computed.
    """

    variations: ClassVar[frozenset[str]] = SkySettings.variations | {"weeks", "energy_range"}

    kind: Literal["folder"] = "folder"
    path: str
    diffuse: Literal["O", "A", "F", "p6v11"] = "O"
    nfw: Literal["g1p2", "g1p0"] = "g1p2"
    disk: Literal["z0p3", "z1p0"] = "z0p3"
    nside: int = 128
    mask: Literal["3fgl", "4fgl"] | None = "3fgl"
    weeks: float = Field(REFERENCE_WEEKS, gt=0, description="of observation; those of the folder's exposure are 573")
    energy_range: tuple[float, float] | None = Field(
        None, description="GeV; bins within it are used, by default all, of maps in 40 bins those from 2 to 20 GeV"
    )

    def composition(self) -> Composition:
        """Maps of the folder, as they are."""
        folder = FolderMaps.of(self.path, self.energy_range)
        built_in = {
            "iso": Formula(formula="isotropic"),
            "bub": Formula(formula="bubbles"),
            f"nfw_{self.nfw}": Formula.of("nfw", gamma=float(self.nfw[1:].replace("p", "."))),
            f"dsk_{self.disk}": Formula.of("disk", z_s=float(self.disk[1:].replace("p", "."))),
        }

        def counts(name: str) -> Map | Formula:
            if name not in folder.templates and name in built_in and folder.templates.keys().isdisjoint(built_in):
                return built_in[name]
            file = folder.templates.get(name, Path(self.path) / f"template_{name}.npy")
            return Map(file=str(file), order="ring", quantity="counts", smoothed=True, bins=folder.rows(file))

        interstellar = {"dif": "dif"} if self.diffuse == "p6v11" else {n: f"{self.diffuse}{n}" for n in ("pi", "ic")}
        smooth = {name: counts(stem) for name, stem in (interstellar | {"iso": "iso", "bub": "bub"}).items()}
        one = folder.energy_edges == (2.0, 20.0)
        mask = None if self.mask is None else read_mask(self.path, self.mask, self.energy_range)
        return Composition(
            region=HealpixRegion(
                nside=self.nside,
                radius=self.radius,
                band=self.band,
                mask=mask,
                mask_order=None if mask is None else "nested",
            ),
            energy_edges=folder.energy_edges,
            exposure=Exposure(
                file=str(folder.exposure),
                order="ring",
                scale=self.weeks / REFERENCE_WEEKS,
                bins=folder.rows(folder.exposure),
            ),
            psf=NamedPsf(name="customary-2gev" if one else "default"),
            components=(
                *self._smooth(self.nside, self.weeks, **smooth),
                *self._sources(counts(f"nfw_{self.nfw}"), counts(f"dsk_{self.disk}")),
            ),
            spectral_jitter=self.spectral_jitter,
            expected_labels=self.expected_labels,
        )

    def content(self) -> str:
        """Digest of the composition, whose law names what files hold."""
        return self.composition().digest()


def preset_of(sky: Composition) -> InnerGalaxySky | FolderSky | None:
    """The settings that state just what a composition states; None where there are none.

    A sky that is kept as TOML, and so is a composition, has the fingerprint of the preset that it was written from.
    """
    names = [each.name for each in sky.components]
    guesses: Callable[[Composition], Iterator[InnerGalaxySky | FolderSky]] = (
        _inner_galaxies if isinstance(sky.exposure, SurveyExposure) else _folders
    )
    if names[-2:] == ["gce", "disk"] and set(names[:-2]) <= NORM_RANGES.keys():
        with suppress(AttributeError, KeyError, IndexError, InputError):  # some other sky of such names
            return next((each for each in guesses(sky) if each.composition().digest() == sky.digest()), None)
    return None


def _told(sky: Any) -> dict[str, Any]:
    """What both skies may have been told."""
    excess = sky.components[-2]
    return {
        "nside": sky.region.nside,
        "radius": sky.region.radius,
        "band": sky.region.band,
        "gce_xi_low": excess.populations[0].xi.range[0],
        "gce_populations": len(excess.populations),
        "gce_poisson_share": excess.poisson_share is not None,
        "expected_labels": sky.expected_labels,
        "spectral_jitter": sky.spectral_jitter,
    }


def _number(template: Any, name: str) -> float:
    return float(template.parameters[name].value)


def _inner_galaxies(sky: Any) -> Iterator[InnerGalaxySky]:
    """Settings that may state a sky."""
    gas, excess, disk = (sky.components[i].template for i in (0, -2, -1))
    yield inner_galaxy(
        **_told(sky),
        n_energy=len(sky.energy_edges) - 1,
        weeks=sky.exposure.weeks,
        gamma=_number(excess, "gamma"),
        disk_height=_number(disk, "z_s"),
        cosmic_rays=gas.parameters["sources"],
        halo_height=_number(gas, "halo_height"),
        spin_temperature=_number(gas, "spin_temperature"),
        mask=_catalogue_of(sky.region.mask_sources),
        summed=sky.summed,
    )


def _catalogue_of(mask: SourceMask | None) -> str | None:
    """Name of the catalogue that a mask is of."""
    return None if mask is None else {f: n for n, f in CATALOGUES.items()}.get(Path(mask.file).name)


def _folders(sky: Any) -> Iterator[FolderSky]:
    """Settings that may state a sky: masks are not told by name."""
    first = sky.components[0]
    named = {
        "path": str(Path(sky.exposure.file).parent),
        "weeks": round(sky.exposure.scale * REFERENCE_WEEKS, 9),
        "diffuse": "p6v11" if first.name == "dif" else Path(first.template.file).stem[len("template_") : -len("pi")],
    }
    for key, i, start in (("nfw", -2, "template_nfw_"), ("disk", -1, "template_dsk_")):
        named[key] = Path(sky.components[i].template.file).stem.removeprefix(start)
    for mask in (None,) if sky.region.mask is None else ("3fgl", "4fgl"):
        yield folder_sky(**_told(sky), **named, mask=mask)


def inner_galaxy(**settings: object) -> InnerGalaxySky:
    """Checked settings of :class:`InnerGalaxySky`; InputError if one is unknown or out of range."""
    return make_settings(InnerGalaxySky, settings)


def folder_sky(**settings: object) -> FolderSky:
    """Checked settings of :class:`FolderSky`; InputError if one is unknown or out of range."""
    return make_settings(FolderSky, settings)

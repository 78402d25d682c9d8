"""The sky model: what we believe before we look, in one object that drives simulator, likelihoods and networks.

A model is composed of what :class:`gcesbi.simulation.composition.Composition` states. It holds templates, exposure and
PSF on a *patch* of the sky (everything whose light may reach the region), the *region* that is analysed, and the
priors. Nothing of it can be changed but by stating another sky: its fingerprint is that of what is stated.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.simulation.compose import compose, compose_widened
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.composition_files import read_toml, write_toml
from gcesbi.simulation.matching import SAME_EXPOSURE, check_same_energies, same_exposure
from gcesbi.simulation.parameters import Emission, Parameters
from gcesbi.simulation.prior import Prior
from gcesbi.simulation.sky_arrays import SkyArrays
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky, folder_sky, inner_galaxy, preset_of
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky import Grid, Observation
from gcesbi.sky.observation import check_exposure

__all__ = ["SkyModel"]

Array = NDArray[np.float64]
Settings = InnerGalaxySky | FolderSky | Composition


class SkyModel(SkyArrays):
    """Templates, instrument and priors of one patch of the sky.

    Parameters
    ----------
    components : sequence of Smooth, PointSources and Catalogue
    **sky
        Further fields of :class:`gcesbi.simulation.composition.Composition`: ``region``, ``energy_edges``,
        ``exposure``, ``psf``, ``subject``.

    Raises
    ------
    InputError
        If what is stated breaks a rule, a file is missing or does not fit, or a template is zero in the region.

    Examples
    --------
    >>> from gcesbi import PointSources, SkyModel, Smooth
    >>> model = SkyModel(
    ...     [
    ...         Smooth(name="sky", template="isotropic", norm=(0.5, 2.0)),
    ...         PointSources(name="dots", template="nfw", populations=[{"xi": (-11, -9), "flux": (0, 1e-7)}]),
    ...     ],
    ...     region={"nside": 16, "radius": 20},
    ...     energy_edges=[2, 20],
    ... )
    >>> model.names
    ('sky', 'dots')
    """

    settings: Settings
    """What the model was built from: a composition, or settings that stand for one."""
    composition: Composition
    resolved: SkyModel | None
    """The same sky in several energy bins, from which maps are drawn and summed to the one bin of this model."""
    exposure_ratio: Array | None
    """What multiplies the exposure that is stated, (n_energy, n_patch); None where nothing does."""
    known_shapes: dict[str, float]
    """Shape parameters that float in what is stated, and do not here: see :meth:`at`."""

    def __init__(self, components: Iterable[Any], **sky: Any) -> None:
        stated = Composition(components=tuple(components), **sky)
        self._settle(stated, *_composed(stated))

    def _settle(
        self,
        settings: Settings,
        arrays: SkyArrays,
        resolved: SkyModel | None,
        exposure_ratio: Array | None = None,
        known_shapes: Mapping[str, float] | None = None,
    ) -> None:
        """Be the model of some settings with these arrays; the last two arguments tell what the settings do not."""
        if resolved is not None and resolved.region != arrays.region:  # a mask by containment in every bin
            arrays = arrays.in_region(resolved.region)
        super().__init__(**{each.name: getattr(arrays, each.name) for each in fields(SkyArrays)})
        told = {"settings": settings, "composition": settings.composition(), "resolved": resolved}
        changed = {"exposure_ratio": exposure_ratio, "known_shapes": dict(known_shapes or {})}
        self.__dict__.update(told | changed)

    @classmethod
    def preset(cls, name: str = "inner-galaxy", nside: int = 64, n_energy: int = 10, **settings: object) -> SkyModel:
        """Build the library's own sky, without any download.

        Parameters
        ----------
        name : str
            ``"inner-galaxy"``.
        nside, n_energy : int
            HEALPix resolution and number of equal bins in log E from 2 to 20 GeV.
        **settings
            Further fields of :class:`gcesbi.simulation.sky_settings.InnerGalaxySky`.

        Raises
        ------
        InputError
            If the name or a setting is unknown (the nearest valid one is named) or out of range.
        """
        if name != "inner-galaxy":
            raise InputError(f"preset: must be 'inner-galaxy', got {name!r}")
        return cls.build(inner_galaxy(nside=nside, n_energy=n_energy, **settings))

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        diffuse: str = "O",
        nfw: str = "g1p2",
        disk: str = "z0p3",
        nside: int = 128,
        **settings: object,
    ) -> SkyModel:
        """Build the sky from a folder of maps laid out as that of the 573-week set.

        Parameters
        ----------
        path : path
            Folder with ``template_*.npy``, ``fermidata_exposure.npy`` and the masks.
        diffuse : str
            Interstellar model: ``"O"``, ``"A"``, ``"F"`` or ``"p6v11"``.
        nfw, disk : str
            ``"g1p2"`` or ``"g1p0"``; ``"z0p3"`` or ``"z1p0"``.
        nside : int
            At most that of the maps; lower ones are averages.
        **settings
            Further fields of :class:`gcesbi.simulation.sky_settings.FolderSky`, as ``mask`` ("3fgl" by default).
        """
        named = {"path": str(path), "diffuse": diffuse, "nfw": nfw, "disk": disk, "nside": nside}
        return cls.build(folder_sky(**named, **settings))

    @classmethod
    def from_toml(cls, path: str | Path) -> SkyModel:
        """Build the sky that a TOML file states; files that it names are relative to it.

        Raises
        ------
        InputError
            As the class, and if the file is missing, is no TOML, or includes itself.
        """
        return cls.build(read_toml(path))

    def to_toml(self, path: str | Path | None = None, *, overwrite: bool = False) -> str:
        """State the sky as TOML; written to `path` too, arrays in files beside it, if there is one.

        Raises
        ------
        InputError
            If the sky holds arrays and there is no path to write them beside, or the file exists.
        """
        return write_toml(self.composition, path, overwrite=overwrite)

    @classmethod
    def build(cls, settings: Settings, maps: TemplateMaps | None = None) -> SkyModel:
        """Build the model of a statement; `maps` are those of its templates, where they are known.

        A sky that is summed computes its maps anyhow.
        """
        model, stated = cls.__new__(cls), settings.composition()
        model._settle(settings, *_composed(stated, maps))
        return model

    def __repr__(self) -> str:
        return (
            f"SkyModel({', '.join(self.names)}; {self.n_energy} energy bins, {self.energy_edges[0]:.4g} to "
            f"{self.energy_edges[-1]:.4g} GeV; {len(self.prior().names)} parameters; {self.region}; {self.fingerprint})"
        )

    # -- what there is ------------------------------------------------------------------------------------------

    @property
    def flux_cut(self) -> float:
        """No source is brighter than 10^flux_cut photons / cm² / s (part of the prior)."""
        return self.composition.flux_cut

    @property
    def expected_labels(self) -> bool:
        """Whether sources are labelled by the histogram, flux and number that their parameters mean."""
        return self.composition.expected_labels

    @property
    def subject(self) -> str:
        """The component that questions are about."""
        return self.composition.subject_name

    @property
    def exposure_range(self) -> tuple[float, float]:
        """Exposures that maps of this sky may have, in terms of the model's: those that are drawn, or its own."""
        spread = max(SAME_EXPOSURE, self.composition.exposure_spread)
        return 1 - spread, 1 + spread

    @cached_property
    def templates(self) -> Array:
        """Expected counts per pixel of the region for norm 1, (n_template, n_energy, n_pix).

        What floats stands at the mean of its prior; :meth:`at` sets it to something else.
        """
        return self.at().templates if self.parameters.shapes else self.arrays.templates

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what is stated, region and files read: equal for models of one law, wherever their files lie."""
        stated = self.settings
        if isinstance(stated, Composition):
            stated = preset_of(stated) or stated
        told = json.dumps(stated.law(), sort_keys=True) + stated.content()
        if self.known_shapes:
            told += json.dumps(self.known_shapes, sort_keys=True)
        if self.exposure_ratio is not None:
            told += hashlib.sha256(self.exposure_ratio.tobytes()).hexdigest()
        return hashlib.sha256(told.encode() + self.region.pixels.tobytes()).hexdigest()[:16]

    # -- priors and parameters ----------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> Parameters:
        """What the parameters stand for; those of :attr:`resolved` where there is one."""
        if self.resolved is not None:
            return self.resolved.parameters
        jitter = self.composition.spectral_jitter
        return Parameters(self.diffuse, self.point_source_templates, self.energy_edges, self.smooth_flux, jitter)

    def prior(self) -> Prior:
        """Prior of all parameters, a torch Distribution with ``.names``."""
        return self.parameters.prior

    def emission(self, theta: ArrayLike, rng: np.random.Generator | None = None) -> Emission:
        """Norms, spectra and populations of parameter vectors (n, n_parameter).

        Parameters
        ----------
        theta : array (n, n_parameter)
        rng : numpy Generator, optional
            Draws what scatters about the parameters: jittered spectra. Every share μ of every spectrum is drawn anew
            from N(μ, (j μ)²), j the stated `spectral_jitter`, cut to positive values. Shares of point sources are then
            scaled to sum 1, so that their total flux keeps its meaning; those of smooth templates are not, so that
            their flux scatters too. Without it, spectra are those of the parameters.

        Raises
        ------
        InputError
            If theta has another shape or is not finite.
        """
        found = self.parameters.emission(theta, rng)
        if self.resolved is None:
            return found
        ones = np.ones((*found.spectra.shape[:2], 1))
        return replace(found, norms=found.norms.sum(axis=-1, keepdims=True), spectra=ones)

    # -- other skies ----------------------------------------------------------------------------------------------

    def _derive(self, arrays: SkyArrays, resolved: SkyModel | None, **changes: Any) -> SkyModel:
        kept = {"exposure_ratio": self.exposure_ratio, "known_shapes": self.known_shapes}
        model = type(self).__new__(type(self))
        model._settle(self.settings, arrays, resolved, **{**kept, **changes})
        return model

    @property
    def arrays(self) -> SkyArrays:
        """Templates and instrument alone."""
        return SkyArrays(**{each.name: getattr(self, each.name) for each in fields(SkyArrays)})

    def at(self, **shapes: float) -> SkyModel:
        """The same sky with templates that do not float: each shape parameter as named, or at the mean of its prior.

        Raises
        ------
        InputError
            If a name is that of no shape parameter, or a value lies outside its prior's range.
        """
        values = self.parameters.shape_values(shapes)
        resolved = None if self.resolved is None else self.resolved.at(**values)
        return self._derive(self.arrays.standing(values), resolved, known_shapes={**self.known_shapes, **values})

    def with_region(self, region: Grid) -> SkyModel:
        """The same sky, analysed in another region of the patch.

        Raises
        ------
        InputError
            If the region is of another kind or resolution, or has pixels outside the patch.
        """
        self.patch.places(region)
        resolved = None if self.resolved is None else self.resolved.with_region(region)
        return self._derive(self.arrays.in_region(region), resolved)

    def with_exposure(self, exposure: ArrayLike) -> SkyModel:
        """The same sky seen with another exposure: fluxes stay, counts and priors of norms follow.

        Parameters
        ----------
        exposure : array (n_energy, n_pix), cm² s
            In the region. Beyond it the model's own is scaled as in the nearest pixel of the region.

        Raises
        ------
        InputError
            If it has another shape, or is not above zero.
        """
        seen = check_exposure(np.asarray(exposure, dtype=np.float64))
        if seen.shape != self.exposure.shape:
            raise InputError(f"exposure: must have shape {self.exposure.shape}, got {seen.shape}")
        return self.with_exposure_ratio(self.patch.extend(seen / self.exposure, self.inside))

    def with_exposure_ratio(self, ratio: Array) -> SkyModel:
        """The same sky seen with `ratio` (n_energy, n_patch) times the exposure."""
        resolved = None if self.resolved is None else self.resolved.with_exposure_ratio(ratio)
        total = ratio if self.exposure_ratio is None else self.exposure_ratio * ratio
        return self._derive(self.arrays.exposed(ratio), resolved, exposure_ratio=total)

    def widened(self, factor: float) -> SkyModel:
        """The same sky through a PSF whose angles are `factor` times as large; maps that are stated as seen stay.

        Norms mean the light that they mean here. Of a sky that is summed, widen the one in all bins.
        """
        model = type(self).__new__(type(self))
        model._settle(self.settings, compose_widened(self.composition, factor, self.maps), None)
        return model.like(self)

    def with_poisson_share(self) -> SkyModel:
        """The sky whose subject has a share U[0, 1] that is exactly Poisson; itself if it has one.

        Raises
        ------
        InputError
            If the subject is not one of point sources.
        """
        if self.subject not in self.point_sources:
            raise InputError(f"subject: must be one of point sources for a Poisson share, is {self.subject!r}")
        if self.point_sources.index(self.subject) in self.poissonian:
            return self
        return SkyModel.build(self.settings.with_poisson_share()).like(self)

    def like(self, other: SkyModel) -> SkyModel:
        """The same sky, in the region, seen with the exposure and with the shapes that another one was changed to."""
        model = self if self.region == other.region else self.with_region(other.region)
        if other.exposure_ratio is not None:
            model = model.with_exposure_ratio(other.exposure_ratio)
        shapes = {name: value for name, value in other.known_shapes.items() if name in model.parameters.shapes}
        return model.at(**shapes) if shapes else model

    def for_observation(self, observation: Observation) -> SkyModel:
        """The same sky, analysed in the region of an observation and, where it differs by more than 2 %, its exposure.

        Raises
        ------
        InputError
            If nside, energy bins or pixels are not those of the model.
        """
        check_same_energies(observation.energy_edges, self.energy_edges)
        model = self if observation.region == self.region else self.with_region(observation.region)
        same = same_exposure(observation.exposure, model.exposure)
        return model if same else model.with_exposure(observation.exposure)


def _composed(stated: Composition, maps: TemplateMaps | None = None) -> tuple[SkyArrays, SkyModel | None]:
    """Arrays of a composition; where maps are summed, those of one energy bin, and the model of all bins."""
    if not stated.summed:
        return compose(stated, maps), None
    resolved = SkyModel.build(stated.replace(summed=False))
    edges = stated.energy_edges
    once = stated.replace(energy_edges=(edges[0], edges[-1]), summed=False, spectral_jitter=0.0)
    return compose(once, exposure=resolved.patch_exposure.mean(axis=0, keepdims=True), cubes=edges), resolved

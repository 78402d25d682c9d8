"""The arrays of a sky model: templates, exposure and PSF on a patch of the sky, and the region that is analysed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gcesbi.physics.scd import DEFAULT_BINS, ScdBins
from gcesbi.posterior import Coordinates
from gcesbi.simulation.modulations import modulate
from gcesbi.simulation.parameters import Emission
from gcesbi.simulation.patches import Patch
from gcesbi.simulation.template_arrays import DiffuseTemplate, PointSourceTemplate
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.sky import EnergyBins, Grid, RadialPSF

__all__ = ["SkyArrays"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class SkyArrays(EnergyBins):
    """Templates and instrument of one patch of the sky.

    Parameters
    ----------
    patch : Patch
        Pixels on which templates are known, and how light moves over them.
    region : Grid
        Pixels that are analysed, among those of the patch.
    energy_edges : array (n_energy + 1,), GeV
    patch_exposure : array (n_energy, n_patch), cm² s
    psf : tuple of PSF or TabulatedPSF
        One for each energy bin.
    diffuse : tuple of DiffuseTemplate
        Of smooth components and catalogues.
    point_source_templates : tuple of PointSourceTemplate
    maps : TemplateMaps
        What took long to compute: a model of the same statement is built from it at once.
    """

    patch: Patch
    region: Grid
    energy_edges: Array
    patch_exposure: Array
    psf: tuple[RadialPSF, ...]
    diffuse: tuple[DiffuseTemplate, ...]
    point_source_templates: tuple[PointSourceTemplate, ...]
    maps: TemplateMaps

    bins: ScdBins = DEFAULT_BINS
    """Flux bins of the SCD histograms."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all templates, smooth ones first."""
        return tuple(t.name for t in self.diffuse) + self.point_sources

    @property
    def point_sources(self) -> tuple[str, ...]:
        """Names of the point-source templates."""
        return tuple(t.name for t in self.point_source_templates)

    @property
    def _everything(self) -> tuple[DiffuseTemplate | PointSourceTemplate, ...]:
        return (*self.diffuse, *self.point_source_templates)

    @property
    def shapes(self) -> tuple[str, ...]:
        """Names of the parameters that change a template's shape on the sky."""
        return tuple(f"{t.name}_{key}" for t in self._everything for key in t.basis.names)

    @property
    def subject(self) -> str:
        """The component that questions are about, where it is known."""
        return ""

    @cached_property
    def inside(self) -> NDArray[np.int64]:
        """Positions of the region's pixels in the patch, (n_pix,)."""
        return self.patch.places(self.region)

    @cached_property
    def exposure(self) -> Array:
        """Exposure in the region, (n_energy, n_pix), cm² s."""
        return np.ascontiguousarray(self.patch_exposure[:, self.inside])

    @cached_property
    def templates(self) -> Array:
        """Expected counts per pixel of the region for norm 1, (n_template, n_energy, n_pix): each first map."""
        return np.stack([t.counts[0][:, self.inside] for t in self._everything])

    @property
    def poissonian(self) -> tuple[int, ...]:
        """Places, among the point-source templates, of those with a share that is exactly Poisson."""
        return tuple(i for i, t in enumerate(self.point_source_templates) if t.poisson_share is not None)

    @cached_property
    def smooth_templates(self) -> Array:
        """Expected counts of all that is Poisson in every pixel, (n_smooth, n_energy, n_pix).

        Those of the maps of smooth templates for norm 1; then those of Poisson shares for flux 1, which means what it
        does for sources: it is the flux that starts inside the region.
        """
        shares = [
            t.poisson[..., self.inside] / t.intensity[:, self.inside].sum(axis=1)[:, None, None]
            for t in self.point_source_templates
            if t.poisson is not None
        ]
        smooth = [t.counts[..., self.inside] for t in self.diffuse]
        return np.concatenate([np.zeros((0, self.n_energy, self.region.n_pix)), *smooth, *shares])

    @property
    def map_rows(self) -> tuple[slice, ...]:
        """Which of :attr:`smooth_templates` are the maps of each smooth template."""
        ends = np.cumsum([0, *(len(t.basis) for t in self.diffuse)])
        return tuple(slice(int(low), int(high)) for low, high in pairwise(ends))

    @property
    def modulated(self) -> tuple[int, ...]:
        """Places, among the smooth templates, of those with log-fields."""
        return tuple(i for i, t in enumerate(self.diffuse) if t.modulations)

    @cached_property
    def steady(self) -> Array:
        """Of every smooth template: nil if it has log-fields, one if it is as it stands, (n_smooth, 1)."""
        found = np.ones((len(self.smooth_templates), 1))
        for i in self.modulated:
            found[self.map_rows[i]] = 0.0
        return found

    @cached_property
    def flux_per_norm(self) -> Array:
        """Flux inside the region for norm 1, (n_template, n_energy), photons / cm² / s."""
        return np.asarray((self.templates / self.exposure).sum(axis=-1))

    @cached_property
    def smooth_flux(self) -> Array:
        """Flux inside the region for norm 1, (n_map, n_energy), of every map of the smooth templates."""
        n_map = sum(len(t.basis) for t in self.diffuse)
        return np.asarray((self.smooth_templates[:n_map] / self.exposure).sum(axis=-1))

    @property
    def scd_edges(self) -> Array:
        """Edges of the flux bins, (n_bin + 1,), log₁₀ of photons / cm² / s."""
        return self.bins.edges

    @property
    def coordinates(self) -> Coordinates:
        """Labels of the axes of a posterior's quantities."""
        energy, flux = tuple(self.energy.tolist()), tuple(self.bins.centres.tolist())
        return Coordinates(self.names, energy, self.point_sources, flux, self.shapes, self.subject)

    def flux(self, emission: Emission, source_flux: Array) -> Array:
        """Flux inside the region, (n, n_template, n_energy), where sources give `source_flux` (n, n_point_source)."""
        of_maps = emission.norms[:, : len(self.smooth_flux)] * self.smooth_flux
        smooth = [of_maps[:, rows].sum(axis=1) for rows in self.map_rows]
        stacked = np.stack(smooth, axis=1) if smooth else np.zeros((len(of_maps), 0, self.n_energy))
        return np.concatenate([stacked, source_flux[:, :, None] * emission.spectra[:, len(smooth) :]], axis=1)

    def modulated_counts(self, emission: Emission, rng: np.random.Generator) -> Array:
        """Expected counts (n, n_energy, n_pix) of all smooth templates with log-fields, which are drawn."""
        total = np.zeros((len(emission.norms), self.n_energy, self.region.n_pix))
        for i in self.modulated:
            total += self.modulated_template(i, emission, rng)
        return total

    def modulated_template(self, i: int, emission: Emission, rng: np.random.Generator) -> Array:
        """Expected counts (n, n_energy, n_pix) of smooth template `i` under log-fields that are drawn."""
        first, rows = sum(len(t.modulations) for t in self.diffuse[:i]), self.map_rows[i]
        modulations = self.diffuse[i].modulations
        amplitudes = emission.amplitudes[:, first : first + len(modulations)]
        norms, maps = emission.norms[:, rows], self.smooth_templates[rows]
        return modulate(norms, maps, self.exposure, modulations, amplitudes, rng)

    # -- other skies ----------------------------------------------------------------------------------------------

    def in_region(self, region: Grid) -> Self:
        """The same sky, analysed in another region of the patch."""
        return replace(self, region=region, diffuse=tuple(t.in_region(region) for t in self.diffuse))

    def standing(self, values: Mapping[str, float]) -> Self:
        """The same sky with templates that do not float, at values of their parameters by full names."""
        inside, exposure, disc = self.inside, self.patch_exposure, self.patch.disc
        return replace(
            self,
            diffuse=tuple(t.at(values) for t in self.diffuse),
            point_source_templates=tuple(t.at(values, inside, exposure, disc) for t in self.point_source_templates),
        )

    def exposed(self, ratio: Array) -> Self:
        """The same sky seen with `ratio` (n_energy, n_patch) times the exposure."""
        return replace(
            self,
            patch_exposure=self.patch_exposure * ratio,
            diffuse=tuple(t.at_exposure(ratio, self.patch.disc) for t in self.diffuse),
            point_source_templates=tuple(t.at_exposure(ratio, self.patch.disc) for t in self.point_source_templates),
        )

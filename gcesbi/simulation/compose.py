"""A sky model's arrays, from what its composition states: templates computed or read, exposure and PSF."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError, nearest
from gcesbi.io.files import naming
from gcesbi.simulation.catalogue_map import catalogue_counts
from gcesbi.simulation.components import Catalogue, PointSources, Smooth
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.modulations import modulations_of
from gcesbi.simulation.sky_arrays import SkyArrays
from gcesbi.simulation.spectral_families import FixedShares
from gcesbi.simulation.template_arrays import DiffuseTemplate, PointSourceTemplate
from gcesbi.simulation.template_maps import TemplateMaps
from gcesbi.simulation.template_shapes import Basis, draw_basis
from gcesbi.simulation.template_statements import Formula, Map, Mixture

__all__ = ["compose", "compose_widened"]

Array = NDArray[np.float64]

_SPREAD = 0.999  # share of a source's light that lands no further than an image is padded


def compose(
    sky: Composition,
    maps: TemplateMaps | None = None,
    exposure: Array | None = None,
    cubes: Sequence[float] | None = None,
) -> SkyArrays:
    """Arrays of a model; templates that take long are computed unless given as `maps`.

    `exposure` (n_energy, n_patch), where it is given, stands for the one that is stated. `cubes` are edges of the bins
    in which the cubes of a model of one bin are, where it is not one: their maps are added.

    Raises
    ------
    InputError
        If a file is missing or does not fit, or a template is zero in the region.
    """
    return _Builder(sky, maps, exposure, cubes or sky.energy_edges).build()


def compose_widened(sky: Composition, factor: float, stated: TemplateMaps) -> SkyArrays:
    """Arrays of a sky through a PSF whose angles are `factor` times as large.

    Norms mean the light that they mean with the maps of the sky as it is `stated`.
    """
    builder = _Builder(sky, None, None, sky.energy_edges)
    builder.stated, builder.psf = stated, tuple(each.widened(factor) for each in builder.psf)
    return builder.build()


class _Builder:
    """One model in the making."""

    def __init__(
        self, sky: Composition, maps: TemplateMaps | None, exposure: Array | None, cubes: Sequence[float]
    ) -> None:
        self.sky, self.maps, self.stated = sky, maps, maps
        self.edges, self.read_edges = np.array(sky.energy_edges), np.array(cubes)
        self.psf = sky.psf.in_bins(self.edges)
        with naming("region"):
            reach = max(float(each.containment_radius(_SPREAD)) for each in self.psf)
            reach *= sky.psf_factors[-1]
            self.patch, self.region = sky.region.place(reach)
        if sky.region.mask_sources is not None:
            with naming("region: mask_sources"):
                self.region = sky.region.mask_sources.cut(self.region, self.psf)
        self.inside, self.disc = self.patch.places(self.region), self.patch.disc
        with naming("exposure"):
            self.exposure = sky.exposure.on(self.patch, self.edges) if exposure is None else exposure
        if not np.isfinite(self.exposure).all() or np.any(self.exposure[:, self.inside] <= 0):
            raise InputError("exposure: must be above zero inside the region")

    def build(self) -> SkyArrays:
        templates = {c.name: c.template for c in self.sky.components if not isinstance(c, Catalogue)}
        nodes = {} if self.stated is None else self.stated.nodes
        bases = {name: draw_basis(each, self._inside, nodes.get(name)) for name, each in templates.items()}
        maps = self._draw(bases) if self.maps is None else self.maps
        diffuse: list[DiffuseTemplate] = []
        sources: list[PointSourceTemplate] = []
        for c in self.sky.components:
            landed = maps.landed[c.name]
            means = (self.stated or maps).landed[c.name][..., self.disc].mean(axis=-1, keepdims=True)
            if not np.all(landed[..., self.inside].sum(axis=-1) > 0) or not np.all(means > 0):
                raise InputError(
                    f"component {c.name}: its template is zero in the region, or in the normalisation disc"
                )
            counts = landed / means
            if isinstance(c, Smooth):
                with naming(f"component {c.name}"):
                    modulations = modulations_of(c.nuisances, self.region)
                diffuse.append(DiffuseTemplate(c.name, counts, c.norm, c.spectrum, bases[c.name], modulations))
            elif isinstance(c, Catalogue):
                flux = (landed[0][:, self.inside] / self.exposure[:, self.inside]).sum(axis=-1)
                spectrum = FixedShares(values=tuple((flux / flux.sum()).tolist()))
                diffuse.append(
                    DiffuseTemplate(c.name, counts, c.norm.scaled(float(means.sum())), spectrum, Basis.one())
                )
            else:
                told = (c.populations, c.spectrum, bases[c.name], c.poisson_share, maps.poisson.get(c.name))
                sources.append(PointSourceTemplate(c.name, maps.intensity[c.name], counts, *told))
        ends = dict(self.sky.truncations)
        smooth, points = tuple(each.cut(ends) for each in diffuse), tuple(each.cut(ends) for each in sources)
        if ends:
            known = [name for t in smooth for name in t.cuttable] + [name for t in points for name in t.cuttable]
            first = next(iter(ends))
            raise InputError(f"truncations: {first} must be a norm or a shape; {nearest(first, known)}")
        return SkyArrays(self.patch, self.region, self.edges, self.exposure, self.psf, smooth, points, maps)

    # -- templates -----------------------------------------------------------------------------------------------

    def _draw(self, bases: dict[str, Basis]) -> TemplateMaps:
        """Maps of all components; those without PSF are smoothed together, which costs little more than one."""
        stated = {c.name: c for c in self.sky.components}
        for c in self.sky.components:
            if not isinstance(c, Catalogue) and isinstance(c.template, Mixture):
                with naming(f"component {c.name}"):
                    c.template.check_maps()
        light = {}
        for name, basis in bases.items():
            with naming(f"component {name}"):
                light[name] = np.stack([self._light(*leaf) for leaf in basis.leaves])
        clear = {
            name: [i for i, leaf in enumerate(basis.leaves) if not _as_seen(leaf[0])] for name, basis in bases.items()
        }
        sources = {name for name in bases if isinstance(stated[name], PointSources)}
        shared = {c.name for c in self.sky.components if isinstance(c, PointSources) and c.poisson_share is not None}
        wanted = {name: list(range(len(light[name]))) if name in shared else rows for name, rows in clear.items()}
        stack = np.concatenate([light[name][rows] for name, rows in wanted.items()])
        if len(stack):
            seen = [self.patch.smooth(stack[:, e], psf) for e, psf in enumerate(self.psf)]
            smoothed = np.stack(seen, axis=1) * self.exposure
        landed, poisson, at = {}, {}, 0
        for name, rows in wanted.items():
            own = dict(zip(rows, smoothed[at : at + len(rows)] if len(rows) else (), strict=True))
            at += len(rows)
            landed[name] = np.stack(
                [own[i] if i in clear[name] else self._counts(*leaf) for i, leaf in enumerate(bases[name].leaves)]
            )
            if name in shared:
                poisson[name] = np.stack([own[i] for i in range(len(light[name]))])
        for c in self.sky.components:
            if isinstance(c, Catalogue):
                with naming(f"component {c.name}"):
                    found = catalogue_counts(c.file, self.patch, self.edges, self.exposure, self.psf)
                landed[c.name] = found[None]
        intensity = {name: light[name].mean(axis=1) for name in sources}
        return TemplateMaps(intensity, landed, poisson, {name: basis.grids for name, basis in bases.items()})

    def _inside(self, formula: Formula, values: dict[str, float]) -> Array:
        """A formula's map inside the region, (n_pix,)."""
        return self.patch.draw(formula.at(**values), self.inside)

    def _raw(self, statement: Formula | Map, values: dict[str, float]) -> Array:
        """Map on the patch as it is stated, (1 or n_energy, n_patch)."""
        if isinstance(statement, Formula):
            return self.patch.draw(statement.at(**values))[None]
        found = self._covered(self.patch.read(statement, self.read_edges), statement)
        if len(found) == len(self.read_edges) - 1 > len(self.psf) == 1:
            found = found.sum(axis=0, keepdims=True)
        if len(found) not in (1, len(self.psf)):
            where = statement.file or "map"
            raise InputError(
                f"{where}: needs one map for each of {len(self.psf)} energy bins, or one, got {len(found)}"
            )
        return found

    def _covered(self, values: Array, statement: Map) -> Array:
        """Values (n, n_patch), beyond the edge of a cube those of the nearest pixel; the region must be covered."""
        known: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=0))
        if not known[self.inside].all():
            missing = 1 - known[self.inside].mean()
            raise InputError(
                f"{statement.file or 'map'}: must cover the region, does not in {100 * missing:.1f} % of its pixels"
            )
        return values if known.all() else self.patch.extend(values[:, known], np.flatnonzero(known))

    def _light(self, statement: Formula | Map, values: dict[str, float]) -> Array:
        """What shines, without exposure, (n_energy, n_patch)."""
        raw = self._raw(statement, values)
        counted = isinstance(statement, Map) and statement.quantity == "counts"
        if counted:
            return np.divide(raw, self.exposure, out=np.zeros_like(self.exposure), where=self.exposure > 0)
        return np.array(np.broadcast_to(raw, self.exposure.shape))

    def _counts(self, statement: Formula | Map, values: dict[str, float]) -> Array:
        """Expected counts of a map that is taken as the instrument sees it, (n_energy, n_patch)."""
        raw = self._raw(statement, values)
        counted = isinstance(statement, Map) and statement.quantity == "counts"
        return np.array(np.broadcast_to(raw, self.exposure.shape)) if counted else raw * self.exposure


def _as_seen(statement: Formula | Map) -> bool:
    return isinstance(statement, Map) and statement.smoothed is True

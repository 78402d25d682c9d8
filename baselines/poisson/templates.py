"""Templates of a Poisson fit: the model's, at shapes that are held or fitted, and a user's beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.floating import FloatingTemplate, floating_templates
from gcesbi.baselines.poisson.optimum import Optimum, Problem
from gcesbi.baselines.poisson.outer import OuterLikelihood
from gcesbi.baselines.poisson.priors import UserTemplate
from gcesbi.errors import InputError
from gcesbi.physics.spectra import e2dnde
from gcesbi.posterior import Coordinates
from gcesbi.simulation.prior import Parameter
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["FittedTemplates", "shares"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedTemplates:
    """Templates that are fitted to `observation`.

    Parameters
    ----------
    model : SkyModel
        Of the observation's region and energies.
    observation : Observation
    extra : tuple of UserTemplate
    shapes : mapping of str to float
        Shape parameters that are held; the others are fitted.

    Raises
    ------
    InputError
        If names are not distinct, an extra template has another shape than the counts, or a shape parameter is of no
        name or out of its prior's range.
    """

    model: SkyModel
    observation: Observation
    extra: tuple[UserTemplate, ...] = ()
    shapes: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in {name for name in self.names if self.names.count(name) > 1}:
            raise InputError(f"extra: names must differ from each other and from the model's, got {name!r} twice")
        for template in self.extra:
            if np.shape(template.counts) != self.observation.counts.shape:
                raise InputError(
                    f"extra: {template.name!r} must have the shape of the counts, {self.observation.counts.shape}, "
                    f"got {np.shape(template.counts)}"
                )
        known = {each.name: each.marginal.range for each in self._parameters}
        for name, value in self.shapes.items():
            if name not in known:
                raise InputError(f"shapes: must be among {', '.join(known) or 'none'}, got {name!r}")
            low, high = known[name]
            if not low <= value <= high:
                raise InputError(f"shapes: {name} must lie within its prior's range, {low:g} to {high:g}, got {value}")

    @property
    def names(self) -> tuple[str, ...]:
        """The model's, then the extra ones."""
        return (*self.model.names, *(template.name for template in self.extra))

    @cached_property
    def coordinates(self) -> Coordinates:
        """Labels of the posteriors' axes."""
        return replace(self.model.coordinates, template=self.names)

    # -- shapes ---------------------------------------------------------------------------------------------------

    @cached_property
    def _parameters(self) -> tuple[Parameter, ...]:
        shapes = self.model.shapes
        return tuple(slot for slot in self.model.parameters.slots if slot.name in shapes) if shapes else ()

    @cached_property
    def fitted(self) -> tuple[Parameter, ...]:
        """Shape parameters that are not held."""
        return tuple(each for each in self._parameters if each.name not in self.shapes)

    @cached_property
    def floating(self) -> tuple[FloatingTemplate, ...]:
        """Templates whose shape has parameters."""
        return floating_templates(self.model)

    def all_shapes(self, values: Array) -> dict[str, float]:
        """All shape parameters where those that are fitted have values (n_fitted,)."""
        return {**self.shapes, **{each.name: float(v) for each, v in zip(self.fitted, values, strict=True)}}

    # -- maps -----------------------------------------------------------------------------------------------------

    @cached_property
    def _standing(self) -> Array:
        """Templates, whatever floats at its prior's mean."""
        own = np.asarray(self.model.templates, dtype=np.float64)
        return np.concatenate([own, *(np.asarray(t.counts)[None] for t in self.extra)]) if self.extra else own

    def at(self, values: Array) -> Array:
        """Expected counts for norm 1, (n_template, n_energy, n_pix), at values (n_fitted,) of the fitted shapes."""
        if not self.floating:
            return self._standing
        found, shapes = np.array(self._standing), self.all_shapes(values)
        for template in self.floating:
            found[template.row] = template.at(shapes)
        return found

    def slopes(self, values: Array) -> list[tuple[int, Array]]:
        """Row, and derivative (n_energy, n_pix), of the template that each fitted shape parameter changes."""
        shapes = self.all_shapes(values)
        found = {
            name: (template.row, slope)
            for template in self.floating
            for name, slope in zip(template.names, template.slopes(shapes), strict=True)
        }
        return [found[each.name] for each in self.fitted]

    @cached_property
    def maps(self) -> Array:
        """Expected counts for norm 1, (n_template, n_energy, n_pix), fitted shapes at their priors' means."""
        return self.at(np.array([each.marginal.moments[0] for each in self.fitted]))

    @cached_property
    def flux_per_norm(self) -> Array:
        """Flux inside the region for norm 1, (n_template, n_energy), photons / cm² / s, of :attr:`maps`."""
        own = np.array(self.model.flux_per_norm)
        more = [(np.asarray(t.counts) / self.observation.exposure).sum(axis=-1)[None] for t in self.extra]
        for template in self.floating:
            own[template.row] = (self.maps[template.row] / self.observation.exposure).sum(axis=-1)
        return np.concatenate([own, *more])

    def likelihood(self, problems: Callable[[Array], tuple[Problem, ...]]) -> OuterLikelihood:
        """Maximum of ln L over norms as a function of the fitted shapes, from the bins' likelihoods of templates."""

        def mean_slopes(values: Array, problems: tuple[Problem, ...], optima: tuple[Optimum, ...]) -> tuple[Array, ...]:
            moved = self.slopes(values)
            n_bin = len(self.observation.counts) // len(problems)
            return tuple(
                np.stack(
                    [
                        p.moved_mean(o, row, slope[i * n_bin : (i + 1) * n_bin].reshape(p.counts.shape))
                        for row, slope in moved
                    ]
                )
                for i, (p, o) in enumerate(zip(problems, optima, strict=True))
            )

        return OuterLikelihood(self.fitted, lambda values: problems(self.at(values)), mean_slopes)

    def without(self, pixels: ArrayLike) -> tuple[Observation, tuple[UserTemplate, ...]]:
        """Observation and extra templates on the region less some pixels (NESTED indices).

        Raises
        ------
        InputError
            If a pixel is not in the region, or none is left.
        """
        region, gone = self.observation.region, np.atleast_1d(np.asarray(pixels, dtype=np.int64))
        stray = np.setdiff1d(gone, region.pixels)
        if stray.size:
            raise InputError(f"pixels: must be numbers of pixels in the region, got {stray[0]}")
        keep = ~np.isin(region.pixels, gone)
        seen = self.observation
        part = Observation(seen.counts[:, keep], seen.exposure[:, keep], seen.energy_edges, region.only(keep))
        return part, tuple(template.select(keep) for template in self.extra)

    def quantities(self, norms: Array) -> dict[str, Array]:
        """Fluxes, their fractions and spectra of norms (n, n_template, n_energy)."""
        flux = norms * self.flux_per_norm
        total = flux.sum(axis=2)
        return {
            "flux_fraction": shares(total, axis=1),
            "spectrum_fraction": shares(flux, axis=1),
            "flux": total,
            "spectrum": e2dnde(flux, self.observation.energy_edges),
        }


def shares(flux: Array, axis: int) -> Array:
    """Each entry's share of the sum along an axis; 0 where that is 0."""
    total = flux.sum(axis=axis, keepdims=True)
    return np.divide(flux, total, out=np.zeros_like(flux), where=total > 0)

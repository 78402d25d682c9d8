"""Templates as arrays on a patch of the sky: what components become once exposure and PSF are applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import naming
from gcesbi.simulation.marginals import Marginal, Truncated
from gcesbi.simulation.modulations import Modulation
from gcesbi.simulation.population_families import Population
from gcesbi.simulation.spectral_families import SpectrumPrior
from gcesbi.simulation.template_shapes import Basis
from gcesbi.sky import Grid

__all__ = ["DiffuseTemplate", "PointSourceTemplate"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DiffuseTemplate:
    """Smooth emission, Poisson in every pixel.

    Parameters
    ----------
    name : str
    counts : array (n_basis, n_energy, n_patch)
        Expected counts for norm 1 in each energy bin: exposure and PSF applied. One map for each of the basis.
    norm : Marginal
        Prior of the norm A, the mean number of expected counts per pixel over the normalisation disc, summed over
        energies.
    spectrum : SpectrumPrior
    basis : Basis
        What the maps are, and how they are combined.
    modulations : tuple of Modulation
        Log-fields by which it may differ from them, in the pixels of the region that is analysed.
    """

    name: str
    counts: Array
    norm: Marginal
    spectrum: SpectrumPrior
    basis: Basis
    modulations: tuple[Modulation, ...] = ()

    def __post_init__(self) -> None:
        _check_maps(self.name, self.counts)

    def in_region(self, region: Grid) -> DiffuseTemplate:
        """The template whose log-fields are known in another region."""
        return replace(self, modulations=tuple(replace(each, grid=region) for each in self.modulations))

    def at(self, values: Mapping[str, float]) -> DiffuseTemplate:
        """The template whose floating parameters have these values, by their full names."""
        if not self.basis.names:
            return self
        counts = np.einsum("b,bep->ep", _weights(self, values), self.counts)
        return replace(self, counts=counts[None], basis=Basis.one())

    @property
    def cuttable(self) -> tuple[str, ...]:
        """Names of the parameters whose priors :meth:`cut` cuts."""
        return (f"{self.name}_norm", *_shape_names(self))

    def cut(self, ends: dict[str, tuple[float, float]]) -> DiffuseTemplate:
        """The template with priors cut to `ends`, by names of parameters, which are taken out of it.

        Raises
        ------
        InputError
            If a prior has no mass between its ends.
        """
        norm = _cut(f"{self.name}_norm", self.norm, ends)
        return replace(self, norm=norm, basis=_cut_basis(self, ends))

    def at_exposure(self, ratio: Array, disc: NDArray[np.int64]) -> DiffuseTemplate:
        """The same flux seen with `ratio` (n_energy, n_patch) times the exposure."""
        seen = self.counts * ratio
        means = seen[..., disc].mean(axis=-1)
        return replace(self, counts=seen / means[..., None], norm=self.norm.scaled(float(means.mean())))


@dataclass(frozen=True, eq=False)
class PointSourceTemplate:
    """Emission by populations of point sources that share a spatial distribution and a spectrum.

    Parameters
    ----------
    name : str
    intensity : array (n_basis, n_patch)
        Density of sources per pixel, of sum 1 inside the region; no PSF applied.
    counts : array (n_basis, n_energy, n_patch)
        Expected counts for norm 1 in each energy bin, as for a :class:`DiffuseTemplate`: what a Poisson fit fits.
    populations : tuple of Population
    spectrum : SpectrumPrior
    basis : Basis
    poisson_share : Marginal, optional
        Prior of the share of the flux that is exactly Poisson; without it, all flux is that of sources.
    poisson : array (n_basis, n_energy, n_patch), optional
        Exposure × (PSF ⊗ intensity): where that share shines.
    """

    name: str
    intensity: Array
    counts: Array
    populations: tuple[Population, ...]
    spectrum: SpectrumPrior
    basis: Basis
    poisson_share: Marginal | None = None
    poisson: Array | None = None

    def __post_init__(self) -> None:
        _check_maps(self.name, self.intensity)
        _check_maps(self.name, self.counts)
        if self.poisson is not None:
            _check_maps(self.name, self.poisson)

    def at(
        self, values: Mapping[str, float], inside: NDArray[np.int64], exposure: Array, disc: NDArray[np.int64]
    ) -> PointSourceTemplate:
        """The template whose floating parameters have these values, by their full names."""
        if not self.basis.names:
            return self
        weights = _weights(self, values)
        share = weights / self.intensity[:, inside].sum(axis=1)
        per_flux = weights[:, None] / (self.counts[..., inside] / exposure[:, inside]).sum(axis=-1)
        counts = np.einsum("be,bep->ep", per_flux, self.counts)
        return replace(
            self,
            intensity=(share @ self.intensity)[None],
            counts=(counts / counts[:, disc].mean(axis=-1, keepdims=True))[None],
            poisson=None if self.poisson is None else np.einsum("b,bep->ep", share, self.poisson)[None],
            basis=Basis.one(),
        )

    @property
    def cuttable(self) -> tuple[str, ...]:
        """Names of the parameters whose priors :meth:`cut` cuts."""
        return _shape_names(self)

    def cut(self, ends: dict[str, tuple[float, float]]) -> PointSourceTemplate:
        """The template with priors of what floats in it cut: see :meth:`DiffuseTemplate.cut`."""
        return replace(self, basis=_cut_basis(self, ends))

    def at_exposure(self, ratio: Array, disc: NDArray[np.int64]) -> PointSourceTemplate:
        """The same sources seen with `ratio` (n_energy, n_patch) times the exposure."""
        seen = self.counts * ratio
        poisson = None if self.poisson is None else self.poisson * ratio
        return replace(self, counts=seen / seen[..., disc].mean(axis=-1, keepdims=True), poisson=poisson)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the names of each population's parameters begin with."""
        n = len(self.populations)
        return (self.name,) if n == 1 else tuple(f"{self.name}{i + 1}" for i in range(n))


def _shape_names(template: DiffuseTemplate | PointSourceTemplate) -> tuple[str, ...]:
    return tuple(f"{template.name}_{key}" for key in template.basis.names)


def _cut(name: str, marginal: Marginal, ends: dict[str, tuple[float, float]]) -> Marginal:
    if name not in ends:
        return marginal
    with naming(f"truncations: {name}"):
        return Truncated(marginal, *ends.pop(name))


def _cut_basis(template: DiffuseTemplate | PointSourceTemplate, ends: dict[str, tuple[float, float]]) -> Basis:
    floating = template.basis.floating.items()
    return replace(template.basis, floating={key: _cut(f"{template.name}_{key}", m, ends) for key, m in floating})


def _weights(template: DiffuseTemplate | PointSourceTemplate, values: Mapping[str, float]) -> Array:
    """Weights (n_basis,) of a template's maps at values of its parameters, by their full names."""
    told = np.array([[values[f"{template.name}_{key}"] for key in template.basis.names]])
    return template.basis.weights(told)[0]


def _check_maps(name: str, values: Array) -> None:
    if not np.isfinite(values).all() or np.any(values < 0):
        raise InputError(f"template {name}: must be finite and not negative")
    if not values.any(axis=tuple(range(1, values.ndim))).all():
        raise InputError(f"template {name}: is zero everywhere")

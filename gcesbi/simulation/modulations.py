r"""Random log-fields on smooth templates, in the pixels of a region: their bases, and how they change what is expected.

A field is g = σ Σ_k φ_k(p) z_k with z ~ N(0, 1). It acts on a template as the instrument sees it, exposure and PSF
applied, the sums running over the region's pixels:

.. math:: T'_e(p) = T_e(p) \exp(g_e(p)) / Z_e, \qquad Z_e = \sum_p T_e \exp(g_e) / ε_e \Big/ \sum_p T_e / ε_e.

With ε the exposure, the flux inside the region stays, which is what norm and labels mean.

**Harmonics**: φ_lm(p) = l^-slope Y_lm(p). **Field**: a process convolution (Higdon 1998). White noise on nodes, no
further apart than 0.9 of the length, is smoothed with exp(-d² / length²), so that its covariance is
exp(-d² / (2 length²)); φ(p) is then scaled to norm 1 in every pixel: the variance is σ² everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import healpy as hp
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from scipy.special import sph_harm_y

from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Marginal
from gcesbi.simulation.nuisances import GaussianField, Harmonics
from gcesbi.sky import Grid

__all__ = ["Modulation", "modulate", "modulations_of"]

Array = NDArray[np.float64]

_FINEST = 1.5  # pixels to half a wave of the finest harmonics
_SPACING = 0.9  # of nodes, in lengths
_REACH = 3.0  # of a node, in lengths: its kernel is 10⁻⁴ there
_ENTRIES = 2**28  # of a basis, at most


@dataclass(frozen=True, eq=False)
class Modulation:
    """One log-field of one smooth template, in the pixels of a region.

    Parameters
    ----------
    label : str
        Distinct among those of the template.
    law : Harmonics or GaussianField
    grid : Grid
        The region's pixels.
    """

    label: str
    law: Harmonics | GaussianField
    grid: Grid

    @property
    def amplitude(self) -> Marginal:
        """Of σ: fixed, or a prior."""
        return self.law.sigma

    @property
    def per_energy(self) -> bool:
        """Whether every energy bin has coefficients of its own."""
        return self.law.per_energy

    @cached_property
    def basis(self) -> csr_array:
        """Φ (n_pix, n_mode): the field is σ Φ z, z ~ N(0, 1) of (n_mode,)."""
        return _harmonics(self.law, self.grid) if isinstance(self.law, Harmonics) else _nodes(self.law, self.grid)

    def check(self) -> None:
        """Raise InputError unless the field fits the pixels and the region."""
        if isinstance(self.law, Harmonics):
            most = int(180 / (_FINEST * self.grid.pixel_size))
            if self.law.l_max > most:
                raise InputError(
                    f"{self.label}: l_max must be at most {most} for pixels of {self.grid.pixel_size:.3g} deg, "
                    f"got {self.law.l_max}"
                )
            if self.grid.n_pix * (self.law.l_max + 1) ** 2 > _ENTRIES:
                raise InputError(
                    f"{self.label}: l_max {self.law.l_max} has too many modes for {self.grid.n_pix} pixels"
                )
        elif self.law.length > (extent := _extent(self.grid)):
            raise InputError(
                f"{self.label}: length must not exceed the region's {extent:.3g} deg, got {self.law.length:g}"
            )

    def draw(self, n: int, n_energy: int, rng: np.random.Generator) -> Array:
        """Fields (n_energy or 1, n, n_pix) for σ = 1."""
        n_row, (n_pix, n_mode) = n_energy if self.per_energy else 1, self.basis.shape
        z = rng.standard_normal((n_row * n, n_mode))
        return np.ascontiguousarray((self.basis @ z.T).T).reshape(n_row, n, n_pix)


def modulations_of(nuisances: Iterable[Harmonics | GaussianField], grid: Grid) -> tuple[Modulation, ...]:
    """Log-fields of a component in a region; those of one kind are numbered from the second on.

    Raises
    ------
    InputError
        If harmonics are finer than the pixels, or a field is longer than the region.
    """
    return tuple(_labelled(nuisances, grid))


def _labelled(nuisances: Iterable[Harmonics | GaussianField], grid: Grid) -> Iterator[Modulation]:
    seen: dict[str, int] = {}
    for law in nuisances:
        seen[law.label] = number = seen.get(law.label, 0) + 1
        modulation = Modulation(law.label if number == 1 else f"{law.label}{number}", law, grid)
        modulation.check()
        yield modulation


def modulate(
    norms: Array,
    maps: Array,
    exposure: Array,
    modulations: Sequence[Modulation],
    amplitudes: Array,
    rng: np.random.Generator,
) -> Array:
    """Expected counts (n, n_energy, n_pix) of a template in n skies, under log-fields that are drawn.

    Parameters
    ----------
    norms : array (n, n_map, n_energy)
        What multiplies each map of the template.
    maps : array (n_map, n_energy, n_pix)
        Expected counts.
    exposure : array (n_energy, n_pix)
    modulations : sequence of Modulation
    amplitudes : array (n, n_modulation)
    rng : numpy Generator
    """
    g = np.zeros((1, len(norms), 1))
    for modulation, sigma in zip(modulations, amplitudes.T, strict=True):
        g = g + sigma[:, None] * modulation.draw(len(norms), maps.shape[1], rng)
    factor = np.exp(g - g.max(axis=-1, keepdims=True))
    weights, light = np.moveaxis(norms, 2, 0), np.moveaxis(maps / exposure, 0, 2)
    before = (weights * light.sum(axis=1)[:, None]).sum(axis=-1, keepdims=True)
    after = (weights * (factor @ light)).sum(axis=-1, keepdims=True)
    scale = np.divide(before, after, out=np.zeros_like(before), where=after > 0)
    return np.asarray((weights * scale @ maps.swapaxes(0, 1) * factor).swapaxes(0, 1))


def _extent(grid: Grid) -> float:
    """Twice the largest distance of a pixel from the region's middle, degrees."""
    vectors = grid.vectors
    middle = vectors.mean(axis=0)
    cosine = np.clip(vectors @ middle / np.linalg.norm(middle), -1, 1)
    return float(2 * np.degrees(np.arccos(cosine.min())) + grid.pixel_size)


def _harmonics(law: Harmonics, grid: Grid) -> csr_array:
    glon, glat = np.radians(grid.glon_glat())
    columns = []
    for degree in range(law.l_min, law.l_max + 1):
        order = np.arange(degree + 1)[:, None]
        values = degree**-law.slope * sph_harm_y(degree, order, np.pi / 2 - glat, glon)
        columns += [values[:1].real, np.sqrt(2) * values[1:].real, np.sqrt(2) * values[1:].imag]
    return csr_array(np.concatenate(columns).T)


def _nodes(law: GaussianField, grid: Grid) -> csr_array:
    length = np.radians(law.length)
    nside = int(np.ceil(np.sqrt(np.pi / 3) / (_SPACING * length)))
    nodes = np.stack(hp.pix2vec(nside, np.arange(hp.nside2npix(nside))), axis=1)
    chord = 2 * np.sin(_REACH * length / 2)
    found = cKDTree(grid.vectors).sparse_distance_matrix(cKDTree(nodes), chord, output_type="coo_matrix")
    found.data = np.exp(-((2 * np.arcsin(found.data / 2) / length) ** 2))
    _, column = np.unique(found.col, return_inverse=True)
    kernel = csr_array((found.data, (found.row, column)))
    kernel.sort_indices()
    return csr_array(kernel.multiply(1 / np.sqrt(kernel.multiply(kernel).sum(axis=1))[:, None]))

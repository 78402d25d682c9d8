r"""Templates of a model as functions of its shape parameters, for likelihoods: one evaluation costs one sum of maps.

A template that floats is a convex combination of maps (:mod:`gcesbi.simulation.template_shapes`), its weights w_b
linear in every parameter between neighbouring nodes. For norm 1 in energy bin e it is

.. math:: T_e(p) = \sum_b u_{be} C_{be}(p), \qquad
          u_{be} = \frac{w_b / F_{be}}{\sum_{b'} w_{b'} / F_{b'e}},

C of mean 1 over the normalisation disc, and F_be the flux of map b in the region for point sources, whose weights are
shares of flux, and 1 for smooth templates, whose weights are shares of the norm: that which
:meth:`gcesbi.SkyModel.at` takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel
    from gcesbi.simulation.template_shapes import Basis

__all__ = ["FloatingTemplate", "floating_templates"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FloatingTemplate:
    """Maps that one template combines.

    Parameters
    ----------
    row : int
        Place of the template in the model.
    names : tuple of str
        Its shape parameters.
    basis : Basis
    counts : array (n_basis, n_energy, n_pix)
        Of each map, inside the region, for norm 1.
    flux : array (n_basis, n_energy)
        Inside the region, of each map for norm 1, photons / cm² / s.
    of_flux : bool
        Whether weights are shares of the flux, as those of point sources; else they are shares of the norm.
    """

    row: int
    names: tuple[str, ...]
    basis: Basis
    counts: Array
    flux: Array
    of_flux: bool

    def values(self, shapes: Mapping[str, float]) -> Array:
        """Its own among shape parameters, (n_name,)."""
        return np.array([shapes[name] for name in self.names])

    def at(self, shapes: Mapping[str, float]) -> Array:
        """Expected counts for norm 1 at shape parameters, (n_energy, n_pix)."""
        return self._combined(self._shares(self.basis.weights(self.values(shapes)[None])[0]))

    def slopes(self, shapes: Mapping[str, float]) -> Array:
        """Derivatives (n_name, n_energy, n_pix) of :meth:`at` by its own shape parameters."""
        values = self.values(shapes)
        weights, slopes = self.basis.weights(values[None])[0], self.basis.slopes(values)
        if not self.of_flux:
            return np.stack([self._combined(np.tile(slope[:, None], self.flux.shape[1])) for slope in slopes])
        total = (weights[:, None] / self.flux).sum(axis=0)
        shares = self._shares(weights)
        changed = [(slope[:, None] - shares * (slope[:, None] / self.flux).sum(axis=0) * self.flux) for slope in slopes]
        return np.stack([self._combined(each / self.flux / total) for each in changed])

    def _shares(self, weights: Array) -> Array:
        """The shares u (n_basis, n_energy)."""
        raw = weights[:, None] / self.flux if self.of_flux else np.tile(weights[:, None], self.flux.shape[1])
        return np.asarray(raw / raw.sum(axis=0))

    def _combined(self, shares: Array) -> Array:
        used = np.flatnonzero(shares.any(axis=1))
        return np.einsum("be,bep->ep", shares[used], self.counts[used])


def floating_templates(model: SkyModel) -> tuple[FloatingTemplate, ...]:
    """Templates of a model that float, in its order."""
    found = []
    if not model.shapes:
        return ()
    templates: Sequence = (*model.diffuse, *model.point_source_templates)
    for row, template in enumerate(templates):
        if not template.basis.names:
            continue
        names = tuple(f"{template.name}_{key}" for key in template.basis.names)
        counts = np.ascontiguousarray(template.counts[..., model.inside])
        flux = (counts / model.exposure).sum(axis=-1)
        found.append(FloatingTemplate(row, names, template.basis, counts, flux, row >= len(model.diffuse)))
    return tuple(found)

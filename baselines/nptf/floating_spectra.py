r"""Spectra of a model's templates that float in a template fit: families and priors are the model's own.

A spectrum is the share s_e of a template's flux in each energy bin. With φ_e the flux inside the region for norm 1, and
norms mean counts summed over energies, as everywhere in the library, norm 1 puts the share c_e of the norm into bin e
and flux 1 means the norm Q:

.. math:: Q = \sum_e s_e / \varphi_e, \qquad c_e = \frac{s_e / \varphi_e}{Q} .

Derivatives by the parameters of a family are taken by finite differences of fourth order: a spectrum is a handful of
numbers, and any family will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gcesbi.simulation.marginals import Fixed, Marginal
from gcesbi.simulation.prior import Parameter
from gcesbi.simulation.spectral_families import SpectrumPrior

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel
    from gcesbi.simulation.template_arrays import DiffuseTemplate, PointSourceTemplate

__all__ = ["FloatingSpectra", "FloatingSpectrum"]

Array = NDArray[np.float64]

_STEP = 1e-4  # of a difference, relative to the parameter or a hundredth of its prior's width
_ROOM = 0.3  # of the way to the end of its prior, at most


@dataclass(frozen=True, eq=False)
class FloatingSpectrum:
    """Spectrum of one template.

    Parameters
    ----------
    row : int
        Place of the template in the model.
    family : SpectrumPrior
    marginals : tuple of Marginal
        Of all the family's parameters, those that are held included.
    columns : tuple of int
        Where the others stand among the fit's parameters.
    """

    row: int
    family: SpectrumPrior
    marginals: tuple[Marginal, ...]
    columns: tuple[int, ...]

    def values(self, theta: Array) -> Array:
        """Parameters of the family (n, n_value) from those of the fit (n, n_dim)."""
        out, columns = np.empty((len(theta), len(self.marginals))), iter(self.columns)
        for i, marginal in enumerate(self.marginals):
            out[:, i] = marginal.value if isinstance(marginal, Fixed) else theta[:, next(columns)]
        return out

    @cached_property
    def _limits(self) -> list[tuple[int, float, float, float]]:
        """Of what floats: place among the family's parameters, ends of its prior, a hundredth of its width."""
        free = [(i, each) for i, each in enumerate(self.marginals) if not isinstance(each, Fixed)]
        return [(i, *each.range, 0.01 * float(np.sqrt(each.moments[1]))) for i, each in free]

    def stencil(self, theta: Array) -> tuple[Array, Array]:
        """Steps (n_column,) of differences, and the family's parameters at their ends (n_column, 4, n_value)."""
        values = self.values(theta[None])[0]
        steps, points = np.empty(len(self._limits)), np.tile(values, (len(self._limits), 4, 1))
        for row, (i, low, high, width) in enumerate(self._limits):
            room = _ROOM * min(values[i] - low, high - values[i])
            steps[row] = max(min(_STEP * max(abs(values[i]), width), room), 1e-12)
            points[row, :, i] = np.clip(values[i] + steps[row] * np.array([-2.0, -1.0, 1.0, 2.0]), low, high)
        return steps, points


@dataclass(frozen=True, eq=False)
class FloatingSpectra:
    """Spectra of the templates that a fit has.

    Parameters
    ----------
    model : SkyModel
    members : tuple of FloatingSpectrum
    parameters : tuple of Parameter
        Of all of them.
    """

    model: SkyModel
    members: tuple[FloatingSpectrum, ...]
    parameters: tuple[Parameter, ...]

    @classmethod
    def of(cls, model: SkyModel, templates: tuple[str, ...], first: int) -> FloatingSpectra:
        """Spectra of some templates; their parameters stand from column `first` on. One energy bin has none."""
        edges = model.energy_edges
        members: list[FloatingSpectrum] = []
        parameters: list[Parameter] = []
        everything: tuple[DiffuseTemplate | PointSourceTemplate, ...] = (*model.diffuse, *model.point_source_templates)
        for row, template in enumerate(everything):
            if template.name not in templates or model.n_energy == 1:
                continue
            marginals = template.spectrum.marginals(edges)
            units, start = template.spectrum.units(), first + len(parameters)
            parameters += [
                Parameter(f"{template.name}_spectrum_{key}", marginal, units.get(key, ""), f"of {template.name}")
                for key, marginal in marginals.items()
                if not isinstance(marginal, Fixed)
            ]
            columns = tuple(range(start, first + len(parameters)))
            members.append(FloatingSpectrum(row, template.spectrum, tuple(marginals.values()), columns))
        return cls(model, tuple(members), tuple(parameters))

    @cached_property
    def _kinds(self) -> list[tuple[SpectrumPrior, list[FloatingSpectrum]]]:
        """Spectra by their families, each of which is asked once."""
        kinds: list[tuple[SpectrumPrior, list[FloatingSpectrum]]] = []
        for member in self.members:
            known = next((members for family, members in kinds if family == member.family), None)
            if known is None:
                kinds.append((member.family, [member]))
            else:
                known.append(member)
        return kinds

    def shares(self, theta: Array) -> Array:
        """Share of each template's flux in each energy bin, (n, n_template, n_energy), even where none is fitted."""
        out = np.full((len(theta), len(self.model.names), self.model.n_energy), 1.0 / self.model.n_energy)
        for family, members in self._kinds:
            found = family.shares(self.model.energy_edges, np.concatenate([each.values(theta) for each in members]))
            out[:, [each.row for each in members]] = found.reshape(len(members), len(theta), -1).transpose(1, 0, 2)
        return out

    def pull_back(self, theta: Array, by_shares: Array) -> Array:
        """Gradient (n_dim,) at one vector (n_dim,), from derivatives by the shares (n_template, n_energy)."""
        out = np.zeros(len(theta))
        for family, members in self._kinds:
            columns = [i for each in members for i in each.columns]
            if not columns:
                continue
            rows = [each.row for each in members for _ in each.columns]
            steps, points = (np.concatenate(part) for part in zip(*(m.stencil(theta) for m in members), strict=True))
            ends = family.shares(self.model.energy_edges, points.reshape(-1, points.shape[-1]))
            slopes = np.array([1.0, -8.0, 8.0, -1.0]) @ ends.reshape(*points.shape[:2], -1) / (12.0 * steps[:, None])
            out[columns] = np.sum(slopes * by_shares[rows], axis=1)
        return out

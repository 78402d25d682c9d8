"""How a floating template is drawn: as a convex combination of maps that are known.

A formula is drawn at the nodes of a grid over its floating parameters and interpolated linearly between them, after
every map is scaled to the same light; nodes are added until the interpolated template differs from the true one by
less than 10⁻³ of a pixel's light, everywhere. Combinations are convex, so that point sources may be placed by them:
those of a combination are those of its maps together, independently.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Fixed, Marginal
from gcesbi.simulation.spectral_families import sticks_to_shares
from gcesbi.simulation.template_statements import Formula, Map, Mixture

__all__ = ["INTERPOLATION_ERROR", "Basis", "draw_basis"]

Array = NDArray[np.float64]
Leaf = tuple[Formula | Map, dict[str, float]]

INTERPOLATION_ERROR = 1e-3
"""Largest error of an interpolated template, as a share of a pixel's light."""
_MAX_NODES = 129


@dataclass(frozen=True)
class Basis:
    """The maps that a template combines, and their weights as a function of what floats.

    Parameters
    ----------
    leaves : tuple of (statement, parameters)
        What each map shows.
    floating : dict of str to Marginal
        Priors of what floats, by name.
    parts : tuple of Basis
        Those of a mixture.
    nodes : tuple of array
        Of a formula: grid of each of its floating parameters.
    constants : tuple of float or None
        Of a mixture: its sticks that are fixed; None where one floats.
    """

    leaves: tuple[Leaf, ...]
    floating: dict[str, Marginal] = field(default_factory=dict)
    parts: tuple[Basis, ...] = ()
    nodes: tuple[Array, ...] = ()
    constants: tuple[float | None, ...] = ()

    @classmethod
    def one(cls) -> Basis:
        """A single map, of which nothing need be known."""
        return cls(((Formula(formula="isotropic"), {}),))

    def __len__(self) -> int:
        return len(self.leaves)

    @property
    def names(self) -> tuple[str, ...]:
        """Of what floats."""
        return tuple(self.floating)

    @property
    def grids(self) -> tuple[Array, ...]:
        """Nodes of all formulas that float, in order."""
        return (*self.nodes, *(grid for part in self.parts for grid in part.grids))

    @property
    def knots(self) -> tuple[Array, ...]:
        """For each name, values between which all weights are linear in it while the others are held."""
        sticks = tuple(np.array([0.0, 1.0]) for constant in self.constants if constant is None)
        return (*sticks, *self.nodes, *(knots for part in self.parts for knots in part.knots))

    def slopes(self, values: Array) -> Array:
        """Derivatives (n_name, n_basis) of the weights by values (n_name,): exact, since they are linear in each."""
        ends = np.tile(values, (2, len(values), 1))
        for i, (knots, value) in enumerate(zip(self.knots, values, strict=True)):
            at = np.clip(np.searchsorted(knots, value, side="right") - 1, 0, len(knots) - 2)
            ends[:, i, i] = knots[at], knots[at + 1]
        low, high = (self.weights(each) for each in ends)
        return np.asarray((high - low) / np.einsum("nii->ni", ends[1:] - ends[:1])[0][:, None])

    def weights(self, values: Array) -> Array:
        """Weights (n, n_basis), of sum 1, for values (n, n_name) of the floating parameters."""
        if self.parts:
            n_stick = sum(constant is None for constant in self.constants)
            columns = iter(values[:, :n_stick].T)
            sticks = np.stack([next(columns) if c is None else np.full(len(values), c) for c in self.constants], axis=1)
            shares, at, found = sticks_to_shares(sticks), n_stick, []
            for share, part in zip(shares.T, self.parts, strict=True):
                found.append(share[:, None] * part.weights(values[:, at : at + len(part.names)]))
                at += len(part.names)
            return np.concatenate(found, axis=1)
        out = np.ones((len(values), 1))
        for nodes, column in zip(self.nodes, values.T, strict=True):
            out = (out[:, :, None] * _hats(nodes, column)[:, None, :]).reshape(len(values), -1)
        return out


def _hats(nodes: Array, values: Array) -> Array:
    """Weights (n, n_node) of linear interpolation at values (n,)."""
    at = np.clip(np.searchsorted(nodes, values, side="right") - 1, 0, len(nodes) - 2)
    upper = np.clip((values - nodes[at]) / (nodes[at + 1] - nodes[at]), 0.0, 1.0)
    out = np.zeros((len(values), len(nodes)))
    rows = np.arange(len(values))
    out[rows, at], out[rows, at + 1] = 1 - upper, upper
    return out


def draw_basis(
    statement: Formula | Map | Mixture,
    render: Callable[[Formula, dict[str, float]], Array],
    grids: Sequence[Array] | None = None,
) -> Basis:
    """The basis of a template.

    Parameters
    ----------
    statement : Formula, Map or Mixture
    render : callable
        Gives a formula's map inside the region, (n_pix,), at values of its floating parameters.
    grids : sequence of array, optional
        Nodes of all its formulas, where they are known.
    """
    return _basis(statement, render, None if grids is None else iter(grids))


def _basis(
    statement: Formula | Map | Mixture,
    render: Callable[[Formula, dict[str, float]], Array],
    grids: Iterator[Array] | None,
) -> Basis:
    if isinstance(statement, Mixture):
        parts = tuple(_basis(part, render, grids) for part in statement.mixture)
        constants = tuple(each.value if isinstance(each, Fixed) else None for each in statement.sticks.values())
        leaves = tuple(leaf for part in parts for leaf in part.leaves)
        return Basis(leaves, statement.floating, parts, constants=constants)
    if isinstance(statement, Map) or not statement.floating:
        return Basis(((statement, {}),))
    names = tuple(statement.floating)
    nodes = _grid(statement, render) if grids is None else tuple(next(grids) for _ in names)
    leaves = tuple((statement, dict(zip(names, at, strict=True))) for at in itertools.product(*map(tuple, nodes)))
    return Basis(leaves, statement.floating, nodes=nodes)


def _grid(formula: Formula, render: Callable[[Formula, dict[str, float]], Array]) -> tuple[Array, ...]:
    """Nodes of every floating parameter, equally spaced, as many as the interpolation needs."""
    middle = {name: sum(marginal.range) / 2 for name, marginal in formula.floating.items()}
    found = []
    share = INTERPOLATION_ERROR / len(middle)
    for name, marginal in formula.floating.items():
        low, high = marginal.range

        def at(value: float, name: str = name) -> Array:
            drawn = render(formula, {**middle, name: value})
            return drawn / drawn.sum()

        # the error of linear interpolation falls with the step's square: measure it at both ends and in the middle
        n, step = 2, (high - low) / 8
        curvature = 0.0
        for centre in (low + step, (low + high) / 2, high - step):
            left, mid, right = at(centre - step), at(centre), at(centre + step)
            away = np.abs((left + right) / 2 - mid)
            curvature = max(curvature, float(np.max(np.divide(away, mid, out=np.zeros_like(away), where=mid > 0))))
        n = 1 + int(np.ceil((high - low) / (2 * step) * np.sqrt(1.5 * curvature / share)))
        if n > _MAX_NODES:
            raise InputError(
                f"template {formula.formula}: {name} would need {n} maps from {low} to {high}, more than {_MAX_NODES}; "
                "narrow its prior"
            )
        found.append(np.linspace(low, high, max(n, 2)))
    return tuple(found)

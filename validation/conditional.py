"""Conditional calibration: a prediction may be right on average only because it is wrong both ways.

A posterior that is calibrated over all maps may be over-confident on some kind of them. Maps are put into groups by
quantities that do not know the truth (counts, predicted flux, width of the prediction), and a mean with known nominal
value (coverage, or the mean square z) is measured in each. The bands hold in all groups together (Bonferroni). Groups
that nobody thought of are searched by a regression tree on one half of the maps and judged on the other half, which it
never saw.

Groups of the *true* parameters are another matter: even the exact posterior is not calibrated given the truth (it leans
towards the prior). They tell where a method is strong or weak, not whether it is right.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

from .calibration import plain
from .checks import check_finite
from .estimate import Estimate

__all__ = ["ConditionalCalibration", "Group", "adversarial_groups", "conditional_mean", "groups_by"]

Mask = NDArray[np.bool_]
#: Groups of fewer maps are reported, not judged.
MIN_GROUP = 30


@dataclass(frozen=True)
class Group:
    """A mean in one group of maps."""

    name: str
    n_map: int
    estimate: Estimate

    @property
    def few_maps(self) -> bool:
        """Whether there are too few maps to judge by."""
        return self.n_map < MIN_GROUP


@dataclass(frozen=True)
class ConditionalCalibration:
    """Means by group.

    Parameters
    ----------
    nominal : float
        What each mean should be.
    level : float
        Level at which the bands hold together; each has 1 − (1 − level) / n_group.
    groups : tuple of Group
    """

    nominal: float
    level: float
    groups: tuple[Group, ...]

    @property
    def worst(self) -> Group:
        """The group whose mean lies farthest from nominal, in units of its band; any group if none is judged."""
        judged = [group for group in self.groups if not group.few_maps]
        return max(judged or self.groups, key=lambda group: _strain(group, self.nominal))

    @property
    def failing(self) -> tuple[Group, ...]:
        """Groups of enough maps whose band excludes the nominal value."""
        return tuple(g for g in self.groups if not g.few_maps and g.estimate.side(self.nominal))

    @property
    def calibrated(self) -> bool:
        """Whether no group fails."""
        return not self.failing

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers; infinite bands, of single maps, become None."""
        return {
            "nominal": self.nominal,
            "level": self.level,
            "calibrated": self.calibrated,
            "worst": self.worst.name,
            "groups": [
                {"name": each.name, "n_map": each.n_map, "few_maps": each.few_maps, **plain(vars(each.estimate))}
                for each in self.groups
            ],
        }


def conditional_mean(
    values: ArrayLike,
    groups: Mapping[str, ArrayLike],
    nominal: float,
    used: ArrayLike | None = None,
    level: float = 0.95,
) -> ConditionalCalibration:
    """Mean of `values` over the used pairs of every group of maps.

    Parameters
    ----------
    values : array (n_map, ...)
        For instance whether each truth is covered at 68 % (nominal 0.68), or its squared z (nominal 1).
    groups : mapping of str to mask (n_map,)
        From :func:`groups_by` or :func:`adversarial_groups`; they may overlap.
    used : array (n_map, ...), optional
        Pairs that count.
    """
    array = check_finite("values", np.asarray(values, dtype=np.float64))
    counting = np.ones(array.shape, bool) if used is None else np.asarray(used, dtype=bool)
    masks = {name: np.asarray(mask, dtype=bool) for name, mask in groups.items()}
    for name, mask in masks.items():
        if mask.shape != (len(array),):
            raise InputError(f"groups: {name!r} must be a mask of shape ({len(array)},), got {mask.shape}")
    masks = {name: mask for name, mask in masks.items() if counting[mask].any()}
    if not masks:
        raise InputError("groups: needs at least one group in which a pair counts, got none")
    each = 1 - (1 - level) / len(masks)
    found = tuple(
        Group(name, int(mask.sum()), Estimate.linear(array[mask], counting[mask], each)) for name, mask in masks.items()
    )
    return ConditionalCalibration(nominal, level, found)


def groups_by(values: ArrayLike, name: str, n_group: int = 4) -> dict[str, Mask]:
    """Maps in groups of equal size by a quantity (n_map,), each named by its range; fewer groups where values tie.

    Ranges are written with as many digits, three at least, as tell their ends apart.
    """
    array = check_finite(name, values)
    if array.ndim != 1:
        raise InputError(f"{name}: must have one value per map, got shape {array.shape}")
    if n_group < 1:
        raise InputError(f"n_group: must be at least 1, got {n_group}")
    edges = np.unique(np.quantile(array, np.arange(n_group + 1) / n_group))
    place = np.clip(np.searchsorted(edges, array, side="right") - 1, 0, max(len(edges) - 2, 0))
    told = _told_apart(edges)
    ends = itertools.pairwise(told) if len(told) > 1 else [(told[0], told[0])]
    return {f"{name} {low} to {high}": place == k for k, (low, high) in enumerate(ends)}


def adversarial_groups(
    features: ArrayLike,
    values: ArrayLike,
    names: Sequence[str],
    *,
    max_groups: int = 6,
    min_maps: int = 50,
    seed: int = 0,
) -> dict[str, Mask]:
    """Groups on which `values` differ most, searched by a tree on a random half of the maps; masks of the other half.

    Parameters
    ----------
    features : array (n_map, n_feature)
        Quantities that do not know the truth.
    values : array (n_map,)
        What should have the same mean everywhere, for instance the mean coverage or mean square z of each map.
    names : sequence of str
        Of the features: groups are named by the rules that make them.
    max_groups, min_maps : int
        Leaves of the tree, and maps in each while it is grown.

    Returns
    -------
    dict of str to mask (n_map,)
        True only for maps of the half that judges.
    """
    from sklearn.tree import DecisionTreeRegressor

    known, target = check_finite("features", features), check_finite("values", values)
    if known.ndim != 2 or known.shape != (len(target), len(names)) or target.ndim != 1:
        raise InputError(
            f"features: must have shape (n_map, {len(names)}) with n_map of values {target.shape}, got {known.shape}"
        )
    if len(target) < 4 * min_maps:
        raise InputError(f"features: a search needs at least {4 * min_maps} maps, got {len(target)}")
    half = np.random.default_rng(seed).permutation(len(target)) < len(target) // 2
    tree = DecisionTreeRegressor(max_leaf_nodes=max_groups, min_samples_leaf=min_maps, random_state=seed)
    tree.fit(known[half], target[half])
    leaves = tree.apply(known)
    rules = _rules(tree.tree_, names)
    return {rules[leaf]: (leaves == leaf) & ~half for leaf in sorted(rules) if ((leaves == leaf) & ~half).any()}


def _told_apart(edges: NDArray[np.float64]) -> list[str]:
    """Different numbers as different texts, as short as that allows."""
    for digits in range(3, 17):
        told = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(told)) == len(told):
            break
    return told


def _rules(tree: Any, names: Sequence[str], node: int = 0, path: tuple[str, ...] = ()) -> dict[int, str]:
    """Conditions that lead to every leaf."""
    left, right = tree.children_left[node], tree.children_right[node]
    if left == right:
        return {node: " and ".join(path) or "all maps"}
    name, edge = names[tree.feature[node]], tree.threshold[node]
    below = _rules(tree, names, left, (*path, f"{name} <= {edge:.3g}"))
    return below | _rules(tree, names, right, (*path, f"{name} > {edge:.3g}"))


def _strain(group: Group, nominal: float) -> float:
    estimate = group.estimate
    width = estimate.high - estimate.low
    return abs(estimate.value - nominal) / width if 0 < width < np.inf else 0.0

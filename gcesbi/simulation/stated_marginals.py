"""What a user may write for the prior of a parameter.

In Python: a marginal, any continuous distribution of torch's of single numbers, or what TOML says: a number (fixed), a
pair of numbers (uniform), or a table::

    norm = 2.5
    norm = [1.75, 3.5]
    norm = { prior = "half-normal", scale = 0.3 }
    norm = { prior = "truncated", of = { prior = "normal", centre = 2.5, scale = 0.3 }, low = 0.0, high = 4.0 }
    norm = { prior = "torch", distribution = "Gamma", parameters = { concentration = 2.0, rate = 1.0 } }
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, PlainSerializer
from torch.distributions import Distribution

from gcesbi.errors import InputError, nearest
from gcesbi.simulation.marginals import (
    Beta,
    ChiSquared,
    Fixed,
    HalfNormal,
    LogUniform,
    Marginal,
    Normal,
    Scaled,
    Truncated,
    Uniform,
)
from gcesbi.simulation.torch_marginals import Tabulated, TorchMarginal, marginal_of

__all__ = ["MarginalField", "as_marginal"]

_KINDS: dict[str, type[Marginal]] = {
    each.kind: each
    for each in (
        Fixed,
        Uniform,
        LogUniform,
        Normal,
        HalfNormal,
        ChiSquared,
        Beta,
        Truncated,
        Scaled,
        Tabulated,
        TorchMarginal,
    )
}


def as_marginal(value: Any) -> Marginal:
    """A marginal from what a user may write: a marginal, a torch distribution, a number, a pair, or TOML's table.

    Raises
    ------
    InputError
        If it is none of these, of an unknown kind (the nearest is named), or its arguments are not valid.
    """
    if isinstance(value, Marginal):
        return value
    if isinstance(value, Distribution):
        return marginal_of(value)
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return Fixed(float(value))
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
        if len(value) != 2 or not all(isinstance(end, (int, float, np.number)) for end in value):
            raise InputError(f"prior: a range must be two numbers, low and high, got {list(value)}")
        return Uniform(float(value[0]), float(value[1]))
    if isinstance(value, Mapping):
        return _from_table(value)
    raise InputError(f"prior: must be a number, a range [low, high] or a table with 'prior', got {value!r}")


def _from_table(table: Mapping[str, Any]) -> Marginal:
    name = table.get("prior")
    if name not in _KINDS:
        raise InputError(f"prior: must be one of {', '.join(_KINDS)}, got {name!r}; {nearest(str(name), _KINDS)}")
    kind, known = _KINDS[name], [each.name for each in fields(_KINDS[name])]  # type: ignore[arg-type]
    given = {key: value for key, value in table.items() if key != "prior"}
    for key in given:
        if key not in known:
            raise InputError(f"{name} prior: {key} is unknown; {nearest(key, known)}")
    if "of" in given:
        given["of"] = as_marginal(given["of"])
    try:
        return kind(**given)
    except TypeError:
        raise InputError(f"{name} prior: needs numbers {', '.join(known)}, got {given}") from None


MarginalField = Annotated[
    Marginal, BeforeValidator(as_marginal), PlainSerializer(lambda marginal: marginal.to_data(), return_type=Any)
]
"""A marginal as a field of a statement."""

"""The prior over a model's parameters: independent marginals with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution, constraints

from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Marginal
from gcesbi.simulation.stated_marginals import as_marginal

__all__ = ["Parameter", "Prior"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model.

    Parameters
    ----------
    name : str
    marginal : Marginal
    unit : str
        Empty for a pure number.
    meaning : str
        In a few words.
    """

    name: str
    marginal: Marginal
    unit: str = ""
    meaning: str = ""


class Prior(Distribution):
    """Independent marginals with names; a torch Distribution that `sbi` accepts.

    Parameters
    ----------
    names : sequence of str
        Parameter names, distinct.
    marginals : sequence of Marginal
        One for each name; or what stands for one (:func:`gcesbi.simulation.marginals.as_marginal`).
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own convention

    def __init__(self, names: Sequence[str], marginals: Sequence[Any]) -> None:
        if len(set(names)) != len(names) or len(names) != len(marginals) or not names:
            raise InputError(
                f"prior: needs one marginal for each distinct name, got {len(marginals)} for {list(names)}"
            )
        self.names = tuple(names)
        self.marginals = tuple(as_marginal(each) for each in marginals)
        self.parameters = tuple(Parameter(*each) for each in zip(self.names, self.marginals, strict=True))
        super().__init__(event_shape=torch.Size([len(names)]), validate_args=False)

    @classmethod
    def of(cls, parameters: Sequence[Parameter]) -> Prior:
        """The prior of parameters whose units and meanings are known."""
        prior = cls([each.name for each in parameters], [each.marginal for each in parameters])
        prior.parameters = tuple(parameters)
        return prior

    def describe(self) -> str:
        """A table with a row for each parameter: name, unit, prior and meaning."""
        rows = [("parameter", "unit", "prior", "meaning")]
        rows += [(each.name, each.unit, repr(each.marginal), each.meaning) for each in self.parameters]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip()
            for row in rows
        )

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        """Product of the marginals' supports."""
        return constraints.cat([m.support for m in self.marginals], dim=-1, lengths=[1] * len(self.marginals))

    @property
    def mean(self) -> torch.Tensor:
        """Means (n_parameter,)."""
        return torch.tensor([m.moments[0] for m in self.marginals])

    @property
    def variance(self) -> torch.Tensor:
        """Variances (n_parameter,)."""
        return torch.tensor([m.moments[1] for m in self.marginals])

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        """Draw from the prior with torch's generator: (*sample_shape, n_parameter)."""
        shape = (*sample_shape, len(self.names))
        u = torch.rand(shape, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        return torch.as_tensor(self.from_uniform(u.numpy()), dtype=torch.float32)

    def rsample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        """Not available: the draws carry no gradient."""
        raise NotImplementedError("gcesbi's prior gives no reparameterised samples")

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density of parameters (..., n_parameter): (...); -inf outside the support."""
        value = torch.as_tensor(value)
        columns = [marginal.log_prob(value[..., i]) for i, marginal in enumerate(self.marginals)]
        return torch.stack(columns, dim=-1).sum(dim=-1)

    def from_uniform(self, u: ArrayLike) -> NDArray[np.float64]:
        """Parameters (..., n_parameter) of uniform numbers (..., n_parameter), each in (0, 1)."""
        u = np.asarray(u, dtype=np.float64)
        if u.shape[-1:] != (len(self.names),):
            raise InputError(f"u: last axis must have {len(self.names)} entries, got shape {u.shape}")
        return np.stack([m.from_uniform(u[..., i]) for i, m in enumerate(self.marginals)], axis=-1)

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw (n, n_parameter) with a NumPy generator."""
        return self.from_uniform(rng.random((n, len(self.names))).clip(1e-12, 1 - 1e-12))

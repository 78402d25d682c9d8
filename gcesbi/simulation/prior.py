"""The prior over a model's parameters: independent marginals with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.distributions import Distribution, biject_to, constraints, transform_to
from torch.distributions.transforms import CatTransform

from gcesbi.errors import InputError, whole_number
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


class _Supports(constraints.cat):
    """The product of supports, which refuses parameters of another number."""

    def check(self, value: torch.Tensor) -> torch.Tensor:
        return super().check(checked_theta(value, len(self.cseq)))


@biject_to.register(_Supports)
@transform_to.register(_Supports)
def _to_supports(support: _Supports) -> CatTransform:
    return CatTransform([biject_to(each) for each in support.cseq], support.dim, support.lengths)


def checked_theta(theta: Any, n: int) -> torch.Tensor:
    """Parameters (..., n) as a tensor; raise InputError unless the last axis has `n`."""
    values = torch.as_tensor(theta)
    if values.shape[-1:] != (n,):
        raise InputError(f"theta: last axis must have the {n} parameters, got shape {tuple(values.shape)}")
    return values


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
        self.device = torch.device("cpu")
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
        return _Supports([m.support for m in self.marginals], dim=-1, lengths=[1] * len(self.marginals))

    @property
    def mean(self) -> torch.Tensor:
        """Means (n_parameter,)."""
        return torch.tensor([m.moments[0] for m in self.marginals], dtype=torch.float32, device=self.device)

    @property
    def variance(self) -> torch.Tensor:
        """Variances (n_parameter,)."""
        return torch.tensor([m.moments[1] for m in self.marginals], dtype=torch.float32, device=self.device)

    def sample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        """Draw from the prior with torch's generator: (*sample_shape, n_parameter)."""
        if not isinstance(sample_shape, Sequence) or isinstance(sample_shape, str):
            raise InputError(f"sample_shape: must be several numbers, as (10,), got {sample_shape!r}")
        shape = (*(whole_number(each, "sample_shape") for each in sample_shape), len(self.names))
        u = torch.rand(shape, dtype=torch.float64, device="cpu").clamp(1e-12, 1 - 1e-12)
        return torch.as_tensor(self.from_uniform(u.numpy()), dtype=torch.float32, device=self.device)

    def to(self, device: str | torch.device) -> Self:
        """Let draws and moments lie on a torch device from now on, as `sbi` asks for; returns itself."""
        self.device = torch.device(device)
        return self

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        """Torch's way to a batch of distributions: the prior is one, and stays so.

        Raises
        ------
        InputError
            If a batch is asked for.
        """
        if len(batch_shape):
            raise InputError(f"batch_shape: the prior has no batch; draw sample({tuple(batch_shape)}) from it instead")
        return self

    def rsample(self, sample_shape: Sequence[int] = ()) -> torch.Tensor:
        """Not available: the draws carry no gradient."""
        raise NotImplementedError("gcesbi's prior gives no reparameterised samples")

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        """Log density of parameters (..., n_parameter): (...); -inf outside the support."""
        value = checked_theta(value, len(self.names))
        columns = [marginal.log_prob(value[..., i]) for i, marginal in enumerate(self.marginals)]
        return torch.stack(columns, dim=-1).sum(dim=-1)

    def from_uniform(self, u: ArrayLike) -> NDArray[np.float64]:
        """Parameters (..., n_parameter) of uniform numbers (..., n_parameter), each in (0, 1)."""
        u = np.asarray(u, dtype=np.float64)
        if u.shape[-1:] != (len(self.names),):
            raise InputError(f"u: last axis must have {len(self.names)} entries, got shape {u.shape}")
        return np.stack([m.from_uniform(u[..., i]) for i, m in enumerate(self.marginals)], axis=-1)

    @cached_property
    def _alike(self) -> list[tuple[Marginal, list[int]]]:
        """The marginals that differ, each with the parameters that have it."""
        kinds: dict[Marginal, list[int]] = {}
        for i, marginal in enumerate(self.marginals):
            kinds.setdefault(marginal, []).append(i)
        return list(kinds.items())

    def log_densities(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log density of every parameter (n_parameter,) at one vector (n_parameter,)."""
        out = np.empty(len(self.names))
        for marginal, columns in self._alike:
            out[columns] = marginal.log_prob(torch.as_tensor(values[columns])).numpy()
        return out

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw (n, n_parameter) with a NumPy generator."""
        return self.from_uniform(rng.random((n, len(self.names))).clip(1e-12, 1 - 1e-12))

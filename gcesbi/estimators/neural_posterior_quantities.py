r"""What a neural posterior is about: named quantities, and their way to the real line and back.

A density estimator lives in :math:`\mathbb{R}^d`; shares live on a simplex, fluxes above zero, SCD moments between
bounds, parameters in the support of their prior. Each quantity states its constraint, and
:func:`torch.distributions.biject_to` gives the bijection (stick breaking, exp, logistic): samples can never leave the
bounds, and no probability is lost outside of them. Densities change by the Jacobian.

SCD moments are those of :math:`\log_{10}F` under the SCD histogram p, flux uniform within a bin of width Δ:

.. math:: m = \sum_i p_i x_i, \qquad s^2 = \sum_i p_i (x_i - m)^2 + \Delta^2/12 .

A narrow population lies in one bin: m and s would take single values with finite probability, which no density has. In
training they are dequantised (Theis, van den Oord & Bethge 2016, arXiv:1511.01844) by Gaussian noise, of Δ/10 on m and
of 10 % on s.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import Transform

from gcesbi.errors import InputError, nearest
from gcesbi.simulation.simulations import Simulations

__all__ = ["NEURAL_QUANTITIES", "NamedQuantities", "check_names", "scd_moments"]

NEURAL_QUANTITIES = ("flux_fraction", "spectrum_fraction", "flux", "scd_mean", "scd_width", "theta")
"""Names that a neural posterior may be asked for; ``"theta"`` is all parameters of the model, each of which may also be
asked for by its own name, as those of floating templates."""

_FLOOR = 1e-6  # a smaller share of the flux is raised to this one
_DITHER = 0.1


def scd_moments(pdf: ArrayLike, flux_bin: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (...) of log₁₀F under SCD histograms (..., n_bin) with bin centres (n_bin,)."""
    weight, x = np.asarray(pdf, dtype=np.float64), np.asarray(flux_bin, dtype=np.float64)
    weight = weight / weight.sum(axis=-1, keepdims=True)
    mean = weight @ x
    variance = (weight * (x - mean[..., None]) ** 2).sum(axis=-1) + (x[1] - x[0]) ** 2 / 12
    return mean, np.sqrt(variance)


@dataclass(frozen=True, kw_only=True)
class NamedQuantities:
    """Quantities and all that their shapes and bounds depend on.

    Parameters
    ----------
    names : sequence of str
        Among :data:`NEURAL_QUANTITIES` and the parameters, in the order of the numbers of a sample.
    template, point_source : sequence of str
        Names of all templates, and of the point-source templates.
    n_energy : int
    flux_bin : sequence of float
        Centres of the SCD histogram's bins, log₁₀ of photons / cm² / s.
    parameters : mapping of str to (low, high)
        Bounds of the model's parameters in order, ``None`` where there is none; needed for ``"theta"``.
    """

    names: tuple[str, ...]
    template: tuple[str, ...]
    point_source: tuple[str, ...]
    n_energy: int
    flux_bin: tuple[float, ...]
    parameters: Mapping[str, tuple[float | None, float | None]]

    def __post_init__(self) -> None:
        check_names(self.names, self.parameters)
        n_ps = len(self.point_source)
        if n_ps == 0 and {"scd_mean", "scd_width"} & set(self.names):
            raise InputError(f"quantities: SCD moments need a point-source template, got {self.names} without one")
        if "theta" in self.names and not self.parameters:
            raise InputError("parameters: must name the model's parameters and their bounds for 'theta', got none")
        if {"scd_mean", "scd_width"} & set(self.names) and len(self.flux_bin) < 2:
            raise InputError(f"flux_bin: must hold at least 2 bin centres for SCD moments, got {len(self.flux_bin)}")

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every chosen quantity."""
        n_template, n_ps = len(self.template), len(self.point_source)
        known: dict[str, tuple[int, ...]] = {
            "flux_fraction": (n_template,),
            "spectrum_fraction": (n_template, self.n_energy),
            "flux": (n_template,),
            "scd_mean": (n_ps,),
            "scd_width": (n_ps,),
            "theta": (len(self.parameters),),
            **dict.fromkeys(self.parameters, ()),
        }
        return {name: known[name] for name in self.names}

    @cached_property
    def n_real(self) -> int:
        """Dimension d of the real space."""
        return sum(self._n_real(name) for name in self.names)

    def _n_real(self, name: str) -> int:
        shape = self.shapes[name]
        return prod(shape) - (prod(shape[1:]) if name.endswith("fraction") else 0)

    @cached_property
    def _bijections(self) -> dict[str, Transform]:
        """From the real space to every quantity, its simplex on the last axis."""
        low, high = (self.flux_bin[0], self.flux_bin[-1]) if self.flux_bin else (0.0, 1.0)
        width = self.flux_bin[1] - self.flux_bin[0] if len(self.flux_bin) > 1 else 1.0
        constraint: dict[str, constraints.Constraint] = {
            "flux_fraction": constraints.simplex,
            "spectrum_fraction": constraints.simplex,
            "flux": constraints.positive,
            "scd_mean": constraints.interval(low - width / 2, high + width / 2),
            "scd_width": constraints.positive,
        }
        constraint |= {name: _bounded(*bounds) for name, bounds in self.parameters.items()}
        known = {name: biject_to(constraint[name]) for name in self.names if name != "theta"}
        if "theta" in self.names:
            each = [_bounded(*bounds) for bounds in self.parameters.values()]
            known["theta"] = biject_to(constraints.cat(each, dim=-1, lengths=[1] * len(each)))
        return known

    # -- labels ------------------------------------------------------------------------------------------------

    def labels(self, simulations: Simulations, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Labels (n, *shape) of simulated maps, within the bounds; SCD moments dequantised with noise of `seed`."""
        rng = np.random.default_rng(seed)
        flux = simulations.flux.sum(axis=2)
        total = flux.sum(axis=1, keepdims=True)
        mean, width = self._moments(simulations.scd, rng)
        known: dict[str, Callable[[], Any]] = {
            "flux_fraction": lambda: _simplex(flux, axis=1),
            "spectrum_fraction": lambda: _simplex(simulations.flux, axis=1),
            "flux": lambda: np.maximum(flux, _FLOOR * total),
            "scd_mean": lambda: mean,
            "scd_width": lambda: width,
            "theta": lambda: simulations.theta,
        }
        known |= {name: partial(np.take, simulations.theta, i, axis=-1) for i, name in enumerate(self.parameters)}
        labels = {name: np.asarray(known[name](), dtype=np.float64) for name in self.names}
        for name, value in labels.items():
            if value.shape[1:] != self.shapes[name]:
                wanted = ", ".join(map(str, self.shapes[name]))
                raise InputError(f"{name}: simulations must give shape (n, {wanted}), got {value.shape}")
        return labels

    def _moments(
        self, scd: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if not {"scd_mean", "scd_width"} & set(self.names):
            return np.empty(0), np.empty(0)
        if scd.shape[1:] != (len(self.point_source), len(self.flux_bin)):
            expected = (len(self.point_source), len(self.flux_bin))
            raise InputError(f"scd: must have shape (n, {expected[0]}, {expected[1]}), got {scd.shape}")
        mean, width = scd_moments(scd, self.flux_bin)
        step = self.flux_bin[1] - self.flux_bin[0]
        mean = mean + _DITHER * step * rng.standard_normal(mean.shape)
        inside = np.clip(mean, self.flux_bin[0] - 0.49 * step, self.flux_bin[-1] + 0.49 * step)
        return inside, width * np.exp(_DITHER * rng.standard_normal(width.shape))

    # -- to the real space and back ----------------------------------------------------------------------------

    def to_real(self, values: Mapping[str, ArrayLike | Tensor]) -> Tensor:
        """Real numbers (..., n_real), float64, of quantities (..., *shape)."""
        parts = []
        for name in self.names:
            value = self._last_axis(name, torch.as_tensor(values[name], dtype=torch.float64))
            value = value if self.shapes[name] else value[..., None]
            parts.append(self._bijections[name].inv(value).flatten(value.ndim - max(1, len(self.shapes[name]))))
        return torch.cat(parts, dim=-1)

    def to_values(self, real: Tensor) -> dict[str, Tensor]:
        """Quantities (..., *shape), float64, of real numbers (..., n_real)."""
        parts = real.double().split([self._n_real(name) for name in self.names], dim=-1)
        values = {}
        for name, part in zip(self.names, parts, strict=True):
            value = self._bijections[name](self._fold(name, part))
            values[name] = self._last_axis(name, value) if self.shapes[name] else value[..., 0]
        return values

    def log_jacobian(self, real: Tensor) -> Tensor:
        """Log of |∂ value / ∂ real| (...), of all quantities together, at real numbers (..., n_real).

        For a simplex the volume element is that of all its shares but the last.
        """
        total = torch.zeros(real.shape[:-1], dtype=torch.float64)
        parts = real.double().split([self._n_real(name) for name in self.names], dim=-1)
        for name, part in zip(self.names, parts, strict=True):
            folded = self._fold(name, part)
            term = self._bijections[name].log_abs_det_jacobian(folded, self._bijections[name](folded))
            total = total + term.reshape(*real.shape[:-1], -1).sum(dim=-1)
        return total

    def _fold(self, name: str, part: Tensor) -> Tensor:
        """Real numbers of one quantity as its bijection takes them."""
        return part.unflatten(-1, (self.n_energy, -1)) if name == "spectrum_fraction" else part

    def _last_axis(self, name: str, value: Tensor) -> Tensor:
        """Carry the axis of a simplex to the end, or back."""
        return value.transpose(-1, -2) if name == "spectrum_fraction" else value

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary of what an estimator's own arguments do not say."""
        return {
            "quantities": list(self.names),
            "point_sources": list(self.point_source),
            "flux_bin": list(self.flux_bin),
            "parameters": {name: list(bounds) for name, bounds in self.parameters.items()},
        }


def check_names(names: Sequence[str], parameters: Iterable[str] = ()) -> None:
    """Raise InputError, naming the nearest valid one, unless names are distinct quantities or parameters."""
    known = (*NEURAL_QUANTITIES, *parameters)
    if not names or len(set(names)) != len(names):
        raise InputError(f"quantities: must be distinct, at least one, got {tuple(names)}")
    for name in names:
        if name not in known:
            raise InputError(f"quantities: {name!r} is unknown; {nearest(name, known)}")


def _bounded(low: float | None, high: float | None) -> constraints.Constraint:
    if low is None:
        return constraints.real
    return constraints.greater_than(low) if high is None else constraints.interval(low, high)


def _simplex(flux: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Shares along an axis, none below the floor; equal shares where there is no flux."""
    total = flux.sum(axis=axis, keepdims=True)
    share = np.divide(flux, total, out=np.ones_like(flux), where=total > 0)
    share = np.maximum(share, _FLOOR)
    return share / share.sum(axis=axis, keepdims=True)

r"""Families of source-count distributions (SCDs), as the NPTF asks for them.

A family turns shape parameters into *unit vectors*: X_Σ and X_m, the expected numbers of sources that give any and m
photons, for a population of mean counts 1 per pixel. A population's norm multiplies them, so that shape and brightness
are separate whatever prior they get. Two families stand beside each other: :class:`BrokenPowerLaws`, in closed form,
and :class:`gcesbi.baselines.nptf.skew_normal_family.SkewNormals`, by quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.nptf.count_integrals import count_vectors, count_vectors_with_derivatives, mean_counts
from gcesbi.errors import InputError
from gcesbi.physics.broken_power_law import BrokenPowerLaw
from gcesbi.sky.compiled import njit

__all__ = [
    "BoundFamily",
    "BrokenPowerLaws",
    "ScdFamily",
    "SourceView",
    "at_exposure",
    "log_mean_gradient",
    "of_amplitude_one",
]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SourceView:
    """How the instrument sees the sources of one template.

    Attributes
    ----------
    shares, density : array (n_group, n_share)
        PSF correction: f and Δρ, number of pixels per source that receive the share f of its light.
    ratio : array (n_group,)
        Counts of a source in each group of pixels, relative to S.
    exposure : float, cm² s
        A source of the flux F has S = F × exposure.
    n : int
        Length of vectors: index 0 for X_Σ, then m = 1 .. n - 1.
    """

    shares: FloatArray
    density: FloatArray
    ratio: FloatArray
    exposure: float
    n: int


class BoundFamily(Protocol):
    """A family for one instrument."""

    def at_exposure(self, ratio: float) -> BoundFamily:
        """The same instrument with an exposure of `ratio`, at most 1, times the view's; S and tables stay."""

    def unit_vectors(self, shapes: FloatArray, out: FloatArray) -> None:
        """Fill out (n, n_group, >= view.n) for shape parameters (n, n_shape)."""

    def unit_gradient(self, shape: FloatArray) -> FloatArray:
        """Vectors and their derivatives by each shape parameter (n_group, 1 + n_shape, view.n), of one (n_shape,)."""

    def histogram(self, shapes: FloatArray, edges: FloatArray) -> FloatArray:
        """Share of the flux between `edges`, log₁₀F (n_bin + 1,), in (n, n_bin); fluxes beyond fall in outer bins."""


class ScdFamily(Protocol):
    """A family of source-count distributions."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shape parameters."""

    def bind(self, view: SourceView) -> BoundFamily:
        """Prepare for one instrument."""


@dataclass(frozen=True)
class BrokenPowerLaws:
    """Broken power laws of expected counts S: n_1 .. n_(b+1), S_1 .. S_b, bright to dim.

    Parameters
    ----------
    n_break : int
        Number b of breaks, at least 1.
    """

    n_break: int = 2

    def __post_init__(self) -> None:
        if self.n_break < 1:
            raise InputError(f"n_break: must be at least 1, got {self.n_break}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the shape parameters."""
        return (*(f"n{i + 1}" for i in range(self.n_break + 1)), *(f"S{i + 1}" for i in range(self.n_break)))

    def bind(self, view: SourceView) -> BoundBrokenPowerLaws:
        """Prepare for one instrument."""
        return BoundBrokenPowerLaws(self, view)


@dataclass(frozen=True, eq=False)
class BoundBrokenPowerLaws:
    """Broken power laws seen by one instrument."""

    family: BrokenPowerLaws
    view: SourceView

    def at_exposure(self, ratio: float) -> BoundBrokenPowerLaws:
        """Breaks are counts: the fluxes that they mean change."""
        return replace(self, view=replace(self.view, exposure=self.view.exposure * ratio))

    def unit_vectors(self, shapes: FloatArray, out: FloatArray) -> None:
        """Fill out (n, n_group, >= view.n) for shape parameters (n, n_shape)."""
        view = self.view
        _unit_vectors(_unit_thetas(shapes), view.ratio, view.shares, view.density, view.n, out)

    def unit_gradient(self, shape: FloatArray) -> FloatArray:
        """Vectors and their derivatives by each shape parameter (n_group, 1 + n_shape, view.n), of one (n_shape,)."""
        view, n_break = self.view, self.family.n_break
        theta = _unit_thetas(shape[None])[0]
        out = np.zeros((len(view.ratio), len(theta), view.n))
        by_theta = np.empty((len(theta), view.n))
        for g, ratio in enumerate(view.ratio):
            scaled = at_exposure(theta, ratio)
            count_vectors_with_derivatives(scaled, view.shares[g], view.density[g], out[g, 0], by_theta)
            by_theta[n_break + 2 :] *= ratio
            out[g, 1:] = by_theta[1:] - log_mean_gradient(shape)[:, None] * out[g, 0]
        return out

    def histogram(self, shapes: FloatArray, edges: FloatArray) -> FloatArray:
        """Share of the flux between `edges`, log₁₀F (n_bin + 1,), in (n, n_bin); fluxes beyond fall in outer bins."""
        counts, cut = 10.0 ** np.asarray(edges) * self.view.exposure, self.family.n_break + 1
        return np.array([BrokenPowerLaw(1.0, tuple(s[:cut]), tuple(s[cut:])).histogram(counts) for s in shapes])


def _unit_thetas(shapes: FloatArray) -> FloatArray:
    """[A, n.., S..] (n, 1 + n_shape) of mean counts 1."""
    thetas = of_amplitude_one(shapes)
    thetas[:, 0] /= mean_counts(thetas)
    return thetas


def of_amplitude_one(shapes: FloatArray) -> FloatArray:
    """[1, n.., S..] (n, 1 + n_shape), row by row in memory: compiled functions are compiled for one order."""
    thetas = np.ones((len(shapes), 1 + shapes.shape[1]))
    thetas[:, 1:] = shapes
    return thetas


def log_mean_gradient(shape: FloatArray) -> FloatArray:
    """Derivative of ln ∫ S dN/dS dS, A held at 1, by [n.., S..] (n_shape,), by complex steps."""
    steps = np.tile(np.concatenate([[1.0], shape]).astype(np.complex128), (shape.size, 1))
    steps[:, 1:] += 1e-100j * np.eye(shape.size)
    value = mean_counts(steps)
    return np.asarray(value.imag / value.real * 1e100)


@njit(cache=True, nogil=True, error_model="numpy")
def at_exposure(theta: FloatArray, ratio: float) -> FloatArray:
    """[A, n.., S..] of the same sources seen with `ratio` times the exposure: S grows, dN/dS falls."""
    n_break = len(theta) // 2 - 1
    scaled = theta.copy()
    scaled[0] /= ratio
    scaled[n_break + 2 :] *= ratio
    return scaled


@njit(cache=True, nogil=True, error_model="numpy")
def _unit_vectors(
    thetas: FloatArray, ratio: FloatArray, shares: FloatArray, density: FloatArray, n: int, out: FloatArray
) -> None:
    for i in range(len(thetas)):
        for g in range(len(ratio)):
            count_vectors(at_exposure(thetas[i], ratio[g]), shares[g], density[g], out[i, g, :n])

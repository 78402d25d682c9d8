"""What is concluded: one interface for the posterior of every method.

A posterior answers for *named quantities* (:data:`QUANTITIES`), each an array with named axes. Methods differ in
how they know a quantity (samples of a chain, a Gaussian, quantiles of a network), not in how they are asked.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

if TYPE_CHECKING:
    import arviz

__all__ = ["QUANTITIES", "Coordinates", "JointPosterior", "Posterior", "Quantity", "SamplePosterior", "check_levels"]


@dataclass(frozen=True)
class Quantity:
    """A quantity that a posterior may know: its axes, unit and meaning."""

    axes: tuple[str, ...]
    unit: str
    meaning: str


QUANTITIES: Mapping[str, Quantity] = {
    "flux_fraction": Quantity(("template",), "", "share of a template in the region's flux, all energies together"),
    "spectrum_fraction": Quantity(("template", "energy"), "", "share of a template in the flux of an energy bin"),
    "flux": Quantity(("template",), "photons / cm² / s", "flux of a template in the region, all energies together"),
    "spectrum": Quantity(
        ("template", "energy"), "GeV / cm² / s", "E² dN/dE of a template in the region, at bin centres"
    ),
    "scd_cdf": Quantity(("point_source", "flux_bin"), "", "cumulative SCD histogram, dim to bright"),
    "scd_pdf": Quantity(
        ("point_source", "flux_bin"), "", "SCD histogram: share of the flux by the flux of its sources"
    ),
    "f2dndf": Quantity(("point_source", "flux_bin"), "photons / cm² / s", "F² dN/dF of the region at bin centres"),
    "dndf": Quantity(("point_source", "flux_bin"), "(photons / cm² / s)⁻¹", "dN/dF of the region at bin centres"),
    "scd_mean": Quantity(("point_source",), "log10 photons / cm² / s", "mean of log10 F under the SCD histogram"),
    "scd_width": Quantity(("point_source",), "dex", "standard deviation of log10 F under the SCD histogram"),
    "n_sources": Quantity(("point_source",), "", "number of sources in the region, from the SCD histogram"),
    "poisson_fraction": Quantity((), "", "share of the subject's flux that is exactly Poisson emission"),
}


@dataclass(frozen=True)
class Coordinates:
    """Labels along the axes of the quantities.

    Parameters
    ----------
    template : tuple of str
        Names of all templates.
    energy : tuple of float
        Bin centres, GeV.
    point_source : tuple of str
        Names of the point-source templates.
    flux_bin : tuple of float
        Bin centres, log10 of photons / cm² / s.
    shape : tuple of str
        Names of parameters that change a template's shape on the sky; posteriors answer them as numbers by name.
    subject : str
        The template that ``poisson_fraction`` is about.
    """

    template: tuple[str, ...]
    energy: tuple[float, ...]
    point_source: tuple[str, ...]
    flux_bin: tuple[float, ...]
    shape: tuple[str, ...] = ()
    subject: str = ""


def check_levels(levels: ArrayLike) -> NDArray[np.float64]:
    """Quantile levels as a vector; raise InputError unless all lie in (0, 1)."""
    values = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if values.ndim != 1 or not np.all((values > 0) & (values < 1)):
        raise InputError(f"levels: must be a vector of numbers in (0, 1), got {values.tolist()}")
    return values


class Posterior(ABC):
    """Posterior of one method on one observation.

    Subclasses give samples and may give exact quantiles; all else follows.
    """

    method: str
    coordinates: Coordinates

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""

    @abstractmethod
    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` samples: name -> array (n, *axes of the quantity)."""

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles of a quantity, (n_level, *axes), pointwise: each entry by itself, not a joint band."""
        self._check(name)
        return np.quantile(self.sample(4096, seed)[name], check_levels(levels), axis=0)

    def summary(self, level: float = 0.68) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Per quantity its ``median``, and ``low`` and ``high`` of the central `level` interval."""
        (level,) = check_levels(level)
        tails = [(1 - level) / 2, 0.5, (1 + level) / 2]
        return {
            name: dict(zip(("low", "median", "high"), self.quantiles(name, tails), strict=True)) for name in self.names
        }

    def to_arviz(self, n: int = 1000, seed: int = 0) -> arviz.InferenceData:
        """ArviZ data of one chain of `n` samples, with the axes' names and labels, and :attr:`attributes`."""
        return self._arviz({name: values[None] for name, values in self.sample(n, seed).items()})

    @property
    def attributes(self) -> dict[str, str | float]:
        """What goes with the samples as ArviZ data: facts about them, each a word or a number."""
        return {"method": self.method}

    def _arviz(self, chains: Mapping[str, NDArray[np.float64]]) -> arviz.InferenceData:
        """ArviZ data of arrays (n_chain, n_draw, *axes)."""
        import arviz

        dims = {name: list(QUANTITIES[name].axes) for name in chains if name in QUANTITIES}
        used = {axis for axes in dims.values() for axis in axes}
        coords = {axis: list(getattr(self.coordinates, axis)) for axis in sorted(used)}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "More chains", UserWarning)  # as walkers of an ensemble
            data = arviz.from_dict(posterior=dict(chains), coords=coords, dims=dims)
        data["posterior"].attrs.update(self.attributes)
        return data

    def __repr__(self) -> str:
        """Method, and each quantity with its axes."""
        axes = {name: ", ".join(QUANTITIES[name].axes) if name in QUANTITIES else "" for name in self.names}
        told = [f"{name} ({along})" if along else name for name, along in list(axes.items())[:24]]
        rest = f" and {len(axes) - len(told)} more" if len(axes) > len(told) else ""
        return "\n  ".join([f"<{type(self).__name__} by {self.method!r} of", *wrap(", ".join(told) + rest, 100)]) + ">"

    def _check(self, name: str) -> None:
        if name not in self.names:
            raise InputError(f"quantity: {self.method} knows {', '.join(self.names)}, got {name!r}")


class SamplePosterior(Posterior):
    """Posterior known by samples, as from a Markov chain.

    Parameters
    ----------
    method : str
    coordinates : Coordinates
    samples : mapping of str to array (n_sample, ...)
        Named quantities; names outside :data:`QUANTITIES` (a fit's own parameters) are allowed.
    n_chain : int
        Chains of equal length that the samples are of, one after another.
    """

    def __init__(
        self, method: str, coordinates: Coordinates, samples: Mapping[str, NDArray[np.float64]], n_chain: int = 1
    ) -> None:
        lengths = {name: len(values) for name, values in samples.items()}
        if not lengths or len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise InputError(f"samples: every quantity needs the same number of samples, at least one, got {lengths}")
        if n_chain < 1 or next(iter(lengths.values())) % n_chain:
            raise InputError(f"n_chain: must divide the number of samples, {lengths}, got {n_chain}")
        self.method = method
        self.coordinates = coordinates
        self.n_chain = n_chain
        self.samples = {name: np.asarray(values, dtype=np.float64) for name, values in samples.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return tuple(self.samples)

    @property
    def n_sample(self) -> int:
        """Number of stored samples."""
        return len(next(iter(self.samples.values())))

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` of the stored samples, with replacement."""
        rows = np.random.default_rng(seed).integers(self.n_sample, size=n)
        return {name: values[rows] for name, values in self.samples.items()}

    def to_arviz(self, n: int | None = None, seed: int = 0) -> arviz.InferenceData:
        """ArviZ data of the stored samples, chain by chain; or of `n` of them, drawn with replacement, if it is given.

        Diagnostics of the chains are those of the sampling. Drawn ones are no chain: they know nothing of it.
        """
        if n is not None:
            return super().to_arviz(n, seed)
        chains = {name: v.reshape(self.n_chain, -1, *v.shape[1:]) for name, v in self.samples.items()}
        return self._arviz(chains)

    def quantiles(self, name: str, levels: Sequence[float] | ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles over all stored samples, (n_level, *axes), pointwise."""
        self._check(name)
        return np.quantile(self.samples[name], check_levels(levels), axis=0)


class JointPosterior(Posterior):
    """Several posteriors of one observation, each asked for what it knows.

    A quantity comes from the first part that knows it. Parts are sampled independently: correlations between
    quantities of different parts are not in the samples.

    Parameters
    ----------
    method : str
    parts : sequence of Posterior
        On the same coordinates.
    """

    def __init__(self, method: str, parts: Sequence[Posterior]) -> None:
        if not parts or any(part.coordinates != parts[0].coordinates for part in parts):
            raise InputError("parts: needs at least one posterior, all on the same coordinates")
        self.method = method
        self.coordinates = parts[0].coordinates
        self.parts = tuple(parts)
        self._by_name = {name: part for part in reversed(parts) for name in part.names}

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        return tuple(self._by_name)

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` samples of every part."""
        drawn = {id(part): part.sample(n, seed) for part in self._by_name.values()}
        return {name: drawn[id(part)][name] for name, part in self._by_name.items()}

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles of a quantity by the part that knows it, (n_level, *axes), pointwise."""
        self._check(name)
        return self._by_name[name].quantiles(name, levels, seed)

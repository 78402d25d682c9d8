"""What is concluded: one interface for the posterior of every method.

A posterior answers for *named quantities* (:data:`QUANTITIES`), each an array with named axes. Methods differ in
how they know a quantity (samples of a chain, a Gaussian, quantiles of a network), not in how they are asked.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from textwrap import wrap
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError, checked_seed, shown, whole_number

if TYPE_CHECKING:
    import arviz
    import pandas
    import xarray

__all__ = [
    "QUANTITIES",
    "Coordinates",
    "JointPosterior",
    "Posterior",
    "Quantity",
    "SamplePosterior",
    "Variable",
    "asked",
    "check_levels",
    "import_arviz",
]


Variable = tuple[Sequence[str], NDArray[np.float64], Mapping[str, str]]
"""Names of axes, values, and facts about them: what xarray.Dataset takes, and netCDF files hold."""


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
        raise InputError(f"levels: must be a vector of numbers in (0, 1), got {shown(values)}")
    return values


def _text(label: str | float) -> str:
    return label if isinstance(label, str) else f"{label:.6g}"


def asked(n: SupportsIndex, seed: SupportsIndex) -> tuple[int, int]:
    """Number of samples and seed as integers; InputError unless they are whole numbers from 1 and 0."""
    return whole_number(n, "n", 1), checked_seed(seed)


def import_arviz() -> Any:
    """ArviZ, without the warning of its next version that its first import of a day gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        try:
            import arviz
        except FileNotFoundError:  # another process noted the day of the warning at the same moment
            import arviz
    return arviz


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

    def to_xarray(self, n: int | None = None, seed: int = 0) -> xarray.Dataset:
        """Samples by name, (chain, draw, *axes), with labels along the axes, units, meanings and :attr:`attributes`.

        One chain of `n` draws, 1000 unless told otherwise; of posteriors that store samples all of them, chain by
        chain, unless `n` is given. Names outside :data:`QUANTITIES` have axes ``name_dim_0``, …
        """
        import xarray

        return xarray.Dataset(*self.labelled(n, seed))

    def labelled(
        self, n: int | None = None, seed: int = 0
    ) -> tuple[dict[str, Variable], dict[str, list[Any]], dict[str, str | float]]:
        """What :meth:`to_xarray` makes a data set of: variables, labels along axes and attributes."""
        chains = self._chains(n, seed)
        variables: dict[str, Variable] = {}
        for name, values in chains.items():
            known = QUANTITIES.get(name)
            axes = tuple(f"{name}_dim_{i}" for i in range(values.ndim - 2)) if known is None else known.axes
            facts = {} if known is None else {"long_name": known.meaning, "units": known.unit}
            variables[name] = (("chain", "draw", *axes), values, {key: fact for key, fact in facts.items() if fact})
        used = {axis for dims, _, _ in variables.values() for axis in dims} & set(vars(self.coordinates))
        coords: dict[str, list[Any]] = {axis: list(getattr(self.coordinates, axis)) for axis in sorted(used)}
        n_chain, n_draw = next(iter(chains.values())).shape[:2]
        coords |= {"chain": list(range(n_chain)), "draw": list(range(n_draw))}
        return variables, coords, self.attributes

    def to_dataframe(self, n: int | None = None, seed: int = 0) -> pandas.DataFrame:
        """Samples of :meth:`to_xarray`, one row a draw and one column a number, as ``flux_fraction[gce]``."""
        import pandas

        data, columns = self.to_xarray(n, seed), {}
        for name, values in data.data_vars.items():
            labels = product(*(values[axis].to_numpy().tolist() for axis in values.dims[2:]))
            numbers = values.to_numpy().reshape(data.sizes["chain"] * data.sizes["draw"], -1)
            for label, column in zip(labels, numbers.T, strict=True):
                columns[f"{name}[{', '.join(map(_text, label))}]" if label else name] = column
        index = pandas.MultiIndex.from_product([data["chain"].to_numpy(), data["draw"].to_numpy()])
        return pandas.DataFrame(columns, index=index.set_names(["chain", "draw"]))

    def to_arviz(self, n: int | None = None, seed: int = 0) -> arviz.InferenceData | xarray.DataTree:
        """Samples of :meth:`to_xarray` as group ``posterior`` of what the installed ArviZ takes.

        That is InferenceData before ArviZ 1, and xarray's DataTree since.
        """
        import xarray

        arviz, data = import_arviz(), self.to_xarray(n, seed)
        if int(arviz.__version__.split(".")[0]) < 1:
            return arviz.InferenceData(posterior=data)
        return xarray.DataTree.from_dict({"posterior": data})

    @property
    def attributes(self) -> dict[str, str | float]:
        """What goes with exported samples: facts about them, each a word or a number."""
        return {"method": self.method}

    def _chains(self, n: int | None, seed: int) -> dict[str, NDArray[np.float64]]:
        """Samples by name (n_chain, n_draw, *axes)."""
        return {name: values[None] for name, values in self.sample(1000 if n is None else n, seed).items()}

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
        n, seed = asked(n, seed)
        rows = np.random.default_rng(seed).integers(self.n_sample, size=n)
        return {name: values[rows] for name, values in self.samples.items()}

    def _chains(self, n: int | None, seed: int) -> dict[str, NDArray[np.float64]]:
        """Stored samples chain by chain, whose diagnostics are the sampling's; or `n` drawn: no chain."""
        if n is not None:
            return super()._chains(n, seed)
        return {name: v.reshape(self.n_chain, -1, *v.shape[1:]) for name, v in self.samples.items()}

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
        n, seed = asked(n, seed)
        asked_of = {id(part): part for part in self._by_name.values()}
        drawn = {key: part.sample(n, seed) for key, part in asked_of.items()}
        return {name: drawn[id(part)][name] for name, part in self._by_name.items()}

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles of a quantity by the part that knows it, (n_level, *axes), pointwise."""
        self._check(name)
        return self._by_name[name].quantiles(name, levels, seed)


class PartialPosterior(Posterior):
    """What a posterior says of the templates that another model has too, found by their names.

    Shapes and the Poisson share are left out where the other model asks of others.

    Parameters
    ----------
    method : str
    whole : Posterior
    coordinates : Coordinates
        Of the other model.

    Raises
    ------
    InputError
        If a template is unknown to the posterior, or energies or flux bins differ.
    """

    def __init__(self, method: str, whole: Posterior, coordinates: Coordinates) -> None:
        own, self._at = whole.coordinates, dict[str, list[int]]()
        for axis in ("template", "point_source"):
            there, wanted = getattr(own, axis), getattr(coordinates, axis)
            if missing := [name for name in wanted if name not in there]:
                raise InputError(f"coordinates: {axis} {missing[0]!r} must be one of {', '.join(there)}")
            self._at[axis] = [there.index(name) for name in wanted]
        for axis in ("energy", "flux_bin"):
            if not np.array_equal(getattr(own, axis), getattr(coordinates, axis)):
                raise InputError(f"coordinates: {axis} must be the posterior's own")
        self.method, self.whole, self.coordinates = method, whole, coordinates

    @property
    def names(self) -> tuple[str, ...]:
        """Quantities that this posterior knows."""
        own, other = self.whole.coordinates, self.coordinates
        unasked = set(own.shape) - set(other.shape) | ({"poisson_fraction"} if own.subject != other.subject else set())
        return tuple(name for name in self.whole.names if name not in unasked)

    def sample(self, n: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
        """Draw `n` samples."""
        drawn = self.whole.sample(n, seed)
        return {name: self._part(name, drawn[name]) for name in self.names}

    def quantiles(self, name: str, levels: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Quantiles of a quantity, (n_level, *axes), pointwise."""
        self._check(name)
        return self._part(name, self.whole.quantiles(name, levels, seed))

    def _part(self, name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
        for i, axis in enumerate(QUANTITIES[name].axes if name in QUANTITIES else (), 1):
            values = np.take(values, self._at[axis], axis=i) if axis in self._at else values
        return values

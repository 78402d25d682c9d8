"""What a figure reads of a run folder: names, answers of every method, figures on held-out maps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io import files
from paper.library import FOLDER

__all__ = ["Answer", "Array", "RunView", "read_arrays"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answer:
    """Quantiles of named quantities by one method.

    Parameters
    ----------
    method : str
    levels : array (n_level,)
    quantities : mapping of str to array (n_level, ...)
    more : mapping
        All else that was stored.
    """

    method: str
    levels: Array
    quantities: Mapping[str, Array]
    more: Mapping[str, Any]

    def at(self, name: str, level: float) -> Array:
        """A quantile of a quantity, at one of the stored levels."""
        if name not in self.quantities:
            raise InputError(f"quantity: {self.method} knows {', '.join(self.quantities)}, got {name!r}")
        return self.quantities[name][_place(self.levels, level)]

    def summary(self, name: str, low: float = 0.16, high: float = 0.84) -> dict[str, Array]:
        """Median and central interval, as the library's plots want them."""
        return {"low": self.at(name, low), "median": self.at(name, 0.5), "high": self.at(name, high)}


@dataclass(frozen=True, eq=False)
class RunView:
    """A finished run.

    Parameters
    ----------
    folder : Path
    settings : mapping
        Of the run, as in its ``run.json``.
    sky : mapping
        What :func:`paper.library.describe` stored, and the truth of a mock.
    """

    folder: Path
    settings: Mapping[str, Any]
    sky: Mapping[str, Any]

    @classmethod
    def open(cls, folder: str | Path, energies: Literal["one", "several"] | None = None) -> Self:
        """Open a run folder.

        Parameters
        ----------
        folder : path
        energies : {"one", "several"}, optional
            Energy bins that the run must have.

        Raises
        ------
        InputError
            If it is no run folder, is unfinished, or has other energy bins.
        """
        folder = Path(folder)
        if not (folder / "run.json").is_file():
            raise InputError(f"run: {str(folder)!r} is no run folder (it holds no run.json)")
        found = cls(folder, _read_json(folder / "run.json")["settings"], _read_json(folder / FOLDER / "sky.json"))
        if energies is not None and (found.n_energy > 1) != (energies == "several"):
            raise InputError(f"run: the figure needs {energies} energy bins, {str(folder)!r} has {found.n_energy}")
        return found

    # -- what it is of --------------------------------------------------------------------------------------------

    @property
    def names(self) -> list[str]:
        """Templates."""
        return list(self.sky["names"])

    @property
    def point_sources(self) -> list[str]:
        """Point-source templates."""
        return list(self.sky["point_sources"])

    @property
    def n_energy(self) -> int:
        """Energy bins."""
        return len(self.sky["energy_edges"]) - 1

    @property
    def scd_edges(self) -> Array:
        """Edges of the flux bins, log₁₀ of photons / cm² / s."""
        return np.asarray(self.sky["scd_edges"])

    @property
    def scd_centres(self) -> Array:
        """Centres of the flux bins, log₁₀ of photons / cm² / s."""
        return (self.scd_edges[1:] + self.scd_edges[:-1]) / 2

    @property
    def photon_flux(self) -> float:
        """Flux of a source of one expected photon, photons / cm² / s."""
        return float(self.sky["photon_flux"])

    @property
    def solid_angle(self) -> float:
        """Of the region, sr."""
        return float(self.sky["solid_angle"])

    def source(self, name: str) -> int:
        """Row of a point-source template."""
        return self.point_sources.index(name)

    # -- truth of a mock ------------------------------------------------------------------------------------------

    @property
    def is_mock(self) -> bool:
        """Whether the truth is known."""
        return "truth" in self.sky

    def true(self, key: str) -> Array:
        """Truth of a mock: ``flux`` (n_template, n_energy), ``scd`` (n_point_source, n_bin), ``n_sources``."""
        if not self.is_mock:
            raise InputError(f"run: {str(self.folder)!r} looks at a real map, its truth is not known")
        return np.asarray(self.sky["truth"][key])

    # -- answers --------------------------------------------------------------------------------------------------

    def answer(self, method: Literal["networks", "poisson", "nptf"] = "networks") -> Answer:
        """Quantiles by a method."""
        stored = _read_json(self.folder / FOLDER / f"{method}.json")
        quantities = {name: np.asarray(each["quantiles"]) for name, each in stored.pop("quantities").items()}
        return Answer(stored.pop("method"), np.asarray(stored.pop("levels")), quantities, stored)

    @cached_property
    def curves(self) -> dict[str, Array]:
        """Source counts by the networks at ``taus``, dim to bright: ``scd_cdf``, ``f2dndf``, ... (n_tau, ...)."""
        return self.arrays("curves")

    def curve(self, quantity: str, source: str, tau: float = 0.5) -> Array:
        """One curve of a point-source template."""
        return self.curves[quantity][_place(self.curves["taus"], tau), self.source(source)]

    def arrays(self, name: str) -> dict[str, Array]:
        """A stored archive."""
        return read_arrays(self.folder, name)

    @property
    def steps(self) -> set[str]:
        """Names of the steps that are done."""
        return {path.stem for path in (self.folder / "steps").glob("*.json")}

    def step(self, name: str) -> dict[str, Any]:
        """What a finished step noted: its options, and what it cost."""
        return _read_json(self.folder / "steps" / f"{name}.json")

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file of the run folder."""
        return _read_json(self.folder / name)


def read_arrays(folder: Path, name: str) -> dict[str, Array]:
    """An archive that a step left for figures in a run's folder."""
    path = folder / FOLDER / f"{name}.npz"
    if not path.is_file():
        raise InputError(f"run: {str(folder)!r} is unfinished, it holds no {FOLDER}/{path.name}")
    return files.read_arrays(path)


def _place(levels: Array, level: float) -> int:
    place = int(np.argmin(np.abs(levels - level)))
    if abs(levels[place] - level) > 1e-9:
        raise InputError(f"level: must be one of {levels.tolist()}, got {level}")
    return place


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"run: {str(path.parent)!r} is unfinished, it holds no {path.name}")
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise InputError(f"run: {path} is damaged ({error})") from None

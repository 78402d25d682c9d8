"""The maps of a sky that take seconds to compute, in a file beside what was made with them.

Line-of-sight integrals and their convolution with the PSF are nearly all the time that a model takes to build. They
depend on what the sky states alone, so a run keeps them: its commands then start at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import read_arrays, write_arrays

__all__ = ["TemplateMaps"]

Arrays = dict[str, NDArray[np.float64]]
_LAYOUT = 2  # raised whenever the file holds other arrays


@dataclass(frozen=True, eq=False)
class TemplateMaps:
    """Maps of all components on the patch of a sky, by their names.

    Parameters
    ----------
    intensity : dict of str to array (n_basis, n_patch)
        Of point sources: their density, no PSF applied.
    landed : dict of str to array (n_basis, n_energy, n_patch)
        Expected counts in some unit, PSF and exposure applied.
    poisson : dict of str to array (n_basis, n_energy, n_patch)
        Of point sources with a share that is exactly Poisson: where it shines.
    nodes : dict of str to tuple of array
        Grids of what floats; see :class:`gcesbi.simulation.template_shapes.Basis`.
    """

    intensity: Arrays
    landed: Arrays
    poisson: Arrays = field(default_factory=dict)
    nodes: dict[str, tuple[NDArray[np.float64], ...]] = field(default_factory=dict)

    def save(self, path: Path, law: dict[str, Any]) -> None:
        """Write them for a sky of a given law, in place of what was there."""
        arrays = {
            f"{kind}/{n}": each
            for kind in ("intensity", "landed", "poisson")
            for n, each in getattr(self, kind).items()
        }
        arrays |= {f"nodes/{n}/{i}": grid for n, grids in self.nodes.items() for i, grid in enumerate(grids)}
        write_arrays(path, {"key": np.array(_key(law)), **arrays}, np.savez)

    @classmethod
    def load(cls, path: Path, law: dict[str, Any]) -> TemplateMaps | None:
        """Read them; None if there are none that can be read, or those of another sky or version."""
        try:
            read = read_arrays(path)
        except InputError:
            return None
        if str(read.pop("key", "")) != _key(law):
            return None
        named = {tuple(name.split("/")): values for name, values in read.items()}
        intensity, landed, poisson = (
            {key[1]: each for key, each in named.items() if key[0] == kind}
            for kind in ("intensity", "landed", "poisson")
        )
        grids: dict[str, list[NDArray[np.float64]]] = {name: [] for name in landed}
        for key, grid in named.items():
            if key[0] == "nodes":
                grids[key[1]].append(grid)
        return cls(intensity, landed, poisson, {name: tuple(each) for name, each in grids.items()})


def _key(law: dict[str, Any]) -> str:
    return json.dumps({"version": version("gcesbi"), "layout": _LAYOUT, "sky": law}, sort_keys=True)

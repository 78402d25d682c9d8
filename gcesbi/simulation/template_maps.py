"""The maps of a built-in sky that take seconds to compute, in a file beside what was made with them.

Line-of-sight integrals and their convolution with the PSF are nearly all the time that a model takes to build. They
depend on the sky's settings alone, so a run keeps them: its commands then start at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import read_arrays, write_arrays
from gcesbi.simulation.components import DiffuseTemplate, PointSourceTemplate

__all__ = ["TemplateMaps"]


@dataclass(frozen=True, eq=False)
class TemplateMaps:
    """Maps of all templates on the patch of a sky.

    Parameters
    ----------
    counts : dict of str to array (n_energy, n_patch)
        By template; see :class:`gcesbi.simulation.components.DiffuseTemplate`.
    intensity : dict of str to array (n_patch,)
        By point-source template: density of sources, no PSF applied.
    poisson : array (n_energy, n_patch), optional
        Where the share of the excess shines that is exactly Poisson, if it has one.
    """

    counts: dict[str, NDArray[np.float64]]
    intensity: dict[str, NDArray[np.float64]]
    poisson: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, diffuse: Sequence[DiffuseTemplate], point_sources: Sequence[PointSourceTemplate]) -> TemplateMaps:
        """Those of the templates of a model that was built."""
        poisson = next((each.poisson for each in point_sources if each.poisson is not None), None)
        counts = {each.name: each.counts for each in diffuse} | {each.name: each.counts for each in point_sources}
        return cls(counts, {each.name: each.intensity for each in point_sources}, poisson)

    def save(self, path: Path, law: dict[str, Any]) -> None:
        """Write them for a sky of settings `law`, in place of what was there."""
        arrays = {f"counts/{name}": values for name, values in self.counts.items()}
        arrays |= {f"intensity/{name}": values for name, values in self.intensity.items()}
        arrays |= {} if self.poisson is None else {"poisson": self.poisson}
        write_arrays(path, {"key": np.array(_key(law)), **arrays}, np.savez)

    @classmethod
    def load(cls, path: Path, law: dict[str, Any]) -> TemplateMaps | None:
        """Read them; None if there are none that can be read, or those of other settings or another version."""
        try:
            named = read_arrays(path)
        except InputError:
            return None
        if str(named.pop("key", "")) != _key(law):
            return None
        counts, intensity = (
            {name.partition("/")[2]: values for name, values in named.items() if name.startswith(kind)}
            for kind in ("counts/", "intensity/")
        )
        return cls(counts, intensity, named.get("poisson"))


def _key(law: dict[str, Any]) -> str:
    return json.dumps({"version": version("gcesbi"), "sky": law}, sort_keys=True)

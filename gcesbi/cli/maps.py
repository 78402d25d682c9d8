"""What a command states of a map whose file does not: order and frame, energies, exposure, and a mask."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gcesbi.errors import InputError

__all__ = ["Stated"]


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a command states of a map; see :func:`gcesbi.read_observation`."""

    order: str | None = None
    frame: str | None = None
    energies: str | None = None
    exposure: Path | None = None
    mask_file: Path | None = None
    mask_order: str | None = None

    def arguments(self, place: Path | None) -> dict[str, Any]:
        """Arguments for reading the map at `place`; InputError if one is given that it would not use."""
        for name, value in asdict(self).items():
            if value is not None and (place is None or place.is_dir()):
                got = "without" if place is None else f"with the folder {str(place)!r}, which states it"
                raise InputError(f"{name}: needs --observation with a file, got {str(value)!r} {got}")
        if self.mask_order is not None and self.mask_file is None:
            raise InputError(f"mask_order: needs --mask-file, got {self.mask_order!r} without")
        given: dict[str, Any] = {"order": self.order, "frame": self.frame, "exposure": self.exposure}
        given |= {
            "mask_order": self.mask_order,
            "energy_edges": None if self.energies is None else _edges(self.energies),
            "mask": self.mask_file,
        }
        return {name: value for name, value in given.items() if value is not None}


def _edges(text: str) -> list[float]:
    parts = text.split(":" if ":" in text else ",")
    try:
        if ":" not in text:
            return [float(part) for part in parts]
        low, high, number = float(parts[0]), float(parts[1]), int(parts[2])
        if len(parts) == 3 and 0 < low < high < np.inf and 0 < number <= 1000:
            return [float(edge) for edge in np.geomspace(low, high, number + 1)]
    except (ValueError, IndexError):
        pass
    raise InputError(f"energies: must be LOW:HIGH:NUMBER or E1,E2,... in GeV, got {text!r}")

"""What a command states of a map whose file does not: order and frame, energies, exposure, and a mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import typer

from gcesbi.errors import InputError

__all__ = ["Stated", "states_a_map"]


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What a command states of a map; see :func:`gcesbi.read_observation`."""

    order: Annotated[
        str | None, typer.Option(help="ring or nested: of a map over the whole sky that does not state it.")
    ] = None
    frame: Annotated[str | None, typer.Option(help="galactic or equatorial: of a map that does not state it.")] = None
    energies: Annotated[
        str | None, typer.Option(help="Energy bins of a map that has none, GeV: LOW:HIGH:NUMBER, or edges E1,E2,...")
    ] = None
    exposure: Annotated[
        Path | None, typer.Option(help="File with the exposure of a map that holds none, as gtexpcube2 writes it.")
    ] = None
    mask_file: Annotated[
        Path | None, typer.Option(help="Mask over the whole sky, .npy or HEALPix FITS, 1 where masked.")
    ] = None
    mask_order: Annotated[str | None, typer.Option(help="ring or nested: of a mask file that does not state it.")] = (
        None
    )

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


def states_a_map(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in place of its argument `told`, the options that make a :class:`Stated`."""
    hints = get_type_hints(Stated, include_extras=True)
    names = [field.name for field in fields(Stated)]
    options = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=hints[name]) for name in names]

    @wraps(command)
    def with_options(**given: Any) -> None:
        command(told=Stated(**{name: given.pop(name, None) for name in names}), **given)

    own = signature(command, eval_str=True)
    kept = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in own.parameters.values()]
    at = [each.name for each in kept].index("told")
    with_options.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*kept[:at], *options, *kept[at + 1 :]]
    )
    return with_options


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

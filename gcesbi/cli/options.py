"""What commands have in common: options, and what they make of them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gcesbi.errors import InputError

if TYPE_CHECKING:
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.settings import RunSettings
    from gcesbi.cli.console import Timer
    from gcesbi.report.html import Report
    from gcesbi.sky import Observation

__all__ = [
    "Diffuse",
    "Draw",
    "Fit",
    "Map",
    "Mask",
    "Overwrite",
    "Preset",
    "Quiet",
    "RunFolder",
    "Seed",
    "Set",
    "Workers",
    "map_for",
    "map_of_model",
    "opened",
    "settings_and_map",
    "timer",
    "write_page",
]


class Fit(StrEnum):
    """Classical likelihoods."""

    poisson = "poisson"
    nptf = "nptf"


class Draw(StrEnum):
    """Who draws maps; see :mod:`gcesbi.simulation.parallel`."""

    threads = "threads"
    loky = "loky"
    dask = "dask"


Preset = Annotated[str, typer.Option(help="test, quick, default, paper, or a TOML file of your own.")]
Set = Annotated[list[str], typer.Option("--set", help="Change a setting: section.key=value. Repeatable.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random; the preset's if not given.")]
Workers = Annotated[int, typer.Option(help="Threads that simulate.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run folder that exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Map = Annotated[
    Path | None,
    typer.Option("--observation", help="Data folder, its name, or HEALPix FITS file; a mock if not given."),
]
Diffuse = Annotated[str | None, typer.Option(help="Interstellar model of a data folder: O, A, F or p6v11.")]
Mask = Annotated[str, typer.Option(help="Source mask of a data folder: 3fgl, 4fgl or none.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]


def opened(folder: Path, quiet: bool, *, console: Console | None = None) -> tuple[Run, Timer]:
    """A run that exists, its sky model built, and the timer of its steps."""
    from gcesbi.analysis.run import Run

    run, steps = Run.open(folder), timer(quiet, console)
    with steps.step("Build the sky model"):
        _ = run.model
    return run, steps


def timer(quiet: bool, console: Console | None = None) -> Timer:
    """Tells the time of every step."""
    from gcesbi.cli.console import Timer

    return Timer(console or Console(), bar=not quiet)


def settings_and_map(
    preset: str, changes: list[str], seed: int | None, path: Path | None, diffuse: str | None, mask: str
) -> tuple[RunSettings, Observation | None]:
    """Settings, and the map they are for: of the folder's own sky if `path` is a data folder."""
    from gcesbi.analysis.settings import load_settings
    from gcesbi.io import read_observation
    from gcesbi.io.data import located

    if path is None:
        if diffuse is not None:
            raise InputError(f"diffuse: needs --observation with a data folder, got {diffuse!r} without")
        return load_settings(preset, changes, seed), None
    path = located(path, "observation")
    if not path.is_dir():
        settings = load_settings(preset, changes, seed)
        sky = settings.sky_of_maps
        return settings, read_observation(path, sky.radius, sky.band, nside=sky.nside)
    given: dict[str, Any] = {"kind": "folder", "path": str(path.resolve()), "mask": _mask(mask)}
    settings = load_settings(preset, changes, seed, given | {"diffuse": diffuse or "O"})
    return settings, _read_for(settings, path, mask)


def _read_for(settings: RunSettings, path: Path, mask: str) -> Observation:
    from gcesbi.io import read_observation
    from gcesbi.io.data import located

    path = located(path, "observation")
    sky = settings.sky_of_maps
    return read_observation(path, sky.radius, sky.band, _mask(mask) if path.is_dir() else None, nside=sky.nside)


def map_for(run: Run, path: Path | None, mask: str) -> Observation:
    """The map at `path`, or the run's own."""
    return run.observation() if path is None else _read_for(run.settings, path, mask)


def _mask(mask: str) -> str | None:
    if mask not in ("3fgl", "4fgl", "none"):
        raise InputError(f"mask: must be 3fgl, 4fgl or none, got {mask!r}")
    return None if mask == "none" else mask


def map_of_model(run: Run, path: Path | None, mask: str) -> Observation | None:
    """The map at `path`, which must have the pixels of the run's model; else the run's own, if it has such a one."""
    if path is None:
        own = run.observation() if run.has_observation else None
        return own if own is not None and own.counts.shape == run.model.exposure.shape else None
    observation = _read_for(run.settings, path, mask)
    if run.model.for_observation(observation) is not run.model:
        raise InputError(
            f"observation: must have the {run.model.region.n_pix} pixels of the run's model, has "
            f"{observation.region.n_pix} (mask, radius and band must be the model's)"
        )
    return observation


def write_page(run: Run, name: str, report: Report, steps: Timer) -> None:
    """Write a page and its numbers, and say what it says."""
    from gcesbi.report.html import write_report

    run.write_json(f"{name}.json", report.data or {})
    with steps.step("Write the report"):
        path = write_report(run.folder / f"{name}.html", report)
    Console().print(report.verdict)
    Console().print(f"report: {path}")

"""What commands have in common: options, and what they make of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import numpy as np
import typer
from rich.console import Console

from gcesbi.cli import refusals
from gcesbi.cli.console import Terminal, Timer
from gcesbi.errors import InputError

if TYPE_CHECKING:
    from gcesbi.analysis.folder import RunFolder as Folder
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.settings import RunSettings
    from gcesbi.report.html import Report
    from gcesbi.simulation import SkyModel
    from gcesbi.sky import Observation

__all__ = [
    "DEFAULT",
    "REFUSED",
    "Diffuse",
    "Draw",
    "DrawnAs",
    "Fit",
    "Map",
    "Mask",
    "MaskDeviant",
    "MockSky",
    "Networks",
    "OtherRun",
    "Out",
    "Overwrite",
    "OwnMap",
    "Preset",
    "Quiet",
    "Repair",
    "RunFolder",
    "RunToAsk",
    "Scheduler",
    "Seed",
    "Set",
    "Sky",
    "Stated",
    "Twin",
    "Workers",
    "claim",
    "claims",
    "draw_maps",
    "image_for",
    "map_for",
    "map_of_model",
    "opened",
    "run_to_ask",
    "settings_and_map",
    "states_a_map",
    "store_page",
    "timer",
    "without_deviant",
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


class MockSky(StrEnum):
    """What a mock map is like."""

    typical = "typical"
    prior = "prior"


DrawnAs = Annotated[
    MockSky,
    typer.Option("--draw", help="A mock map: typical, composed like the real sky, or drawn from the prior."),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="test, quick (by default), default, paper, robust, or a TOML file of your own; else what a run has.",
        callback=refusals.preset,
    ),
]
Set = Annotated[
    list[str],
    typer.Option("--set", help="Change a setting: section.key=value. Repeatable.", callback=refusals.changes),
]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random; the preset's if not given.")]
Workers = Annotated[int, typer.Option(help="Threads that simulate.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run folder that exists.", is_eager=True)]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Map = Annotated[
    Path | None,
    typer.Option(
        "--observation",
        help="Data folder, its name, or HEALPix FITS file; a mock if not given.",
        callback=refusals.known("observation"),
    ),
]
OwnMap = Annotated[
    Path | None,
    typer.Option(
        "--observation",
        help="Data folder, its name, or HEALPix FITS file; the run's own map if not given.",
        callback=refusals.known("observation"),
    ),
]
Diffuse = Annotated[str | None, typer.Option(help="Interstellar model of a data folder: O, A, F or p6v11.")]
Mask = Annotated[
    str | None,
    typer.Option(
        help="Source mask of a data folder: 3fgl (by default), 4fgl or none; a composed sky has its own.",
        callback=refusals.mask,
    ),
]
Sky = Annotated[
    Path | None,
    typer.Option(
        help="TOML file that composes a sky of your own; see gcesbi sky show.",
        show_default=False,
        callback=refusals.sky,
    ),
]
MaskDeviant = Annotated[
    bool,
    typer.Option("--mask-deviant", help="Leave out pixels that no smooth template explains, at 5 % after trials."),
]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a dask scheduler, tcp://...; its workers must see the run folder.")
]
Repair = Annotated[bool, typer.Option("--repair", help="Check all shards; draw damaged ones again.")]
DEFAULT = "default"
"""Networks of the package that are asked about a mock map, where none is given."""
REFUSED = 3
"""Exit status of an answer not to be trusted: no model could have produced the map, or networks learnt nothing."""


_STATED_BY = {
    "energy_edges": "--energies 2:20:10, of lowest and highest energy in GeV and the number of bins,",
    "exposure": "--exposure FILE",
    "mask_order": "--mask-order ring",
    "order": "--order ring",
    "frame": "--frame galactic",
}
"""How what a map may lack is stated, by the argument that a message names."""


@contextmanager
def naming_options() -> Iterator[None]:
    """Let an error about a map say by which option what it lacks is stated."""
    try:
        yield
    except InputError as error:
        lacking = [told for name, told in _STATED_BY.items() if re.search(rf"(^|[ :]){name}: must be", str(error))]
        if not lacking:
            raise
        raise InputError(f"{error}; {lacking[0]} states it") from None


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
        Path | None,
        typer.Option(
            help="File with the exposure of a map that holds none, as gtexpcube2 writes it.",
            callback=refusals.known("exposure"),
        ),
    ] = None
    mask_file: Annotated[
        Path | None,
        typer.Option(
            help="Mask over the whole sky, .npy or HEALPix FITS, 1 where masked.", callback=refusals.known("mask_file")
        ),
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


claims = ExitStack()
"""What a command holds until it ends; the command line closes it."""

RunFolder = Annotated[Path, typer.Argument(help="Run folder.", show_default=False, callback=refusals.run)]
OtherRun = Annotated[
    Path, typer.Argument(help="Another trained run of the same sky.", show_default=False, callback=refusals.run)
]
Twin = Annotated[
    Path | None,
    typer.Option(help="A run of the same sky, as with network.energy=summed, on the same maps.", callback=refusals.run),
]
RunToAsk = Annotated[
    Path | None,
    typer.Argument(
        help="Run folder; with --pretrained it may be new.", show_default=False, callback=refusals.run_unless_shipped
    ),
]
Networks = Annotated[
    str | None,
    typer.Option(
        "--networks",
        help="Ask these networks of the package; see `--pretrained list`.",
        callback=refusals.networks,
        is_eager=True,
    ),
]
Out = Annotated[
    Path,
    typer.Option(help="Run folder: made if new; what was interrupted there goes on.", callback=refusals.unfinished),
]


def opened(
    folder: Path,
    quiet: bool,
    sky: Path | None = None,
    *,
    console: Console | None = None,
    writes: bool = True,
    images: bool = False,
) -> tuple[Run, Timer]:
    """A run that exists, its sky model built, and the timer of its steps; nobody else `writes` it until the end.

    Its sky must be that of the file `sky`, if one is given; it is one on maps, unless it may be one on `images`.
    """
    from gcesbi.analysis.run import Run

    run, steps = Run.open(folder), timer(quiet, console)
    if sky is not None and not run.settings.has_sky_of(sky):
        raise InputError(f"sky: {str(folder)!r} was made with another sky than {str(sky)!r}")
    if run.settings.of_images and not images:
        raise InputError(
            f"run: {str(folder)!r} is a run on images, for which see `gcesbi images`; `gcesbi images compose {folder} "
            "--out sky.toml` states its sky for runs on maps"
        )
    if writes:
        claim(run)
    with steps.step("Build the sky model"):
        _ = run.images.model(run.images.training[0]) if run.settings.of_images else run.model
    return run, steps


def run_to_ask(run: Path | None, networks: str | None) -> Path:
    """A run's folder; of networks that ship with the package a copy, there or in ``runs/``.

    Raises
    ------
    InputError
        If neither is named, or the folder holds something else than the copy.
    """
    from gcesbi.analysis.folder import RunFolder

    if networks is None:
        return refusals.named(run)
    place = Path("runs/pretrained" if networks == DEFAULT else f"runs/pretrained-{networks}")
    return RunFolder.pretrained(run or place, networks).folder


def image_for(run: Run, folder: Path | None) -> Observation:
    """The image of a folder, or the run's own; else a simulated one, whose truth is told."""
    from gcesbi.analysis.observing import image_or_mock

    seen, truth = image_or_mock(run, folder)
    if truth:
        told = ", ".join(f"{name} = {value:.3f}" for name, value in truth.items())
        Terminal().print(f"a simulated image of {run.images.testing[0]}: {told}", highlight=False)
    return seen


def claim(run: Run) -> None:
    """Be the one process that writes a run until the present command ends."""
    claims.enter_context(run.writing())


def draw_maps(run: Run, workers: int, quiet: bool, backend: Draw, scheduler: str | None, repair: bool) -> None:
    """Draw what a run's settings ask for, and say what was repaired."""
    repaired = run.simulate(workers, progress=not quiet, backend=backend.value, scheduler=scheduler, repair=repair)
    if repair:
        Terminal().print(f"repaired: {', '.join(repaired) or 'nothing was damaged'}")


def timer(quiet: bool, console: Console | None = None) -> Timer:
    """Tells the time of every step."""
    return Timer(console or Terminal(), bar=not quiet)


def settings_and_map(
    preset: str | None,
    changes: list[str],
    seed: int | None,
    path: Path | None,
    diffuse: str | None,
    mask: str | None,
    held: RunSettings | None = None,
    told: Stated = Stated(),
    sky: Path | None = None,
) -> tuple[RunSettings, Observation | None]:
    """Settings, and the map they are for: of the folder's own sky if `path` is a data folder and none is composed.

    What is not given is as a run has `held` it so far, where there is one.
    """
    place = _located(path, diffuse=diffuse, mask=mask)
    told.arguments(place)
    from gcesbi.analysis.settings import load_settings

    base = preset or held or "quick"
    settings = load_settings(base, changes, seed, sky)
    composed = settings.sky.kind == "composed"
    if composed and diffuse is not None:
        raise InputError(f"diffuse: is for the sky of a data folder, not for a composed one, got {diffuse!r}")
    if place is not None and place.is_dir() and not composed:
        settings = load_settings(base, changes, seed, _folder_sky(place, diffuse, mask, held))
    if place is None:
        return settings, None
    seen = _read_for(settings, place, _folder_mask(settings, mask), told)
    if not seen.counts.any():
        raise InputError(f"observation: {str(place)!r} must hold photons, holds none")
    return settings, seen


def _folder_sky(place: Path, diffuse: str | None, mask: str | None, held: RunSettings | None) -> dict[str, Any]:
    """The sky of a data folder, as a run has held it so far."""
    before = held.sky.model_dump(mode="json") if held is not None and held.sky.kind == "folder" else {}
    given: dict[str, Any] = {"kind": "folder", "path": str(place.resolve())}
    given |= {} if diffuse is None else {"diffuse": diffuse}
    given |= {} if mask is None else {"mask": _mask(mask)}
    return before | given


def _located(path: Path | None, **of_folders: str | None) -> Path | None:
    """Where a map lies; raise InputError if an option that only a data folder has is given with anything else."""
    from gcesbi.io.data import located

    place = None if path is None else located(path, "observation")
    for name, value in of_folders.items():
        if value is not None and (place is None or not place.is_dir()):
            got = "without" if place is None else f"with {str(place)!r}"
            raise InputError(f"{name}: needs --observation with a data folder, got {value!r} {got}")
    return place


def _read_for(
    settings: RunSettings,
    place: Path,
    mask: str | None,
    told: Stated = Stated(),
) -> Observation:
    """The map at a place in the region of some settings."""
    from gcesbi.analysis.observing import read_for

    given: dict[str, Any] = {"mask": mask if place.is_dir() else None, **told.arguments(place)}
    with naming_options():
        return read_for(settings.sky_of_maps, place, **given)


def _folder_mask(settings: RunSettings, mask: str | None) -> str | None:
    """The mask of a data folder: as told, else that of its sky; a composed sky states its own, and has none else."""
    default = None if settings.sky.kind == "composed" else "3fgl"
    return getattr(settings.sky, "mask", default) if mask is None else _mask(mask)


def map_for(
    run: Folder,
    path: Path | None,
    mask: str | None,
    told: Stated = Stated(),
) -> Observation:
    """The map at `path`, or the run's own."""
    place = _located(path, mask=mask)
    told.arguments(place)
    if place is None:
        return run.observation()
    return _read_for(run.settings, place, _folder_mask(run.settings, mask), told)


def _mask(mask: str) -> str | None:
    return None if mask == "none" else mask


def map_of_model(run: Run, path: Path | None, mask: str | None) -> Observation | None:
    """The map at `path`, which must have the pixels of the run's model; else the run's own, if it has such a one."""
    from gcesbi.analysis.observing import own_image

    if run.settings.of_images:
        return own_image(run, path)
    if path is None:
        _located(path, mask=mask)
        own = run.observation() if run.has_observation else None
        return own if own is not None and own.counts.shape == run.model.exposure.shape else None
    observation = map_for(run, path, mask)
    if run.model.for_observation(observation) is not run.model:
        raise InputError(
            f"observation: must have the {run.model.region.n_pix} pixels of the run's model, has "
            f"{observation.region.n_pix} (mask, radius and band must be the model's)"
        )
    return observation


def without_deviant(model: SkyModel, seen: Observation, *, fill: bool) -> Observation:
    """The map less its deviant pixels, or with what is expected there (`fill`), as networks need it; says which."""
    from gcesbi.analysis.deviant import fill_deviant, mask_deviant

    kept, deviant = (fill_deviant if fill else mask_deviant)(model, seen)
    places = "; ".join(f"l, b = {each.glon:.2f}°, {each.glat:.2f}°" for each in deviant)
    done = "filled with what the others let expect" if fill else "left out"
    Terminal().print(f"{len(deviant)} deviant pixels {done}{': ' if deviant else ''}{places}", highlight=False)
    return kept


def write_page(run: Run, name: str, report: Report, steps: Timer) -> None:
    """Say what a page says, and write it and its numbers."""
    Terminal().print(report.verdict, highlight=False)
    store_page(run, name, report, steps)


def store_page(run: Run, name: str, report: Report, steps: Timer) -> None:
    """Write a page and its numbers, and say where."""
    from gcesbi.report.html import write_report

    run.write_json(f"{name}.json", report.data or {})
    with steps.step("Write the report"):
        path = write_report(run.folder / f"{name}.html", report)
    Terminal().print(f"report: {path}")

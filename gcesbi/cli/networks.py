"""Commands that make networks: simulate, train, poisson-fraction, export."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from gcesbi.cli import refusals
from gcesbi.cli.console import Terminal
from gcesbi.cli.options import (
    Diffuse,
    Draw,
    Mask,
    Out,
    Overwrite,
    Preset,
    Quiet,
    Repair,
    RunFolder,
    Scheduler,
    Seed,
    Set,
    Sky,
    Workers,
    claim,
    draw_maps,
    opened,
    settings_and_map,
    timer,
)
from gcesbi.cli.process import CORES

__all__ = ["export", "poisson_fraction", "simulate", "train"]


def simulate(
    out: Out,
    n: Annotated[int | None, typer.Option(help="Training maps, in place of the preset's number.")] = None,
    observation: Annotated[
        Path | None,
        typer.Option(
            help="Data folder, or its name, whose sky is simulated; or a map, in its region and exposure.",
            callback=refusals.known("observation"),
        ),
    ] = None,
    diffuse: Diffuse = None,
    mask: Mask = None,
    sky: Sky = None,
    preset: Preset = None,
    set_: Set = [],  # noqa: B006
    seed: Seed = None,
    workers: Annotated[int, typer.Option(help="Processes (or threads) that simulate.")] = CORES,
    backend: Annotated[
        Draw | None, typer.Option(help="Who draws; dask if a scheduler is given, else loky.", show_default=False)
    ] = None,
    scheduler: Scheduler = None,
    repair: Repair = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw maps and their labels into a run folder."""
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.simulate import check_room
    from gcesbi.simulation import SkyModel

    changes = [*set_, *([] if n is None else [f"simulation.n_train={n}"])]
    made = Run.exists(out) and not overwrite
    held = Run.open(out).settings if made else None
    settings, seen = settings_and_map(preset, changes, seed, observation, diffuse, mask, held, sky=sky)
    with nullcontext() if made else timer(quiet).step("Build the sky model"):
        model = None if made or seen is None else SkyModel.build(settings.sky_of_maps).for_observation(seen)
        run = Run.begin(out, settings, model, overwrite=overwrite, check=check_room)
    claim(run)
    draw_maps(run, workers, quiet, backend or (Draw.loky if scheduler is None else Draw.dask), scheduler, repair)
    Terminal().print(f"{len(run.store)} maps in {run.store.url}")


def train(
    run: RunFolder,
    only: Annotated[
        list[str] | None, typer.Option(help="Train this network alone: spectra, source_counts, ... Repeatable.")
    ] = None,
    sky: Sky = None,
    quiet: Quiet = False,
) -> None:
    """Train networks on the maps of a run, or on fresh ones; goes on from a checkpoint where there is one."""
    from gcesbi.analysis import train as train_step
    from gcesbi.analysis.run import Run
    from gcesbi.estimators.training.devices import is_main_process

    main = is_main_process(Run.open(run).settings.training.devices)
    console = Terminal(quiet=not main)
    found, _ = opened(run, quiet, sky, console=console, writes=main)
    histories = train_step.train(found, progress=not quiet, only=only or None)
    for name, history in histories.items():
        console.print(f"{name}: {history.maps} maps presented, {history.maps_per_second:.0f} a second")


def poisson_fraction(
    run: RunFolder,
    n: Annotated[int, typer.Option(help="Maps of known Poisson share to draw.", min=128, max=10**7)] = 16_384,
    workers: Workers = CORES,
    quiet: Quiet = False,
) -> None:
    """Train the network that says how much of the sky's subject may be Poisson emission; `infer` then asks it too."""
    from gcesbi.analysis.poisson_fraction import train_poisson_fraction

    history = train_poisson_fraction(opened(run, quiet)[0], n, workers, progress=not quiet)
    Terminal().print(
        f"poisson_fraction: {history.n_train} median SCDs; on {history.n_validation} others {history.coverage_90:.1%} "
        f"inside the 90 % interval, {history.below_95:.1%} below the 95 % limit"
    )


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(help="Run folder to make.", show_default=False, callback=refusals.free)],
    workers: Workers = CORES,
    quiet: Quiet = False,
) -> None:
    """Write a trained run without its maps, networks in half precision, to ship or to share; `infer` takes it."""
    from gcesbi.analysis.export import export as write

    write(opened(run, quiet, writes=False, images=True)[0], out, workers, progress=not quiet)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    Terminal().print(f"{size / 1e6:.1f} MB in {out}")

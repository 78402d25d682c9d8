"""The command that asks trained networks about a map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gcesbi.cli.console import Terminal, print_table, tell_refusal
from gcesbi.cli.options import (
    DEFAULT,
    REFUSED,
    Map,
    Mask,
    MaskDeviant,
    Networks,
    Quiet,
    RunToAsk,
    Sky,
    Stated,
    map_for,
    opened,
    run_to_ask,
    states_a_map,
    store_page,
    without_deviant,
)
from gcesbi.cli.process import CORES
from gcesbi.errors import InputError

if TYPE_CHECKING:
    from gcesbi.analysis.folder import RunFolder
    from gcesbi.sky import Observation

__all__ = ["infer"]

LIST = Path("list")
"""In place of a run: name the networks that ship with the package."""


@states_a_map
def infer(
    run: RunToAsk = None,
    observation: Map = None,
    mask: Mask = None,
    told: Stated = Stated(),  # noqa: B008 - frozen
    sky: Sky = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Ask those networks of the package that know the map; needs no training; `--pretrained list` "
            "names them.",
            is_eager=True,
        ),
    ] = False,
    networks: Networks = None,
    mask_deviant: MaskDeviant = False,
    force: Annotated[bool, typer.Option("--force", help="Take a map of another exposure too.")] = False,
    rounds: Annotated[
        int,
        typer.Option(help="Train on, in so many rounds, on maps like this one; takes minutes each.", min=0, max=100),
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Ask trained networks about a map (the run's own if none is given), print tables and store the posterior.

    The gate says first whether the networks' model could have produced the map, and the exit status is 3 if not; it is
    calibrated at the first call.
    """
    from gcesbi.analysis.neural_posteriors import infer_all
    from gcesbi.analysis.quickstart import question
    from gcesbi.analysis.simulate import mock_observation
    from gcesbi.report.explained import Explained
    from gcesbi.report.findings import Findings

    if rounds and force:
        raise InputError("rounds: are for maps of the networks' own exposure, not with --force")
    if pretrained and run == LIST:
        _list()
        return
    pretrained = pretrained or networks is not None
    folder, given = _asked(run, pretrained, networks, lambda each: map_for(each, observation, mask, told), observation)
    found, steps = opened(folder, quiet, sky)
    if pretrained and observation is None and not found.has_observation:
        found.write_observation(mock_observation(found)[0])
    seen = map_for(found, None, mask, told) if given is None else given
    if mask_deviant:
        seen = without_deviant(found.model, seen, fill=True)
    with steps.step("Infer"):
        posteriors = infer_all(found, seen, force=force)
    if rounds:
        with steps.step("Look closer, in rounds"):
            last = found.infer_in_rounds(seen, rounds, progress=not quiet, told=Terminal().print)[-1]
        posteriors["networks in rounds"] = last.posterior
    explained = Explained(seen, *question(found, seen, steps.step, CORES, always=True))
    tell_refusal(Terminal(), explained.refused)
    result = Findings(found.model, posteriors, explained)
    for name, table in result.tables.items():
        print_table(Terminal(), table, name)
    Terminal().print(result.verdict, highlight=False)
    figures, kept = result.figures(), found.about(seen)
    with steps.step("Store the posteriors"):
        for name, posterior in posteriors.items():
            kept.write_posterior(_stem(name), posterior, refused=explained.refused)
            kept.write_json(f"posteriors/{_stem(name)}.json", figures["posteriors"][name])
        kept.write_json("gate.json", figures["gate"])
    store_page(kept, "infer", result.report(str(kept.folder), figures), steps)
    if kept is not found:
        Terminal().print(f"another map than the run's own, whose answers stay: kept in {kept.folder}")
    if explained.refused:
        raise typer.Exit(REFUSED)


def _asked(
    run: Path | None,
    pretrained: bool,
    networks: str | None,
    read: Callable[[RunFolder], Observation],
    observation: Path | None,
) -> tuple[Path, Observation | None]:
    """Folder of the run to ask, and the map if one is given: read before the long work."""
    from gcesbi.analysis.folder import RunFolder
    from gcesbi.analysis.shipped import networks_for

    if not pretrained:
        folder = run_to_ask(run, None)
        return folder, None if observation is None else read(RunFolder.open(folder))
    given = None
    if observation is not None and networks is None:
        networks, given = networks_for(read)
    name = DEFAULT if networks is None else networks
    folder = run_to_ask(run, name)
    return folder, read(RunFolder.open(folder)) if given is None and observation is not None else given


def _list() -> None:
    """Print which networks ship with the package."""
    from gcesbi.analysis.shipped import shipped_networks

    for each in shipped_networks():
        Terminal().print(f"{each.name}: {each}", highlight=False, soft_wrap=True)
    for each in shipped_networks(of_images=True):
        told = f"{each.name}: pictures of the Galactic Centre, by `gcesbi images infer --pretrained`"
        Terminal().print(told, highlight=False, soft_wrap=True)


def _stem(method: str) -> str:
    """What a method's files are called."""
    return method.lower().replace(" ", "-")

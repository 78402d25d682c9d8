"""The command that asks trained networks about a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gcesbi.cli.console import Terminal, print_table
from gcesbi.cli.options import (
    REFUSED,
    Map,
    Mask,
    Quiet,
    Sky,
    Stated,
    map_for,
    opened,
    states_a_map,
)
from gcesbi.cli.process import CORES
from gcesbi.errors import InputError

__all__ = ["infer"]

PRETRAINED = Path("runs/pretrained")
"""Where `infer --pretrained` puts its run unless told otherwise."""


@states_a_map
def infer(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder; with --pretrained it may be new.", show_default=False)
    ] = None,
    observation: Map = None,
    mask: Mask = None,
    told: Stated = Stated(),  # noqa: B008 - frozen
    sky: Sky = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Ask the networks that ship with the package; needs no training.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Take a map of another exposure too.")] = False,
    rounds: Annotated[
        int, typer.Option(help="Train on, in so many rounds, on maps like this one; takes minutes each.", min=0)
    ] = 0,
    quiet: Quiet = False,
) -> None:
    """Ask trained networks about a map (the run's own if none is given), print tables and store the posterior.

    The gate says first whether the networks' model could have produced the map, and the exit status is 3 if not; it is
    calibrated at the first call.
    """
    from gcesbi.analysis.gate import judge
    from gcesbi.analysis.infer import infer as ask
    from gcesbi.analysis.neural_posteriors import infer_neural_posteriors
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.simulate import mock_observation
    from gcesbi.report.html import write_report
    from gcesbi.report.infer import inference_figures, inference_report, inference_verdict
    from gcesbi.report.tables import methods_table, spectra_table

    if rounds and force:
        raise InputError("rounds: are for maps of the networks' own exposure, not with --force")
    if pretrained:
        run = Run.pretrained(run or PRETRAINED).folder
    elif run is None:
        raise InputError("run: name a run folder, or give --pretrained")
    given = None if observation is None else map_for(Run.open(run), observation, mask, told)  # before long work
    found, steps = opened(run, quiet, sky)
    if pretrained and observation is None and not found.has_observation:
        found.write_observation(mock_observation(found)[0])
    seen = map_for(found, None, mask, told) if given is None else given
    with steps.step("Infer"):
        posteriors = {"networks": ask(found, seen, force=force), **infer_neural_posteriors(found, seen, force=force)}
    if rounds:
        with steps.step("Look closer, in rounds"):
            last = found.infer_in_rounds(seen, rounds, progress=not quiet, told=Terminal().print)[-1]
        posteriors["networks in rounds"] = last.posterior
    model, networks = found.model, posteriors["networks"]
    with steps.step("Ask the gate whether it is a map of the model"):
        verdict = judge(found, seen, CORES)
    if not verdict.accepted:
        Terminal().print(f"REFUSED: {verdict}", style="bold red", highlight=False)
    table = methods_table(model, posteriors)
    print_table(Terminal(), table)
    if model.n_energy > 1:
        print_table(Terminal(), spectra_table(networks), "E² dN/dE [GeV / cm² / s]")
    if verdict.accepted:
        Terminal().print(inference_verdict(model, posteriors, verdict), highlight=False)
    with steps.step("Write the page"):
        figures = inference_figures(posteriors, verdict)
        kept = found.about(seen)
        for name, posterior in posteriors.items():
            kept.write_posterior(_stem(name), posterior, refused="" if verdict.accepted else str(verdict))
            kept.write_json(f"posteriors/{_stem(name)}.json", figures["posteriors"][name])
        kept.write_json("gate.json", figures["gate"])
        page = inference_report(model, posteriors, verdict, table, subtitle=str(kept.folder), data=figures)
        path = write_report(kept.folder / "infer.html", page)
    if kept is not found:
        Terminal().print(f"another map than the run's own, whose answers stay: kept in {kept.folder}")
    Terminal().print(f"report: {path}")
    if not verdict.accepted:
        raise typer.Exit(REFUSED)


def _stem(method: str) -> str:
    """What a method's files are called."""
    return method.lower().replace(" ", "-")

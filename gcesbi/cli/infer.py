"""The command that asks trained networks about a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gcesbi.analysis.given import ANSWER, given_answer, with_digest
from gcesbi.cli.asked import LIST, answer_of, asked_run, list_networks, place_of, tell, tell_end
from gcesbi.cli.console import Terminal
from gcesbi.cli.options import (
    Map,
    Mask,
    MaskDeviant,
    Quiet,
    Sky,
    Stated,
    map_for,
    opened,
    states_a_map,
    store_page,
    without_deviant,
)
from gcesbi.cli.process import CORES
from gcesbi.errors import InputError

__all__ = ["infer"]


@states_a_map
def infer(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Run folder; with --pretrained it may be new, and `list` names the networks there are.",
            show_default=False,
        ),
    ] = None,
    observation: Map = None,
    mask: Mask = None,
    told: Stated = Stated(),  # noqa: B008 - frozen
    sky: Sky = None,
    pretrained: Annotated[
        bool,
        typer.Option("--pretrained", help="Ask those networks of the package that know the map; needs no training."),
    ] = False,
    networks: Annotated[
        str | None, typer.Option("--networks", help="Ask these networks of the package; see `--pretrained list`.")
    ] = None,
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
    if rounds and force:
        raise InputError("rounds: are for maps of the networks' own exposure, not with --force")
    if pretrained and run == LIST:
        list_networks()
        return
    pretrained = pretrained or networks is not None
    of_own = (
        all(each is None for each in (observation, mask, sky)) and told == Stated() and not (mask_deviant or rounds)
    )
    asked = {"force": force, "networks": (networks or "default") if pretrained else None}
    if of_own and (answer := given_answer(folder := place_of(run, pretrained, networks), asked)) is not None:
        tell(answer)
        Terminal().print(f"asked before, and nothing has changed since; report: {folder / 'infer.html'}")
        tell_end(answer)
        return
    from gcesbi.analysis.neural_posteriors import infer_all
    from gcesbi.analysis.quickstart import question
    from gcesbi.analysis.simulate import mock_observation
    from gcesbi.report.explained import Explained
    from gcesbi.report.findings import Findings

    folder, given = asked_run(
        run, pretrained, networks, lambda each: map_for(each, observation, mask, told), observation
    )
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
    result = Findings(found.model, posteriors, explained)
    tell(answer := answer_of(result))
    figures, kept = result.figures(), found.about(seen)
    with steps.step("Store the posteriors"):
        for name, posterior in posteriors.items():
            kept.write_posterior(_stem(name), posterior, refused=explained.refused)
            kept.write_json(f"posteriors/{_stem(name)}.json", figures["posteriors"][name])
        kept.write_json("gate.json", figures["gate"])
    store_page(kept, "infer", result.report(str(kept.folder), figures), steps)
    if kept is not found:
        Terminal().print(f"another map than the run's own, whose answers stay: kept in {kept.folder}")
    elif of_own:
        written = [f"infer.{kind}" for kind in ("html", "json")] + ["gate.json"]
        written += [f"posteriors/{_stem(name)}.{kind}" for name in posteriors for kind in ("nc", "json")]
        kept.write_json(ANSWER, with_digest(kept.folder, asked, written, answer))
    tell_end(answer)


def _stem(method: str) -> str:
    """What a method's files are called."""
    return method.lower().replace(" ", "-")

"""The command line's group ``gcesbi sky``: what a composed sky is, and whether a map fits it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gcesbi.cli import refusals
from gcesbi.cli.console import Terminal, print_table
from gcesbi.cli.options import Quiet, Stated, states_a_map, timer

__all__ = ["sky_app"]

sky_app = typer.Typer(
    help="Skies of your own, composed in TOML: show one, check it against a map.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

File = Annotated[Path, typer.Argument(help="TOML file that composes a sky.", show_default=False, callback=refusals.sky)]


@sky_app.command(epilog="Example: gcesbi sky show sky.toml --out sky.html")
def show(
    file: File,
    out: Annotated[Path | None, typer.Option(help="HTML page to write, with pictures.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of the maps that are drawn.", min=0)] = 0,
    quiet: Quiet = False,
) -> None:
    """Show a sky: its components, priors, what each is expected to give, and on a page its templates and mock maps."""
    from gcesbi.evaluation.described_sky import describe_sky
    from gcesbi.report.html import write_report
    from gcesbi.report.sky import component_table, expectation_table, sky_report
    from gcesbi.simulation import SkyModel

    console, steps = Terminal(), timer(quiet)
    with steps.step("Build the sky model"):
        model = SkyModel.from_toml(file)
    with steps.step("Draw maps"):
        found = describe_sky(model, seed=seed)
    typer.echo(repr(model))
    print_table(console, component_table(found), "Components")
    typer.echo(model.prior().describe())
    print_table(console, expectation_table(found), "At the prior's mean")
    if out is not None:
        console.print(f"report: {write_report(out, sky_report(found, str(file)))}")


@sky_app.command(epilog="Example: gcesbi sky check sky.toml --observation counts.fits")
@states_a_map
def check(
    file: File,
    observation: Annotated[
        Path,
        typer.Option(
            help="Data folder, its name, or FITS file.",
            show_default=False,
            callback=refusals.known("observation"),
        ),
    ],
    told: Stated = Stated(),  # noqa: B008 - frozen
    seed: Annotated[int, typer.Option(help="Of the maps that are drawn.", min=0)] = 0,
) -> None:
    """Check whether a map and a sky fit: one line a check; exit status 0 if all do, else 1."""
    from gcesbi.analysis.observing import read_whole
    from gcesbi.evaluation.checked_sky import check_sky
    from gcesbi.io.data import located
    from gcesbi.simulation import SkyModel

    model, place = SkyModel.from_toml(file), located(observation, "observation")
    found = check_sky(model, read_whole(model.composition, place, **told.arguments(place)), seed=seed)
    for each in found:
        typer.echo(str(each))
    raise typer.Exit(0 if all(each.good for each in found) else 1)

"""The command line: thin wrappers of :mod:`gcesbi.analysis` and :mod:`gcesbi.cli.quickstart`.

Bad input ends with exit status 2 and one line on standard error; so does an option that typer itself refuses.
"""

from __future__ import annotations

import io
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from gcesbi.cli.data import data_app
from gcesbi.cli.fit import fit
from gcesbi.cli.images import images_app
from gcesbi.cli.infer import infer
from gcesbi.cli.networks import export, poisson_fraction, simulate, train
from gcesbi.cli.options import (
    Diffuse,
    DrawnAs,
    Map,
    Mask,
    MockSky,
    Out,
    Overwrite,
    Preset,
    Quiet,
    Seed,
    Set,
    Sky,
    Stated,
    Workers,
    claims,
    settings_and_map,
    states_a_map,
)
from gcesbi.cli.process import CORES, set_threads
from gcesbi.cli.sky import sky_app
from gcesbi.cli.validate import validate_app
from gcesbi.errors import InputError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Is the Galactic Centre's gamma-ray excess dark matter or a crowd of faint point sources?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("gcesbi"))
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(help="Cores for each computation of networks; OMP_NUM_THREADS, else all, if not given."),
    ] = None,
) -> None:
    context.call_on_close(claims.close)
    set_threads(threads)


@app.command(epilog="Example: gcesbi quickstart --out runs/mine --seed 3")
@states_a_map
def quickstart(
    out: Out = Path("runs/quickstart"),
    observation: Map = None,
    diffuse: Diffuse = None,
    mask: Mask = None,
    told: Stated = Stated(),  # noqa: B008 - frozen
    sky: Sky = None,
    preset: Preset = None,
    set_: Set = [],  # noqa: B006 - typer's way
    seed: Seed = None,
    draw: DrawnAs = MockSky.typical,
    workers: Workers = CORES,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Do everything: sky, map, simulations, networks, Poisson fit, NPTF, table and report.

    A job that was stopped goes on where it was. The exit status is 3 where the model could not have produced the
    observed map: do not trust what is written then.
    """
    from gcesbi.analysis.quickstart import check_free
    from gcesbi.cli.quickstart import quickstart as job

    check_free(out, overwrite=overwrite)
    settings, seen = settings_and_map(preset, set_, seed, observation, diffuse, mask, told=told, sky=sky)
    job(out, settings, seen, workers=workers, overwrite=overwrite, progress=not quiet, draw=draw.value)


app.command(epilog="Example: gcesbi simulate --preset default --n 100000 --out runs/a --workers 2")(simulate)
app.command(epilog="Example: gcesbi train runs/a")(train)
app.command("poisson-fraction", epilog="Example: gcesbi poisson-fraction runs/a --workers 2")(poisson_fraction)
app.command(epilog="Example: gcesbi infer runs/a --observation data/fermi-573w")(infer)
app.command(epilog="Example: gcesbi export runs/default small/default")(export)
app.command(epilog="Example: gcesbi fit poisson --observation data/fermi-573w --diffuse O --out runs/fit")(fit)
app.add_typer(validate_app, name="validate")
app.add_typer(images_app, name="images")
app.add_typer(sky_app, name="sky")
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line: bad input, or a file that cannot be read or written, is one line and exit status 2.

    A training that diverged is one line and status 1.
    """
    warnings.formatwarning = lambda message, *_: f"gcesbi: warning: {' '.join(str(message).split())}\n"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that knows no Greek letters shows other ones
            stream.reconfigure(errors="replace")
    try:
        sys.exit(app(standalone_mode=False))
    except TyperException as error:
        if told := error.format_message():  # else no command was given, and the help has been shown
            _end(f"{told.rstrip('.')}; see --help", error.exit_code)
        sys.exit(error.exit_code)
    except InputError as error:
        _end(str(error), 2)
    except ArithmeticError as error:
        _end(str(error), 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}", 2)
    except MemoryError as error:
        _end(f"memory: there is not enough ({error})", 2)


def _end(message: str, status: int) -> None:
    sys.stderr.write(f"gcesbi: error: {' '.join(message.split())}\n")
    sys.exit(status)

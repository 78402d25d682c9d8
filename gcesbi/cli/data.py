"""The command line's group ``gcesbi data``: public data by name."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["data_app"]

data_app = typer.Typer(
    help="Public data by name: list them, fetch and check them, say where they lie.",
    epilog="Data lie in $GCESBI_DATA, else in the cache folder. $GCESBI_DATA_URL is a mirror: files at URL/NAME/FILE.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="Name of data, as `gcesbi data list` tells it.", show_default=False)]


@data_app.command("list", epilog="Example: gcesbi data list fermi-573w")
def list_(
    name: Annotated[str | None, typer.Argument(help="Tell all of these, file by file.", show_default=False)] = None,
) -> None:
    """List the data that have a name: what they are, their size, how much of them is here."""
    from gcesbi.io.data import describe, names, where

    if name is not None:
        entry, folder = describe(name), where(name)
        typer.echo(f"{entry}\nfolder: {folder}")
        for file in entry.files:
            here = "here" if (folder / file.name).is_file() else "missing"
            typer.echo(f"  {file.name}  {file.algorithm}:{file.digest}  {here}")
        return
    width = max(map(len, names()))
    for each in map(describe, names()):
        count = sum((where(each.name) / file.name).is_file() for file in each.files)
        told = f"{each.size / 1e6:7.1f} MB  {count:2d} of {len(each.files):2d} files here"
        typer.echo(f"{each.name:{width}s} {told}  {each.title}")


@data_app.command(epilog="Example: gcesbi data fetch fermi-573w catalogs/gll_psc_v27.fit.gz")
def fetch(
    name: Annotated[
        list[str], typer.Argument(help="Names of data, or of single files, NAME/FILE.", show_default=False)
    ],
    url: Annotated[str | None, typer.Option(help="Mirror in place of the sources.", show_default=False)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Check what is here and download the rest; what is here and damaged is named, never used or replaced."""
    from gcesbi.io.data import fetch

    for each in name:
        typer.echo(f"{each}: whole, in {fetch(each, url=url, progress=not quiet)}")


@data_app.command(epilog='Example: ls "$(gcesbi data where irf)"')
def where(name: Name) -> None:
    """Print the folder of data, whether they are there or not."""
    from gcesbi.io.data import where

    typer.echo(where(name))

"""Which run `infer` asks, about which map, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from gcesbi.cli.console import Terminal, print_table, tell_refusal
from gcesbi.cli.options import REFUSED
from gcesbi.errors import InputError

if TYPE_CHECKING:
    from gcesbi.analysis.folder import RunFolder
    from gcesbi.report.findings import Findings
    from gcesbi.sky import Observation

__all__ = ["LIST", "answer_of", "asked_run", "list_networks", "place_of", "tell", "tell_end"]

PRETRAINED = Path("runs/pretrained")
"""Where `infer --pretrained` puts its run unless told otherwise; with the networks' name, of others than `default`."""
DEFAULT = "default"
"""Networks that are asked about a mock map, where none is given."""
LIST = Path("list")
"""In place of a run: name the networks that ship with the package."""


class _Table(NamedTuple):
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def place_of(run: Path | None, pretrained: bool, networks: str | None) -> Path:
    """Folder of the run to ask."""
    if run is None and not pretrained:
        raise InputError("run: name a run folder, or give --pretrained")
    return run or (PRETRAINED if networks in (None, DEFAULT) else Path(f"{PRETRAINED}-{networks}"))


def asked_run(
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
        folder = place_of(run, pretrained, networks)
        return folder, None if observation is None else read(RunFolder.open(folder))
    given = None
    if observation is not None and networks is None:
        networks, given = networks_for(read)
    found = RunFolder.pretrained(place_of(run, pretrained, networks), networks or DEFAULT)
    return found.folder, read(found) if given is None and observation is not None else given


def list_networks() -> None:
    """Print which networks ship with the package."""
    from gcesbi.analysis.shipped import shipped_networks

    for each in shipped_networks():
        Terminal().print(f"{each.name}: {each}", highlight=False, soft_wrap=True)


def answer_of(found: Findings) -> dict[str, Any]:
    """What is to be said, ready for JSON."""
    tables = {name: {"columns": each.columns, "rows": each.rows} for name, each in found.tables.items()}
    return {"refused": found.explained.refused, "tables": tables, "verdict": found.verdict}


def tell(answer: Mapping[str, Any]) -> None:
    """Say it: why nothing is to be trusted, if so, then tables, then the verdict."""
    tell_refusal(Terminal(), answer["refused"])
    for name, table in answer["tables"].items():
        print_table(Terminal(), _Table(**table), name)
    Terminal().print(answer["verdict"], highlight=False)


def tell_end(answer: Mapping[str, Any]) -> None:
    """End with the exit status of a refusal, if it is one."""
    if answer["refused"]:
        raise typer.Exit(REFUSED)

"""What a person at the terminal sees: words as they are, steps with their time, tables, warnings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from gcesbi.baselines import NptfPosterior
    from gcesbi.report.html import TableBlock

__all__ = ["Terminal", "Timer", "print_problems", "print_table", "tell_refusal"]

_HEADING = 29  # of a row, where the console is narrow


class Terminal(Console):
    """A console that takes no markup.

    Whoever reads a pipe may leave it (``gcesbi fit ... | head``), and the disk that a log is on may be full: what is
    printed then goes nowhere, and what a command was to store is stored all the same.

    Parameters
    ----------
    **options
        Those of :class:`rich.console.Console`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, **options)

    def print(self, *words: Any, **how: Any) -> None:
        """As rich does; an error of the system's ends no command."""
        try:
            super().print(*words, **how)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Called by rich too, where nobody reads any more."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


@dataclass
class Timer:
    """Seconds that each named step took, told on the console as they go.

    Parameters
    ----------
    console : Console
    bar : bool
        Show a moving bar while a step runs that has no progress bar of its own.
    """

    console: Console
    bar: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, own_bar: bool = False) -> Iterator[None]:
        """Time a step; `own_bar` says that it shows its own progress."""
        start = time.perf_counter()
        if own_bar:
            yield
        else:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            with Progress(*columns, console=self.console, transient=True, disable=not self.bar) as progress:
                progress.add_task(name, total=None)
                yield
        self.seconds[name] = time.perf_counter() - start
        self.console.print(f"{name}: {self.seconds[name]:.1f} s")


def print_table(console: Console, block: TableBlock, title: str = "Methods side by side") -> None:
    """Print a table of a report.

    Where the console is too narrow the intervals go to a line of their own, and columns that still find no room to
    another table below, beside the same headings.
    """
    from gcesbi.report.prior_mark import PRIOR_MARK, PRIOR_NOTE

    lines = [block.columns, *block.rows]
    if narrow := _width(lines) > console.width:
        lines = [tuple(cell.replace(" (", "\n(") for cell in line) for line in lines]
    for group in _groups(lines, console.width):
        table = Table(title=title)
        table.add_column(lines[0][0], max_width=_HEADING if narrow else None)
        for i in group:
            table.add_column(lines[0][i], no_wrap=True)
        for line in lines[1:]:
            table.add_row(line[0], *(line[i] for i in group))
        console.print(table)
    if any(PRIOR_MARK in cell for row in block.rows for cell in row):
        console.print(PRIOR_NOTE, highlight=False)


def tell_refusal(console: Console, why: str) -> None:
    """Say before all else that a map is refused, if it is."""
    if why:
        console.print(f"REFUSED: {why}", style="bold red", highlight=False)


def _column_width(lines: Sequence[Sequence[str]], i: int) -> int:
    """Width of a column with its padding and border."""
    return 3 + max(cell_len(part) for line in lines for part in line[i].split("\n"))


def _width(lines: Sequence[Sequence[str]]) -> int:
    return 1 + sum(_column_width(lines, i) for i in range(len(lines[0])))


def _groups(lines: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Columns after the first that fit beside it, its headings wrapped if all do not fit; one column at least."""
    first = _column_width(lines, 0) if _width(lines) <= width else min(_column_width(lines, 0), 3 + _HEADING)
    groups: list[list[int]] = []
    left = 0
    for i in range(1, len(lines[0])):
        need = _column_width(lines, i)
        if need > left or not groups:
            groups.append([])
            left = width - 1 - first
        groups[-1].append(i)
        left -= need
    return groups


def print_problems(console: Console, posterior: NptfPosterior, name: str = "NPTF") -> None:
    """Say loudly what speaks against the convergence of a chain."""
    for problem in posterior.convergence.problems:
        console.print(f"{name}: the chain has not converged: {problem}", style="yellow")

"""What a person at the terminal sees: steps with their time, tables, warnings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from gcesbi.baselines import NptfPosterior
from gcesbi.report import TableBlock

__all__ = ["Timer", "print_problems", "print_table"]


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
    """Print a table of a report."""
    table = Table(*block.columns, title=title)
    for row in block.rows:
        table.add_row(*row)
    console.print(table)


def print_problems(console: Console, posterior: NptfPosterior) -> None:
    """Say loudly what speaks against the convergence of a chain."""
    for problem in posterior.convergence.problems:
        console.print(f"[yellow]NPTF: the chain has not converged: {problem}[/yellow]")

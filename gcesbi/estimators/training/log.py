"""The log of a training: a CSV file that grows row by row. What a killed run wrote after its checkpoint is dropped."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

__all__ = ["LogRow", "TrainingLog"]


class LogRow(NamedTuple):
    """One row.

    Attributes
    ----------
    step, maps : int
        Done so far.
    seconds : float
        Spent so far.
    learning_rate : float
    train_loss : float
        Mean since the row before.
    validation_loss : float or None
        On the held-out maps, where this step ended with a validation.
    """

    step: int
    maps: int
    seconds: float
    learning_rate: float
    train_loss: float
    validation_loss: float | None = None


class TrainingLog:
    """Writes rows to a file, or nowhere.

    Parameters
    ----------
    path : Path, optional
    step : int
        Where the training goes on; rows of later steps, of a run that was killed, are dropped, and so is half a row.
    """

    def __init__(self, path: Path | None, step: int = 0) -> None:
        self.path = path
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        found = list(csv.reader(path.read_text().splitlines()[1:])) if path.exists() else []
        kept = [row for row in found if len(row) == len(LogRow._fields) and int(row[0]) <= step]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([LogRow._fields, *kept])

    def write(self, row: LogRow) -> None:
        """Append a row."""
        if self.path is not None:
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow(row)

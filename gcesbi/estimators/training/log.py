"""The log of a training: a CSV file that grows row by row. What a killed run wrote after its checkpoint is dropped."""

import csv
import io
from pathlib import Path
from typing import NamedTuple

from gcesbi.io.files import write_text

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
        found = path.read_text(encoding="utf-8", errors="replace").splitlines()[1:] if path.exists() else []
        rows = [row for row in csv.reader(found) if len(row) == len(LogRow._fields) and row[0].isdigit()]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([LogRow._fields, *(row for row in rows if int(row[0]) <= step)])
        write_text(path, text.getvalue())

    def write(self, row: LogRow) -> None:
        """Append a row."""
        if self.path is not None:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(row)

"""The log of a training: a CSV file that grows row by row. What a killed run wrote after its checkpoint is dropped."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path

__all__ = ["LogRow", "TrainingLog"]


@dataclass(frozen=True)
class LogRow:
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
        Where the training goes on; rows of later steps, of a run that was killed, are dropped.
    """

    def __init__(self, path: Path | None, step: int = 0) -> None:
        self.path = path
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in _rows(path) if int(row["step"]) <= step]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(LogRow)])
            writer.writeheader()
            writer.writerows(kept)

    def write(self, row: LogRow) -> None:
        """Append a row."""
        if self.path is not None:
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow("" if value is None else value for value in asdict(row).values())


def _rows(path: Path) -> list[dict[str, str]]:
    """Whole rows of a log; what a kill cut off is left out."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    return [row for row in found if None not in row and all(value is not None for value in row.values())]

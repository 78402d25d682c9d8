"""One HTML page that says what was found: a verdict, tables, figures, settings, and the numbers to download.

The page is self-contained: figures are embedded, no script runs, nothing is fetched from the network. It follows the
reader's light or dark preference, and reads on a phone and at 400 % zoom. Every text is escaped.
"""

import csv
import json
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any, Literal, Self

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from gcesbi.errors import InputError
from gcesbi.io.files import write_text
from gcesbi.plots import narrowed, png

__all__ = ["FigureBlock", "Report", "Section", "TableBlock", "render_report", "write_report"]

DOTS_PER_INCH = 150
NARROW = 3.7
"""Inches: what a phone of 390 pixels shows whole, letters of 10 points in 13 pixels."""
Mood = Literal["good", "caution", "bad", "neutral"]


@dataclass(frozen=True, eq=False)
class FigureBlock:
    """A figure; what is seen, in words for those who cannot see it; and one sentence that says how to read it.

    On a phone its panels stand one below the other; what is to be seen `together`, panels or long names beside
    their bars, is scrolled.
    """

    figure: Figure
    alt: str
    caption: str
    together: bool = False

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("alt: a figure needs a text for those who cannot see it, got an empty one")

    @property
    def width(self) -> int:
        """Natural width on the page, CSS pixels."""
        return round(96 * self.figure.get_figwidth())

    @property
    def source(self) -> str:
        """The figure as a PNG in a data URI."""
        return _data_uri("image/png", png(self.figure, DOTS_PER_INCH))

    @property
    def narrow(self) -> str:
        """The same for a phone; empty where it would be no other."""
        if self.together or self.figure.get_figwidth() <= NARROW:
            return ""
        with narrowed(self.figure, NARROW):
            return self.source


@dataclass(frozen=True)
class TableBlock:
    """A table: headings, cells as text of which the first of a row is its heading, and how to read it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(f"rows: must have {len(self.columns)} cells, as columns has, got {len(row)}: {row!r}")

    @classmethod
    def of(cls, records: Iterable[Mapping[str, object]], caption: str) -> Self:
        """One row a record, whose keys are the headings: the same of all."""
        rows = tuple(records)
        cells = tuple(tuple(map(str, row.values())) for row in rows)
        return cls(tuple(rows[0]) if rows else (), cells, caption)


Block = FigureBlock | TableBlock


class Section:
    """A part of the page: a heading, then paragraphs (separated by an empty line), figures and tables in order."""

    def __init__(self, title: str, *parts: str | Block | None) -> None:
        self.title, self.parts = title, tuple(part for part in parts if part)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Figures and tables."""
        return tuple(part for part in self.parts if not isinstance(part, str))


@dataclass(frozen=True, eq=False)
class Report:
    """What a page holds, top to bottom.

    Parameters
    ----------
    title, verdict : str
        The verdict is read in ten seconds: one to three sentences.
    sections : iterable of Section or None
        None is left out.
    subtitle : str
        Which data, which run.
    mood : "good", "caution", "bad" or "neutral"
        Colour beside the verdict; it repeats what the words say.
    summary : TableBlock, optional
        The table directly below the verdict: methods side by side.
    data : mapping, optional
        Numbers for the JSON download; finite, or None.
    """

    title: str
    verdict: str
    sections: Iterable[Section | None]
    subtitle: str = ""
    mood: Mood = "neutral"
    summary: TableBlock | None = None
    data: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sections", tuple(filter(None, self.sections)))

    def write(self, path: str | Path) -> Path:
        """Write the page: see :func:`write_report`."""
        return write_report(path, self)

    @property
    def download(self) -> str:
        """The numbers as JSON in a data URI."""
        try:
            text = json.dumps(self.data, indent=1, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"data: must be plain finite numbers, texts, lists and mappings: {error}") from error
        return _data_uri("application/json", text.encode())

    @property
    def tables(self) -> tuple[tuple[str, TableBlock], ...]:
        """Every table with the title of its section; the summary has none."""
        held = ((section.title, block) for section in self.sections if section for block in section.blocks)
        return tuple((title, block) for title, block in (("", self.summary), *held) if isinstance(block, TableBlock))

    @property
    def spreadsheet(self) -> str:
        """All tables as CSV in a data URI, one line a cell: section, number of the table, row, column, value."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("section", "table", "row", "column", "value"))
        for number, (title, table) in enumerate(self.tables, 1):
            for name, *cells in table.rows:
                writer.writerows((title, number, name, *cell) for cell in zip(table.columns[1:], cells, strict=True))
        return _data_uri("text/csv;charset=utf-8", text.getvalue().encode())


def render_report(report: Report) -> str:
    """The page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["figure"] = lambda block: isinstance(block, FigureBlock)
    template = environment.from_string(files("gcesbi.report").joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(report=report)


def write_report(path: str | Path, report: Report) -> Path:
    """Write the page to `path`, whole or not at all; a page that stood there is replaced.

    Raises
    ------
    InputError
        If the folder does not exist, or `report.data` is no JSON.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"path: the folder of the report must exist, got {target}")
    write_text(target, render_report(report))
    return target


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"

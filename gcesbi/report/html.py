"""One HTML page that says what was found: a verdict, tables, figures, settings, and the numbers to download.

The page is self-contained: figures are embedded, no script runs, nothing is fetched from the network. It follows the
reader's light or dark preference, and reads on a phone and at 400 % zoom. Every text is escaped.
"""

import base64
import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from gcesbi.errors import InputError
from gcesbi.io.files import write_text

__all__ = ["FigureBlock", "Report", "Section", "TableBlock", "render_report", "write_report"]

DOTS_PER_INCH = 150
T = TypeVar("T")
Mood = Literal["good", "caution", "bad", "neutral"]


@dataclass(frozen=True, eq=False)
class FigureBlock:
    """A figure, what it shows for those who cannot see it, and how to read it.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    alt : str
        What is seen, in words.
    caption : str
        One sentence that says how to read it.
    """

    figure: Figure
    alt: str
    caption: str

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
        buffer = BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="white")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class TableBlock:
    """A table; the first cell of a row is its heading.

    Parameters
    ----------
    columns : tuple of str
        Headings.
    rows : tuple of tuples of str
        Cells, as text.
    caption : str
        What the table holds and how to read it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(f"rows: must have {len(self.columns)} cells, as columns has, got {len(row)}: {row!r}")

    @classmethod
    def of(cls, items: Iterable[T], columns: Mapping[str, Callable[[T], object]], caption: str) -> Self:
        """One row an item, by what each column, under its heading, says of it."""
        rows = tuple(tuple(str(cell(each)) for cell in columns.values()) for each in items)
        return cls(tuple(columns), rows, caption)


class Section:
    """A part of the page: a heading, then its parts in order.

    Parameters
    ----------
    title : str
    *parts : str, FigureBlock or TableBlock
        Texts are paragraphs, separated by an empty line.
    """

    def __init__(self, title: str, *parts: str | FigureBlock | TableBlock) -> None:
        self.title, self.parts = title, parts

    @property
    def blocks(self) -> tuple[FigureBlock | TableBlock, ...]:
        """Figures and tables."""
        return tuple(part for part in self.parts if not isinstance(part, str))


@dataclass(frozen=True, eq=False)
class Report:
    """What a page holds, top to bottom.

    Parameters
    ----------
    title, verdict : str
        The verdict is read in ten seconds: one to three sentences.
    sections : tuple of Section
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
    sections: tuple[Section, ...]
    subtitle: str = ""
    mood: Mood = "neutral"
    summary: TableBlock | None = None
    data: Mapping[str, Any] | None = None

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
        return "data:application/json;base64," + base64.b64encode(text.encode()).decode("ascii")

    @property
    def tables(self) -> tuple[tuple[str, TableBlock], ...]:
        """Every table with the title of its section; the summary has none."""
        first = () if self.summary is None else (("", self.summary),)
        tables = ((s.title, block) for s in self.sections for block in s.blocks if isinstance(block, TableBlock))
        return (*first, *tables)

    @property
    def spreadsheet(self) -> str:
        """All tables as CSV in a data URI, one line a cell: section, number of the table, row, column, value."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("section", "table", "row", "column", "value"))
        for number, (title, table) in enumerate(self.tables, 1):
            for name, *cells in table.rows:
                for column, value in zip(table.columns[1:], cells, strict=True):
                    writer.writerow((title, number, name, column, value))
        return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.getvalue().encode()).decode("ascii")


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

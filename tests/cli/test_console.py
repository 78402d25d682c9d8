"""Tables on consoles of any width."""

from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from gcesbi.cli.console import Terminal, print_table
from gcesbi.report.html import TableBlock

METHODS = ("Poisson fit", "NPTF", "networks", "pretrained")
ROWS = (
    ("flux fraction of pi [%]", "51.6", *("51.6 (49.9–53.2)",) * 4),
    ("gce: flux from sources below 1e-12 [%]", "3.1", "–", *("69.0 (13.0–97.0)",) * 3),
    ("gce: number of sources", "66,000", "–", *("66,000 (7,600–350,000)",) * 3),
    ("Poisson share of the excess, 95 % upper limit [%]", "–", "–", "–", "81.2", "–"),
)
BLOCK = TableBlock(("quantity", "truth", *METHODS), ROWS, "caption")


def printed(width):
    text = StringIO()
    print_table(Console(file=text, width=width), BLOCK)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 132, 160, 240])
def test_no_line_is_too_long_and_no_number_broken(width):
    lines = printed(width)
    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    for whole in (*METHODS, "51.6", "(49.9–53.2)", "(13.0–97.0)", "66,000", "(7,600–350,000)", "81.2"):
        assert whole in text
    assert text.count("(7,600–350,000)") == 3
    assert "…" not in text


def test_a_wide_console_shows_one_table_with_intervals_beside_medians():
    text = "\n".join(printed(200))
    assert text.count("quantity") == 1
    assert "66,000 (7,600–350,000)" in text
    assert len(printed(200)) == len(ROWS) + 5  # title, three rules, headings


def test_a_narrow_console_repeats_the_headings_beside_the_other_columns():
    text = "\n".join(printed(80))
    assert text.count("quantity") == 2
    assert "51.6 (" not in text


def test_a_log_on_a_full_disk_stops_no_work():
    with Path("/dev/full").open("w") as log:
        terminal = Terminal(file=log)
        terminal.print("an answer")
        terminal.print("and more")

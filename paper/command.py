"""Command: make the runs of the papers and draw their figures.

Exit status: 0 if every figure was drawn, 1 if some are missing, 2 for bad arguments.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from gcesbi.cli.console import Terminal
from gcesbi.errors import InputError
from paper.caron2018 import PAPER as CARON2018
from paper.driver import draw_paper
from paper.graph import SCALES, Paper
from paper.list2025 import PAPER as LIST2025
from paper.list2025.reasons import REASONS

PAPERS = {paper.name: paper for paper in (LIST2025, CARON2018)}
TRAININGS = {REASONS.name: REASONS}
"""What takes days and is made by name alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments; return the exit status."""
    given = _parser().parse_args(arguments)
    out = given.out or Path("runs") / "paper" / given.scale
    console = Terminal(soft_wrap=True, highlight=False)
    drawn, missing = 0, 0
    try:
        for paper, labels in _chosen(given.paper or list(PAPERS), given.only):
            console.print(f"{paper.title}, scale {given.scale}, in {out}")
            make_runs = not given.draw_only
            outcome = draw_paper(
                paper, given.scale, out, given.data, only=labels, make_runs=make_runs, tell=console.print
            )
            drawn, missing = drawn + len(outcome.drawn), missing + len(outcome.missing)
    except (InputError, OSError) as error:
        Terminal(stderr=True, soft_wrap=True).print(f"error: {error}")
        return 2
    console.print(f"{drawn} figures drawn in {out / 'figures'}" + (f", {missing} missing" if missing else ""))
    return 1 if missing else 0


def _chosen(names: Sequence[str], only: Sequence[str] | None) -> list[tuple[Paper, list[str] | None]]:
    """Papers, and which of their figures are wanted: None stands for all."""
    papers = [(PAPERS | TRAININGS)[name] for name in names]
    if only is None:
        return [(paper, None) for paper in papers]
    for label in only:
        if not any(label in paper.figures for paper in papers):
            known = "; ".join(f"of {paper.name} {', '.join(paper.figures)}" for paper in papers)
            raise InputError(f"only: figures are, {known}; got {label!r}")
    wanted = [(paper, [label for label in only if label in paper.figures]) for paper in papers]
    return [(paper, labels) for paper, labels in wanted if labels]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m paper", description="Draw the figures of the papers.")
    parser.add_argument("--scale", choices=SCALES, default="quick", help="how large the runs are (see paper/README.md)")
    parser.add_argument("--out", type=Path, default=None, help="folder of runs and figures; runs/paper/SCALE")
    parser.add_argument("--data", type=Path, default=_data(), help="folder of the real 573-week maps")
    parser.add_argument(
        "--paper", choices=list(PAPERS | TRAININGS), action="append", help="this paper alone; repeatable"
    )
    parser.add_argument("--only", nargs="+", metavar="FIGURE", help="these figures, and the runs they need")
    parser.add_argument("--draw-only", action="store_true", help="draw from the runs that are there; make none")
    return parser


def _data() -> Path:
    """Where the tests look too: ``$GCESBI_DATA``, else ``../shared/data`` beside the checkout."""
    root = os.environ.get("GCESBI_DATA")
    return (Path(root) if root else Path(__file__).resolve().parents[2] / "shared" / "data") / "fermi-573w"

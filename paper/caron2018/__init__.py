"""Figures of Caron et al. (2018, arXiv:1708.06706): one module a figure, :mod:`plans` for what they are drawn from."""

from importlib import import_module

from paper.caron2018.plans import plans
from paper.caron2018.tables import results
from paper.graph import Paper

__all__ = ["PAPER"]

LABELS = ("2", "3", "5", "6", "7", "8", "9", "T3")

PAPER = Paper(
    name="caron2018",
    title="Caron et al. (2018, arXiv:1708.06706)",
    figures={label: import_module(f"paper.caron2018.figure_{label}") for label in LABELS},
    plans=plans,
    results=results,
)

"""Figures of List et al. (2025, arXiv:2507.17804): one module a figure, :mod:`runs` for what they are drawn from."""

from importlib import import_module

from paper.graph import Paper
from paper.list2025.results import results
from paper.list2025.runs import plans

__all__ = ["PAPER"]

LABELS = ("1", "2", *(f"S{number}" for number in range(1, 21)))

PAPER = Paper(
    name="list2025",
    title="List et al. (2025, arXiv:2507.17804)",
    figures={label: import_module(f"paper.list2025.figure_{label.lower()}") for label in LABELS},
    plans=plans,
    results=results,
    beside=("shipped",),
)

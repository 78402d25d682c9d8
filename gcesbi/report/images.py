"""Tables of what a run on images says, for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gcesbi.baselines.poisson.halo_slope import SlopeFit
from gcesbi.evaluation.image_answer import ImageAnswer
from gcesbi.evaluation.template_fits import TemplateFits
from gcesbi.report.html import TableBlock

__all__ = ["answer_table", "evaluation_table", "fits_table"]

_UNIT = 1e-27  # cm³ / s


def answer_table(answer: ImageAnswer) -> TableBlock:
    """The answers side by side, for the terminal."""
    rows = [
        (name, f"{each.prediction:.3f}", *(f"{error:.3f}" for error in each.errors))
        for name, each in answer.f_src.items()
    ]
    told = {"quantiles": answer.quantiles, "NPE": answer.posterior["f_src"], "NPE, γ known": answer.at_slope}
    for name, values in ((name, values) for name, values in told.items() if values):
        low, below, median, above, high = values
        rows.append((name, f"{median:.3f}", f"{below:.3f} to {above:.3f}", f"{low:.3f} to {high:.3f}", "", ""))
    for name, values in answer.posterior.items():
        if name != "f_src":
            low, below, median, above, high = values
            row = (f"NPE, {name}", f"{median:.3f}", f"{below:.3f} to {above:.3f}", f"{low:.3f} to {high:.3f}", "", "")
            rows.append(row)
    columns = ("f_src by", "value", "1σ or 68 %", "2σ or 95 %", "3σ", "largest")
    return TableBlock(columns, tuple(rows), "Errors of numbers, intervals of medians.")


def evaluation_table(found: Mapping[str, Any]) -> TableBlock:
    """Figures of every method, by set of images, for images of the sky's own slope."""
    columns = (
        "method",
        *(f"{name}: {figure}" for name in found["fixed"] for figure in ("RMSE", "68 % holds", "width")),
    )
    methods = next(iter(found["fixed"].values()))
    rows = [
        (
            method,
            *(
                f"{images[method][key]:.3f}"
                for images in found["fixed"].values()
                for key in ("rmse", "coverage_68", "width_68")
            ),
        )
        for method in methods
    ]
    return TableBlock(columns, tuple(rows), "Root mean square error, coverage and median width of 68 % intervals.")


def fits_table(fits: TemplateFits) -> TableBlock:
    """γ, <σv> and TS by interstellar model, for the terminal; errors are those that fits state."""
    blocks = ((f"one image of {fits.drawn_from}", fits.other), ("the real image", fits.observed))
    rows = [(name, f"{len(each)} of its own", *_means(each)) for name, each in fits.own.items()]
    rows += [(name, image, *_means((fit,))) for image, found in blocks for name, fit in found.items()]
    columns = ("fitted with", "images", "γ", "<σv>, 10⁻²⁷ cm³/s", "TS")
    return TableBlock(columns, tuple(rows), "Means over images; an error is the fit's own, for one image.")


def _means(fits: Sequence[SlopeFit]) -> tuple[str, str, str]:
    table = np.array([(f.gamma, f.gamma_error, f.cross_section, f.cross_section_error, f.test_statistic) for f in fits])
    gamma, gamma_error, section, section_error, statistic = table.mean(axis=0)
    edge = " (at the edge)" if any(fit.at_edge for fit in fits) else ""
    told = f"{section / _UNIT:.2f} ± {section_error / _UNIT:.2f}"
    return f"{gamma:.3f} ± {gamma_error:.3f}{edge}", told, f"{statistic:.1f}"

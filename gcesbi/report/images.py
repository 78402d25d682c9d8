"""Page and tables of what a run on images says."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi import plots
from gcesbi.baselines.poisson.halo_slope import SlopeFit
from gcesbi.evaluation.image_answer import ImageAnswer
from gcesbi.evaluation.template_fits import FittedModel, TemplateFits
from gcesbi.report.html import FigureBlock, Report, Section, TableBlock
from gcesbi.report.parts import gate_section
from gcesbi.report.prior_mark import PRIOR_NOTE, marked
from gcesbi.sky import Observation

__all__ = ["answer_table", "evaluation_table", "fits_table", "fitted_table", "image_report", "slope_text", "with_error"]

_UNIT = 1e-27  # cm³ / s


def answer_table(answer: ImageAnswer) -> TableBlock:
    """The answers side by side: one table that fits 80 columns."""
    rows = [
        (name, f"{each.prediction:.3f}", *(f"± {error:.2f}" for error in each.errors))
        for name, each in answer.f_src.items()
    ]
    rest = {f"NPE: {name}": (values, name) for name, values in answer.posterior.items() if name != "f_src"}
    told = {name: (values, "f_src") for name, values in _intervals(answer).items()} | rest
    for name, ((low, below, median, above, high), parameter) in told.items():
        value = marked(f"{median:.3f}", (below, above), answer.prior[parameter])
        rows.append((name, value, f"{below:.2f}–{above:.2f}", f"{low:.2f}–{high:.2f}", "", ""))
    return TableBlock(
        ("f_src by", "value", "68 %", "95 %", "99.7 %", "largest"),
        tuple(rows),
        "What each network says of the image: a number with the errors of held-out images of like predictions, or a "
        f"median with intervals. Last the joint posterior's other parameters. {PRIOR_NOTE}",
    )


def _intervals(answer: ImageAnswer) -> dict[str, Sequence[float]]:
    """Quantiles of f_src by every method that tells more than a number with an error."""
    told = {"quantiles": answer.quantiles, "NPE": answer.posterior["f_src"], "NPE, γ known": answer.at_slope}
    return {name: values for name, values in told.items() if values}


def image_report(
    answer: ImageAnswer, observation: Observation, mean: NDArray[np.float64], *, subtitle: str = ""
) -> Report:
    """Page of an answer about an image.

    Parameters
    ----------
    answer : ImageAnswer
    observation : Observation
    mean : array (n_energy, n_pix)
        Mean counts of held-out images.
    subtitle : str
        Which image, which run.
    """
    verdict = answer.gate
    learnt = not any(each.startswith("NOT LEARNT") for each in answer.caveats)
    return Report(
        title="How much of the excess is sources?",
        subtitle=subtitle,
        verdict=" ".join((*(each for each in answer.caveats if each.startswith("NOT LEARNT")), str(verdict))),
        mood="good" if verdict.accepted and learnt else "bad",
        summary=answer_table(answer),
        sections=(
            Section("What to hold against it", "\n\n".join(answer.caveats)),
            _answers_section(answer),
            _image_section(observation, mean),
            gate_section(verdict),
        ),
        data=answer.to_dict(),
    )


def _answers_section(answer: ImageAnswer) -> Section:
    ends = {n: each.prediction + each.errors[0] * np.array([-1, 0, 1]) for n, each in answer.f_src.items()}
    ends |= {name: np.array(values[1:4]) for name, values in _intervals(answer).items()}
    drawn = {
        name: dict(zip(("low", "median", "high"), np.clip(each[:, None], 0, 1), strict=True))
        for name, each in ends.items()
        if np.isfinite(each).all()
    }
    figure = FigureBlock(
        plots.flux_fractions(("f_src",), drawn, unit="share of sources in the excess"),
        "The share of sources by every network, with error bars.",
        "Bars are 68 % intervals; networks that see the same image are not independent.",
    )
    return Section("Answers", "Networks of the whole image and its halves, quantiles, and the joint posterior.", figure)


def _image_section(observation: Observation, mean: NDArray[np.float64]) -> Section:
    counts = observation.counts.sum(axis=0)
    figure = FigureBlock(
        plots.counts_and_residuals(observation.region, counts, mean.sum(axis=0), title="Mean of images"),
        "Three images: the counts, the mean of held-out simulated images, and their difference.",
        "Smooth differences are the interstellar model's or the brightness of the excess; specks are sources.",
    )
    return Section("The image", f"{counts.sum():,} photons in {observation.region.n_pix:,} pixels.", figure)


def evaluation_table(found: Mapping[str, Any]) -> TableBlock:
    """Figures of every method, by set of images, for images of the sky's own slope."""
    sets, figures = found["fixed"], {"RMSE": "rmse", "68 % holds": "coverage_68", "width": "width_68"}
    records = (
        {"method": method}
        | {
            f"{name}: {told}": f"{each[method][key]:.3f}"
            for name, each in sets.items()
            for told, key in figures.items()
        }
        for method in next(iter(sets.values()))
    )
    return TableBlock.of(records, "Root mean square error, coverage and median width of 68 % intervals.")


def fits_table(fits: TemplateFits) -> TableBlock:
    """γ, <σv> and TS by interstellar model, for the terminal; errors are those that fits state."""
    found = [(name, f"{len(each)} of its own", each) for name, each in fits.own.items()]
    found += [(name, f"one image of {fits.drawn_from}", (fit,)) for name, fit in fits.other.items()]
    found += [(name, "the real image", (fit,)) for name, fit in fits.observed.items()]
    records = ({"fitted with": name, "images": images} | _means(each) for name, images, each in found)
    return TableBlock.of(records, "Means over images; an error is the fit's own, for one image.")


def fitted_table(found: Mapping[str, FittedModel]) -> TableBlock:
    """What a fit of the real image finds beside every interstellar model."""
    best = max(each.slope.log_likelihood for each in found.values())
    parts = dict.fromkeys(part for each in found.values() for part in each.norms)
    records = (
        {
            "fitted with": name,
            "own γ": slope_text(each.slope),
            "<σv>": f"{each.cross_section / _UNIT:.2f}",
            "flux": f"{each.flux:.2e}",
            "Δ ln L": f"{each.slope.log_likelihood - best:.1f}",
        }
        | {part: f"{each.norms[part]:.2f}" if part in each.norms else "" for part in parts}
        for name, each in found.items()
    )
    return TableBlock.of(records, "<σv> in 10⁻²⁷ cm³/s and flux in photons / cm² / s, at the one slope; then norms.")


def slope_text(fit: SlopeFit) -> str:
    """γ with its error, or a bound: the end of the slopes that were fitted, where it stands there."""
    if fit.at_edge:
        return f"{'≤' if fit.gamma == fit.gammas[0] else '≥'} {fit.gamma:.2f}"
    return with_error(fit.gamma, fit.gamma_error, 3)


def with_error(value: float, error: float, digits: int) -> str:
    """Both, or the value alone where its error is not known."""
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if np.isfinite(error) else "")


def _means(fits: Sequence[SlopeFit]) -> dict[str, str]:
    table = np.array([(f.gamma, f.gamma_error, f.cross_section, f.cross_section_error, f.test_statistic) for f in fits])
    gamma, gamma_error, section, section_error, statistic = table.mean(axis=0)
    n_edge = sum(fit.at_edge for fit in fits)
    edge = f" ({n_edge} at the edge)" if n_edge else ""
    return {
        "γ": slope_text(fits[0]) if len(fits) == 1 else with_error(gamma, gamma_error, 3) + edge,
        "<σv>, 10⁻²⁷ cm³/s": with_error(section / _UNIT, section_error / _UNIT, 2),
        "TS": f"{statistic:.1f}",
    }

"""Page and numbers of a quickstart: what is found of its map, and how far the run's networks are to be trusted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from gcesbi.baselines import NptfPosterior
from gcesbi.estimators import TrainingHistory
from gcesbi.evaluation.networks import Evaluation
from gcesbi.evaluation.prior_quantities import true_quantities
from gcesbi.posterior import QUANTITIES, Posterior
from gcesbi.report.calibration import calibration_section, calibration_verdict, training_section, trust_table
from gcesbi.report.findings import Findings
from gcesbi.report.html import Mood, Report, Section, TableBlock
from gcesbi.simulation import Simulations

__all__ = ["QuickstartResult"]


@dataclass(frozen=True, kw_only=True)
class QuickstartResult(Findings):
    """What a quickstart found.

    Parameters
    ----------
    settings : mapping of str to values
        All settings of the run, plain values by section.
    labels : Simulations or None
        Of the map, if it is a mock; they are the ``truth``.
    evaluation : Evaluation
        Of the run's networks, on held-out maps.
    before : Evaluation or None
        The same, of the networks before recalibration.
    histories : mapping of str to TrainingHistory
        By kind of estimator.
    started : mapping of str to str
        What each training started from.
    """

    settings: Mapping[str, Any]
    labels: Simulations | None = None
    evaluation: Evaluation
    before: Evaluation | None = None
    histories: Mapping[str, TrainingHistory]
    started: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.labels is not None:
            object.__setattr__(self, "truth", true_quantities(self.model, self.labels))

    def _told_of_trust(self) -> tuple[str, ...]:
        return (calibration_verdict(self.evaluation),)

    def _trust(self) -> tuple[Section, ...]:
        return (Section("What to trust", trust_table(self.evaluation, refused=bool(self.explained.refused))),)

    @property
    def mood(self) -> Mood:
        """Colour of the verdict: good if all sets of error bars but one are calibrated."""
        if self.explained.refused:
            return "bad"
        right = sum(each.judgement == "calibrated" for each in self.evaluation.reports)
        return "good" if right >= len(self.evaluation.reports) - 1 else "caution"

    def results(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        """All numbers, for JSON; `seconds` of every step."""
        model = self.model
        nptf = {n: p for n, p in self.posteriors.items() if isinstance(p, NptfPosterior)}
        return self.marked(
            {
                "version": version("gcesbi"),
                "model": model.fingerprint,
                "settings": dict(self.settings),
                "verdict": self.verdict,
                "answers": {name: vars(each) for name, each in self.answers.items()},
                "log_bayes_factor": {n: {"value": v, "error": e} for n, (v, e) in self.odds.items()},
                "table": {"columns": self.table.columns, "rows": self.table.rows},
                "posteriors": {n: _summary(p, model.names, model.point_sources) for n, p in self.posteriors.items()},
                "truth": None if self.labels is None else _truth(self.labels),
                **self.explained.to_dict(model.point_sources),
                "nptf": {
                    n: {"converged": p.converged, "problems": list(p.convergence.problems)} for n, p in nptf.items()
                },
                "evaluation": self.evaluation.to_dict(),
                "evaluation_before_recalibration": None if self.before is None else self.before.to_dict(),
                "started_from": dict(self.started),
                "seconds": dict(seconds),
            }
        )

    def page(self, seconds: Mapping[str, float], results: Mapping[str, Any]) -> Report:
        """The page, with its numbers to download: also whether error bars hold, and how all was made."""
        model, settings = self.model, self.settings
        what = "observed map" if self.truth is None else "mock map"
        page = self.report(
            f"{what}, {settings['sky']['kind']} sky, {model.region.n_pix:,} pixels, seed {settings['seed']}", results
        )
        return replace(
            page,
            sections=(
                *page.sections,
                calibration_section(self.evaluation, self.before),
                training_section(self.histories, self.started),
                _how(settings, seconds, self.posteriors, model.fingerprint),
            ),
        )


def _summary(
    posterior: Posterior, templates: tuple[str, ...], sources: tuple[str, ...]
) -> dict[str, dict[str, dict[str, object]]]:
    """Median and 68 % interval of every named quantity, by template."""
    by_axis, shape, summary = (
        {"template": templates, "point_source": sources},
        posterior.coordinates.shape,
        posterior.summary(),
    )
    found = {
        name: {
            label: {key: np.asarray(values[key])[i].tolist() for key in ("low", "median", "high")}
            for i, label in enumerate(by_axis[QUANTITIES[name].axes[0]])
        }
        for name, values in summary.items()
        if name in QUANTITIES and QUANTITIES[name].axes
    }
    shapes = {name: {key: each.tolist() for key, each in summary[name].items()} for name in shape if name in summary}
    return found | ({"shape": shapes} if shapes else {})


def _truth(truth: Simulations) -> dict[str, object]:
    return {
        "flux": truth.flux[0].tolist(),
        "flux_fractions": truth.flux_fractions[0].tolist(),
        "scd": truth.scd[0].tolist(),
        "n_sources": truth.n_sources[0].tolist(),
        "theta": truth.theta[0].tolist(),
    }


def _how(
    settings: Mapping[str, Any], seconds: Mapping[str, float], posteriors: Mapping[str, Posterior], fingerprint: str
) -> Section:
    rows = tuple((name, f"{value:.1f} s") for name, value in seconds.items())
    flat = tuple(
        (name, ", ".join(f"{key} = {each}" for key, each in value.items()) if isinstance(value, dict) else str(value))
        for name, value in settings.items()
    )
    chains = " ".join(
        f"{name}: {'converged' if each.converged else 'NOT converged, ' + '; '.join(each.convergence.problems)}."
        for name, each in posteriors.items()
        if isinstance(each, NptfPosterior)
    )
    clocked = settings.get("training", {}).get("max_seconds") or settings.get("nptf", {}).get("max_seconds")
    again = (
        "A clock may have stopped it: another may differ" if clocked else "The same settings and seed give the same run"
    )
    return Section(
        "How this was made",
        f"gcesbi {version('gcesbi')}, model {fingerprint}. {chains}",
        TableBlock(("step", "time"), rows, "Wall-clock time of every step."),
        TableBlock(("settings", "values"), flat, f"All settings. {again}."),
    )

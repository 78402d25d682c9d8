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

    def _told_of_trust(self) -> str:
        return calibration_verdict(self.evaluation)

    def _trust(self) -> Section:
        return Section("What to trust", trust_table(self.evaluation, refused=bool(self.explained.refused)))

    @property
    def mood(self) -> Mood:
        """Colour of the verdict: good if methods agree and all sets of error bars but one are calibrated."""
        if self.explained.refused:
            return "bad"
        if len({each.decision for each in self.answers.values()} - {"cannot tell"}) > 1:
            return "caution"
        right = sum(each.judgement == "calibrated" for each in self.evaluation.reports)
        return "good" if right >= len(self.evaluation.reports) - 1 else "caution"

    def results(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        """All numbers, for JSON; `seconds` of every step."""
        nptf = {n: p for n, p in self.posteriors.items() if isinstance(p, NptfPosterior)}
        return self.marked(
            {
                "version": version("gcesbi"),
                "model": self.model.fingerprint,
                "settings": dict(self.settings),
                "verdict": self.verdict,
                "answers": {name: vars(each) for name, each in self.answers.items()},
                "log_bayes_factor": {n: {"value": v, "error": e} for n, (v, e) in self.odds.items()},
                "table": {"columns": self.table.columns, "rows": self.table.rows},
                "posteriors": {name: _summary(each) for name, each in self.posteriors.items()},
                "truth": None if self.labels is None else _truth(self.labels),
                **self.explained.to_dict(self.model.point_sources),
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
        what, settings = "observed map" if self.truth is None else "mock map", self.settings
        pixels = self.model.region.n_pix
        page = self.report(
            f"{what}, {settings['sky']['kind']} sky, {pixels:,} pixels, seed {settings['seed']}", results
        )
        made = (
            calibration_section(self.evaluation, self.before),
            training_section(self.histories, self.started),
            self._how(seconds),
        )
        return replace(page, sections=(*page.sections, *made))

    def _how(self, seconds: Mapping[str, float]) -> Section:
        """Settings, times, and whether chains converged."""
        settings = self.settings
        chains = " ".join(
            f"{name}: {'converged' if each.converged else 'NOT converged, ' + '; '.join(each.convergence.problems)}."
            for name, each in self.posteriors.items()
            if isinstance(each, NptfPosterior)
        )
        clocked = any(settings.get(part, {}).get("max_seconds") for part in ("training", "nptf"))
        again = (
            "A clock may have stopped it: another may differ"
            if clocked
            else "The same settings and seed give the same run"
        )
        flat = {
            name: ", ".join(f"{key} = {each}" for key, each in value.items()) if isinstance(value, dict) else value
            for name, value in settings.items()
        }
        return Section(
            "How this was made",
            f"gcesbi {version('gcesbi')}, model {self.model.fingerprint}. {chains}",
            TableBlock.of(
                ({"step": name, "time": f"{value:.1f} s"} for name, value in seconds.items()),
                "Wall-clock time of every step; of a job that was stopped and went on, since then.",
            ),
            TableBlock.of(
                ({"settings": name, "values": each} for name, each in flat.items()), f"All settings. {again}."
            ),
        )


def _summary(posterior: Posterior) -> dict[str, Any]:
    """Median and 68 % interval of every named quantity, by template."""
    axes, found = posterior.coordinates, {}
    plain = {
        name: {key: np.asarray(ends[key]).tolist() for key in ("low", "median", "high")}
        for name, ends in posterior.summary().items()
    }
    for name, ends in plain.items():
        if name in QUANTITIES and QUANTITIES[name].axes:
            by = getattr(axes, QUANTITIES[name].axes[0])
            found[name] = {each: {key: end[i] for key, end in ends.items()} for i, each in enumerate(by)}
    shapes = {name: plain[name] for name in axes.shape if name in plain}
    return found | ({"shape": shapes} if shapes else {})


def _truth(truth: Simulations) -> dict[str, Any]:
    return {key: getattr(truth, key)[0].tolist() for key in ("flux", "flux_fractions", "scd", "n_sources", "theta")}

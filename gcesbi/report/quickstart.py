"""Page and numbers of a quickstart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from gcesbi.baselines import NptfPosterior
from gcesbi.estimators import TrainingHistory, true_shapes
from gcesbi.evaluation.networks import Evaluation
from gcesbi.posterior import QUANTITIES, Posterior
from gcesbi.report.answers import Answer, answers_of, title, true_answer, verdict_of
from gcesbi.report.calibration import calibration_section, calibration_verdict, training_section, trust_table
from gcesbi.report.explained import Explained
from gcesbi.report.html import Mood, Report, Section, TableBlock
from gcesbi.report.misses import misses_section
from gcesbi.report.sections import (
    joint_section,
    source_count_section,
    spectra_section,
    subject_spectrum,
)
from gcesbi.report.tables import methods_table
from gcesbi.simulation import Simulations, SkyModel

__all__ = ["QuickstartResult"]


@dataclass(frozen=True)
class QuickstartResult:
    """What a quickstart found.

    Parameters
    ----------
    model : SkyModel
    settings : mapping of str to values
        All settings of the run, plain values by section.
    truth : Simulations or None
        Labels of the observation, if it is a mock.
    posteriors : mapping of str to Posterior
        By method.
    priors : mapping of str to str
        Under which each ran.
    explained : Explained
        The map, and what explains it.
    evaluation : Evaluation
        Of the run's networks, on held-out maps.
    before : Evaluation or None
        The same, of the networks before recalibration.
    histories : mapping of str to TrainingHistory
        By kind of estimator.
    started : mapping of str to str
        What each training started from.
    odds : mapping of str to (float, float)
        ln of the Bayes factor for sources in the subject against none, and its error, by methods that know it.
    """

    model: SkyModel
    settings: Mapping[str, Any]
    truth: Simulations | None
    posteriors: Mapping[str, Posterior]
    priors: Mapping[str, str]
    explained: Explained
    evaluation: Evaluation
    before: Evaluation | None
    histories: Mapping[str, TrainingHistory]
    started: Mapping[str, str] = field(default_factory=dict)
    odds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def table(self) -> TableBlock:
        """All methods side by side."""
        shapes = () if self.truth is None else true_shapes(self.model, self.truth)[0].tolist()
        return methods_table(self.model, self.posteriors, self.truth, shapes, self.priors)

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """What each method says; all of them not to be trusted where the gate refuses the map."""
        return answers_of(self.model, self.posteriors, self.explained.refused, self.odds)

    @cached_property
    def verdict(self) -> str:
        """The answer first, or why there is none; then what explains the map, and what to trust."""
        known = () if self.truth is None else (true_answer(self.model, self.truth),)
        more = (*known, str(self.explained), calibration_verdict(self.evaluation))
        return verdict_of(self.model, self.answers, self.explained.refused, *more)

    @property
    def mood(self) -> Mood:
        """Colour of the verdict; it repeats what the words say."""
        if self.explained.refused:
            return "bad"
        right = sum(each.judgement == "calibrated" for each in self.evaluation.reports)
        return "good" if right >= len(self.evaluation.reports) - 1 else "caution"

    def results(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        """All numbers, for JSON; `seconds` of every step."""
        model, truth = self.model, self.truth
        nptf = {n: p for n, p in self.posteriors.items() if isinstance(p, NptfPosterior)}
        found = {
            "version": version("gcesbi"),
            "model": model.fingerprint,
            "settings": dict(self.settings),
            "verdict": self.verdict,
            "answers": {name: vars(each) for name, each in self.answers.items()},
            "log_bayes_factor": {n: {"value": v, "error": e} for n, (v, e) in self.odds.items()},
            "table": {"columns": self.table.columns, "rows": self.table.rows},
            "posteriors": {n: _summary(p, model.names, model.point_sources) for n, p in self.posteriors.items()},
            "truth": None if truth is None else _truth(truth),
            **self.explained.to_dict(model.point_sources),
            "nptf": {n: {"converged": p.converged, "problems": list(p.convergence.problems)} for n, p in nptf.items()},
            "evaluation": self.evaluation.to_dict(),
            "evaluation_before_recalibration": None if self.before is None else self.before.to_dict(),
            "started_from": dict(self.started),
            "seconds": dict(seconds),
        }
        return ({"refused": self.explained.refused} if self.explained.refused else {}) | found

    def report(self, seconds: Mapping[str, float], results: Mapping[str, Any]) -> Report:
        """The page, with its numbers to download."""
        model, posteriors, truth = self.model, self.posteriors, self.truth
        checks = self.explained.sections(tuple(posteriors))
        return Report(
            title=title(model),
            subtitle=_subtitle(model, self.settings, truth),
            verdict=self.verdict,
            mood=self.mood,
            summary=self.table,
            sections=(
                Section("What to trust", "", (trust_table(self.evaluation, refused=bool(self.explained.refused)),)),
                *(checks if truth is None else ()),
                source_count_section(model, posteriors, truth),
                subject_spectrum(model, posteriors, truth),
                joint_section(model, posteriors, truth),
                spectra_section(model, posteriors, truth),
                *(() if truth is None else (*checks, misses_section(model, posteriors, truth))),
                calibration_section(self.evaluation, self.before),
                training_section(self.histories, self.started),
                _how(self.settings, seconds, posteriors, model.fingerprint),
            ),
            data=results,
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


def _subtitle(model: SkyModel, settings: Mapping[str, Any], truth: Simulations | None) -> str:
    what = "mock map" if truth is not None else "observed map"
    return f"{what}, {settings['sky']['kind']} sky, {model.region.n_pix:,} pixels, seed {settings['seed']}"


def _how(
    settings: Mapping[str, Any], seconds: Mapping[str, float], posteriors: Mapping[str, Posterior], fingerprint: str
) -> Section:
    rows = tuple((name, f"{value:.1f} s") for name, value in seconds.items())
    flat = tuple(
        (f"{section}.{key}" if isinstance(value, dict) else section, str(item))
        for section, value in settings.items()
        for key, item in (value.items() if isinstance(value, dict) else [("", value)])
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
        (
            TableBlock(("step", "time"), rows, "Wall-clock time of every step."),
            TableBlock(("setting", "value"), flat, f"All settings. {again}."),
        ),
    )

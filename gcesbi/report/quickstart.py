"""Page and numbers of a quickstart."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from gcesbi.baselines import NptfPosterior, PoissonFitResult
from gcesbi.estimators import TrainingHistory, true_shapes
from gcesbi.evaluation.networks import Evaluation
from gcesbi.posterior import QUANTITIES, Posterior
from gcesbi.report.calibration import calibration_mood, calibration_section, calibration_verdict, training_section
from gcesbi.report.html import Report, Section, TableBlock
from gcesbi.report.sections import sky_section, source_count_section, spectra_section
from gcesbi.report.tables import methods_table
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.sky import Observation

__all__ = ["QuickstartResult"]


@dataclass(frozen=True)
class QuickstartResult:
    """What a quickstart found.

    Parameters
    ----------
    model : SkyModel
    settings : mapping of str to values
        All settings of the run, plain values by section.
    observation : Observation
    truth : Simulations or None
        Labels of the observation, if it is a mock.
    posteriors : mapping of str to Posterior
        By method; one is that of the ``networks``.
    fit : PoissonFitResult
    nptf : NptfPosterior
    evaluation : Evaluation
        Of the run's networks, on held-out maps.
    histories : mapping of str to TrainingHistory
        By kind of estimator.
    """

    model: SkyModel
    settings: Mapping[str, Any]
    observation: Observation
    truth: Simulations | None
    posteriors: Mapping[str, Posterior]
    fit: PoissonFitResult
    nptf: NptfPosterior
    evaluation: Evaluation
    histories: Mapping[str, TrainingHistory]

    @cached_property
    def table(self) -> TableBlock:
        """All methods side by side."""
        shapes = () if self.truth is None else true_shapes(self.model, self.truth)[0].tolist()
        return methods_table(self.model, self.posteriors, self.truth, shapes)

    def results(self, seconds: Mapping[str, float]) -> dict[str, Any]:
        """All numbers, for JSON; `seconds` of every step."""
        model, fit, truth = self.model, self.fit, self.truth
        return {
            "version": version("gcesbi"),
            "model": model.fingerprint,
            "settings": dict(self.settings),
            "table": {"columns": self.table.columns, "rows": self.table.rows},
            "posteriors": {n: _summary(p, model.names, model.point_sources) for n, p in self.posteriors.items()},
            "truth": None if truth is None else _truth(truth),
            "poisson_fit": {
                "norms": fit.spectrum.tolist(),
                "log_likelihood": fit.log_likelihood,
                "test_statistic": {name: fit.test_statistic(name) for name in model.point_sources},
            },
            "nptf": {"converged": self.nptf.converged, "problems": list(self.nptf.convergence.problems)},
            "evaluation": self.evaluation.to_dict(),
            "seconds": dict(seconds),
        }

    def report(self, seconds: Mapping[str, float], results: Mapping[str, Any]) -> Report:
        """The page, with its numbers to download."""
        model, evaluation = self.model, self.evaluation
        networks = self.posteriors["networks"]
        others = {name: each for name, each in self.posteriors.items() if name != "networks"}
        return Report(
            title=f"What is {model.subject} made of?",
            subtitle=_subtitle(model, self.settings, self.truth),
            verdict=f"{_finding(model.subject, networks)} {calibration_verdict(evaluation)}",
            mood=calibration_mood(evaluation),
            summary=self.table,
            sections=(
                sky_section(self.observation, self.fit),
                spectra_section(model, self.posteriors, self.truth),
                source_count_section(model, networks, others, self.truth),
                calibration_section(evaluation),
                training_section(self.histories),
                _how(self.settings, seconds, self.nptf.convergence.problems, model.fingerprint),
            ),
            data=results,
        )


def _finding(subject: str, networks: Posterior) -> str:
    row = networks.coordinates.template.index(subject)
    low, median, high = 100 * networks.quantiles("flux_fraction", [0.16, 0.5, 0.84])[:, row]
    return f"Of the flux, {median:.1f} % ({low:.1f} to {high:.1f}) is {subject}, by the networks."


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
    what = "mock map drawn from the model" if truth is not None else "observed map"
    return f"{what}, {settings['sky']['kind']} sky, {model.region.n_pix} pixels, seed {settings['seed']}"


def _how(
    settings: Mapping[str, Any], seconds: Mapping[str, float], problems: tuple[str, ...], fingerprint: str
) -> Section:
    rows = tuple((name, f"{value:.1f} s") for name, value in seconds.items())
    flat = tuple(
        (f"{section}.{key}" if isinstance(value, dict) else section, str(item))
        for section, value in settings.items()
        for key, item in (value.items() if isinstance(value, dict) else [("", value)])
    )
    chain = "The NPTF's chain passed its convergence checks."
    if problems:
        chain = "The NPTF's chain has NOT converged: " + "; ".join(problems) + ". Do not quote its intervals."
    return Section(
        "How this was made",
        f"gcesbi {version('gcesbi')}, model {fingerprint}. {chain}",
        (
            TableBlock(("step", "time"), rows, "Wall-clock time of every step."),
            TableBlock(("setting", "value"), flat, "All settings; the same settings and seed give the same run."),
        ),
    )

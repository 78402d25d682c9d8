"""The parts of a quickstart: a run with its map, the answers of every method about it, and what speaks against them."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from gcesbi.analysis.deviant import without_log_fields
from gcesbi.analysis.fit import fit_nptf, fit_poisson
from gcesbi.analysis.gate import judge, stored_gate
from gcesbi.analysis.neural_posteriors import infer_all
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings
from gcesbi.analysis.simulate import mock_observation
from gcesbi.baselines import GoodnessOfFit, PoissonFit, PoissonFitResult, goodness_of_fit, log_bayes_factor
from gcesbi.posterior import PartialPosterior, Posterior
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.sky import Observation
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["FILES", "PRIORS", "REPORT", "answers", "begin", "check_free", "priors_of", "question", "remove_checkpoints"]

REPORT = "report.html"
"""The page, written last."""

Step = Callable[..., AbstractContextManager[None]]
"""Around each step by its name, as to tell its time; ``own_bar=True`` where the step shows its own progress."""

_POISSON, _LITERATURE, _MODEL, _NETWORKS = "Poisson fit", "NPTF, literature priors", "NPTF, model's priors", "networks"
FILES = {_POISSON: "poisson", _LITERATURE: "nptf", _MODEL: "nptf-model-priors", _NETWORKS: "networks"}
"""Names of files by method; those of others are the methods' own."""
_NO_SOURCES = "nptf-no-sources"
_N_EFF = 500  # points that give an evidence to 0.05 in its logarithm
PRIORS = {
    _POISSON: "flat norms",
    _LITERATURE: "flat, broken power laws",
    _MODEL: "the model's",
    _NETWORKS: "the model's",
}
"""Under which priors each method ran; the model's are those that simulations are drawn from."""


def begin(
    folder: str | Path,
    settings: RunSettings,
    observation: Observation | None,
    overwrite: bool,
    step: Step,
    draw: str = "typical",
) -> tuple[Run, Observation, Simulations | None]:
    """A run folder with its observation, and the labels of that if it is drawn; one that was killed goes on.

    Raises
    ------
    InputError
        If the folder is not free (:func:`check_free`), holds a run of other settings or on another map, or the
        observation does not fit the model; nothing is written then.
    """
    check_free(folder, overwrite=overwrite)
    with step("Build the sky model"):
        model = SkyModel.build(settings.sky_of_maps)
        if observation is not None:
            model = model.for_observation(observation)
    run = Run.begin(folder, settings, model, overwrite=overwrite)
    truth: Simulations | None = None
    if observation is None:
        with step("Draw a mock observation"):
            observation, truth = mock_observation(run, draw)
    return run, run.observe(observation), truth


def priors_of(posteriors: Mapping[str, Posterior]) -> dict[str, str]:
    """Under which priors each method ran, by its name."""
    return PRIORS | {name: "another sky's" for name, each in posteriors.items() if isinstance(each, PartialPosterior)}


def check_free(folder: str | Path, *, overwrite: bool = False) -> None:
    """Raise InputError unless a quickstart may begin in a folder, or go on: a run is there that has no report yet."""
    if overwrite or not Run.exists(folder) or (Path(folder) / REPORT).is_file():
        Run.check_free(folder, overwrite=overwrite)


def answers(
    run: Run, observation: Observation, step: Step, progress: bool = False
) -> tuple[dict[str, Posterior], PoissonFitResult, dict[str, tuple[float, float]]]:
    """Posteriors of all methods by name, the Poisson fit itself, and ln of Bayes factors with their errors.

    The NPTF with the model's priors is a method. Bayes factors are those of sources in the subject against none, which
    only the literature's priors know.
    """
    model, settings = run.model, run.settings
    with step("Infer"):
        networks = infer_all(run, observation)
    with step("Fit Poisson templates"):
        fit, poisson = fit_poisson(model, observation)
    posteriors: dict[str, Posterior] = {_POISSON: poisson}
    odds = {}
    for name, priors in ((_LITERATURE, "literature"), (_MODEL, "model")):
        if priors in ("model", settings.nptf.priors):
            chosen = settings.nptf.model_copy(update={"priors": priors})
            with step(f"Fit the {name}", own_bar=True):
                found = fit_nptf(model, observation, chosen, settings.seed, progress, _checkpoint(run, FILES[name]))
            posteriors[name] = found
            if priors == "literature" and (others := _other_sources(model)) and math.isfinite(found.log_evidence_error):
                chosen = chosen.model_copy(update={"n_eff": min(chosen.n_eff, _N_EFF)})
                kept = _checkpoint(run, _NO_SOURCES)
                with step("Fit it without sources in the excess", own_bar=True):
                    without = fit_nptf(model, observation, chosen, settings.seed, progress, kept, others)
                if math.isfinite(without.log_evidence_error):  # no clock ended it
                    odds[name] = log_bayes_factor(found, without)
    return posteriors | networks, fit, odds


def _checkpoint(run: Run, name: str) -> Path:
    """Where an NPTF keeps how far it is."""
    return run.folder / f"{name}.checkpoint.h5"


def remove_checkpoints(run: Run) -> None:
    """Once all is written."""
    for name in (*FILES.values(), _NO_SOURCES):
        _checkpoint(run, name).unlink(missing_ok=True)


def _other_sources(model: SkyModel) -> tuple[str, ...]:
    """Templates with sources beside the subject; none if it has none, or is alone."""
    others = tuple(name for name in model.point_sources if name != model.subject)
    return others if len(others) < len(model.point_sources) else ()


def question(
    run: Run, observation: Observation, step: Step, workers: int, fit: PoissonFitResult | None = None, *, always: bool
) -> tuple[PoissonFitResult, GoodnessOfFit, GateVerdict | None]:
    """Whether smooth templates, and the networks' model, explain the map; the model only if `always`, or at no cost.

    The Poisson `fit` is made if it is not at hand, of templates without their log-fields.
    """
    with step("Judge the Poisson fit"):
        fit = fit or PoissonFit(without_log_fields(run.model).for_observation(observation), observation).run()
        goodness = goodness_of_fit(fit, seed=run.settings.seed)
    if not always and stored_gate(run) is None:
        return fit, goodness, None
    with step("Ask whether the model could have produced the map"):
        return fit, goodness, judge(run, observation, workers)

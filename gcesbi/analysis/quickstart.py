"""The parts of a quickstart: a run with its map, the answers of every method about it, and what speaks against them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from gcesbi.analysis.fit import fit_nptf, fit_poisson
from gcesbi.analysis.gate import judge, stored_gate
from gcesbi.analysis.infer import infer
from gcesbi.analysis.neural_posteriors import infer_neural_posteriors
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings
from gcesbi.analysis.simulate import mock_observation
from gcesbi.baselines import GoodnessOfFit, PoissonFitResult, goodness_of_fit
from gcesbi.posterior import PartialPosterior, Posterior
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.sky import Observation
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["FILES", "PRIORS", "REPORT", "answers", "begin", "check_free", "priors_of", "question"]

REPORT = "report.html"
"""The page, written last."""

Step = Callable[..., AbstractContextManager[None]]
"""Around each step by its name, as to tell its time; ``own_bar=True`` where the step shows its own progress."""

_POISSON, _LITERATURE, _MODEL, _NETWORKS = "Poisson fit", "NPTF, literature priors", "NPTF, model's priors", "networks"
FILES = {_POISSON: "poisson", _LITERATURE: "nptf", _MODEL: "nptf-model-priors", _NETWORKS: "networks"}
"""Names of files by method; those of others are the methods' own."""
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
) -> tuple[dict[str, Posterior], PoissonFitResult]:
    """Posteriors of all methods by name, and the Poisson fit itself; the NPTF with the model's priors is one."""
    model, settings = run.model, run.settings
    with step("Infer"):
        networks = infer(run, observation)
    with step("Fit Poisson templates"):
        fit, poisson = fit_poisson(model, observation)
    posteriors: dict[str, Posterior] = {_POISSON: poisson}
    for name, priors in ((_LITERATURE, "literature"), (_MODEL, "model")):
        if priors in ("model", settings.nptf.priors):
            with step(f"Fit the {name}", own_bar=True):
                chosen = settings.nptf.model_copy(update={"priors": priors})
                checkpoint = run.folder / f"{FILES[name]}.checkpoint.h5"
                posteriors[name] = fit_nptf(model, observation, chosen, settings.seed, progress, checkpoint)
    return posteriors | {_NETWORKS: networks} | infer_neural_posteriors(run, observation), fit


def question(
    run: Run, observation: Observation, fit: PoissonFitResult, step: Step, workers: int, always: bool
) -> tuple[GoodnessOfFit, GateVerdict | None]:
    """Whether smooth templates, and the networks' model, explain the map; the model only if `always`, or at no cost."""
    with step("Judge the Poisson fit"):
        goodness = goodness_of_fit(fit, seed=run.settings.seed)
    if not always and stored_gate(run) is None:
        return goodness, None
    with step("Ask whether the model could have produced the map"):
        return goodness, judge(run, observation, workers)

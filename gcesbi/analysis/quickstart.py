"""The parts of a quickstart: a run with its map, and the answers of every method about it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from gcesbi.analysis.fit import fit_nptf, fit_poisson
from gcesbi.analysis.infer import infer
from gcesbi.analysis.neural_posteriors import infer_neural_posteriors
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings
from gcesbi.analysis.simulate import mock_observation
from gcesbi.baselines import NptfPosterior, PoissonFitResult
from gcesbi.posterior import Posterior
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.sky import Observation

__all__ = ["REPORT", "answers", "begin", "check_free"]

REPORT = "report.html"
"""The page, written last."""

Step = Callable[..., AbstractContextManager[None]]
"""Around each step by its name, as to tell its time; ``own_bar=True`` where the step shows its own progress."""


def begin(
    folder: str | Path, settings: RunSettings, observation: Observation | None, overwrite: bool, step: Step
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
            observation, truth = mock_observation(run)
    return run, run.observe(observation), truth


def check_free(folder: str | Path, *, overwrite: bool = False) -> None:
    """Raise InputError unless a quickstart may begin in a folder, or go on: a run is there that has no report yet."""
    if overwrite or not Run.exists(folder) or (Path(folder) / REPORT).is_file():
        Run.check_free(folder, overwrite=overwrite)


def answers(
    run: Run, observation: Observation, step: Step, progress: bool = False
) -> tuple[dict[str, Posterior], PoissonFitResult, NptfPosterior]:
    """Posteriors of all methods by name, and what the two likelihoods tell beside them."""
    model, settings = run.model, run.settings
    with step("Infer"):
        networks = infer(run, observation)
    with step("Fit Poisson templates"):
        fit, poisson = fit_poisson(model, observation)
    with step("Fit the NPTF", own_bar=True):
        nptf = fit_nptf(model, observation, settings.nptf, settings.seed, progress, run.nptf_checkpoint)
    posteriors: dict[str, Posterior] = {
        "Poisson fit": poisson,
        "NPTF": nptf,
        "networks": networks,
    }
    shipped = Run.shipped(model)
    if shipped is not None:
        with step("Ask the networks that ship with the package"):
            posteriors["pretrained"] = infer(shipped, observation)
    return posteriors | infer_neural_posteriors(run, observation), fit, nptf

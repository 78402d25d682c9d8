"""The whole job in one call: sky, map, simulations, networks, fits, table, report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from gcesbi.analysis import evaluate as evaluate_step
from gcesbi.analysis import fit as fit_step
from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.neural_posteriors import infer_neural_posteriors
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings
from gcesbi.baselines import NptfPosterior, PoissonFit, PoissonFitResult
from gcesbi.cli.console import Timer, print_problems, print_table
from gcesbi.errors import InputError
from gcesbi.posterior import Posterior
from gcesbi.report import sections as pages
from gcesbi.report.html import write_report
from gcesbi.report.quickstart import QuickstartResult
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.sky import Observation

__all__ = ["quickstart"]


def quickstart(
    folder: str | Path,
    settings: RunSettings,
    observation: Observation | None = None,
    *,
    workers: int = 2,
    overwrite: bool = False,
    progress: bool = True,
    console: Console | None = None,
) -> Run:
    """Do everything for one map, a mock drawn from the model if none is given, and write a run folder.

    Parameters
    ----------
    folder : path
    settings : RunSettings
    observation : Observation, optional
        Must fit the model of ``settings.sky``.
    workers : int
        Threads that simulate.
    overwrite : bool
        Replace a run folder that exists.
    progress : bool
        Show progress bars.

    Raises
    ------
    InputError
        If the folder exists, several devices are asked for, or the observation does not fit the model; nothing is
        written then.
    """
    if settings.training.devices > 1:
        raise InputError(
            f"training.devices: must be 1 in the quickstart, which every device would start anew, got "
            f"{settings.training.devices}; use gcesbi simulate, train and infer"
        )
    timer = Timer(console or Console(), bar=progress)
    run, observation, truth = _begin(folder, settings, observation, overwrite, timer)
    with timer.step("Simulate maps", own_bar=True):
        simulate_step.simulate(run, workers, progress, backend="threads")  # a short job, with the model at hand
    with timer.step("Train the networks", own_bar=True):
        histories = train_step.train(run, progress)
    with timer.step("Judge them on held-out maps"):
        evaluation = evaluate_step.evaluate(run)
    posteriors, fit, nptf = _answers(run, observation, timer, progress)
    plain = settings.model_dump(mode="json")
    result = QuickstartResult(run.model, plain, observation, truth, posteriors, fit, nptf, evaluation, histories)
    with timer.step("Write the report"):
        _write(run, result, timer)
    print_table(timer.console, result.table)
    print_problems(timer.console, nptf)
    timer.console.print(pages.calibration_verdict(evaluation))
    timer.console.print(f"Report: {run.folder / 'report.html'}")
    return run


def _begin(
    folder: str | Path, settings: RunSettings, observation: Observation | None, overwrite: bool, timer: Timer
) -> tuple[Run, Observation, Simulations | None]:
    """A run folder with its observation, and the labels of that if it is drawn."""
    Run.check_free(folder, overwrite=overwrite)
    with timer.step("Build the sky model"):
        model = SkyModel.build(settings.sky_of_maps)
        if observation is not None:
            model = model.for_observation(observation)
    run = Run.create(folder, settings, model, overwrite=overwrite)
    truth: Simulations | None = None
    if observation is None:
        with timer.step("Draw a mock observation"):
            observation, truth = simulate_step.mock_observation(run)
    run.write_observation(observation)
    return run, observation, truth


def _answers(
    run: Run, observation: Observation, timer: Timer, progress: bool
) -> tuple[dict[str, Posterior], PoissonFitResult, NptfPosterior]:
    """Posteriors of all methods by name, and what the two likelihoods tell beside them."""
    model, settings = run.model, run.settings
    with timer.step("Infer"):
        networks = infer_step.infer(run, observation)
    with timer.step("Fit Poisson templates"):
        fit = PoissonFit(model, observation).run()
    with timer.step("Fit the NPTF", own_bar=True):
        nptf = fit_step.fit_nptf(model, observation, settings.nptf, settings.seed, progress)
    posteriors: dict[str, Posterior] = {"Poisson fit": fit.posterior(), "NPTF": nptf, "networks": networks}
    shipped = Run.shipped(model)
    if shipped is not None:
        with timer.step("Ask the networks that ship with the package"):
            posteriors["pretrained"] = infer_step.infer(shipped, observation)
    return posteriors | infer_neural_posteriors(run, observation), fit, nptf


def _write(run: Run, result: QuickstartResult, timer: Timer) -> None:
    """Posteriors, numbers and page into the run's folder."""
    for name, posterior in result.posteriors.items():
        run.write_posterior(name.removesuffix(" fit").lower(), posterior)
    results = result.results(timer.seconds)
    run.write_json("results.json", results)
    write_report(run.folder / "report.html", result.report(timer.seconds, results))

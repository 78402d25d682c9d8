"""The whole job in one call: sky, map, simulations, networks, fits, table, report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from gcesbi.analysis import evaluate as evaluate_step
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.quickstart import REPORT, answers, begin
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings
from gcesbi.cli.console import Terminal, Timer, print_problems, print_table
from gcesbi.errors import InputError
from gcesbi.report.calibration import calibration_verdict
from gcesbi.report.html import write_report
from gcesbi.report.quickstart import QuickstartResult
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

    A job that was stopped goes on where it was.

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
        If the folder holds a run that is finished, or another one, several devices are asked for, or the observation
        does not fit the model; nothing is written then.
    """
    if settings.training.devices > 1:
        raise InputError(
            f"training.devices: must be 1 in the quickstart, which every device would start anew, got "
            f"{settings.training.devices}; use gcesbi simulate, train and infer"
        )
    timer = Timer(console or Terminal(), bar=progress)
    run, observation, truth = begin(folder, settings, observation, overwrite, timer.step)
    with run.writing():
        with timer.step("Simulate maps", own_bar=True):
            simulate_step.simulate(run, workers, progress, backend="threads")  # a short job, with the model at hand
        with timer.step("Train the networks", own_bar=True):
            histories = train_step.train(run, progress)
        with timer.step("Judge them on held-out maps"):
            evaluation = evaluate_step.evaluate(run)
        posteriors, fit, nptf = answers(run, observation, timer.step, progress)
        plain = run.read_json("run.json")["settings"]
        result = QuickstartResult(run.model, plain, observation, truth, posteriors, fit, nptf, evaluation, histories)
        print_table(timer.console, result.table)
        print_problems(timer.console, nptf)
        timer.console.print(calibration_verdict(evaluation))
        with timer.step("Write the report"):
            _write(run, result, timer)
    timer.console.print(f"Report: {run.folder / REPORT}")
    return run


def _write(run: Run, result: QuickstartResult, timer: Timer) -> None:
    """Posteriors, numbers and page into the run's folder."""
    for name, posterior in result.posteriors.items():
        run.write_posterior(name.removesuffix(" fit").lower(), posterior)
    results = result.results(timer.seconds)
    run.write_json("results.json", results)
    run.nptf_checkpoint.unlink(missing_ok=True)
    write_report(run.folder / REPORT, result.report(timer.seconds, results))

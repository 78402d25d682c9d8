"""The whole job in one call: sky, map, simulations, networks, fits, table, report."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from gcesbi.analysis.findings import find
from gcesbi.analysis.quickstart import FILES, REPORT, begin, priors_of, remove_checkpoints
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import RunSettings
from gcesbi.baselines import NptfPosterior
from gcesbi.cli.console import Terminal, Timer, print_problems, print_table, tell_refusal
from gcesbi.cli.infer import REFUSED
from gcesbi.errors import InputError
from gcesbi.report.explained import Explained
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
    draw: str = "typical",
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
    draw : "typical" or "prior"
        How a mock map is drawn: see :func:`gcesbi.analysis.simulate.mock_observation`.

    Raises
    ------
    InputError
        If the folder holds a run that is finished, or another one, several devices are asked for, or the observation
        does not fit the model; nothing is written then.
    typer.Exit
        With status 3, after all is written, if the model could not have produced the observation.
    """
    if settings.training.devices > 1:
        raise InputError(
            f"training.devices: must be 1 in the quickstart, which every device would start anew, got "
            f"{settings.training.devices}; use gcesbi simulate, train and infer"
        )
    timer = Timer(console or Terminal(), bar=progress)
    run, seen, truth = begin(folder, settings, observation, overwrite, timer.step, draw)
    with run.writing():
        found = find(run, seen, timer.step, observed=observation is not None, workers=workers, progress=progress)
        explained = Explained(seen, *(found.pop(name) for name in ("fit", "goodness", "gate", "predicted")))
        plain = run.read_json("run.json")["settings"]
        result = QuickstartResult(
            model=run.model,
            settings=plain,
            labels=truth,
            priors=priors_of(found["posteriors"]),
            explained=explained,
            **found,
        )
        _tell(timer.console, result)
        with timer.step("Write the report"):
            _write(run, result, timer)
    timer.console.print(f"Report: {run.folder / REPORT}")
    if result.explained.refused:
        raise typer.Exit(REFUSED)
    return run


def _tell(console: Console, result: QuickstartResult) -> None:
    """What was found, on the terminal: a refusal before all else."""
    tell_refusal(console, result.explained.refused)
    print_table(console, result.table)
    for name, posterior in result.posteriors.items():
        if isinstance(posterior, NptfPosterior):
            print_problems(console, posterior, name)
    console.print(result.verdict, highlight=False)


def _write(run: Run, result: QuickstartResult, timer: Timer) -> None:
    """Posteriors, numbers and page into the run's folder."""
    for name, posterior in result.posteriors.items():
        file = FILES.get(name, name.lower().replace(", ", "-").replace(" ", "-"))
        run.write_posterior(file, posterior, refused=result.explained.refused)
    results = result.results(timer.seconds)
    run.write_json("results.json", results)
    remove_checkpoints(run)
    write_report(run.folder / REPORT, result.page(timer.seconds, results))

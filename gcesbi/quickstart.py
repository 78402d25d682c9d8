"""The whole job in one call: sky, map, simulations, networks, fits, table, report."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
from rich.console import Console

from gcesbi import pages, steps
from gcesbi.baselines import PoissonFit
from gcesbi.comparison import comparison_table
from gcesbi.console import Timer, print_problems, print_table
from gcesbi.errors import InputError
from gcesbi.neural_posterior_steps import infer_neural_posteriors
from gcesbi.posterior import QUANTITIES, Posterior
from gcesbi.report import Report, Section, TableBlock, write_report
from gcesbi.run import Run
from gcesbi.settings import RunSettings
from gcesbi.simulation import Simulations
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
    console = console or Console()
    timer = Timer(console, bar=progress)
    Run.check_free(folder, overwrite=overwrite)
    with timer.step("Build the sky model"):
        model = settings.sky.build()
        if observation is not None:
            model = model.for_observation(observation)
    run = Run.create(folder, settings, model, overwrite=overwrite)
    truth: Simulations | None = None
    if observation is None:
        with timer.step("Draw a mock observation"):
            observation, truth = steps.mock_observation(run)
    run.write_observation(observation)
    with timer.step("Simulate maps", own_bar=True):
        steps.simulate(run, workers, progress, backend="threads")  # a short job, with the model at hand
    with timer.step("Train the networks", own_bar=True):
        histories = steps.train(run, progress)
    with timer.step("Judge them on held-out maps"):
        evaluation = steps.evaluate(run)
    with timer.step("Infer"):
        networks = steps.infer(run, observation)
    with timer.step("Fit Poisson templates"):
        fit = PoissonFit(model, observation).run()
    with timer.step("Fit the NPTF", own_bar=True):
        nptf = steps.fit_nptf(model, observation, settings.nptf, settings.seed, progress)
    posteriors: dict[str, Posterior] = {"Poisson fit": fit.posterior(), "NPTF": nptf, "networks": networks}
    shipped = Run.shipped(model)
    if shipped is not None:
        with timer.step("Ask the networks that ship with the package"):
            posteriors["pretrained"] = steps.infer(shipped, observation)
    posteriors |= infer_neural_posteriors(run, observation)
    table = comparison_table(posteriors, model.bins, truth)
    others = {name: each for name, each in posteriors.items() if name != "networks"}
    with timer.step("Write the report"):
        for name, posterior in posteriors.items():
            run.write_posterior(name.removesuffix(" fit").lower(), posterior)
        results = {
            "version": version("gcesbi"),
            "model": model.fingerprint,
            "settings": settings.model_dump(mode="json"),
            "table": {"columns": table.columns, "rows": table.rows},
            "posteriors": {name: _summary(p, model.names, model.point_sources) for name, p in posteriors.items()},
            "truth": None if truth is None else _truth(truth),
            "poisson_fit": {
                "norms": fit.spectrum.tolist(),
                "log_likelihood": fit.log_likelihood,
                "test_statistic": {name: fit.test_statistic(name) for name in model.point_sources},
            },
            "nptf": {"converged": nptf.converged, "problems": list(nptf.convergence.problems)},
            "evaluation": evaluation.to_dict(),
            "seconds": timer.seconds,
        }
        run.write_json("results.json", results)
        report = Report(
            title="What makes the Galactic Centre excess?",
            subtitle=_subtitle(settings, truth),
            verdict=f"{_finding(posteriors)} {pages.calibration_verdict(evaluation)}",
            mood=pages.calibration_mood(evaluation),
            summary=table,
            sections=(
                pages.sky_section(observation, fit),
                pages.spectra_section(model, posteriors, truth),
                pages.source_count_section(model, networks, others, truth),
                pages.calibration_section(evaluation),
                pages.training_section(histories),
                _how(settings, timer, nptf.convergence.problems, model.fingerprint),
            ),
            data=results,
        )
        write_report(run.folder / "report.html", report)
    print_table(console, table)
    print_problems(console, nptf)
    console.print(pages.calibration_verdict(evaluation))
    console.print(f"Report: {run.folder / 'report.html'}")
    return run


def _finding(posteriors: dict[str, Posterior]) -> str:
    networks = posteriors["networks"]
    row = networks.coordinates.template.index("gce")
    low, median, high = 100 * networks.quantiles("flux_fraction", [0.16, 0.5, 0.84])[:, row]
    return f"The excess makes {median:.1f} % ({low:.1f} to {high:.1f}) of the flux, by the networks."


def _summary(
    posterior: Posterior, templates: tuple[str, ...], sources: tuple[str, ...]
) -> dict[str, dict[str, dict[str, object]]]:
    """Median and 68 % interval of every named quantity, by template."""
    by_axis = {"template": templates, "point_source": sources}
    return {
        name: {
            label: {key: np.asarray(values[key])[i].tolist() for key in ("low", "median", "high")}
            for i, label in enumerate(by_axis[QUANTITIES[name].axes[0]])
        }
        for name, values in posterior.summary().items()
        if name in QUANTITIES and QUANTITIES[name].axes
    }


def _truth(truth: Simulations) -> dict[str, object]:
    return {
        "flux": truth.flux[0].tolist(),
        "flux_fractions": truth.flux_fractions[0].tolist(),
        "scd": truth.scd[0].tolist(),
        "n_sources": truth.n_sources[0].tolist(),
        "theta": truth.theta[0].tolist(),
    }


def _subtitle(settings: RunSettings, truth: Simulations | None) -> str:
    sky = settings.sky
    what = "mock map drawn from the model" if truth is not None else "observed map"
    return f"{what}, {sky.kind} sky, nside {sky.nside}, seed {settings.seed}"


def _how(settings: RunSettings, timer: Timer, problems: tuple[str, ...], fingerprint: str) -> Section:
    rows = tuple((name, f"{seconds:.1f} s") for name, seconds in timer.seconds.items())
    flat = tuple(
        (f"{section}.{key}" if isinstance(value, dict) else section, str(item))
        for section, value in settings.model_dump(mode="json").items()
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

"""The command line's group ``gcesbi validate``: reports on trust.

``gcesbi validate RUN`` is short for ``gcesbi validate run RUN``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from gcesbi.errors import InputError

if TYPE_CHECKING:
    from gcesbi.analysis.run import Run
    from gcesbi.cli.console import Timer
    from gcesbi.report.html import Report
    from gcesbi.sky import Observation

__all__ = ["validate_app"]


class _RunByDefault(TyperGroup):
    """Takes the first word for a run folder where it is no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = [*self.commands, "-h", "--help"]
        return super().parse_args(ctx, args if not args or args[0] in named else ["run", *args])


validate_app = typer.Typer(
    cls=_RunByDefault,
    help="Judge a trained run: are its error bars true, and does it notice a map that is not of its model?",
    epilog="Example: gcesbi validate runs/a",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunFolder = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Workers = Annotated[int, typer.Option(help="Threads that simulate.", min=1)]
Map = Annotated[Path | None, typer.Option("--observation", help="Data folder or HEALPix FITS file.")]
Mask = Annotated[str, typer.Option(help="Source mask of a data folder: 3fgl, 4fgl or none.")]


@validate_app.command("run", epilog="Example: gcesbi validate runs/a")
def validate_run(
    run: RunFolder,
    observation: Map = None,
    mask: Mask = "3fgl",
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Judge a run's networks on its held-out maps and write validation.html and validation.json.

    With an observation, the run's own if it has one, the gate is asked about it too.
    """
    from gcesbi.analysis import misspecification as mismodel_steps
    from gcesbi.analysis import neural_posteriors as neural_posterior_steps
    from gcesbi.analysis.evaluate import evaluate
    from gcesbi.analysis.train import training_histories
    from gcesbi.report import sections as pages
    from gcesbi.report import validation as validation_pages
    from gcesbi.report.html import Report

    opened, timer = _open(run, quiet)
    seen = _seen(opened, observation, mask)
    with timer.step("Judge the networks on held-out maps"):
        evaluation = evaluate(opened)
        neural = neural_posterior_steps.evaluate_neural_posteriors(opened)
    gate = None
    if seen is not None:
        with timer.step("Ask the gate about the observation"):
            gate = mismodel_steps.judge(opened, seen, workers)
    verdict = pages.calibration_verdict(evaluation) + ("" if gate is None else f" {gate}")
    asked = () if gate is None else (validation_pages.gate_section(gate),)
    compared = (validation_pages.neural_posterior_section(neural),) if neural else ()
    details = evaluation.details
    data = {
        **evaluation.to_dict(),
        "details": None if details is None else details.to_dict(),
        "gate": None if gate is None else gate.to_dict(),
        "neural_posteriors": {name: each.to_dict() for name, each in neural.items()},
    }
    opened.write_json("validation.json", data)
    report = Report(
        title="Are the error bars true?",
        subtitle=str(opened.folder),
        verdict=verdict,
        mood="bad" if gate is not None and not gate.accepted else pages.calibration_mood(evaluation),
        summary=validation_pages.four_questions(evaluation, gate),
        sections=(
            *asked,
            pages.calibration_section(evaluation),
            validation_pages.sharpness_section(evaluation),
            validation_pages.bins_section(opened.model, evaluation),
            validation_pages.groups_section(evaluation),
            *compared,
            validation_pages.recalibration_section(evaluation),
            pages.training_section(training_histories(opened)),
        ),
        data=data,
    )
    _write(opened, "validation.html", report, timer)


@validate_app.command("gate", epilog="Example: gcesbi validate gate runs/a --observation data/fermi-573w")
def gate(
    run: RunFolder,
    observation: Map = None,
    mask: Mask = "3fgl",
    n: Annotated[int, typer.Option(help="Fresh maps of the model to calibrate on.", min=1200)] = 3072,
    false_alarm: Annotated[float, typer.Option(help="Share of the model's own maps that are turned away.")] = 0.01,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Calibrate the gate anew, and ask it whether the model could have produced an observation."""
    from gcesbi.analysis import misspecification as mismodel_steps

    opened, timer = _open(run, quiet)
    seen = _seen(opened, observation, mask)
    with timer.step("Calibrate the gate", own_bar=True):
        found = mismodel_steps.calibrate_gate(opened, n, false_alarm, workers, progress=not quiet)
    Console().print(f"gate: {opened.folder / 'gate.npz'}")
    if seen is not None:
        verdict = found.verdict(seen.counts)
        opened.write_json("gate.json", verdict.to_dict())
        Console().print(str(verdict))


@validate_app.command("mismodel", epilog="Example: gcesbi validate mismodel runs/a --n 512")
def mismodel(
    run: RunFolder,
    observation: Map = None,
    mask: Mask = "3fgl",
    n: Annotated[int, typer.Option(help="Maps of each sky.", min=100)] = 512,
    twin: Annotated[
        Path | None, typer.Option(help="A run of the same sky, as with network.energy=summed, on the same maps.")
    ] = None,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Judge a run on maps of other skies: interstellar models, a thick disk, an NFW of slope 1.

    With an observation, the run's own if it has one, every template of the maps is as bright as on it; the gate is
    asked about it too.
    """
    from gcesbi.analysis import misspecification as mismodel_steps
    from gcesbi.report import misspecification as mismodel_pages
    from gcesbi.report.html import Report

    opened, timer = _open(run, quiet)
    seen = _seen(opened, observation, mask)
    second = None if twin is None else _open(twin, quiet=True)[0]
    with timer.step("Judge the networks on other skies", own_bar=True):
        found = mismodel_steps.mismodel(
            opened, n_maps=n, observation=seen, twin=second, workers=workers, progress=not quiet
        )
    opened.write_json("mismodel.json", found.to_dict())
    others = {name: area for name, area in found.area.items() if name != "nominal"}
    blind = [name for name, area in others.items() if area.low < 0.6]
    worst = max(
        (report.dispersion.value, sky, report.name)
        for sky, evaluation in found.evaluations.items()
        for report in evaluation.reports
    )
    noticed = "The gate notices every one of them." if not blind else f"The gate hardly notices: {', '.join(blind)}."
    report = Report(
        title="What if the sky is another?",
        subtitle=str(opened.folder),
        verdict=f"{len(others)} other skies. Worst error bars, {worst[2]} on {worst[1]}: errors are {worst[0]:.2f} "
        f"times as large as claimed. {noticed}" + ("" if found.verdict is None else f" {found.verdict}"),
        mood="caution" if blind else "neutral",
        sections=mismodel_pages.mismodel_sections(found),
        data=found.to_dict(),
    )
    _write(opened, "mismodel.html", report, timer)


@validate_app.command("inject", epilog="Example: gcesbi validate inject runs/a --observation data/fermi-573w")
def inject(
    run: RunFolder,
    observation: Map = None,
    mask: Mask = "3fgl",
    flux: Annotated[
        list[float] | None, typer.Option(help="Flux to inject, photons / cm² / s; four by default. Repeatable.")
    ] = None,
    template: Annotated[str, typer.Option(help="Where the sources lie.")] = "gce",
    xi: Annotated[float, typer.Option(help="Location of the skew normal dN/dlog F, log₁₀ of flux.")] = -10.0,
    omega2: Annotated[float, typer.Option(help="Its squared width.", min=0.0)] = 0.1,
    skew: Annotated[float, typer.Option(help="Its skewness.")] = 0.0,
    repeat: Annotated[int, typer.Option(help="Populations for each flux.", min=1)] = 5,
    nptf: Annotated[
        int, typer.Option(help="Populations of each flux that the NPTF is fitted to: about a minute each.", min=0)
    ] = 0,
    nptf_live: Annotated[int, typer.Option(help="Live points of those fits.", min=20)] = 100,
    poisson_maps: Annotated[int, typer.Option(help="Maps of an exactly Poisson sky.", min=1)] = 100,
    quiet: Quiet = False,
) -> None:
    """Add populations of known flux to an observation, the run's own if none is given, and recover them."""
    from gcesbi.analysis import injection as injection_steps
    from gcesbi.report import misspecification as mismodel_pages
    from gcesbi.report.html import Report

    opened, timer = _open(run, quiet)
    seen = _seen(opened, observation, mask)
    if seen is None:
        raise InputError("observation: the run has none of its own that fits its model; give --observation")
    grid = flux or [1e-8, 3e-8, 1e-7, 2e-7]
    sampled = {"sampler": "nested", "n_live": nptf_live, "n_eff": 2 * nptf_live}
    with timer.step("Inject and recover"):
        found = injection_steps.inject(
            opened,
            seen,
            grid,
            template=template,
            xi=xi,
            omega2=omega2,
            a=skew,
            n_repeat=repeat,
            n_nptf=nptf,
            nptf=opened.settings.nptf.model_copy(update=sampled),
        )
    with timer.step("Reconstruct an exactly Poisson sky"):
        smooth = injection_steps.poisson_excess(opened, seen, poisson_maps)
    data = {**found.to_dict(), "poisson_excess": smooth.tolist()}
    opened.write_json("injection.json", data)
    told = "; ".join(f"{name} {found.slope(name)}" for name in found.recovered)
    report = Report(
        title="Is an injected population found?",
        subtitle=str(opened.folder),
        verdict=f"Flux recovered per flux injected: {told}.",
        sections=(mismodel_pages.injection_section(opened.model, found, smooth),),
        data=data,
    )
    _write(opened, "injection.html", report, timer)


@validate_app.command("compare", epilog="Example: gcesbi validate compare runs/resolved runs/summed")
def compare(
    run: RunFolder,
    other: Annotated[Path, typer.Argument(help="Another trained run of the same sky.", show_default=False)],
    quiet: Quiet = False,
) -> None:
    """Two runs' networks on the same maps: which is calibrated, which is sharper, and how alike their errors are."""
    from gcesbi.analysis import misspecification as mismodel_steps
    from gcesbi.report import misspecification as mismodel_pages
    from gcesbi.report.html import Report

    opened, timer = _open(run, quiet)
    second, _ = _open(other, quiet=True)
    names = (run.name, other.name) if run.name != other.name else (str(run), str(other))
    with timer.step("Compare the networks"):
        found = mismodel_steps.compare_runs(opened, second, names)
    data = {name: each.to_dict() for name, each in found.items()}
    opened.write_json("comparison.json", data)
    better = [sum(each.better == name for each in found.values()) for name in names]
    report = Report(
        title="Which networks are better?",
        subtitle=" and ".join(names),
        verdict=f"Of {len(found)} quantities {names[0]} has the better score in {better[0]}, "
        f"{names[1]} in {better[1]}.",
        sections=mismodel_pages.comparison_sections(found),
        data=data,
    )
    _write(opened, "comparison.html", report, timer)


def _open(folder: Path, quiet: bool) -> tuple[Run, Timer]:
    from gcesbi.analysis.run import Run
    from gcesbi.cli.console import Timer

    opened, timer = Run.open(folder), Timer(Console(), bar=not quiet)
    with timer.step("Build the sky model"):
        opened.model  # noqa: B018 - built here, kept by the run
    return opened, timer


def _seen(run: Run, path: Path | None, mask: str) -> Observation | None:
    """The map at `path`; else the run's own, if it has one of its model's region."""
    from gcesbi.io import read_observation

    sky = run.settings.sky_of_maps
    if path is not None:
        chosen = None if mask == "none" or not path.is_dir() else mask
        observation = read_observation(path, sky.radius, sky.band, chosen, nside=sky.nside)
        if run.model.for_observation(observation) is not run.model:
            raise InputError(
                f"observation: must have the {run.model.region.n_pix} pixels of the run's model, has "
                f"{observation.region.n_pix} (mask, radius and band must be the model's)"
            )
        return observation
    if not (run.folder / "observation.fits").is_file():
        return None
    own = run.observation()
    return own if own.counts.shape == run.model.exposure.shape else None


def _write(run: Run, name: str, report: Report, timer: Timer) -> None:
    from gcesbi.report.html import write_report

    with timer.step("Write the report"):
        path = write_report(run.folder / name, report)
    Console().print(report.verdict)
    Console().print(f"report: {path}")

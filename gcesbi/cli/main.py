"""The command line: thin wrappers of :mod:`gcesbi.analysis` and :mod:`gcesbi.cli.quickstart`.

Bad input ends with exit status 2 and one line on standard error; so does an option that click itself refuses.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from gcesbi.cli.images import images_app
from gcesbi.cli.validate import validate_app
from gcesbi.errors import InputError

if TYPE_CHECKING:
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.settings import RunSettings
    from gcesbi.cli.console import Timer
    from gcesbi.posterior import Posterior
    from gcesbi.sky import Observation

__all__ = ["app", "main"]

app = typer.Typer(
    help="Is the Galactic Centre's gamma-ray excess dark matter or a crowd of faint point sources?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Fit(StrEnum):
    """Classical likelihoods."""

    poisson = "poisson"
    nptf = "nptf"


class Draw(StrEnum):
    """Who draws maps; see :mod:`gcesbi.simulation.parallel`."""

    threads = "threads"
    loky = "loky"
    dask = "dask"


Preset = Annotated[str, typer.Option(help="test, quick, default, paper, or a TOML file of your own.")]
Set = Annotated[list[str], typer.Option("--set", help="Change a setting: section.key=value. Repeatable.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random; the preset's if not given.")]
Workers = Annotated[int, typer.Option(help="Threads that simulate.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run folder that exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bars.")]
Map = Annotated[
    Path | None, typer.Option("--observation", help="Data folder or HEALPix FITS file; a mock if not given.")
]
Diffuse = Annotated[str | None, typer.Option(help="Interstellar model of a data folder: O, A, F or p6v11.")]
Mask = Annotated[str, typer.Option(help="Source mask of a data folder: 3fgl, 4fgl or none.")]
RunFolder = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]

_CORES = os.cpu_count() or 1
PRETRAINED = Path("runs/pretrained")
"""Where `infer --pretrained` puts its run unless told otherwise."""


def _print_version(wanted: bool) -> None:
    if wanted:
        Console().print(version("gcesbi"), highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: gcesbi quickstart --out runs/mine --seed 3")
def quickstart(
    out: Annotated[Path, typer.Option(help="Run folder to make.")] = Path("runs/quickstart"),
    observation: Map = None,
    diffuse: Diffuse = None,
    mask: Mask = "3fgl",
    preset: Preset = "quick",
    set_: Set = [],  # noqa: B006 - typer's way
    seed: Seed = None,
    workers: Workers = _CORES,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Do everything: sky, map, simulations, networks, Poisson fit, NPTF, table and report."""
    from gcesbi.analysis.run import Run
    from gcesbi.cli.quickstart import quickstart as job

    Run.check_free(out, overwrite=overwrite)
    settings, seen = _settings_and_map(preset, set_, seed, observation, diffuse, mask)
    job(out, settings, seen, workers=workers, overwrite=overwrite, progress=not quiet)


@app.command(epilog="Example: gcesbi simulate --preset default --n 100000 --out runs/a --workers 2")
def simulate(
    out: Annotated[Path, typer.Option(help="Run folder; a simulation that was interrupted there goes on.")],
    n: Annotated[int | None, typer.Option(help="Training maps, in place of the preset's number.")] = None,
    observation: Annotated[Path | None, typer.Option(help="Data folder whose sky is simulated.")] = None,
    diffuse: Diffuse = None,
    mask: Mask = "3fgl",
    preset: Preset = "quick",
    set_: Set = [],  # noqa: B006
    seed: Seed = None,
    workers: Annotated[int, typer.Option(help="Processes (or threads) that simulate.")] = _CORES,
    backend: Annotated[
        Draw | None, typer.Option(help="Who draws; dask if a scheduler is given, else loky.", show_default=False)
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler, tcp://...; its workers must see the run folder.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Check all shards; draw damaged ones again.")] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw maps and their labels into a run folder."""
    from gcesbi.analysis import simulate as simulate_step
    from gcesbi.analysis.run import Run

    changes = [*set_, *([] if n is None else [f"simulation.n_train={n}"])]
    settings, _ = _settings_and_map(preset, changes, seed, observation, diffuse, mask)
    made = (out / "run.json").is_file() and not overwrite
    with nullcontext() if made else _timer(quiet).step("Build the sky model"):
        run = Run.begin(out, settings, overwrite=overwrite)
    chosen = (backend or (Draw.loky if scheduler is None else Draw.dask)).value
    repaired = simulate_step.simulate(
        run, workers, progress=not quiet, backend=chosen, scheduler=scheduler, repair=repair
    )
    if repair:
        Console().print(f"repaired: {', '.join(repaired) or 'nothing was damaged'}")
    Console().print(f"{len(run.store)} maps in {run.store.url}")


@app.command(epilog="Example: gcesbi train runs/a")
def train(
    run: RunFolder,
    only: Annotated[
        list[str] | None, typer.Option(help="Train this network alone: spectra, source_counts, ... Repeatable.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train networks on the maps of a run, or on fresh ones; goes on from a checkpoint where there is one."""
    from gcesbi.analysis import train as train_step
    from gcesbi.analysis.run import Run
    from gcesbi.cli.console import Timer
    from gcesbi.estimators.training.devices import is_main_process

    opened = Run.open(run)
    console = Console(quiet=opened.settings.training.devices > 1 and not is_main_process())
    with Timer(console, bar=not quiet).step("Build the sky model"):
        opened.model  # noqa: B018 - built here, kept by the run
    histories = train_step.train(opened, progress=not quiet, only=only or None)
    for name, history in histories.items():
        console.print(f"{name}: {history.maps} maps presented, {history.maps_per_second:.0f} a second")


@app.command("poisson-fraction", epilog="Example: gcesbi poisson-fraction runs/a --workers 2")
def poisson_fraction(
    run: RunFolder,
    n: Annotated[int, typer.Option(help="Maps of known Poisson share to draw.", min=128)] = 16_384,
    workers: Workers = _CORES,
    quiet: Quiet = False,
) -> None:
    """Train the network that says how much of the excess may be Poisson emission; `infer` then asks it too."""
    from gcesbi.analysis.poisson_fraction import train_poisson_fraction
    from gcesbi.analysis.run import Run

    opened = Run.open(run)
    with _timer(quiet).step("Build the sky model"):
        opened.model  # noqa: B018
    history = train_poisson_fraction(opened, n, workers, progress=not quiet)
    Console().print(
        f"poisson_fraction: {history.n_train} median SCDs; on {history.n_validation} others {history.coverage_90:.1%} "
        f"inside the 90 % interval, {history.below_95:.1%} below the 95 % limit"
    )


@app.command(epilog="Example: gcesbi infer runs/a --observation data/fermi-573w")
def infer(
    run: Annotated[
        Path | None, typer.Argument(help="Run folder; with --pretrained it may be new.", show_default=False)
    ] = None,
    observation: Map = None,
    mask: Mask = "3fgl",
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Ask the networks that ship with the package; needs no training.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Take a map of another exposure too.")] = False,
    quiet: Quiet = False,
) -> None:
    """Ask trained networks about a map (the run's own if none is given), print tables and store the posterior.

    The gate says whether the networks' model could have produced the map; it is calibrated at the first call.
    """
    from gcesbi.analysis import infer as infer_step
    from gcesbi.analysis import misspecification as mismodel_steps
    from gcesbi.analysis import neural_posteriors as neural_posterior_steps
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.simulate import mock_observation
    from gcesbi.cli.console import print_table
    from gcesbi.estimators import PoissonFractionPosterior
    from gcesbi.report.tables import comparison_table, posterior_figures, spectra_table

    opened = Run.pretrained(run or PRETRAINED) if pretrained else Run.open(_given(run))
    with _timer(quiet).step("Build the sky model"):
        opened.model  # noqa: B018
    if pretrained and observation is None and not opened.has_observation:
        opened.write_observation(mock_observation(opened)[0])
    seen = _map_for(opened, observation, mask)
    with _timer(quiet).step("Infer"):
        posterior = infer_step.infer(opened, seen, force=force)
        opened.write_posterior("networks", posterior)
        opened.write_json("posteriors/networks.json", posterior_figures(posterior))
        compared = neural_posterior_steps.infer_neural_posteriors(opened, seen, force=force)
        for name, each in compared.items():
            opened.write_posterior(name.lower(), each)
            opened.write_json(f"posteriors/{name.lower()}.json", posterior_figures(each))
    print_table(Console(), comparison_table({"networks": posterior, **compared}, opened.model.bins))
    if opened.model.n_energy > 1:
        print_table(Console(), spectra_table(posterior), "E² dN/dE [GeV / cm² / s]")
    for part in posterior.parts:
        if isinstance(part, PoissonFractionPosterior):
            Console().print(part.statement())
    with _timer(quiet).step("Ask the gate whether it is a map of the model"):
        verdict = mismodel_steps.judge(opened, seen)
        opened.write_json("gate.json", verdict.to_dict())
    Console().print(str(verdict))


@app.command(epilog="Example: gcesbi export runs/default small/default")
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(help="Run folder to make.", show_default=False)],
    workers: Workers = _CORES,
    quiet: Quiet = False,
) -> None:
    """Write a trained run without its maps, networks in half precision, to ship or to share; `infer` takes it."""
    from gcesbi.analysis.export import export as write
    from gcesbi.analysis.run import Run

    opened = Run.open(run)
    Run.check_free(out)
    with _timer(quiet).step("Build the sky model"):
        opened.model  # noqa: B018
    write(opened, out, workers, progress=not quiet)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    Console().print(f"{size / 1e6:.1f} MB in {out}")


@app.command(epilog="Example: gcesbi fit poisson --observation data/fermi-573w --diffuse O --out runs/fit")
def fit(
    method: Annotated[Fit, typer.Argument(help="Likelihood to fit.")],
    out: Annotated[Path, typer.Option(help="Run folder: made if new, else its own map is fitted.")],
    observation: Map = None,
    diffuse: Diffuse = None,
    mask: Mask = "3fgl",
    preset: Preset = "quick",
    set_: Set = [],  # noqa: B006
    seed: Seed = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fit the Poisson templates or the NPTF to a map, print a table and store the posterior.

    An NPTF that was killed goes on where it was; --set nptf.sampler, nptf.priors and nptf.max_seconds choose how.
    """
    from gcesbi.analysis.fit import fit_nptf
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.simulate import mock_observation
    from gcesbi.cli.console import print_problems, print_table
    from gcesbi.report.tables import comparison_table

    if (out / "run.json").is_file() and not overwrite:
        run = Run.open(out)
        seen = _map_for(run, observation, mask)
    else:
        Run.check_free(out, overwrite=overwrite)
        settings, given = _settings_and_map(preset, set_, seed, observation, diffuse, mask)
        from gcesbi.simulation import SkyModel

        with _timer(quiet).step("Build the sky model"):
            model = SkyModel.build(settings.sky_of_maps)
        run = Run.create(out, settings, model if given is None else model.for_observation(given), overwrite=overwrite)
        seen = given if given is not None else mock_observation(run)[0]
        run.write_observation(seen)
    posterior: Posterior
    if method is Fit.poisson:
        posterior = _fit_poisson(run, seen)
    else:
        checkpoint = run.folder / "nptf.checkpoint.h5"
        posterior = fit_nptf(run.model, seen, run.settings.nptf, run.settings.seed, not quiet, checkpoint)
        print_problems(Console(), posterior)
    run.write_posterior(method.value, posterior)
    print_table(Console(), comparison_table({posterior.method: posterior}, run.model.bins))


app.add_typer(validate_app, name="validate")
app.add_typer(images_app, name="images")


def _fit_poisson(run: Run, seen: Observation) -> Posterior:
    """Fit, say what it finds and what speaks against it, and write ``poisson.json`` and ``poisson.html``."""
    from gcesbi.baselines import PoissonFit, goodness_of_fit
    from gcesbi.cli.console import print_table
    from gcesbi.report.html import write_report
    from gcesbi.report.poisson import deviant_table, goodness_lines, norm_table, poisson_figures, poisson_report

    result = PoissonFit(run.model.for_observation(seen), seen).run()
    judged = goodness_of_fit(result, seed=run.settings.seed)
    again = judged.refit() if judged.deviant else None
    Console().print(f"ln L = {result.log_likelihood:.6f}, KKT residual {result.kkt_residual:.1e}")
    print_table(Console(), norm_table(result), "Poisson fit")
    Console().print(goodness_lines(judged, again), highlight=False)
    if judged.deviant:
        print_table(Console(), deviant_table(judged), "Deviant pixels")
    figures = poisson_figures(result, judged, again)
    run.write_json("poisson.json", figures)
    write_report(run.folder / "poisson.html", poisson_report(result, judged, again, figures))
    return result.posterior()


def _timer(quiet: bool) -> Timer:
    from gcesbi.cli.console import Timer

    return Timer(Console(), bar=not quiet)


def _settings_and_map(
    preset: str, changes: list[str], seed: int | None, path: Path | None, diffuse: str | None, mask: str
) -> tuple[RunSettings, Observation | None]:
    """Settings, and the map they are for: of the folder's own sky if `path` is a data folder."""
    from gcesbi.analysis.settings import load_settings
    from gcesbi.io import read_observation

    if path is None:
        if diffuse is not None:
            raise InputError(f"diffuse: needs --observation with a data folder, got {diffuse!r} without")
        return load_settings(preset, changes, seed), None
    if not path.is_dir():
        settings = load_settings(preset, changes, seed)
        sky = settings.sky_of_maps
        return settings, read_observation(path, sky.radius, sky.band, nside=sky.nside)
    given: dict[str, Any] = {"kind": "folder", "path": str(path.resolve()), "mask": _mask(mask)}
    settings = load_settings(preset, changes, seed, given | {"diffuse": diffuse or "O"})
    return settings, _read_for(settings, path, mask)


def _read_for(settings: RunSettings, path: Path, mask: str) -> Observation:
    from gcesbi.io import read_observation

    sky = settings.sky_of_maps
    return read_observation(path, sky.radius, sky.band, _mask(mask) if path.is_dir() else None, nside=sky.nside)


def _given(run: Path | None) -> Path:
    if run is None:
        raise InputError("run: name a run folder, or give --pretrained")
    return run


def _map_for(run: Any, path: Path | None, mask: str) -> Observation:
    """The map at `path`, or the run's own."""
    return run.observation() if path is None else _read_for(run.settings, path, mask)


def _mask(mask: str) -> str | None:
    if mask not in ("3fgl", "4fgl", "none"):
        raise InputError(f"mask: must be 3fgl, 4fgl or none, got {mask!r}")
    return None if mask == "none" else mask


def main() -> None:
    """Run the command line; bad input is one line and exit status 2, a training that diverged one line and status 1."""
    try:
        app()
    except (InputError, ArithmeticError) as error:
        sys.stderr.write(f"gcesbi: error: {' '.join(str(error).split())}\n")
        sys.exit(2 if isinstance(error, InputError) else 1)

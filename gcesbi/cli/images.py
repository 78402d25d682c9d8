"""The command line's group ``gcesbi images``: how much of the excess is sources, read off pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gcesbi.cli import refusals
from gcesbi.cli.console import Terminal, print_table
from gcesbi.cli.options import (
    REFUSED,
    Draw,
    Out,
    Overwrite,
    Quiet,
    Repair,
    RunFolder,
    RunToAsk,
    Scheduler,
    Seed,
    Set,
    claim,
    draw_maps,
    image_for,
    run_to_ask,
    timer,
)
from gcesbi.cli.process import CORES

if TYPE_CHECKING:
    from gcesbi.analysis.settings import RunSettings

__all__ = ["images_app"]

images_app = typer.Typer(
    help="Images of the Galactic Centre and networks that read the share of sources off them.",
    epilog="Example: gcesbi images simulate --out runs/i && gcesbi images train runs/i && gcesbi images infer runs/i",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--observation",
        help="Folder of real images, or its name: ccube_NN.fits, psf_NN.fits.",
        callback=refusals.known("observation"),
    ),
]


@images_app.command(
    epilog="Example: gcesbi images simulate --out runs/i --set 'sky.catalogue=\"catalogs/gll_psc_v16.fit.gz\"'"
)
def simulate(
    out: Out,
    observation: Folder = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit the observation first: images then have the slope, flux and norms found.")
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            help="images (by default), images-4gev, images-paper, images-test, or a TOML file of your own; "
            "else what a run has.",
            callback=refusals.preset,
        ),
    ] = None,
    set_: Set = [],  # noqa: B006 - typer's way
    seed: Seed = None,
    workers: Annotated[int, typer.Option(help="Threads or processes that simulate.", min=1)] = CORES,
    backend: Annotated[
        Draw | None, typer.Option(help="Who draws; dask if a scheduler is given, else threads.", show_default=False)
    ] = None,
    scheduler: Scheduler = None,
    repair: Repair = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Draw images of every interstellar model into a run folder.

    With an observation they have its pixels, energy bins, exposure and point-spread function; with --fit also the slope
    and brightness of its excess and the norms of its background, of every ring of gas, as found beside each model.
    """
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.settings import IMAGES, load_settings
    from gcesbi.analysis.simulate import check_room

    made = Run.exists(out) and not overwrite
    base = preset or (Run.open(out).settings if made else "images")
    settings = load_settings(base, set_, seed, images=observation, kind=IMAGES)
    if fit:
        settings = _fitted(settings, quiet, Run.open(out).settings if made else None)
    run = Run.begin(out, settings, overwrite=overwrite, check=check_room)
    claim(run)
    draw_maps(run, workers, quiet, (backend or (Draw.threads if scheduler is None else Draw.dask)), scheduler, repair)
    sets = run.images
    n = sum(sum(sets.n_images(free).values()) for free in (False, True))
    Terminal().print(f"{n} images of {len(sets.training)} training and {len(sets.testing)} testing models in {out}")
    for note in sets.notes:
        Terminal().print(f"- {note}", highlight=False)


@images_app.command(epilog="Example: gcesbi images train runs/i")
def train(
    run: RunFolder,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Train this network anew: full, left, right, top, bottom, quantiles or npe. Repeatable."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train the networks that a run lacks and judge them all; goes on from a checkpoint where there is one.

    The exit status is 3 if one of them is no better than a ridge regression on ring moments, or than the prior.
    """
    from gcesbi.analysis.evaluate import not_learnt
    from gcesbi.analysis.run import Run
    from gcesbi.report.images import evaluation_table

    opened = Run.open(run)
    claim(opened)
    for name, history in opened.train(only or None, progress=not quiet).items():
        Terminal().print(f"{name}: {history.maps} images presented, {history.maps_per_second:.0f} a second")
    missed = not_learnt(opened)
    _warn(missed)
    if (opened.folder / "evaluation.json").is_file():
        table = evaluation_table(opened.read_json("evaluation.json"))
        print_table(Terminal(), table, "f_src on images not learnt from")
    if missed:
        raise typer.Exit(REFUSED)


@images_app.command(epilog="Example: gcesbi images infer runs/gc --observation data/fermi-gc-4gev")
def infer(
    run: RunToAsk = None,
    observation: Folder = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="Ask the networks of the package; needs no training.", is_eager=True)
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Ask trained networks about an image, print a table, write ``inference.json`` and the page ``infer.html``.

    The image is that of the folder given, else of the run's own folder, else one drawn from the first testing model.
    The exit status is 3 if a network has learnt no more than a simple baseline, or no model produces such images.
    """
    from gcesbi.analysis.evaluate import held_out_images, not_learnt
    from gcesbi.analysis.infer_image import infer_image
    from gcesbi.analysis.run import Run
    from gcesbi.report.images import answer_table, image_report

    opened, steps = Run.open(run_to_ask(run, "images" if pretrained else None)), timer(quiet)
    claim(opened)
    with steps.step("Build the sky model"):
        opened.images.model(opened.images.training[0])
    seen = image_for(opened, observation)
    with steps.step("Infer"):
        answer = infer_image(opened, seen)
    missed = not_learnt(opened)
    _warn((*missed, *(() if answer.gate.accepted else (f"REFUSED: {answer.gate}",))))
    print_table(Terminal(), answer_table(answer), "How much of the excess is sources?")
    fewest, most = answer.photons_known
    Terminal().print(f"{answer.photons} photons (images held out: {fewest} to {most}), p-value {answer.p_value:.3g}")
    for caveat in answer.caveats[len(missed) :]:
        Terminal().print(f"- {caveat}", highlight=False)
    kept = opened.about(seen)
    kept.write_json("inference.json", answer.to_dict())
    if kept is not opened:
        Terminal().print(f"another image than the run's own, whose answer stays: kept in {kept.folder}")
    page = image_report(answer, seen, held_out_images(opened)[0], subtitle=str(kept.folder))
    Terminal().print(f"report: {page.write(kept.folder / 'infer.html')}")
    if missed or not answer.gate.accepted:
        raise typer.Exit(REFUSED)


def _fitted(settings: RunSettings, quiet: bool, made: RunSettings | None) -> RunSettings:
    """Give images what a fit of the settings' image finds, and say it; a run that is there keeps its fit."""
    from gcesbi.analysis.fitted_sky import fit_sky, fitted_settings, kept_fit
    from gcesbi.report.images import fitted_table

    if made is not None:
        return kept_fit(settings, made)
    with timer(quiet).step("Fit the image"):
        gamma, found = fit_sky(settings)
    print_table(Terminal(), fitted_table(found), f"The image, fitted; the images to simulate have γ = {gamma:.3f}")
    return fitted_settings(settings, gamma, found)


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        Terminal().print(sentence, style="bold red", highlight=False)


@images_app.command(epilog="Example: gcesbi images fit runs/i --images 10")
def fit(
    run: RunFolder,
    images: Annotated[int, typer.Option(help="Held-out images of each interstellar model to fit.", min=1)] = 20,
    quiet: Quiet = False,
) -> None:
    """Fit templates to held-out images and to the run's real image, if any: slope and cross-section of the excess.

    Writes ``template_fits.json``.
    """
    from gcesbi.analysis.fit import fit_images
    from gcesbi.analysis.run import Run
    from gcesbi.report.images import fits_table

    opened, steps = Run.open(run), timer(quiet)
    claim(opened)
    with steps.step("Fit templates"):
        fit_images(
            opened, images, told=lambda fits: print_table(Terminal(), fits_table(fits), "Excess in template fits")
        )


@images_app.command(
    epilog="Example: gcesbi images compose runs/i --out sky.toml && gcesbi simulate --sky sky.toml --out m"
)
def compose(
    run: RunFolder,
    out: Annotated[Path, typer.Option(help="TOML file of the sky; arrays are written beside it.")],
    interstellar: Annotated[
        str | None, typer.Option(help="Which interstellar model; the first that networks learn from by default.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """State a run's images as a composed sky, for all commands that take one by --sky."""
    from gcesbi.analysis.run import Run

    images = Run.open(run).images
    stated = images.composed(interstellar or images.training[0])
    stated.to_toml(out, overwrite=overwrite)
    Terminal().print(f"{stated!r} in {out}", highlight=False)

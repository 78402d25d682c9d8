"""The command line's group ``gcesbi validate``: reports on trust.

``gcesbi validate RUN`` is short for ``gcesbi validate run RUN``.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gcesbi.cli.console import Terminal
from gcesbi.cli.options import Mask, OtherRun, OwnMap, Quiet, RunFolder, Sky, Twin, map_of_model, opened, write_page
from gcesbi.errors import InputError

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

Workers = Annotated[int, typer.Option(help="Threads that simulate.", min=1)]


@validate_app.command("run", epilog="Example: gcesbi validate runs/a")
def validate_run(
    run: RunFolder,
    observation: OwnMap = None,
    mask: Mask = None,
    sky: Sky = None,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Judge a run's networks on its held-out maps and write validation.html and validation.json.

    With an observation, the run's own if it has one, the gate is asked about it too.
    """
    from gcesbi.analysis.evaluate import evaluate, unseen_answers
    from gcesbi.analysis.gate import judge
    from gcesbi.analysis.neural_posteriors import evaluate_neural_posteriors
    from gcesbi.analysis.train import training_histories
    from gcesbi.report.misspecification import unseen_report
    from gcesbi.report.validation import validation_report

    found, steps = opened(run, quiet, sky, images=True)
    if found.settings.of_images:
        if observation is not None:
            raise InputError("observation: is asked about by `gcesbi validate gate`, where the run is one on images")
        with steps.step("Judge the networks on images of models that they never saw"):
            judged = unseen_report(*unseen_answers(found))
        write_page(found, "validation", judged, steps)
        return
    seen = map_of_model(found, observation, mask)
    with steps.step("Judge the networks on held-out maps"):
        evaluation = evaluate(found)
        neural = evaluate_neural_posteriors(found)
    gate = None
    if seen is not None:
        with steps.step("Ask the gate about the observation"):
            gate = judge(found, seen, workers)
    page = validation_report(found.model, evaluation, gate, neural, training_histories(found), str(found.folder))
    write_page(found, "validation", page, steps)


@validate_app.command("gate", epilog="Example: gcesbi validate gate runs/a --observation data/fermi-573w")
def gate(
    run: RunFolder,
    observation: OwnMap = None,
    mask: Mask = None,
    n: Annotated[int, typer.Option(help="Fresh maps of the model to calibrate on.", min=1200, max=10**6)] = 3072,
    false_alarm: Annotated[float, typer.Option(help="Share of the model's own maps that are turned away.")] = 0.01,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Calibrate the gate anew, and ask it whether the model could have produced an observation."""
    from gcesbi.analysis.gate import fresh_gate, save_gate

    tried, steps = opened(run, quiet, images=True)
    seen = map_of_model(tried, observation, mask)
    with steps.step("Calibrate the gate", own_bar=True):
        found = fresh_gate(tried, n, false_alarm, workers, progress=not quiet)
    verdict = None if seen is None else found.verdict(seen.counts)
    if verdict is not None:
        Terminal().print(str(verdict))
    save_gate(tried, found)
    if verdict is not None:
        tried.write_json("gate.json", verdict.to_dict())
    Terminal().print(f"gate: {tried.folder / 'gate.npz'}")


@validate_app.command("mismodel", hidden=True)  # its name in version 0.1
@validate_app.command("misspecification", epilog="Example: gcesbi validate misspecification runs/a --n 512")
def misspecification(
    run: RunFolder,
    observation: OwnMap = None,
    mask: Mask = None,
    n: Annotated[int, typer.Option(help="Maps of each sky.", min=100, max=10**6)] = 512,
    twin: Twin = None,
    workers: Workers = 1,
    quiet: Quiet = False,
) -> None:
    """Judge a run on maps of other skies: the variations of the library's own, or those that a composed one states.

    With an observation, the run's own if it has one, every template of the maps is as bright as on it; the gate is
    asked about it too.
    """
    from gcesbi.analysis.misspecification import evaluate_misspecified
    from gcesbi.report.misspecification import misspecification_report

    tried, steps = opened(run, quiet)
    seen = map_of_model(tried, observation, mask)
    second = None if twin is None else opened(twin, quiet=True, writes=False)[0]
    with steps.step("Judge the networks on misspecified maps", own_bar=True):
        found = evaluate_misspecified(
            tried, n_maps=n, observation=seen, twin=second, workers=workers, progress=not quiet
        )
    write_page(tried, "misspecification", misspecification_report(found, str(tried.folder)), steps)


@validate_app.command("inject", epilog="Example: gcesbi validate inject runs/a --observation data/fermi-573w")
def inject(
    run: RunFolder,
    observation: OwnMap = None,
    mask: Mask = None,
    flux: Annotated[
        list[float] | None, typer.Option(help="Flux to inject, photons / cm² / s; four by default. Repeatable.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help="Where the sources lie; the sky's subject by default.", show_default=False)
    ] = None,
    xi: Annotated[float, typer.Option(help="Location of the skew normal dN/dlog F, log₁₀ of flux.")] = -10.0,
    omega2: Annotated[float, typer.Option(help="Its squared width.", min=0.0)] = 0.1,
    skew: Annotated[float, typer.Option(help="Its skewness.")] = 0.0,
    repeat: Annotated[int, typer.Option(help="Populations for each flux.", min=1, max=10**4)] = 5,
    nptf: Annotated[
        int, typer.Option(help="Populations of each flux that the NPTF is fitted to: about a minute each.", min=0)
    ] = 0,
    nptf_live: Annotated[int, typer.Option(help="Live points of those fits.", min=20, max=10**5)] = 100,
    poisson_maps: Annotated[int, typer.Option(help="Maps with an exactly Poisson excess.", min=1, max=10**6)] = 100,
    quiet: Quiet = False,
) -> None:
    """Add populations of known flux to an observation, the run's own if none is given, and recover them."""
    from gcesbi.analysis import injection as injection_steps
    from gcesbi.report.misspecification import injection_report

    tried, steps = opened(run, quiet)
    seen = map_of_model(tried, observation, mask)
    if seen is None:
        raise InputError("observation: the run has none of its own that fits its model; give --observation")
    grid = flux or [1e-8, 3e-8, 1e-7, 2e-7]
    sampled = {"sampler": "nested", "n_live": nptf_live, "n_eff": 2 * nptf_live}
    with steps.step("Inject and recover"):
        found = injection_steps.inject(
            tried,
            seen,
            grid,
            template=template,
            xi=xi,
            omega2=omega2,
            a=skew,
            n_repeat=repeat,
            n_nptf=nptf,
            nptf=tried.settings.nptf.model_copy(update=sampled),
        )
    with steps.step("Reconstruct an exactly Poisson excess"):
        smooth = injection_steps.poisson_excess(tried, seen, poisson_maps)
    write_page(tried, "injection", injection_report(tried.model, found, smooth, str(tried.folder)), steps)


@validate_app.command("compare", epilog="Example: gcesbi validate compare runs/resolved runs/summed")
def compare(
    run: RunFolder,
    other: OtherRun,
    quiet: Quiet = False,
) -> None:
    """Two runs' networks on the same maps: which is calibrated, which is sharper, and how alike their errors are."""
    from gcesbi.analysis.compare import compare_runs
    from gcesbi.report.misspecification import comparison_report

    first, steps = opened(run, quiet)
    second, _ = opened(other, quiet=True, writes=False)
    names = (run.name, other.name) if run.name != other.name else (str(run), str(other))
    with steps.step("Compare the networks"):
        found = compare_runs(first, second, names)
    write_page(first, "comparison", comparison_report(found, names), steps)

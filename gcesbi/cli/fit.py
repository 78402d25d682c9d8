"""The command that fits classical likelihoods."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from gcesbi.cli.console import Terminal, print_problems, print_table
from gcesbi.cli.options import (
    Diffuse,
    Fit,
    Map,
    Mask,
    MaskDeviant,
    Out,
    Overwrite,
    Preset,
    Quiet,
    Seed,
    Set,
    Sky,
    Stated,
    claim,
    image_for,
    settings_and_map,
    states_a_map,
    timer,
    without_deviant,
)
from gcesbi.errors import InputError

if TYPE_CHECKING:
    from gcesbi.analysis.run import Run
    from gcesbi.posterior import Posterior
    from gcesbi.simulation import SkyModel
    from gcesbi.sky import Observation

__all__ = ["fit"]


@states_a_map
def fit(
    method: Annotated[Fit, typer.Argument(help="Likelihood to fit.")],
    out: Out,
    observation: Map = None,
    diffuse: Diffuse = None,
    mask: Mask = None,
    told: Stated = Stated(),  # noqa: B008 - frozen
    sky: Sky = None,
    mask_deviant: MaskDeviant = False,
    preset: Preset = None,
    set_: Set = [],  # noqa: B006
    seed: Seed = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fit the Poisson templates or the NPTF to a map, print a table and store the posterior.

    A run that is there is fitted to its own map. An NPTF that was killed goes on where it was; --set nptf.energies,
    nptf.priors, nptf.sampler and nptf.max_seconds choose how.
    """
    from gcesbi.analysis.fit import fit_nptf
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.simulate import mock_observation
    from gcesbi.report.tables import methods_table

    made = Run.exists(out) and not overwrite
    run = Run.open(out) if made else None
    held = None if run is None else run.settings
    settings, given = settings_and_map(preset, set_, seed, observation, diffuse, mask, held, told, sky)
    if mask_deviant and given is None:
        raise InputError("mask_deviant: needs --observation")
    if run is None or mask_deviant:
        from gcesbi.simulation import SkyModel

        with timer(quiet).step("Build the sky model"):
            model = SkyModel.build(settings.sky_of_maps)
        if mask_deviant and given is not None:
            given = without_deviant(model, given, fill=False)
    if run is None:
        run = Run.create(out, settings, model if given is None else model.for_observation(given), overwrite=overwrite)
        claim(run)
    else:
        claim(run)
        run = Run.begin(out, settings)
    if given is None and run.settings.of_images:
        given = image_for(run, None)
    elif given is None and not run.has_observation and not (run.folder / "simulations").exists():
        given = mock_observation(run)[0]
    seen = run.observe(given)
    fitted = run.images.composed(run.images.training[0]) if run.settings.of_images else run.model
    posterior: Posterior
    if method is Fit.poisson:
        posterior, store = _fit_poisson(run, fitted, seen)
    else:
        posterior = fit_nptf(fitted, seen, run.settings.nptf, run.settings.seed, not quiet, run.nptf_checkpoint)
        print_problems(Terminal(), posterior)
        store = partial(run.nptf_checkpoint.unlink, missing_ok=True)
    print_table(Terminal(), methods_table(fitted, {posterior.method: posterior}))
    run.write_posterior(method.value, posterior)
    store()


def _fit_poisson(run: Run, model: SkyModel, seen: Observation) -> tuple[Posterior, Callable[[], None]]:
    """Fit, say what it finds and what speaks against it; comes back with what stores ``poisson.json`` and its page."""
    from gcesbi.analysis.fit import fit_poisson, judge_poisson
    from gcesbi.report.html import write_report
    from gcesbi.report.poisson import deviant_table, goodness_lines, norm_table, poisson_figures, poisson_report

    result, posterior = fit_poisson(model, seen)
    judged, again, untold = judge_poisson(result, run.settings.seed)
    Terminal().print(f"ln L = {result.log_likelihood:.6f}, KKT residual {result.kkt_residual:.1e}")
    print_table(Terminal(), norm_table(result), "Poisson fit")
    Terminal().print(goodness_lines(judged, again), highlight=False)
    if untold:
        Terminal().print(untold, highlight=False)
    if judged.deviant:
        print_table(Terminal(), deviant_table(judged), "Deviant pixels")
    figures = poisson_figures(result, judged, again)

    def store() -> None:
        run.write_json("poisson.json", figures)
        write_report(run.folder / "poisson.html", poisson_report(result, judged, again, figures))

    return posterior, store

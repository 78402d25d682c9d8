"""Fit likelihoods: the NPTF to a map, templates to the images of a run, one interstellar model after another."""

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.sections import NptfSettings
from gcesbi.baselines import (
    NPTF,
    GoodnessOfFit,
    NptfPosterior,
    PoissonFit,
    PoissonFitResult,
    SamplingWarning,
    goodness_of_fit,
)
from gcesbi.baselines.poisson.halo_slope import GAMMAS, SlopeFit, fit_slope, halos_of_model
from gcesbi.errors import InputError
from gcesbi.evaluation.profiled_shapes import poisson_posterior
from gcesbi.evaluation.template_fits import TemplateFits
from gcesbi.posterior import Posterior
from gcesbi.simulation import SkyModel
from gcesbi.sky import Observation

__all__ = ["N_IMAGE", "TEMPLATE_FITS", "fit_images", "fit_nptf", "fit_poisson", "judge_poisson", "read_template_fits"]

TEMPLATE_FITS = "template_fits.json"
N_IMAGE = 20
"""Images of each interstellar model that are fitted."""


def fit_poisson(model: SkyModel, observation: Observation) -> tuple[PoissonFitResult, Posterior]:
    """Fit Poisson templates at the observation's exposure; the posterior answers shapes of floating ones by name."""
    result = PoissonFit(model.for_observation(observation), observation).run()
    return result, poisson_posterior(result, model)


def judge_poisson(result: PoissonFitResult, seed: int = 0) -> tuple[GoodnessOfFit, PoissonFitResult | None, str]:
    """What speaks against a fit, the fit without the pixels that deviate, and why there is none where some do."""
    judged = goodness_of_fit(result, seed=seed)
    try:
        return judged, judged.refit() if judged.deviant else None, ""
    except InputError as error:  # too few pixels are left
        return judged, None, f"no fit without them: {error}"


def fit_nptf(
    model: SkyModel,
    observation: Observation,
    settings: NptfSettings,
    seed: int = 0,
    progress: bool = False,
    checkpoint: Path | None = None,
    point_sources: tuple[str, ...] | None = None,
) -> NptfPosterior:
    """Sample the NPTF's posterior; ``posterior.convergence.problems`` says what speaks against it: tell it.

    A fit that was killed goes on from `checkpoint`, which the caller removes once the posterior is stored. Templates
    shine through sources as `point_sources` say, by default all that may.
    """
    seen = model.for_observation(observation)
    fit = NPTF(seen, observation, settings.prior(), point_sources, energies=settings.energies)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return fit.run(
            settings.sampling(fit.target.n_dim),
            seed=seed,
            max_seconds=settings.max_seconds or math.inf,
            checkpoint=checkpoint,
            progress=progress,
        )


def fit_images(
    run: RunFolder,
    n_image: int = N_IMAGE,
    gammas: tuple[float, ...] = GAMMAS,
    *,
    told: Callable[[TemplateFits], object] | None = None,
) -> TemplateFits:
    """Fit held-out images of a run, and its real image if it has one, and store the fits in its folder.

    Parameters
    ----------
    run : RunFolder
        With simulated images.
    n_image : int
        Of each interstellar model; fewer if fewer are held out.
    gammas : tuple of float
        Slopes, as for :func:`gcesbi.baselines.poisson.halo_slope.fit_slope`.
    told : callable, optional
        Is given the fits before they are stored.
    """
    if n_image < 1:
        raise InputError(f"n_image: must be at least 1, got {n_image}")
    images = run.images
    held = {name: images.validation(name) for name in images.training}
    held |= {name: images.test(name) for name in images.testing}
    background = {name: images.model(name).background_templates for name in held}
    halos, reference = halos_of_model(images.model(next(iter(held))))  # of the others too, but for the cross-section

    def fit(image: NDArray[np.integer], name: str) -> SlopeFit:
        return fit_slope(image, background[name], halos, reference, gammas)

    own = {name: tuple(fit(image, name) for image in each.counts[:n_image]) for name, each in held.items()}
    drawn_from = images.testing[0]
    other = {name: fit(held[drawn_from].counts[0], name) for name in held}
    real = run.settings.observation.read()
    observed = {} if real is None else {name: fit(real.counts, name) for name in held}
    fits = TemplateFits({name: each.theta[:n_image] for name, each in held.items()}, own, drawn_from, other, observed)
    if told is not None:
        told(fits)
    run.write_json(TEMPLATE_FITS, fits.to_dict())
    return fits


def read_template_fits(folder: str | Path) -> TemplateFits:
    """The fits that a run's folder holds.

    Raises
    ------
    InputError
        If it holds none, or they are damaged.
    """
    path = Path(folder) / TEMPLATE_FITS
    if not path.is_file():
        raise InputError(f"run: {str(folder)!r} holds no {TEMPLATE_FITS}; its images are not fitted yet")
    try:
        return TemplateFits.from_dict(json.loads(path.read_bytes()))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"run: {path} is damaged ({type(error).__name__}: {error})") from None

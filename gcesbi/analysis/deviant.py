"""A map without the pixels that no smooth template explains, such as the tails of a source which the mask missed."""

from dataclasses import replace

import numpy as np

from gcesbi.baselines import DeviantPixel, PoissonFit, PoissonFitResult
from gcesbi.baselines.poisson.goodness_of_fit import deviant_pixels
from gcesbi.simulation import SkyModel
from gcesbi.simulation.components import Smooth
from gcesbi.sky import Observation

__all__ = ["fill_deviant", "mask_deviant", "without_log_fields"]


def mask_deviant(model: SkyModel, observation: Observation) -> tuple[Observation, tuple[DeviantPixel, ...]]:
    """The map less its deviant pixels, for fits, and which they are.

    Parameters
    ----------
    model : SkyModel
        Of which a Poisson fit says what is expected; log-fields are left out of it.
    observation : Observation

    Returns
    -------
    Observation, tuple of DeviantPixel
        Pixels whose counts are improbable, at 5 % after trials: :func:`gcesbi.baselines.deviant_pixels`.
    """
    deviant, _ = _found(model, observation)
    kept = ~np.isin(observation.region.pixels, [each.pixel for each in deviant])
    return observation.cut(observation.region.only(kept)), deviant


def fill_deviant(model: SkyModel, observation: Observation) -> tuple[Observation, tuple[DeviantPixel, ...]]:
    """The map with what a fit of all other pixels expects in its deviant ones, rounded, and which they are.

    For networks, which know one set of pixels. Arguments as for :func:`mask_deviant`.
    """
    deviant, result = _found(model, observation)
    if not deviant:
        return observation, deviant
    at = np.isin(observation.region.pixels, [each.pixel for each in deviant])
    norms = result.without([each.pixel for each in deviant]).norms
    expected = np.einsum("te,tep->ep", norms.reshape(result.templates.shape[:2]), result.templates)
    return replace(observation, counts=np.where(at, np.rint(expected), observation.counts)), deviant


def _found(model: SkyModel, observation: Observation) -> tuple[tuple[DeviantPixel, ...], PoissonFitResult]:
    plain = without_log_fields(model).for_observation(observation)
    result = PoissonFit(plain, observation).run()
    return deviant_pixels(result), result


def without_log_fields(model: SkyModel) -> SkyModel:
    """The same sky, of which a fit is quick."""
    if not model.modulated:
        return model
    sky = model.composition
    for each in sky.components:
        if isinstance(each, Smooth):
            sky = sky.change(each.name, nuisances=())
    return SkyModel.build(sky, model.maps)

"""From a fit to simulated images: slope, brightness and background of the real image, for networks to learn from.

The real image is fitted with every interstellar model of the settings (:mod:`gcesbi.baselines.poisson.halo_slope`). The
slope is that found beside the model that fits best, or the sky's own where that profile has no maximum. At this slope
every model is fitted again, each part of the background with one norm - rings of gas and inverse Compton scattering of
a built-in model, a cube as a whole - the isotropic emission known beforehand to :data:`ISOTROPIC`. Images of a model
then have the norms and the flux of the excess that were found beside it, as in Caron et al. (2018, arXiv:1708.06706),
whose <σv> is fitted anew beside each.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.image_sets import ImageSets
from gcesbi.analysis.sections import FittedSettings
from gcesbi.analysis.settings import RunSettings
from gcesbi.baselines.poisson.halo_slope import GAMMAS, fit_norms, fit_slope, halos_of_images
from gcesbi.errors import InputError
from gcesbi.evaluation.template_fits import FittedModel
from gcesbi.simulation.image_compose import background_parts
from gcesbi.sky import Observation
from gcesbi.sky.image import ImageRegion

__all__ = ["fit_sky", "fitted_settings"]

ISOTROPIC = 0.3
"""Standard deviation of what is known beforehand of the isotropic norm, about 1."""
_BESIDE = 0.05  # what the joint posterior's range of slopes has at least on either side of the fitted one


def fit_sky(
    settings: RunSettings, seen: Observation | None = None, gammas: tuple[float, ...] = GAMMAS
) -> tuple[float, dict[str, FittedModel]]:
    """The slope, and what is found beside every interstellar model of the settings.

    Parameters
    ----------
    settings : RunSettings
        Of a sky of images.
    seen : Observation, optional
        An image; by default the real one that the settings name.
    gammas : tuple of float
        Slopes of the first profile.

    Raises
    ------
    InputError
        If there is no image, or a fit finds no excess.
    """
    seen = seen or settings.observation.read()
    if seen is None:
        raise InputError("fit: needs a real image, --observation FOLDER")
    images = ImageSets.of(settings)
    sky, region = images.sky, ImageRegion.of(seen.region)
    halos, reference = halos_of_images(seen, sky.halo)
    names = (*images.training, *images.testing)
    parts = {name: background_parts(images.sky_of(name), seen) for name in names}
    slopes = {
        name: fit_slope(seen.counts, np.stack(list(each.values())), halos, reference, gammas)
        for name, each in parts.items()
    }
    best = max(slopes, key=lambda name: slopes[name].log_likelihood)
    gamma = sky.gamma[0] if slopes[best].at_edge else slopes[best].gamma
    halo, excess = halos(np.array([gamma]))[0], sky.halo(gamma)
    own = float(excess.flux_in(region, seen.energy_edges).sum())
    found = {}
    for name, each in parts.items():
        *norms, brightness = _norms(seen.counts, each, halo).tolist()
        if not brightness > 0:
            raise InputError(f"fit: finds no excess beside {name}; state its brightness, sky.flux")
        background = dict(zip(each, norms, strict=True))
        found[name] = FittedModel(slopes[name], background, brightness * excess.cross_section, brightness * own)
    return gamma, found


def _norms(
    counts: NDArray[np.integer], parts: dict[str, NDArray[np.float64]], halo: NDArray[np.float64]
) -> NDArray[np.float64]:
    width = np.array([ISOTROPIC if name == "iso" else np.inf for name in (*parts, "excess")])
    return fit_norms(counts, np.stack([*parts.values(), halo]), width)


def fitted_settings(settings: RunSettings, gamma: float, found: dict[str, FittedModel]) -> RunSettings:
    """Settings whose images have the fitted slope, and by interstellar model the fitted norms and flux."""
    images = ImageSets.of(settings)
    seen = settings.observation.read()
    ratio = 1.0 if seen is None else images.sky.flux_ratio(seen.energy_edges)
    fitted = {name: FittedSettings(flux=each.flux / ratio, norms=each.norms) for name, each in found.items()}
    low, high = settings.joint.gamma
    around = min(low, gamma - _BESIDE), max(high, gamma + _BESIDE)
    sky = images.sky.model_copy(update={"gamma": (gamma, gamma), "flux": None, "cross_section": None})
    return settings.model_copy(
        update={
            "sky": sky,
            "joint": settings.joint.model_copy(update={"gamma": around}),
            "interstellar": settings.interstellar.model_copy(update={"fitted": fitted}),
        }
    )

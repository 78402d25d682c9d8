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
from gcesbi.simulation.image_settings import ImageSky
from gcesbi.sky import Observation
from gcesbi.sky.image import ImageRegion

__all__ = ["check_free", "fit_sky", "fitted_settings", "kept_fit"]

ISOTROPIC = 0.3
"""Standard deviation of what is known beforehand of the isotropic norm, about 1."""
_BESIDE = 0.05  # what the joint posterior's range of slopes has at least on either side of the fitted one


def check_free(settings: RunSettings) -> None:
    """Refuse settings that state what a fit finds, or images that could not have what it finds.

    Raises
    ------
    InputError
        Names the setting.
    """
    sky, chosen = settings.sky_of_images, settings.interstellar
    if sky.gamma[0] != sky.gamma[1]:
        raise InputError(f"sky.gamma: must be one slope beside a fit, got {sky.gamma[0]:g} to {sky.gamma[1]:g}")
    stated = {f"sky.{name}": getattr(sky, name) for name in ("flux", "cross_section", "norms")}
    stated |= {f"interstellar.{name}": getattr(chosen, name) for name in ("mix", "fitted")}
    stated |= {"sky.normalisation": None if sky.normalisation == "flux" else sky.normalisation}
    for name, value in stated.items():
        if value:
            raise InputError(f"{name}: must not be stated beside a fit, which gives every model its own, got {value!r}")


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
        If there is no image, the settings state what is to be found, or a fit finds no excess.
    """
    check_free(settings)
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
    sky = images.sky.model_copy(update={"gamma": (gamma, gamma)})
    return _with_fit(settings, sky, fitted)


def kept_fit(settings: RunSettings, made: RunSettings) -> RunSettings:
    """Settings with the fit of a run that was made from them, for going on with it.

    Raises
    ------
    InputError
        If that run's images are not those of a fit, or the settings state what a fit finds.
    """
    if not made.interstellar.fitted:
        raise InputError("fit: the images that are there were drawn without one; take another folder, or --overwrite")
    if settings.interstellar.fitted != made.interstellar.fitted:  # else they are the run's own
        check_free(settings)
    sky = settings.sky_of_images.model_copy(update={"gamma": made.sky_of_images.gamma})
    return _with_fit(settings, sky, made.interstellar.fitted)


def _with_fit(settings: RunSettings, sky: ImageSky, fitted: dict[str, FittedSettings]) -> RunSettings:
    (low, high), gamma = settings.joint.gamma, sky.gamma[0]
    around = min(low, gamma - _BESIDE), max(high, gamma + _BESIDE)
    return settings.model_copy(
        update={
            "sky": sky,
            "joint": settings.joint.model_copy(update={"gamma": around}),
            "interstellar": settings.interstellar.model_copy(update={"fitted": fitted}),
        }
    )

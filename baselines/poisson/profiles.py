r"""Poisson fits as a function of the shape of one template: a slope, a scale height, a choice of model.

One template is replaced by a member of a family, all norms are fitted, and ln L is followed over the family's
parameter: the profile likelihood of the shape. Where it is continuous, a cubic spline through ln L gives the best value
and, where ln L has dropped by ½, its 68 % interval. For the inner slope γ of the NFW profile, by interstellar model:
Daylan et al. (2014, arXiv:1402.6703), Caron et al. (2018, arXiv:1708.06706), List et al. (2025, arXiv:2507.17804).

Counts scatter more than Poisson about any sum of smooth templates on real maps (point sources, diffuse models that are
wrong): the statistical error of a shape is then smaller than the spread between interstellar models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from gcesbi.baselines.poisson.fit import PoissonFit, PoissonFitResult
from gcesbi.baselines.poisson.priors import Fixed, UserTemplate
from gcesbi.errors import InputError
from gcesbi.physics.smoothing import smooth
from gcesbi.physics.templates import NFW, Disk
from gcesbi.simulation.components import unit_mean
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.physics.templates import Template
    from gcesbi.simulation.model import SkyModel

__all__ = [
    "DIFFUSE_MODELS",
    "GAMMAS",
    "ShapeProfile",
    "TemplateComparison",
    "compare_templates",
    "disk_family",
    "nfw_family",
    "shape_profile",
    "slope_by_diffuse_model",
    "template_counts",
]

GAMMAS = (0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.35, 1.4, 1.45)
"""Slopes at which profiles are taken unless others are asked for."""
DIFFUSE_MODELS = ("O", "A", "F", "p6v11")
"""Interstellar models of the data folder."""

Array = NDArray[np.float64]
Family = Callable[[float], Array]
"""From a parameter to expected counts (n_energy, n_pix) in the region of a model, for norm 1."""


def template_counts(model: SkyModel, shape: Template, smoothed: bool) -> Array:
    """Expected counts (n_energy, n_pix) of a shape on the sky in the region of a model, for norm 1.

    Parameters
    ----------
    model : SkyModel
    shape : Template
    smoothed : bool
        Whether to apply the PSF of every energy bin: the built-in sky's templates have it; the data folder's NFW and
        disk maps have not.
    """
    patch = model.patch
    intensity = shape.map(patch.nside, patch.pixels)
    seen = [smooth(intensity, patch, psf)[0] if smoothed else intensity for psf in model.psf]
    return unit_mean(np.stack(seen) * model.patch_exposure, patch)[:, model.inside]


def nfw_family(model: SkyModel, smoothed: bool) -> Family:
    """NFW² templates by their inner slope γ; `smoothed` as for :func:`template_counts`."""
    return lambda gamma: template_counts(model, NFW(gamma=gamma), smoothed)


def disk_family(model: SkyModel, smoothed: bool) -> Family:
    """Double-exponential disks by their scale height z_s, kpc; `smoothed` as for :func:`template_counts`."""
    return lambda z_s: template_counts(model, Disk(z_s=z_s), smoothed)


@dataclass(frozen=True, eq=False)
class ShapeProfile:
    """Fits along a family of templates.

    Attributes
    ----------
    template : str
        Which was replaced.
    values : array (n,)
        Of the parameter, ascending.
    log_likelihood : array (n,)
        With ln k!, all norms fitted.
    test_statistic : array (n,)
        2 Δ ln L without the template.
    norm, norm_error : array (n, n_energy)
        Of the template.
    """

    template: str
    values: Array
    log_likelihood: Array
    test_statistic: Array
    norm: Array
    norm_error: Array

    @property
    def delta_test_statistic(self) -> Array:
        """2 (ln L - largest ln L among the values), (n,)."""
        return _below_best(self.log_likelihood)

    @property
    def _spline(self) -> CubicSpline:
        return CubicSpline(self.values, self.log_likelihood - self.log_likelihood.max())

    @property
    def best(self) -> float:
        """Value of the largest ln L, between the outermost values."""
        stationary = self._spline.derivative().roots(extrapolate=False)
        candidates = np.concatenate([self.values[[0, -1]], stationary[np.isfinite(stationary)]])
        return float(candidates[np.argmax(self._spline(candidates))])

    @property
    def at_edge(self) -> bool:
        """Whether the best value is one of the outermost: the true one may lie beyond."""
        return self.best in (self.values[0], self.values[-1])

    @property
    def largest_log_likelihood(self) -> float:
        """The log-likelihood at the best value."""
        return float(self._spline(self.best) + self.log_likelihood.max())

    @property
    def interval(self) -> tuple[float, float]:
        """Where ln L has dropped by ½ on either side of the best value; NaN where it has not."""
        best, spline = self.best, self._spline
        crossings = spline.solve(float(spline(best)) - 0.5, extrapolate=False)
        below, above = crossings[crossings < best], crossings[crossings > best]
        return float(below[-1]) if below.size else np.nan, float(above[0]) if above.size else np.nan

    @property
    def error(self) -> float:
        """Half the length of the interval; NaN where a side does not end."""
        low, high = self.interval
        return 0.5 * (high - low)


def shape_profile(
    model: SkyModel, observation: Observation, template: str, family: Family, values: ArrayLike
) -> ShapeProfile:
    """Fit with one template replaced by the members of a family.

    Parameters
    ----------
    model : SkyModel
        Cut to the observation (``model.for_observation(observation)``): the family is of its region.
    observation : Observation
    template : str
        Of the model; its own map is left out.
    family : callable
        From a parameter to expected counts (n_energy, n_pix) for norm 1, as :func:`nfw_family`.
    values : array (n,)
        Ascending, four at least.
    """
    where = np.asarray(values, dtype=np.float64)
    if where.ndim != 1 or where.size < 4 or np.any(np.diff(where) <= 0):
        raise InputError(f"values: must be at least four, ascending, got {np.asarray(values).tolist()}")
    results = [_replaced(model, observation, template, family(float(value))) for value in where]
    return ShapeProfile(template, where, *_columns(results))


def _below_best(log_likelihood: Array) -> Array:
    """2 (ln L - largest ln L), (n,)."""
    return 2 * (log_likelihood - log_likelihood.max())


def _columns(results: list[PoissonFitResult]) -> tuple[Array, Array, Array, Array]:
    """Log-likelihood and TS (n,), norm and error of the replaced template (n, n_energy)."""
    statistic = np.array([result.test_statistics[-1].sum() for result in results])
    errors = np.array([np.sqrt(result.covariances[:, -1, -1]) for result in results])
    norms = np.array([result.spectrum[-1] for result in results])
    return np.array([result.log_likelihood for result in results]), statistic, norms, errors


def _replaced(model: SkyModel, observation: Observation, template: str, counts: Array) -> PoissonFitResult:
    """Fit with `counts` in place of a template."""
    new = UserTemplate(f"{template} (replaced)", counts)
    return PoissonFit(model, observation, {template: Fixed(0.0)}, (new,)).run()


@dataclass(frozen=True, eq=False)
class TemplateComparison:
    """Fits with one template after another in the same place.

    Attributes
    ----------
    template : str
        Which was replaced.
    names : tuple of str
        What it was replaced with.
    log_likelihood, test_statistic : array (n,)
    norm, norm_error : array (n, n_energy)
    """

    template: str
    names: tuple[str, ...]
    log_likelihood: Array
    test_statistic: Array
    norm: Array
    norm_error: Array

    @property
    def delta_test_statistic(self) -> Array:
        """2 (ln L - largest ln L), (n,)."""
        return _below_best(self.log_likelihood)


def compare_templates(
    model: SkyModel, observation: Observation, template: str, alternatives: Mapping[str, ArrayLike]
) -> TemplateComparison:
    """Fit with one template replaced by each of several, by name: (n_energy, n_pix) or (n_pix,) counts for norm 1."""
    if not alternatives:
        raise InputError("alternatives: must hold at least one template, got none")
    results = [_replaced(model, observation, template, np.atleast_2d(each)) for each in alternatives.values()]
    return TemplateComparison(template, tuple(alternatives), *_columns(results))


def slope_by_diffuse_model(
    path: str | Path,
    observation: Observation,
    values: ArrayLike = GAMMAS,
    diffuse: tuple[str, ...] = DIFFUSE_MODELS,
    smoothed: bool = False,
    nside: int = 128,
) -> dict[str, ShapeProfile]:
    """Profile over the inner slope γ of the excess for each interstellar model of a data folder.

    Parameters
    ----------
    path : path
        Data folder.
    observation : Observation
        As :func:`gcesbi.read_observation` reads it from there, on any part of the region.
    values : array (n,)
        Slopes, ascending.
    diffuse : tuple of str
        Interstellar models.
    smoothed : bool
        Whether to apply the PSF to the NFW template; the folder's own has none.
    nside : int
        That of the observation.
    """
    from gcesbi.simulation.model import SkyModel

    models = {
        name: SkyModel.from_folder(path, diffuse=name, nside=nside, mask=None).for_observation(observation)
        for name in diffuse
    }
    family = cache(nfw_family(next(iter(models.values())), smoothed))
    return {name: shape_profile(model, observation, "gce", family, values) for name, model in models.items()}

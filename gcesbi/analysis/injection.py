"""Injection and recovery: a simulated population of known flux added to an observation; and an exactly Poisson excess.

Every method says what flux the template has before and after; what is recovered is the difference.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.fit import fit_nptf
from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.infer import load_networks
from gcesbi.analysis.sections import NptfSettings
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.baselines import PoissonFit, poisson_fractions
from gcesbi.errors import InputError, shown
from gcesbi.evaluation.injection import Injection
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.evaluation.predictions import TAUS
from gcesbi.simulation import Simulations, Simulator, SkyModel
from gcesbi.sky import Observation

__all__ = ["inject", "poisson_excess", "smooth_excess"]

Array = NDArray[np.float64]

_THREE = (0.16, 0.5, 0.84)
_MOST_PHOTONS = 1e8


def inject(
    run: RunFolder,
    observation: Observation,
    fluxes: Sequence[float],
    *,
    template: str | None = None,
    xi: float = -10.0,
    omega2: float = 0.1,
    a: float = 0.0,
    n_repeat: int = 5,
    n_nptf: int = 0,
    nptf: NptfSettings | None = None,
) -> Injection:
    """Add a population of known source counts and flux to an observation and see what each method makes of it.

    Parameters
    ----------
    run : RunFolder
    observation : Observation
        Real or mock; in the region of the run's networks.
    fluxes : sequence of float, photons / cm² / s
        Mean flux of the population inside the region.
    template : str
        Where its sources lie; the sky's subject by default.
    xi, omega2, a : float
        Of the skew normal dN/dlog₁₀F. Its spectrum is the middle of the prior.
    n_repeat : int
        Populations drawn for each flux.
    n_nptf : int
        The NPTF is fitted too, to the observation and to the first `n_nptf` populations of each flux: with 100 live
        points it takes about half a minute to a minute a map at nside 64, all other methods some seconds in total.
    nptf : NptfSettings, optional
        How it is sampled; the run's own settings by default.
    """
    model = run.model
    template = model.subject if template is None else template
    grid = _checked_grid(model, observation, fluxes, template, n_repeat, n_nptf)
    population = {"xi": xi, "omega2": omega2, "a": a, "flux": (0.0, 2 * float(grid.max()))}
    injected = SkyModel.build(model.composition.alone(template, population), model.maps).like(model)
    theta = np.repeat(_middle(injected, f"{template}_flux", grid), n_repeat, axis=0)
    drawn = Simulator(injected).draw(theta, np.random.default_rng(purpose_seed(run, Purpose.injected)))
    maps = np.concatenate([observation.counts[None], observation.counts + drawn.counts.astype(np.int64)])
    shape = (len(grid), n_repeat)
    row, j = model.names.index(template), model.point_sources.index(template)
    spectra, source_counts = load_networks(run)
    total = np.sum(maps / model.exposure, axis=(1, 2))
    mean, std = (values[:, row] for values in spectra.predict_total(maps))
    methods = {"networks": _three(mean, std) * total[:, None], "Poisson fit": _poisson_flux(maps, model, row)}
    recovered = {name: values[1:].reshape(*shape, 3) for name, values in methods.items()}
    before = {name: float(values[0, 1]) for name, values in methods.items()}
    if n_nptf:
        chosen = np.concatenate([[0], 1 + np.arange(len(grid) * n_repeat).reshape(shape)[:, :n_nptf].ravel()])
        flux = _nptf_flux(run, observation, maps[chosen], row, nptf or run.settings.nptf)
        recovered["NPTF"], before["NPTF"] = flux[1:].reshape(len(grid), n_nptf, 3), float(flux[0, 1])
    curves = source_counts.quantiles(maps, [0.5])[0, 1:, j]
    return Injection(
        template,
        drawn.flux[:, 0].sum(axis=-1).reshape(shape),
        recovered,
        before,
        curves.reshape(*shape, -1),
        drawn.scd_cdf[:, 0].reshape(*shape, -1),
    )


def _checked_grid(
    model: SkyModel, observation: Observation, fluxes: Sequence[float], template: str, n_repeat: int, n_nptf: int
) -> Array:
    """Fluxes as an array; raise InputError if an argument of :func:`inject` cannot be meant."""
    if template not in model.point_sources:
        raise InputError(f"template: must be one of {', '.join(model.point_sources)}, got {template!r}")
    grid = np.asarray(fluxes, dtype=np.float64)
    if grid.ndim != 1 or grid.size == 0 or not np.all((grid > 0) & np.isfinite(grid)) or n_repeat < 1:
        raise InputError(
            f"fluxes: must be finite numbers above zero, with n_repeat at least 1, got {shown(grid)}, {n_repeat}"
        )
    if grid.max() > (most := _MOST_PHOTONS / model.exposure.max()):
        raise InputError(f"fluxes: must be at most {most:.3g}, {_MOST_PHOTONS:g} photons, got {grid.max():g}")
    if not 0 <= n_nptf <= n_repeat:
        raise InputError(f"n_nptf: must lie between 0 and n_repeat, {n_repeat}, got {n_nptf}")
    if observation.counts.shape != model.exposure.shape:
        raise InputError(
            f"observation: must have counts of shape {model.exposure.shape}, has {observation.counts.shape}"
        )
    return grid


def _three(mean: Array, std: Array) -> Array:
    return np.clip(mean[:, None] + std[:, None] * np.array([-0.9945, 0.0, 0.9945]), 0, 1)


def _poisson_flux(maps: NDArray[np.integer], model: SkyModel, row: int) -> Array:
    """Quantiles (n, 3) of a template's flux by Poisson fits, Gaussian, energy bins independent."""
    share, error = (values[:, row] for values in poisson_fractions(maps, model))
    flux = np.sum(maps / model.exposure, axis=2)
    total, width = np.sum(share * flux, axis=1), np.sqrt(np.sum((error * flux) ** 2, axis=1))
    return np.maximum(total[:, None] + width[:, None] * np.array([-0.9945, 0.0, 0.9945]), 0)


def _nptf_flux(
    run: RunFolder, observation: Observation, maps: NDArray[np.integer], row: int, settings: NptfSettings
) -> Array:
    """Quantiles (n, 3) of a template's flux by the NPTF, map by map."""
    found = []
    for counts in maps:
        posterior = fit_nptf(run.model, replace(observation, counts=counts), settings, run.settings.seed)
        found.append(posterior.quantiles("flux", _THREE)[:, row])
    return np.array(found)


def _middle(model: SkyModel, name: str, values: Array) -> Array:
    """Parameters (n, n_parameter): the middle of the prior, but for one that has these values (n,)."""
    prior = model.prior()
    theta = np.tile([marginal.moments[0] for marginal in prior.marginals], (len(values), 1))
    theta[:, prior.names.index(name)] = values
    return theta


def poisson_excess(run: RunFolder, observation: Observation, n_maps: int = 100) -> Array:
    """Median over maps of every predicted CDF quantile where the sky's subject is exactly Poisson, and it alone.

    Templates are as bright as the best Poisson fit to the observation makes them, within its errors; source counts of
    other point sources are the prior's.

    Returns
    -------
    array (n_tau, n_point_source, n_bin)
        At :data:`gcesbi.evaluation.predictions.TAUS`.
    """
    _, source_counts = load_networks(run)
    maps = smooth_excess(run, observation, n_maps).counts
    return np.median(source_counts.quantiles(maps, TAUS), axis=1)


def smooth_excess(run: RunFolder, observation: Observation, n_maps: int) -> Simulations:
    """The maps of :func:`poisson_excess`, and their labels."""
    if n_maps < 1:
        raise InputError(f"n_maps: must be at least 1, got {n_maps}")
    PoissonFit(run.model, observation)  # checks that the observation is one of the model
    smooth = run.model.with_poisson_share()
    rng = np.random.default_rng(purpose_seed(run, Purpose.smooth))
    theta = at_composition(smooth, run.model, observation, n_maps, rng)
    theta[:, smooth.prior().names.index(f"{smooth.subject}_poisson_share")] = 1.0
    return Simulator(smooth).draw(theta, rng)

"""Ask the networks of a run about a map."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.error_correlations import noted_flux_correlation
from gcesbi.analysis.folder import RunFolder
from gcesbi.errors import InputError
from gcesbi.estimators import (
    PoissonFractionPosterior,
    ShapeEstimator,
    ShapePosterior,
    SourceCountEstimator,
    SourceCountPosterior,
    SpectralEstimator,
    SpectralPosterior,
    load_poisson_fraction,
)
from gcesbi.posterior import JointPosterior, Posterior
from gcesbi.simulation import SkyModel
from gcesbi.sky import Observation

__all__ = ["counts_at_exposure", "infer", "load_networks", "load_shapes"]


def load_networks(run: RunFolder) -> tuple[SpectralEstimator, SourceCountEstimator]:
    """The run's trained estimators.

    Raises
    ------
    InputError
        If the run is not trained, or its weights belong to another model.
    """
    return (
        run.network(SpectralEstimator.kind, SpectralEstimator),
        run.network(SourceCountEstimator.kind, SourceCountEstimator),
    )


def load_shapes(run: RunFolder) -> ShapeEstimator | None:
    """The run's trained network for shapes of templates that float; None if it has none."""
    if not run.weights(ShapeEstimator.kind).is_file():
        return None
    return run.network(ShapeEstimator.kind, ShapeEstimator)


def infer(run: RunFolder, observation: Observation, *, force: bool = False) -> JointPosterior:
    """Posterior of the networks on an observation: spectra, source counts, and what else the run has learnt.

    That is the shapes of templates that float, by their names, and the Poisson fraction.

    Parameters
    ----------
    run : RunFolder
    observation : Observation
    force : bool
        Take a map of another exposure too. Its counts are scaled to the exposure of the networks' maps: fluxes are then
        right, but the map's noise is not what the networks learnt, and their errors are not tested for it.

    Raises
    ------
    InputError
        If the observation's region, energies or exposure are not those that the networks were trained for.
    """
    model = run.model
    if model.for_observation(replace(observation, exposure=_model_exposure(model, observation))) is not model:
        raise InputError(
            f"observation: must have the {model.region.n_pix} pixels that the networks of {str(run.folder)!r} were "
            f"trained for, has {observation.region.n_pix} (mask, radius and band must be the model's)"
        )
    if not observation.counts.any():
        raise InputError("observation: must hold photons, holds none: networks have nothing to go by")
    spectra, source_counts = load_networks(run)
    seen = counts_at_exposure(model, observation, force, spectra.exposure_range)
    spectral = SpectralPosterior.of(spectra, seen, model.coordinates, energy_edges=model.energy_edges)
    rows = [model.names.index(name) for name in model.point_sources]
    low, flux, high = spectral.quantiles("flux", [0.16, 0.5, 0.84])[:, rows]
    counts = SourceCountPosterior(
        source_counts,
        seen,
        model.coordinates,
        flux,
        template_flux_error=(high - low) / 2,
        flux_correlation=noted_flux_correlation(run, spectra),
    )
    parts: list[Posterior] = [spectral, counts]
    if (shapes := load_shapes(run)) is not None:
        parts.append(ShapePosterior(shapes, seen, model.coordinates))
    path = run.weights("poisson_fraction")
    if path.is_file():
        network = load_poisson_fraction(path, source_counts)
        median = source_counts.stated(seen[None], 0.5)[0, 0, model.point_sources.index(network.name)]
        parts.append(PoissonFractionPosterior(network, median, model.coordinates))
    return JointPosterior("networks", parts)


def _model_exposure(model: SkyModel, observation: Observation) -> NDArray[np.float64]:
    """The model's exposure where it fits the observation's shape, else the observation's own."""
    return model.exposure if model.exposure.shape == observation.exposure.shape else observation.exposure


def counts_at_exposure(
    model: SkyModel, observation: Observation, force: bool, known: tuple[float, float]
) -> NDArray[np.floating | np.integer]:
    """Counts of an observation, scaled to the model's exposure if it is another one and that is forced.

    Parameters
    ----------
    model : SkyModel
    observation : Observation
    force : bool
    known : (low, high)
        Exposures that the networks were trained for, in terms of the model's: ``Estimator.exposure_range``.

    Raises
    ------
    InputError
        If the exposure of a pixel lies out of the range, unless forced.
    """
    ratio = observation.exposure / model.exposure
    if known[0] <= ratio.min() and ratio.max() <= known[1]:
        return observation.counts
    if not force:
        mean = observation.exposure.mean() / model.exposure.mean()
        raise InputError(
            f"observation: exposure must be {known[0]:g} to {known[1]:g} times that of the networks' maps, for which "
            f"they were trained; its mean is {mean:.3g} times, single pixels {ratio.min():.3g} to {ratio.max():.3g}; "
            "--force takes it anyway"
        )
    return observation.counts / ratio

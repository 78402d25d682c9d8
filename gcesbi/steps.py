"""The steps of an analysis, each a function of a run: simulate, train, infer, fit, evaluate.

The command line, the quickstart and a user's own script call the same steps.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines import NPTF, NptfPosterior, SamplingWarning
from gcesbi.errors import InputError
from gcesbi.estimators import (
    Estimator,
    SourceCountEstimator,
    SourceCountPosterior,
    SpectralEstimator,
    SpectralPosterior,
    TrainingHistory,
    load_estimator,
    save_estimator,
)
from gcesbi.posterior import JointPosterior
from gcesbi.run import Run
from gcesbi.settings import NptfSettings
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.sky import Observation
from gcesbi.validation import CalibrationReport, emd, semd, sharpness

__all__ = [
    "TAUS",
    "Evaluation",
    "SourceCountEvaluation",
    "evaluate",
    "fit_nptf",
    "infer",
    "load_networks",
    "mock_observation",
    "simulate",
    "train",
]

TAUS = np.arange(1, 80) / 80
"""Quantile levels at which source counts are evaluated."""

_MOCK_STREAM = 2**31  # a shard number that no store reaches


def mock_observation(run: Run) -> tuple[Observation, Simulations]:
    """An observation drawn from the model's prior by the run's seed, from a stream of its own; and its labels."""
    sequence = np.random.SeedSequence(run.settings.seed, spawn_key=(_MOCK_STREAM,))
    theta = run.model.prior().draw(1, np.random.default_rng(sequence))[0]
    return run.simulator.observe(theta, seed=int(sequence.generate_state(1)[0]))


def simulate(
    run: Run,
    workers: int = 1,
    progress: bool = False,
    *,
    backend: str = "loky",
    scheduler: str | None = None,
    repair: bool = False,
) -> tuple[str, ...]:
    """Draw the maps that the run's settings ask for; goes on where it stopped.

    Parameters
    ----------
    run : Run
    workers, progress, backend, scheduler
        See :meth:`gcesbi.SimulationStore.fill`.
    repair : bool
        First read every shard that is there, and draw the damaged ones again.

    Returns
    -------
    tuple of str
        Names of the shards that were repaired.
    """
    wanted, store = run.settings.simulation, run.store
    repaired: tuple[str, ...] = ()
    if repair:
        repaired = store.repair(run.simulator, workers, progress, backend=backend, scheduler=scheduler)
    n = wanted.n_test + wanted.n_train
    store.fill(run.simulator, n, workers, progress, backend=backend, scheduler=scheduler)
    return repaired


def train(run: Run, progress: bool = False) -> dict[str, TrainingHistory]:
    """Train both estimators on all maps but the held-out ones, and store their weights."""
    settings, model = run.settings, run.model
    n_test = settings.simulation.n_test
    maps = run.store.read(n_test, n_test + settings.simulation.n_train)
    spectra = SpectralEstimator(
        model.region,
        model.exposure,
        model.names,
        network=settings.network,
        fingerprint=model.fingerprint,
        seed=settings.seed,
    )
    source_counts = SourceCountEstimator(
        model.region,
        model.exposure,
        model.point_sources,
        n_bin=len(model.bins),
        network=settings.network,
        fingerprint=model.fingerprint,
        seed=settings.seed,
    )
    estimators: tuple[Estimator, ...] = (spectra, source_counts)
    histories = {}
    for estimator in estimators:
        run.weights(estimator.kind).parent.mkdir(exist_ok=True)
        history = estimator.fit(
            maps,
            replace(settings.training, seed=settings.seed),
            progress=progress,
            checkpoint=run.checkpoint(estimator.kind),
        )
        save_estimator(estimator, run.weights(estimator.kind), {"seed": settings.seed, "history": history.to_dict()})
        run.checkpoint(estimator.kind).unlink(missing_ok=True)
        histories[estimator.kind] = history
    return histories


KindOfEstimator = TypeVar("KindOfEstimator", bound=Estimator)


def load_networks(run: Run) -> tuple[SpectralEstimator, SourceCountEstimator]:
    """The run's trained estimators.

    Raises
    ------
    InputError
        If the run is not trained, or its weights belong to another model.
    """
    return _load(run, SpectralEstimator), _load(run, SourceCountEstimator)


def _load(run: Run, kind: type[KindOfEstimator]) -> KindOfEstimator:
    path = run.weights(kind.kind)
    if not path.is_file():
        raise InputError(f"run: {str(run.folder)!r} is not trained (it holds no {path.name}); run `gcesbi train` first")
    model = run.model
    found = load_estimator(path, region=model.region, exposure=model.exposure, fingerprint=model.fingerprint)
    if not isinstance(found, kind):
        raise InputError(f"weights {path}: must be of kind {kind.kind!r}, got {found.kind!r}")
    return found


def infer(run: Run, observation: Observation) -> JointPosterior:
    """Posterior of both networks on an observation.

    Raises
    ------
    InputError
        If the observation's region, energies or exposure are not those that the networks were trained for.
    """
    model = run.model
    if model.for_observation(observation) is not model:
        raise InputError(
            f"observation: must have the {model.region.n_pix} pixels that the networks of {str(run.folder)!r} were "
            f"trained for, has {observation.region.n_pix} (mask, radius and band must be the model's)"
        )
    spectra, source_counts = load_networks(run)
    spectral = SpectralPosterior.of(spectra, observation.counts, model.coordinates)
    flux = spectral.summary()["flux"]["median"]
    rows = [model.names.index(name) for name in model.point_sources]
    counts = SourceCountPosterior(source_counts, observation.counts, model.coordinates, flux[rows])
    return JointPosterior("networks", (spectral, counts))


def fit_nptf(
    model: SkyModel, observation: Observation, settings: NptfSettings, seed: int = 0, progress: bool = False
) -> NptfPosterior:
    """Sample the NPTF's posterior; ``posterior.convergence.problems`` says what speaks against the chain: tell it."""
    fit = NPTF(model.for_observation(observation), observation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return fit.run(
            n_walkers=settings.n_walkers,
            n_steps=settings.n_steps,
            n_particles=settings.n_particles,
            seed=seed,
            progress=progress,
        )


@dataclass(frozen=True, eq=False)
class SourceCountEvaluation:
    """Source counts of one template on held-out maps.

    Parameters
    ----------
    report : CalibrationReport
    sharpness : array (n_map, n_bin)
        Width of the 95 % interval of every CDF value.
    semd, emd : array (n_map,)
        (Signed) Earth mover's distance of the median, flux bins.
    """

    report: CalibrationReport
    sharpness: NDArray[np.float64]
    semd: NDArray[np.float64]
    emd: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Both networks on the maps that training never saw.

    Parameters
    ----------
    spectra : dict of str to CalibrationReport
        By template, flux fractions in all energy bins.
    source_counts : dict of str to SourceCountEvaluation
        By point-source template.
    """

    spectra: dict[str, CalibrationReport]
    source_counts: dict[str, SourceCountEvaluation]

    def to_dict(self) -> dict[str, object]:
        """Everything as plain numbers."""
        return {
            "spectra": {name: report.to_dict() for name, report in self.spectra.items()},
            "source_counts": {
                name: {
                    **found.report.to_dict(),
                    "sharpness_95_median": float(np.median(found.sharpness)),
                    "semd_median": float(np.median(found.semd)),
                    "semd_half_width_68": float(np.diff(np.quantile(found.semd, [0.16, 0.84]))[0] / 2),
                    "emd_mean": float(found.emd.mean()),
                }
                for name, found in self.source_counts.items()
            },
        }


def evaluate(run: Run) -> Evaluation:
    """Judge both networks on the run's held-out maps."""
    model, seed = run.model, run.settings.seed
    test = run.store.read(0, run.settings.simulation.n_test)
    spectra, source_counts = load_networks(run)
    predicted = spectra.predict(test.counts)
    truth = test.flux_fractions
    quantiles = source_counts.quantiles(test.counts, TAUS)
    return Evaluation(
        spectra={
            name: CalibrationReport.from_gaussian(
                truth[:, i], predicted.mean[:, i], predicted.std[:, i], f"spectrum of {name}", seed=seed
            )
            for i, name in enumerate(model.names)
        },
        source_counts={
            name: _judge(test.scd[:, j], quantiles[:, :, j], name, seed) for j, name in enumerate(model.point_sources)
        },
    )


def _judge(pdf: NDArray[np.float64], quantiles: NDArray[np.float64], name: str, seed: int) -> SourceCountEvaluation:
    truth = np.minimum(np.cumsum(pdf, axis=-1), 1.0)
    truth[:, -1] = 1.0
    median = np.diff(quantiles[len(TAUS) // 2], axis=-1, prepend=0.0)
    return SourceCountEvaluation(
        report=CalibrationReport.from_quantiles(truth, quantiles, TAUS, f"source counts of {name}", seed=seed),
        sharpness=sharpness(quantiles, TAUS),
        semd=semd(pdf, median),
        emd=emd(pdf, median),
    )

"""Recalibrate the networks of a run, and their samples, on fresh maps, which neither train nor judge them."""

import copy
from typing import TypeVar

import torch

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.estimators import Estimator, SourceCountEstimator, SpectralEstimator
from gcesbi.estimators.sample_errors import fit_samples
from gcesbi.estimators.store import read_notes, save_estimator
from gcesbi.validation.recalibration import KNOTS

__all__ = ["as_stated", "recalibrate"]

Network = TypeVar("Network", SpectralEstimator, SourceCountEstimator)

_NOTE, _SAMPLES = "recalibrated_on", "samples_measured_with"
_N_SAMPLES = 1024


def recalibrate(run: RunFolder) -> None:
    """Let trained networks hold what they claim on fresh maps, unless they do already.

    Quantiles by :class:`gcesbi.validation.ScoreMap`, the settings say on how many maps, none by default; samples of
    shares by :func:`gcesbi.estimators.sample_errors.fit_samples`, always.
    """
    n = run.settings.simulation.n_calibration
    trained = [kind for kind in (SpectralEstimator.kind, SourceCountEstimator.kind) if run.weights(kind).is_file()]
    notes = {kind: read_notes(run.weights(kind)) for kind in trained}
    stale = {kind for kind in trained if n > 0 and notes[kind].get(_NOTE) != n}
    left = stale | {kind for kind in trained if kind == SpectralEstimator.kind and notes[kind].get(_SAMPLES) != n}
    if not left:
        return
    maps = run.simulator.sample(n or _N_SAMPLES, seed=purpose_seed(run, Purpose.recalibration))
    for kind in sorted(left):
        network: Estimator = run.network(kind)
        done = {_NOTE: n} if kind in stale else {}
        if isinstance(network, SpectralEstimator):
            if kind in stale:
                network.recalibrate(maps)
            fit_samples(network, maps[:_N_SAMPLES], run.model.coordinates)
            done[_SAMPLES] = n
        elif isinstance(network, SourceCountEstimator):
            network.recalibrate(maps, run.settings.seed)
        save_estimator(network, run.weights(kind), notes[kind] | done, model=run.model)


def as_stated(network: Network) -> Network:
    """The network as it was before recalibration."""
    found = copy.deepcopy(network)
    found.recalibration.copy_(torch.from_numpy(KNOTS))
    return found

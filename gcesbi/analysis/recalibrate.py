"""Recalibrate the networks of a run on fresh maps, which neither train nor judge them."""

import copy
from typing import TypeVar

import torch

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.estimators import Estimator, SourceCountEstimator, SpectralEstimator
from gcesbi.estimators.store import read_notes, save_estimator
from gcesbi.validation.recalibration import KNOTS

__all__ = ["as_stated", "recalibrate"]

Network = TypeVar("Network", SpectralEstimator, SourceCountEstimator)

_NOTE = "recalibrated_on"


def recalibrate(run: RunFolder) -> None:
    """Let the quantiles of trained networks hold what they claim on fresh maps, unless they do already.

    See :class:`gcesbi.validation.ScoreMap`; the settings say on how many maps.
    """
    n = run.settings.simulation.n_calibration
    trained = [kind for kind in (SpectralEstimator.kind, SourceCountEstimator.kind) if run.weights(kind).is_file()]
    notes = {kind: read_notes(run.weights(kind)) for kind in trained}
    left = [kind for kind in trained if notes[kind].get(_NOTE) != n]
    if n == 0 or not left:
        return
    maps = run.simulator.sample(n, seed=purpose_seed(run, Purpose.recalibration))
    for kind in left:
        network: Estimator = run.network(kind)
        if isinstance(network, SpectralEstimator):
            network.recalibrate(maps)
        elif isinstance(network, SourceCountEstimator):
            network.recalibrate(maps, run.settings.seed)
        save_estimator(network, run.weights(kind), notes[kind] | {_NOTE: n}, model=run.model)


def as_stated(network: Network) -> Network:
    """The network as it was before recalibration."""
    found = copy.deepcopy(network)
    found.recalibration.copy_(torch.from_numpy(KNOTS))
    return found

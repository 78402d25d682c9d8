"""Recalibrate the networks of a run on fresh maps, which neither train nor judge them."""

import copy
from typing import TypeVar

import torch

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.estimators import SourceCountEstimator, SpectralEstimator
from gcesbi.estimators.store import read_notes, save_estimator
from gcesbi.validation.recalibration import KNOTS

__all__ = ["as_stated", "recalibrate"]

Network = TypeVar("Network", SpectralEstimator, SourceCountEstimator)

_NOTE = "recalibrated_on"


def recalibrate(run: RunFolder) -> None:
    """Let the quantiles of both networks hold what they claim on fresh maps, unless they do already.

    See :class:`gcesbi.validation.ScoreMap`; the settings say on how many maps.
    """
    n, kinds = run.settings.simulation.n_calibration, (SpectralEstimator.kind, SourceCountEstimator.kind)
    if n == 0 or not all(run.weights(kind).is_file() for kind in kinds):
        return
    notes = {kind: read_notes(run.weights(kind)) for kind in kinds}
    if all(note.get(_NOTE) == n for note in notes.values()):
        return
    maps = run.simulator.sample(n, seed=purpose_seed(run, Purpose.recalibration))
    spectra, source_counts = (
        run.network("spectra", SpectralEstimator),
        run.network("source_counts", SourceCountEstimator),
    )
    spectra.recalibrate(maps)
    source_counts.recalibrate(maps, run.settings.seed)
    for network in (spectra, source_counts):
        save_estimator(network, run.weights(network.kind), notes[network.kind] | {_NOTE: n}, model=run.model)


def as_stated(network: Network) -> Network:
    """The network as it was before recalibration."""
    found = copy.deepcopy(network)
    found.recalibration.copy_(torch.from_numpy(KNOTS))
    return found

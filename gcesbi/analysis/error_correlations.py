"""Measure on fresh maps how the errors of a run's networks go together."""

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.recalibrate import recalibrate
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.estimators import SourceCountEstimator, SpectralEstimator, read_notes
from gcesbi.estimators.network_posteriors import flux_correlation
from gcesbi.estimators.source_counts import network_digest
from gcesbi.estimators.store import add_notes
from gcesbi.simulation import Simulations

__all__ = ["measure_errors", "noted_flux_correlation", "relate_fluxes", "relate_spectra"]

_NOTE = "flux_correlation"
_MOST = 8192
_MOST_COUNTS = 2**28
_LEAST = 256


def relate_spectra(run: RunFolder, spectra: SpectralEstimator, n_presented: int) -> None:
    """How errors of spectra with a diagonal covariance go together, of a network trained on `n_presented` maps."""
    if spectra.covariance == "diagonal":
        spectra.fit_errors(_fresh(run, n_presented))


def measure_errors(run: RunFolder) -> None:
    """All that fresh maps tell of the errors of trained networks: how they go together, and how large they are."""
    relate_fluxes(run)
    recalibrate(run)


def relate_fluxes(run: RunFolder) -> None:
    """Note beside a run's source-count network how errors of fluxes go with source counts, unless it is noted."""
    if not all(run.weights(kind).is_file() for kind in (SpectralEstimator.kind, SourceCountEstimator.kind)):
        return
    spectra, source_counts = (
        run.network("spectra", SpectralEstimator),
        run.network("source_counts", SourceCountEstimator),
    )
    if noted_flux_correlation(run, spectra) is None:
        maps = _fresh(run, read_notes(run.weights(source_counts.kind))["history"]["maps"])
        values = flux_correlation(spectra, source_counts, maps).tolist()
        note = {"spectra": network_digest(spectra), "values": values}
        add_notes(run.weights(source_counts.kind), {_NOTE: note})


def noted_flux_correlation(run: RunFolder, spectra: SpectralEstimator) -> list[float] | None:
    """What :func:`relate_fluxes` noted with these spectra; None if that is not known."""
    note = read_notes(run.weights(SourceCountEstimator.kind)).get(_NOTE, {})
    return list(note["values"]) if note.get("spectra") == network_digest(spectra) else None


def _fresh(run: RunFolder, n_presented: int) -> Simulations:
    """Maps that no network was trained or judged on: 8,192; fewer of large maps, or after a short training."""
    most = min(_MOST, _MOST_COUNTS // run.model.exposure.size)
    n = max(_LEAST, min(most, n_presented // 16))
    return run.simulator.sample(n, seed=purpose_seed(run, Purpose.error_correlation))

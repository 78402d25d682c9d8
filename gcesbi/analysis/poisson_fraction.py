"""Train the network for the Poisson fraction of the subject behind a run's source-count network."""

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.estimators import PoissonFraction, PoissonFractionHistory, SourceCountEstimator
from gcesbi.estimators.poisson_fraction_maps import draw_poisson_shares
from gcesbi.estimators.source_counts import network_digest
from gcesbi.simulation import Simulator

__all__ = ["train_poisson_fraction"]


def train_poisson_fraction(
    run: RunFolder, n_maps: int = 16_384, workers: int = 1, progress: bool = False
) -> PoissonFractionHistory:
    """Train the network that says how much of the subject may be Poisson, behind the run's source-count network.

    Maps of known Poisson share are drawn from the variation of the run's model that has such a share, by the run's
    seed; see :mod:`gcesbi.estimators.poisson_fraction`.

    Parameters
    ----------
    run : RunFolder
        With trained networks.
    n_maps : int
    workers : int
        Threads that simulate.
    progress : bool
        Show a progress bar.
    """
    source_counts = run.network(SourceCountEstimator.kind, SourceCountEstimator)
    simulator = Simulator(run.model.with_poisson_share())
    seed = purpose_seed(run, Purpose.poisson_fraction)
    drawn = draw_poisson_shares(simulator, source_counts, n_maps, seed, workers, progress)
    network = PoissonFraction(
        run.model.bins.centres,
        simulator.model.subject,
        source_counts=network_digest(source_counts),
        seed=run.settings.seed,
    )
    history = network.fit(drawn.cdf, drawn.share, seed=run.settings.seed)
    network.save(run.weights("poisson_fraction"), {"seed": run.settings.seed, "history": history.to_dict()})
    return history

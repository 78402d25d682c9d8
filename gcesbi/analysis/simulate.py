"""Draw the maps of a run into its stores, and mock observations."""

from collections.abc import Iterator

import numpy as np

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.kept_sky import KEPT_MAPS
from gcesbi.analysis.seeds import Purpose, purpose_seed, purpose_sequence
from gcesbi.analysis.start import shipped_with
from gcesbi.analysis.typical import typical_theta
from gcesbi.errors import InputError
from gcesbi.simulation import Simulations, SimulationStore, Simulator
from gcesbi.sky import Observation

__all__ = ["check_room", "mock_image", "mock_observation", "simulate"]


def mock_observation(run: RunFolder, draw: str = "typical") -> tuple[Observation, Simulations]:
    """An observation drawn by the run's seed, and its labels.

    Its parameters are those of a sky like the observed one (:func:`gcesbi.analysis.typical.typical_theta`), or drawn
    from the model's prior.

    Parameters
    ----------
    run : RunFolder
    draw : "typical" or "prior"

    Raises
    ------
    InputError
        If it is neither.
    """
    if draw not in ("typical", "prior"):
        raise InputError(f"draw: must be typical or prior, got {draw!r}")
    rng = np.random.default_rng(purpose_sequence(run, Purpose.mock))
    theta = typical_theta(run.model, rng) if draw == "typical" else run.model.prior().draw(1, rng)[0]
    return run.simulator.observe(theta, seed=purpose_seed(run, Purpose.mock))


def mock_image(run: RunFolder) -> tuple[Observation, dict[str, float]]:
    """An image of the first testing model, drawn by the run's seed, and its parameters."""
    simulator = run.images.simulator(run.images.testing[0])
    prior = simulator.model.prior()
    theta = prior.draw(1, np.random.default_rng(purpose_sequence(run, Purpose.mock)))[0]
    seen, _ = simulator.observe(theta, seed=purpose_seed(run, Purpose.mock))
    return seen, dict(zip(prior.names, theta.tolist(), strict=True))


def simulate(
    run: RunFolder,
    workers: int = 1,
    progress: bool = False,
    *,
    backend: str = "loky",
    scheduler: str | None = None,
    repair: bool = False,
) -> tuple[str, ...]:
    """Draw the maps that the run's settings ask for; goes on. Only those held out if it trains on fresh ones, or not.

    Parameters
    ----------
    run : RunFolder
    workers, progress, backend, scheduler
        See :meth:`gcesbi.SimulationStore.fill`.
    repair : bool
        First read every shard that is there, and draw the damaged ones again.

    Returns
    -------
    tuple of str
        Names of the shards that were repaired.
    """
    repaired: list[str] = []
    with run.writing():
        for store, simulator, n in _wanted(run):
            if repair:
                repaired += store.repair(simulator, workers, progress, backend=backend, scheduler=scheduler)
            kept = run.folder / KEPT_MAPS
            store.fill(simulator, n, workers, progress, backend=backend, scheduler=scheduler, kept_maps=kept)
    return tuple(repaired)


def check_room(run: RunFolder) -> None:
    """Raise InputError where the disk cannot hold the maps that a run's settings ask for; nothing is written."""
    for store, simulator, n in _wanted(run, write=False):
        store.check_room(simulator, n)


def _wanted(run: RunFolder, write: bool = True) -> Iterator[tuple[SimulationStore, Simulator, int]]:
    """Stores of a run, who draws their maps, and how many they are to hold."""
    if run.settings.of_images:
        for free in (False, True):
            for name, n in run.images.n_images(free).items():
                yield run.images.new_store(name, free, write), run.images.simulator(name, free), n
        return
    wanted = run.settings.simulation
    learns = run.settings.training.source == "store" and shipped_with(run) is None
    n = wanted.n_test + (wanted.n_train if learns else 0)
    yield run.make_store() if write else run.store, run.simulator, n

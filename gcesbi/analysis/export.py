"""A trained run without its maps, small enough to ship: settings, networks in half precision, and their figures."""

from pathlib import Path
from typing import Any

from gcesbi.analysis.error_correlations import measure_errors
from gcesbi.analysis.evaluate import evaluate_images
from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.gate import calibrate_gate, calibrate_image_gate
from gcesbi.analysis.infer import load_networks, load_shapes
from gcesbi.analysis.kept_sky import KEPT_MAPS
from gcesbi.analysis.poisson_fraction import train_poisson_fraction
from gcesbi.estimators.base import Estimator
from gcesbi.estimators.store import read_notes, save_estimator
from gcesbi.evaluation.images import ALL_NETWORKS
from gcesbi.evaluation.networks import Evaluation, evaluate_networks

__all__ = ["export"]


def export(run: RunFolder, folder: str | Path, workers: int = 1, progress: bool = False) -> Evaluation | dict[str, Any]:
    """Write all that inference needs, and judge it on the held-out maps of the run, or on its images.

    What fresh maps tell of the networks' errors is measured first, unless it is. Large tensors are rounded to 16 bits.
    The figures in ``validation.json`` are those of the rounded networks; the network for the Poisson fraction is
    trained, and the gate calibrated, behind them.

    Parameters
    ----------
    run : RunFolder
        Trained, with its held-out maps.
    folder : path
        Run folder to make.
    workers : int
        Threads that simulate.
    progress : bool
        Show progress bars.

    Raises
    ------
    InputError
        If the folder exists, or the run is not trained.
    """
    if run.settings.of_images:
        return _export_images(run, folder)
    with run.writing():
        measure_errors(run)
    networks, shapes = load_networks(run), load_shapes(run)
    held_out = run.store.read(0, run.settings.simulation.n_test)
    small = RunFolder.create(folder, run.settings, run.model)
    for network in networks if shapes is None else (*networks, shapes):
        notes = {name: each for name, each in read_notes(run.weights(network.kind)).items() if name != "validation"}
        save_estimator(network, small.weights(network.kind), notes, model=run.model, half=True)
    evaluation = evaluate_networks(
        run.model, held_out, *load_networks(small), shapes=load_shapes(small), details=False, seed=run.settings.seed
    )
    small.write_json("validation.json", evaluation.to_dict())
    train_poisson_fraction(small, workers=workers, progress=progress)
    calibrate_gate(small, workers=workers, progress=progress)
    (small.folder / KEPT_MAPS).unlink(missing_ok=True)  # they are computed again where they are wanted
    return evaluation


def _export_images(run: RunFolder, folder: str | Path) -> dict[str, Any]:
    networks: dict[str, Estimator] = {name: run.network(name) for name in ALL_NETWORKS}
    small = RunFolder.create(folder, run.settings)
    for name, network in networks.items():
        save_estimator(network, small.weights(name), read_notes(run.weights(name)), half=True)
    judged = evaluate_images(small, run.images)
    calibrate_image_gate(small)
    return judged

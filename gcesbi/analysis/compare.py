"""Two runs' networks on the same maps."""

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.infer import load_networks
from gcesbi.errors import InputError
from gcesbi.evaluation.compare import compare_networks
from gcesbi.validation import Comparison

__all__ = ["compare_runs"]


def compare_runs(
    run: RunFolder, other: RunFolder, names: tuple[str, str] = ("first", "second")
) -> dict[str, Comparison]:
    """Two trained runs of one sky on the same held-out maps, by quantity; for instance the energy-independent twin.

    Raises
    ------
    InputError
        If the two were trained on maps of different models.
    """
    if run.model.fingerprint != other.model.fingerprint:
        raise InputError(
            f"other: must be a run of model {run.model.fingerprint}, is one of {other.model.fingerprint}; "
            "networks are compared on the same maps"
        )
    maps = run.store.read(0, min(run.settings.simulation.n_test, other.settings.simulation.n_test))
    return compare_networks(run.model, maps, load_networks(run), load_networks(other), names, run.settings.seed)

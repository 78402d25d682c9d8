"""Two tiny runs that all figures of list2025 are drawn from: several energy bins, and one."""

import sys
from pathlib import Path

import pytest
from filelock import FileLock

CHECKOUT = Path(__file__).resolve().parents[2]
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))  # `paper` is run from the checkout; it is not installed

SMALL = (
    "sky.nside=16",
    "sky.weeks=30",
    "simulation.n_train=128",
    "simulation.n_test=128",
    "training.max_maps=256",
    "network.widths=[8, 8]",
    "network.n_features=16",
)


@pytest.fixture(scope="session")
def tiny_runs(machine_folder):
    """Folder of the finished runs ``several`` and ``one``, and their plans by name."""
    from gcesbi.analysis.settings import load_settings
    from gcesbi.estimators import PoissonFraction
    from paper import library
    from paper.graph import make
    from paper.list2025 import mock, runs
    from paper.list2025.brighter import brighter

    folder = machine_folder / "paper"
    folder.mkdir(exist_ok=True)
    shares = (library.poisson_fraction(128), brighter(mock.Composition(), 4, runs.MOCK_SEED))
    learn = (*runs.LEARN, library.examples(), runs._mock(), *shares)
    asked = (library.infer(), library.fit_poisson())
    several = (
        *learn,
        *asked,
        library.poisson_excess(4),
    )
    # a mock of one bin stands for the real map: figures read files alone, and the truth is taken out of them
    plans = {
        name: library.library_plan(name, f"tiny, {name}", load_settings("test", (*SMALL, *changes), seed=5), steps)
        for name, changes, steps in (
            ("several", ("sky.n_energy=2",), several),
            ("one", ("sky.n_energy=1",), (*learn, *asked, library.fit_nptf())),
        )
    }
    assert mock.Composition() == runs.COMPOSITION
    with FileLock(folder / "lock"), pytest.MonkeyPatch.context() as patch:
        patch.setitem(PoissonFraction.fit.__kwdefaults__, "n_step", 40)
        if not (folder / "made").exists():
            for plan in plans.values():
                make(plan, folder / plan.name)
            _hide_truth(folder / "one")
            (folder / "made").touch()
    return folder, plans


def _hide_truth(run):
    import json

    path = run / "paper" / "sky.json"
    known = json.loads(path.read_text())
    known.pop("truth")
    path.write_text(json.dumps(known))


def _other(run, folder):
    """A copy of a run whose answers are others: curves twice, NPTFs three times, spectra four times as bright."""
    import json
    import shutil

    import numpy as np

    from gcesbi.io.files import read_arrays, write_arrays

    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("simulations"))
    for name, by in (("curves", 2), ("nptf", 3)):
        path = folder / "paper" / f"{name}.npz"
        if path.is_file():
            arrays = read_arrays(path)
            write_arrays(path, arrays | {"f2dndf": arrays["f2dndf"] * by})
    path = folder / "paper" / "networks.json"
    answer = json.loads(path.read_text())
    spectrum = answer["quantities"]["spectrum"]
    spectrum["quantiles"] = (4 * np.array(spectrum["quantiles"])).tolist()
    path.write_text(json.dumps(answer))
    return folder


@pytest.fixture(scope="session")
def others(tiny_runs, tmp_path_factory):
    """The runs ``several`` and ``one`` again, with other answers."""
    folder = tmp_path_factory.mktemp("others")
    return {name: _other(tiny_runs[0] / name, folder / name) for name in ("several", "one")}


@pytest.fixture(scope="session")
def skies(several, tmp_path_factory):
    """A folder as the run ``skies`` leaves it, its arrays those of ``several``, shifted by sky and network."""
    import numpy as np

    from paper.list2025.skies import PAIRED, SKIES, WITH, WITHOUT
    from paper.view import read_arrays

    folder = tmp_path_factory.mktemp("skies")
    (folder / "paper").mkdir()
    known = read_arrays(several, "evaluation")
    for k, sky in enumerate(SKIES):
        networks = (WITH, WITHOUT) if sky in PAIRED else (WITH,)
        arrays = {
            f"{network}/{key}": values if key.endswith("alphas") else values * (1 - 0.1 * k - 0.05 * j)
            for j, network in enumerate(networks)
            for key, values in known.items()
        }
        np.savez(folder / "paper" / f"{sky.lower().replace(' ', '-')}.npz", **arrays)
    return folder


@pytest.fixture(scope="session")
def several(tiny_runs):
    """Folder of the run of two energy bins."""
    return tiny_runs[0] / "several"


@pytest.fixture(scope="session")
def one(tiny_runs):
    """Folder of the run of one energy bin."""
    return tiny_runs[0] / "one"

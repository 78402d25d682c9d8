"""Two tiny runs that all figures of list2025 are drawn from: several energy bins, and one."""

import sys
from pathlib import Path

import pytest

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
def tiny_runs(tmp_path_factory):
    """Folder of the finished runs ``several`` and ``one``, and their plans by name."""
    from gcesbi.analysis import variations
    from gcesbi.analysis.settings import load_settings
    from gcesbi.estimators import PoissonFraction
    from paper import library
    from paper.graph import make
    from paper.list2025 import mock, runs
    from paper.list2025.brighter import brighter

    folder = tmp_path_factory.mktemp("paper")
    shares = (library.poisson_fraction(128), brighter(mock.Composition(), 4, runs.MOCK_SEED))
    learn = (library.simulate(), *library.train(), library.evaluate(), runs._mock(), *shares)
    asked = (library.infer(), library.fit_poisson())
    several = (
        *learn,
        *asked,
        library.poisson_excess(4),
        library.gate(1200),
        library.misspecification(100),
    )
    # a mock of one bin stands for the real map: figures read files alone, and the truth is taken out of them
    plans = {
        name: library.library_plan(name, f"tiny, {name}", load_settings("test", (*SMALL, *changes), seed=5), steps)
        for name, changes, steps in (
            ("several", ("sky.n_energy=2",), several),
            ("one", ("sky.n_energy=1",), (*learn, *asked, library.fit_nptf())),
        )
    }
    others = variations.variations
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PoissonFraction.fit.__kwdefaults__, "n_step", 40)
        for module in (variations, library):
            patch.setattr(module, "variations", lambda sky: {"thick disk": others(sky)["thick disk"]})
        for plan in plans.values():
            make(plan, folder / plan.name)
    assert mock.Composition() == runs.COMPOSITION
    _hide_truth(folder / "one")
    return folder, plans


def _hide_truth(run):
    import json

    path = run / "paper" / "sky.json"
    known = json.loads(path.read_text())
    known.pop("truth")
    path.write_text(json.dumps(known))


@pytest.fixture(scope="session")
def several(tiny_runs):
    """Folder of the run of two energy bins."""
    return tiny_runs[0] / "several"


@pytest.fixture(scope="session")
def one(tiny_runs):
    """Folder of the run of one energy bin."""
    return tiny_runs[0] / "one"

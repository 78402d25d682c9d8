"""What importing costs: looked up in sys.modules of a fresh process, not on a clock; and what the front door offers."""

import os
import subprocess
import sys

import pytest

import gcesbi

HEAVY = (
    "torch",
    "sbi",
    "lightning",
    "numba",
    "healpy",
    "astropy",
    "matplotlib",
    "arviz",
    "pandas",
    "xarray",
    "pydantic",
    "scipy.stats",
    "emcee",
    "zarr",
)
ASKED = "from gcesbi.analysis import gate, run\nfrom gcesbi.report import findings"
STORED = """
from pathlib import Path
from tempfile import TemporaryDirectory
import numpy as np
from gcesbi.io import write_netcdf
with TemporaryDirectory() as folder:
    write_netcdf(Path(folder) / "a.nc", "posterior", {"flux": (("chain",), np.ones(1), {})}, {"chain": [0]}, {})
"""
NEEDED = {"torch", "numba", "healpy", "astropy", "matplotlib", "pydantic"}


def imported(code):
    """Heavy modules, and those of gcesbi, that code imports; it leaves the threads of the user's process alone."""
    told = f"import os, sys\n{code}\nassert not [name for name in os.environ if name.startswith('OMP_')]"
    told += f"\nprint(*(n for n in sys.modules if n in {HEAVY!r} or n.startswith('gcesbi')))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True, env=kept)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import gcesbi", set()),
        ("import gcesbi.validation", set()),
        (ASKED, NEEDED),
        (STORED, {"healpy", "astropy", "numba", "matplotlib"}),
        ("from typer.main import get_command\nfrom gcesbi.cli.main import app\nget_command(app)", set()),
    ],
    ids=["front door", "validation", "asking networks", "storing draws", "command line"],
)
def test_heavy_modules_wait_until_they_are_used(code, allowed):
    assert imported(code) & set(HEAVY) <= allowed


def test_the_front_door_offers_what_it_says():
    names = set(gcesbi.__all__)
    assert {"Run", "Prior", "Posterior", "SpectralEstimator", "NpeEstimator", "load_settings", "quickstart"} <= names
    assert set(dir(gcesbi)) >= names
    for name in names:
        assert getattr(gcesbi, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'banana'"):
        gcesbi.banana  # noqa: B018
    assert callable(gcesbi.quickstart)

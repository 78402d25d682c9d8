"""What importing costs: looked up in sys.modules of a fresh process, not on a clock; and what the front door offers."""

import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Annotated, get_args, get_origin

import pytest

import gcesbi
from gcesbi.cli.main import app

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
REFUSED = (
    ["train", "nowhere"],
    ["poisson-fraction", "nowhere"],
    ["export", "nowhere", "small"],
    ["infer"],
    ["infer", "nowhere"],
    ["infer", "--networks", "banana"],
    ["infer", "--pretrained", "--observation", "nowhere"],
    ["simulate", "--out", "new", "--observation", "nowhere"],
    ["simulate", "--out", "new", "--sky", "nowhere"],
    ["simulate", "--out", "/"],
    ["quickstart", "--out", "new", "--preset", "qick"],
    ["quickstart", "--out", "new", "--set", "banana"],
    ["quickstart", "--out", "new", "--observation", "/", "--mask", "5fgl"],
    ["quickstart", "--out", "new", "--observation", "/", "--mask-file", "nowhere"],
    ["fit", "poisson", "--out", "new", "--observation", "/", "--exposure", "nowhere"],
    ["fit", "nptf", "--out", "/"],
    ["validate", "nowhere"],
    ["validate", "misspecification", "nowhere"],
    ["validate", "compare", "nowhere", "nowhere"],
    ["images", "simulate", "--out", "new", "--observation", "nowhere"],
    ["images", "train", "nowhere"],
    ["images", "infer", "nowhere"],
    ["images", "compose", "nowhere", "--out", "sky.toml"],
    ["sky", "show", "nowhere"],
    ["--threads", "0", "train", "nowhere"],
)
REFUSING = f"""
import sys
from gcesbi.cli.main import main
for words in {REFUSED!r}:
    sys.argv = ["gcesbi", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code == 2, words
    assert not [name for name in {HEAVY!r} if name in sys.modules and name != "pydantic"], words  # which typer needs
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


def test_bad_words_are_refused_before_anything_heavy_is_imported(tmp_path):
    done = subprocess.run([sys.executable, "-c", REFUSING], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("gcesbi: error: ") == len(REFUSED)
    assert not list(tmp_path.iterdir())


def commands(group, *above):
    for each in group.registered_groups:
        yield from commands(each.typer_instance, *above, each.name)
    for each in group.registered_commands:
        yield (*above, each.name or each.callback.__name__), signature(each.callback, eval_str=True).parameters


def test_every_path_that_a_command_reads_is_looked_at_while_the_command_is_read():
    unlooked = {
        (words, name)
        for words, parameters in commands(app)
        for name, each in parameters.items()
        if get_origin(each.annotation) is Annotated
        and Path in (each.annotation.__origin__, *get_args(each.annotation.__origin__))
        and each.annotation.__metadata__[0].callback is None
    }
    assert unlooked == {(("sky", "show"), "out"), (("images", "compose"), "out")}  # files that are written


def test_the_front_door_offers_what_it_says():
    names = set(gcesbi.__all__)
    assert {"Run", "Prior", "Posterior", "SpectralEstimator", "NpeEstimator", "load_settings", "quickstart"} <= names
    assert set(dir(gcesbi)) >= names
    for name in names:
        assert getattr(gcesbi, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'banana'"):
        gcesbi.banana  # noqa: B018
    assert callable(gcesbi.quickstart)

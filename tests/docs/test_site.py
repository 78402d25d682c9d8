"""The site is built without a warning, holds every public name, and works in a browser, from the disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as by ``make docs``: a broken link, reference or docstring is a warning, and a warning an error."""
    folder = tmp_path_factory.mktemp("site")
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        folder / "doctrees",
        "docs",
        folder / "html",
    ]
    done = subprocess.run(build, cwd=CHECKOUT, capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "Agg"})
    assert done.returncode == 0, done.stderr
    return folder / "html"

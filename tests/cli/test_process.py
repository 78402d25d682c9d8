"""Threads of a process of the command line."""

import os
import subprocess
import sys

import pytest

from gcesbi.cli.process import CORES, set_threads
from gcesbi.errors import InputError

SHOWN = "import os; print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('OMP_NUM_THREADS'))"


def after(code, **environment):
    """Threads and wait policy of a fresh process after some code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOWN}"], env=kept | environment, capture_output=True, text=True, check=True
    )
    return tuple(done.stdout.split())


def test_waiting_threads_sleep_and_their_number_is_the_users():
    start = "from gcesbi.cli.process import set_threads; set_threads({})"
    assert after(start.format("")) == ("passive", "None")
    assert after(start.format("1")) == ("passive", "1")
    assert after(start.format(""), OMP_NUM_THREADS="3", OMP_WAIT_POLICY="active") == ("active", "3")


COMMAND = """
import os, sys
import gcesbi.cli.main
told = []

class Finder:
    def find_spec(name, path=None, target=None):
        if name == "torch":
            told.append(dict(os.environ))
            raise SystemExit

sys.meta_path.insert(0, Finder)
sys.argv = ["gcesbi", "--threads", "1", "infer", "--pretrained"]
try:
    gcesbi.cli.main.main()
except SystemExit:
    assert told[0]["OMP_WAIT_POLICY"] == "passive" and told[0]["OMP_NUM_THREADS"] == "1"
"""


def test_threads_are_set_before_torch_is_imported():
    """And by the command line only: tests/test_front_door.py."""
    assert after(COMMAND) == ("passive", "1")


@pytest.mark.parametrize("threads", [0, -1, CORES + 1])
def test_more_threads_than_cores_or_none_are_refused(threads):
    with pytest.raises(InputError, match=rf"threads: must lie in \[1, {CORES}\], the cores at hand, got {threads}"):
        set_threads(threads)

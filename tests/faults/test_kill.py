"""A command that is killed at a random moment goes on to the same bytes; more of them by ``make kill``."""

import runpy
from pathlib import Path

import pytest

KILL = runpy.run_path(str(Path(__file__).with_name("kill.py")))


@pytest.mark.slow  # quick: simulation/test_store.py, estimators/test_resume.py and baselines/test_samplers.py
@pytest.mark.parametrize("name", ["simulate", "train", "ensemble"])
def test_a_killed_command_goes_on_to_the_same_bytes(name, tmp_path):
    assert not KILL["kills"](name, 1, seed=1, folder=tmp_path)

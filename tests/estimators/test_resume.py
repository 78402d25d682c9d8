"""A training that is killed with SIGKILL and started again ends with the weights of one that was not, bit for bit."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("train_worker.py")


def rows(folder):
    with (folder / "log.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("step", [17])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, step):
    """Killed between two checkpoints (every 3 steps), two validations (every 5) and two rows of the log (every 4).

    In processes of their own: other tests' settings of torch change the last bits.
    """
    whole, cut, kept = tmp_path / "whole", tmp_path / "cut", tmp_path / "kept"
    words = [str(word) for word in (sys.executable, SCRIPT, "kill", whole, cut, kept, step)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == [str(-signal.SIGKILL), "0", "0"], done.stderr
    assert sorted(file.name for file in kept.iterdir()) == ["log.csv", "run.ckpt"]
    assert int(rows(kept)[-1]["step"]) == 16  # beyond the checkpoint of step 15: to be dropped
    expected, found = load_file(whole / "weights"), load_file(cut / "weights")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    histories = [json.loads((folder / "history.json").read_text()) for folder in (whole, cut)]
    for name in ("train_loss", "validation_loss", "maps_at", "maps", "n_train", "most_presentations"):
        assert histories[0][name] == histories[1][name]
    assert rows(whole) == rows(cut)
    assert [int(row["step"]) for row in rows(cut)] == [4, 5, 8, 10, 12, 15, 16, 20, 24, 25, 28, 30]

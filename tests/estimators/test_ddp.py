"""Two processes that share every batch train as one does."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gcesbi.errors import InputError
from gcesbi.estimators import TrainingSettings

SCRIPT = Path(__file__).with_name("train_worker.py")


def test_two_gloo_processes_give_the_loss_curve_of_one(tmp_path):
    """Same global batches, instance normalisation, a loss without random draws: sums in another order are all that
    differs. In float32 (6e-8) over 30 steps the losses agree to 1e-6, the weights to 1e-5."""
    worker = runpy.run_path(str(SCRIPT))
    one, two = tmp_path / "one", tmp_path / "two"
    words = ["spectra", two, 2]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    worker["train"](worker["make"]("spectra"), one)
    single, shared = (json.loads((folder / "history.json").read_text()) for folder in (one, two))
    assert shared["maps"] == single["maps"] == 960
    assert shared["maps_at"] == single["maps_at"]
    for name in ("train_loss", "validation_loss"):
        assert np.ptp(single[name]) > 0.02  # something was learnt
        np.testing.assert_allclose(shared[name], single[name], atol=1e-6)
        assert shared[name] != single[name]  # two processes, not one
    weights = [load_file(folder / "weights") for folder in (one, two)]
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=0, atol=1e-5)
    assert "processes" in done.stderr + done.stdout


def test_a_batch_must_be_shared_evenly():
    with pytest.raises(InputError, match="batch_size: must be a multiple of devices, 3, got 64"):
        TrainingSettings(batch_size=64, devices=3)
    with pytest.raises(InputError, match="devices: must be at least 1, got 0"):
        TrainingSettings(devices=0)

"""Shared fixtures: where the real data lie, and a limit on threads."""

import os
from pathlib import Path

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for processes that tests start: workers of pytest-xdist share the cores

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Let no test leave torch with more threads to the next: sums differ in their last bits, and cores are shared."""
    torch.set_num_threads(1)


def _shared(*parts: str) -> Path:
    if os.environ.get("GCESBI_DATA"):
        root = Path(os.environ["GCESBI_DATA"])
        return root if parts == ("data",) else root.parent / "reference"
    return CHECKOUT.parent / "shared" / parts[0]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    folder = _shared("data")
    if not (folder / "fermi-573w").is_dir():
        pytest.skip(f"real data not found: set GCESBI_DATA to the data folder (looked in {folder})")
    return folder


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    folder = _shared("reference")
    if not folder.is_dir():
        pytest.skip(f"reference numbers not found beside the data folder (looked in {folder})")
    return folder

"""Malformed inputs end in a refusal; what a disk altered is noticed."""

import runpy
from pathlib import Path

FUZZ = runpy.run_path(str(Path(__file__).with_name("fuzz.py")))


def test_malformed_inputs_are_taken_or_refused():
    found, refused = FUZZ["faults"](2_070, seed=7)
    assert not found, "\n".join(found)
    assert refused > 1_000

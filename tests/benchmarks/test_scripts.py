"""Scripts of benchmarks/ that others rely on: the comparison with kept figures, and the one for a GPU, at toy size."""

import importlib
import json
import re
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def test_what_got_slower_is_named(script, monkeypatch, tmp_path, capsys):
    compare = script("compare")
    path = tmp_path / "figures.json"
    for now in ({"a": 1.0, "b": 2.0}, {"a": 1.5, "b": 1.9}):
        monkeypatch.setattr(compare, "measured", lambda only, data, now=now: now)
        status = compare.main(["--keep"], path)
    told = capsys.readouterr().out
    assert status == 1
    assert "| a | 1.5 | 1 | 1.50 |" in told
    assert "| b | 1.9 | 2 | 0.95 |" in told
    assert told.splitlines()[-1] == "a: 1.50 times slower"
    assert [run["ms"]["a"] for run in json.loads(path.read_text())] == [1.0, 1.5]


def test_figures_of_a_part_alone(script, monkeypatch, tmp_path, capsys):
    compare = script("compare")
    least = compare.least
    monkeypatch.setattr(compare, "least", lambda function, repeats: least(function, 1))
    assert compare.main(["--only", "smoothing"], tmp_path / "none.json") == 0
    assert re.search(r"\| smoothing, nside 64 \| [\d.]+ \|", capsys.readouterr().out)


def test_a_million_maps_are_worked_out(script):
    made = {"a map, nside 256, ten bins": 16.0, "storing it, nside 256": 2.0, "a map's bytes on disk, nside 256": 65e3}
    told = script("compare").a_million(made)
    assert "5.0 core hours and 65 GB; on 100 workers 3 minutes, 361 MB/s" in told


@pytest.mark.slow  # quick: simulation/test_device.py
def test_the_script_for_a_gpu_runs_at_toy_size(script, capsys):
    gpu = script("gpu")
    gpu.main(["--toy"])
    told = capsys.readouterr().out
    worst = [float(each) for each in re.findall(r"(?:mean counts|their spread|flux|SCD) ([\d.]+)", told)]
    assert len(worst) == 4
    assert max(worst) < 6
    assert re.search(r"the paper's million maps: [\d.]+ hours", told)

"""The tutorials run, each in seconds, and show the output that they give."""

import re
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def words(text):
    """What a text says, but for its numbers and how they are aligned."""
    return re.sub(r"\s+", " ", NUMBER.sub("0", text)).strip()


def numbers(text):
    return [float(each) for each in NUMBER.findall(text)]


def outputs(notebook):
    """Text of every cell: what it printed, and its last value."""
    for cell in notebook.cells:
        found = cell.get("outputs", ())
        assert not [each for each in found if each.get("name") == "stderr"], cell.source
        printed = "".join(each.text for each in found if each.output_type == "stream")
        values = [each.data["text/plain"] for each in found if each.output_type == "execute_result"]
        yield cell.source, printed + "".join(value for value in values if "<Figure" not in value)


QUICK = "own_sky"
SLOW = sorted({path.stem for path in TUTORIALS.glob("*.ipynb")} - {QUICK})


@pytest.mark.parametrize("name", [QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_tutorial_gives_the_output_that_it_shows(name, tmp_path, monkeypatch, request):
    pytest.importorskip("nbclient")
    if name == "real_map":
        monkeypatch.setenv("GCESBI_DATA", str(request.getfixturevalue("data_folder")))
    monkeypatch.syspath_prepend(TUTORIALS)
    sys.modules.pop("execute", None)
    from execute import execute

    shown, now = (
        nbformat.read(TUTORIALS / f"{name}.ipynb", as_version=4),
        execute(TUTORIALS / f"{name}.ipynb", tmp_path),
    )
    for (source, old), (_, new) in zip(outputs(shown), outputs(now), strict=True):
        assert words(new) == words(old), source
        assert numbers(new) == pytest.approx(numbers(old), rel=0.1, abs=0.02), source
    assert any("image/png" in each.get("data", {}) for cell in now.cells for each in cell.get("outputs", ()))

"""What people of different trades would write first: scripts of at most 30 lines, run in an empty folder."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
#: What each script says, and what it leaves behind.
TOLD = {
    "statistician_with_arrays": (
        ("mine: calibrated; bold: over-confident", "mine scores better than every other", "pass numpy.moveaxis"),
        {"calibration.html", "coverage.png"},
    ),
    "astrophysicist_with_own_maps": (("excess: ", "goodness of fit: p = ", "deviant pixels"), {"mine.fits"}),
    "contributor_adds_a_template": (("ring_norm", "of the flux; in truth"), set()),
    "referee": (("gce networks: ", "a map of the model: True", "a map of another sky: False"), {"pretrained"}),
    "sbi_user": (("maps: (400, 1, ", "NPE: ", "prior: "), {"npe.html"}),
}
MARKS = dict.fromkeys(("referee", "sbi_user"), pytest.mark.slow)  # they ask, or train, networks


def test_every_script_is_run_and_short():
    scripts = {path.stem: path for path in FOLDER.glob("*.py") if not path.stem.startswith("test_")}
    assert set(scripts) == set(TOLD)
    assert all(len(path.read_text().splitlines()) <= 30 for path in scripts.values())


@pytest.mark.filterwarnings("default", "error::FutureWarning")
@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in TOLD])
def test_a_script_runs_as_it_stands(name, tmp_path, monkeypatch, capsys):
    words, files = TOLD[name]
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    out = capsys.readouterr().out
    for told in words:
        assert told in out
    assert files <= {path.name for path in tmp_path.iterdir()}

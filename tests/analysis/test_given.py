"""An answer is read again only while all that it depends on is as it was."""

import json

import pytest

from gcesbi.analysis import given
from gcesbi.analysis.given import ANSWER, given_answer, with_digest

ASKED = {"force": False, "networks": None}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "weights").mkdir()
    for name in ("run.json", "sky.toml", "observation.fits", "gate.npz", "weights/spectra.safetensors", "infer.html"):
        (tmp_path / name).write_text(name)
    (tmp_path / ANSWER).write_text(json.dumps(with_digest(tmp_path, ASKED, ["infer.html"], {"verdict": "yes"})))
    return tmp_path


def test_what_was_said_is_said_again(run):
    assert given_answer(run, ASKED) == {"verdict": "yes"}
    (run / "report.html").write_text("another command's")
    assert given_answer(run, dict(reversed(ASKED.items()))) == {"verdict": "yes"}


@pytest.mark.parametrize(
    "name", ["run.json", "sky.toml", "observation.fits", "gate.npz", "weights/spectra.safetensors", "weights/new.json"]
)
def test_whatever_changes_in_the_run_is_asked_anew(run, name):
    (run / name).write_text("other")
    assert given_answer(run, ASKED) is None


@pytest.mark.parametrize("name", ["gate.npz", "infer.html", ANSWER])
def test_what_is_gone_is_asked_anew(run, name):
    (run / name).unlink()
    assert given_answer(run, ASKED) is None


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"files": 3}', '{"files": [], "of": ""}', "[" * 9999])
def test_damaged_answers_are_asked_anew(run, kept):
    (run / ANSWER).write_text(kept)
    assert given_answer(run, ASKED) is None


def test_other_questions_and_other_code_are_asked_anew(run, monkeypatch):
    assert given_answer(run, ASKED | {"force": True}) is None
    monkeypatch.setattr(given, "version", lambda name: "another")
    assert given_answer(run, ASKED) is None
    monkeypatch.undo()
    monkeypatch.setattr(given, "_SOURCES", ("gcesbi",))
    assert given_answer(run, ASKED) is None

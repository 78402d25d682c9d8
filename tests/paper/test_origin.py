"""Where a run comes from."""

import subprocess
from datetime import UTC, datetime

import pytest


def git(folder, *arguments):
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "First")
    git(tmp_path, "tag", "-a", "v1", "-m", "a tag is no commit")
    return tmp_path


def test_a_commit_is_named_and_changes_show(checkout):
    from paper.origin import commit

    head = git(checkout, "rev-parse", "--short=12", "HEAD")
    assert commit(checkout) == head
    (checkout / "file").write_text("2")
    assert commit(checkout) == f"{head}-dirty"


def test_without_git_no_commit_is_made_up(tmp_path, monkeypatch):
    from paper.origin import commit

    assert commit(tmp_path) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == "unknown"


def test_day_and_machine():
    import os

    from paper.origin import origin

    found = origin()
    assert found["date"] == f"{datetime.now(UTC):%Y-%m-%d}"
    assert found["machine"].startswith(f"{os.cpu_count()} cores of ")

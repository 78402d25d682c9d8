"""``gcesbi simulate``: progress, growth, repair, a full disk."""

import errno
import os
import sys

import pytest

from gcesbi.analysis.run import Run
from gcesbi.cli import main as cli

SETS = ["sky.nside=16", "sky.weeks=30", "sky.n_energy=1", "simulation.n_test=128"]
WORDS = ["simulate", "--preset", "test", *(word for item in SETS for word in ("--set", item))]


@pytest.fixture
def call(monkeypatch, capfd):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gcesbi", *map(str, (*WORDS, *words))])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        out, err = capfd.readouterr()
        return status, " ".join(out.split()), err

    return run


def test_progress_growth_and_repair(call, tmp_path):
    out = tmp_path / "a"
    status, told, err = call("--n", 256, "--out", out, "--workers", 2)
    assert status == 0
    assert "384 maps in" in told
    assert "map/s" in err
    assert "384/384" in err
    assert "<00:00" in err  # time left, at the end
    status, told, err = call("--n", 512, "--out", out)
    assert (status, "640 maps in" in told) == (0, True)
    assert "384/640" in err  # goes on from what is there
    assert call("--n", 64, "--out", out, "--quiet")[1].startswith("640 maps in")  # never fewer
    shard = out / "simulations" / "00001.zip"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    status, told, err = call("--n", 512, "--out", out, "--quiet")
    assert (status, err) == (0, "")
    assert shard.read_bytes() != whole  # repaired on request only
    status, told, err = call("--n", 512, "--out", out, "--repair", "--quiet")
    assert (status, err) == (0, "")
    assert told.startswith("repaired: 00001.zip 640 maps in")
    assert shard.read_bytes() == whole
    assert "nothing was damaged" in call("--n", 512, "--out", out, "--repair", "--quiet")[1]


def test_maps_may_lie_elsewhere_than_the_run(call, tmp_path):
    words = ["--n", 128, "--out", tmp_path / "a", "--quiet", "--set", f"simulation.store=file://{tmp_path}/maps"]
    status, told, _ = call(*words, "--backend", "threads")
    assert (status, told.endswith(f"256 maps in {tmp_path}/maps")) == (0, True)
    assert not (tmp_path / "a" / "simulations").exists()
    assert len(Run.open(tmp_path / "a").store) == 256


def test_a_full_disk_ends_with_one_line(call, tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        status, _, err = call("--n", 128, "--out", tmp_path / "a", "--quiet", "--workers", 1)
    assert status == 2
    assert err.count("\n") == 1
    assert "No space left on device" in err
    assert call("--n", 128, "--out", tmp_path / "a", "--quiet")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backend", "dask"], "scheduler: the dask backend, and no other, needs one"),
        (["--backend", "threads", "--scheduler", "tcp://x:1"], "scheduler: the dask backend, and no other, needs one"),
        (["--workers", 0], "must be at least 1"),
    ],
)
def test_bad_words_end_with_status_2(call, tmp_path, words, message):
    status, _, err = call("--n", 128, "--out", tmp_path / "a", "--quiet", *words)
    assert status == 2
    assert message in err
    assert err.count("\n") == 1


def test_another_number_of_held_out_maps_is_refused(call, tmp_path):
    assert call("--n", 128, "--out", tmp_path / "a", "--quiet")[0] == 0
    status, _, err = call("--n", 128, "--out", tmp_path / "a", "--quiet", "--set", "simulation.n_test=256")
    assert status == 2
    assert "holds out 128 maps, now 256 are asked for" in err

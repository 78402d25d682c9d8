"""A run folder is a run's by its card and its names; nothing else is ever removed, and one process writes it."""

import json
import os
import subprocess
import sys
import time

import pytest

from gcesbi import InputError
from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.settings import load_settings
from gcesbi.simulation import SkyModel

TINY = load_settings("test", ["sky.nside=16", "sky.n_energy=1", "sky.weeks=30"])
MODEL = SkyModel.build(TINY.sky_of_maps)


def create(folder, overwrite=False):
    return RunFolder.create(folder, TINY, MODEL, overwrite=overwrite)


def test_somebody_elses_run_json_is_no_marker(tmp_path):
    (tmp_path / "run.json").write_text('{"project": "mine"}')
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="is no run folder, and is not overwritten"):
        create(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "x"


@pytest.mark.parametrize(
    "name", ["thesis.tex", "weights/notes.csv", "simulations/mine/data.zip", "posteriors/fit.nc", ".hidden", "empty/"]
)
def test_what_no_run_wrote_is_named_and_kept(tmp_path, name):
    folder = create(tmp_path / "run").folder
    strange = folder / name
    strange.parent.mkdir(parents=True, exist_ok=True)
    strange.mkdir() if name.endswith("/") else strange.write_text("x")
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError, match=f"holds what no run wrote, and is not overwritten: .*{name.rstrip('/')}"):
        create(folder, overwrite=True)
    assert sorted(folder.rglob("*")) == before


def test_what_runs_write_is_replaced_and_links_are_not_followed(tmp_path):
    folder = create(tmp_path / "run").folder
    elsewhere = tmp_path / "maps"
    elsewhere.mkdir()
    (elsewhere / "00000.zip").write_text("x")
    (folder / "simulations").symlink_to(elsewhere)
    for name in ("weights/spectra.checkpoint", "posteriors/nptf.nc", "weights/.0123abcd@host-1.partial.spectra.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    create(folder, overwrite=True)
    assert {path.name for path in folder.iterdir()} <= {"run.json", "run.lock", "sky.npz"}
    assert (elsewhere / "00000.zip").read_text() == "x"


def test_a_run_whose_making_was_stopped_is_made_by_the_same_command(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gcesbi.analysis.folder.keep_sky", stop)
    with pytest.raises(KeyboardInterrupt):
        create(tmp_path / "run")
    monkeypatch.undo()
    half = tmp_path / "run" / f".0123abcd@{os.uname().nodename}-999999999.partial.sky.npz"
    half.write_text("x")
    assert not RunFolder.exists(tmp_path / "run")
    with pytest.raises(InputError, match="was not made to its end; give the command that began it again"):
        RunFolder.open(tmp_path / "run")
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="exists; choose another folder"):
        create(tmp_path / "run")
    (tmp_path / "run" / "thesis.tex").unlink()
    assert RunFolder.begin(tmp_path / "run", TINY, MODEL).settings == TINY
    assert not half.exists()
    (tmp_path / "other").mkdir()
    half = tmp_path / "other" / f".0123abcd@{os.uname().nodename}-999999999.partial.run.json"
    half.write_text("{")
    create(tmp_path / "other")
    assert not half.exists()


def test_the_writer_sweeps_what_the_dead_left_half_written_and_nothing_else(tmp_path):
    folder = create(tmp_path / "run").folder
    host = os.uname().nodename
    left, kept = [], []
    for place in (folder, folder / "weights", folder / "posteriors"):
        place.mkdir(exist_ok=True)
        left.append(place / f".0123abcd@{host}-999999999.partial.results.json")
        kept += [place / f".0123abcd@{host}-{os.getpid()}.partial.results.json", place / ".0@elsewhere-1.partial.x"]
    for path in (*left, *kept):
        path.write_text("x")
    with RunFolder.open(folder).writing():
        pass
    assert [path.exists() for path in (*left, *kept)] == [False] * len(left) + [True] * len(kept)


def test_a_given_model_must_be_that_of_the_run_that_goes_on(tmp_path):
    folder = create(tmp_path / "run").folder
    part = MODEL.with_region(type(MODEL.region)(16, MODEL.region.pixels[3:]))
    with pytest.raises(InputError, match="holds a run of another model"):
        RunFolder.begin(folder, TINY, part)


HOLD = """
import sys, time
from gcesbi.analysis.keeping import only_writer
from pathlib import Path
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_writer_is_told_of_the_first_and_the_dead_hold_nothing(tmp_path):
    run = create(tmp_path / "run")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.folder)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    try:
        told = rf"is being written by process {holder.pid} on {os.uname().nodename}"
        for write in (lambda: run.writing().__enter__(), lambda: create(run.folder, overwrite=True)):
            with pytest.raises(InputError, match=told):
                write()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with run.writing(), run.writing():  # what was held by the dead is free; this process may enter again
        assert str(os.getpid()) in (run.folder / "run.writer").read_text()
    assert not (run.folder / "run.writer").exists()


def test_a_folder_that_cannot_be_locked_is_written_all_the_same(tmp_path, monkeypatch):
    run = create(tmp_path / "run")

    def refuse(self):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("filelock._unix.UnixFileLock._acquire", refuse)
    with run.writing():
        run.write_json("results.json", {})


def test_a_run_on_a_part_of_its_sky_opens_again(tmp_path):
    part = MODEL.with_region(type(MODEL.region)(16, MODEL.region.pixels[3:]))
    run = RunFolder.create(tmp_path / "run", TINY, part)
    assert RunFolder.open(run.folder).model.fingerprint == part.fingerprint
    card = json.loads((run.folder / "run.json").read_text())
    for region in (5, {"nside": 16}, {"nside": 16, "runs": "x"}):
        (run.folder / "run.json").write_text(json.dumps(card | {"region": region}))
        with pytest.raises(InputError, match=r"run.json is damaged \(region"):
            _ = RunFolder.open(run.folder).model


def test_settings_of_a_run_are_used_or_refused_by_name(tmp_path):
    run = create(tmp_path / "run")
    for change, told in (
        ("sky.gamma=1.0", "another sky.gamma: 1.2, now 1.0"),
        ("seed=5", "another seed: 1, now 5"),
        ("simulation.store='elsewhere'", "another simulation.store"),
    ):
        with pytest.raises(InputError, match=told):
            RunFolder.begin(run.folder, load_settings(TINY, [change]))
    adopted = RunFolder.begin(run.folder, load_settings(TINY, ["training.max_maps=512", "simulation.n_train=64"]))
    assert adopted.settings.training.max_maps == 512
    assert adopted.settings.simulation.n_train == TINY.simulation.n_train  # never fewer
    assert RunFolder.open(run.folder).settings == adopted.settings


def test_weights_of_just_this_training_are_not_made_again(tmp_path):
    from gcesbi.analysis.simulate import simulate
    from gcesbi.analysis.train import train

    small = ["simulation.n_train=128", "simulation.n_test=128", "training.max_maps=256", "network.widths=[4, 8]"]
    settings = load_settings(TINY, [*small, "network.n_features=8"])
    run = RunFolder.create(tmp_path / "run", settings, MODEL)
    simulate(run)
    first = train(run, only=["spectra"])
    written = run.weights("spectra").stat().st_mtime_ns
    time.sleep(0.01)
    assert train(run, only=["spectra"]) == first
    assert run.weights("spectra").stat().st_mtime_ns == written
    other = RunFolder.begin(run.folder, load_settings(settings, ["training.max_maps=384"]), MODEL)
    assert train(other, only=["spectra"])["spectra"].maps == 384
    data = bytearray(run.weights("spectra").read_bytes())
    data[-5] ^= 4
    run.weights("spectra").write_bytes(data)
    assert train(other, only=["spectra"])["spectra"].maps == 384  # what is damaged is made anew
    assert run.weights("spectra").read_bytes() != bytes(data)

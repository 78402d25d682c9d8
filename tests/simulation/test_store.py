"""The store of simulations: whole or not at all, same bytes however it was filled."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from gcesbi import InputError, Simulations, SimulationStore, Simulator, SkyModel
from gcesbi.simulation.simulator import SHARD

NAMES = ("theta", "counts", "flux", "scd", "n_sources")


@pytest.fixture(scope="module")
def simulator():
    return Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=2, weeks=30))


def content(folder):
    """Bytes of every file of a local store, hidden ones included."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def folder(simulator, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "maps"
    SimulationStore.create(folder, simulator, seed=3).fill(simulator, 4 * SHARD, workers=2)
    return folder


@pytest.fixture
def store(simulator, folder, tmp_path):
    """A store of four shards that a test may damage."""
    for name, data in content(folder).items():
        (tmp_path / name).write_bytes(data)
    return SimulationStore.open(tmp_path)


def test_what_is_read_is_what_is_drawn(simulator, folder):
    store = SimulationStore.open(folder)
    assert len(store) == 4 * SHARD
    read, drawn = store.read(10, SHARD + 20), simulator.sample(SHARD + 20, seed=3)
    for name in NAMES:
        assert np.array_equal(getattr(read, name), getattr(drawn, name)[10:])
    assert read.counts.dtype == drawn.counts.dtype


def test_the_card_holds_full_settings_and_builds_the_model_again(simulator, folder):
    card = json.loads((folder / "store.json").read_text())
    assert card["sky"] == simulator.model.settings.model_dump(mode="json")
    assert (card["schema"], card["seed"], card["fingerprint"]) == (2, 3, simulator.model.fingerprint)
    assert card["draws"] == simulator.draws
    again = SimulationStore.open(folder).simulator()
    assert np.array_equal(again.shard(1, 3).counts, simulator.shard(1, 3).counts)


def test_any_url_holds_the_same_store(simulator, folder):
    store = SimulationStore.create("memory://here/maps", simulator, seed=3)
    store.fill(simulator, 4 * SHARD)
    wanted = content(folder)
    assert {name: store.place.read(name) for name in store.place.names()} == wanted
    again = SimulationStore.open("memory://here/maps")
    assert len(again) == 4 * SHARD
    assert np.array_equal(again.read(100, 300).counts, SimulationStore.open(folder).read(100, 300).counts)


def test_bytes_depend_on_neither_workers_nor_order(simulator, folder, tmp_path):
    store = SimulationStore.create(tmp_path / "maps", simulator, seed=3)
    store.fill(simulator, SHARD)
    store.fill(simulator, 4 * SHARD, workers=3)
    (tmp_path / "maps" / "00001.zip").unlink()
    assert len(store) == SHARD
    untouched = (tmp_path / "maps" / "00002.zip").stat().st_mtime_ns
    store.fill(simulator, 4 * SHARD)
    assert (tmp_path / "maps" / "00002.zip").stat().st_mtime_ns == untouched
    assert content(tmp_path / "maps") == content(folder)


def test_a_store_of_another_version_of_the_draws_is_read_and_not_filled(simulator, store):
    card = Path(store.url) / "store.json"
    card.write_text(card.read_text().replace(f'"draws": {simulator.draws}', '"draws": 1'))
    old = SimulationStore.open(store.url)
    assert len(SimulationStore.create(store.url, simulator, seed=3).read()) == 4 * SHARD
    old.fill(simulator, 4 * SHARD)
    for refused in (lambda: old.fill(simulator, 5 * SHARD), lambda: old.repair(simulator)):
        with pytest.raises(InputError, match=r"drawn by version 1 of the simulator, which is now \d+ and would draw"):
            refused()


# -- interruptions ----------------------------------------------------------------------------------------------

FILL = """
import os, shutil, signal, sys
from gcesbi import SimulationStore, Simulator, SkyModel
folder, n = sys.argv[1], int(sys.argv[2])
simulator = Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=1, weeks=30))
simulator.prepare()
fsync = os.fsync

def status_of_filling(deadly):
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def deadly_fsync(file):
        nonlocal deadly
        deadly -= 1
        if deadly == 0:
            os.kill(os.getpid(), signal.SIGKILL)  # data are written under another name, and not renamed yet
        fsync(file)

    os.fsync = deadly_fsync
    SimulationStore.create(folder, simulator, seed=5).fill(simulator, n, 2)
    os._exit(0)

sys.stdout.write(f"{status_of_filling(4)} ")
shutil.copytree(folder, folder + "-left")
sys.stdout.write(f"{status_of_filling(0)}")
"""


def test_kill_9_in_the_middle_of_a_write(tmp_path):
    words = [sys.executable, "-c", FILL, str(tmp_path / "killed"), str(8 * SHARD)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == f"{-signal.SIGKILL} 0", done.stderr
    left = {path.name for path in (tmp_path / "killed-left").iterdir()}
    assert any(".partial." in name for name in left)
    assert 0 < len([name for name in left if name.endswith(".zip")]) < 8
    simulator = Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=1, weeks=30))
    SimulationStore.create(tmp_path / "whole", simulator, seed=5).fill(simulator, 8 * SHARD)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert len(content(tmp_path / "whole")) == 9


@pytest.mark.slow
def test_kill_9_of_the_command_line_at_any_moment(tmp_path):
    """Of one process; tests/faults/test_kill.py has several."""
    n_shard = 24
    changes = ("sky.nside=16", "sky.n_energy=1", "sky.weeks=30", "simulation.n_test=128")
    words = ["simulate", "--preset", "test", "--n", str((n_shard - 1) * SHARD), "--workers", "2", "--quiet"]
    words += [word for change in changes for word in ("--set", change)]
    words += ["--backend", "threads", "--out", str(tmp_path / "run")]
    command = [str(Path(sys.executable).with_name("gcesbi")), *words]
    folder = tmp_path / "run" / "simulations"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while len(list(folder.glob("*.zip"))) < 3:
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(list(folder.glob("*.zip"))) < n_shard  # or this would test nothing
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    simulator = Simulator(SkyModel.preset("inner-galaxy", nside=16, n_energy=1, weeks=30))
    SimulationStore.create(tmp_path / "whole", simulator, seed=1).fill(simulator, n_shard * SHARD)
    assert content(folder) == content(tmp_path / "whole")


def test_half_written_files_of_living_writers_are_left_alone(simulator, store):
    mine = store.place.url + f"/.00000000@{os.uname().nodename}-{os.getpid()}.partial.00009.zip"
    theirs = store.place.url + "/.00000000@elsewhere-1.partial.00009.zip"
    for path in (mine, theirs):
        Path(path).write_bytes(b"torn")
    store.fill(simulator, SHARD)
    assert Path(mine).is_file()
    assert Path(theirs).is_file()
    os.utime(theirs, (0, 0))
    store.fill(simulator, SHARD)
    assert not Path(theirs).exists()


# -- damage -----------------------------------------------------------------------------------------------------


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[: len(data) // 2]
    elif how == "empty":
        data = bytearray()
    elif how == "exchanged":
        data = bytearray(path.with_name("00000.zip").read_bytes())
    else:
        data[int(how) % len(data)] ^= 0x01
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "empty", "exchanged", 0, 7, 500, 20_000, -1, -100])
def test_a_damaged_shard_is_named_never_read_and_repaired(simulator, folder, store, how):
    path = Path(store.url, "00002.zip")
    damage(path, how)
    message = r"00002\.zip: (is damaged|holds maps of shard 0, must be 2).*--repair"
    with pytest.raises(InputError, match=message):
        store.read()
    with pytest.raises(InputError, match=message):
        store.shard(2)
    assert len(store.read(0, 2 * SHARD)) == 2 * SHARD
    untouched = Path(store.url, "00001.zip").stat().st_mtime_ns
    assert store.damaged() == ("00002.zip",)
    assert store.repair(simulator) == ("00002.zip",)
    assert store.repair(simulator) == ()
    assert Path(store.url, "00001.zip").stat().st_mtime_ns == untouched
    assert content(store.url) == content(folder)


def test_a_missing_shard_is_told(store):
    Path(store.url, "00001.zip").unlink()
    assert len(store) == SHARD
    with pytest.raises(InputError, match=r"00001\.zip: is missing"):
        store.shard(1)
    with pytest.raises(InputError, match="holds 128 maps, asked for 0 to 256"):
        store.read(0, 2 * SHARD)


# -- a disk that refuses ----------------------------------------------------------------------------------------


def test_a_full_disk_is_one_clear_error_and_the_store_stays_valid(simulator, folder, tmp_path, monkeypatch):
    store = SimulationStore.create(tmp_path / "maps", simulator, seed=3)
    fsync, calls = os.fsync, []

    def full(file):
        calls.append(file)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError) as told:
            store.fill(simulator, 4 * SHARD, workers=2)
    assert "cannot be written (No space left on device)" in str(told.value)
    assert "make room and run the same command again" in str(told.value)
    assert "\n" not in str(told.value)
    assert {path.suffix for path in (tmp_path / "maps").iterdir()} <= {".json", ".zip"}
    assert store.damaged() == ()
    store.fill(simulator, 4 * SHARD)
    assert content(tmp_path / "maps") == content(folder)


def test_a_write_that_the_kernel_cuts_leaves_nothing_behind(simulator, folder, tmp_path):
    """RLIMIT_FSIZE: the kernel takes the first bytes of a file and refuses the rest."""
    store = SimulationStore.create(tmp_path / "maps", simulator, seed=3)
    size = (folder / "00000.zip").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, hard))
    try:
        with pytest.raises(InputError, match=r"0000\d\.zip: cannot be written \(File too large\)"):
            store.fill(simulator, 4 * SHARD)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set(content(tmp_path / "maps")) == {"store.json"}
    store.fill(simulator, 4 * SHARD)
    assert content(tmp_path / "maps") == content(folder)


# -- memory -----------------------------------------------------------------------------------------------------


class Heavy:
    """A simulator whose shards weigh 4 MB."""

    draws = Simulator.draws

    def __init__(self, simulator):
        self.model = simulator.model

    def prepare(self):
        pass

    def shard(self, k, seed):
        rng = np.random.default_rng([k, seed])
        labels = np.zeros((SHARD, 1))
        counts = rng.integers(600, size=(SHARD, 1, 2**14), dtype=np.uint16)
        return Simulations(labels, counts, labels[:, :, None], labels[:, :, None], labels)


@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_number_of_maps(simulator, tmp_path, workers):
    """Peak of what NumPy and Python allocate: that of 12 shards is that of 4, within a quarter of a shard."""

    def peak(n_shard):
        store = SimulationStore.create(tmp_path / str(n_shard), simulator, seed=1)
        tracemalloc.start()
        try:
            store.fill(Heavy(simulator), n_shard * SHARD, workers)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    slack = 2**20 if workers == 1 else 12 * 2**20  # two threads meet at their peaks, or do not
    assert peak(12) < peak(4) + slack


# -- refusals ---------------------------------------------------------------------------------------------------


def test_another_model_or_seed_is_refused(simulator, folder):
    with pytest.raises(InputError, match="holds maps of seed 3, asked for 4"):
        SimulationStore.create(folder, simulator, seed=4)
    other = Simulator(SkyModel.preset(nside=8, n_energy=1, weeks=30))
    with pytest.raises(InputError, match=r"holds maps of model .*n_energy 2, not 1; nside 16, not 8"):
        SimulationStore.create(folder, other, seed=3)
    for call in (lambda store: store.fill(other, 5), lambda store: store.repair(other)):
        with pytest.raises(InputError, match="holds maps of model"):
            call(SimulationStore.open(folder))


def test_a_shard_of_another_model_is_not_read(simulator, store, tmp_path):
    other = Simulator(SkyModel.preset(nside=8, n_energy=1))
    SimulationStore.create(tmp_path / "other", other, seed=3).fill(other, SHARD)
    Path(store.url, "00000.zip").write_bytes((tmp_path / "other" / "00000.zip").read_bytes())
    with pytest.raises(InputError, match=f"holds maps of fingerprint '{other.model.fingerprint}', must be"):
        store.read(0, 5)


def test_bad_stores_are_refused(folder, tmp_path, simulator):
    card = json.loads((folder / "store.json").read_text())
    with pytest.raises(InputError, match="no store at"):
        SimulationStore.open(tmp_path)
    for text, message in (
        ("{", "is damaged"),
        ("[]", "is damaged"),
        (json.dumps({"schema": 2}), "is damaged"),
        (json.dumps(card | {"schema": 99}), "schema must be 2, got 99"),
        (json.dumps(card | {"shard": 64}), "maps per shard must be 128, got 64"),
    ):
        (tmp_path / "store.json").write_text(text)
        with pytest.raises(InputError, match=message):
            SimulationStore.open(tmp_path)
    store = SimulationStore.open(folder)
    with pytest.raises(InputError, match=f"holds {4 * SHARD} maps, asked for 0 to 5000"):
        store.read(0, 5000)
    with pytest.raises(InputError, match="n, workers: must be at least 1, got 0, 1"):
        store.fill(simulator, 0)
    with pytest.raises(InputError, match="store: 'nonsense://x' cannot be opened"):
        SimulationStore.open("nonsense://x")

"""Kill commands at random moments, give the same command again, and compare what is left with an unkilled run.

``python tests/faults/kill.py 20`` (``make kill``) kills each of :data:`JOBS` in turn, 20 times together.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import arviz
import numpy as np

from gcesbi.io.files import read_arrays

SETS = [
    "sky.nside=16",
    "sky.n_energy=2",
    "sky.weeks=30",
    "simulation.n_test=128",
    "simulation.n_train=256",
    "training.max_maps=3000",
    "training.checkpoint_every=5",
    "network.widths=[4,8]",
    "network.n_features=8",
]
TINY = ["--preset", "test", *(word for item in SETS for word in ("--set", item))]
NESTED = ["--set", 'nptf.sampler="nested"', "--set", "nptf.n_live=20", "--set", "nptf.n_eff=20"]
ENSEMBLE = ["--set", 'nptf.sampler="ensemble"', "--set", "nptf.n_steps=100"]
IMAGES = ["--preset", "images-test"]

JOBS = {
    "simulate": (["simulate", *TINY, "--out", "{run}", "--workers", "2", "--quiet"], []),
    "train": (["train", "{run}", "--quiet"], ["simulate"]),
    "infer": (["infer", "{run}", "--observation", "{map}/observation.fits", "--quiet"], ["simulate", "train"]),
    "validate": (["validate", "{run}", "--quiet"], ["simulate", "train"]),
    "nested": (["fit", "nptf", *TINY, *NESTED, "--out", "{run}", "--quiet"], []),
    "ensemble": (["fit", "nptf", *TINY, *ENSEMBLE, "--out", "{run}", "--quiet"], []),
    "images": (["images", "simulate", *IMAGES, "--out", "{run}", "--quiet"], []),
    "images-train": (["images", "train", "{run}", "--quiet"], ["images"]),
    "quickstart": (["quickstart", *TINY, *ENSEMBLE, "--out", "{run}", "--quiet"], []),
    "paper": (None, []),
}
"""Words of every command, and the jobs that come before it in its folder; the paper has a command of its own."""


def command(name, folder):
    if name == "paper":
        return [
            sys.executable,
            "-m",
            "paper",
            "--scale",
            "test",
            "--paper",
            "list2025",
            "--only",
            "S17",
            "--out",
            str(folder / "run"),
        ]
    places = {"run": str(folder / "run"), "map": str(folder / "map")}
    program = Path(sys.executable).with_name("gcesbi")
    return [str(program), *(word.format(**places) for word in JOBS[name][0])]


def run(words, after=None, number=signal.SIGKILL):
    """Run a command, killed with its children after some seconds of work; its exit status, words and seconds of work.

    Work is processor time: a busy machine, or a quiet one, does not change when a command is through with half of it.
    """
    environment, worked = {**os.environ, "OMP_NUM_THREADS": "1"}, 0.0
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(words, stdout=told, stderr=told, start_new_session=True, env=environment)
        while process.poll() is None:
            worked = max(worked, work(process.pid))
            if after is not None and worked >= after:
                os.killpg(process.pid, number)
                process.wait(60)
            time.sleep(0.1)
        told.seek(0)
        return process.returncode, told.read(), worked


def work(session):
    """Processor time of a session's processes, in seconds, and of those that they have waited for."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def content(folder):
    """What a run's folder holds, but for times: weights, shards, draws and figures."""
    held = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix in (".safetensors", ".zip", ".fits"):
            held[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.suffix == ".npz":  # the archive says when it was written
            arrays = read_arrays(path).items()
            held[name] = {key: hashlib.sha256(values.tobytes()).hexdigest() for key, values in arrays}
        elif path.suffix == ".nc":
            data = arviz.from_netcdf(path)["posterior"]
            held[name] = {key: float(np.sum(values.to_numpy())) for key, values in data.items()}
        elif path.suffix == ".json" and path.parent.name != "weights":
            held[name] = _without_times(json.loads(path.read_text()))
    return held


def _without_times(value):
    if isinstance(value, dict):
        as_it_went = [key for key in value if "second" in key or key == "resumed"]
        return {key: _without_times(each) for key, each in value.items() if key not in as_it_went}
    return [_without_times(each) for each in value] if isinstance(value, list) else value


def _unlike(one, other, at=""):
    """Where two contents differ, with what they hold there."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [line for key in keys for line in _unlike(one.get(key), other.get(key), f"{at}/{key}")]
    return [] if one == other else [f"{at}: {str(one)[:80]}, not {str(other)[:80]}"]


def prepare(name, folder):
    """A folder in which a job can begin."""
    folder.mkdir()
    if name == "infer":
        status, told, _ = run(_mock(folder))
        assert status == 0, told
    for before in JOBS[name][1]:
        status, told, _ = run(command(before, folder))
        assert status == 0, told


def _mock(folder):
    words = [word.replace("{run}", str(folder / "map")) for word in JOBS["ensemble"][0]]
    words[1] = "poisson"
    return [str(Path(sys.executable).with_name("gcesbi")), *words]


def kills(name, n, seed, folder, number=signal.SIGKILL):
    """Kill a job `n` times at random moments of its work; what went wrong, a line each."""
    found, rng = [], random.Random(f"{seed} {name}")
    prepare(name, folder / "ready")
    shutil.copytree(folder / "ready", folder / "whole")
    status, told, seconds = run(command(name, folder / "whole"))
    if status not in (0, 3):
        return [f"{name}: ends with {status}: {told[-500:]}"]
    wanted = content(folder / "whole" / "run")
    left = n
    while left:
        place, after = folder / f"killed-{left}", seconds * rng.uniform(0.1, 0.9)
        shutil.copytree(folder / "ready", place)
        where = f"{name} killed after {after:.1f} of {seconds:.1f} s of work"
        killed, said, worked = run(command(name, place), after, number)
        if killed == status:  # through sooner than the first, which compiled
            seconds = worked
            shutil.rmtree(place)
            continue
        left -= 1
        again, told, rest = run(command(name, place))
        if killed != -number or "Traceback" in said + told or again != status:
            found.append(f"{where}: {killed}, then {again}: {(said + told)[-500:]}")
        elif (got := content(place / "run")) != wanted:
            found.append(f"{where}: other content of {_unlike(got, wanted)[:5]}")
        else:
            print(f"{where}: the same after {rest:.1f} s more", flush=True)  # noqa: T201
        shutil.rmtree(place)
    return found


if __name__ == "__main__":
    total, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    names = sys.argv[3:] or list(JOBS)
    found = []
    for k, name in enumerate(names):
        share = total // len(names) + (k < total % len(names))
        with tempfile.TemporaryDirectory() as folder:
            lines = kills(name, share, seed, Path(folder))
        print(f"{name}: {share} kills, {len(lines)} faults", *lines, sep="\n", flush=True)  # noqa: T201
        found += lines
    sys.exit(bool(found))

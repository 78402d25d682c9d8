"""Commands on full disks, read-only folders, strange consoles and launchers: the answer first, then one line."""

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import biject_to

from gcesbi import Simulator, SkyModel, write_observation
from gcesbi.analysis.gate import calibrate_gate
from gcesbi.analysis.infer import infer
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.simulate import mock_observation
from gcesbi.baselines import NPTF, PoissonFit, goodness_of_fit
from gcesbi.cli import main as cli
from gcesbi.errors import InputError
from gcesbi.estimators.training.devices import is_main_process, launch
from gcesbi.io.files import reason
from gcesbi.networks.defaults import own_defaults
from gcesbi.validation.pit import normal_density

SETS = [
    "sky.nside=16",
    "sky.n_energy=1",
    "sky.weeks=30",
    "simulation.n_test=128",
    "simulation.n_train=128",
    "training.max_maps=256",
    "network.widths=[4,8]",
    "network.n_features=8",
    "nptf.n_steps=40",
]
TINY = ["--preset", "test", *(word for item in SETS for word in ("--set", item))]
GCESBI = (sys.executable, "-c", "from gcesbi.cli.start import main; main()")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run with a map of its own."""
    run = Run.create(tmp_path_factory.mktemp("commands") / "run", load_settings("test", SETS))
    run.simulate()
    run.train()
    run.write_observation(mock_observation(run)[0])
    calibrate_gate(run, 1200)
    return run.folder


@pytest.fixture
def call(monkeypatch, capfd):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gcesbi", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return status, " ".join(out.split()), err

    return run


def refuse_writing(monkeypatch, folder, number):
    """Let the system refuse to write in a folder, as read-only file systems do; root is bound by no mode bits."""

    def refusing(function, is_writing):
        def guarded(path, *arguments, **named):
            inside = isinstance(path, (str, Path)) and str(path).startswith(str(folder))
            if inside and is_writing(*arguments, **named):
                raise OSError(number, os.strerror(number), str(path))
            return function(path, *arguments, **named)

        return guarded

    def writes(mode="r", *_, **named):
        return named.get("mode", mode)[0] in "wax"

    monkeypatch.setattr(io, "open", refusing(io.open, writes))
    monkeypatch.setattr(os, "open", refusing(os.open, lambda flags, *_, **__: bool(flags & (os.O_RDWR | os.O_WRONLY))))
    monkeypatch.setattr(os, "mkdir", refusing(os.mkdir, lambda *_, **__: True))


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("command", ["infer", "validate", "fit", "train"])
def test_the_answer_comes_first_then_one_line_where_nothing_can_be_written(call, folder, command, number, monkeypatch):
    words = {"fit": ["fit", "poisson", "--out", folder], "train": ["train", folder, "--only", "npe"]}
    with monkeypatch.context() as patched:
        refuse_writing(patched, folder, number)
        status, out, err = call(*words.get(command, [command, folder]), "--quiet")
    assert status == 2
    assert err.count("\n") == 1
    assert os.strerror(number) in err
    answers = {"infer": "what is the excess?", "validate": "maps that training never saw", "fit": "ln L", "train": ""}
    assert answers[command] in out
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


def test_a_disk_that_fills_up_ends_no_process(folder):
    """A limit on the size of files is a full disk that the system itself enforces; the console knows latin-1 alone."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [*GCESBI, "infer", folder, "--quiet"],
        preexec_fn=limit,
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "MPLBACKEND": "module://notebook"},
        capture_output=True,
        check=False,
        timeout=300,
    )
    err = done.stderr.decode("latin-1")
    assert done.returncode == 2, err
    assert b"networks" in done.stdout
    assert err.startswith("gcesbi: error: ")
    assert "File too large" in err
    assert err.count("\n") == 1


def test_a_reader_who_leaves_a_pipe_stops_no_fit(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    words = [*GCESBI, "fit", "poisson", "--out", tmp_path / "run", "--quiet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as fit:
        fit.stdout.close()
        assert fit.stderr.read() == b""
    assert fit.returncode == 0
    assert (tmp_path / "run" / "posteriors" / "poisson.nc").is_file()
    assert (tmp_path / "run" / "poisson.json").is_file()


def test_a_stopped_command_says_so_in_one_line_from_its_first_moment(tmp_path):
    out = str(tmp_path / "at all")
    for after, number, status in ((0.4, signal.SIGINT, 130), (1.0, signal.SIGTERM, 143)):
        process = subprocess.Popen([*GCESBI, "simulate", *TINY, "--out", out], stderr=subprocess.PIPE)
        time.sleep(after)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if process.returncode == -number:  # before Python had begun
            continue
        assert process.returncode == status, err
        assert b"Traceback" not in err
        assert b"the same command goes on: gcesbi simulate" in err
        assert err.endswith(f"--out '{out}'\n".encode())


def test_a_folder_that_cannot_be_copied_is_told_by_its_first_file():
    error = shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'"), ("c", "d", "the same")])
    assert reason(error) == "[Errno 28] No space left on device: 'b'"


def test_a_signal_where_nothing_can_be_raised_ends_a_command_too():
    words = """
import os, signal
from gcesbi.cli.start import until_stopped
class Gone:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
until_stopped("gcesbi", lambda: (Gone() and None, print("goes on")))
"""
    found = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (143, "")
    assert found.stderr.strip().startswith("gcesbi: terminated; what was written is whole")
    assert found.stderr.strip().count("\n") == 0


def test_the_papers_are_stopped_in_one_line_while_they_are_imported(tmp_path):
    words = [sys.executable, "-m", "paper", "--scale", "test", "--out", tmp_path / "run"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    time.sleep(0.8)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    if process.returncode != -signal.SIGINT:  # Python had begun
        assert (process.returncode, err.strip().count(b"\n")) == (130, 0)
        assert b"the same command goes on: python -m paper --scale test" in err


def test_a_batch_system_that_ends_a_training_leaves_a_checkpoint(folder, tmp_path):
    run = Run.begin(folder, load_settings("test", [*SETS, "training.max_maps=1000000", "training.log_every=1"]))
    log, checkpoint = run.training_log("npe"), run.checkpoint("npe")
    process = subprocess.Popen([*GCESBI, "train", folder, "--only", "npe", "--quiet"], stderr=subprocess.PIPE)
    while process.poll() is None and not (log.exists() and log.stat().st_size > 200):
        time.sleep(0.1)
    process.terminate()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143, err
    assert b"terminated; what was written is whole" in err
    assert checkpoint.is_file()
    checkpoint.unlink()
    run.adopt(load_settings("test", SETS))


def test_reading_a_run_writes_nothing_where_it_points(call, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    card = json.loads((tmp_path / "run" / "run.json").read_text())
    card["settings"]["simulation"]["store"] = str(tmp_path / "elsewhere")
    (tmp_path / "run" / "run.json").write_text(json.dumps(card))
    for command in ("validate", "train"):
        call(command, tmp_path / "run", "--quiet")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("launcher", [{"RANK": "1"}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "x"}])
def test_no_launcher_changes_a_training_of_one_process(launcher, monkeypatch):
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    fabric = launch(1, "float32")
    assert (fabric.world_size, fabric.global_rank, fabric.is_global_zero) == (1, 0, True)
    assert is_main_process(1)


def test_other_defaults_of_torch_and_numpy_change_nothing_and_come_back():
    torch.set_default_dtype(torch.float64)
    try:
        with own_defaults():
            assert torch.zeros(1).dtype == torch.float32
        assert torch.zeros(1).dtype == torch.float64
        with np.errstate(all="raise"), own_defaults():
            assert np.geterr() == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
    finally:
        torch.set_default_dtype(torch.float32)


def test_numbers_that_underflow_are_no_error_where_the_user_made_them_one():
    with np.errstate(all="raise"):
        model = SkyModel.preset(nside=16, n_energy=2, weeks=30)
        seen, _ = Simulator(model).observe(model.prior().draw(1, np.random.default_rng(3))[0], seed=1)
        assert np.isfinite(PoissonFit(model, seen).run().log_likelihood)
        assert normal_density(60.0) == 0


def test_a_map_of_another_sky_is_refused_first_and_with_status_3(call, folder, tmp_path):
    seen = Run.open(folder).observation()
    write_observation(tmp_path / "bright.fits", replace(seen, counts=seen.counts * 50 + 7))
    status, out, err = call("infer", folder, "--observation", tmp_path / "bright.fits", "--quiet")
    assert (status, err) == (3, "")
    assert out.index("REFUSED") < out.index("flux fraction")
    (kept,) = (folder / "maps").glob("*/posteriors/networks.json")
    assert '"refused": ' in kept.read_text()
    shutil.rmtree(folder / "maps")
    write_observation(tmp_path / "dark.fits", replace(seen, counts=0 * seen.counts))
    status, _, err = call("infer", folder, "--observation", tmp_path / "dark.fits", "--quiet")
    assert status == 2
    assert "must hold photons" in err


def test_a_map_without_photons_is_fitted_by_nothing(call, folder, tmp_path):
    seen = Run.open(folder).observation()
    write_observation(tmp_path / "dark.fits", replace(seen, counts=0 * seen.counts))
    for words in (("fit", "poisson"), ("fit", "nptf"), ("quickstart",)):
        status, _, err = call(*words, *TINY, "--observation", tmp_path / "dark.fits", "--out", tmp_path / "out")
        assert (status, err.count("\n")) == (2, 1)
        assert "dark.fits' must hold photons, holds none" in err
    assert not (tmp_path / "out").exists()


def test_networks_and_rounds_that_cannot_be_are_refused(call, folder):
    assert "networks: must be one of default, images, robust, got ''" in call("infer", "--networks", "")[2]
    status, _, err = call("infer", folder, "--rounds", 10**12)
    assert (status, err.count("\n")) == (2, 1)
    assert "gcesbi: error: Invalid value for '--rounds'" in err


@pytest.mark.parametrize("name", ["n_steps", "n_live", "n_eff", "n_samples"])
def test_lengths_of_samplers_that_nobody_lives_to_see_are_refused(name):
    with pytest.raises(InputError, match=rf"nptf: {name}: input should be less than or equal to 10+, got 10+"):
        load_settings("test", [f"nptf.{name}={10**12}"])


@pytest.mark.parametrize("most", [10**6, 10**9, 2**53 - 1])
def test_one_pixel_of_very_many_photons_is_fitted_or_refused_by_name(call, folder, tmp_path, most):
    seen = Run.open(folder).observation()
    counts = seen.counts.copy()
    counts[0, 5] = most
    write_observation(tmp_path / "bright.fits", replace(seen, counts=counts))
    words = (*TINY, "--observation", tmp_path / "bright.fits", "--quiet", "--out")
    assert call("fit", "poisson", *words, tmp_path / "poisson")[0] == 0
    assert (tmp_path / "poisson" / "poisson.html").is_file()
    status, _, err = call("fit", "nptf", *words, tmp_path / "nptf")
    assert (status, err.count("\n")) == (2, 1)
    assert f"pixel {seen.region.pixels[5]} holds {most} photons, and the NPTF takes up to 65536" in err


def test_more_photons_than_numbers_can_count_are_refused(folder):
    seen = Run.open(folder).observation()
    with pytest.raises(ValueError, match=r"counts: must be below 2\^53 in every pixel, got 1e\+18"):
        replace(seen, counts=np.full_like(seen.counts, 10**18))


def test_answers_about_another_map_lie_apart_from_the_first(call, folder, tmp_path):
    run = Run.open(folder)
    seen = run.observation()
    assert call("infer", folder, "--quiet")[0] in (0, 3)
    first = {path: path.read_bytes() for path in (folder / "infer.html", folder / "posteriors" / "networks.json")}
    write_observation(tmp_path / "more.fits", replace(seen, counts=seen.counts + 1))
    status, out, _ = call("infer", folder, "--observation", tmp_path / "more.fits", "--quiet")
    assert status in (0, 3)
    assert "another map than the run's own, whose answers stay: kept in" in out
    assert {path: path.read_bytes() for path in first} == first
    (kept,) = (folder / "maps").iterdir()
    names = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert names >= {
        "observation.fits",
        "infer.html",
        "gate.json",
        "posteriors/networks.nc",
        "posteriors/networks.json",
    }
    Run.check_free(folder, overwrite=True)  # a run's own files, all of them


def test_options_are_used_or_refused_by_name(call, folder, tmp_path):
    seen = Run.open(folder).observation()
    part = seen.cut(type(seen.region)(16, seen.region.pixels[2:]))
    write_observation(tmp_path / "part.fits", part)
    part_run = tmp_path / "[/q]"  # no markup
    fit = ["fit", "poisson", "--quiet", "--out"]
    assert call(*fit, part_run, *TINY, "--observation", tmp_path / "part.fits")[0] == 0
    assert Run.open(part_run).model.region == part.region
    assert call(*fit, part_run)[0] == 0
    refused = {
        ("--observation", tmp_path / "part.fits"): "is a run on another map",
        ("--seed", 7): "another seed: 1, now 7",
        ("--set", "nside=banana"): "nside: unknown setting",
        ("--set", "sky=5"): "sky: must be a section",
        ("--diffuse", "banana"): "diffuse: needs --observation with a data folder, got 'banana' without",
        ("--observation", tmp_path / "part.fits", "--mask", "3fgl"): "mask: needs --observation with a data folder",
        ("--mask", "banana"): "mask: must be 3fgl, 4fgl or none, got 'banana'",
    }
    for words, told in refused.items():
        status, _, err = call(*fit, folder, *words)
        assert (status, err.count("\n")) == (2, 1), words
        assert told in err


def test_what_the_disk_cannot_hold_and_nonsense_are_refused_at_once(call, tmp_path):
    words = ["simulate", *TINY, "--out", tmp_path / "run", "--quiet"]
    for more, told in (
        (["--n", 10**12], "maps take at least"),
        (["--scheduler", "nonsense"], "scheduler: must be an address such as tcp://host:8786, got 'nonsense'"),
    ):
        status, _, err = call(*words, *more, "--overwrite")
        assert (status, err.count("\n")) == (2, 1)
        assert told in err


def test_a_run_forgets_what_the_disk_could_not_hold(call, tmp_path):
    words = ["simulate", *TINY, "--out", tmp_path / "run", "--backend", "threads", "--quiet"]
    assert call(*words, "--n", 10**12)[0] == 2
    assert not (tmp_path / "run").exists()
    assert call(*words)[0] == 0
    assert call(*words, "--n", 10**12)[0] == 2
    assert Run.open(tmp_path / "run").settings.simulation.n_train == 128
    images = ["images", "simulate", "--preset", "images-test", "--set", f"simulation.n_train={10**12}"]
    assert "maps take at least" in call(*images, "--out", tmp_path / "images")[2]
    assert not (tmp_path / "images").exists()


def test_numpys_whole_numbers_are_seeds(folder):
    run = Run.open(folder)
    one, two = (run.simulator.sample(3, seed=seed).counts for seed in (5, np.int64(5)))
    np.testing.assert_array_equal(one, two)


def test_other_forms_of_numbers_are_refused_by_name(folder):
    run = Run.open(folder)
    networks, fit = infer(run, run.observation()), PoissonFit(run.model, run.observation()).run()
    generator = np.random.default_rng(1)
    for posterior in (networks, *networks.parts, fit.posterior()):
        for n in ((10,), 2.0, "10", True):
            with pytest.raises(ValueError, match="n: must be a whole number from 1, got"):
                posterior.sample(n)
        with pytest.raises(ValueError, match="seed: must be a whole number from 0, got Generator"):
            posterior.sample(2, generator)
    for draw in (
        lambda: run.simulator.sample(3, seed=generator),
        lambda: fit.sample_posterior(20, seed=generator),
        lambda: goodness_of_fit(fit, seed=generator),
        lambda: NPTF(run.model, run.observation()).run(seed=generator),
    ):
        with pytest.raises(ValueError, match="seed: must be a whole number from 0, got Generator"):
            draw()
    with pytest.raises(ValueError, match=r"n: must be a whole number from 1, got 2\.5"):
        run.simulator.sample(2.5)
    with pytest.raises(ValueError, match=r"maps take at least \d+ GB of memory, there are"):
        run.simulator.sample(10**13)


def test_torchs_forms_of_a_prior_work_or_are_refused_by_name(folder):
    prior = Run.open(folder).model.prior()
    n = len(prior.names)
    assert prior.expand(()) is prior
    assert prior.to("meta").sample((2,)).device == prior.mean.device == torch.device("meta")
    assert prior.to("cpu").sample((2, 3)).shape == (2, 3, n)
    assert biject_to(prior.support).inv(prior.sample((4,))).shape == (4, n)
    for wrong, told in (
        (
            lambda: prior.support.check(torch.zeros(5)),
            rf"last axis must have the {n} parameters, got shape \(5,",
        ),
        (lambda: prior.log_prob(torch.tensor(1.0)), r"last axis must have .*, got shape \(\)"),
        (lambda: prior.expand((3,)), r"batch_shape: the prior has no batch; draw sample\(\(3,\)\)"),
        (lambda: prior.sample(10), r"sample_shape: must be several numbers, as \(10,\), got 10"),
        (lambda: prior.sample((2.0,)), "sample_shape: must be a whole number from 0, got 2.0"),
    ):
        with pytest.raises(ValueError, match=told):
            wrong()


def test_more_processes_than_a_machine_can_have_are_refused(call, tmp_path):
    status, _, err = call("simulate", *TINY, "--workers", 10**6, "--out", tmp_path / "out", "--quiet")
    assert (status, err.count("\n")) == (2, 1)
    assert "workers: must be 1 to 1024, got 1000000" in err

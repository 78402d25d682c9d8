"""The command line: the steps one by one, and bad input with status 2 and one line."""

import subprocess
import sys
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from gcesbi.cli import main as cli

SETS = [
    "sky.nside=16",
    "sky.weeks=30",
    "sky.n_energy=1",
    "simulation.n_test=128",
    "training.max_maps=256",
    "network.widths=[8, 8]",
    "network.n_features=16",
    "nptf.n_steps=40",
]
OPTIONS = ["--preset", "test", *(word for item in SETS for word in ("--set", item))]


def call(monkeypatch, capfd, *words):
    """Exit status, standard output and standard error of a command."""
    monkeypatch.setattr(sys, "argv", ["gcesbi", *map(str, words)])
    try:
        cli.main()
        status = 0
    except SystemExit as end:
        status = end.code or 0
    out, err = capfd.readouterr()
    return status, out, err


SIMULATE = ["simulate", *OPTIONS, "--n", "128", "--workers", "1", "--quiet", "--out"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that was simulated and trained by the command line."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    for words in ([*SIMULATE, str(folder)], ["train", str(folder), "--quiet"]):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", ["gcesbi", *words])
            with pytest.raises(SystemExit) as end:
                cli.main()
        assert not end.value.code
    return folder


def test_the_steps_one_by_one(monkeypatch, capfd, folder):
    status, out, err = call(monkeypatch, capfd, *SIMULATE, folder)
    assert (status, err) == (0, "")
    assert "256 maps in" in out  # goes on, with nothing left to do
    assert (folder / "weights" / "source_counts.safetensors").is_file()
    status, out, err = call(monkeypatch, capfd, "validate", folder)
    assert status == 0, err
    assert "maps that training never saw" in " ".join(out.split())
    assert (folder / "validation.html").is_file()
    status, out, err = call(monkeypatch, capfd, "fit", "poisson", "--out", folder, "--quiet")
    assert status == 2  # a run of simulations has no map of its own yet
    assert "observation.fits" in err


def test_train_knows_its_networks_by_name(monkeypatch, capfd, folder):
    status, out, err = call(monkeypatch, capfd, "train", folder, "--only", "spectrum", "--quiet")
    assert status == 2
    assert "only: must be among spectra, source_counts" in err
    status, out, err = call(monkeypatch, capfd, "train", folder, "--only", "spectra", "--quiet")
    assert status == 0, err
    assert "spectra: 256 maps presented" in out
    assert "source_counts" not in out


def test_fit_makes_a_run_with_a_mock_and_infer_uses_it(monkeypatch, capfd, folder, tmp_path):
    out_folder = tmp_path / "fit"
    status, out, err = call(monkeypatch, capfd, "fit", "poisson", *OPTIONS, "--out", out_folder, "--quiet")
    assert status == 0, err
    assert "ln L" in out
    assert (out_folder / "posteriors" / "poisson.nc").is_file()
    status, out, err = call(monkeypatch, capfd, "fit", "nptf", "--out", out_folder, "--quiet")
    assert status == 0, err
    assert (out_folder / "posteriors" / "nptf.nc").is_file()
    status, out, err = call(monkeypatch, capfd, "infer", folder, "--observation", out_folder / "observation.fits")
    assert status == 0, err
    assert "networks" in out
    assert (folder / "posteriors" / "networks.nc").is_file()


@pytest.mark.parametrize(
    "command", [[], *([c] for c in ("quickstart", "simulate", "train", "infer", "fit", "validate"))]
)
def test_help_has_examples(monkeypatch, capfd, command):
    status, out, _ = call(monkeypatch, capfd, *command, "--help")
    assert status == 0
    assert "Usage" in out
    assert not command or "Example: gcesbi" in out


def healpix_fits(path, counts, **header):
    columns = [fits.Column("counts", "D", array=counts), fits.Column("exposure", "D", array=np.full(len(counts), 1e11))]
    table = fits.BinTableHDU.from_columns(columns)
    for key, value in ({"PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "G", "NSIDE": 16} | header).items():
        if value is not None:
            table.header[key] = value
    table.writeto(path)
    return path


def bad_maps(tmp_path):
    n = hp.nside2npix(16)
    good = np.ones(n)
    negative, fractional, missing = (np.where(hp.pix2ang(16, np.arange(n))[0] > 0, v, v) for v in (-1.0, 0.5, np.nan))
    return {
        "missing file": (tmp_path / "nowhere.fits", "nowhere.fits"),
        "negative": (healpix_fits(tmp_path / "neg.fits", negative), "negative"),
        "fractional": (healpix_fits(tmp_path / "frac.fits", fractional), "whole numbers"),
        "NaN": (healpix_fits(tmp_path / "nan.fits", missing), "finite"),
        "no HEALPix size": (healpix_fits(tmp_path / "size.fits", good[:-5], NSIDE=None), "HEALPix"),
        "undeclared order": (healpix_fits(tmp_path / "order.fits", good, ORDERING=None), "ORDERING"),
    }


def test_bad_maps_end_with_status_2_and_one_line(monkeypatch, capfd, tmp_path):
    for name, (path, word) in bad_maps(tmp_path).items():
        out = tmp_path / "never"
        status, _, err = call(
            monkeypatch, capfd, "quickstart", *OPTIONS, "--observation", path, "--out", out, "--quiet"
        )
        assert status == 2, name
        assert err.count("\n") == 1, (name, err)
        assert word in err, (name, err)
        assert path.name in err, (name, err)
        assert "Traceback" not in err
        assert not out.exists(), name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quickstart", "--preset", "qick"], "preset: must be one of"),
        (["quickstart", "--set", "sky.nsid=3"], "the nearest valid one is 'nside'"),
        (["quickstart", "--diffuse", "O"], "diffuse: needs --observation"),
        (["quickstart", "--observation", "/nowhere/at/all", "--mask", "5fgl"], "/nowhere/at/all"),
        (["train", "/nowhere"], "run: '/nowhere' is no run folder"),
        (["infer", "/nowhere"], "is no run folder"),
        (["fit", "guess", "--out", "x"], "guess"),
        (["simulate", "--out", "x", "--n", "1"], "n_train"),
    ],
)
def test_bad_words_end_with_status_2(monkeypatch, capfd, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = call(monkeypatch, capfd, *words)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_exists_is_kept(monkeypatch, capfd, folder):
    status, _, err = call(monkeypatch, capfd, "simulate", *OPTIONS, "--set", "sky.gamma=1.0", "--out", folder)
    assert status == 2
    assert "was made with another sky" in err


def test_the_installed_command_runs():
    command = Path(sys.executable).with_name("gcesbi")
    done = subprocess.run([command, "train", "/nowhere", "--fats"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gcesbi: error: No such option: --fats")

"""Source distribution and wheel: built from a copy of the checkout, whole, and enough to ask the shipped networks."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import gcesbi

pytest.importorskip("build")
CHECKOUT = Path(__file__).resolve().parents[2]
CODE = {"gcesbi": "gcesbi", "baselines": "gcesbi/baselines", "validation": "gcesbi/validation"}
ROOT = f"gcesbi-{gcesbi.__version__}"


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The source distribution, and the wheel built from it, as ``python -m build`` makes them; no network."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in CODE:
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.nb[ci]"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, source)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def kept(name):
    """Files of the checkout that are code, weights, settings or templates of pages, under their names in a wheel."""
    for path in (CHECKOUT / name).rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".nbc", ".nbi"}:
            yield f"{CODE[name]}/{path.relative_to(CHECKOUT / name).as_posix()}"


def test_the_wheel_holds_the_package_and_nothing_beside_it(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    assert {name for each in CODE for name in kept(each)} - names == set()
    assert {name.split("/")[0] for name in names} == {"gcesbi", f"{ROOT}.dist-info"}
    assert f"{ROOT}.dist-info/licenses/LICENSE" in names


def test_the_source_distribution_builds_that_wheel(built):
    """The wheel was built from it; what a reader wants lies in it too."""
    with tarfile.open(built[0]) as sdist:
        names = set(sdist.getnames())
    assert {f"{ROOT}/{name}" for name in ("pyproject.toml", "README.md", "LICENSE", "PKG-INFO")} <= names


def test_the_wheel_asks_for_what_it_imports_and_for_no_cuda(built):
    with zipfile.ZipFile(built[1]) as wheel:
        told = Parser().parsestr(wheel.read(f"{ROOT}.dist-info/METADATA").decode())
        assert b"gcesbi = gcesbi.cli.start:main" in wheel.read(f"{ROOT}.dist-info/entry_points.txt")
    needed = [each for each in told.get_all("Requires-Dist") if "extra ==" not in each]
    assert any(each.startswith("six") for each in needed)
    assert not [each for each in needed if "nvidia" in each or "cuda" in each]
    assert {"3.11", "3.12", "3.13"} <= {each.rsplit(" ", 1)[1] for each in told.get_all("Classifier")}


@pytest.fixture
def ask(built, tmp_path):
    """What a call of the wheel's code says, in a folder that holds nothing else."""
    site = tmp_path / "site"
    with zipfile.ZipFile(built[1]) as wheel:
        wheel.extractall(site)
    where = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(site), "COLUMNS": "200"}}
    found = "import gcesbi, gcesbi.validation as v; print(gcesbi.__file__, v.__file__)"
    assert run(sys.executable, "-c", found, **where).count(str(site)) == 2
    return lambda *words: run(sys.executable, "-c", "from gcesbi.cli.start import main; main()", *words, **where)


def test_the_wheel_finds_the_shipped_networks(ask):
    """By its code and weights alone."""
    told = ask("infer", "--pretrained", "list")
    assert "default: " in told
    assert "robust: " in told
    assert "images: " in told


@pytest.mark.slow
def test_the_wheel_asks_the_shipped_networks(ask, tmp_path):
    assert "networks" in ask("infer", "--pretrained")
    assert (tmp_path / "runs/pretrained/infer.html").is_file()
    assert (tmp_path / "runs/pretrained/posteriors/networks.json").is_file()

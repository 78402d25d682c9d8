"""Shared fixtures: where the real data lie, a limit on threads, templates of skies, headless Chromium."""

import fcntl
import functools
import gc
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from filelock import FileLock

from gcesbi.posterior import import_arviz

# Workers of pytest-xdist share the cores. Numba's threads are OpenMP's, and so torch's: as many as numba takes, torch
# takes from then on, and while they wait for each other they spin.
for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

CHECKOUT = Path(__file__).resolve().parents[1]


def pytest_configure(config):
    """Import ArviZ, which notes the day of its warning in a file: one worker after the other, in none but those."""
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses", None):
        with FileLock(Path(tempfile.gettempdir()) / "gcesbi-arviz.lock"):
            import_arviz()


def pytest_collection_finish():
    """Spare the collector of garbage all that imports left: it would look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Let no test leave torch with more threads to the next: sums differ in their last bits, and cores are shared."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def machine_folder(tmp_path_factory) -> Path:
    """A folder that all workers of pytest-xdist share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def templates_computed_once(machine_folder):
    """Keep the templates of skies, which tests build a hundred times, in files: to the last bit the same.

    ``model.compose.__wrapped__`` computes them.
    """
    from gcesbi.simulation import model
    from gcesbi.simulation.template_maps import TemplateMaps

    @functools.wraps(compute := model.compose)
    def composed(sky, maps=None, exposure=None, cubes=None):
        law = {"sky": sky.digest(), "cubes": cubes and list(cubes)}
        path = machine_folder / f"sky-{law['sky'][:16]}.npz"
        found = TemplateMaps.load(path, law) if maps is None else maps
        parts = compute(sky, found, exposure, cubes)
        if found is None:
            parts.maps.save(path, law)
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "compose", composed)
        yield


@pytest.fixture(scope="session", autouse=True)
def compiled_once(machine_folder):
    """Let one worker of pytest-xdist compile a function of numba while others wait, and then read it from its cache."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.dispatcher import Dispatcher

    compile_, held = Dispatcher.compile, set()

    @functools.wraps(compile_)
    def compile_alone(self, signature):
        name = f"{self.py_func.__module__}.{self.py_func.__qualname__}"
        if name in held:
            return compile_(self, signature)
        with global_compiler_lock, (machine_folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held.add(name)
            try:
                return compile_(self, signature)
            finally:
                held.discard(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "compile", compile_alone)
        yield


@pytest.fixture(scope="session", autouse=True)
def images_composed_once():
    """Keep the parts of models of images in memory."""
    from gcesbi.simulation import image_sky_model

    compose, kept = image_sky_model.compose_images, {}

    @functools.wraps(compose)
    def composed(sky, observation=None):
        law = sky.model_dump_json(), pickle.dumps(observation)
        if law not in kept:
            kept[law] = compose(sky, observation)
        return dict(kept[law])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sky_model, "compose_images", composed)
        yield


@pytest.fixture(scope="session", autouse=True)
def few_fresh_maps():
    """Let commands draw fewer maps unasked: 1,200 for a gate, the least that it takes, and 64 for tails of errors."""
    from gcesbi.analysis import recalibrate
    from gcesbi.analysis.gate import calibrate_gate, calibrate_image_gate

    with pytest.MonkeyPatch.context() as patch:
        for calibrate in (calibrate_gate, calibrate_image_gate):
            patch.setattr(calibrate, "__defaults__", (1200, *calibrate.__defaults__[1:]))
        patch.setattr(recalibrate, "_N_SAMPLES", 64)
        yield


@pytest.fixture(scope="session", autouse=True)
def coarse_pictures():
    """Draw the pictures of pages in a third of the dots, and once, not until nothing overlaps; see tests/plots.

    One of a kind stands for all: of the same words but for numbers, as many axes, one size.
    """
    from gcesbi.report import html

    source, kept = html.FigureBlock.source.fget, {}

    def drawn(block):
        words = re.sub(r"[\d.]+", "", block.alt)
        kind = words, len(block.figure.axes), tuple(block.figure.get_size_inches())
        if kind not in kept:
            block.figure._layout_engine = None  # with any, also "none", all is drawn twice
            kept[kind] = source(block)
        return kept[kind]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(html, "DOTS_PER_INCH", 50)
        patch.setattr(html.FigureBlock, "source", property(drawn))
        yield


DATA = os.environ.pop("GCESBI_DATA", None)


def _shared(*parts: str) -> Path:
    if DATA:
        root = Path(DATA)
        return root if parts == ("data",) else root.parent / "reference"
    return CHECKOUT.parent / "shared" / parts[0]


@pytest.fixture(autouse=True)
def data_where_they_are_asked_for(request, monkeypatch):
    """Named data are at hand in tests that ask for ``data_folder``, and in no others, wherever the tests run."""
    if "data_folder" in request.fixturenames:
        monkeypatch.setenv("GCESBI_DATA", str(request.getfixturevalue("data_folder")))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    folder = _shared("data")
    if not (folder / "fermi-573w").is_dir():
        pytest.skip(f"real data not found: set GCESBI_DATA to the data folder (looked in {folder})")
    return folder.resolve()


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    folder = _shared("reference")
    if not folder.is_dir():
        pytest.skip(f"reference numbers not found beside the data folder (looked in {folder})")
    return folder


class Browser:
    """Headless Chromium through the WebDriver protocol, with as little as these tests need."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.folder = folder
        self.driver = subprocess.Popen(
            [shutil.which("chromedriver"), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.session = None
        for _ in range(100):
            try:
                if self.call("GET", "/status")["ready"]:
                    return
            except urllib.error.URLError:
                time.sleep(0.1)
        self.close()
        pytest.skip("chromedriver did not start within 10 s")

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path, width, dark):
        switches = "headless no-sandbox disable-gpu no-first-run disable-background-networking disable-sync"
        arguments = [f"--{switch}" for switch in (*switches.split(), "disable-component-update")]
        arguments += [f"--user-data-dir={self.folder / f'profile-{width}-{dark}'}"]
        options = {"binary": shutil.which("chromium"), "args": arguments}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{session['sessionId']}"
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.call("POST", self.session + "/url", {"url": path.as_uri()})

    def command(self, name, **parameters):
        return self.call("POST", self.session + "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def run(self, script):
        return self.call("POST", self.session + "/execute/sync", {"script": f"return {script}", "args": []})

    def log(self):
        return self.call("POST", self.session + "/se/log", {"type": "browser"})

    def leave(self):
        if self.session:
            self.call("DELETE", self.session)
        self.session = None

    def close(self):
        self.leave()
        self.driver.terminate()
        self.driver.wait(timeout=10)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (Debian packages chromium and chromium-driver)")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()

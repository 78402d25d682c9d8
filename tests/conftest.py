"""Shared fixtures: where the real data lie, a limit on threads, headless Chromium."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for processes that tests start: workers of pytest-xdist share the cores

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Let no test leave torch with more threads to the next: sums differ in their last bits, and cores are shared."""
    torch.set_num_threads(1)


def _shared(*parts: str) -> Path:
    if os.environ.get("GCESBI_DATA"):
        root = Path(os.environ["GCESBI_DATA"])
        return root if parts == ("data",) else root.parent / "reference"
    return CHECKOUT.parent / "shared" / parts[0]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    folder = _shared("data")
    if not (folder / "fermi-573w").is_dir():
        pytest.skip(f"real data not found: set GCESBI_DATA to the data folder (looked in {folder})")
    return folder


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

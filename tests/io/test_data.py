"""Data by name: the registry, what lies here, and downloads from a server on this machine, whole and broken."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pooch
import pytest

import gcesbi
from gcesbi.errors import InputError
from gcesbi.io import read_catalogue, read_observation, read_template
from gcesbi.io.data import DataEntry, DataFile, located, registry


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; breaks the files that it is told to break."""

    def do_GET(self):
        self.server.asked.append(self.path)
        broken = self.server.broken.get(self.path.rsplit("/", 1)[-1])
        if broken is None:
            super().do_GET()
        elif isinstance(broken, int):
            self.send_error(broken)
        else:
            body, length = broken(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
            if length > len(body):
                self.server.gate.wait(20)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror on this machine, and an empty data folder."""
    root = tmp_path / "mirror"
    root.mkdir()
    served = ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: Handler(*a, directory=str(root)))
    served.daemon_threads = True
    served.asked, served.broken, served.gate = [], {}, threading.Event()
    served.gate.set()
    thread = threading.Thread(target=served.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GCESBI_DATA", str(tmp_path / "data"))
    url = f"http://127.0.0.1:{served.server_port}"
    monkeypatch.setenv("GCESBI_DATA_URL", url)
    yield SimpleNamespace(root=root, url=url, asked=served.asked, broken=served.broken, gate=served.gate, stop=served)
    served.gate.set()
    served.shutdown()
    served.server_close()
    thread.join()


def blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@pytest.fixture
def small(server, monkeypatch):
    """Data named `small`: three files, two checked by SHA-256 and one by git's SHA-1."""
    contents = {"a.txt": b"alpha\n", "b.bin": bytes(range(256)) * 4000, "c.npy": b"gamma"}
    (server.root / "small").mkdir()
    for name, content in contents.items():
        (server.root / "small" / name).write_bytes(content)
    files = [DataFile(n, "sha256", hashlib.sha256(c).hexdigest(), len(c)) for n, c in contents.items()]
    files[1] = DataFile("b.bin", "git", blob(contents["b.bin"]))
    entry = DataEntry("small", "title", "the source", "licence", "cite", ("http://127.0.0.1:9/x",), 99, tuple(files))
    monkeypatch.setattr(registry, "_entries", lambda: {"small": entry})
    return contents


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_gets_its_name_when_it_is_right(server, small):
    folder = gcesbi.data.fetch("small")
    assert folder == gcesbi.data.where("small")
    assert held(folder) == small
    server.asked.clear()
    assert gcesbi.data.fetch("small") == folder
    assert server.asked == []  # all was there


def test_only_what_is_missing_is_asked_for(server, small):
    one = gcesbi.data.fetch("small/c.npy")
    assert one.read_bytes() == b"gamma"
    stamp = one.stat().st_mtime_ns
    gcesbi.data.fetch("small", progress=False)
    assert server.asked == ["/small/c.npy", "/small/a.txt", "/small/b.bin"]
    assert one.stat().st_mtime_ns == stamp


def test_sources_are_asked_in_turn(server, small, monkeypatch):
    monkeypatch.delenv("GCESBI_DATA_URL")
    entry = registry.describe("small")
    addresses = (f"{server.url}/nothing", f"{server.url}/small")
    monkeypatch.setattr(registry, "_entries", lambda: {"small": replace(entry, addresses=addresses)})
    assert held(gcesbi.data.fetch("small")) == small
    assert server.asked[:2] == ["/nothing/a.txt", "/small/a.txt"]


def short(path):
    return b"half", 4000


def other(path):
    return b"other", 5


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (404, r"/small/b.bin: 404 Not Found"),
        (503, r"/small/b.bin: 503 Service Unavailable"),
        (short, r"/small/b.bin: cut short"),
        (other, rf"/small/b.bin: not the file meant, git blob SHA-1 must be \w+, got {blob(b'other')}"),
    ],
    ids=["404", "503", "cut short", "other content"],
)
def test_a_broken_download_leaves_nothing_and_the_next_goes_on(server, small, how, told):
    server.broken["b.bin"] = how
    with pytest.raises(InputError, match=told) as caught:
        gcesbi.data.fetch("small")
    assert "\n" not in str(caught.value)
    put = f"put it and 1 more (`gcesbi data list small`), from the source, into {gcesbi.data.where('small')}"
    assert put in str(caught.value)
    assert held(gcesbi.data.where("small")) == {"a.txt": small["a.txt"]}
    server.broken.clear()
    server.asked.clear()
    assert held(gcesbi.data.fetch("small")) == small
    assert server.asked == ["/small/b.bin", "/small/c.npy"]


def test_no_network_says_what_to_put_where(server, small, tmp_path):
    with pytest.raises(InputError, match=r"small: a.txt cannot be downloaded \(http.*: no connection\); put it and 2"):
        gcesbi.data.fetch("small", url="http://127.0.0.1:9")
    assert not (tmp_path / "data" / "small").exists()
    with pytest.raises(InputError, match=r"a.txt cannot be downloaded \(nowhere/small/a.txt: Invalid URL"):
        gcesbi.data.fetch("small", url="nowhere")


def test_another_file_of_that_name_is_named_and_left_alone(server, small):
    folder = gcesbi.data.fetch("small")
    (folder / "b.bin").write_bytes(b"spoilt")
    told = r"data small: .*b.bin is not the file meant, it is damaged or another .*; move it away and run `gcesbi data"
    for use in (gcesbi.data.fetch, located, read_observation):
        with pytest.raises(InputError, match=told):
            use("small")
    assert (folder / "b.bin").read_bytes() == b"spoilt"
    assert gcesbi.data.fetch("small/a.txt").read_bytes() == b"alpha\n"
    (folder / "b.bin").unlink()
    (folder / "b.bin").mkdir()
    with pytest.raises(InputError, match=r"b.bin cannot be read \(Is a directory\)"):
        gcesbi.data.fetch("small")


def test_a_folder_that_cannot_be_written(server, small, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GCESBI_DATA", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"file/small: cannot be written \(Not a directory\)"):
        gcesbi.data.fetch("small")
    assert server.asked == []

    def full(self, address, output, pooch_):
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("GCESBI_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(InputError, match=r"a.txt: cannot be written \(No space left on device\)"):
        gcesbi.data.fetch("small")
    assert not (tmp_path / "data" / "small").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("smal", "data: 'smal' is unknown; the nearest valid one is 'small'"),
        ("zzz", "data: 'zzz' is unknown; valid ones are small"),
        ("small/a.text", "data small: has no file 'a.text'; the nearest valid one is 'a.txt'"),
        ("small/../b.bin", "data small: has no file '../b.bin'; the nearest valid one is 'b.bin'"),
    ],
)
def test_unknown_names(server, small, name, told):
    with pytest.raises(InputError, match=told):
        gcesbi.data.fetch(name)
    assert server.asked == []


def test_a_name_that_is_too_long_is_no_path():
    with pytest.raises(InputError, match="path: must be an existing file or folder, got"):
        located("a" * 5000)


def test_a_path_that_exists_comes_before_a_name(server, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert located("small") == gcesbi.data.where("small")
    (tmp_path / "small").mkdir()
    assert str(located("small")) == "small"
    assert located("small/c.npy").read_bytes() == b"gamma"
    with pytest.raises(
        InputError, match=r"folder: must be an existing .* 'smll' in .*, or the name of data \(the nearest"
    ):
        located("smll", "folder")
    with pytest.raises(InputError, match=r"path: must be an existing file or folder, got '.*/smll'$"):
        located(tmp_path / "smll")


FETCH = "import sys, gcesbi; gcesbi.data.fetch(sys.argv[1], progress=False)"


def test_processes_that_fetch_at_a_time_do_no_harm(server, data_folder):
    (server.root / "irf").symlink_to(data_folder / "irf")
    jobs = [subprocess.Popen([sys.executable, "-c", FETCH, "irf"], stderr=subprocess.PIPE) for _ in range(2)]
    assert [job.communicate(timeout=60)[1] for job in jobs] == [b""] * 2
    names = sorted(path.name for path in (data_folder / "irf").iterdir())
    assert sorted(path.name for path in gcesbi.data.fetch("irf").iterdir()) == names


def test_what_a_killed_download_left_goes_with_the_next(server, data_folder, tmp_path):
    (server.root / "irf").symlink_to(data_folder / "irf")
    server.gate.clear()
    server.broken["psf_P8R3_ULTRACLEANVETO_V3_PSF.fits"] = short
    job = subprocess.Popen([sys.executable, "-c", FETCH, "irf"])
    folder = tmp_path / "data" / "irf"
    for _ in range(600):
        if folder.is_dir() and list(folder.glob(".*PSF.fits")):
            break
        time.sleep(0.1)
    job.send_signal(signal.SIGKILL)
    job.wait(10)
    assert [path.suffix for path in folder.glob(".*")] == [".fits"]
    server.broken.clear()
    gcesbi.data.fetch("irf")
    assert not list(folder.glob(".*"))


def test_entries_say_all_that_they_must(reference_folder):
    for entry in map(gcesbi.data.describe, gcesbi.data.names()):
        assert entry.addresses
        assert all(address.startswith("https://") for address in entry.addresses)
        assert entry.size > 0
        assert all((entry.title, entry.source, entry.licence, entry.citation))
        assert len({file.name for file in entry.files}) == len(entry.files)
        for file in entry.files:
            assert len(file.digest) == {"sha256": 64, "git": 40}[file.algorithm]
        assert "cite: " in str(entry)
        assert gcesbi.data.where(entry.name).name == entry.name
    listed = json.loads((reference_folder / "fermi_573w_energies.json").read_text())["files"]
    public = {f"{file.name}": file.digest for file in gcesbi.data.describe("fermi-573w-energies").files}
    assert public == {path.split("/")[-1]: sha1 for path, sha1 in listed.items() if "/ebin_128/" in path}
    finer = {f"{file.name}": file.digest for file in gcesbi.data.describe("fermi-573w-nside256").files}
    assert finer == {path.split("/")[-1]: sha1 for path, sha1 in listed.items() if "/fermi_data_256/" in path}


@pytest.mark.parametrize("name", ["fermi-573w", "fermi-gc-4gev", "irf", "catalogs", "bulge-templates"])
def test_what_lies_here_is_what_the_registry_says(name, data_folder, monkeypatch):
    monkeypatch.setenv("GCESBI_DATA_URL", "http://127.0.0.1:9")
    assert gcesbi.data.fetch(name) == data_folder / name
    assert gcesbi.data.describe(name).size == sum(file.size for file in gcesbi.data.describe(name).files)


def test_the_folder_is_the_platforms_unless_told(monkeypatch, tmp_path):
    monkeypatch.delenv("GCESBI_DATA", raising=False)
    assert gcesbi.data.where("irf") == pooch.os_cache("gcesbi") / "irf"
    monkeypatch.setenv("GCESBI_DATA", "~/d")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert gcesbi.data.where("irf") == tmp_path / "d" / "irf"


def test_names_stand_where_paths_do(data_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    obs = read_observation("fermi-573w", mask="3fgl")
    assert obs.counts.sum() == 161694
    np.testing.assert_array_equal(read_template("fermi-573w", "Opi"), read_template(data_folder / "fermi-573w", "Opi"))
    assert len(read_catalogue("catalogs/gll_psc_v16.fit.gz").names) == 3034
    assert gcesbi.SkyModel.from_folder("fermi-573w", nside=64).exposure.shape[0] == 1


def test_the_maps_with_energies_by_name(server, ebin_maps, monkeypatch):
    """The whole path: a replica of the layout on a server, checked as git would, read as ten bins."""
    name = "fermi-573w-energies"
    (server.root / name).mkdir()
    for stem, values in ebin_maps.items():
        np.save(server.root / name / f"{stem}.npy", values)
    true = registry.describe(name)
    assert {file.name for file in true.files} == {path.name for path in (server.root / name).iterdir()}
    files = [replace(file, digest=blob((server.root / name / file.name).read_bytes())) for file in true.files]
    monkeypatch.setattr(registry, "_entries", lambda: {name: replace(true, files=tuple(files))})
    obs = read_observation(name, mask="3fgl")
    np.testing.assert_allclose(obs.energy_edges, np.geomspace(2, 20, 11))
    assert len(server.asked) == 13
    local = read_observation(server.root / name, mask="3fgl")
    np.testing.assert_array_equal(obs.counts, local.counts)
    assert read_template(name, "Oic", energy_range=(2, 4)).shape == (3, 3072)
    assert len(server.asked) == 13
    assert os.environ["GCESBI_DATA"] in str(gcesbi.data.where(name))

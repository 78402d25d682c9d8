"""`gcesbi data`, and names of data in place of folders on the command line."""

import sys
from pathlib import Path

import pytest

from gcesbi.cli import main as cli
from gcesbi.cli.options import settings_and_map
from gcesbi.io.data import describe, names


@pytest.fixture
def call(monkeypatch, capfd):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gcesbi", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capfd.readouterr())

    return run


def test_what_there_is_and_where(call, data_folder, monkeypatch):
    status, out, err = call("data", "list")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(names())
    assert "31.5 MB  20 of 20 files here" in out
    status, out, _ = call("data", "list", "catalogs")
    assert status == 0
    assert out.startswith(f"{describe('catalogs')}\nfolder: {data_folder / 'catalogs'}\n  gll_psc_v16.fit.gz  sha256:")
    assert call("data", "where", "irf") == (0, f"{data_folder / 'irf'}\n", "")
    assert call("data", "fetch", "irf", "catalogs/gll_psc_v27.fit.gz") == (
        0,
        f"irf: whole, in {data_folder / 'irf'}\n"
        f"catalogs/gll_psc_v27.fit.gz: whole, in {data_folder / 'catalogs' / 'gll_psc_v27.fit.gz'}\n",
        "",
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("data", "fetch", "fermi-573"), "data: 'fermi-573' is unknown; the nearest valid one is 'fermi-573w'"),
        (("data", "where", "catalogues"), "data: 'catalogues' is unknown; the nearest valid one is 'catalogs'"),
        (("data", "list", "zzz"), "data: 'zzz' is unknown; valid ones are fermi-573w, "),
        (("data", "fetch", "irf", "--url", "http://127.0.0.1:9"), "cannot be downloaded (http://127.0.0.1:9/irf/"),
        (
            ("quickstart", "--observation", "irv", "--out", "new"),
            "name of data (the nearest valid one is 'irf')",
        ),
        (("quickstart", "--observation", "fermi-573w", "--out", "new"), "fermidata_counts.npy cannot be downloaded"),
        (("simulate", "--observation", "fermi-573w", "--out", "new"), "from github.com/FloList/GCE_NN, data"),
        (
            ("images", "simulate", "--observation", "fermi-gc-4gev", "--out", "new"),
            "ccube_00.fits cannot be down",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(call, words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("GCESBI_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GCESBI_DATA_URL", "http://127.0.0.1:9")
    status, out, err = call(*words)
    assert (status, out) == (2, "")
    assert err.startswith("gcesbi: error: ")
    assert told in err
    assert err.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.name != "data"]


def test_a_name_is_an_observation(data_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings, seen = settings_and_map("test", [], None, Path("fermi-573w"), "A", "3fgl")
    assert (settings.sky.kind, settings.sky.path, settings.sky.diffuse) == ("folder", f"{data_folder}/fermi-573w", "A")
    assert seen.counts.sum() == 161694

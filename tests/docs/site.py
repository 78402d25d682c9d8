"""The site is built without a warning, holds every public name, and works in a browser, from the disk.

Not in the suite, for its minute and more: ``make test-site``.
"""

import importlib
import pkgutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import gcesbi

pytest.importorskip("sphinx")
pytest.importorskip("myst_nb")
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as by ``make docs``, but for the pages of source code; what leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-t", "quick", "-d", folder / "trees"]
    build = [sys.executable, "-m", "sphinx", *options, "docs", folder / "html"]
    done = subprocess.run(build, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def public_names():
    """Of what every module offers in ``__all__``: its name there, and where it is defined."""
    packages = (gcesbi, gcesbi.baselines, gcesbi.validation)
    for name in {each.name for p in packages for each in pkgutil.walk_packages(p.__path__, f"{p.__name__}.")}:
        module = importlib.import_module(name)
        for offered in getattr(module, "__all__", ()):
            home = getattr(getattr(module, offered), "__module__", name)
            yield f"{name}.{offered}", f"{home}.{offered}"


def test_every_public_name_is_in_the_reference(site):
    inventory = zlib.decompress((site / "objects.inv").read_bytes().split(b"\n", 4)[4]).decode()
    held = {line.split(" py:")[0] for line in inventory.splitlines() if " py:" in line}
    assert [names for names in public_names() if not held & set(names)] == []


def test_pages_have_formulas_and_fetch_nothing(site):
    page = (site / "reference/modules/gcesbi.baselines.nptf.html").read_text(encoding="utf-8")
    assert "<math" in page
    for each in site.rglob("*.html"):
        text = each.read_text(encoding="utf-8")
        assert 'src="http' not in text, each
        assert 'rel="stylesheet" type="text/css" href="http' not in text, each


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    "page",
    ["index", "start", "howto/skies", "results/training", "tutorials/real_map", "reference/modules/gcesbi.sky"],
)
def test_chromium_shows_a_page(browser, site, page, width):
    """No message on the console, no picture missing, no sideways scrolling."""
    try:
        browser.open(site / f"{page}.html", width, False)
        assert browser.log() == []
        assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    finally:
        browser.leave()


def test_the_search_finds_a_name_without_a_server(browser, site):
    try:
        browser.open(site / "search.html", 1280, False)
        browser.run("location.search = '?q=SkyModel'")
        for _ in range(100):
            found = browser.run("[...document.querySelectorAll('#search-results li a')].map(a => a.textContent).join()")
            if "SkyModel" in (found or ""):
                break
        assert "SkyModel" in found
        assert browser.log() == []
    finally:
        browser.leave()

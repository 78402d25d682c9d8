"""The page: what stands in it, that nothing can break out of it, and how Chromium shows it."""

import base64
import csv
import json
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from gcesbi.errors import InputError
from gcesbi.plots import flux_fractions
from gcesbi.report import html as module
from gcesbi.report.html import FigureBlock, Report, Section, TableBlock, render_report, write_report


def table(**changes):
    rows = (("excess", "0.1 ± 0.02"), ("disk", "0.2"))
    return TableBlock(**({"columns": ("Template", "Fit"), "rows": rows, "caption": "Fractions."} | changes))


def figure():
    median = np.array([0.3, 0.7])
    return flux_fractions(("gce", "disk"), {"fit": {"low": median - 0.1, "median": median, "high": median + 0.1}})


def page(**changes):
    block = FigureBlock(figure(), "Two dots with error bars.", "Each row is a template.")
    sections = (
        Section("Spectra", "One paragraph.\n\nAnother.", block, table(caption="Again.")),
        Section("Settings", table(columns=("Key", "Value"), rows=(("seed", "1"),), caption="Settings.")),
    )
    good = {
        "title": "Inner galaxy",
        "verdict": "Calibrated, and the methods agree.",
        "sections": sections,
        "summary": table(),
        "data": {"excess": 0.1, "missing": None, "name": "π"},
    }
    return Report(**(good | changes))


class Reader(HTMLParser):
    """Tags with their attributes, and the text inside each kind of tag."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.stack = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img", "br", "source"}:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, "tags must nest"

    def handle_data(self, data):
        if data.strip() and self.stack:
            self.texts.setdefault(self.stack[-1], []).append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def payload(uri):
    return base64.b64decode(uri.split(",", 1)[1])


def test_holds_what_it_was_given_in_order():
    html = Reader(render_report(page(subtitle="Mock 1")))
    assert html.texts["h1"] == ["Inner galaxy"]
    assert html.texts["h2"] == ["Spectra", "Settings"]
    assert html.texts["p"][:2] == ["Mock 1", "Calibrated, and the methods agree."]
    assert html.texts["p"][-2:] == ["One paragraph.", "Another."]
    assert html.texts["td"] == ["0.1 ± 0.02", "0.2", "0.1 ± 0.02", "0.2", "1"]
    assert html.texts["caption"] == ["Fractions.", "Again.", "Settings."]
    assert html.texts["figcaption"] == ["Each row is a template."]
    assert not html.stack


def test_tables_have_headings_that_screen_readers_understand():
    scopes = [attributes["scope"] for attributes in Reader(render_report(page())).all("th")]
    assert scopes == ["col", "col", "row", "row"] * 2 + ["col", "col", "row"]


def test_every_figure_is_an_embedded_png_with_a_text_for_it():
    (image,) = Reader(render_report(page())).all("img")
    assert image["alt"] == "Two dots with error bars."
    pixels = imread(BytesIO(payload(image["src"])))
    assert pixels.shape[1] == round(figure().get_figwidth() * module.DOTS_PER_INCH)
    assert image["width"] == str(round(figure().get_figwidth() * 96))


def test_a_phone_is_shown_the_panels_one_below_the_other_unless_they_are_seen_together():
    (other,) = Reader(render_report(page())).all("source")
    pixels = imread(BytesIO(payload(other["srcset"])))
    assert pixels.shape[1] == round(module.NARROW * module.DOTS_PER_INCH)
    assert pixels.shape[0] > imread(BytesIO(payload(FigureBlock(figure(), "A.", "B.").source))).shape[0]
    alone = Section("One", FigureBlock(figure(), "A.", "B.", together=True))
    html = Reader(render_report(page(sections=(alone,))))
    assert not html.all("source")
    assert html.all("img")[0]["class"] == "together"


def test_numbers_can_be_downloaded():
    numbers, tables = [a for a in Reader(render_report(page())).all("a") if "download" in a]
    assert numbers["download"] == "results.json"
    assert json.loads(payload(numbers["href"])) == {"excess": 0.1, "missing": None, "name": "π"}
    assert tables["download"] == "tables.csv"
    rows = list(csv.DictReader(payload(tables["href"]).decode().splitlines()))
    assert rows[0] == {"section": "", "table": "1", "row": "excess", "column": "Fit", "value": "0.1 ± 0.02"}
    assert rows[-1] == {"section": "Settings", "table": "3", "row": "seed", "column": "Value", "value": "1"}
    assert len(rows) == 5
    bare = page(data=None, summary=None, sections=(Section("Nothing"),))
    assert not [a for a in Reader(render_report(bare)).all("a") if "download" in a]


def test_nothing_is_loaded_from_elsewhere():
    html = Reader(render_report(page()))
    assert not html.all("script")
    sources = [a.get("src") or a.get("href") for _, a in html.tags if "src" in a or "href" in a]
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "url(" not in "".join(html.texts["style"])


def test_text_cannot_break_out_of_the_page():
    nasty = '<script>alert("1")</script>" onload="x'
    block = FigureBlock(figure(), nasty, nasty)
    hostile = page(
        title=nasty,
        verdict=nasty,
        subtitle=nasty,
        summary=table(columns=(nasty, nasty), rows=((nasty, nasty),), caption=nasty),
        sections=(Section(nasty, nasty, block),),
        data={nasty: nasty},
    )
    html = Reader(render_report(hostile))
    assert not html.all("script")
    assert not [attributes for _, attributes in html.tags if "onload" in attributes]
    assert html.texts["h1"] == [nasty]
    assert html.all("img")[0]["alt"] == nasty


def test_the_same_report_gives_the_same_bytes():
    assert render_report(page()) == render_report(page())


def test_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    target = write_report(tmp_path / "report.html", page())
    assert target.read_text() == render_report(page())

    def fail(*_args, **_options):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(InputError, match="disk full"):
        write_report(target, page(title="Other"))
    assert target.read_text() == render_report(page())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_page_that_stood_there_is_replaced(tmp_path):
    write_report(tmp_path / "report.html", page())
    write_report(tmp_path / "report.html", page(title="Other"))
    assert "<h1>Other</h1>" in (tmp_path / "report.html").read_text()


def test_bad_input_is_named(tmp_path):
    with pytest.raises(InputError, match="alt: a figure needs a text"):
        FigureBlock(figure(), " ", "caption")
    with pytest.raises(InputError, match=r"rows: must have 2 cells, as columns has, got 1: \('a',\)"):
        table(rows=(("a",),))
    with pytest.raises(InputError, match=r"data: must be plain finite numbers.*nan"):
        render_report(page(data={"a": float("nan")}))
    with pytest.raises(InputError, match=r"data: must be plain finite numbers.*ndarray"):
        render_report(page(data={"a": np.zeros(2)}))
    with pytest.raises(InputError, match=r"path: the folder of the report must exist, got .*nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", page())
    assert not list(tmp_path.iterdir())


WINDOWS = [(320, False), (1200, True)]  # enlarged four times, and a desk
OTHERS = [(320, True), (390, False), (390, True), (1200, False)]


@pytest.mark.parametrize(
    ("width", "dark"), [*WINDOWS, *(pytest.param(*window, marks=pytest.mark.slow) for window in OTHERS)]
)
def test_chromium_shows_it(browser, tmp_path, width, dark):
    """No console message, nothing requested, the verdict in view, no sideways scrolling, contrast of at least 7."""
    wide = table(columns=tuple(f"column {i}" for i in range(9)), rows=(("row",) + ("0.123 ± 0.045",) * 8,))
    path = write_report(tmp_path / "report.html", page(summary=wide))
    try:
        browser.open(path, width, dark)
        assert browser.log() == []
        requested = browser.run("performance.getEntriesByType('resource').map(entry => entry.name)")
        assert [name for name in requested if not name.startswith("data:")] == []
        assert browser.run("document.getElementById('verdict').textContent") == "Calibrated, and the methods agree."
        assert browser.run("document.getElementById('verdict').getBoundingClientRect().bottom") < 900
        assert browser.run("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert browser.run("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        colours = [browser.run(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor")]
        ink, paper = map(luminance, colours)
        assert (ink > paper) == dark
        assert (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05) > 7
    finally:
        browser.leave()


def test_five_methods_fit_on_a_laptop(browser, tmp_path):
    """The table of all methods needs no scrolling at 1,280 pixels, and no number is broken over lines."""
    columns = ("quantity", "truth", "Poisson fit", "NPTF", "networks", "pretrained")
    rows = (
        ("gce: number of sources", "66,000", "–", *("66,000 (7,600–350,000)",) * 3),
        ("Poisson share of the excess, 95 % upper limit [%]", "–", *("51.6 (49.9–53.2)",) * 4),
    )
    path = write_report(tmp_path / "report.html", page(summary=table(columns=columns, rows=rows)))
    try:
        browser.open(path, 1280, False)
        assert browser.run("(box => box.scrollWidth - box.clientWidth)(document.querySelector('.scroll'))") == 0
        heights = browser.run("[...document.querySelectorAll('header td')].map(cell => cell.scrollHeight)")
        assert len(heights) == 10
        assert max(heights[:5]) < 60  # one line of text, 1.55 times 15 pixels, and the padding
    finally:
        browser.leave()


def luminance(colour):
    """Relative luminance of "rgb(r, g, b)", as WCAG defines it."""
    channels = np.array([float(x) for x in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])

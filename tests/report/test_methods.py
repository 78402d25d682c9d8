"""A report of any number of methods, from plain arrays: known answers, every way of giving them, the page."""

import html
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import beta, norm

import gcesbi
from gcesbi.errors import InputError
from gcesbi.validation import CalibrationReport, report

TAUS = np.arange(1, 100) / 100
N, D = 600, 3


@pytest.fixture(scope="module")
def known():
    """θ ~ N(0, 1) seen with unit noise: truth, posterior means, and draws of the exact posterior N(mean, ½)."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(N, D))
    mean = (truth + rng.normal(size=truth.shape)) / 2
    return truth, mean, mean + np.sqrt(0.5) * rng.normal(size=(999, N, D))


@pytest.fixture(scope="module")
def found(known):
    truth, mean, draws = known
    narrow = mean + 0.8 * np.sqrt(0.5) * norm.ppf(TAUS)[:, None, None]
    prior = np.broadcast_to(norm.ppf(TAUS)[:, None, None], (99, N, D))
    return report(truth, {"mine": draws, "narrow": narrow, "prior": prior}, labels=("a", "b", "c"))


def test_the_table_has_the_numbers_of_the_closed_form(found):
    """Errors are 1/0.8 of the claimed; 68 % intervals cover 2 Φ(0.8 z) − 1; CRPS is σ/√π if exact (Gneiting 2005)."""
    table = found.to_dataframe()
    assert table.index.tolist() == ["mine", "narrow", "prior"]
    assert table["judgement"].tolist() == ["calibrated", "over-confident", "calibrated"]
    error = 4 / np.sqrt(2 * N * D)
    assert table["dispersion"].tolist() == pytest.approx([1, 1.25, 1], abs=1.25 * error)
    covered = [0.68, 2 * norm.cdf(0.8 * norm.ppf(0.84)) - 1, 0.68]
    assert table["coverage_68"].tolist() == pytest.approx(covered, abs=4 * 0.47 / np.sqrt(N * D))
    assert table["coverage_95"]["mine"] == pytest.approx(0.95, abs=4 * 0.22 / np.sqrt(N * D))
    wide = 2 * norm.ppf(0.84)
    assert table["width_68"].tolist() == pytest.approx(
        [wide * np.sqrt(0.5), 0.8 * wide * np.sqrt(0.5), wide], rel=0.004
    )
    assert table["crps"][["mine", "prior"]].tolist() == pytest.approx(
        [np.sqrt(0.5 / np.pi), np.sqrt(1 / np.pi)], rel=0.06
    )
    assert table["skill"]["prior"] == pytest.approx(1 - np.sqrt(2), abs=0.06)
    assert table["width_ratio"].tolist() == pytest.approx([1, 0.8, np.sqrt(2)], rel=0.004)
    assert np.all(table["dispersion_low"] < table["dispersion"])
    assert table["n_pair"].tolist() == [N * D] * 3
    assert table.attrs["reference"] == "mine"


def test_crps_is_the_mean_of_the_definition(known, found):
    """∫ (F − 1{y ≤ t})² dt on a fine grid, of a few maps, against the report's mean over the same."""
    truth = known[0]
    t = np.linspace(-8, 8, 4001)
    inside = [np.trapezoid((norm.cdf(t) - (t >= y)) ** 2, t) for y in truth[:20].ravel()]
    some = report(truth[:20], {"prior": np.broadcast_to(norm.ppf(TAUS)[:, None, None], (99, 20, D))})
    assert some["prior"].crps.value == pytest.approx(np.mean(inside), rel=0.01)
    assert "20 maps are too few to judge" in some.verdict
    assert some.mood == "neutral"


def test_verdict_names_each_and_the_best(found):
    assert found.verdict.startswith("mine: calibrated; narrow: over-confident, errors are 1.2")
    assert found.verdict.endswith("prior: calibrated. mine scores better than every other.")
    assert found.mood == "caution"
    assert isinstance(found, CalibrationReport)
    assert found["mine"].verdict.endswith("), as they claim.")
    assert not found["narrow"].verdict.endswith("as they claim.")
    assert repr(found) == f"<CalibrationReport: {found.verdict}>"
    with pytest.raises(InputError, match="method: must be one of mine, narrow, prior, got 'yours'"):
        found["yours"]


def test_the_figure_has_a_line_with_a_band_for_every_method(found):
    figure = found.plot()
    assert isinstance(figure, Figure)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["calibrated", "mine", "narrow", "prior"]


class Text(HTMLParser):
    """Words of a page, and addresses that it would load."""

    def __init__(self, page):
        super().__init__()
        self.words, self.addresses = "", []
        self.feed(page)

    def handle_data(self, data):
        self.words += data

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if key in ("src", "href")]


def test_the_page_is_whole_and_holds_every_method(found, tmp_path):
    path = found.to_html(tmp_path / "page.html", title="Mine <against> theirs")
    assert path == tmp_path / "page.html"
    page = path.read_text(encoding="utf-8")
    read = Text(page)
    assert "Mine <against> theirs" in read.words
    assert html.escape("Mine <against> theirs") in page
    for words in (
        found.verdict,
        "narrow against mine",
        "999 draws",
        "99 quantile curves, 0.01 to 0.99",
        "Entry by entry",
    ):
        assert words in read.words
    assert all(address.startswith(("data:", "#")) for address in read.addresses)
    with pytest.raises(InputError, match="path: the folder of the report must exist"):
        found.to_html(tmp_path / "none" / "page.html")


def test_numbers_survive_json(found):
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["methods"]["mine"]["dispersion"]["value"] == found["mine"].dispersion.value
    assert len(told["pairs"]) == 3
    assert told["labels"] == ["a", "b", "c"]
    assert np.mean(told["pit"]["prior"]["density"]) == pytest.approx(1)


def test_levels_may_be_given_in_three_ways_and_agree(known):
    truth, mean, _ = known
    curves = mean + np.sqrt(0.5) * norm.ppf(TAUS)[:, None, None]
    plain = report(truth, {"x": curves})["x"]
    assert report(truth, {"x": curves}, TAUS)["x"].to_dict() == plain.to_dict()
    assert report(truth, {"x": (curves, TAUS)})["x"].to_dict() == plain.to_dict()
    few = [15, 49, 83]
    told = report(truth, {"x": (curves[few], TAUS[few])}).to_dataframe().loc["x"]
    assert told["coverage_68"] == pytest.approx(plain.coverage_68.value)
    assert np.isnan(told["coverage_95"])
    assert np.isnan(told["width_95"])


def test_one_quantity_of_many_maps_may_be_a_vector(known):
    truth, _, draws = known
    found = report(truth[:, 1], {"x": draws[..., 1]})
    assert found["x"].to_dict() == report(truth[:, 1:2], {"x": draws[..., 1:2]})["x"].to_dict()
    assert [section.title for section in found.page().sections][1:] == ["How to read this page"]
    assert found.verdict == "x: calibrated."


def test_draws_and_curves_of_cdfs_are_judged_alike():
    """A Dirichlet prior seen through multinomial counts: P_k of the posterior is Beta distributed."""
    rng, prior = np.random.default_rng(5), np.full(6, 0.5)
    pdf = rng.dirichlet(prior, size=400)
    seen = prior + rng.multinomial(40, pdf)
    below = np.cumsum(seen, axis=1)[:, :-1]
    inner = beta.ppf(1 - TAUS[:, None, None], below, seen.sum(axis=1, keepdims=True) - below)
    curves = np.concatenate([inner, np.ones((99, 400, 1))], axis=-1)
    gamma = rng.gamma(seen, size=(999, *seen.shape))
    draws = np.cumsum(gamma / gamma.sum(axis=-1, keepdims=True), axis=-1)
    found = report(np.cumsum(pdf, axis=1), {"curves": curves, "draws": draws}, cdf=True)
    assert [each.judgement for each in found.comparison.reports] == ["calibrated"] * 2
    assert found.kinds["draws"] == "999 draws"
    one, two = found.comparison.reports
    assert two.dispersion.value == pytest.approx(one.dispersion.value, abs=0.02)
    assert two.semd.value == pytest.approx(one.semd.value, abs=0.02)
    assert "–" in {cell for row in found.page().sections[2].blocks[0].rows for cell in row}


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ({}, {}, "methods: must map names to arrays, at least one"),
        ([1, 2], {}, "methods: must map names to arrays"),
        (
            {"mine": np.zeros((N, D, 9))},
            {},
            r"mine: samples: .*\(n_sample or n_tau, \*truth.shape\).*moveaxis\(samples, 2, 0\)",
        ),
        ({"mine": np.full((9, N, D), np.nan)}, {}, "mine: samples: must be finite"),
        (
            {"mine": norm.ppf(TAUS[::25])[:, None, None] + np.zeros((4, N, D))},
            {},
            "mine: quantiles: 4 ordered curves need",
        ),
        ({"mine": (np.zeros((3, N, D)), [0.1, 0.5])}, {}, r"mine: quantiles: must have shape \(n_tau, "),
        ({"mine": (np.zeros((3, N, D)),) * 3}, {}, r"mine: quantiles: a tuple must be \(quantiles, taus\), got 3"),
        ({"mine": np.random.default_rng(0).random((9, N, D))}, {"labels": ("a",)}, "labels: must name the 3 entries"),
        ({"mine": np.random.default_rng(0).random((9, N, D))}, {"cdf": True}, "truth: CDF values must lie in"),
        ({"mine": np.random.default_rng(0).random((9, N, D))}, {"seed": -1}, "seed: must be"),
        ({"mine": np.zeros((1, N, D))}, {}, "mine: samples: must be at least 2 along the first axis"),
        ({"mine": np.zeros((9, N, D)) + 1j}, {}, "mine: samples: must be an array of numbers.*: complex numbers"),
        (
            {"mine": (np.zeros((9, N, D)), [0.1, 0.5])},
            {},
            r"mine: quantiles: .*if these are samples, pass numpy.quantile\(quantiles, taus, axis=0\)",
        ),
    ],
)
def test_bad_input_is_named(known, methods, options, message):
    with pytest.raises(InputError, match=message):
        report(known[0], methods, **options)


def test_curves_that_cross_here_and_there_are_not_taken_for_draws(known):
    curves = known[1] + norm.ppf(TAUS)[:, None, None]
    curves[[3, 4]] = curves[[4, 3]]
    with pytest.raises(InputError, match="mine: quantiles: must not cross"):
        report(known[0], {"mine": curves})


def test_draws_of_very_different_units_are_draws(known):
    truth, _, draws = known
    unit = np.array([1e-9, 1.0, 1e9])
    found = report(truth * unit, {"x": draws * unit})
    assert found.kinds == {"x": "999 draws"}
    assert found["x"].dispersion.value == pytest.approx(report(truth, {"x": draws})["x"].dispersion.value)


def test_any_table_of_reports_makes_a_page(known, found, tmp_path):
    truth, _, draws = known
    page = gcesbi.validation.calibration_page({"flux": found, "counts": report(truth[:, 1], {"mine": draws[..., 1]})})
    assert [row[0] for row in page.summary.rows] == ["flux: mine", "flux: narrow", "flux: prior", "counts: mine"]
    assert page.verdict.splitlines()[1] == "counts: mine: calibrated."
    assert page.mood == "caution"
    assert len(page.sections[0].blocks) == 4
    assert page.sections[1].blocks[0].rows[0][0] == "flux: narrow against mine"
    assert page.sections[2].blocks[0].columns == ("entry of flux", "mine", "narrow", "prior")
    assert [row[:2] for row in page.sections[3].blocks[0].rows][-1] == ("counts: mine", "999 draws")
    assert set(page.data) == {"flux", "counts"}
    assert "flux: narrow" in page.write(tmp_path / "both.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("reports", [{}, [1], {"flux": "x"}])
def test_a_page_of_no_reports_is_refused(reports):
    with pytest.raises(InputError, match="found: must map names to CalibrationReports, at least one"):
        gcesbi.validation.calibration_page(reports)


def test_the_front_door_knows_it():
    assert gcesbi.validation.report is report
    assert {"report", "CalibrationReport", "calibration_page"} <= set(dir(gcesbi.validation))
    with pytest.raises(AttributeError, match="has no attribute 'reports'"):
        gcesbi.validation.reports  # noqa: B018

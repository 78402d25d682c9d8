"""Sections of the report: what the figures show."""

from types import SimpleNamespace

import numpy as np
import pytest

from gcesbi.physics.spectra import e2dnde
from gcesbi.posterior import Coordinates, SamplePosterior
from gcesbi.report.calibration import trust_table
from gcesbi.report.explained import Explained
from gcesbi.report.findings import Findings
from gcesbi.report.html import render_report
from gcesbi.report.sections import spectra_section
from gcesbi.report.tables import comparison_table
from gcesbi.validation import Calibration
from gcesbi.validation.misspecification import GateVerdict

EDGES = np.array([2.0, 4.0, 20.0])
FLUX = np.array([[3e-7, 1e-7], [1e-8, 4e-8]])  # (template, energy)
COORDINATES = Coordinates(("pi", "gce"), (2.8, 8.9), ("gce",), (-10.0, -9.0, -8.0))


def posterior(scale, *names):
    """Thirty samples between 0.9 and 1.1 of `scale` times the truth."""
    flux = scale * FLUX * np.linspace(0.9, 1.1, 31)[:, None, None]
    total = flux.sum(axis=2)
    known = {
        "flux_fraction": total / total.sum(axis=1, keepdims=True),
        "spectrum_fraction": flux / flux.sum(axis=1, keepdims=True),
        "spectrum": e2dnde(flux, EDGES),
    }
    return SamplePosterior("method", COORDINATES, {name: known[name] for name in names})


@pytest.fixture
def section():
    model = SimpleNamespace(names=("pi", "gce"), n_energy=2, energy_edges=EDGES)
    every = ("flux_fraction", "spectrum_fraction", "spectrum")
    methods = {
        "Poisson fit": posterior(1.2, *every),
        "NPTF": posterior(0.5, "flux_fraction"),
        "networks": posterior(1.0, *every),
    }
    share = FLUX.sum(axis=1) / FLUX.sum()
    truth = {"flux_fraction": share[None], "spectrum": e2dnde(FLUX, EDGES)[None]}
    return spectra_section(model, methods, SamplePosterior("truth", COORDINATES, truth))


def bars(axes):
    """Error bars of a panel by method."""
    return dict(zip((c.get_label() for c in axes.containers), axes.containers, strict=True))


def test_spectra_are_drawn_in_e2dnde_with_error_bars_and_the_truth(section):
    figure = section.blocks[1].figure
    assert "E² dN/dE" in figure.get_supylabel()
    for panel, flux in zip(figure.axes, FLUX, strict=True):
        found = bars(panel)
        assert set(found) == {"Poisson fit", "networks"}  # one bin for all: the NPTF has no spectrum
        for method, scale in (("Poisson fit", 1.2), ("networks", 1.0)):
            line, _, (sticks,) = found[method]
            median = scale * e2dnde(flux, EDGES)
            np.testing.assert_allclose(line.get_ydata(), median)
            ends = np.array([stick[:, 1] for stick in sticks.get_segments()])
            np.testing.assert_allclose(ends, median[:, None] * [1 - 0.068, 1 + 0.068], rtol=1e-9)
        (steps,) = panel.patches
        np.testing.assert_allclose(steps.get_data().values, e2dnde(flux, EDGES))


def test_a_method_keeps_its_colour_from_figure_to_figure(section):
    fractions, spectra = (block.figure.axes[0] for block in section.blocks)
    colours = [bars(panel)["networks"][0].get_color() for panel in (fractions, spectra)]
    assert len(set(colours)) == 1


def test_page_of_an_inference_opens_with_the_gates_verdict():
    model = SimpleNamespace(
        names=("pi", "gce"), n_energy=2, energy_edges=EDGES, point_sources=(), bins=None, subject="gce"
    )
    found = {"networks": posterior(1.0, "flux_fraction", "spectrum_fraction", "spectrum")}
    verdict = GateVerdict(0.002, 0.01, ("deviance", "north-south"), (1.5, 0.1), (4.2, 0.3), (0.001, 0.7))
    explained = Explained(None, None, None, verdict)
    result = Findings(model, found, explained)
    result.__dict__["table"] = comparison_table(found, None)  # of a model that knows its prior there is more
    page = result.report("a map")
    assert page.mood == "bad"
    assert page.verdict.startswith("REFUSED. The training model does not produce maps like this one")
    assert "north-south: +0.3 standard deviations" in page.verdict
    assert page.sections[0].blocks[0].rows[0] == ("deviance", "1.5", "+4.2", "0.001")
    assert page.sections[-1].blocks[-1].columns[1:] == ("π⁰ + bremsstrahlung", "excess")
    assert "north-south" in render_report(page)


@pytest.mark.parametrize(
    ("wrong", "refused", "told"),
    [
        ((), False, ("yes", "yes", "no")),
        (("a",), False, ("mostly", "yes", "no")),
        (("a", "b", "c"), False, ("no", "yes", "no")),
        ((), True, ("no", "no", "no")),
    ],
)
def test_what_to_trust_goes_by_the_sets_that_are_calibrated(wrong, refused, told):
    z = np.random.default_rng(1).normal(size=(400, 2))
    judged = {w: Calibration.from_gaussian(z if w else 2 * z, 0 * z, 1 + 0 * z) for w in (True, False)}
    spectra = {name: judged[name not in wrong] for name in ("a", "b", "c")}
    counts = {"x": SimpleNamespace(report=judged[True])}
    evaluation = SimpleNamespace(spectra=spectra, source_counts=counts, shapes={}, details=None)
    assert tuple(row[1] for row in trust_table(evaluation, refused=refused).rows) == told
    one_of_two = SimpleNamespace(
        spectra={"a": judged[True], "b": judged[False]}, source_counts=counts, shapes={}, details=None
    )
    assert trust_table(one_of_two, refused=False).rows[0][1] == "in part"

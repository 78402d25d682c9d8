from __future__ import annotations

import json

import numpy as np
import pytest

from gcesbi import Observation, SkyModel
from gcesbi.baselines import PoissonFit, goodness_of_fit
from gcesbi.errors import InputError
from gcesbi.plots import residual_maps
from gcesbi.report.html import render_report
from gcesbi.report.poisson import deviant_table, goodness_lines, norm_table, poisson_figures, poisson_report
from gcesbi.report.words import label


@pytest.fixture(scope="module", params=[0, 60])
def judged(request):
    model = SkyModel.preset(nside=16, n_energy=2, weeks=30)
    counts = np.random.default_rng(1).poisson(model.templates.sum(axis=0))
    counts[0, 20] += request.param
    seen = Observation(counts, model.exposure, model.energy_edges, model.region)
    found = goodness_of_fit(PoissonFit(model, seen).run(), n_simulated=20, sigma=4.0)
    return found, found.refit() if found.deviant else None


def test_tables_hold_the_fit(judged):
    found, again = judged
    rows = {row[0]: row[1:] for row in norm_table(found.result).rows}
    assert tuple(rows) == tuple(map(label, found.result.names))
    assert float(rows["π⁰ + bremsstrahlung"][0]) == pytest.approx(found.result.norms[0].sum(), abs=1e-4)
    assert float(rows["excess"][3]) == pytest.approx(found.result.test_statistic("gce"), abs=0.1)
    assert len(deviant_table(found).rows) == len(found.deviant) == (again is not None)
    said = goodness_lines(found, again)
    assert ("1 deviant pixels; without them norms move" in said) == (again is not None)
    assert ("no pixel is improbable after trials" in said) == (again is None)


def test_figures_are_plain_and_complete(judged):
    found, again = judged
    figures = json.loads(json.dumps(poisson_figures(found.result, found, again), allow_nan=False))
    assert np.shape(figures["norms"]) == (6, 2)
    assert np.shape(figures["intervals_68"]) == (6, 2, 2)
    assert figures["log_likelihood"] == found.result.log_likelihood
    assert ("without_deviant_pixels" in figures) == (again is not None)
    assert len(figures["goodness_of_fit"]["deviant_pixels"]) == len(found.deviant)
    assert len(figures["spectra"]) == 6


def test_the_page_says_it(judged):
    found, again = judged
    page = render_report(poisson_report(found.result, found, again, poisson_figures(found.result, found, again)))
    assert ("do not explain the map" in page) == bool(found.deviant or found.p_value < 0.01)
    assert "Does the Poisson fit explain the map?" in page


def test_residual_maps_check_their_shapes():
    region = SkyModel.preset(nside=16, n_energy=1, weeks=30).region
    values = np.zeros(region.n_pix)
    figure = residual_maps(region, values + 1, values, values, [(3.0, 4.0)], 2.0)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["Counts", "Residuals of pixels", "Residuals smoothed, 2°"]
    with pytest.raises(InputError, match="smoothed: must have shape"):
        residual_maps(region, values + 1, values, values[1:])

"""Spectra and extensions of catalogue sources against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from gcesbi.errors import InputError
from gcesbi.physics.catalogue import N_POINT, SourceCatalogue
from gcesbi.sky.image import angular_distance


def catalogue(**changes):
    values = {
        "names": np.array(["law", "parabola", "pulsar", "disc"]),
        "glon": np.array([0.0, 3.0, -4.0, 1.0]),
        "glat": np.array([0.0, 4.0, 0.0, 60.0]),
        "norm": np.array([1e-9, 2e-9, 3e-9, 4e-9]),
        "pivot": np.array([1.0, 2.0, 1.5, 1.0]),
        "index": np.array([2.0, 2.3, 1.2, 2.5]),
        "curvature": np.array([0.0, 0.2, 0.0, 0.0]),
        "cutoff": np.array([0.0, 0.0, 0.7, 0.0]),
        "cutoff_power": np.array([1.0, 1.0, 2 / 3, 1.0]),
        "radius": np.array([0.0, 0.0, 0.0, 0.8]),
        "form": np.array(["point", "point", "point", "disc"]),
    }
    return SourceCatalogue(**(values | changes))


def test_fluxes_are_integrals_of_the_spectra():
    edges = np.array([0.7, 1.0, 30.0])
    flux = catalogue().flux(edges)
    for i in range(4):
        for j in range(2):
            exact, _ = quad(lambda e, i=i: float(catalogue().spectrum(e)[i]), *edges[j : j + 2], epsabs=0)
            assert flux[i, j] == pytest.approx(exact, rel=1e-5)
    assert flux[0, 0] == pytest.approx(1e-9 * (1 / 0.7 - 1), rel=1e-10)


def test_spectra_have_their_norm_at_the_pivot():
    sources = catalogue()
    np.testing.assert_allclose(np.diag(sources.spectrum(sources.pivot)), sources.norm, rtol=1e-12)


def test_cut_off_and_curvature_bend_spectra_down():
    sources = catalogue()
    slope = np.log(sources.spectrum(20.0) / sources.spectrum(10.0)) / np.log(2)
    assert slope[0] == pytest.approx(-2.0)
    assert slope[1] < -2.3 - 0.2
    assert slope[2] < -3


@pytest.mark.parametrize(
    ("form", "level", "expected"), [("disc", 0.25, 0.4), ("gaussian", 0.68, 0.8), ("ring", 0.01, 0.8)]
)
def test_points_of_an_extended_source_have_its_profile(form, level, expected):
    sources = catalogue(form=np.array(["point", "point", "point", form]))
    glon, glat, source, share = sources.points()
    assert len(glon) == 3 + N_POINT
    np.testing.assert_allclose(np.bincount(source, share), 1.0)
    here = source == 3
    distance = angular_distance(glon[here], glat[here], (1.0, 60.0))
    assert np.quantile(distance, level) == pytest.approx(expected, rel=0.05)
    assert np.mean(glat[here]) == pytest.approx(60.0, abs=0.03)


def test_sources_within_a_disc():
    assert catalogue().within(5.5).names.tolist() == ["law", "parabola", "pulsar"]
    assert len(catalogue().within(1.0, (3.0, 4.0))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"glon": np.zeros(3)}, r"glon: must have shape \(4,\), got \(3,\)"),
        ({"index": np.array([1.0, np.nan, 1.0, 1.0])}, "index: must be finite, is not for parabola"),
        ({"norm": np.array([1.0, 1.0, -1.0, 1.0])}, "norm: must not be negative, is for pulsar"),
        ({"pivot": np.zeros(4)}, "pivot: must be above 0 GeV, is not for law"),
    ],
)
def test_guards_name_argument_rule_and_value(change, message):
    with pytest.raises(InputError, match=message):
        replace(catalogue(), **change)

"""Sources or smooth emission: what decides, and the sentences that say so."""

from types import SimpleNamespace

import numpy as np
import pytest

from gcesbi.estimators import PoissonFractionPosterior
from gcesbi.physics.scd import DEFAULT_BINS
from gcesbi.posterior import Coordinates, JointPosterior, SamplePosterior
from gcesbi.report.answers import Answer, answer, answer_lines, headline, true_answer
from gcesbi.report.populations import Population, drawn_from
from gcesbi.report.sections import joint_section

COORDINATES = Coordinates(("pi", "gce"), (2.8,), ("gce",), tuple(DEFAULT_BINS.centres))
MODEL = SimpleNamespace(
    subject="gce",
    names=("pi", "gce"),
    point_sources=("gce",),
    bins=DEFAULT_BINS,
    exposure=np.full((1, 1), 1e11),  # one photon is 1e-11
)


def posterior(log_flux, **more):
    """Populations whose flux all comes from sources of these fluxes (n,)."""
    row = np.searchsorted(DEFAULT_BINS.edges, log_flux) - 1
    cdf = (np.arange(26) >= row[:, None]).astype(float)[:, None]
    n = len(log_flux)
    samples = {"scd_cdf": cdf, "flux": np.full((n, 2), 1e-7), "flux_fraction": np.full((n, 2), 0.5), **more}
    return SamplePosterior("networks", COORDINATES, samples)


@pytest.mark.parametrize(
    ("fluxes", "decision"),
    [([-9.5] * 50, "sources"), ([-12.5] * 50, "smooth emission"), ([-9.5, -12.5] * 25, "undecided")],
)
def test_what_is_above_one_photon_decides(fluxes, decision):
    assert answer(MODEL, posterior(np.array(fluxes))).decision == decision


def test_an_exactly_smooth_part_counts_as_smooth():
    sources = {"point_source_flux_fraction": np.full((50, 1), 0.05)}
    found = answer(MODEL, posterior(np.full(50, -9.5), **sources))
    assert found.decision == "smooth emission"
    assert "at most 90 % of it is exactly smooth" in found.reason


def test_the_figure_shows_every_source_in_bins_of_half_a_decade():
    found = Population(MODEL, drawn_from(posterior(np.array([-9.5, -11.2] * 20))), "gce")
    edges, shown = found.shown
    assert (edges[0], edges[-1], len(edges)) == (-13.5, -7.0, 13)
    np.testing.assert_allclose(shown @ np.diff(edges), found.density.sum(axis=1) * DEFAULT_BINS.width)


def test_the_bayes_factor_is_told_where_it_is_known():
    told = answer(MODEL, posterior(np.full(50, -9.5)), (12.34, 0.06)).reason
    assert told.endswith("the Bayes factor for sources in it against none is e^(+12.3 ± 0.1)")


def test_a_limit_that_is_extrapolated_says_so():
    asked = SimpleNamespace(name="gce", quantiles=lambda cdf, levels: np.full((np.size(levels), 1), 0.8))
    asked.extrapolates = lambda cdf: np.array([True])
    share = PoissonFractionPosterior(asked, np.ones(26), COORDINATES)
    told = answer(MODEL, JointPosterior("networks", [posterior(np.full(50, -9.5)), share])).reason
    assert "at most 80 % of it is exactly smooth (95 % limit of its Poisson share; extrapolated" in told


def test_a_method_without_source_counts_cannot_tell():
    fit = SamplePosterior("fit", COORDINATES, {"flux_fraction": np.full((9, 2), 0.5)})
    assert answer(MODEL, fit).decision == "cannot tell"


def test_a_smooth_subject_has_no_sources_to_tell_of():
    model, one = SimpleNamespace(**(vars(MODEL) | {"subject": "pi"})), posterior(np.array([-9.5]))
    assert true_answer(model, one) == "In truth the π⁰ + bremsstrahlung gives 50.0 % of all flux."
    assert true_answer(MODEL, one).startswith("In truth 100 % of the flux of the excess, 50.0 % of all flux, is from")
    assert answer(model, one) == Answer("cannot tell", "its sky has no sources of the π⁰ + bremsstrahlung")
    assert joint_section(model, {"networks": one}) is None


def test_the_headline_says_whether_methods_agree():
    one = {"fit": Answer("cannot tell", "x"), "a": Answer("sources", "x"), "b": Answer("sources", "y")}
    assert headline(MODEL, one).endswith("what is the excess? Sources, by all 2 methods that can tell.")
    two = one | {"b": Answer("undecided", "y")}
    assert headline(MODEL, two).endswith("Methods differ: a, sources; b, undecided.")
    assert answer_lines(two).splitlines()[0] == "fit: cannot tell. X."
    assert "No method was asked" in headline(MODEL, {"fit": one["fit"]})

from __future__ import annotations

import numpy as np
import pytest

from gcesbi import Observation
from gcesbi.baselines import Fixed, NormPrior, PoissonFit, UserTemplate
from gcesbi.baselines.poisson.likelihood import check_templates
from gcesbi.errors import InputError

from .conftest import SmallModel, observe


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormPrior(low=2.0, high=1.0), "low: must be below high, got low 2.0 and high 1.0; use Fixed"),
        (lambda: NormPrior(low=1.0, high=1.0), "low: must be below high"),
        (lambda: NormPrior(low=(0.0, 3.0), high=(1.0, 2.0)), "low: must be below high"),
        (lambda: NormPrior(low=-1.0), "low: must be a number >= 0"),
        (lambda: NormPrior(low=np.nan), "low: must be a number >= 0"),
        (lambda: NormPrior(mean=1.0), "sigma: a Gaussian prior needs mean and sigma"),
        (lambda: NormPrior(mean=1.0, sigma=0.0), "sigma: must be above zero, got 0.0"),
        (lambda: NormPrior(mean=np.inf, sigma=1.0), "mean: must be finite"),
        (lambda: Fixed(-0.1), "value: must be a number >= 0"),
        (lambda: Fixed(np.inf), "value: must be finite"),
        (lambda: Fixed((1.0, 2.0, 3.0)).arrays(2), "value: needs one value, or one for each of 2 energy bins, got 3"),
        (lambda: UserTemplate("x", np.zeros((1, 2, 3))), r"counts: must have shape \(n_energy, n_pix\)"),
    ],
)
def test_priors_refuse(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_fixed_bounded_and_gaussian_norms():
    model = SmallModel.build(n_energy=2)
    observation = observe(model, seed=1)
    free = PoissonFit(model, observation).run()
    priors = {
        "iso": Fixed((4.0, 3.0)),
        "ic": NormPrior(low=6.0, high=7.0),
        "gce": NormPrior(mean=2.0, sigma=1e-3),
    }
    result = PoissonFit(model, observation, priors).run()
    assert result.converged
    np.testing.assert_array_equal(result.norms[0], [4.0, 3.0])
    assert np.all((result.norms[1] >= 6.0) & (result.norms[1] <= 7.0))
    np.testing.assert_allclose(result.norms[2], 2.0, atol=0.01)
    assert result.log_likelihood < free.log_likelihood
    np.testing.assert_array_equal(result.errors[0], 0.0)
    np.testing.assert_allclose(result.errors[2], 1e-3, rtol=0.01)
    np.testing.assert_array_equal(result.intervals()[0], [[4.0, 4.0], [3.0, 3.0]])
    wide = PoissonFit(model, observation, {"gce": NormPrior(mean=3.0, sigma=1e6)}).run()
    np.testing.assert_allclose(wide.norms, free.norms, rtol=1e-4, atol=1e-4)


def test_a_gaussian_prior_weighs_as_it_should():
    """One flat template: ln L = N ln A - A S - (A - m)²/2s² has its maximum at the root of a quadratic."""
    model = SmallModel.build(names=("iso",))
    observation = observe(model, seed=2)
    total, size, m, s = observation.counts.sum(), model.templates.sum(), 3.0, 0.2
    found = PoissonFit(model, observation, {"iso": NormPrior(mean=m, sigma=s)}).run().norms[0]
    b = m - size * s**2
    assert found == pytest.approx(0.5 * (b + np.sqrt(b**2 + 4 * total * s**2)), rel=1e-9)


def test_a_template_fixed_at_zero_is_left_out():
    model = SmallModel.build()
    observation = observe(model, seed=3)
    out = PoissonFit(model, observation, {"gce": Fixed(0.0)}).run()
    full = PoissonFit(model, observation).run()
    assert full.test_statistic("gce") == pytest.approx(2 * (full.log_likelihood - out.log_likelihood), abs=1e-7)


def test_user_templates_join_the_model():
    model = SmallModel.build(n_energy=2)
    glon, glat = model.region.glon_glat()
    blob = np.exp(-((glon - 8) ** 2 + (glat - 8) ** 2) / 50) * np.ones((2, 1))
    counts = np.random.default_rng(4).poisson(5 * model.templates.sum(axis=0) + 60 * blob)
    result = PoissonFit(model, observe(model, counts), extra=(UserTemplate("blob", blob),)).run()
    assert result.names == (*model.names, "blob")
    np.testing.assert_allclose(result.norms[-1], 60, atol=5 * result.errors[-1].max())
    np.testing.assert_allclose(result.flux[-1], result.norms[-1] * (blob / model.exposure).sum(axis=1))
    assert result.coordinates.template == result.names
    assert result.posterior().sample(10)["flux"].shape == (10, 5)
    part = result.without(model.region.pixels[[0, 5]])
    assert part.templates.shape == (5, 2, model.region.n_pix - 2)


@pytest.mark.parametrize(
    ("priors", "extra", "message"),
    [
        ({"dm": Fixed(1.0)}, (), "priors: templates are iso, ic, gce, disk, got 'dm'"),
        ({"gce": (0, 1)}, (), "priors: 'gce' must be a NormPrior or Fixed"),
        ({"gce": NormPrior(high=(1.0, 2.0))}, (), "high: needs one value"),
        ({}, ("gce", 1.0), "extra: names must differ from each other and from the model's, got 'gce' twice"),
        ({}, ("new", None), "extra: 'new' must have the shape of the counts"),
        ({}, ("new", -1.0), "'new' must not be negative"),
        ({}, ("new", np.nan), "'new' must be finite"),
        ({}, ("new", 0.0), "'new' is zero in every pixel"),
        ({}, ("new", 1.0), "iso, new are linearly dependent"),
    ],
)
def test_the_fit_refuses(priors, extra, message):
    model = SmallModel.build()
    if extra:
        name, value = extra
        extra = (UserTemplate(name, np.ones(3) if value is None else np.full(model.exposure.shape, value)),)
    with pytest.raises(InputError, match=message):
        PoissonFit(model, observe(model, seed=1), priors, extra)


def test_what_a_prior_settles_may_be_degenerate():
    model = SmallModel.build()
    twin = UserTemplate("twin", model.templates[0])
    observation = observe(model, seed=1)
    for prior in (Fixed(1.0), NormPrior(mean=1.0, sigma=0.1)):
        result = PoissonFit(model, observation, {"twin": prior}, (twin,)).run()
        assert result.norms[-1] == pytest.approx(1.0, abs=1e-6)


def test_every_group_of_degenerate_templates_is_named():
    a, b, c = np.random.default_rng(0).random((3, 12))
    with pytest.raises(InputError, match=r"templates: a, d; b, c, e are linearly dependent"):
        check_templates(np.stack([a, b, c, 2 * a, b + c]), ("a", "b", "c", "d", "e"))


def test_counts_that_no_free_template_covers():
    model = SmallModel.build(names=("iso",))
    with pytest.raises(InputError, match="must not all be zero where counts are seen, are in"):
        PoissonFit(model, observe(model, seed=1), {"iso": Fixed(0.0)})


def test_a_template_that_shines_alone_has_infinite_test_statistic():
    model = SmallModel.build(names=("iso",))
    result = PoissonFit(model, observe(model, seed=1)).run()
    assert result.test_statistic("iso") == np.inf


def test_too_few_pixels():
    model = SmallModel.build()
    seen = observe(model, seed=1)
    gone = model.region.pixels[3:]
    with pytest.raises(InputError, match="at least as many pixels as templates, got 3 < 4"):
        PoissonFit(model, seen).without(gone)
    with pytest.raises(InputError, match="region: must hold at least one pixel"):
        PoissonFit(model, seen).without(model.region.pixels)
    assert isinstance(PoissonFit(model, seen).without(gone[4:]).observation, Observation)

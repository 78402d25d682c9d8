"""NPTF of composed models: any family of source counts, any prior, shapes of templates; against independent values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import poisson

from gcesbi import Formula, Mixture, Observation, PointSources, Simulator, SkyModel, Smooth
from gcesbi.baselines import NPTF, ModelPriors, NptfPriors, poisson_log_likelihood
from gcesbi.baselines.nptf.power_law_family import PowerLaws
from gcesbi.baselines.nptf.scd_family import SourceView
from gcesbi.errors import InputError
from gcesbi.physics.broken_power_law import BrokenPowerLaw
from gcesbi.simulation.marginals import Normal, Truncated

from .test_nptf_priors import check_gradient

BROKEN = {
    "family": "broken-power-law",
    "indices": [(2.1, 4.0), Truncated(Normal(0.5, 0.5), -1.0, 1.8)],
    "breaks": [(-10.5, -9.5)],
    "flux": (1e-8, 2e-7),
}
SKEW = {"xi": (-11.0, -9.0), "a": 0.0, "flux": (1e-8, 2e-7)}
THRESHOLD = {"family": "power-law", "alpha": (-2.5, -1.5), "low": -12.0, "threshold": -9.5, "flux": (1e-8, 2e-7)}


def compose(components, n_energy=1, **more):
    region, edges = {"nside": 16, "radius": 20}, np.geomspace(2, 20, n_energy + 1)
    return SkyModel(components, region=region, energy_edges=edges, **more)


def drawn(model, seed=1):
    theta = model.prior().draw(1, np.random.default_rng(seed))[0]
    return Simulator(model).observe(theta, seed=seed)[0]


def middle(nptf, seed=2):
    return nptf.from_cube(np.random.default_rng(seed).uniform(0.25, 0.65, len(nptf.names)))


@pytest.fixture(scope="module")
def mixed():
    """Floating smooth and point-source templates, two families in one, one with a Poisson share, and constants."""
    model = compose(
        [
            Smooth(name="gas", template=Mixture(mixture=("pion-decay", "inverse-compton")), norm=(1.0, 4.0)),
            Smooth(name="sky", template="isotropic", norm=0.3),
            PointSources(
                name="halo",
                template=Mixture(mixture=(Formula(formula="nfw", gamma=(0.9, 1.4)), "bubbles")),
                populations=[BROKEN, SKEW],
                poisson_share=(0.0, 1.0),
            ),
            PointSources(name="thin", template=Formula(formula="disk", z_s=(0.2, 1.0)), populations=[THRESHOLD]),
        ],
        n_energy=2,
    )
    return model, drawn(model)


def test_priors_are_the_models_own(mixed):
    model, observation = mixed
    nptf = NPTF(model, observation, ModelPriors())
    prior = model.prior()
    assert set(nptf.names) == {name for name in prior.names if "_spectrum_" not in name}
    assert "sky_norm" not in nptf.names
    assert "halo2_a" not in nptf.names
    for name, marginal in zip(nptf.names, nptf.prior.marginals, strict=True):
        assert marginal == prior.marginals[prior.names.index(name)]
    assert nptf.names[-4:] == ("gas_weight", "halo_weight", "halo_gamma", "thin_z_s")


@pytest.mark.parametrize("priors", [ModelPriors(), NptfPriors(), NptfPriors(brightness="flux")])
def test_gradients_agree_with_differences(mixed, priors):
    nptf = NPTF(*mixed, priors)
    check_gradient(nptf, middle(nptf), rel=1e-5)


def test_at_held_shapes_it_is_the_likelihood_of_the_model_there(mixed):
    """One energy bin, where no spectrum of the fit enters: templates at the same shapes give the same ln L and SCD."""
    model = compose(mixed[0].composition.components)
    observation = drawn(model, seed=3)
    nptf = NPTF(model, observation, ModelPriors())
    theta = middle(nptf)
    shapes = dict(zip(nptf.names, theta, strict=True))
    fixed = NPTF(model.at(**{name: shapes[name] for name in model.parameters.shapes}), observation, ModelPriors())
    same = np.array([shapes[name] for name in fixed.names])
    assert float(nptf.log_likelihood(theta)) == pytest.approx(float(fixed.log_likelihood(same)), abs=1e-8)
    told, expected = nptf.quantities(theta[None]), fixed.quantities(same[None])
    for name in ("flux", "flux_fraction", "scd_cdf", "point_source_flux_fraction"):
        np.testing.assert_allclose(told[name], expected[name], rtol=1e-9)


@pytest.fixture(scope="module")
def faint():
    """Sources far below one photon and a floating slope, one exposure everywhere; a Poisson map of slope 1.1."""
    dim = {"xi": -15.0, "omega2": 0.01, "a": 0.0, "flux": (1e-8, 4e-7)}
    model = compose(
        [
            Smooth(name="gas", template="pion-decay", norm=(1.0, 40.0)),
            PointSources(name="halo", template=Formula(formula="nfw", gamma=(0.9, 1.4)), populations=[dim]),
        ],
        exposure=9e10,
    )
    counts = np.random.default_rng(2).poisson(mean_of(model, 1.1))
    return model, Observation(counts, model.exposure, model.energy_edges, model.region)


def mean_of(model, gamma):
    at = model.at(halo_gamma=gamma)
    return 5.0 * at.templates[0] + 2e-7 / at.flux_per_norm[1, 0] * at.templates[1]


def test_faint_sources_are_poisson_at_every_shape(faint):
    """The likelihood is Poisson's, for the templates of the model at these shapes."""
    model, observation = faint
    nptf = NPTF(model, observation, ModelPriors())
    assert nptf.names == ("gas_norm", "halo_flux", "halo_gamma")
    for gamma in (0.93, 1.1, 1.3):
        expected = poisson_log_likelihood(observation.counts, mean_of(model, gamma))
        assert float(nptf.log_likelihood([5.0, 2e-7, gamma])) == pytest.approx(expected, abs=0.2)


def test_a_sky_without_smooth_components_and_one_of_constants():
    model = compose([PointSources(name="only", template="nfw", populations=[SKEW])])
    nptf = NPTF(model, drawn(model), ModelPriors())
    assert nptf.names == ("only_xi", "only_omega2", "only_flux")
    check_gradient(nptf, middle(nptf), rel=1e-5)
    assert nptf.target.moves is not None
    assert NPTF(model, drawn(model)).smooth == ("only",)


def test_the_subject_alone_shines_smoothly_beside_diffuse_templates():
    model = compose(
        [
            PointSources(name="thin", template="disk", populations=[SKEW]),
            Smooth(name="gas", template="pion-decay", norm=(1.0, 4.0)),
            PointSources(name="halo", template="nfw", populations=[SKEW]),
        ]
    )
    assert NPTF(model, drawn(model)).smooth == ("gas", "thin")


# -- power laws -------------------------------------------------------------------------------------------------------


CASES = [
    (PowerLaws(2, -7.0), [4.0, 1.7, -0.8, -9.6, -11.2]),
    (PowerLaws(1, -7.0), [2.5, 1.3, -9.6]),
    (PowerLaws(1, -7.0, low=-13.0), [2.5, 2.3, -9.6]),
    (PowerLaws(0, -9.0, low=-12.0, falling=False), [-1.9]),
    (PowerLaws(1, -9.8), [2.5, 1.3, -9.6]),
]


@pytest.fixture(scope="module")
def view():
    shares, density = np.array([[0.05, 0.2, 0.6]]), np.array([[4.0, 2.0, 0.5]])
    return SourceView(shares, density / np.sum(shares * density), np.ones(1), 1e11, 40)


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_power_laws_agree_with_quadrature(view, family, shape):
    bound, shape = family.bind(view), np.array(shape)
    found = np.zeros((1, 1, 44))
    bound.unit_vectors(shape[None], found)
    indices, ends = family.parts(shape)
    inner = ends[1:-1] < ends[0]
    law = BrokenPowerLaw(
        1.0, tuple(indices[np.append(inner, True)]), tuple(10.0 ** ends[1:-1][inner]), 10.0 ** ends[-1], 10.0 ** ends[0]
    )
    knots = np.unique(np.concatenate([np.linspace(ends[-1], ends[0], 40), ends]))

    def rate(x, share, m):
        flux = 10.0**x
        photons = share * flux * view.exposure
        return float(law.density(flux)) * flux * np.log(10) * (poisson.pmf(m, photons) if m else -np.expm1(-photons))

    for m in (0, 1, 7):
        total = sum(
            rho * quad(rate, a, b, args=(share, m), epsrel=1e-11)[0]
            for share, rho in zip(view.shares[0], view.density[0], strict=True)
            for a, b in pairwise(knots)
        )
        assert found[0, 0, m] == pytest.approx(total / (law.total_flux * view.exposure), rel=1e-9)
    edges = np.linspace(-13, -7, 13)
    np.testing.assert_allclose(bound.histogram(shape[None], edges)[0], law.histogram(10.0**edges), rtol=1e-12)


@pytest.mark.parametrize(("family", "shape"), CASES)
def test_derivatives_of_power_laws(view, family, shape):
    bound, shape = family.bind(view), np.array(shape)
    gradient = bound.unit_gradient(shape)
    assert len(family.names) == len(shape)
    for i in range(len(shape)):
        steps = 1e-4 * np.array([-2.0, -1.0, 1.0, 2.0])
        out = np.zeros((4, 1, 44))
        bound.unit_vectors(shape + steps[:, None] * np.eye(len(shape))[i], out)
        slope = (out[0] - 8 * out[1] + 8 * out[2] - out[3])[0, :40] / 12e-4
        np.testing.assert_allclose(gradient[0, 1 + i], slope, rtol=1e-6, atol=1e-8 * np.abs(gradient).max())


def test_power_laws_guard_their_shapes():
    family = PowerLaws(1, -7.0)
    with pytest.raises(InputError, match="must be finite"):
        family.parts(np.array([np.nan, 1.0, -9.0]))
    with pytest.raises(InputError, match="must stay below 2"):
        family.parts(np.array([3.0, 2.0, -9.0]))
    with pytest.raises(InputError, match="breaks must descend"):
        PowerLaws(2, -7.0).parts(np.array([3.0, 1.5, 1.0, -10.0, -9.0]))


# -- what is found ----------------------------------------------------------------------------------------------------


def test_a_slope_that_was_drawn_is_found(faint):
    """The maximum over the slope is near that of the map, and at that of the Poisson profile."""
    nptf = NPTF(*faint, ModelPriors())
    best = dict(zip(nptf.names, nptf.from_cube(nptf.maximise(n_start=4).u), strict=True))
    fit = nptf.sky.fit
    low, high = fit.shape_interval("halo_gamma", 0.9973)
    assert low < 1.1 < high
    assert best["halo_gamma"] == pytest.approx(fit.shapes["halo_gamma"], abs=0.1 * (high - low))

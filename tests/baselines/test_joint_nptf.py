"""The template fit of vectors of counts: spectra float, jointly with norms and source counts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.special import logsumexp, ndtr, ndtri

import gcesbi
from gcesbi import InputError
from gcesbi.baselines import NPTF, ImportanceSampling, ModelPriors, NptfPriors, Nuts, SamplingWarning

from .test_nptf_priors import RANGES, check_gradient


@pytest.fixture(scope="module")
def sky():
    """Three bins, an exposure that depends on energy and place, one population an excess with a Poisson share."""
    model = gcesbi.SkyModel.preset(nside=16, n_energy=3, weeks=30, gce_populations=1, gce_poisson_share=True)
    slope = np.array([0.9, 1.0, 1.15])[:, None]
    model = model.with_exposure(model.exposure * slope)
    theta = model.prior().draw(1, np.random.default_rng(4))[0]
    return model, gcesbi.Simulator(model).observe(theta, seed=5)[0], theta


def test_parameters_are_the_models_own(sky):
    model, observation, _ = sky
    nptf = NPTF(model, observation, ModelPriors(), energies="joint")
    prior = model.prior()
    assert set(nptf.names) == set(prior.names)
    for name, marginal in zip(nptf.names, nptf.prior.marginals, strict=True):
        assert marginal == prior.marginals[prior.names.index(name)]


def test_one_bin_is_the_fit_without_energies():
    model = gcesbi.SkyModel.preset(nside=16, n_energy=1, weeks=30)
    observation = gcesbi.Simulator(model).observe(model.prior().draw(1, np.random.default_rng(1))[0], seed=1)[0]
    for priors in (ModelPriors(), NptfPriors(**RANGES)):
        summed, joint = (NPTF(model, observation, priors, energies=kind) for kind in ("sum", "joint"))
        assert joint.names == summed.names
        theta = summed.from_cube(np.random.default_rng(0).uniform(0.2, 0.8, (3, len(summed.names))))
        np.testing.assert_allclose(joint.log_likelihood(theta), summed.log_likelihood(theta), rtol=0, atol=1e-8)
        for name, values in summed.quantities(theta).items():
            np.testing.assert_allclose(joint.quantities(theta)[name], values, rtol=1e-10, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("priors", [ModelPriors(), NptfPriors(**RANGES), NptfPriors(**RANGES, brightness="flux")])
@pytest.mark.parametrize("coarse_above", [200, 12])
def test_gradient_by_finite_differences(sky, priors, coarse_above):
    model, observation, _ = sky
    nptf = NPTF(model, observation, priors, energies="joint", coarse_above=coarse_above)
    u = np.random.default_rng(2).uniform(0.25, 0.6, len(nptf.names))
    check_gradient(nptf, nptf.from_cube(u), rel=1e-4)


@pytest.mark.parametrize("priors", [ModelPriors(), NptfPriors(**RANGES), NptfPriors(**RANGES, brightness="flux")])
def test_what_energies_add_is_expanded_to_second_order(sky, priors):
    """Beside a point the expansion misses what falls with the third power of the distance."""
    nptf = NPTF(*sky[:2], priors, energies="joint", workers=1)
    refinement, k = nptf.target.refinement, len(nptf.target.refinement.coarser.names)
    rng = np.random.default_rng(6)
    z, step = ndtri(rng.uniform(0.3, 0.6, len(nptf.names))), rng.normal(size=len(nptf.names))
    quadratic, _ = refinement.second_order(z)

    def added(z):
        return nptf.target.finite(ndtr(z)) - refinement.coarser.finite(ndtr(z[:, :k]))

    def features(z):
        parts = np.stack([refinement.part(i, z[:, block]) for i, block in enumerate(refinement.blocks)], axis=1)
        return refinement.features(refinement.first(z[:, :k]), parts)

    points = z + np.array([0.0, 0.005, 0.01, 0.02])[:, None] * step
    exact, found = added(points), quadratic(features(points))
    off = np.abs(found - exact)
    assert found[0] == pytest.approx(exact[0], abs=1e-7)
    assert np.all(off[1:] < 0.02 * np.abs(exact[1:] - exact[0]))
    np.testing.assert_allclose(off[2:] / off[1:-1], 8, rtol=0.35)
    far = features(rng.normal(size=(200, len(z))))
    assert np.all(refinement.expansion(z)(far) <= quadratic(far) + 1e-6 * np.abs(quadratic(far)))


@pytest.mark.slow  # quick: a coarser target in test_samplers.py
def test_energies_refine_the_posterior_of_the_sum():
    """ln Z and means by brute force: draws of the sum's posterior and of the prior of spectra, for few photons."""
    model = gcesbi.SkyModel.preset(nside=16, n_energy=2, weeks=1, gce_populations=1)
    theta = model.prior().draw(1, np.random.default_rng(3))[0]
    observation = gcesbi.Simulator(model).observe(theta, seed=3)[0]
    target = NPTF(model, observation, ModelPriors(), energies="joint", workers=1).target
    found = ImportanceSampling(n_eff=300, batch=200).sample(target, seed=1)
    assert found.convergence.converged, found.convergence.problems

    rng, coarser = np.random.default_rng(2), target.refinement.coarser
    given = ImportanceSampling(n_eff=2000, batch=2000).sample(coarser, seed=5)
    chosen = given.u[rng.integers(len(given.u), size=8000)]
    u = np.concatenate([chosen, rng.random((8000, target.n_dim - coarser.n_dim))], axis=1)
    added = target.finite(u) - coarser.finite(chosen)
    w = np.exp(added - logsumexp(added))
    n, mean = 1 / np.sum(w**2), w @ u
    error = np.sqrt(1 / n + given.log_evidence_error**2 + found.log_evidence_error**2)
    assert found.log_evidence == pytest.approx(given.log_evidence + logsumexp(added) - np.log(8000), abs=4 * error)
    widths = np.sqrt(w @ (u - mean) ** 2)
    off = np.abs(found.u.mean(axis=0) - mean) / widths
    assert np.all(off < 5 * np.sqrt(1 / n + 1 / found.convergence.ess))


def test_quantities_are_those_that_the_model_expects(sky):
    model, observation, theta = sky
    nptf = NPTF(model, observation, ModelPriors(), energies="joint")
    expected = gcesbi.simulation.expected.expected_quantities(model, theta[None])
    own = theta[[model.prior().names.index(name) for name in nptf.names]]
    found = nptf.quantities(own[None])
    np.testing.assert_allclose(found["flux"], expected["flux"], rtol=1e-6)
    np.testing.assert_allclose(found["flux_fraction"], expected["flux_fraction"], rtol=1e-6)
    emission = model.emission(theta[None])
    flux = found["flux"][..., None] * emission.spectra
    np.testing.assert_allclose(found["spectrum_fraction"], flux / flux.sum(axis=1, keepdims=True), rtol=1e-9)
    assert found["spectrum"].shape == (1, len(model.names), 3)


def test_the_mean_counts_are_those_that_the_simulator_draws(sky):
    """Smooth emission and sources together, in every bin: what the likelihood expects against the model's own mean."""
    model, observation, theta = sky
    joint = NPTF(model, observation, ModelPriors(), energies="joint").joint
    own = theta[[model.prior().names.index(name) for name in joint.parameters.names]]
    shares = joint.spectra.shares(own[None])
    smooth, norms = joint.norms(own[None], shares)
    c = joint.norm_shares(shares[0])
    mean = joint._mean(smooth[0][:, None] * c[joint.smooth_rows])
    emission = model.emission(theta[None])
    expected = np.einsum("te,tep->pe", emission.norms[0], model.smooth_templates)
    np.testing.assert_allclose(mean.sum(axis=0), expected.sum(axis=0), rtol=5e-3)  # leaks across the region's edge
    at = joint._sources(own, shares[0], c, norms[0])
    np.testing.assert_allclose(at.splits.sum(axis=-1), 1.0, rtol=1e-12)


@pytest.mark.slow  # quick: the gradient above, and NUTS in test_samplers.py
def test_spectra_are_recovered():
    """A map of four templates: NUTS finds spectra within four posterior widths, narrower than their prior."""
    model = gcesbi.SkyModel.preset(nside=16, n_energy=2, weeks=4, gce_populations=1)
    prior = model.prior()
    truth = dict(zip(prior.names, prior.from_uniform(np.full((1, len(prior.names)), 0.5))[0], strict=True))
    truth |= {"gce_xi": -9.8, "gce_omega2": 0.05, "gce_a": 0.0, "disk_xi": -12.0, "disk_omega2": 0.05, "disk_a": 0.0}
    theta = np.array(list(truth.values()))
    observation = gcesbi.Simulator(model).observe(theta, seed=3)[0]
    nptf = NPTF(model, observation, ModelPriors(), energies="joint", coarse_above=40, workers=1)
    own = np.array([[truth[name] for name in nptf.names]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)  # so few draws do not converge to the last digit
        posterior = nptf.run(Nuts(n_samples=40, n_warmup=30, n_chains=2, max_depth=3), seed=1, progress=False)
    expected, found = nptf.quantities(own), posterior.samples
    before = nptf.quantities(nptf.prior.draw(500, np.random.default_rng(2)))
    for name in ("flux_fraction", "spectrum_fraction"):
        off = found[name].mean(axis=0) - expected[name][0]
        assert np.all(np.abs(off) < 4 * found[name].std(axis=0)), name
    assert np.all(found["spectrum_fraction"].std(axis=0)[:1] < 0.8 * before["spectrum_fraction"].std(axis=0)[:1])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"energies": "all"}, "energies: must be 'sum', 'bands' or 'joint', got 'all'"),
        ({"energies": "joint", "n_exposure": 2}, "n_exposure: must be 1 where energies are 'joint', got 2"),
        ({"energies": "joint", "coarse_above": -1}, "coarse_above: must not be negative, got -1"),
    ],
)
def test_bad_input_is_named(sky, changes, told):
    with pytest.raises(InputError, match=told):
        assert NPTF(*sky[:2], ModelPriors(), **changes).joint.map

from __future__ import annotations

import numpy as np
import pytest
import torch
from sbi.inference.posteriors import MCMCPosterior, VIPosterior
from sbi.utils.sbiutils import mcmc_transform

from gcesbi.baselines import NPTF, NptfPriors, Tempering
from gcesbi.baselines.nptf.torch_potential import NptfPotential, torch_log_likelihood

from .conftest import SmallModel, observe

PRIORS = NptfPriors(
    indices=((3.0, 8.0), (-2.0, 1.5)), breaks=((2.0, 10.0),), norms={"iso_norm": (0.0, 4.0), "gce_ps_norm": (0.0, 4.0)}
)


@pytest.fixture(scope="module")
def nptf():
    """Five parameters, a quick likelihood."""
    model = SmallModel.build(names=("iso", "gce"), radius=12.0)
    counts = np.random.default_rng(1).poisson(2.0 * model.templates[0] + 1.5 * model.templates[1])
    return NPTF(model, observe(model, counts), PRIORS, smooth=("iso",), workers=1)


@pytest.fixture(scope="module")
def expected(nptf):
    """Mean and width of every parameter, by tempering."""
    found = Tempering(n_particles=150, n_islands=4, n_moves=4).sample(nptf.target, 1)
    assert found.convergence.converged
    theta = nptf.from_cube(found.u)
    return theta.mean(axis=0), theta.std(axis=0)


def test_torch_follows_the_closed_form_gradient(nptf):
    theta = torch.as_tensor(nptf.from_cube(np.array([np.full(5, 0.4), np.full(5, 0.6)])), dtype=torch.float64)
    theta.requires_grad_(True)
    value = torch_log_likelihood(nptf, theta)
    weights = torch.tensor([1.0, -2.0], dtype=torch.float64)
    (value * weights).sum().backward()
    for i in range(2):
        exact, gradient = nptf.log_likelihood_gradient(theta[i].detach().numpy())
        assert value[i].item() == pytest.approx(exact, abs=1e-9)
        np.testing.assert_allclose(theta.grad[i].numpy(), weights[i].item() * gradient, rtol=1e-12)
    assert torch.autograd.gradcheck(lambda t: torch_log_likelihood(nptf, t), theta.detach()[:1].requires_grad_(True))


def test_potential_is_the_posterior_up_to_a_constant(nptf):
    potential = NptfPotential(nptf)
    theta = nptf.sample_prior(4, np.random.default_rng(0))
    got = potential(torch.as_tensor(theta), track_gradients=False).numpy()
    np.testing.assert_allclose(got - got[0], nptf.log_probability(theta) - nptf.log_probability(theta)[0], atol=1e-8)
    outside = torch.as_tensor(theta, dtype=torch.float32)
    outside[1, 0] = -1.0
    values = potential(outside)
    assert values.dtype == torch.float32
    assert values[1] == -torch.inf
    assert torch.isfinite(values[[0, 2, 3]]).all()


@pytest.mark.parametrize("method", ["slice_np_vectorized", "nuts_pyro"])
def test_sbi_samples_it(nptf, expected, method):
    """sbi's chains and our tempering agree in every mean within 5 standard errors of 25 effective draws."""
    if method == "nuts_pyro":
        pytest.importorskip("pyro")
    torch.manual_seed(0)
    few = method == "nuts_pyro"
    posterior = MCMCPosterior(
        NptfPotential(nptf),
        proposal=nptf.prior,
        theta_transform=mcmc_transform(nptf.prior),
        method=method,
        num_chains=1 if few else 10,
        warmup_steps=50 if few else 10,
        thin=1,
        init_strategy="proposal",
    )
    samples = posterior.sample((100,), show_progress_bars=False).numpy()
    mean, width = expected
    assert np.all(np.abs(samples.mean(axis=0) - mean) < 5 * width / np.sqrt(25))
    assert np.all((samples >= nptf.bounds[:, 0]) & (samples <= nptf.bounds[:, 1]))


def test_sbi_fits_it_by_variation(nptf, expected):
    """A Gaussian in sbi's unbounded space: means within half a width."""
    torch.manual_seed(0)
    posterior = VIPosterior(
        NptfPotential(nptf), prior=nptf.prior, q="gaussian", theta_transform=mcmc_transform(nptf.prior)
    )
    posterior.train(
        n_particles=32, max_num_iters=200, learning_rate=0.05, quality_control=False, show_progress_bar=False
    )
    samples = posterior.sample((500,), show_progress_bars=False).numpy()
    mean, width = expected
    assert np.all(np.abs(samples.mean(axis=0) - mean) < 0.5 * width)

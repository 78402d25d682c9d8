"""NPTF of a model with log-fields: gradient, and posteriors against sums over a grid."""

import numpy as np
import pytest

from gcesbi import Harmonics, InputError, PointSources, Simulator, SkyModel, Smooth
from gcesbi.baselines import NPTF, ChainConvergence, ModelPriors, NestedSampling, Nuts, Sampled
from gcesbi.baselines.nptf.log_fields import FieldTarget

LAW = Harmonics(sigma=0.4, l_max=1)


def sky(law=LAW, edges=(2, 20), **gas):
    told = {"name": "gas", "template": "inverse-compton", "norm": (1, 8), "nuisances": [law], **gas}
    sources = {"xi": -10.0, "omega2": 0.2, "a": 0.0, "flux": (0, 2e-7)}
    dots = PointSources(name="dots", template="nfw", populations=[sources])
    return SkyModel([Smooth(**told), dots], region={"nside": 8}, energy_edges=list(edges))


def fitted(model, energies="sum"):
    theta = model.prior().draw(1, np.random.default_rng(3))[0]
    return NPTF(model, Simulator(model).observe(theta, seed=5)[0], ModelPriors(), energies=energies)


@pytest.mark.parametrize("energies", ["sum", "bands"])
def test_the_gradient_is_that_of_the_target(energies):
    joint = FieldTarget(fitted(sky(Harmonics(sigma=0.4, l_max=1, per_energy=True), np.geomspace(2, 20, 3)), energies))
    u = np.random.default_rng(1).uniform(0.3, 0.7, joint.target.n_dim)
    _, slope = joint.gradient(u)
    for i, step in enumerate(1e-6 * np.eye(len(u))):
        difference = (joint.gradient(u + step)[0] - joint.gradient(u - step)[0]) / 2e-6
        assert slope[i] == pytest.approx(difference, rel=1e-3, abs=1e-2)


def test_the_posterior_is_that_of_the_parameters(monkeypatch):
    def sample(self, target, seed, limits):
        u = np.random.default_rng(seed).uniform(0.4, 0.6, (12, target.n_dim))
        r_hat, ess = np.ones(target.n_dim), np.full(target.n_dim, 1e3)
        convergence = ChainConvergence(target.names, r_hat, ess, 0)
        return Sampled(u, np.array([target.gradient(each)[0] for each in u]), convergence)

    monkeypatch.setattr(Nuts, "sample", sample)
    posterior = fitted(sky()).run(seed=1, progress=False)
    assert posterior.theta.shape == (12, 2)
    assert np.isfinite(posterior.sample(10)["flux"]).all()


def test_what_cannot_be_sampled_is_refused():
    nptf = fitted(sky())
    with pytest.raises(InputError, match="sampler: log-fields have too many coefficients but for Nuts"):
        nptf.run(NestedSampling())
    with pytest.raises(InputError, match="energies: 'joint' holds smooth templates"):
        NPTF(nptf.model, nptf.observation, ModelPriors(), energies="joint")
    floating = sky(template={"formula": "nfw", "gamma": (1.0, 1.2)})
    with pytest.raises(InputError, match="model: gas floats and has log-fields"):
        NPTF(floating, nptf.observation, ModelPriors())

"""NPTF of a model with log-fields: gradient, and posteriors against sums over a grid."""

import numpy as np
import pytest

from gcesbi import Harmonics, InputError, PointSources, Simulator, SkyModel, Smooth
from gcesbi.baselines import NPTF, ModelPriors, NestedSampling, Nuts
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


def test_coefficients_are_marginalised():
    nptf = fitted(sky(Harmonics(sigma=0.4, l_max=1)))
    joint = FieldTarget(nptf)
    posterior = nptf.run(Nuts(n_samples=200, n_warmup=60, n_chains=2, max_depth=4), seed=1, progress=False)
    drawn = posterior.theta
    # importance weights of draws of all coefficients about the fit, at nodes of both parameters
    rng, n = np.random.default_rng(0), 8
    axes = [np.linspace(*np.quantile(drawn[:, i], [0.002, 0.998]), 7) for i in range(2)]
    noise = rng.standard_normal((n, 3))
    noise = np.concatenate([noise, -noise])
    weight = np.zeros((7, 7))
    for i, first in enumerate(axes[0]):
        for j, second in enumerate(axes[1]):
            theta = np.array([first, second])
            each = []
            for y in noise:
                z = joint.latent(theta, y)
                each.append(joint.log_likelihood_gradient(theta, z)[0] - 0.5 * z @ z + 0.5 * y @ y)
            weight[i, j] = np.logaddexp.reduce(each)
    weight = np.exp(weight - weight.max())
    weight /= weight.sum()
    for i, axis in enumerate(axes):
        by_axis = weight.sum(axis=1 - i)
        mean = by_axis @ axis
        width = np.sqrt(by_axis @ (axis - mean) ** 2)
        assert drawn[:, i].mean() == pytest.approx(mean, abs=0.3 * width)
        assert drawn[:, i].std() == pytest.approx(width, rel=0.2)


def test_what_cannot_be_sampled_is_refused():
    nptf = fitted(sky())
    with pytest.raises(InputError, match="sampler: log-fields have too many coefficients but for Nuts"):
        nptf.run(NestedSampling())
    with pytest.raises(InputError, match="energies: 'joint' holds smooth templates"):
        NPTF(nptf.model, nptf.observation, ModelPriors(), energies="joint")
    floating = sky(template={"formula": "nfw", "gamma": (1.0, 1.2)})
    with pytest.raises(InputError, match="model: gas floats and has log-fields"):
        NPTF(floating, nptf.observation, ModelPriors())

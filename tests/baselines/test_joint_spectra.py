from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from gcesbi.baselines import Fixed, PoissonFit, poisson_log_likelihood
from gcesbi.baselines.poisson.joint_spectra import JointFit
from gcesbi.baselines.poisson.spectral_families import LogParabola, PowerLaw, SkewNormal
from gcesbi.errors import InputError

from .conftest import SmallModel, observe

NAMES = ("iso", "ic", "gce")


def seen(indices=(2.2, 2.8, 1.6), seed=1, brightness=40.0, n_energy=6, names=NAMES):
    """A map whose templates have power laws, and its model."""
    model = SmallModel.build(n_energy=n_energy, names=names)
    fit = PoissonFit(model, observe(model, np.ones(model.exposure.shape, dtype=int)))
    joint = JointFit(fit, PowerLaw())
    theta = np.array([*([brightness] * len(names)), *indices])
    mean = np.einsum("te,tep->ep", joint.norms(theta)[0], model.templates)
    return PoissonFit(model, observe(model, np.random.default_rng(seed).poisson(mean))), theta


def test_power_laws_are_recovered_and_certified():
    fit, theta = seen()
    result = JointFit(fit, PowerLaw()).run()
    assert result.converged
    assert result.n_agreed == result.n_start == 4
    assert result.eigenvalues[0] > 0
    assert result.names == ("iso_norm", "ic_norm", "gce_norm", "iso_index", "ic_index", "gce_index")
    assert np.all(np.abs(result.theta - theta) < 4 * result.errors)
    mean = np.einsum("te,tep->ep", result.spectrum, fit.templates)
    assert result.log_likelihood == pytest.approx(poisson_log_likelihood(fit.observation.counts, mean), abs=1e-7)
    assert result.test_statistic > 0
    assert 1e-3 < result.p_value < 1
    assert result.flux.shape == result.flux_errors.shape == result.e2dnde.shape == (3, 6)


def test_the_optimum_is_that_of_a_general_minimiser():
    fit, _ = seen(seed=2)
    joint = JointFit(fit, {"iso": PowerLaw(), "ic": LogParabola(), "gce": PowerLaw()})
    result = joint.run(n_start=2)

    def loss(theta):
        point = joint.evaluate(theta)
        return -point.value, -point.gradient

    start = np.concatenate([np.full(3, 30.0), [2.0, 2.0, 0.1, 2.0]])
    other = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=joint.bounds, options={"maxiter": 5000})
    assert result.converged
    assert -other.fun <= result.point.value + 1e-7
    assert -other.fun == pytest.approx(result.point.value, abs=1e-2)


def test_gradient_and_information_by_differences():
    fit, _ = seen(seed=3)
    joint = JointFit(fit, {"iso": PowerLaw(), "ic": LogParabola(), "gce": SkewNormal()})
    theta = np.array([20.0, 45.0, 30.0, 2.0, 2.4, 0.2, 0.5, -0.7, 1.5])
    point = joint.evaluate(theta)
    information = joint.information(point)
    for i, step in enumerate(np.eye(theta.size) * 1e-5):
        up, down = joint.evaluate(theta + step), joint.evaluate(theta - step)
        assert (up.value - down.value) / 2e-5 == pytest.approx(point.gradient[i], rel=1e-4, abs=1e-2)
        rise = -(up.gradient - down.gradient) / 2e-5
        np.testing.assert_allclose(information[i], rise, rtol=1e-3, atol=1e-3 * np.abs(rise).max())


def test_errors_are_those_of_the_scatter():
    """40 maps: pulls have mean 0 and standard deviation 1 within k = 4 Monte Carlo errors."""
    pulls = []
    for seed in range(40):
        fit, theta = seen(seed=seed + 10, n_energy=3, names=("iso", "gce"), indices=(2.2, 1.6))
        result = JointFit(fit, PowerLaw()).run(n_start=1)
        pulls.append((result.theta - theta) / result.errors)
    assert np.all(np.abs(np.mean(pulls, axis=0)) < 4 / np.sqrt(40))
    assert np.all(np.abs(np.std(pulls, axis=0) - 1) < 4 / np.sqrt(80))


def test_the_wrong_family_is_told():
    model = SmallModel.build(n_energy=6, names=("iso", "gce"))
    fit = PoissonFit(model, observe(model, np.ones(model.exposure.shape, dtype=int)))
    bent = JointFit(fit, LogParabola())
    mean = np.einsum("te,tep->ep", bent.norms(np.array([60.0, 60.0, 2.0, 1.5, 2.0, 1.5]))[0], model.templates)
    fit = PoissonFit(model, observe(model, np.random.default_rng(4).poisson(mean)))
    assert JointFit(fit, PowerLaw()).run(n_start=1).p_value < 1e-6
    right = JointFit(fit, LogParabola()).run()
    assert right.converged
    assert right.p_value > 1e-3


def test_a_skew_normal_fits_its_own_maps():
    model = SmallModel.build(n_energy=8, names=("iso", "gce"))
    fit = PoissonFit(model, observe(model, np.ones(model.exposure.shape, dtype=int)))
    theta = np.array([150.0, 150.0, 0.9, -0.9, -2.0, 0.5, -1.0, 1.5])
    mean = np.einsum("te,tep->ep", JointFit(fit, SkewNormal()).norms(theta)[0], model.templates)
    fit = PoissonFit(model, observe(model, np.random.default_rng(5).poisson(mean)))
    result = JointFit(fit, SkewNormal()).run()
    true = JointFit(fit, SkewNormal()).evaluate(theta)
    assert result.converged
    assert 0 < result.point.value - true.value < 12  # half a χ² of 8: 12 has the probability 2e-3
    assert result.p_value > 1e-3


def test_a_template_without_flux_stays_out():
    fit, _ = seen(seed=6)
    model, counts = fit.model, fit.observation.counts
    twin = np.zeros_like(counts)
    twin[:, :] = np.random.default_rng(7).poisson(np.einsum("te,tep->ep", fit.run().spectrum[:2], fit.templates[:2]))
    result = JointFit(PoissonFit(model, observe(model, twin)), PowerLaw()).run(n_start=2)
    assert result.converged
    assert result.theta[2] >= 0
    assert np.isfinite(result.flux_errors).all()


def test_bad_input_is_named():
    fit, _ = seen()
    with pytest.raises(InputError, match="spectra: needs one for each of iso, ic, gce, got iso"):
        JointFit(fit, {"iso": PowerLaw()})
    with pytest.raises(InputError, match="fit: priors are on norms of single bins"):
        JointFit(PoissonFit(fit.model, fit.observation, {"iso": Fixed(1.0)}), PowerLaw())
    with pytest.raises(InputError, match="n_start: must be at least 1, got 0"):
        JointFit(fit, PowerLaw()).run(n_start=0)
    one = SmallModel.build(n_energy=3)
    with pytest.raises(InputError, match="spectra: 3 parameters need more than 3 energy bins, got 3"):
        JointFit(PoissonFit(one, observe(one, seed=1)), SkewNormal())

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gcesbi
from gcesbi.baselines import (
    NPTF,
    BrokenPowerLaws,
    Ensemble,
    ModelPriors,
    NptfPriors,
    SamplingWarning,
    ShapePriors,
    SkewNormals,
    poisson_log_likelihood,
)
from gcesbi.baselines.nptf.count_integrals import mean_counts
from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Normal, Uniform

from .conftest import SmallModel, observe

RANGES = {"indices": ((3.0, 8.0), (-2.0, 1.5)), "breaks": ((2.0, 40.0),)}


@pytest.fixture(scope="module")
def small():
    model = SmallModel.build(n_energy=2)
    return model, observe(model, seed=3)


@pytest.fixture(scope="module")
def sky():
    """The library's own sky, one excess of two populations and a Poisson share, and a map drawn from it."""
    model = gcesbi.SkyModel.preset(nside=16, n_energy=2, weeks=30, gce_poisson_share=True)
    simulator = gcesbi.Simulator(model)
    theta = model.prior().draw(1, np.random.default_rng(4))[0]
    return model, simulator.observe(theta, seed=5)[0], theta


def check_gradient(nptf, theta, rel=1e-6):
    value, gradient = nptf.log_likelihood_gradient(theta)
    assert value == pytest.approx(float(nptf.log_likelihood(theta)), abs=1e-8)
    widths = np.abs(np.diff(nptf.from_cube(np.array([[0.4], [0.6]]) * np.ones(len(theta))), axis=0)[0])
    for i in range(theta.size):
        h = 1e-4 * min(widths[i], abs(theta[i]) + 1e-3 * widths[i])
        points = np.tile(theta, (4, 1))
        points[:, i] += h * np.array([-2, -1, 1, 2])
        values = nptf.log_likelihood(points)
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert gradient[i] == pytest.approx(slope, rel=rel, abs=1e-9 / h), nptf.names[i]


def test_three_conventions_are_one_likelihood(small):
    """The same sky by mean counts, total flux or log10 A: equal ln L; the gradient holds in each."""
    counts, flux, amplitude = (
        NPTF(*small, NptfPriors(**RANGES, brightness=kind)) for kind in ("counts", "flux", "amplitude")
    )
    assert counts.names[3] == "gce_ps_norm"
    assert flux.names[3] == "gce_ps_flux"
    assert amplitude.names[3] == "gce_ps_log10A"
    theta = counts.from_cube(np.random.default_rng(1).uniform(0.2, 0.6, len(counts.names)))
    by_flux, by_amplitude = theta.copy(), theta.copy()
    for column, template in ((3, "gce"), (7, "disk")):
        by_flux[column] *= counts.sky.flux_per_norm[counts.model.names.index(template)]
        unit = mean_counts(np.concatenate([[1.0], theta[column + 1 : column + 4]])[None])[0]
        by_amplitude[column] = np.log10(theta[column] / unit)
    value = float(counts.log_likelihood(theta))
    assert float(flux.log_likelihood(by_flux)) == pytest.approx(value, abs=1e-8)
    assert float(amplitude.log_likelihood(by_amplitude)) == pytest.approx(value, abs=1e-8)
    check_gradient(flux, by_flux)
    check_gradient(amplitude, by_amplitude)
    np.testing.assert_allclose(
        counts.quantities(theta[None])["flux"], amplitude.quantities(by_amplitude[None])["flux"], rtol=1e-12
    )
    assert amplitude.bounds[3].tolist() == [-6.0, 1.0]
    np.testing.assert_allclose(flux.bounds[3, 1] / counts.sky.flux_per_norm[2], counts.bounds[3, 1])


def test_model_priors_are_the_networks_own(sky):
    model, observation, theta = sky
    nptf = NPTF(model, observation, ModelPriors())
    prior = model.prior()
    assert set(nptf.names) == {name for name in prior.names if "_spectrum_" not in name}
    assert nptf.names[:6] == ("pi_norm", "ic_norm", "iso_norm", "bub_norm", "gce1_xi", "gce1_omega2")
    for name, marginal in zip(nptf.names, nptf.prior.marginals, strict=True):
        assert marginal == prior.marginals[prior.names.index(name)]
    chosen = theta[[prior.names.index(name) for name in nptf.names]]
    assert np.isfinite(nptf.log_likelihood(chosen))
    check_gradient(nptf, chosen, rel=1e-5)
    got = nptf.quantities(chosen[None])
    at = dict(zip(nptf.names, chosen, strict=True))
    gce = model.names.index("gce")
    assert got["flux"][0, gce] == pytest.approx(at["gce1_flux"] + at["gce2_flux"])
    share = got["poisson_flux_fraction"][0, 0] / (
        got["poisson_flux_fraction"][0, 0] + got["point_source_flux_fraction"][0, 0]
    )
    assert share == pytest.approx(at["gce_poisson_share"])


def test_model_priors_without_shares(sky):
    """Parameters follow the model: one population of the excess, no share; and only the disk if one asks for it."""
    model = gcesbi.SkyModel.preset(nside=16, n_energy=1, weeks=30, gce_populations=1)
    observation = gcesbi.Simulator(model).observe(model.prior().draw(1, np.random.default_rng(1))[0], seed=1)[0]
    nptf = NPTF(model, observation, ModelPriors())
    assert nptf.names == model.prior().names
    only = NPTF(model, observation, ModelPriors(), point_sources=("disk",), smooth=("pi", "iso"))
    assert only.names == ("pi_norm", "iso_norm", "disk_xi", "disk_omega2", "disk_a", "disk_flux")
    with pytest.raises(InputError, match="smooth: the model's prior has no gce_norm"):
        NPTF(model, observation, ModelPriors(), smooth=("gce",))


def test_a_share_of_one_is_the_poisson_likelihood(sky):
    """All flux of the excess smooth, and no disk: what is left is Poisson."""
    model, observation, _ = sky
    nptf = NPTF(model, observation, ModelPriors())
    theta = nptf.from_cube(np.full(len(nptf.names), 0.5))
    at = {name: i for i, name in enumerate(nptf.names)}
    theta[at["gce_poisson_share"]] = 1.0
    theta[at["disk_flux"]] = 0.0
    maps, rows = nptf.sky.maps, [model.names.index(name) for name in ("pi", "ic", "iso", "bub", "gce")]
    per_norm = nptf.sky.flux_per_norm[rows[-1]]
    norms = [*theta[:4], (theta[at["gce1_flux"]] + theta[at["gce2_flux"]]) / per_norm]
    expected = poisson_log_likelihood(observation.counts.sum(axis=0), norms @ maps[rows])
    assert float(nptf.log_likelihood(theta)) == pytest.approx(expected, abs=1e-8)


def test_two_equal_populations_are_one(sky):
    """Two halves of a population are the population, in ln L and in the SCD."""
    model, observation, _ = sky
    nptf = NPTF(model, observation, ModelPriors())
    at = {name: i for i, name in enumerate(nptf.names)}
    theta = nptf.from_cube(np.full(len(nptf.names), 0.5))
    halves, whole = theta.copy(), theta.copy()
    for key in ("xi", "omega2", "a", "flux"):
        halves[at[f"gce2_{key}"]] = halves[at[f"gce1_{key}"]]
    whole[at["gce1_flux"]] *= 2
    whole[at["gce2_flux"]] = 0.0
    assert float(nptf.log_likelihood(halves)) == pytest.approx(float(nptf.log_likelihood(whole)), abs=1e-8)
    np.testing.assert_allclose(
        nptf.quantities(halves[None])["scd_cdf"], nptf.quantities(whole[None])["scd_cdf"], atol=1e-12
    )


def test_any_family_with_any_prior(small):
    shape = {"omega2": Uniform(0.01, 1.0), "xi": Uniform(-12.0, -9.0), "a": Normal(0.0, 1.0)}
    nptf = NPTF(*small, ShapePriors(scd=SkewNormals(), shape=shape, brightness="flux"))
    assert nptf.names[3:7] == ("gce_ps_flux", "gce_xi", "gce_omega2", "gce_a")
    check_gradient(nptf, nptf.from_cube(np.random.default_rng(0).uniform(0.3, 0.6, len(nptf.names))))
    assert nptf.bounds[6].tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NptfPriors(**RANGES, brightness="magnitude"), "brightness: must be one of counts, flux, amplitude"),
        (lambda: ShapePriors(scd=BrokenPowerLaws(1), shape={}), "shape: needs a prior for each of n1, n2, S1"),
        (
            lambda: ShapePriors(
                scd=SkewNormals(),
                shape=dict.fromkeys(("xi", "omega2", "a"), Uniform(0.0, 1.0)),
                brightness="amplitude",
            ),
            "brightness: 'amplitude' is that of a broken power law",
        ),
    ],
)
def test_bad_priors_are_named(build, message):
    with pytest.raises(InputError, match=message):
        build()


BRIGHT, FAINT = {"xi": -9.5, "omega2": 0.05, "a": 0.0}, {"xi": -12.3, "omega2": 0.05, "a": 0.0}


@pytest.mark.parametrize("n_population", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_skew_normals_are_fitted_with_the_networks_priors(n_population):
    """A map of the library's own simulator: parameters and fluxes within four posterior widths, fluxes learnt from it.

    Two populations have the same prior and may change places: only their sum is compared.
    """
    model = gcesbi.SkyModel.preset(nside=16, n_energy=1, weeks=30, gce_populations=n_population)
    prior = model.prior()
    truth = dict(zip(prior.names, prior.from_uniform(np.full((1, len(prior.names)), 0.5))[0], strict=True))
    for label, shape in zip(("gce", "disk") if n_population == 1 else ("gce1", "gce2"), (BRIGHT, FAINT), strict=True):
        truth |= {f"{label}_{key}": value for key, value in shape.items()}
    observation = gcesbi.Simulator(model).observe(np.array(list(truth.values())), seed=3)[0]
    nptf = NPTF(model, observation, ModelPriors())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)  # so few steps do not converge to the last digit
        posterior = nptf.run(Ensemble(n_walkers=48, n_steps=120), seed=1, progress=False)
    theta = np.array([[truth[name] for name in nptf.names]])
    fixed = [i for i, name in enumerate(nptf.names) if n_population == 1 or not name.startswith("gce")]
    off = (posterior.theta - theta)[:, fixed]
    assert np.all(np.abs(off.mean(axis=0)) < 4 * off.std(axis=0))
    expected, found = nptf.quantities(theta)["flux_fraction"][0], posterior.samples["flux_fraction"]
    assert np.all(np.abs(found.mean(axis=0) - expected) < 4 * found.std(axis=0))
    before = nptf.quantities(nptf.prior.draw(500, np.random.default_rng(2)))["flux_fraction"].std(axis=0)
    assert np.all(found.std(axis=0)[[0, 1, 4]] < 0.7 * before[[0, 1, 4]])  # pi, ic and the excess

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from gcesbi.baselines import (
    NPTF,
    Ensemble,
    NptfLikelihood,
    NptfPriors,
    SamplingWarning,
    poisson_log_likelihood,
)
from gcesbi.errors import InputError
from gcesbi.physics.broken_power_law import BrokenPowerLaw

from .conftest import SmallModel, observe

PRIORS = NptfPriors(indices=((3.0, 8.0), (-2.0, 1.5)), breaks=((2.0, 40.0),))


@pytest.fixture(scope="module")
def model():
    return SmallModel.build(n_energy=2)


@pytest.fixture(scope="module")
def nptf(model):
    return NPTF(model, observe(model, seed=3), PRIORS)


def test_names_and_bounds(nptf):
    assert nptf.names == (
        *("iso_norm", "ic_norm", "gce_norm"),
        *("gce_ps_norm", "gce_n1", "gce_n2", "gce_S1"),
        *("disk_ps_norm", "disk_n1", "disk_n2", "disk_S1"),
    )
    assert nptf.bounds.shape == (11, 2)
    assert nptf.bounds[6].tolist() == [2.0, 40.0]
    assert np.all(nptf.bounds[:, 0] < nptf.bounds[:, 1])


def test_excess_and_disk_roles_can_be_set(model):
    observation = observe(model, seed=3)
    only = NPTF(model, observation, PRIORS, point_sources=("gce",), smooth=("iso", "disk"))
    assert only.names == ("iso_norm", "disk_norm", "gce_ps_norm", "gce_n1", "gce_n2", "gce_S1")
    theta = only.prior.draw(3, np.random.default_rng(0))
    samples = only.quantities(theta)
    assert samples["flux_fraction"].shape == (3, 4)
    np.testing.assert_array_equal(samples["flux_fraction"][:, 1], 0.0)  # "ic" takes no part
    np.testing.assert_array_equal(samples["n_sources"][:, 1], 0.0)
    with pytest.raises(InputError, match="point_sources: must be among gce, disk, got 'iso'"):
        NPTF(model, observation, PRIORS, point_sources=("iso",))
    with pytest.raises(InputError, match="smooth: must be among"):
        NPTF(model, observation, PRIORS, smooth=("dm",))
    with pytest.raises(InputError, match="point_sources: must name at least one"):
        NPTF(model, observation, PRIORS, point_sources=())


def test_prior(nptf):
    theta = nptf.prior.draw(50, np.random.default_rng(1))
    expected = -np.log(nptf.bounds[:, 1] - nptf.bounds[:, 0]).sum()
    np.testing.assert_allclose(nptf.prior.log_prob(torch.as_tensor(theta)), expected)
    theta[3, 4] = 2.9
    assert nptf.prior.log_prob(torch.as_tensor(theta))[3] == -np.inf
    assert np.isfinite(nptf.log_likelihood(theta[:1])[0])


def test_faint_sources_make_the_poisson_likelihood(model):
    """Point sources far below one photon are smooth emission: the NPTF must give the Poisson fit's likelihood."""
    priors = NptfPriors(indices=((20.0, 30.0), (-9.0, -8.0)), breaks=((1e-6, 2e-6),))
    observation = observe(model, seed=4)
    nptf = NPTF(model, observation, priors)
    theta = np.array([5.0, 5.0, 2.0, 3.0, 25.0, -8.5, 1.5e-6, 5.0, 25.0, -8.5, 1.5e-6])
    spectrum = nptf.sky.spectrum
    summed = np.einsum("te,tep->tp", spectrum, model.templates)
    exposure = model.exposure[0] / model.exposure[0].mean()
    mean = 5 * summed[0] + 5 * summed[1] + 2 * summed[2] + (3 * summed[2] + 5 * summed[3]) / exposure
    expected = poisson_log_likelihood(observation.counts.sum(axis=0), mean)
    assert nptf.log_likelihood(theta) == pytest.approx(expected, abs=2e-3)


def test_gradient_agrees_with_differences(nptf):
    rng = np.random.default_rng(2)
    low, high = nptf.bounds.T
    theta = low + (high - low) * rng.uniform(0.2, 0.6, low.size)
    value, gradient = nptf.log_likelihood_gradient(theta)
    assert value == pytest.approx(float(nptf.log_likelihood(theta)), abs=1e-9)
    for i in range(theta.size):
        h = 1e-4 * max(abs(theta[i]), 0.1)
        points = np.tile(theta, (4, 1))
        points[:, i] += h * np.array([-2, -1, 1, 2])
        values = nptf.log_likelihood(points)
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_quantities_follow_their_definitions(nptf, model):
    theta = nptf.prior.draw(5, np.random.default_rng(4))
    got = nptf.quantities(theta)
    np.testing.assert_allclose(got["flux_fraction"].sum(axis=1), 1.0)
    spectrum = nptf.sky.spectrum
    per_norm = (spectrum * model.flux_per_norm).sum(axis=1)
    np.testing.assert_allclose(got["flux"][:, 2], per_norm[2] * (theta[:, 2] + theta[:, 3]))
    edges = 10**model.scd_edges
    for i, row in enumerate(theta):
        scale = nptf.sky.mean_exposure[0]
        scd = BrokenPowerLaw(1.0, tuple(row[4:6]), (row[6] / scale,))
        pdf = scd.histogram(edges)
        np.testing.assert_allclose(got["scd_cdf"][i, 0], np.cumsum(pdf), atol=1e-12)
        number = per_norm[2] * row[3] * np.sum(pdf / 10 ** np.array(model.coordinates.flux_bin))
        assert got["n_sources"][i, 0] == pytest.approx(number)
    np.testing.assert_allclose(
        got["poisson_flux_fraction"] + got["point_source_flux_fraction"], got["flux_fraction"][:, 2:]
    )


def test_run_recovers_injected_sources():
    """Bright point sources of the excess: the truth lies within the 99.7 % interval, zero does not."""
    model = SmallModel.build(names=("iso", "gce"), brightness=1.0, nside=32)
    rng = np.random.default_rng(6)
    scd = BrokenPowerLaw(1.0, (6.0, 0.5), (20.0,))
    template = model.templates[1, 0] / (model.exposure[0] / model.exposure[0].mean())
    norm = 3.0
    number = rng.poisson(template * norm * float(scd.number_between(0, np.inf)) / scd.total_flux)
    photons = rng.poisson(scd.sample(int(number.sum()), rng))
    counts = np.bincount(np.repeat(np.arange(template.size), number), photons, minlength=template.size).astype(int)
    counts += rng.poisson(4.0 * model.templates[0, 0])
    nptf = NPTF(model, observe(model, counts[None]), PRIORS)
    # every source's light stays in its pixel here, unlike what the PSF correction says
    one_share = NptfLikelihood.build(counts, template[None], [1.0], [1.0])
    view = replace(one_share.views[0], exposure=float(nptf.sky.mean_exposure[0]))
    object.__setattr__(nptf.sky, "likelihood", replace(one_share, views=(view,)))
    with pytest.warns(SamplingWarning):
        posterior = nptf.run(Ensemble(n_walkers=40, n_steps=60), seed=1, progress=False)
    low, high = np.quantile(posterior.samples["point_source_flux_fraction"][:, 0], [0.0015, 0.9985])
    truth = norm * model.flux_per_norm[1, 0] / (norm * model.flux_per_norm[1, 0] + 4 * model.flux_per_norm[0, 0])
    assert low < truth < high
    assert low > 0.2
    assert not posterior.converged
    assert posterior.method == "NPTF"
    assert posterior.samples["scd_cdf"].shape[1:] == (1, 26)
    assert set(posterior.names) >= {"flux_fraction", "flux", "scd_cdf", "n_sources", "gce_S1"}
    assert posterior.best_log_likelihood >= float(nptf.log_likelihood(posterior.theta[:1])[0])
    assert np.isnan(posterior.log_evidence)
    np.testing.assert_allclose(nptf.log_likelihood(posterior.theta[:3]), posterior.log_likelihood[:3], atol=1e-8)
    assert float(nptf.log_likelihood(posterior.best_theta)) == pytest.approx(posterior.best_log_likelihood, abs=1e-8)
    assert posterior.to_arviz(20).posterior["scd_cdf"].sizes["flux_bin"] == 26


@pytest.mark.filterwarnings("ignore::gcesbi.baselines.samplers.sampling.SamplingWarning")
def test_same_seed_same_posterior_on_any_number_of_workers(model):
    observation = observe(model, seed=3)
    sampler = Ensemble(n_walkers=40, n_steps=10)
    runs = [NPTF(model, observation, PRIORS, workers=workers).run(sampler, progress=False) for workers in (1, 2)]
    for name in runs[0].names:
        assert runs[0].samples[name].tobytes() == runs[1].samples[name].tobytes()


def test_slopes_in_the_cube_and_the_maximum(model):
    """The cube's gradient is that of its values; the climb ends where no slope is left but against walls."""
    nptf = NPTF(model, observe(model, seed=3), PRIORS, point_sources=("gce",), smooth=("iso", "ic"))
    u = np.full(len(nptf.names), 0.45)
    value, gradient = nptf.target.gradient(u)
    assert value == pytest.approx(float(nptf.log_likelihood_in_cube(u)), abs=1e-9)
    for i in range(u.size):
        points = np.tile(u, (4, 1))
        points[:, i] += 1e-4 * np.array([-2, -1, 1, 2])
        values = nptf.log_likelihood_in_cube(points)
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-4
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-6)
    found = nptf.maximise(n_start=3)
    assert found.gradient < 0.1
    assert found.log_likelihood >= nptf.log_likelihood(nptf.prior.draw(200, np.random.default_rng(0))).max()
    assert found.log_likelihood == pytest.approx(float(nptf.log_likelihood_in_cube(found.u)), abs=1e-9)


def test_exposure_by_groups_converges():
    """Against a group for every pixel: the error falls with the number of groups, and is told right."""
    flat = SmallModel.build(radius=12.0, names=("iso", "gce"))
    exposure = 9e10 * np.linspace(0.6, 1.4, flat.region.n_pix)[None]
    model = replace(flat, exposure=exposure)
    counts = np.random.default_rng(3).poisson(4 * model.templates.sum(axis=0))
    theta = np.array([3.0, 1.0, 4.0, 5.0, 1.0, 8.0])
    fits = [NPTF(model, observe(model, counts), PRIORS, n_exposure=n) for n in (1, 8, flat.region.n_pix)]
    values = [float(fit.log_likelihood(theta)) for fit in fits]
    mean = theta[0] * model.templates[0, 0] + theta[1] * model.templates[1, 0]
    logs = [fit.likelihood.log_probabilities_of(mean, fit.vectors(theta[None])[0]) for fit in fits]
    errors = [np.abs(found - logs[2]).sum() for found in logs]  # by pixel, where errors do not cancel
    assert errors[1] < errors[0] / 4
    np.testing.assert_allclose([found.sum() for found in logs], values)
    assert fits[0].exposure_error(theta, flat.region.n_pix) == pytest.approx(values[0] - values[2], abs=1e-9)
    assert fits[2].exposure_error(theta, flat.region.n_pix) == 0.0


def test_bands_share_one_source_count_distribution(model):
    """A sky of two equal bands: ln L is the sum of the bands' own, sources giving half their counts to each."""
    one = SmallModel.build(n_energy=1)
    templates = np.repeat(one.templates, 2, axis=1)
    twin = replace(
        one,
        energy_edges=np.array([2.0, 6.0, 20.0]),
        exposure=np.repeat(one.exposure, 2, axis=0),
        templates=templates,
        psf=one.psf * 2,
    )
    rng = np.random.default_rng(5)
    half = rng.poisson(2.5 * one.templates.sum(axis=0))
    priors = NptfPriors(
        indices=((3.0, 8.0), (-2.0, 1.5)),
        breaks=((2.0, 40.0),),
        norms={f"{n}_norm": (0.0, 9.0) for n in ("iso", "ic", "gce", "gce_ps", "disk_ps")},
    )
    banded = NPTF(twin, observe(twin, np.concatenate([half, half])), priors, energies="bands")
    theta = np.array([5.0, 5.0, 2.0, 3.0, 5.0, 1.0, 8.0, 4.0, 5.0, 1.0, 9.0])
    single = NPTF(one, observe(one, half), priors)
    halved = theta.copy()
    halved[[0, 1, 2, 3, 7]] /= 2
    halved[[6, 10]] /= 2
    # the shape is the same, S shrinks by the share of the counts that falls in the band
    expected = 2 * float(single.log_likelihood(halved))
    assert float(banded.log_likelihood(theta)) == pytest.approx(expected, abs=1e-3)
    value, gradient = banded.log_likelihood_gradient(theta)
    assert value == pytest.approx(float(banded.log_likelihood(theta)), abs=1e-8)
    for i in (0, 3, 4, 6):
        points = np.tile(theta, (4, 1))
        points[:, i] += 1e-3 * np.array([-2, -1, 1, 2])
        values = banded.log_likelihood(points)
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-3
        assert gradient[i] == pytest.approx(slope, rel=1e-6, abs=1e-6)
    assert banded.likelihood.blocks.n_pix == 2 * one.region.n_pix


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"indices": ((5.0, 3.0), (-2.0, 1.0))}, "priors: n1: lower must be below upper"),
        ({"indices": ((3.0, np.inf), (-2.0, 1.0))}, "priors: n1: lower must be below upper"),
        ({"indices": ((1.5, 3.0), (-2.0, 1.0))}, "priors: n1 must stay above 2"),
        ({"indices": ((3.0, 4.0), (-2.0, 2.0))}, "priors: the last index must stay below 2"),
        ({"indices": ((3.0, 4.0),)}, "priors: need one index more than breaks"),
        ({"breaks": ((0.0, 4.0),)}, "priors: ranges of breaks must be positive"),
        (
            {"indices": ((3.0, 4.0), (1.0, 2.5), (-2.0, 1.0)), "breaks": ((5.0, 9.0), (1.0, 6.0))},
            "priors: ranges of breaks must be positive, descend, not overlap",
        ),
        ({"norms": {"gce_norm": (2.0, 1.0)}}, "priors: gce_norm: lower must be below upper"),
        ({"norms": {"gce_norm": (-1.0, 1.0)}}, "priors: norms must not be negative"),
    ],
)
def test_bad_priors_are_named(arguments, message):
    simple = {"indices": ((3.0, 4.0), (-2.0, 1.0)), "breaks": ((1.0, 9.0),)}
    with pytest.raises(InputError, match=message):
        NptfPriors(**(simple | arguments))


def test_unknown_norms_and_sizes_are_named(nptf, model):
    with pytest.raises(InputError, match=r"priors: norms are iso_norm, .*, got gec_norm"):
        NPTF(model, observe(model, seed=3), NptfPriors(norms={"gec_norm": (0.0, 1.0)}))
    with pytest.raises(InputError, match="theta: must have shape"):
        nptf.log_likelihood(np.ones(3))
    with pytest.raises(InputError, match="max_seconds: must be above 0"):
        nptf.run(max_seconds=0.0)
    with pytest.raises(InputError, match="n_sample: must be at least 1"):
        nptf.run(n_sample=0)

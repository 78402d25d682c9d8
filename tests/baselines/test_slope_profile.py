"""The spline through a profile of ln L against an optimiser, and the slope of the excess on the real map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from gcesbi import SkyModel, read_observation
from gcesbi.baselines import Fixed, PoissonFit, SlopeFit, UserTemplate
from gcesbi.physics.templates import NFW

from .conftest import SmallModel, observe


def shape_profile(model, observation, family, values):
    """Fits with the excess replaced by members of a family (n_energy, n_pix) of counts, as a SlopeFit over them."""
    fits = [
        PoissonFit(model, observation, {"gce": Fixed(0.0)}, (UserTemplate("gce (replaced)", family(value)),)).run()
        for value in values
    ]
    errors = [np.sqrt(fit.covariances[0, -1, -1]) for fit in fits]
    table = [(fit.log_likelihood, fit.test_statistics[-1].sum(), fit.spectrum[-1, 0]) for fit in fits]
    return SlopeFit(np.asarray(values), *np.array(table).T, np.array(errors), 1.0)


def nfw_family(model):
    """NFW² templates by their inner slope γ, not smoothed, for norm 1."""
    patch = model.patch

    def family(gamma):
        counts = patch.draw(NFW(gamma=gamma)) * model.patch_exposure
        return (counts / counts[:, patch.disc].mean(axis=-1, keepdims=True))[:, model.inside]

    return family


@pytest.fixture(scope="module")
def blobs():
    """Blobs about the centre by their width, and a map with one of 6°."""
    model = SmallModel.build(n_energy=2)
    glon, glat = model.region.glon_glat()

    def family(width):
        return np.exp(-(glon**2 + glat**2) / (2 * width**2)) * np.ones((2, 1))

    mean = 10 * model.templates[[0, 1, 3]].sum(axis=0) + 200 * family(6.0)
    return model, observe(model, np.random.default_rng(1).poisson(mean)), family


def test_profile_finds_the_shape_and_its_error(blobs):
    found = shape_profile(*blobs, np.arange(5.2, 7.0, 0.2))
    assert not found.at_edge
    assert abs(found.gamma - 6.0) < 4 * found.gamma_error
    low, high = found.gamma_interval
    assert low < found.gamma < high

    def log_likelihood(width):
        return shape_profile(*blobs, [width]).log_likelihoods[0]

    exact = minimize_scalar(lambda w: -log_likelihood(w), bounds=(5.0, 7.0), method="bounded", options={"xatol": 1e-4})
    assert found.gamma == pytest.approx(exact.x, abs=0.02 * found.gamma_error + 1e-3)
    assert found.log_likelihood == pytest.approx(-exact.fun, abs=1e-3)
    for end in (low, high):
        assert log_likelihood(end) == pytest.approx(-exact.fun - 0.5, abs=5e-3)


def test_each_fit_is_that_of_a_model_with_the_template(blobs):
    model, observation, _ = blobs
    same = shape_profile(model, observation, lambda _: model.templates[2], [1.0])
    plain = PoissonFit(model, observation).run()
    np.testing.assert_allclose(same.log_likelihoods, plain.log_likelihood, atol=1e-7)
    np.testing.assert_allclose(same.test_statistics, plain.test_statistic("gce"), atol=1e-6)
    np.testing.assert_allclose(same.norms, plain.norms[2, 0], rtol=1e-5)
    np.testing.assert_allclose(same.norm_errors, plain.errors[2, 0], rtol=1e-5)


def test_an_edge_is_told(blobs):
    found = shape_profile(*blobs, [8.0, 9.0, 10.0, 11.0])
    assert found.at_edge
    assert found.gamma == 8.0
    assert np.isnan(found.gamma_interval[0])
    assert np.isnan(found.gamma_error)


def test_the_folder_s_own_nfw_maps_are_met(data_folder):
    folder = data_folder / "fermi-573w"
    for name, gamma in (("g1p0", 1.0), ("g1p2", 1.2)):
        model = SkyModel.from_folder(folder, nfw=name)
        # the folder's maps are values at pixel centres, these are means over pixels: 2.4e-3 apart next to the band
        np.testing.assert_allclose(nfw_family(model)(gamma), model.templates[4], rtol=3e-3)


def test_slopes_on_the_real_map(data_folder):
    folder = data_folder / "fermi-573w"
    observation = read_observation(folder, mask="3fgl")
    models = [SkyModel.from_folder(folder, diffuse=d, mask=None).for_observation(observation) for d in ("O", "p6v11")]
    found, other = (shape_profile(m, observation, nfw_family(models[0]), [1.1, 1.15, 1.2, 1.25, 1.3]) for m in models)
    assert found.gamma == pytest.approx(1.21, abs=0.01)
    assert found.gamma_error == pytest.approx(0.047, abs=0.005)
    assert found.test_statistics[2] == pytest.approx(514.75, abs=0.1)
    assert other.at_edge

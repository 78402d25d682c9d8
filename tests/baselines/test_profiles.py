from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from gcesbi import SkyModel, read_observation
from gcesbi.baselines import PoissonFit
from gcesbi.baselines.poisson.profiles import (
    compare_templates,
    disk_family,
    nfw_family,
    shape_profile,
    slope_by_diffuse_model,
    template_counts,
)
from gcesbi.errors import InputError
from gcesbi.physics.templates import NFW

from .conftest import SmallModel, observe


def blob_family(model):
    """Blobs about the centre by their width."""
    glon, glat = model.region.glon_glat()
    return lambda width: np.exp(-(glon**2 + glat**2) / (2 * width**2)) * np.ones((model.energy_edges.size - 1, 1))


@pytest.fixture(scope="module")
def blobs():
    model = SmallModel.build(n_energy=2)
    family = blob_family(model)
    mean = 10 * model.templates[[0, 1, 3]].sum(axis=0) + 200 * family(6.0)
    return model, observe(model, np.random.default_rng(1).poisson(mean)), family


def test_profile_finds_the_shape_and_its_error(blobs):
    model, observation, family = blobs
    found = shape_profile(model, observation, "gce", family, np.arange(5.2, 7.0, 0.2))
    assert not found.at_edge
    assert abs(found.best - 6.0) < 4 * found.error
    low, high = found.interval
    assert low < found.best < high

    def log_likelihood(width):
        single = shape_profile(model, observation, "gce", family, [width, width + 1, width + 2, width + 3])
        return single.log_likelihood[0]

    exact = minimize_scalar(lambda w: -log_likelihood(w), bounds=(5.0, 7.0), method="bounded", options={"xatol": 1e-4})
    assert found.best == pytest.approx(exact.x, abs=0.02 * found.error + 1e-3)
    assert found.largest_log_likelihood == pytest.approx(-exact.fun, abs=1e-3)
    for end in (low, high):
        assert log_likelihood(end) == pytest.approx(-exact.fun - 0.5, abs=5e-3)
    assert found.delta_test_statistic.max() == 0
    assert found.norm.shape == found.norm_error.shape == (9, 2)


def test_each_fit_is_that_of_a_model_with_the_template(blobs):
    model, observation, _ = blobs
    same = shape_profile(model, observation, "gce", lambda _: model.templates[2], [1.0, 2.0, 3.0, 4.0])
    plain = PoissonFit(model, observation).run()
    np.testing.assert_allclose(same.log_likelihood, plain.log_likelihood, atol=1e-7)
    np.testing.assert_allclose(same.test_statistic, plain.test_statistic("gce"), atol=1e-6)
    np.testing.assert_allclose(same.norm[0], plain.norms[2], rtol=1e-5)
    np.testing.assert_allclose(same.norm_error[0], plain.errors[2], rtol=1e-5)


def test_an_edge_is_told(blobs):
    model, observation, family = blobs
    found = shape_profile(model, observation, "gce", family, [8.0, 9.0, 10.0, 11.0])
    assert found.at_edge
    assert found.best == 8.0
    assert np.isnan(found.interval[0])
    assert np.isnan(found.error)


def test_templates_are_compared(blobs):
    model, observation, family = blobs
    found = compare_templates(model, observation, "gce", {"narrow": family(3.0), "right": family(6.0)})
    assert found.names == ("narrow", "right")
    assert found.delta_test_statistic[1] == 0
    assert found.delta_test_statistic[0] < -10
    with pytest.raises(InputError, match="alternatives: must hold at least one"):
        compare_templates(model, observation, "gce", {})


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], [1.0, 3.0, 2.0, 4.0], [[1.0, 2.0, 3.0, 4.0]]])
def test_values_are_checked(blobs, values):
    with pytest.raises(InputError, match="values: must be at least four, ascending"):
        shape_profile(*blobs[:2], "gce", blobs[2], values)


def test_an_unknown_template_is_refused(blobs):
    with pytest.raises(InputError, match=r"priors: templates are .*, got 'dm'"):
        shape_profile(*blobs[:2], "dm", blobs[2], [4.0, 5.0, 6.0, 7.0])


def test_families_of_the_built_in_sky_are_its_templates():
    model = SkyModel.preset(nside=16, n_energy=1, weeks=30)
    np.testing.assert_allclose(nfw_family(model, smoothed=True)(1.2), model.templates[4], rtol=1e-9)
    np.testing.assert_allclose(disk_family(model, smoothed=True)(0.3), model.templates[5], rtol=1e-9)
    sharp = template_counts(model, NFW(gamma=1.2), smoothed=False)
    assert sharp.max() > model.templates[4].max()


def test_the_folder_s_own_nfw_maps_are_met(data_folder):
    folder = data_folder / "fermi-573w"
    for name, gamma in (("g1p0", 1.0), ("g1p2", 1.2)):
        model = SkyModel.from_folder(folder, nfw=name)
        # the folder's maps are values at pixel centres, these are means over pixels: 2.4e-3 apart next to the band
        np.testing.assert_allclose(nfw_family(model, smoothed=False)(gamma), model.templates[4], rtol=3e-3)


def test_slopes_on_the_real_map(data_folder):
    folder = data_folder / "fermi-573w"
    observation = read_observation(folder, mask="3fgl")
    found = slope_by_diffuse_model(folder, observation, [1.1, 1.15, 1.2, 1.25, 1.3], diffuse=("O", "p6v11"))
    assert found["O"].best == pytest.approx(1.21, abs=0.01)
    assert found["O"].error == pytest.approx(0.047, abs=0.005)
    assert found["O"].test_statistic[2] == pytest.approx(514.75, abs=0.1)
    assert found["p6v11"].at_edge

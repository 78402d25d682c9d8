"""Training set of the Poisson fraction: labels by hand, independence of workers, and the model's variation."""

import numpy as np
import pytest

from gcesbi import Simulator, SkyModel
from gcesbi.errors import InputError
from gcesbi.estimators import NetworkSettings, SourceCountEstimator
from gcesbi.estimators.poisson_fraction_maps import draw_poisson_shares, poisson_share
from gcesbi.sky.region import Region


@pytest.fixture(scope="module")
def model():
    return SkyModel.preset("inner-galaxy", nside=16, n_energy=1, weeks=30)


@pytest.fixture(scope="module")
def varied(model):
    return model.with_poisson_share()


def test_the_variation_is_the_same_sky_with_one_parameter_more(model, varied):
    assert list(varied.prior().names) == [*model.prior().names, "gce_poisson_share"]
    assert varied.region == model.region
    np.testing.assert_array_equal(varied.exposure, model.exposure)
    assert varied.with_poisson_share() is varied
    smaller = model.with_region(Region(16, model.region.pixels[:100]))
    assert smaller.with_poisson_share().region == smaller.region


def test_labels_are_poisson_flux_over_realised_flux(varied):
    drawn = Simulator(varied).sample(200, seed=1)
    names = list(varied.prior().names)
    mean = drawn.theta[:, names.index("gce1_flux")] + drawn.theta[:, names.index("gce2_flux")]
    flux = drawn.flux[:, varied.names.index("gce"), 0]
    expected = drawn.theta[:, -1] * mean / flux
    found = poisson_share(varied, drawn)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert found.max() <= 1
    assert np.corrcoef(found, drawn.theta[:, -1])[0, 1] > 0.8
    assert (drawn.scd[:, 0, 0] >= found - 1e-9).all()  # the dimmest bin holds the Poisson flux


def test_a_model_without_a_share_is_refused(model):
    drawn = Simulator(model).sample(2, seed=1)
    with pytest.raises(InputError, match="model: its subject has no Poisson share"):
        poisson_share(model, drawn)


def test_maps_are_shown_to_the_network(model, varied):
    network = NetworkSettings(widths=(8,), n_features=8)
    estimator = SourceCountEstimator(model.region, model.exposure, model.point_sources, network=network)
    simulator = Simulator(varied)
    drawn = draw_poisson_shares(simulator, estimator, 150, seed=3)
    maps = simulator.sample(150, seed=3)
    np.testing.assert_array_equal(drawn.share, poisson_share(varied, maps))
    np.testing.assert_allclose(drawn.cdf, estimator.quantiles(maps.counts, 0.5)[0, :, 0], atol=1e-6)
    again = draw_poisson_shares(simulator, estimator, 150, seed=3, workers=2)
    np.testing.assert_array_equal(again.share, drawn.share)

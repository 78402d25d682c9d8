"""Pixels that no template explains are left out of a map, or filled for networks."""

from dataclasses import replace

import numpy as np
import pytest

from gcesbi import Observation, SkyModel
from gcesbi.analysis.deviant import fill_deviant, mask_deviant
from gcesbi.baselines import PoissonFit
from gcesbi.simulation.nuisances import GaussianField

AT = 40


@pytest.fixture(scope="module")
def model():
    return SkyModel.preset(nside=16, n_energy=2)


@pytest.fixture(scope="module")
def plain(model):
    """A Poisson map of the templates, each with some 2,000 photons."""
    mean = (model.templates * (2000 / model.templates.sum(axis=(1, 2)))[:, None, None]).sum(axis=0)
    counts = np.random.default_rng(5).poisson(mean)
    return Observation(counts, model.exposure, model.energy_edges, model.region)


@pytest.fixture(scope="module")
def bright(plain):
    """The same with a source in one pixel, of 3,000 photons."""
    counts = plain.counts.copy()
    counts[:, AT] += 1500
    return replace(plain, counts=counts)


def test_a_deviant_pixel_is_left_out(model, plain, bright):
    seen, deviant = mask_deviant(model, bright)
    assert next(each.pixel for each in deviant) == plain.region.pixels[AT]
    assert seen.region == bright.region.only(~np.isin(bright.region.pixels, [each.pixel for each in deviant]))
    assert plain.region.pixels[AT] not in seen.region.pixels


def test_a_deviant_pixel_is_filled_with_what_the_others_let_expect(model, plain, bright):
    seen, deviant = fill_deviant(model, bright)
    others = ~np.isin(bright.region.pixels, [each.pixel for each in deviant])
    np.testing.assert_array_equal(seen.counts[:, others], bright.counts[:, others])
    expected = PoissonFit(model, plain).run().mean[:, AT]
    assert np.all(np.abs(seen.counts[:, AT] - expected) < 0.5 + 0.2 * expected)


def test_a_map_of_the_model_is_left_as_it_is(model, plain):
    assert fill_deviant(model, plain) == (plain, ())
    seen, deviant = mask_deviant(model, plain)
    assert not deviant
    assert seen.region == plain.region


def test_log_fields_are_left_out_of_the_fit(model, bright):
    changed = model.composition.change("pi", nuisances=[GaussianField(sigma=0.2, length=8.0)])
    with_fields = SkyModel.build(changed)
    assert with_fields.modulated
    assert mask_deviant(with_fields, bright)[1] == mask_deviant(model, bright)[1]

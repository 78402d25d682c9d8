"""Models of any kind: built again from plain settings, shown shortly, and refused what they cannot be told."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gcesbi import InputError, Simulator, SkyModel
from gcesbi.simulation import simulator_for
from gcesbi.simulation.image_settings import ImageSky
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.rebuild import Recipe, build_model


@pytest.fixture(scope="module")
def images():
    return ImageSkyModel.preset(shape=(8, 8), pixel_size=1.0)


@pytest.fixture(scope="module")
def maps():
    return SkyModel.preset(nside=16, n_energy=2)


def test_the_kind_of_a_model_chooses_its_simulator(maps, images):
    assert type(simulator_for(maps)) is Simulator
    assert type(simulator_for(images)) is ImageSimulator


def test_recipes_of_both_kinds_build_the_model_again(maps, images):
    for model in (maps, images):
        told = json.loads(json.dumps(Recipe.of(model).to_dict()))
        again = Recipe.from_dict(told).simulator().model
        assert type(again) is type(model)
        assert again.region == model.region
        assert again.fingerprint == model.fingerprint


def test_a_recipe_of_images_without_their_geometry_is_read(images):
    told = Recipe.of(images).to_dict()
    old = {**told, "region": {"runs": told["region"]["runs"]}}  # as version 0.1.0 wrote it
    assert Recipe.from_dict(old).simulator().model.fingerprint == images.fingerprint


def test_what_is_large_shows_itself_in_a_few_lines(maps, images):
    seen, drawn = Simulator(maps).observe(maps.prior().draw(1, np.random.default_rng(1))[0])
    for each in (maps, images, maps.region, images.region, seen, drawn):
        assert len(repr(each)) < 400


def test_other_kinds_and_other_grids_are_refused(maps, images):
    with pytest.raises(InputError, match=r"sky: kind must be one of inner-galaxy, folder, .*, got 'x'"):
        build_model({"kind": "x"})
    seen, _ = Simulator(maps).observe(maps.prior().mean.numpy())
    with pytest.raises(InputError, match="observation: must be an image, is on Region"):
        images.for_observation(seen)
    image, _ = ImageSimulator(images).observe(images.prior().mean.numpy())
    with pytest.raises(InputError, match="observation: must be a HEALPix map, is on ImageRegion"):
        maps.for_observation(
            replace(
                image,
                counts=image.counts.repeat(2, 0),
                exposure=image.exposure.repeat(2, 0),
                energy_edges=maps.energy_edges,
                psf=None,
            )
        )
    with pytest.raises(InputError, match="observation: must be an image with a point-spread function for every"):
        ImageSkyModel.build(ImageSky(), replace(image, psf=None))

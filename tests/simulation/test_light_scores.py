"""Scores of smooth light: generalised least squares by brute force, and what they are deaf to."""

import numpy as np
import pytest

from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.light_scores import BUMP, NORM, SCATTER, light_scores

SKY = {"shape": (16, 16), "pixel_size": 1.0, "gamma": (1.0, 1.3)}


@pytest.fixture(scope="module")
def models():
    return [ImageSkyModel.preset(interstellar=name, **SKY) for name in ("snr-10-150", "lorimer-4-150")]


def roots(model, gamma, emission=1.0):
    mean = model.background_mean + (emission - 1) * model.interstellar_templates[0, 0]
    return np.sqrt(mean + np.tensordot(model.mixture(gamma), model.halo_templates, axes=1) + 0.375)


def test_scores_are_those_of_a_brute_force_inverse(models):
    """With the covariance SCATTER² exp(-d²/2 BUMP²) that the grid of bumps stands for."""
    emission = [model.interstellar_templates[0, 0] for model in models]
    mean, halos = np.mean(emission, axis=0), np.mean([model.halo_templates for model in models], axis=0)
    root = np.sqrt(mean + models[0].background_templates[1:].sum(axis=0) + halos.mean(axis=0) + 0.375).ravel()
    own = mean.ravel() / (2 * root)
    glon, glat = (np.asarray(each).ravel() for each in models[0].region.glon_glat())
    square = (glon[:, None] - glon) ** 2 + (glat[:, None] - glat) ** 2
    noise = np.eye(len(root)) / 4 + NORM**2 * np.outer(own, own)
    noise += SCATTER**2 * np.outer(own, own) * np.exp(-square / (2 * BUMP**2))
    for each in emission:
        noise += np.outer(*2 * [(each - mean).ravel() / (2 * root)])
    wanted = np.linalg.solve(noise, halos.mean(axis=0).ravel() / (2 * root))
    found = light_scores(models)[0].ravel()
    assert np.corrcoef(found, wanted)[0, 1] > 0.99


def test_scores_know_the_slope_and_not_the_emission(models):
    scores = light_scores(models)
    assert scores.shape == (4, 1, 256)
    noise = np.sqrt((scores**2).sum(axis=(1, 2)) / 4)

    def moved(a, b):
        return np.abs(((b - a) * scores).sum(axis=(1, 2)) / noise)

    one, other = models
    slope = moved(roots(one, 1.05), roots(one, 1.25))
    assert slope[1:].min() > 3  # standard deviations, of three parts of the range
    assert moved(roots(one, 1.15), roots(one, 1.15, emission=1.1)).max() < 0.2 * slope.max()
    dark = np.sqrt(other.background_mean + one.halo_templates[15] + 0.375)
    assert moved(roots(one, 1.15), dark).max() < 0.5 * slope.max()


def test_a_known_slope_leaves_the_brightness():
    model = ImageSkyModel.preset(**SKY | {"gamma": (1.1, 1.1)})
    assert light_scores([model]).shape == (1, 1, 256)


def test_norms_of_parts_leave_the_brightness_of_a_mixture_alone():
    """An excess twice as bright moves the score by far more than a ring of gas twice as bright does."""
    settings = SKY | {"gamma": (1.1, 1.1), "mixed": ("lorimer-4-150",), "scatter": 0.3}
    model = ImageSkyModel.preset(**settings)
    score, mean = light_scores([model])[0], model.background_mean + model.halo_templates[0]

    def moved(light):
        return float(np.sum(score * (np.sqrt(mean + 0.1 * light + 0.375) - np.sqrt(mean + 0.375))))

    excess = moved(model.halo_templates[0])
    for part in model.interstellar_templates.mean(axis=1):
        assert abs(moved(part)) < 0.3 * excess

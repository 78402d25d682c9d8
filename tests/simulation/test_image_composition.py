"""Images as a composition: the same mean images as those of the model of images, by every method's templates."""

import numpy as np
import pytest

from gcesbi.baselines import PoissonFit
from gcesbi.errors import InputError
from gcesbi.simulation import Simulator, SkyModel
from gcesbi.simulation.image_composition import image_composition
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel


@pytest.fixture(scope="module")
def pair():
    model = ImageSkyModel.preset(shape=(16, 16), pixel_size=1.0, alpha=(0.0, 1.0))
    return model, SkyModel.build(image_composition(model))


def theta_of(composed, share, alpha):
    """Norms of the model, and a share of sources."""
    prior = composed.prior()
    known = {"gce_poisson_share": 1 - share, "gce_alpha": alpha}
    middle = dict(zip(prior.names, prior.mean.numpy().astype(float), strict=True))
    return np.array([known.get(name, middle[name]) for name in prior.names])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_mean_images_agree(pair, share):
    """Within Monte Carlo errors and, about the centre, what pixels of a degree leave of the cusp."""
    model, composed = pair
    n = 300
    drawn = Simulator(composed).draw(np.tile(theta_of(composed, share, 0.5), (n, 1)), np.random.default_rng(1)).counts
    other = ImageSimulator(model).draw(np.tile([share, 0.5], (n, 1)), np.random.default_rng(2)).counts
    glon, glat = (np.asarray(each).ravel() for each in model.region.glon_glat())
    radius = np.hypot(glon, glat)
    for low, high in ((0.0, 2.0), (2.0, 5.0), (5.0, 12.0)):
        ring = (radius >= low) & (radius < high)
        a, b = (each[:, 0, ring].sum(axis=1, dtype=float) for each in (drawn, other))
        error = np.hypot(a.std(), b.std()) / np.sqrt(n)
        assert abs(a.mean() - b.mean()) < 4 * error + 0.004 * b.mean(), (low, high)  # k = 4


def test_likelihoods_and_parameters_are_those_of_any_sky(pair):
    model, composed = pair
    assert composed.names == model.names
    assert {"gce_poisson_share", "gce_alpha"} <= set(composed.prior().names)
    observation, _ = Simulator(composed).observe(theta_of(composed, 0.0, 0.5), seed=3)
    fit = PoissonFit(composed, observation).run()
    middle = dict(zip(composed.prior().names, composed.prior().mean.numpy().astype(float), strict=True))
    found = dict(zip(fit.names, fit.norms, strict=True))
    assert found["interstellar"] == pytest.approx(middle["interstellar_norm"], rel=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"f_src": (0.0, 0.5)}, r"f_src: must have the range 0 to 1, got \(0.0, 0.5\)"),
        ({"mixed": ("lorimer-4-150",)}, "mixed: must be one interstellar model, got snr-10-150, lorimer-4-150"),
    ],
)
def test_what_a_composition_cannot_state_is_refused(settings, message):
    model = ImageSkyModel.preset(shape=(8, 8), pixel_size=1.0, **settings)
    with pytest.raises(InputError, match=message):
        image_composition(model)

"""From a fit to simulated images: what is found of an image of known truth, and that the images then have it."""

from dataclasses import replace

import numpy as np
import pytest

from gcesbi.analysis.fitted_sky import fit_sky, fitted_settings
from gcesbi.analysis.image_sets import ImageSets
from gcesbi.analysis.settings import load_settings
from gcesbi.errors import InputError
from gcesbi.report.images import fitted_table
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel

SLOPES = (1.1, 1.15, 1.2, 1.25, 1.3)
NORMS = {"gas 0-3 kpc": 1.3, "gas 3-7 kpc": 0.8, "inverse Compton": 1.2}
FLUX = 9e-7


@pytest.fixture(scope="module")
def settings():
    training = ["interstellar.training=['snr-10-150']", "interstellar.testing=['lorimer-10-150']"]
    return load_settings("images-test", ["sky.shape=[24, 24]", *training])


@pytest.fixture(scope="module")
def found(settings):
    sky = settings.sky_of_images.model_dump() | {"gamma": (1.2, 1.2), "flux": FLUX, "norms": NORMS}
    simulator = ImageSimulator(ImageSkyModel.preset(**sky))
    seen, _ = simulator.observe([0.0, 0.0], seed=3)
    return fit_sky(settings, seen, SLOPES)


def test_slope_brightness_and_norms_of_rings_are_found(found):
    gamma, models = found
    right = models["snr-10-150"]
    assert gamma == pytest.approx(1.2, abs=0.03)
    assert right.flux == pytest.approx(FLUX, rel=0.1)
    assert right.norms["gas 0-3 kpc"] == pytest.approx(1.3, abs=0.2)
    assert right.norms["inverse Compton"] == pytest.approx(1.2, abs=0.3)
    assert set(right.norms) == {*NORMS, "gas 7-50 kpc", "iso"}
    assert right.slope.log_likelihood > models["lorimer-10-150"].slope.log_likelihood
    assert "snr-10-150" in str(fitted_table(models).rows)


def test_images_have_what_was_fitted(settings, found, tmp_path):
    gamma, models = found
    images = ImageSets(tmp_path, fitted_settings(settings, gamma, models))
    for name, each in models.items():
        model = images.model(name)
        assert model.region_flux[0].sum() == pytest.approx(each.flux, rel=1e-6)
        assert model.settings.gamma == (gamma, gamma)
        assert model.settings.norms == each.norms
    plain = ImageSets(tmp_path, settings).model("snr-10-150")
    fitted = images.model("snr-10-150")
    assert fitted.fingerprint != plain.fingerprint
    ratio = fitted.background_templates[1].sum() / plain.background_templates[1].sum()
    assert ratio == pytest.approx(models["snr-10-150"].norms["iso"])
    assert images.model("snr-10-150", free=True).settings.gamma == (1.0, 1.3)
    assert "flux and the background's norms are those of a fit" in images.notes[0]
    stored = load_settings(images.settings)
    assert stored == images.settings


def test_fits_of_the_settings_are_checked():
    fitted = "interstellar.fitted={nowhere={flux=1e-7}}"
    with pytest.raises(InputError, match=r"interstellar.fitted: must be of snr-10-150, .*, got 'nowhere'"):
        load_settings("images", [fitted])
    mixed = ["interstellar.mix=true", "interstellar.fitted={snr-10-150={flux=1e-7}}"]
    with pytest.raises(InputError, match=r"interstellar.mix: must be false where every model has a fit of its own"):
        load_settings("images", mixed)


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ({"dust": 1.0}, r"norms: must be of gas 0-3 kpc, .*, inverse Compton, iso, got 'dust'"),
        ({"iso": -1.0}, r"norms: must be finite and not negative, got iso = -1.0"),
        ({"inverse Compton": np.inf}, "norms: must be finite and not negative"),
    ],
)
def test_norms_of_a_sky_are_checked(norms, message):
    with pytest.raises(InputError, match=message):
        ImageSkyModel.preset(shape=(8, 8), pixel_size=1.0, norms=norms)


def test_an_image_without_an_excess_is_refused(settings):
    dark = ImageSkyModel.preset(**settings.sky_of_images.model_dump() | {"flux": 1e-12})
    counts = np.rint(dark.background_mean).astype(np.int64)
    seen, _ = ImageSimulator(dark).observe([0.0, 0.0], seed=1)
    with pytest.raises(InputError, match=r"fit: finds no excess beside \S+; state its brightness, sky\.flux"):
        fit_sky(settings, replace(seen, counts=np.where(dark.halo_templates[0] > 5, counts // 2, counts)), SLOPES)

"""Fits of a run's images: of which images, with which background, and what the file gives back."""

import numpy as np
import pytest

from gcesbi.analysis.fit import fit_images, read_template_fits
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.baselines.poisson.halo_slope import SlopeFit, fit_slope, halos_of_model
from gcesbi.errors import InputError
from gcesbi.report.images import fits_table, slope_text
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel

SLOPES = (1.0, 1.1, 1.2, 1.3)
NAMES = ("snr-10-150", "lorimer-4-150")


class Images:
    """What a run gives to a template fit: one interstellar model trained on, one tested on."""

    training, testing = NAMES[:1], NAMES[1:]

    def __init__(self):
        self.models = {name: ImageSkyModel.preset(shape=(16, 16), pixel_size=0.75, interstellar=name) for name in NAMES}
        self.drawn = {
            name: ImageSimulator(model).sample(3, seed=k) for k, (name, model) in enumerate(self.models.items())
        }

    def model(self, name):
        return self.models[name]

    def validation(self, name):
        assert name == NAMES[0]
        return self.drawn[name]

    def test(self, name):
        assert name == NAMES[1]
        return self.drawn[name]


def run_in(folder):
    run = Run(folder, load_settings("images-test"))
    run.__dict__["images"] = Images()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_in(tmp_path_factory.mktemp("run"))


def test_images_are_fitted_with_their_own_model_and_one_with_all(run):
    fits = fit_images(run, n_image=2, gammas=SLOPES)
    assert set(fits.own) == set(fits.other) == set(NAMES)
    assert fits.drawn_from == "lorimer-4-150"
    for name in NAMES:
        halos, reference = halos_of_model(run.images.model(name))
        assert len(fits.own[name]) == 2
        np.testing.assert_array_equal(fits.theta[name], run.images.drawn[name].theta[:2])
        own = fit_slope(
            run.images.drawn[name].counts[1], run.images.model(name).background_templates, halos, reference, SLOPES
        )
        assert fits.own[name][1].cross_section / own.cross_section == pytest.approx(1, rel=1e-6)
        assert fits.own[name][1].test_statistic == pytest.approx(own.test_statistic, rel=1e-6)
        image = run.images.drawn["lorimer-4-150"].counts[0]
        other = fit_slope(image, run.images.model(name).background_templates, halos, reference, SLOPES)
        assert fits.other[name].gamma == pytest.approx(other.gamma, abs=1e-6)
    assert fits.other["lorimer-4-150"].gamma == fits.own["lorimer-4-150"][0].gamma
    assert abs(fits.other["snr-10-150"].gamma - fits.other["lorimer-4-150"].gamma) > 0.005


def test_the_file_gives_back_what_was_fitted(run):
    fits, again = fit_images(run, n_image=1, gammas=SLOPES), read_template_fits(run.folder)
    assert again.drawn_from == fits.drawn_from
    for name in NAMES:
        first, second = fits.own[name][0], again.own[name][0]
        np.testing.assert_array_equal(second.test_statistics, first.test_statistics)
        assert (second.gamma, second.gamma_error) == (first.gamma, first.gamma_error)
        assert (second.cross_section, second.cross_section_error) == (first.cross_section, first.cross_section_error)
        np.testing.assert_array_equal(again.theta[name], fits.theta[name])
        assert again.other[name].test_statistic == fits.other[name].test_statistic


def test_the_real_image_is_fitted_with_every_model(run, monkeypatch, tmp_path):
    seen, _ = ImageSimulator(run.images.models["snr-10-150"]).observe([0.0, 0.5], seed=9)
    other = run_in(tmp_path)
    monkeypatch.setattr(type(other.settings.observation), "read", lambda self: seen)
    fits = fit_images(other, n_image=1, gammas=SLOPES)
    for name, fit in read_template_fits(other.folder).observed.items():
        halos, reference = halos_of_model(other.images.model(name))
        alone = fit_slope(seen.counts, other.images.model(name).background_templates, halos, reference, SLOPES)
        assert fit.gamma == pytest.approx(alone.gamma, abs=1e-6)
        assert fit.cross_section / alone.cross_section == pytest.approx(1, rel=1e-6)
    own, wrong = (fits.observed[name].log_likelihood for name in NAMES)
    assert own > wrong
    rows = fits_table(fits).rows
    assert [row[:2] for row in rows[:2]] == [(name, "1 of its own") for name in NAMES]
    assert [row[1] for row in rows[2:]] == ["one image of lorimer-4-150"] * 2 + ["the real image"] * 2
    assert rows[-1][2].startswith(f"{fits.observed['lorimer-4-150'].gamma:.3f} ± ")


def test_a_slope_at_an_end_is_told_as_a_bound():
    x = np.array([0.8, 1.0, 1.2, 1.4])
    at = {"test_statistics": 100 + x, "norms": x, "norm_errors": 0.1 + 0 * x, "reference": 1e-27}
    rising, peaked, flat = (
        SlopeFit(x, log_likelihoods=value, **at) for value in (50 * x, -200 * (x - 1.1) ** 2, -1e-3 * (x - 1.1) ** 2)
    )
    assert [slope_text(fit) for fit in (rising, peaked, flat)] == ["≥ 1.40", "1.100 ± 0.050", "1.100"]


def test_missing_and_damaged_files_are_named(run, tmp_path):
    with pytest.raises(InputError, match=r"holds no template_fits.json; its images are not fitted yet"):
        read_template_fits(tmp_path)
    (tmp_path / "template_fits.json").write_text('{"own": {}}')
    with pytest.raises(InputError, match=r"template_fits.json is damaged \(KeyError: 'other'\)"):
        read_template_fits(tmp_path)
    (tmp_path / "template_fits.json").write_text("{")
    with pytest.raises(InputError, match=r"template_fits.json is damaged \(JSONDecodeError"):
        read_template_fits(tmp_path)
    with pytest.raises(InputError, match="n_image: must be at least 1, got 0"):
        fit_images(run, n_image=0)

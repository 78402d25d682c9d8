"""From a fit to simulated images: what is found of an image of known truth, and that the images then have it."""

from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from gcesbi.analysis.fitted_sky import check_free, fit_sky, fitted_settings, kept_fit
from gcesbi.analysis.image_sets import ImageSets
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.cli.main import app
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
    table = fitted_table(models)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["fitted with"] == "snr-10-150"
    assert row["gas 0-3 kpc"] == f"{right.norms['gas 0-3 kpc']:.2f}"


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sky.flux=1e-7", r"sky\.flux: must not be stated beside a fit, .*, got 1e-07"),
        ("sky.cross_section=1e-26", r"sky\.cross_section: must not be stated beside a fit"),
        ("sky.norms={iso=2.0}", r"sky\.norms: must not be stated beside a fit, .*, got \{'iso': 2.0\}"),
        ("sky.normalisation='cross-section'", r"sky\.normalisation: must not be stated beside a fit"),
        ("sky.gamma=[1.0, 1.2]", r"sky\.gamma: must be one slope beside a fit, got 1 to 1.2"),
        ("interstellar.mix=true", r"interstellar\.mix: must not be stated beside a fit"),
        ("interstellar.fitted={snr-10-150={flux=1e-7}}", r"interstellar\.fitted: must not be stated beside a fit"),
    ],
)
def test_settings_that_state_what_a_fit_finds_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        check_free(load_settings("images-test", [change]))


def test_a_run_keeps_its_fit(settings, found):
    made = fitted_settings(settings, *found)
    assert kept_fit(settings, made) == made
    assert kept_fit(made, made) == made
    with pytest.raises(InputError, match="fit: the images that are there were drawn without one"):
        kept_fit(settings, settings)


def test_one_command_draws_images_from_a_fit_of_a_folder(data_folder, tmp_path):
    folder, out = tmp_path / "own", tmp_path / "run"
    folder.mkdir()
    for name in ("ccube_01.fits", "psf_01.fits"):
        (folder / name).symlink_to(data_folder / "fermi-gc-4gev" / name)
    changes = {
        "observation.radius": "3",
        "observation.energy_range": "[3.98, 5.1]",
        "interstellar.training": "['snr-10-150']",
        "interstellar.testing": "['lorimer-10-150']",
        "simulation": "{n_train=64, n_validation=100, n_test=100}",
    }
    ask = ["images", "simulate", "--preset", "images-4gev", "--observation", str(folder), "--out", str(out), "--quiet"]
    ask += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    told = CliRunner().invoke(app, [*ask, "--fit"])
    assert told.exit_code == 0, told.output
    run = Run.open(out)
    fitted, (gamma, _) = run.settings.interstellar.fitted, run.images.sky.gamma
    assert f"γ = {gamma:.3f}" in told.output
    for name in ("snr-10-150", "lorimer-10-150"):
        model, each = run.images.model(name), fitted[name]
        ratio = run.images.sky.flux_ratio(model.energy_edges)
        assert model.region_flux[0].sum() == pytest.approx(each.flux * ratio, rel=1e-6)
        assert model.settings.norms == each.norms
        assert f"{each.norms['gas 0-3 kpc']:.2f}" in told.output
        photons = run.images.test(name).counts if name in run.images.testing else run.images.validation(name).counts
        assert photons.sum(axis=(1, 2)).mean() == pytest.approx(run.settings.observation.read().counts.sum(), rel=0.05)
    again = CliRunner().invoke(app, [*ask, "--fit"])
    assert again.exit_code == 0, again.output
    assert Run.open(out).settings == run.settings
    other = CliRunner().invoke(app, [*ask, "--set", "interstellar.testing=['snr-4-100000']", "--fit"])
    assert isinstance(other.exception, InputError)

"""Images of the Galactic centre: what is drawn has the law that the model states, and its labels are true."""

from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import chi2

from gcesbi.baselines import PoissonFit
from gcesbi.errors import InputError
from gcesbi.io import read_observation
from gcesbi.physics.image_psf import source_image
from gcesbi.simulation.image_settings import CROSS_SECTIONS, TESTING, TRAINING, ImageSky
from gcesbi.simulation.image_simulator import ImageSimulator, ImageSources
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.sky_settings import INTERSTELLAR
from gcesbi.simulation.store import SimulationStore
from gcesbi.sky.image import ImageGeometry
from gcesbi.sky.observation import Observation

SMALL = {"shape": (24, 24), "pixel_size": 0.5}


@lru_cache
def simulator(**settings):
    made = ImageSimulator(ImageSkyModel.preset(**(SMALL | dict(settings))))
    made.prepare()
    return made


def one_source(glon, glat, flux):
    return ImageSources(np.array([glon]), np.array([glat]), np.array([flux]))


def chi_squared(counts, mean):
    """p-value of counts, pixels of less than 20 expected photons taken together."""
    bright = mean > 20
    seen, expected = np.append(counts[bright], counts[~bright].sum()), np.append(mean[bright], mean[~bright].sum())
    return chi2.sf(np.sum((seen - expected) ** 2 / expected), len(seen))


def test_without_sources_an_image_is_poisson_about_the_smooth_templates():
    images = simulator()
    drawn = images.draw(np.array([[0.0, 0.5]] * 40), np.random.default_rng(1))
    mean = images.model.background_mean + images.model.halo_templates[0]
    pulls = (drawn.counts.sum(axis=0) - 40 * mean) / np.sqrt(40 * mean)
    assert np.sum(pulls**2) == pytest.approx(pulls.size, abs=4 * np.sqrt(2 * pulls.size))  # k = 4
    spread = np.var(drawn.counts.astype(float), axis=0, ddof=1) / mean
    assert spread.mean() == pytest.approx(1, abs=4 * np.sqrt(2 / 39 / pulls.size))
    assert not drawn.n_sources.any()
    np.testing.assert_allclose(drawn.scd[:, 0, 0], 1.0)


@pytest.mark.parametrize("alpha", [-1.05, 1.05])
def test_the_mean_image_does_not_depend_on_the_share_of_sources(alpha):
    """Photons of sources alone, f_src = 1, against the smooth template: sums over rings and quadrants."""
    images, n = simulator(), 120
    rng = np.random.default_rng(3)
    photons = np.stack([images.photons(images.draw_sources(1.0, alpha, 1.1, rng), rng)[0] for _ in range(n)])
    template = images.model.halo_templates[0, 0]
    glon, glat = images.model.region.glon_glat()
    ring = np.digitize(np.hypot(glon, glat), [0.7, 1.5, 3, 5]) + 5 * (glon > 0) + 10 * (glat > 0)
    groups = ring == np.arange(20)[:, None]
    sums = photons @ groups.T
    error = sums.std(axis=0, ddof=1) / np.sqrt(n)
    np.testing.assert_array_less(np.abs(sums.mean(axis=0) - groups @ template), 4 * error + 2e-3 * (groups @ template))


def test_a_bright_source_has_the_point_spread_function():
    images = simulator()
    model, geometry = images.model, images.model.region.geometry
    counts = images.photons(one_source(1.1, -0.7, 5e-7), np.random.default_rng(4))[0]
    share = source_image(geometry, model.psf[0], 1.1, -0.7, 1.0).ravel()
    mean = 5e-7 * model.exposure[0, geometry.index(1.1, -0.7)] * share
    assert chi_squared(counts, mean) > 1e-3


def test_sources_beyond_the_edge_leak_in():
    images = simulator()
    model, geometry = images.model, images.model.region.geometry
    counts = images.photons(one_source(6.3, 0.0, 5e-7), np.random.default_rng(5))[0]
    share = source_image(geometry, model.psf[0], 6.3, 0.0, 1.0).ravel()
    expected = 5e-7 * model.exposure[0].mean() * share.sum()
    assert share.sum() > 0.03
    assert counts.sum() == pytest.approx(expected, abs=4 * np.sqrt(expected) + 0.03 * expected)
    assert images.model.halos[0].radius > 8.4 + 4


@pytest.mark.parametrize("f_src", [0.2, 1.0])
def test_the_total_flux_is_fixed_and_shared_as_asked(f_src):
    images, rng = simulator(), np.random.default_rng(6)
    total = images.model.disc_flux.sum()
    flux = [images.draw_sources(f_src, 0.5, 1.1, rng).flux.sum() / total for _ in range(30)]
    assert max(flux) <= f_src
    assert min(flux) > f_src - 1e-9 / total
    assert images.draw_sources(f_src, 0.5, 1.1, rng).flux.max() < 1e-9


def test_labels_are_those_of_the_sources_inside():
    images = simulator()
    drawn = images.draw(np.array([[0.6, -0.5], [1.0, 1.0]]), np.random.default_rng(7))
    np.testing.assert_allclose(drawn.scd.sum(axis=-1), 1.0)
    assert drawn.scd[0, 0, 0] == pytest.approx(0.4, abs=0.05)
    assert drawn.scd[1, 0, 0] < 0.01
    edges = images.model.bins.edges
    assert not drawn.scd[:, 0, np.flatnonzero(edges[:-1] > -8.999)].any()
    np.testing.assert_allclose(drawn.flux[:, :-1], [images.model.background_flux] * 2)
    np.testing.assert_allclose(drawn.flux[:, -1].sum(axis=-1), images.model.region_flux.sum(), rtol=0.15)
    inside = images.model.region_flux.sum() / images.model.disc_flux.sum()
    rng = np.random.default_rng(8)
    mean = np.mean([images._holds(images.draw_sources(1.0, 1.0, 1.1, rng)).mean() for _ in range(20)])
    assert mean == pytest.approx(inside, abs=0.02)


def test_images_grow_clumpy_with_the_share_of_sources():
    images = simulator()
    template = images.model.background_mean + images.model.halo_templates[0]
    variance = [
        np.mean((images.draw(np.array([[f, 1.0]] * 30), np.random.default_rng(9)).counts - template) ** 2 / template)
        for f in (0.0, 0.5, 1.0)
    ]
    assert variance[0] == pytest.approx(1.0, abs=0.05)
    assert variance[0] + 0.1 < variance[1] < variance[2] - 0.1


def test_the_slope_moves_light_to_the_centre_smoothly():
    images = simulator(gamma=(1.0, 1.3))
    model = images.model
    assert model.prior().names == ("f_src", "alpha", "gamma")
    assert len(model.gammas) == 31
    np.testing.assert_allclose(model.mixture(1.155) @ model.gammas, 1.155)
    direct = ImageSkyModel.preset(**SMALL, gamma=(1.155, 1.155)).halo_templates[0]
    mixed = np.tensordot(model.mixture(1.155), model.halo_templates, axes=1)
    np.testing.assert_allclose(mixed, direct, rtol=2e-3)
    rng = np.random.default_rng(10)
    near = [np.mean(np.hypot(*_places(images, gamma, rng)) < 1) for gamma in (1.0, 1.15, 1.3)]
    assert near[0] < near[1] < near[2]


def _places(images, gamma, rng):
    parts = [images.draw_sources(1.0, 0.0, gamma, rng) for _ in range(5)]
    return np.concatenate([p.glon for p in parts]), np.concatenate([p.glat for p in parts])


def test_channels_share_the_spectrum():
    images = simulator(energy_edges=(1.0, 2.0, 6.0))
    assert images.model.n_energy == 2
    drawn = images.draw(np.array([[0.5, 0.0]]), np.random.default_rng(11))
    assert drawn.counts.shape == (1, 2, 576)
    single = simulator().model
    np.testing.assert_allclose(images.model.disc_flux.sum(), single.disc_flux.sum(), rtol=1e-10)
    np.testing.assert_allclose(images.model.background_mean.sum(), single.background_mean.sum(), rtol=2e-3)


def test_same_seed_same_images_whatever_the_workers():
    images = simulator()
    first = images.sample(4, seed=3)
    np.testing.assert_array_equal(first.counts, images.sample(6, seed=3, workers=2).counts[:4])
    assert not np.array_equal(first.counts, images.sample(4, seed=4).counts)
    assert first.theta.shape == (4, 2)
    assert np.all((first.theta[:, 0] > 0) & (first.theta[:, 0] < 1))


def test_a_store_holds_images_and_builds_their_model_again(tmp_path):
    images = simulator()
    store = SimulationStore.create(tmp_path / "images", images, seed=2)
    store.fill(images, 10)
    np.testing.assert_array_equal(store.read(0, 10).counts, images.sample(10, seed=2).counts)
    again = SimulationStore.open(tmp_path / "images").simulator()
    assert isinstance(again, ImageSimulator)
    assert again.model.fingerprint == images.model.fingerprint
    with pytest.raises(InputError, match=r"asked for .* \(alpha"):
        SimulationStore.create(tmp_path / "images", simulator(alpha=(-1.7, 1.7)), seed=2)


def test_a_template_fit_finds_the_cross_section():
    images = simulator()
    observed, _ = images.observe(np.array([0.0, 0.0]), seed=4)
    fit = PoissonFit(images.model.image_model(), observed).run()
    pull = (fit.norms - 1) / fit.errors
    assert np.abs(pull).max() < 4  # three pulls
    assert fit.test_statistic("gce") > 100


def test_a_profile_over_the_slope_finds_it():
    images = simulator(gamma=(1.0, 1.3))
    observed, _ = images.observe(np.array([0.0, 0.0, 1.2]), seed=5)
    slopes = np.array([1.0, 1.1, 1.2, 1.3])
    found = [PoissonFit(images.model.image_model(g), observed).run().log_likelihood for g in slopes]
    assert slopes[int(np.argmax(found))] in (1.1, 1.2, 1.3)
    assert max(found) - found[0] > 2


def test_catalogue_sources_shine(data_folder):
    catalogue = str(data_folder / "catalogs" / "gll_psc_v16.fit.gz")
    model = simulator(catalogue=catalogue).model
    assert model.names == ("interstellar", "iso", "catalogue", "gce")
    assert model.fingerprint != simulator().model.fingerprint
    share = model.background_templates[2].sum() / model.background_mean.sum()
    assert 0.05 < share < 0.3


def test_user_maps_take_the_place_of_the_built_in_ones(data_folder):
    cube = str(data_folder / "fermi-gc-4gev" / "gll_iem_v07_gc.fits.gz")
    model = simulator(interstellar_map=cube, shape=(16, 16)).model
    built_in = simulator(shape=(16, 16)).model
    ratio = model.background_templates[0].sum() / built_in.background_templates[0].sum()
    assert ratio == pytest.approx(1.0, abs=0.1)
    assert model.fingerprint != built_in.fingerprint


def test_a_map_that_does_not_cover_the_image_is_refused(data_folder):
    cube = str(data_folder / "fermi-gc-4gev" / "gll_iem_v07_gc.fits.gz")  # ±5 degrees
    with pytest.raises(InputError, match=r"gll_iem.*must cover the image, 83 % of its pixels are outside"):
        simulator(interstellar_map=cube, shape=(48, 48), pixel_size=0.5)


def test_images_like_the_real_ones(data_folder):
    folder = data_folder / "fermi-gc-4gev"
    real = read_observation(
        folder / "ccube_01.fits",
        4.8,
        None,
        exposure=folder / "psf_01.fits",
        energy_range=(3.98, 6.4),
        event_type="PSF3",
    )
    model = ImageSkyModel.build(ImageSky(interstellar_map=str(folder / "gll_iem_v07_gc.fits.gz")), real)
    images = ImageSimulator(model)
    drawn = images.draw(np.array([[0.5, 0.0]]), np.random.default_rng(12))
    assert drawn.counts.shape[1:] == real.counts.shape
    ratio = drawn.counts[0].sum(axis=-1) / real.counts.sum(axis=-1)
    assert np.all((ratio > 0.7) & (ratio < 1.2))  # the catalogue's sources are not among them
    assert model.for_observation(real) is model


def test_mixtures_have_the_mean_of_their_models_and_scatter_between_them():
    names = ("snr-10-150", "lorimer-10-100000", "lorimer-4-150")
    images = simulator(mixed=names[1:])
    alone = [simulator(interstellar=name).model for name in names]
    model = images.model
    np.testing.assert_allclose(model.background_mean, np.mean([each.background_mean for each in alone], axis=0))
    halos = np.array([each.halo_templates.sum() for each in alone])
    assert model.halo_templates.sum() == pytest.approx(halos.mean())
    np.testing.assert_allclose(model.brightness, halos / halos.mean())
    np.testing.assert_allclose(model.background_of(np.array([[0.0, 1.0, 0.0]])), alone[1].background_mean)
    assert model.fingerprint != alone[0].fingerprint
    n = 400
    drawn = images.draw(np.array([[0.5, 0.5]] * n), np.random.default_rng(8))
    light = np.array([each.background_flux[0].sum() for each in alone])
    # weights of a flat Dirichlet distribution of three: mean 1/3, covariance (δ - 1/3) / 12
    found, spread = drawn.flux[:, 0].sum(axis=1), light.std() / 2
    assert found.mean() == pytest.approx(light.mean(), abs=4 * spread / np.sqrt(n))  # k = 4
    assert found.std() == pytest.approx(spread, rel=4 / np.sqrt(2 * n))
    assert np.corrcoef(found, drawn.counts.sum(axis=(1, 2)))[0, 1] > 0.9


def test_parts_of_a_mixture_scatter_apart_and_the_excess_flux_too():
    names, n = ("snr-10-150", "lorimer-4-150"), 2000
    whole, apart = (simulator(mixed=names[1:], **how).model for how in ({}, {"scatter": 0.3, "flux_scatter": 0.15}))
    parts = apart.interstellar_templates
    assert parts.shape[:2] == (4, 2)
    np.testing.assert_allclose(parts.sum(axis=0), whole.interstellar_templates[0], rtol=1e-7)
    np.testing.assert_allclose(apart.background_mean, whole.background_mean, rtol=1e-7)
    assert apart.fingerprint != whole.fingerprint
    one = np.ones((4, 1)) * [0.0, 1.0]
    np.testing.assert_allclose(apart.background_of(one), whole.background_of(one[:1]), rtol=1e-7)
    rng = np.random.default_rng(9)
    weights, flux = map(np.array, zip(*(apart.draw_mixture(rng) for _ in range(n)), strict=True))
    norms = np.log(weights.sum(axis=2))
    np.testing.assert_allclose(norms.mean(axis=0), 0, atol=4 * 0.3 / np.sqrt(n))  # k = 4
    np.testing.assert_allclose(norms.std(axis=0), 0.3, rtol=4 / np.sqrt(2 * n))
    assert np.abs(np.corrcoef(norms.T) - np.eye(4)).max() < 4 / np.sqrt(n)
    # variance of ln flux: of its scatter, and of the mean of four weights uniform on [0, 1] between two fluxes
    spread = np.hypot(0.15, np.diff(apart.brightness)[0] / np.sqrt(12 * 4))
    assert np.log(flux).std() == pytest.approx(spread, rel=4 / np.sqrt(2 * n))
    alone = simulator(scatter=0.3).model
    assert alone.draw_mixture(rng)[0].shape == (4, 1)


def test_the_share_is_one_of_the_mixtures_own_excess():
    images = simulator(mixed=("lorimer-10-100000",))
    rng = np.random.default_rng(5)
    whole = images.model.disc_flux.sum()
    for brightness in images.model.brightness:
        flux = images.draw_sources(1.0, 1.05, 1.1, rng, brightness).flux.sum()
        assert brightness - 1e-9 / whole < flux / whole <= brightness


def test_the_papers_models_are_there():
    assert set(TRAINING) | set(TESTING) == set(INTERSTELLAR) == set(CROSS_SECTIONS)
    assert not set(TRAINING) & set(TESTING)
    flux = ImageSky(interstellar="lorimer-10-100000").halo(1.1).flux([1.0, 6.0], 5.0)
    twice = ImageSky(cross_section=2 * 33.61e-27).halo(1.1).flux([1.0, 6.0], 5.0)
    np.testing.assert_allclose(twice, 2 * flux, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"f_src": (0.5, 1.2)}, r"f_src: must lie in \[0, 1\], got 0.5 to 1.2"),
        ({"f_src": (0.6, 0.2)}, "f_src: must be a range, low and high, got 0.6 to 0.2"),
        ({"alpha": (-2.5, 1.0), "flux_low": 0.0}, "alpha: must be above -2 .* the flux diverges, got -2.5"),
        ({"alpha": (-1.5, 1.0), "flux_low": 0.0}, "alpha: must be above -1 .* the number diverges"),
        ({"flux_threshold": 1e-13}, "flux_threshold: must be above the lowest flux 1e-12, got 1e-13"),
        ({"gamma": (1.0, 1.6)}, r"gamma: must lie in \[0, 1.5\)"),
        ({"f_src": (0.5, 0.5), "alpha": (0.0, 0.0)}, "f_src, alpha, gamma: at least one must have a range"),
        ({"shape": (0, 4)}, "shape: must be two whole numbers above 0"),
        ({"energy_edges": (2.0, 1.0)}, "energy_edges: must be positive and increasing"),
        ({"pixel_siz": 1.0}, "pixel_size"),
        ({"mixed": ("snr-10-150",)}, "mixed: must be distinct models, got snr-10-150, snr-10-150"),
        ({"mixed": ("snr-10",)}, "path: must be an existing file"),
        ({"catalogue": "/nowhere/cat.fits"}, "path: must be an existing file"),
        ({"energy_edges": (0.1, 1.0)}, "energy: must lie in"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        ImageSkyModel.preset(**(SMALL | settings))


def test_bad_parameters_are_named():
    images = simulator()
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match=r"f_src: must lie in \[0.0, 1.0\], got 1.5"):
        images.draw(np.array([[1.5, 0.0]]), rng)
    with pytest.raises(InputError, match=r"alpha: must lie in \[-1.05, 1.05\], got nan"):
        images.draw(np.array([[0.5, np.nan]]), rng)
    with pytest.raises(InputError, match=r"theta: must have shape \(batch, 2\), got \(2,\)"):
        images.draw(np.array([0.5, 0.0]), rng)
    with pytest.raises(InputError, match=r"gamma: must lie in \[1.1, 1.1\], got 1.3"):
        images.model.image_model(1.3)


@pytest.mark.parametrize(
    ("geometry", "edges", "message"),
    [
        (ImageGeometry((20, 24), 0.5), (1.0, 6.0), r"image must have \(24, 24\) pixels, has \(20, 24\)"),
        (ImageGeometry((24, 24), 0.4), (1.0, 6.0), "pixels must be those of .*0.5.*, are of .*0.4"),
        (ImageGeometry((24, 24), 0.5), (2.0, 6.0), r"energy edges must be the model's \[1.0, 6.0\] GeV"),
    ],
)
def test_images_of_another_kind_are_refused(geometry, edges, message):
    model = simulator().model
    seen = Observation(
        np.ones((1, geometry.n_pix)), np.ones((1, geometry.n_pix)), np.array(edges), geometry.whole(), model.psf
    )
    with pytest.raises(InputError, match=message):
        model.for_observation(seen)


def test_a_part_of_an_image_is_refused():
    images = simulator()
    observed, _ = images.observe(np.array([0.5, 0.0]), seed=1)
    assert images.model.for_observation(observed) is images.model
    with pytest.raises(InputError, match="observation: must hold the model's 576 pixels, holds"):
        images.model.for_observation(observed.cut(observed.region.geometry.disc(3.0)))


def test_fluxes_are_those_of_the_band_that_they_are_stated_for():
    """From 1-6 to 4-8 GeV by the spectrum of the excess, an eighth; and to the same band not at all."""
    sky = ImageSky(flux=2e-7)
    other = sky.in_band((3.98, 5.0, 7.95))
    ratio = float(sky.halo(1.1).per_j([3.98, 7.95])[0] / sky.halo(1.1).per_j([1.0, 6.0])[0])
    assert ratio == pytest.approx(0.12, abs=0.01)
    assert other.energy_edges == (3.98, 5.0, 7.95)
    for name in ("flux", "flux_low", "flux_threshold"):
        assert getattr(other, name) == pytest.approx(ratio * getattr(sky, name))
    assert sky.in_band((1.0, 2.0, 6.0)).flux_threshold == sky.flux_threshold == 1e-9
    assert other.in_band((1.0, 6.0)).flux_threshold == pytest.approx(1e-9)

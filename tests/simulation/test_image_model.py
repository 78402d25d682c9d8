"""Templates of images: light is conserved, and the real Galactic-centre set is described by its own models."""

import numpy as np
import pytest

from gcesbi.baselines import NormPrior, PoissonFit
from gcesbi.errors import InputError
from gcesbi.io import read_observation
from gcesbi.io.catalog import read_catalogue
from gcesbi.io.image import read_intensity_cube, read_isotropic_spectrum
from gcesbi.physics.catalogue import SourceCatalogue
from gcesbi.physics.dark_matter import Annihilation, DarkMatterHalo
from gcesbi.physics.image_psf import TabulatedPSF
from gcesbi.physics.intensity import IsotropicSpectrum
from gcesbi.physics.templates.nfw import NFW
from gcesbi.simulation.image_templates import ImageModel, expected_flux
from gcesbi.sky.image import ImageGeometry
from gcesbi.sky.observation import Observation, ObservationSet

GEOMETRY = ImageGeometry((24, 24), 0.25)
EDGES = np.array([1.0, 2.0, 6.0])
THETA = 3 * np.linspace(0, 1, 60) ** 2
PSF = tuple(TabulatedPSF(THETA, np.exp(-(THETA**2) / (2 * s**2))) for s in (0.4, 0.2))
ISOTROPIC = IsotropicSpectrum(np.array([0.1, 100.0]), np.array([1e-4, 1e-10]))


def source(glon=0.3, glat=-0.2):
    one = [np.array([v]) for v in (glon, glat, 1e-8, 1.0, 2.0, 0.0, 0.0, 1.0, 0.0)]
    return SourceCatalogue(np.array(["a"]), *one, np.array(["point"]))


def observation(counts=None, event_type="", exposure=1e11):
    region = GEOMETRY.disc(2.5)
    shape = (2, region.n_pix)
    seen = np.ones(shape, dtype=int) if counts is None else counts
    return Observation(seen, np.full(shape, exposure), EDGES, region, PSF, event_type)


def test_flux_is_conserved():
    flux = expected_flux(GEOMETRY, EDGES, PSF, {"iso": ISOTROPIC, "source": source()})
    np.testing.assert_allclose(flux[1].sum(axis=(1, 2)), source().flux(EDGES)[0], rtol=1e-3)
    expected = ISOTROPIC.band(EDGES)[:, None, None] * GEOMETRY.row_solid_angle[:, None]
    np.testing.assert_allclose(flux[0], np.broadcast_to(expected, flux[0].shape), rtol=2e-3)


def test_sources_beyond_the_edge_leak_in():
    flux = expected_flux(GEOMETRY, EDGES, PSF, {"source": source(3.3, 0.0)})
    leaked = flux[0].sum(axis=(1, 2)) / source().flux(EDGES)[0]
    assert 0.2 < leaked[0] < 0.25  # a Gaussian of 0.4° beyond 0.3°: 0.227
    assert 0.05 < leaked[1] < 0.08  # of 0.2°: 0.067
    away = expected_flux(GEOMETRY, EDGES, PSF, {"source": source(12.0, 0.0)})
    assert not away.any()


def test_fit_of_a_mock_gives_its_norms_back():
    emissions = {"iso": ISOTROPIC, "source": source(), "dm": Annihilation(DarkMatterHalo(NFW(gamma=1.2)))}
    empty = ObservationSet((observation(event_type="a"), observation(event_type="b", exposure=3e11)))
    model = ImageModel.build(empty, emissions)
    truth = np.array([0.8, 1.1, 2.0])
    mean = np.tensordot(truth, model.templates, axes=1)
    counts = np.random.default_rng(5).poisson(mean)
    n = empty.region.n_pix
    seen = ObservationSet((observation(counts[:, :n], "a"), observation(counts[:, n:], "b", 3e11)))
    fit = PoissonFit(model, seen).run()
    assert fit.converged
    pull = (fit.norms - truth[:, None]) / fit.errors
    assert np.abs(pull).max() < 3  # six pulls
    np.testing.assert_allclose(fit.flux, fit.norms * model.flux_per_norm)
    assert fit.test_statistic("dm") > 25


def test_the_cusp_is_smoothed_whole():
    """On coarse pixels as on fine ones: the light of the cusp is not spread over its pixel first."""
    signal = {"dm": Annihilation(DarkMatterHalo(NFW(gamma=1.4)))}
    coarse = expected_flux(GEOMETRY, EDGES, PSF, signal)[0]
    fine = expected_flux(GEOMETRY.refined(3), EDGES, PSF, signal)[0].reshape(2, 24, 3, 24, 3).sum(axis=(2, 4))
    inner = np.s_[:, 8:16, 8:16]
    np.testing.assert_allclose(coarse[inner], fine[inner], rtol=3e-3)


def test_event_types_have_components_of_their_own():
    twice = IsotropicSpectrum(ISOTROPIC.energy, 2 * ISOTROPIC.values)
    parts = ObservationSet((observation(event_type="a"), observation(event_type="b")))
    model = ImageModel.build(parts, {"iso": {"a": ISOTROPIC, "b": twice}, "source": source()})
    n = parts.region.n_pix
    np.testing.assert_allclose(model.templates[0, :, n:], 2 * model.templates[0, :, :n], rtol=1e-12)
    np.testing.assert_allclose(model.templates[1, :, n:], model.templates[1, :, :n], rtol=1e-12)
    assert model.without("iso").names == ("source",)


def test_models_follow_an_observation_that_is_cut():
    parts = ObservationSet((observation(event_type="a"), observation(event_type="b", exposure=2e11)))
    model = ImageModel.build(parts, {"iso": ISOTROPIC, "source": source()})
    part = parts.cut(GEOMETRY.disc(1.5))
    small = model.for_observation(part)
    assert small.templates.shape[-1] == 2 * part.region.n_pix
    whole = parts.region.image(model.templates[1, 0, parts.region.n_pix :])
    np.testing.assert_array_equal(small.templates[1, 0, part.region.n_pix :], part.region.take(whole))
    assert np.all(small.flux_per_norm < model.flux_per_norm)
    np.testing.assert_allclose(model.flux_per_norm[1], source().flux(EDGES)[0], rtol=2e-3)


def galactic_centre(folder, cut=4.8):
    parts = tuple(
        read_observation(
            folder / f"ccube_0{i}.fits",
            cut,
            None,
            exposure=folder / f"psf_0{i}.fits",
            energy_range=(3.98, 19.96),
            event_type=f"PSF{i + 2}",
        )
        for i in (0, 1)
    )
    emissions = {
        "iem": read_intensity_cube(folder / "gll_iem_v07_gc.fits.gz"),
        "iso": {
            kind: read_isotropic_spectrum(folder / f"iso_P8R3_CLEAN_V3_{kind}_v1.txt") for kind in ("PSF2", "PSF3")
        },
        "sources": read_catalogue(folder.parent / "catalogs" / "gll_psc_v27.fit.gz"),
        "nfw": Annihilation(DarkMatterHalo(NFW(gamma=1.2))),
    }
    observed = ObservationSet(parts)
    return observed, ImageModel.build(observed, emissions)


@pytest.fixture(scope="module")
def real(data_folder):
    return galactic_centre(data_folder / "fermi-gc-4gev")


def test_real_data_agree_with_the_published_models(real):
    """Nothing fitted: 0.90 to 1.00 in each of the seven bins (the data folder's README)."""
    observed, model = real
    ratio = observed.counts.sum(axis=1) / model.without("nfw").templates.sum(axis=(0, 2))
    assert ratio.shape == (7,)
    assert np.all((ratio > 0.90) & (ratio < 1.00))


def test_fit_of_the_real_data(real):
    """Interstellar emission and sources near their published norms; the excess found, by all bins together."""
    observed, model = real
    fit = PoissonFit(model, observed).run()
    assert fit.converged
    iem, sources = fit.norms[0], fit.norms[2]
    assert np.all((iem > 0.8) & (iem < 1.0))
    assert np.all(np.abs(sources - 1) < 0.15)
    assert 5 < fit.test_statistic("nfw") < 40


def test_the_isotropic_norm_of_the_real_data_needs_a_prior(real):
    """Free, it fills what gll_iem lacks off the plane; held to 0.3, all norms are near 1; |b| > 2 agrees with 1."""
    observed, model = real
    free = PoissonFit(model, observed).run()
    held = PoissonFit(model, observed, {"iso": NormPrior(mean=1.0, sigma=0.3)}).run()
    assert np.all(free.norms[1] > 4.5)
    assert np.all(np.abs(held.norms[:3] - 1) < 0.3)
    assert held.norms[0].mean() > free.norms[0].mean()
    off = PoissonFit(model, observed.cut(model.region.geometry.disc(4.8, min_latitude=2.0))).run()
    weight = 1 / np.array([covariance[1, 1] for covariance in off.covariances])
    mean, error = weight @ off.norms[1] / weight.sum(), weight.sum() ** -0.5
    assert abs(mean - 1) < 2 * error


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageModel.build(observation(), {}), "emissions: must hold at least one component"),
        (
            lambda: ImageModel.build(observation(event_type="a"), {"iso": {"b": ISOTROPIC}}),
            r"emissions: 'iso' must hold event type 'a', has \['b'\]",
        ),
        (
            lambda: ImageModel.build(observation(), {"iso": ISOTROPIC}).without("dm"),
            "template: must be one of iso, got 'dm'",
        ),
        (
            lambda: PoissonFit(ImageModel.build(observation(), {"iso": ISOTROPIC}), observation(exposure=2e11)),
            "observation: exposure must be the model's within 2 %, is 2 to 2",
        ),
        (
            lambda: PoissonFit(
                ImageModel.build(observation(), {"iso": ISOTROPIC}), ObservationSet((observation(), observation()))
            ),
            "observation: must hold 1 event types as the model does, holds 2",
        ),
        (
            lambda: PoissonFit(
                ImageModel.build(observation().cut(GEOMETRY.disc(1.0)), {"iso": ISOTROPIC}), observation()
            ),
            "region: must be part of the region known here",
        ),
    ],
)
def test_guards_name_argument_rule_and_value(make, message):
    with pytest.raises(InputError, match=message):
        make()

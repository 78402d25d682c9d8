"""Template fits of images against the general Poisson fit, a numerical optimiser, and truth in repeated images."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize

from gcesbi.baselines import PoissonFit, poisson_log_likelihood
from gcesbi.baselines.poisson.halo_slope import Halos, fit_slope, halos_of_images, halos_of_model
from gcesbi.errors import InputError
from gcesbi.simulation.image_settings import CROSS_SECTIONS
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.sky.observation import Observation, ObservationSet

SMALL = {"shape": (24, 24), "pixel_size": 0.5}
SLOPES = (0.9, 1.0, 1.1, 1.2, 1.3)


@dataclass(frozen=True, eq=False)
class Known:
    model: ImageSkyModel
    simulator: ImageSimulator
    halos: Halos
    reference: float


@lru_cache
def sky(**settings):
    model = ImageSkyModel.preset(**(SMALL | dict(settings)))
    halos, reference = halos_of_model(model)
    return Known(model, ImageSimulator(model), halos, reference)


def image(known, theta, seed):
    return known.simulator.observe(np.array(theta), seed=seed)[0]


def fitted(known, seen, gammas=SLOPES):
    return fit_slope(seen.counts, known.model.background_templates, known.halos, known.reference, gammas)


@lru_cache
def halo_spline(known):
    """Halos of one band (n_pix,) by slope, within 1e-5 of those computed for it."""
    nodes = np.linspace(1.02, 1.18, 9)
    return CubicSpline(nodes, np.log(known.halos(nodes)[:, 0]))


def log_likelihood(known, seen, gamma, norms):
    """Of one band: norms of interstellar emission, isotropic emission and excess."""
    templates = np.concatenate([known.model.background_templates[:, 0], np.exp(halo_spline(known)(gamma))[None]])
    return poisson_log_likelihood(seen.counts[0], np.asarray(norms) @ templates)


def test_each_slope_is_a_poisson_fit():
    known = sky()
    seen = image(known, [0.3, 0.0], 1)
    found = fitted(known, seen)
    at = int(np.argmin(np.abs(found.gammas - 1.1)))
    fit = PoissonFit(known.model.image_model(1.1), seen).run()
    assert found.log_likelihoods[at] == pytest.approx(fit.log_likelihood, abs=1e-6)
    assert found.test_statistics[at] == pytest.approx(fit.test_statistic("gce"), abs=1e-5)
    assert found.cross_sections[at] / 45.59e-27 == pytest.approx(fit.norms[-1], rel=1e-6)


def test_the_best_slope_and_both_errors_are_those_of_the_joint_likelihood():
    """Against Nelder & Mead's simplex, and the inverse of second differences of ln L in all four parameters."""
    known = sky()
    seen = image(known, [0.0, 0.0], 2)
    found = fitted(known, seen)

    def lost(x):
        return -log_likelihood(known, seen, x[0], x[1:]) if np.all(x[1:] >= 0) else np.inf

    start = np.array([1.1, 1.0, 1.0, 1.0])
    best = minimize(lost, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9, "maxfev": 4000})
    step = np.diag([2e-3, 2e-3, 5e-2, 1e-2])
    hessian = [
        [
            sum(i * j * lost(best.x + i * a + j * b) for i in (-1, 1) for j in (-1, 1)) / (4 * a.max() * b.max())
            for b in step
        ]
        for a in step
    ]
    errors = np.sqrt(np.diag(np.linalg.inv(hessian)))
    assert found.gamma == pytest.approx(best.x[0], abs=0.05 * found.gamma_error)
    assert found.cross_section / 45.59e-27 == pytest.approx(best.x[3], abs=0.05 * errors[3])
    assert found.gamma_error == pytest.approx(errors[0], rel=0.05)
    assert found.cross_section_error / 45.59e-27 == pytest.approx(errors[3], rel=0.05)


def test_in_smooth_images_truth_lies_within_the_errors():
    known, pulls = sky(), []
    for seed in range(40):
        found = fitted(known, image(known, [0.0, 0.0], 100 + seed))
        pulls.append(
            [
                (found.gamma - 1.1) / found.gamma_error,
                (found.cross_section - 45.59e-27) / found.cross_section_error,
            ]
        )
    mean, spread = np.mean(pulls, axis=0), np.var(pulls, axis=0, ddof=1)
    np.testing.assert_array_less(np.abs(mean), 4 / np.sqrt(40))  # k = 4
    np.testing.assert_array_less(np.abs(spread - 1), 4 * np.sqrt(2 / 39))


def test_sources_scatter_the_fit_beyond_its_errors():
    known = sky()
    pulls = [
        ((found := fitted(known, image(known, [1.0, 1.0], 200 + seed))).gamma - 1.1) / found.gamma_error
        for seed in range(10)
    ]
    assert np.mean(np.square(pulls)) > 1 + 4 * np.sqrt(2 / 10)


def test_energy_bins_share_the_cross_section_but_not_the_background():
    known = sky(energy_edges=(1.0, 2.0, 6.0))
    seen, model = image(known, [0.0, 0.0], 3), known.model
    wrong = model.background_templates * np.array([1.25, 0.8])[:, None]  # undone by norms of 0.8 and 1.25
    right, same = fitted(known, seen), fit_slope(seen.counts, wrong, known.halos, known.reference, SLOPES)
    np.testing.assert_allclose(same.log_likelihoods, right.log_likelihoods, atol=1e-6)
    halo = known.halos(np.array([1.1]))[0]

    def lost(x):
        mean = np.einsum("je,jep->ep", x[:4].reshape(2, 2), model.background_templates) + x[4] * halo
        return -poisson_log_likelihood(seen.counts, np.maximum(mean, 1e-12))

    best = minimize(lost, np.ones(5), method="L-BFGS-B", bounds=[(0, None)] * 5, options={"ftol": 1e-13})
    at = int(np.argmin(np.abs(right.gammas - 1.1)))
    assert right.log_likelihoods[at] == pytest.approx(-best.fun, abs=1e-3)
    assert right.cross_sections[at] / 45.59e-27 == pytest.approx(best.x[4], rel=1e-3)


def test_the_test_statistic_is_the_largest_of_the_profile():
    known = sky()
    found = fitted(known, image(known, [0.0, 0.0], 4))
    assert found.test_statistic >= found.test_statistics.max() - 1e-9
    assert found.test_statistic == pytest.approx(found.test_statistics.max(), abs=1.0)
    near = np.sort(np.abs(found.gammas - found.gamma))[:3]
    assert near.max() < 0.021  # slopes are added about the best


def test_a_slope_beyond_those_fitted_is_told():
    known = sky(gamma=(1.35, 1.4))
    found = fitted(known, image(known, [0.0, 0.0, 1.38], 5), (0.9, 1.0, 1.1, 1.2))
    assert found.at_edge
    assert found.gamma == pytest.approx(1.2)
    assert np.isnan(found.gamma_error)
    assert np.isnan(found.cross_section_error)


def test_halos_reach_beyond_the_prior_and_follow_the_interstellar_models_cross_section():
    known, other = sky(), sky(interstellar="lorimer-4-150")
    np.testing.assert_allclose(known.halos(np.array([1.1]))[0], known.model.halo_templates[0], rtol=1e-12)
    assert (known.reference, other.reference) == (45.59e-27, 39.32e-27)
    ratio = other.halos(np.array([0.9])) / known.halos(np.array([0.9]))
    np.testing.assert_allclose(ratio, CROSS_SECTIONS["lorimer-4-150"] / CROSS_SECTIONS["snr-10-150"], rtol=1e-10)


def test_event_types_are_fitted_together():
    known = sky()
    seen = image(known, [0.0, 0.0], 6)
    half = Observation(
        seen.counts, seen.exposure / 2, seen.energy_edges, seen.region, known.model.psf, event_type="HALF"
    )
    halos, reference = halos_of_images(ObservationSet((seen, half)), known.model.settings.halo)
    counts = halos(np.array([1.1, 1.2]))
    assert reference == 45.59e-27
    assert counts.shape == (2, 1, 2 * seen.region.n_pix)
    own = known.halos(np.array([1.1, 1.2]))
    np.testing.assert_allclose(counts, np.concatenate([own, own / 2], axis=-1), rtol=1e-10)


@pytest.mark.parametrize(
    ("gammas", "background", "message"),
    [
        ((1.0, 1.1, 1.2), None, r"gammas: must be at least four, ascending, got \[1.0, 1.1, 1.2\]"),
        ((1.0, 1.2, 1.1, 1.3), None, "gammas: must be at least four, ascending"),
        (SLOPES, np.ones((1, 1, 5)), r"background: must have shape \(n_background, 1, 576\), got \(1, 1, 5\)"),
        (SLOPES, np.ones((2, 1, 576)), "templates: .* linearly dependent"),
    ],
)
def test_guards_name_argument_rule_and_value(gammas, background, message):
    known = sky()
    templates = known.model.background_templates if background is None else background
    with pytest.raises(InputError, match=message):
        fit_slope(np.ones((1, 576), dtype=int), templates, known.halos, known.reference, gammas)

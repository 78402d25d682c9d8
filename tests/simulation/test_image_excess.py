"""The excess of images from first principles: its flux by integration of the halo, its sources by renewal theory."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.ndimage import uniform_filter

from gcesbi.errors import InputError
from gcesbi.simulation.image_settings import TRAINING, ImageSky, as_stored
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.simulations import Simulations

SMALL = {"shape": (24, 24), "pixel_size": 0.5}
CM_PER_KPC = 3.0857e21
DMFIT = {  # photons per ln E at 50 GeV into b quarks, by -log10 x, from DMFIT's table
    1.70: 7.294915,
    1.30: 3.951834,
    0.94: 1.282083,
    0.78: 0.5905186,
    0.66: 0.2903101,
}


@lru_cache
def images(alpha=(-1.7, 1.7), low=1e-12):
    return ImageSimulator(ImageSkyModel.preset(**SMALL, alpha=alpha, flux_low=low))


def density_squared(radius, gamma):
    """(GeV / cm³)², kpc: 0.4 GeV / cm³ at 8.5 kpc, scale radius 20 kpc."""

    def shape(r):
        return (r / 20) ** -gamma * (1 + r / 20) ** (gamma - 3)

    return (0.4 * shape(radius) / shape(8.5)) ** 2


def light_of_sphere(gamma, low, high, cone):
    """∫ ρ² / d² dV, GeV² / cm⁵, over shells low < r < high (kpc), r < 8.5, seen within `cone` (radians).

    A point at r and at the angle θ about the centre lies d = (r² + R² - 2 r R cos θ)^½ away. The mean of 1 / d² over a
    whole shell is ln[(R + r) / (R - r)] / (2 r R); a shell with r < R sin(cone) lies within the cone.
    """
    assert high <= 8.5 * np.sin(cone)

    def shell(log_r):
        r = np.exp(log_r)
        return 4 * np.pi * r**3 * density_squared(r, gamma) * np.log((8.5 + r) / (8.5 - r)) / (2 * r * 8.5)

    return quad(shell, np.log(low), np.log(high), epsabs=0)[0] * CM_PER_KPC


def light_outside(gamma, inner, cone):
    """The same over r > inner within the cone, line of sight by line of sight."""

    def line(psi):
        def squared(s):
            r = np.sqrt(s**2 + 8.5**2 - 17 * s * np.cos(psi))
            return density_squared(max(r, inner), gamma) * (r > inner)

        middle = 8.5 * np.cos(psi)
        half = np.sqrt(max(inner**2 - (8.5 * np.sin(psi)) ** 2, 0))
        pieces = [(0, middle - half - 1), (middle - half - 1, middle - half), (middle + half, middle + half + 1)]
        pieces.append((middle + half + 1, 500))
        return 2 * np.pi * np.sin(psi) * sum(quad(squared, *ends, epsabs=0, limit=200)[0] for ends in pieces)

    edge = np.arcsin(inner / 8.5)
    return sum(quad(line, *ends, epsabs=0, epsrel=1e-6)[0] for ends in ((0, edge), (edge, cone))) * CM_PER_KPC


@pytest.mark.parametrize("gamma", [1.0, 1.1, 1.3])
def test_the_flux_is_that_of_the_halos_volume(gamma):
    """<σv> / (8π m²) × photons × ∫ρ²/d² dV, over the volume where the library integrates over angles."""
    cone = np.radians(12.0)
    inner = 8.5 * np.sin(cone) / 2
    j = light_of_sphere(gamma, 1e-12, inner, cone) + light_outside(gamma, inner, cone)
    yields = CubicSpline(-np.array(list(DMFIT)), np.log(list(DMFIT.values())))
    photons = quad(lambda e: np.exp(yields(np.log10(e / 50))) / e, 1.0, 6.0)[0]
    sky = images().model.settings
    expected = 45.59e-27 / (8 * np.pi * 50**2) * photons * j
    assert sky.halo(gamma).flux([1.0, 6.0], 12.0)[0] == pytest.approx(expected, rel=0.02)  # the yields' own precision
    assert sky.halo(gamma).halo.j_disc(12.0) == pytest.approx(j, rel=1e-3)


@pytest.mark.parametrize("alpha", [-1.7, -1.05, -1.0, 0.0, 1.05, 1.7])
def test_sources_are_as_many_as_renewal_theory_says(alpha):
    """Fluxes of mean m and second moment q fill a target F by N = F / m + q / (2 m²) - 1 of them on average."""
    simulator, n = images(), 40
    first, second = (moment(alpha, k) / moment(alpha, 0) for k in (1, 2))
    target = 0.8 * simulator.model.disc_flux.sum() / 1e-9
    rng = np.random.default_rng(1)
    number = [len(simulator.draw_sources(0.8, alpha, 1.1, rng).flux) for _ in range(n)]
    expected = target / first + second / (2 * first**2) - 1
    error = np.sqrt(target * (second - first**2) / first**3 / n)
    assert np.mean(number) == pytest.approx(expected, abs=4 * error)  # k = 4


def moment(alpha, k):
    """∫ x^(α + k) dx from 10⁻³ to 1."""
    t = alpha + k + 1
    return -np.log(1e-3) if abs(t) < 1e-12 else (1 - 1e-3**t) / t


@pytest.mark.parametrize("alpha", [-1.05, 0.4])
def test_source_counts_are_normalised_to_the_flux(alpha):
    """S² dN/dS = A S^(α + 2) with A from the total flux: the drawn flux in every bin of log S."""
    simulator, n, share = images(), 60, 0.7
    total = share * simulator.model.disc_flux.sum()
    edges = np.geomspace(1e-12, 1e-9, 7)
    rng = np.random.default_rng(2)
    drawn = [simulator.draw_sources(share, alpha, 1.1, rng).flux for _ in range(n)]
    found = np.array([np.histogram(flux, edges, weights=flux)[0] for flux in drawn])
    norm = total * (alpha + 2) / (1e-9 ** (alpha + 2) - 1e-12 ** (alpha + 2))
    expected = norm * np.diff(edges ** (alpha + 2)) / (alpha + 2)
    error = np.sqrt(norm * np.diff(edges ** (alpha + 3)) / (alpha + 3) / n)
    lost = 1e-9  # less than one source is left out, the one that would exceed the target
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - expected), 4 * error + lost)  # k = 4


def test_the_flux_in_the_image_is_one_at_every_slope_unless_the_cross_section_is_held():
    held = ImageSkyModel.preset(**SMALL, gamma=(1.05, 1.15))
    fluxes = held.region_flux.sum(axis=1)
    np.testing.assert_allclose(fluxes, fluxes[0], rtol=1e-12)
    old = ImageSkyModel.preset(**SMALL, gamma=(1.05, 1.15), normalisation="cross-section")
    assert old.region_flux[-1].sum() > 1.2 * old.region_flux[0].sum()
    at = int(np.argmin(np.abs(held.gammas - 1.1)))
    np.testing.assert_array_equal(held.halo_templates[at], old.halo_templates[at])  # where the paper fitted <σv>
    assert held.excess(1.15).cross_section < 45.59e-27 < held.excess(1.05).cross_section
    assert {old.excess(gamma).cross_section for gamma in (1.05, 1.15)} == {45.59e-27}
    drawn = ImageSimulator(held).draw([[0.0, 0.0, gamma] for gamma in (1.05, 1.15)], np.random.default_rng(1))
    assert drawn.flux[0, -1].sum() == pytest.approx(drawn.flux[1, -1].sum(), rel=1e-12)
    stated = ImageSkyModel.preset(**SMALL, flux=1e-7, mixed=("lorimer-4-150",))
    assert stated.region_flux.sum() == pytest.approx(1e-7)
    np.testing.assert_array_equal(stated.brightness, 1)


def test_settings_that_do_not_say_what_is_held_are_of_version_0_1():
    said = ImageSky(normalisation="cross-section").model_dump(mode="json")
    before = {name: value for name, value in said.items() if name not in ("normalisation", "flux")}
    assert as_stored(before) == before | {"normalisation": "cross-section"}
    assert ImageSky(**as_stored(before)).law() == {name: before[name] for name in ImageSky(**said).law()}
    now = ImageSky().model_dump(mode="json")
    assert as_stored(now) == now
    assert as_stored({"kind": "folder"}) == {"kind": "folder"}


@pytest.mark.parametrize("beside", [{"cross_section": 1e-26}, {"normalisation": "cross-section"}])
def test_one_thing_sets_the_brightness(beside):
    with pytest.raises(InputError, match="flux: must alone set the brightness of the excess, got 1e-07 beside <σv>"):
        ImageSkyModel.preset(**SMALL, flux=1e-7, **beside)


def ring_moments(counts, mean):
    """First to fourth moments, in six rings, of √counts less their mean and that of the 5 x 5 pixels around."""
    rows, columns = np.indices((32, 32)) - 15.5
    away = np.hypot(rows, columns)
    deviation = np.sqrt(counts.reshape(-1, 32, 32) + 0.375) - mean
    contrast = deviation - uniform_filter(deviation, (0, 5, 5))
    edges = (0, 1.5, 3, 5, 8, 12, 30)
    rings = [contrast[:, (away >= low) & (away < high)] for low, high in pairwise(edges)]
    return np.stack([(ring**k).mean(axis=1) for ring in rings for k in range(1, 5)], axis=1)


@pytest.mark.slow  # quick: baselines/test_halo_slope.py
def test_a_steeper_halo_of_the_same_flux_looks_smoother():
    """Fig. 9's sign, learnt at γ = 1.1: a steeper halo seems to have fewer sources, a shallower one more."""
    wide = {"shape": (32, 32), "pixel_size": 0.75}
    known = [ImageSimulator(ImageSkyModel.preset(**wide, interstellar=name)) for name in TRAINING]
    learnt = Simulations.concatenate([each.sample(512, seed=k) for k, each in enumerate(known)])
    mean = np.sqrt(learnt.counts.reshape(-1, 32, 32) + 0.375).mean(axis=0)
    moments, truth = ring_moments(learnt.counts, mean), learnt.theta[:, 0]
    centre, scale = moments.mean(axis=0), moments.std(axis=0)
    terms = (moments - centre) / scale
    weights = np.linalg.solve(terms.T @ terms + 0.01 * len(terms) * np.eye(24), terms.T @ (truth - truth.mean()))

    def mean_error(gamma):
        sky = {"gamma": (gamma, gamma), "f_src": (0.6, 1.0)}
        seen = ImageSimulator(ImageSkyModel.preset(**wide, **sky, interstellar="lorimer-10-150")).sample(150, seed=9)
        found = (ring_moments(seen.counts, mean) - centre) / scale @ weights + truth.mean()
        return (found - seen.theta[:, 0]).mean()

    scatter = np.hypot(0.11, 0.11) / np.sqrt(150)
    at_learnt = mean_error(1.1)
    assert mean_error(1.2) < at_learnt - 4 * scatter  # k = 4
    assert mean_error(1.0) > at_learnt + 4 * scatter

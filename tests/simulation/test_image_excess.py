"""The excess of images from first principles: its flux by integration of the halo, its sources by renewal theory."""

from functools import lru_cache

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel

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

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RectBivariateSpline
from scipy.special import j0, jn_zeros

from gcesbi.errors import InputError
from gcesbi.physics.templates.cosmic_rays import (
    HALO_RADIUS,
    SOURCES,
    CosmicRays,
    HaloTable,
    source_density,
)


@pytest.mark.parametrize("sources", SOURCES)
def test_source_peak(sources):
    alpha, beta = SOURCES[sources]
    radius = np.linspace(0.01, 20, 20001)
    density = source_density(sources, radius, 8.5)
    assert radius[density.argmax()] == pytest.approx(8.5 * alpha / beta, abs=2e-3)
    assert source_density(sources, np.array([8.5]), 8.5)[0] == 1


@pytest.mark.parametrize("loss", [np.inf, 2.0])
def test_solves_the_diffusion_equation(loss):
    # away from the plane ∇²n = n / λ²: finite differences
    rays, h = CosmicRays("snr", 4.0, loss), 0.02
    radius, height = np.array([3.0, 6.0, 12.0]), np.array([0.8, 2.0])
    n = rays.density(radius, height)
    up, down = rays.density(radius, height + h), rays.density(radius, height - h)
    out, inward = rays.density(radius + h, height), rays.density(radius - h, height)
    laplace = (up + down + out + inward - 4 * n) / h**2 + (out - inward) / (2 * h) / radius[:, None]
    np.testing.assert_allclose(laplace, n / loss**2, atol=2e-4 * n.max() / h)


@pytest.mark.parametrize("sources", SOURCES)
def test_flux_out_of_the_plane_is_the_source(sources):
    # -dn/dz at z = 0+ is Q/2
    rays, h, radius = CosmicRays(sources, 6.0), 1e-4, np.linspace(1.0, 15, 8)
    n = rays.density(radius, np.array([0.0, h]))
    slope = (n[:, 0] - n[:, 1]) / h
    np.testing.assert_allclose(slope, source_density(sources, radius, 8.5) / 2, rtol=0.02, atol=0.01)


def test_boundaries_and_outside():
    rays = CosmicRays("lorimer", 4.0)
    at = rays.density(np.array([8.5, HALO_RADIUS, 25.0]), np.array([0.0, 4.0, 5.0]))
    assert at[0, 0] > 0
    np.testing.assert_array_equal(at[1:], 0)
    np.testing.assert_array_equal(at[:, 1:], 0)


def test_one_mode_by_hand(monkeypatch):
    # a source J_0(k_1 R) gives one term of the series
    monkeypatch.setattr(
        "gcesbi.physics.templates.cosmic_rays.source_density",
        lambda sources, radius, r_sun: j0(jn_zeros(0, 1)[0] * radius / HALO_RADIUS),
    )
    k = jn_zeros(0, 1)[0] / HALO_RADIUS
    found = CosmicRays("snr", 5.0).density(np.array([2.0]), np.array([1.5]))[0, 0]
    expected = j0(k * 2) * np.sinh(k * 3.5) / (2 * k * np.cosh(k * 5))
    assert found == pytest.approx(expected, rel=1e-9)


@given(height=st.floats(0.5, 20), loss=st.floats(0.3, 10))
@settings(deadline=None, max_examples=15)
def test_falls_with_height_and_losses(height, loss):
    radius, z = np.array([2.0, 8.5, 14.0]), np.linspace(0, height, 12)
    free, lossy = CosmicRays("snr", height).density(radius, z), CosmicRays("snr", height, loss).density(radius, z)
    assert np.all(np.diff(free, axis=1) < 1e-9)
    assert np.all(lossy <= free + 1e-9)
    assert np.all(lossy >= 0)


def test_table_agrees_with_the_series():
    rays = CosmicRays("snr", 4.0, 1.3)
    table = HaloTable(rays.density(*HaloTable.grid(4.0)), 4.0)
    rng = np.random.default_rng(0)
    radius, height = np.sort(rng.uniform(0, 20, 40)), np.sort(rng.uniform(0, 4, 30))
    exact = rays.density(radius, height)
    found = table(*np.meshgrid(radius, height, indexing="ij"))
    np.testing.assert_allclose(found, exact, atol=2e-4 * exact.max())
    assert table(np.array([21.0, 1.0]), np.array([0.0, 4.1])).tolist() == [0, 0]


def test_table_is_scipys_spline():
    rng = np.random.default_rng(0)
    x, y = HaloTable.grid(5.0)
    values = 3 + rng.normal(size=(len(x), len(y)))
    table, spline = HaloTable(values, 5.0), RectBivariateSpline(x, np.sqrt(y), values, s=0)
    radius, height = rng.uniform(0, 20, (4, 500)), rng.uniform(0, 5, (4, 500))
    expected = np.maximum(spline.ev(radius, np.sqrt(height)), 0)
    np.testing.assert_allclose(table(radius, height), expected, rtol=1e-10, atol=1e-10)
    nodes = np.meshgrid(x[:-1], y[:-1], indexing="ij")
    np.testing.assert_allclose(table(*nodes), np.maximum(values[:-1, :-1], 0), rtol=1e-10, atol=1e-10)


def test_guards():
    with pytest.raises(InputError, match=r"sources: must be one of 'snr', 'lorimer', got 'ob'"):
        CosmicRays("ob")
    with pytest.raises(InputError, match="halo_height: must be positive"):
        CosmicRays(halo_height=0.0)
    with pytest.raises(InputError, match=r"loss_length: must be positive \(kpc\), got nan"):
        CosmicRays(loss_length=np.nan)
    with pytest.raises(InputError, match="r_sun: must be positive"):
        CosmicRays(r_sun=-1.0)
    with pytest.raises(InputError, match=r"r_sun: must lie within the halo of 20.0 kpc, got 25"):
        CosmicRays(r_sun=25.0)

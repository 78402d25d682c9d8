"""Tabulated functions against King's closed form; smoothing and source light against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.errors import InputError
from gcesbi.physics.image_psf import ImageSmoother, PsfTable, TabulatedPSF, power_law_mean, source_image
from gcesbi.physics.psf import PSF
from gcesbi.sky.image import ImageGeometry, angular_distance

KING = PSF.king(f_core=0.75, s_core=0.43, g_core=7.8, s_tail=0.72, g_tail=3.6, scale=0.0046)
GEOMETRY = ImageGeometry((30, 30), 0.1)
THETA = 5 * np.linspace(0, 1, 400) ** 2


def brute_force(geometry, psf, glon, glat, n):
    """Shares in every pixel from n × n midpoints of each."""
    fine = geometry.refined(n)
    light = psf.density(angular_distance(*fine.glon_glat(), (glon, glat))) * fine.solid_angle
    return light.reshape(geometry.shape[0], n, geometry.shape[1], n).sum(axis=(1, 3))


def test_table_of_a_king_function_has_its_containment():
    table = TabulatedPSF(THETA, KING.density(THETA))
    theta = np.array([0.05, 0.1, 0.3, 1.0, 3.0])
    np.testing.assert_allclose(table.containment(theta), KING.containment(theta), atol=1e-4)
    np.testing.assert_allclose(
        table.containment_radius([0.1, 0.68, 0.95]), KING.containment_radius([0.1, 0.68, 0.95]), rtol=1e-3
    )
    assert table.density(5.1) == 0


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0.0, 10.0), min_size=3, max_size=6), st.floats(0.0, 1.0))
def test_containment_radius_inverts_containment(values, level):
    values[0] += 1.0
    table = TabulatedPSF(np.linspace(0, 3, len(values)), np.array(values))
    assert table.containment(table.containment_radius(level)) == pytest.approx(level, abs=1e-9)


def test_source_light_matches_brute_force():
    image = source_image(GEOMETRY, KING, 0.033, 0.41, 2.0)
    np.testing.assert_allclose(image, 2 * brute_force(GEOMETRY, KING, 0.033, 0.41, 25), rtol=2e-3)


def test_source_light_is_conserved_wherever_the_source_lies():
    wide = ImageGeometry((110, 110), 0.1)
    for glon, glat in [(0.0, 0.0), (0.05, 0.05), (0.02, -0.049)]:
        assert source_image(wide, KING, glon, glat, 1.0).sum() == pytest.approx(1, abs=3e-5)


def test_sources_outside_leak_in():
    inside = source_image(GEOMETRY, KING, 1.6, 0.0, 1.0).sum()
    beyond = 1.6 - 1.5
    assert 0 < inside < (1 - KING.containment(beyond))
    fine = brute_force(GEOMETRY, KING, 1.6, 0.0, 9)
    assert inside == pytest.approx(fine.sum(), rel=1e-3)


def test_smoothing_is_the_mean_of_source_images():
    smoother = ImageSmoother(GEOMETRY, KING, margin=3)
    light = np.zeros(smoother.source.shape)
    light[20, 1] = 1.0
    n = 12
    offsets = 0.1 * ((np.arange(n) + 0.5) / n - 0.5)
    glon, glat = np.meshgrid(smoother.source.native_lon[1] + offsets, smoother.source.native_lat[20] + offsets)
    expected = source_image(GEOMETRY, KING, glon.ravel(), glat.ravel(), np.full(n * n, 1 / n**2))
    np.testing.assert_allclose(smoother(light), expected, atol=6e-4 * expected.max())


def test_smoothing_is_exact_on_the_sphere_at_high_latitude():
    high = ImageGeometry((20, 40), 0.5, (0.0, 0.0), (19.5, -130.0))  # latitudes from 65 degrees
    broad = PSF.king(f_core=1.0, s_core=1.0, g_core=3.0, s_tail=1.0, g_tail=3.0, scale=0.02)
    smoother = ImageSmoother(high, broad, margin=0)
    light = np.zeros(high.shape)
    light[10, 20] = 1.0
    glon, glat = high.glon_glat()
    at = 10 * 40 + 20
    distance = angular_distance(glon, glat, (glon[at], glat[at])).reshape(high.shape)
    expected = broad.density(distance) * high.row_solid_angle[:, None]
    ring = (distance > 2) & (distance < 4.5)  # a pixel's own size matters nearer, the function's end further out
    np.testing.assert_allclose(smoother(light)[ring], expected[ring], rtol=0.03)
    assert smoother(light)[10, 15] > 2 * smoother(light)[5, 20]  # five columns are 2.5° · cos 70° away, five rows 2.5°


def test_smoothing_leaves_uniform_light_uniform():
    smoother = ImageSmoother(GEOMETRY, KING)
    light = np.ones(smoother.source.shape) * smoother.source.row_solid_angle[:, None]
    np.testing.assert_allclose(smoother(light) / GEOMETRY.row_solid_angle[:, None], 1.0, rtol=1.1e-3)


def test_smoothing_takes_stacks():
    smoother = ImageSmoother(GEOMETRY, KING)
    light = np.random.default_rng(1).random((2, 3, *smoother.source.shape))
    stacked = smoother(light)
    assert stacked.shape == (2, 3, 30, 30)
    np.testing.assert_allclose(stacked[1, 2], smoother(light[1, 2]), rtol=1e-12)


def table(n_theta=400):
    energy = np.array([1.0, 2.0, 4.0])
    theta = 5 * np.linspace(0, 1, n_theta) ** 2
    values = np.stack([PSF.king(1.0, 1.0, 5.0, 1.0, 5.0, 0.01 / e).density(theta) for e in energy])
    return PsfTable(energy, np.array([1e11, 2e11, 4e11]), theta, values)


def test_bin_means_lie_between_the_table_rows():
    means = table()
    broad, narrow = means.mean(1.0, 1.01), means.mean(3.99, 4.0)
    radius = means.mean(1.0, 4.0).containment_radius(0.68)
    assert narrow.containment_radius(0.68) < radius < broad.containment_radius(0.68)
    assert means.mean_exposure(1.0, 4.0, index=1.0) == pytest.approx(1e11 * 3 / np.log(4), rel=1e-3)  # exposure ∝ E
    assert means.mean_exposure(1.0, 4.0, 4.0) < means.mean_exposure(1.0, 4.0, 1.0)


@pytest.mark.parametrize("index", [0.5, 1.0, 2.7])
def test_power_laws_are_integrated_exactly(index):
    energy = np.array([1.0, 2.5, 3.0, 9.0])
    got = power_law_mean(energy, energy[:, None] ** -index * [1.0, 2.0], 1.3, 8.0)
    exact = np.log(8 / 1.3) if index == 1 else (8.0 ** (1 - index) - 1.3 ** (1 - index)) / (1 - index)
    np.testing.assert_allclose(got, [exact, 2 * exact], rtol=1e-10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TabulatedPSF(np.array([0.0]), np.array([1.0])), "theta, values: must be of one length, at least 2"),
        (lambda: TabulatedPSF(np.array([0.1, 1.0]), np.ones(2)), "theta: must ascend from 0 to 180 degrees"),
        (lambda: TabulatedPSF(np.array([0.0, 1.0]), np.array([1.0, -1.0])), "values: must be finite and not negative"),
        (lambda: TabulatedPSF(np.array([0.0, 1.0]), np.ones(2)).containment_radius(1.5), "level: must lie in"),
        (lambda: table().mean(0.5, 2.0), "energies: must ascend within the table's 1 to 4 GeV, got 0.5 to 2"),
        (lambda: table().mean(3.0, 2.0), "energies: must ascend within"),
        (
            lambda: PsfTable(np.array([2.0, 1.0]), np.ones(2), THETA, np.ones((2, 400))),
            "energy: must ascend from above 0",
        ),
        (
            lambda: PsfTable(np.array([1.0, 2.0]), np.zeros(2), THETA, np.ones((2, 400))),
            "exposure: must be above 0 at each of 2 energies",
        ),
        (
            lambda: PsfTable(np.array([1.0, 2.0]), np.ones(2), THETA, np.ones((2, 3))),
            r"values: must have shape \(n_energy, n_theta\) = \(2, 400\)",
        ),
        (lambda: power_law_mean(np.array([1.0, 2.0]), np.ones(2), 0.5, 1.5), "energies: must cover 0.5 to 1.5 GeV"),
        (lambda: power_law_mean(np.array([1.0, 2.0]), np.zeros(2), 1.0, 1.5), "values: must be above zero"),
        (lambda: ImageSmoother(GEOMETRY, KING, 1)(np.ones((30, 30))), r"light: must end in shape \(32, 32\)"),
    ],
)
def test_guards_name_argument_rule_and_value(make, message):
    with pytest.raises(InputError, match=message):
        make()

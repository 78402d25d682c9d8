"""Image geometry against astropy's WCS; regions and observations against their rules."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.errors import InputError
from gcesbi.physics.image_psf import TabulatedPSF
from gcesbi.sky.image import ImageGeometry, ImageRegion, angular_distance
from gcesbi.sky.observation import Observation, ObservationSet

GEOMETRY = ImageGeometry((12, 16), 0.5)
PSF = TabulatedPSF(np.array([0.0, 0.2, 2.0]), np.array([3.0, 1.0, 0.0]))


def wcs_of(geometry: ImageGeometry) -> WCS:
    x, y = geometry.reference_pixel
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["GLON-CAR", "GLAT-CAR"], geometry.reference
    wcs.wcs.cdelt, wcs.wcs.crpix = [-geometry.pixel_size, geometry.pixel_size], [x + 1, y + 1]
    return wcs


@pytest.mark.parametrize(
    ("reference", "pixel"), [((0, 0), None), ((0, 0), (39.5, 40.0)), ((30, 12), None), ((350, -8), (3.0, 70.0))]
)
def test_pixels_are_those_of_astropy(reference, pixel):
    geometry = ImageGeometry((80, 60), 0.3, reference, pixel)
    x, y = np.meshgrid(np.arange(60), np.arange(80))
    glon, glat = wcs_of(geometry).wcs_pix2world(x.ravel(), y.ravel(), 0)
    ours = geometry.glon_glat()
    np.testing.assert_allclose(np.mod(ours[0] - glon + 180, 360) - 180, 0, atol=1e-10)
    np.testing.assert_allclose(ours[1], glat, atol=1e-10)
    np.testing.assert_array_equal(geometry.index(*ours), np.arange(geometry.n_pix))


def turned(lon, lat, angle):
    """Longitude and latitude after a turn that lifts the direction (0, 0) to latitude `angle`; degrees."""
    phi, theta, tilt = np.radians(lon), np.radians(lat), np.radians(angle)
    x, y, z = np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), np.sin(theta)
    ahead, up = np.cos(tilt) * x - np.sin(tilt) * z, np.sin(tilt) * x + np.cos(tilt) * z
    return np.degrees(np.arctan2(y, ahead)), np.degrees(np.arcsin(np.clip(up, -1, 1)))


@pytest.mark.parametrize("reference", [(0.0, 0.0), (30.0, 12.0), (350.0, -8.0), (-170.0, 60.0)])
def test_native_sphere_is_the_galactic_one_turned(reference):
    geometry = ImageGeometry((80, 60), 0.3, reference)
    lon, lat = np.random.default_rng(3).uniform([[-179], [-80]], [[179], [80]], (2, 500))
    glon, glat = turned(lon, lat, reference[1])
    ours = geometry.to_galactic(lon, lat)
    np.testing.assert_allclose(np.mod(ours[0] - glon - reference[0] + 180, 360) - 180, 0, atol=1e-9)
    np.testing.assert_allclose(ours[1], glat, atol=1e-9)
    np.testing.assert_allclose(geometry.to_native(*ours), (lon, lat), atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.floats(-179, 179), st.floats(-60, 60), st.floats(-15, 15), st.floats(-15, 15))
def test_native_and_galactic_coordinates_are_inverse(glon0, glat0, lon, lat):
    geometry = ImageGeometry((80, 80), 0.25, (glon0, glat0))
    glon, glat = geometry.to_galactic(lon, lat)
    assert -180 < glon <= 180
    np.testing.assert_allclose(geometry.to_native(glon, glat), (lon, lat), atol=1e-9)
    assert angular_distance(glon, glat, (glon0, glat0)) == pytest.approx(
        float(angular_distance(lon, lat, (0.0, 0.0))), abs=1e-9
    )


def test_solid_angles_fill_a_sphere_and_a_small_square():
    assert ImageGeometry((180, 360), 1.0).solid_angle.sum() == pytest.approx(4 * np.pi, rel=1e-12)
    small = ImageGeometry((4, 4), 0.1)
    np.testing.assert_allclose(small.solid_angle, np.radians(0.1) ** 2, rtol=1e-5)


def test_refined_and_padded_cover_the_same_sky():
    fine, wide = GEOMETRY.refined(3), GEOMETRY.padded(4)
    sums = fine.solid_angle.reshape(12, 3, 16, 3).sum(axis=(1, 3))
    np.testing.assert_allclose(sums.ravel(), GEOMETRY.solid_angle, rtol=1e-12)
    glon, glat = (v.reshape(20, 24)[4:-4, 4:-4].ravel() for v in wide.glon_glat())
    np.testing.assert_allclose((glon, glat), GEOMETRY.glon_glat(), atol=1e-12)


def test_padding_stops_at_the_poles():
    assert ImageGeometry((170, 350), 1.0).padded(30).shape == (180, 360)


def test_directions_outside_have_no_pixel():
    assert GEOMETRY.index(4.1, 0.0) == -1
    assert GEOMETRY.index(0.0, -3.1) == -1
    assert GEOMETRY.index(3.9, -2.9) == 0


def test_disc_keeps_middles_within_radius_band_and_mask():
    mask = np.zeros(GEOMETRY.shape, dtype=bool)
    mask[:, :8] = True
    region = GEOMETRY.disc(2.5, min_latitude=1.0, mask=mask)
    glon, glat = region.glon_glat()
    assert np.all(angular_distance(glon, glat, (0, 0)) < 2.5)
    assert np.all(np.abs(glat) > 1)
    assert np.all(glon < 0)
    assert region.solid_angle == pytest.approx(len(region) * np.radians(0.5) ** 2, rel=2e-3)


def test_region_takes_and_spreads_values():
    region = GEOMETRY.disc(2.0)
    image = np.arange(2 * GEOMETRY.n_pix, dtype=float).reshape(2, *GEOMETRY.shape)
    back = region.image(region.take(image))
    np.testing.assert_array_equal(region.take(back), region.take(image))
    assert np.isnan(back).sum() == 2 * (GEOMETRY.n_pix - region.n_pix)


def observation(event_type="", **changes):
    region = GEOMETRY.disc(2.0)
    values = {
        "counts": np.ones((2, region.n_pix)),
        "exposure": np.ones((2, region.n_pix)),
        "energy_edges": np.array([1.0, 2.0, 4.0]),
        "region": region,
        "psf": (PSF, PSF),
        "event_type": event_type,
    }
    return Observation(**(values | changes))


def test_sets_put_pixels_of_one_part_after_another():
    first, second = observation("a"), observation("b", counts=2 * np.ones((2, GEOMETRY.disc(2.0).n_pix)))
    both = ObservationSet((first, second))
    assert both.counts.shape == both.exposure.shape == (2, 2 * first.region.n_pix)
    np.testing.assert_array_equal(both.counts[:, first.region.n_pix :], second.counts)
    assert both.n_energy == 2


def test_cut_keeps_what_was_seen():
    counts = np.arange(2 * GEOMETRY.disc(2.0).n_pix).reshape(2, -1)
    seen = observation(counts=counts)
    cut = seen.cut(GEOMETRY.disc(1.0))
    whole = seen.region.image(seen.counts)
    np.testing.assert_array_equal(cut.counts, cut.region.take(whole))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageGeometry((0, 3), 0.1), r"shape: must be two whole numbers above 0.*\(0, 3\)"),
        (lambda: ImageGeometry((3, 3), -0.1), "pixel_size: must be above 0 degrees, got -0.1"),
        (lambda: ImageGeometry((3, 3), 0.1, (0, 95)), "reference: .*95"),
        (lambda: ImageGeometry((200, 3), 1.0), r"shape: must stay within \|latitude\| <= 90.*100"),
        (lambda: GEOMETRY.padded(-1), "margin: must not be negative, got -1"),
        (lambda: GEOMETRY.refined(0), "factor: must be at least 1, got 0"),
        (lambda: GEOMETRY.disc(0), "radius: must be above 0 degrees, got 0"),
        (lambda: GEOMETRY.disc(1, mask=np.ones((2, 2))), r"mask: must have the image's shape \(12, 16\)"),
        (lambda: GEOMETRY.disc(1, mask=np.ones((12, 16))), "region: no pixel is left"),
        (lambda: ImageRegion(GEOMETRY, np.array([3, 3])), "region: pixels must be ascending and distinct"),
        (lambda: ImageRegion(GEOMETRY, np.array([], dtype=int)), "region: must hold at least one pixel"),
        (lambda: ImageRegion(GEOMETRY, np.array([192])), r"region: pixels must lie in \[0, 192\)"),
        (lambda: GEOMETRY.whole().take(np.ones((3, 3))), r"image: must end in shape \(12, 16\)"),
        (lambda: GEOMETRY.whole().image(np.ones(3)), "values: must end in n_pix = 192"),
        (lambda: observation(counts=np.ones((2, 3))), r"counts: must have shape \(n_energy, n_pix\)"),
        (lambda: observation(psf=(PSF,)), "psf: needs one for each of 2 energy bins, got 1"),
        (lambda: observation().cut(GEOMETRY.whole()), "region: must be part of the region known here, has .* outside"),
        (lambda: observation().cut(ImageGeometry((3, 3), 0.5).whole()), "region: must have the geometry"),
        (lambda: ObservationSet(()), "parts: must hold at least one observation"),
        (
            lambda: ObservationSet((observation("a"), observation("b", energy_edges=np.array([1.0, 2.0, 5.0])))),
            "parts: 'b' must have the energy bins of 'a'",
        ),
        (
            lambda: ObservationSet((observation("a"), replace(observation("b").cut(GEOMETRY.disc(1.0))))),
            "parts: 'b' must have the region of 'a'",
        ),
    ],
)
def test_guards_name_argument_rule_and_value(make, message):
    with pytest.raises(InputError, match=message):
        make()

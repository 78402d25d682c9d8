"""Known sources as a component, and as a mask: counts against integrals of the PSF, norms, and pixels left out."""

import healpy as hp
import numpy as np
import pytest

from gcesbi import Catalogue, InputError, PointSources, SkyModel
from gcesbi.io import read_catalogue
from gcesbi.sky.region import in_disc

EXPOSURE = 1e11
DOTS = PointSources(name="dots", template="nfw", populations=[{"xi": (-13, -9), "flux": (0, 1e-7)}])


@pytest.fixture(scope="module")
def file(data_folder):
    return str(data_folder / "catalogs" / "gll_psc_v16.fit.gz")


def sky(file, norm=1.0, edges=(2.0, 5.0, 20.0), exposure=EXPOSURE, nside=32, **region):
    return SkyModel(
        [Catalogue(name="known", file=file, norm=norm), DOTS],
        region={"nside": nside, "radius": 15, "band": 0, **region},
        energy_edges=edges,
        exposure=exposure,
    )


@pytest.fixture(scope="module")
def fixed(file):
    return sky(file)


def test_a_fixed_catalogue_has_no_parameter_and_its_own_spectrum(fixed):
    assert not any(name.startswith("known") for name in fixed.prior().names)
    theta = fixed.prior().draw(2, np.random.default_rng(1))
    emission = fixed.emission(theta)
    counts = np.einsum("te,tep->ep", emission.norms[0], fixed.smooth_templates)
    catalogue = read_catalogue(fixed.composition.components[0].file)
    far = catalogue.within(25.0)
    flux = far.flux(fixed.energy_edges)
    within = catalogue.within(13.0).flux(fixed.energy_edges)
    total = counts.sum(axis=1) / EXPOSURE
    assert np.all(within.sum(axis=0) * 0.9 < total)
    assert np.all(total < flux.sum(axis=0))
    np.testing.assert_allclose(emission.norms[0], emission.norms[1])


def test_counts_are_integrals_of_the_psf(fixed):
    """Light of the brightest pixels' sources, by quadrature: PSF density on a fine grid of HEALPix pixels."""
    catalogue = read_catalogue(fixed.composition.components[0].file)
    flux = catalogue.flux(fixed.energy_edges)
    theta = fixed.prior().draw(1, np.random.default_rng(1))
    counts = np.einsum("te,tep->ep", fixed.emission(theta).norms[0], fixed.smooth_templates)
    expected = np.zeros_like(counts)
    fine = 512
    glon, glat, source, share = catalogue.points()
    near = np.flatnonzero(hp.rotator.angdist((glon, glat), (0.0, 0.0), lonlat=True) < np.radians(22))
    for e, psf in enumerate(fixed.psf):
        for place in near[flux[source[near], e] > 3e-4 * flux[:, e].max()]:
            at = hp.ang2vec(glon[place], glat[place], lonlat=True)
            pixels = hp.query_disc(fine, at, np.radians(psf.theta_max), nest=True)
            angle = np.degrees(np.arccos(np.clip(np.stack(hp.pix2vec(fine, pixels, nest=True), axis=1) @ at, -1, 1)))
            light = psf.density(angle)
            light /= light.sum()
            home = fixed.region.index[pixels // (fine // 32) ** 2]
            kept = home >= 0
            np.add.at(expected[e], home[kept], flux[source[place], e] * share[place] * light[kept] * EXPOSURE)
    used = expected > 0.1 * expected.max()
    assert used.sum() > 10
    np.testing.assert_allclose(counts[used], expected[used], rtol=0.05)


def test_a_common_norm_multiplies_the_catalogue(file, fixed):
    free = sky(file, norm=(0.5, 2.0))
    names = free.prior().names
    assert names[0] == "known_norm"
    low, high = free.prior().marginals[0].range
    assert high / low == pytest.approx(4.0)
    theta = free.prior().draw(1, np.random.default_rng(1))
    theta[0, 0] = 2 * low  # the catalogue as it is
    np.testing.assert_allclose(free.emission(theta).norms[0], fixed.emission(theta[:, 1:]).norms[0])


def test_pixels_near_sources_are_left_out(file):
    whole, masked = sky(file), sky(file, mask_sources={"file": file, "radius": 1.0})
    catalogue = read_catalogue(file)
    expected = np.zeros(12 * 32**2, bool)
    for glon, glat, own in zip(catalogue.glon, catalogue.glat, catalogue.radius, strict=True):
        expected |= in_disc(32, 1.0 + own, centre=(float(glon), float(glat)))
    assert np.array_equal(masked.region.pixels, whole.region.pixels[~expected[whole.region.pixels]])
    assert masked.fingerprint != whole.fingerprint
    by_light = sky(file, mask_sources={"file": file, "containment": 0.95})
    near = max(float(psf.containment_radius(0.95)) for psf in by_light.psf)
    same = sky(file, mask_sources={"file": file, "radius": near})
    assert by_light.region == same.region


def test_a_summed_sky_is_masked_as_in_its_bins(file):
    stated = sky(file, mask_sources={"file": file, "containment": 0.5}, nside=16).composition
    summed = SkyModel.build(stated.replace(summed=True))
    assert summed.resolved.region == summed.region


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"radius": 1.0, "containment": 0.5}, "mask_sources: needs either a radius or a containment"),
        ({}, "mask_sources: needs either a radius or a containment"),
        ({"containment": 1.0}, "mask_sources: containment: input should be less than 1"),
        ({"radius": 20.0}, "region: mask_sources: no pixel of the region is farther than 20 degrees from every source"),
        ({"radios": 20.0}, "mask_sources: radios: unknown setting; the nearest valid one is 'radius'"),
    ],
)
def test_bad_masks_of_sources_are_refused(file, told, message):
    with pytest.raises(InputError, match=message):
        sky(file, mask_sources={"file": file, **told}, nside=8)


def test_a_file_that_is_no_catalogue_is_refused(tmp_path):
    (tmp_path / "x.fits").write_text("x")
    with pytest.raises(InputError, match=r"component known: .*x\.fits"):
        sky(str(tmp_path / "x.fits"), nside=8)

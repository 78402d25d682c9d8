"""Built-in emission on images: its units, symmetry and pixel means; the built-in instrument of front events."""

from dataclasses import replace

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.io.image import read_intensity_cube, read_isotropic_spectrum
from gcesbi.io.irf import read_king_table
from gcesbi.physics.exposure import survey_exposure, survey_exposure_at
from gcesbi.physics.interstellar_image import PARTS, InterstellarEmission, isotropic_emission
from gcesbi.physics.psf_front import P8R3_ULTRACLEANVETO_V3_FRONT
from gcesbi.physics.templates.interstellar import PionDecay
from gcesbi.sky.image import ImageGeometry
from gcesbi.sky.region import glon_glat

EDGES = np.array([1.0, 6.0])
SQUARE = ImageGeometry((40, 40), 0.25)


@pytest.fixture(scope="module")
def intensity():
    return InterstellarEmission().intensity(SQUARE, np.array([1.0, 2.0, 6.0]))


def test_brightness_is_that_of_the_sky(intensity, data_folder):
    sky = read_intensity_cube(data_folder / "fermi-gc-4gev" / "gll_iem_v07_gc.fits.gz").intensity(SQUARE, EDGES)
    assert intensity.sum(axis=0).mean() == pytest.approx(sky.mean(), rel=0.02)


def test_models_are_symmetric_and_concentrated_to_the_plane(intensity):
    np.testing.assert_allclose(intensity, intensity[:, ::-1], rtol=1e-9)
    np.testing.assert_allclose(intensity, intensity[:, :, ::-1], rtol=1e-9)
    assert np.all(intensity[:, 19].mean(axis=-1) > 3 * intensity[:, 0].mean(axis=-1))


def test_bins_add_up_and_soften(intensity):
    one = InterstellarEmission().intensity(SQUARE, EDGES)
    np.testing.assert_allclose(intensity.sum(axis=0), one[0], rtol=1e-10)
    ratio = intensity[0].mean() / intensity[1].mean()
    assert 2.0 < ratio < 2.5  # indices between 2.2 and 2.5 give 1.71 x 1.14 .. 2.30


def test_pixels_hold_their_means(intensity):
    fine = InterstellarEmission().intensity(ImageGeometry((160, 160), 0.0625), np.array([1.0, 2.0]))
    coarse = fine[0].reshape(40, 4, 40, 4).mean(axis=(1, 3))
    np.testing.assert_allclose(intensity[0], coarse, rtol=5e-3)


def test_isotropic_emission_is_that_of_the_collaboration(data_folder):
    told = read_isotropic_spectrum(data_folder / "irf" / "iso_P8R3_ULTRACLEANVETO_V3_PSF3_v1.txt")
    for low, high in [(1.0, 6.0), (0.5, 1.0), (6.0, 20.0)]:
        edges = np.array([low, high])
        assert isotropic_emission().band(edges)[0] == pytest.approx(told.band(edges)[0], rel=0.12)


def test_front_table_is_that_of_the_response(data_folder):
    told = read_king_table(data_folder / "irf" / "psf_P8R3_ULTRACLEANVETO_V3_FB.fits", "FRONT")
    built = P8R3_ULTRACLEANVETO_V3_FRONT
    np.testing.assert_allclose(built.scaling, told.scaling, rtol=1e-5)
    energies = np.array([0.3, 1.0, 2.0, 6.0, 20.0, 100.0])
    np.testing.assert_allclose(built.at(energies), told.at(energies), rtol=1e-5)


def test_exposure_towards_directions_is_that_of_the_map():
    pixels = np.array([3, 500, 2000])
    told = survey_exposure(16, pixels, weeks=100.0)[0]
    np.testing.assert_allclose(survey_exposure_at(*glon_glat(16, pixels), weeks=100.0), told, rtol=1e-12)


def test_rings_of_gas_and_inverse_compton_add_up_to_all():
    model = InterstellarEmission("lorimer", 4.0, 150.0)
    whole, parts = model.intensity(SQUARE, EDGES), model.parts()
    assert tuple(parts) == PARTS
    each = {name: part.intensity(SQUARE, EDGES) for name, part in parts.items()}
    np.testing.assert_allclose(sum(each.values()), whole, rtol=1e-3)
    assert all(np.all(light > 0) for light in each.values())
    brighter = replace(model, norms={PARTS[0]: 2.0}).intensity(SQUARE, EDGES)
    np.testing.assert_allclose(brighter - whole, each[PARTS[0]], rtol=0.02)
    inner, outer = (each[name][0] for name in (PARTS[0], PARTS[2]))
    assert (outer / inner)[0].mean() > 2 * (outer / inner)[20].mean()  # what is near reaches to high latitudes


def test_an_unknown_part_is_refused():
    with pytest.raises(InputError, match=r"norms: must be of gas 0-3 kpc, .*, inverse Compton, got 'dust'"):
        InterstellarEmission(norms={"dust": 1.0})
    with pytest.raises(InputError, match="ring: must be one of 0 to 2, got 3"):
        PionDecay(ring=3)

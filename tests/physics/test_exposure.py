"""The built-in survey exposure, against the real map and its own rules."""

import healpy as hp
import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.physics.exposure import survey_exposure
from gcesbi.sky.region import Region, in_disc


@pytest.fixture(scope="module")
def real(data_folder):
    return hp.reorder(np.load(data_folder / "fermi-573w" / "fermidata_exposure.npy", allow_pickle=False), r2n=True)


def test_matches_the_real_map(real):
    ratio = survey_exposure(128)[0] / real - 1
    disc = in_disc(128, 30.0)
    assert np.sqrt(np.mean(ratio[disc] ** 2)) < 0.005
    assert np.abs(ratio[disc]).max() < 0.018
    assert np.sqrt(np.mean(ratio**2)) < 0.017
    assert np.abs(ratio).max() < 0.055


def test_mean_of_the_inner_galaxy():
    region = Region.disc(64)
    assert survey_exposure(64, region.pixels).mean() == pytest.approx(9.1e10, rel=0.005)


def test_is_positive_over_the_whole_sky_and_falls_by_less_than_half():
    exposure = survey_exposure(16)
    assert exposure.shape == (1, 12 * 16**2)
    assert 7e10 < exposure.min() < exposure.max() < 1.3e11


def test_is_greatest_about_the_northern_celestial_pole():
    pole = hp.ang2pix(16, *hp.Rotator(coord=["C", "G"])(0.0, 90.0, lonlat=True), nest=True, lonlat=True)
    exposure = survey_exposure(16)[0]
    assert exposure[pole] > 0.99 * exposure.max()


def test_grows_with_weeks_and_repeats_over_energies():
    pixels = np.array([3, 5])
    one = survey_exposure(8, pixels)
    two = survey_exposure(8, pixels, [1.0, 2.0, 4.0, 8.0], weeks=1146)
    assert two.shape == (3, 2)
    np.testing.assert_allclose(two, np.tile(2 * one, (3, 1)))


@pytest.mark.parametrize("weeks", [0, -1, np.nan, np.inf])
def test_weeks_must_be_positive(weeks):
    with pytest.raises(InputError, match="weeks: must be above 0"):
        survey_exposure(8, weeks=weeks)


def test_nside_and_edges_are_checked():
    with pytest.raises(InputError, match="nside: must be a power of two"):
        survey_exposure(12)
    with pytest.raises(InputError, match="energy_edges: must be positive and increasing"):
        survey_exposure(8, energy_edges=[2.0, 2.0])

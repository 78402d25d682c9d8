"""Regions, energy bins and observations: what they hold and what they refuse."""

import json

import healpy as hp
import numpy as np
import pytest
from astropy import units

from gcesbi import InputError, Observation, Region
from gcesbi.sky import check_energy_edges, grid_of, log_energy_edges


def test_disc_keeps_the_pixels_within_the_radius_and_beyond_the_band():
    region = Region.disc(128, radius=25, min_latitude=2)
    glon, glat = region.glon_glat()
    distance = hp.rotator.angdist([glon, glat], [0, 0], lonlat=True)
    assert np.degrees(distance).max() < 25
    assert np.abs(glat).min() > 2
    assert glon.min() < 0 < glon.max()
    cap = 2 * np.pi * (1 - np.cos(np.radians(25)))
    band = 2 * np.radians(2) * 2 * np.radians(25)
    assert region.solid_angle == pytest.approx(cap - band, rel=0.01)


def test_index_inverts_pixels_and_full_sky_spreads_values():
    region = Region.disc(16)
    assert np.array_equal(region.index[region.pixels], np.arange(len(region)))
    assert np.count_nonzero(region.index >= 0) == region.n_pix
    spread = region.full_sky(np.arange(region.n_pix), fill=-1)
    assert np.array_equal(spread[region.pixels], np.arange(region.n_pix))
    assert np.count_nonzero(spread == -1) == hp.nside2npix(16) - region.n_pix


def test_masked_pixels_are_left_out():
    whole = Region.disc(16)
    mask = np.zeros(hp.nside2npix(16), dtype=bool)
    mask[whole.pixels[::3]] = True
    assert not np.isin(whole.pixels[::3], Region.disc(16, mask=mask).pixels).any()
    assert whole != Region.disc(16, mask=mask)
    assert whole == Region.disc(16) == grid_of(json.loads(json.dumps(whole.describe())))
    assert len(repr(whole)) < 80


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Region(12, np.arange(3)), "nside: must be a power of two, got 12"),
        (lambda: Region(8, np.array([], int)), "at least one pixel"),
        (lambda: Region(8, np.array([3, 2])), "ascending and distinct"),
        (lambda: Region(8, np.array([1.5])), "pixels must be whole numbers"),
        (lambda: Region(8, np.array([3, 768])), r"must lie in \[0, 768\)"),
        (lambda: Region.disc(8, radius=0), r"radius: must lie in \(0, 180\] degrees, got 0"),
        (lambda: Region.disc(8, mask=np.zeros(5)), r"mask: must have shape \(768,\)"),
        (lambda: Region.disc(8, mask=np.ones(768)), "no pixel is left"),
        (lambda: log_energy_edges(0), "n_energy: must be at least 1, got 0"),
        (lambda: check_energy_edges([2.0, 1.0]), "energy_edges: must be positive and increasing"),
        (lambda: check_energy_edges([[2.0, 1.0]]), "vector of at least two edges"),
    ],
)
def test_bad_regions_and_energies_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_energy_edges_take_quantities():
    assert np.allclose(check_energy_edges([2000, 20000] * units.MeV), [2, 20])
    assert np.allclose(np.diff(np.log(log_energy_edges(10))), np.log(10) / 10)


def observe(**changes):
    region = Region.disc(8)
    shape = (1, region.n_pix)
    given = {"counts": np.ones(shape), "exposure": np.ones(shape), "energy_edges": [2, 20], "region": region}
    return Observation(**{**given, **changes})


def test_observation_holds_integers():
    seen = observe()
    assert seen.counts.dtype == np.int64
    assert seen.n_energy == 1


SHAPE = (1, Region.disc(8).n_pix)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"counts": np.full(SHAPE, -1)}, "counts: must not be negative, got -1"),
        ({"counts": np.full(SHAPE, 0.5)}, "counts: must be whole numbers, got 0.5"),
        ({"counts": np.full(SHAPE, np.nan)}, "counts: must be finite"),
        ({"exposure": np.zeros(SHAPE)}, "exposure: must be above zero inside the region"),
        ({"energy_edges": [20, 2]}, "energy_edges: must be positive and increasing"),
        ({"counts": np.ones((2, 3))}, r"counts: must have shape \(n_energy, n_pix\)"),
        ({"exposure": np.ones((2, 3))}, r"exposure: must have shape \(n_energy, n_pix\)"),
    ],
)
def test_bad_observations_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        observe(**changes)


def test_a_band_of_nothing_leaves_no_hole_on_the_plane():
    glat = Region.disc(16, radius=10, min_latitude=0).glon_glat()[1]
    assert np.abs(glat).min() < 1e-9

"""Quantities are converted, plain numbers have the documented unit, a wrong unit is bad input."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from gcesbi.errors import InputError
from gcesbi.sky import ImageGeometry, Observation, Region, log_energy_edges
from gcesbi.sky.quantity import direction, in_unit, number_in

REGION = Region(16, np.array([1000, 1001]))


def observation(**changes):
    given = {"counts": np.ones((1, 2)), "exposure": np.full((1, 2), 3e10), "energy_edges": [2.0, 20.0]}
    return Observation(**given | {"region": REGION} | changes)


def test_an_observation_converts_units():
    seen = observation(exposure=np.full((1, 2), 3e6) * u.m**2 * u.s, energy_edges=[2e3, 2e4] * u.MeV)
    np.testing.assert_allclose(seen.exposure, 3e10)
    np.testing.assert_allclose(seen.energy_edges, [2.0, 20.0])
    np.testing.assert_array_equal(observation(counts=np.ones((1, 2)) * u.photon).counts, 1)
    np.testing.assert_allclose(observation(energy_edges=[2 * u.GeV, 2e4 * u.MeV]).energy_edges, [2.0, 20.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exposure": np.full((1, 2), 3.0) * u.kg}, "exposure: must have a unit of cm2 s, got 'kg'"),
        ({"exposure": np.full((1, 2), 3.0) * u.cm**2}, "exposure: must have a unit of cm2 s, got 'cm2'"),
        ({"energy_edges": [2, 20] * u.s}, "energy_edges: must have a unit of GeV, got 's'"),
        ({"energy_edges": [2 * u.GeV, 20]}, "energy_edges: must be numbers in GeV, or a Quantity, got"),
        ({"energy_edges": ["two", "three"]}, "energy_edges: must be numbers in GeV, or a Quantity, got"),
        ({"counts": np.ones((1, 2)) * u.m}, "counts: must be in photons or counts, or without a unit, got 'm'"),
        ({"counts": np.full((1, 2), 10**18)}, r"counts: must be below 2\^53 in every pixel, got 1e\+18"),
        ({"counts": np.array([["a", "b"]])}, "counts: must be numbers, got <U1"),
    ],
)
def test_wrong_units_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        observation(**changes)


def test_regions_take_angles_and_directions():
    crab = SkyCoord("05h34m31.94s", "+22d00m52.2s", frame="icrs")
    by_hand = Region.disc(32, 5.0, 0.0, (float(crab.galactic.l.deg), float(crab.galactic.b.deg)))
    assert Region.disc(32, 300 * u.arcmin, 0 * u.deg, crab) == by_hand
    image = ImageGeometry((20, 20), 0.5)
    assert image.disc(180 * u.arcmin, SkyCoord(0 * u.deg, 0 * u.deg, frame="galactic"), 1 * u.deg) == image.disc(
        3.0, (0.0, 0.0), 1.0
    )
    np.testing.assert_allclose(log_energy_edges(2, 2000 * u.MeV, 20 * u.GeV), np.geomspace(2, 20, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Region.disc(16, 3 * u.m), "radius: must have a unit of deg, got 'm'"),
        (lambda: Region.disc(16, 25.0, -1.0), r"min_latitude: must lie in \[0, 90\) degrees, got -1.0"),
        (lambda: Region.disc(16, 25.0, 2.0, (0.0, 100.0)), r"centre: must be \(glon, glat\) in degrees with"),
        (lambda: direction((1.0, 2.0, 3.0)), r"centre: must be \(glon, glat\)"),
        (lambda: direction(SkyCoord([1, 2], [3, 4], unit="deg")), r"centre: must be one direction, got a SkyCoord"),
        (lambda: number_in([1.0, 2.0], "deg", "radius"), r"radius: must be one number in deg, got shape \(2,\)"),
        (lambda: in_unit(None, "deg", "radius"), "radius: must be numbers in deg, or a Quantity, got None"),
        (lambda: log_energy_edges(3, 20.0, 2.0), "low, high: must ascend from above 0 GeV, got 20.0 and 2.0"),
    ],
)
def test_what_is_no_angle_or_energy_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()

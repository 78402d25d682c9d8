"""Where and in what a measurement is made: pixels, energies, observations."""

from typing import Any

from gcesbi.sky.energy import EnergyBins, check_energy_edges, log_energy_edges
from gcesbi.sky.grid import Grid, pixels_of_runs
from gcesbi.sky.image import ImageGeometry, ImageRegion
from gcesbi.sky.observation import Observation, ObservationSet, RadialPSF
from gcesbi.sky.region import Region, glon_glat

__all__ = [
    "EnergyBins",
    "Grid",
    "ImageGeometry",
    "ImageRegion",
    "Observation",
    "ObservationSet",
    "RadialPSF",
    "Region",
    "check_energy_edges",
    "glon_glat",
    "grid_of",
    "log_energy_edges",
]


def grid_of(told: dict[str, Any]) -> Region | ImageRegion:
    """The grid that :meth:`Grid.describe` described."""
    pixels = pixels_of_runs(told["runs"])
    if "nside" in told:
        return Region(told["nside"], pixels)
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in told["geometry"].items()}
    return ImageRegion(ImageGeometry(**values), pixels)

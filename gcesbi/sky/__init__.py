"""Where and in what a measurement is made: pixels, energies, observations."""

from gcesbi.sky.energy import check_energy_edges, log_energy_edges
from gcesbi.sky.image import ImageGeometry, ImageObservation, ImageRegion, ImageSet
from gcesbi.sky.observation import Observation
from gcesbi.sky.region import Region, glon_glat

__all__ = [
    "ImageGeometry",
    "ImageObservation",
    "ImageRegion",
    "ImageSet",
    "Observation",
    "Region",
    "check_energy_edges",
    "glon_glat",
    "log_energy_edges",
]

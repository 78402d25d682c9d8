"""A mock sky of the composition that the paper's best fit has, for figures that need ten energy bins.

The real map at hand has one bin. Diffuse norms are those of the Poisson fit of Model O to that map (573 weeks, 3FGL
mask, nside 128), the excess has 7 % of the flux, as in the paper, the disk 6.5 %, as in that fit. The excess is about
10⁵ sources, the order of the paper's median, mostly below one photon; sources of the disk are several times as bright
as one photon. Spectra are skew normals of the prior that come near the power laws and cut-offs in the table; they are
no fit to data.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.simulation import SkyModel
from gcesbi.sky import Region

__all__ = ["Composition", "Shape", "theta"]

REFERENCE_NSIDE, REFERENCE_WEEKS = 256, 573.0


@dataclass(frozen=True)
class Shape:
    """A skew normal: location (log₁₀), squared width, skewness."""

    xi: float
    omega2: float
    a: float


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What the mock sky is made of.

    Parameters
    ----------
    norms : mapping of str to float
        Of diffuse templates, mean counts per pixel at nside 256 in 573 weeks.
    excess, disk : float
        Shares of the flux.
    excess_counts, disk_counts : Shape
        dN/dlog₁₀F, photons / cm² / s. Both populations of the excess have this shape.
    spectra : mapping of str to Shape
        dN/dlog₁₀E, GeV.
    """

    norms: Mapping[str, float] = field(default_factory=lambda: {"pi": 2.594, "ic": 1.215, "iso": 0.0946, "bub": 0.2705})
    excess: float = 0.07
    disk: float = 0.065
    excess_counts: Shape = Shape(-12.14, 0.25, 0.0)
    disk_counts: Shape = Shape(-10.25, 0.1, 0.0)
    spectra: Mapping[str, Shape] = field(
        default_factory=lambda: {
            "pi": Shape(0.3011, 4.0, -5.0),  # dN/dE ∝ E^-2.65
            "ic": Shape(0.3011, 4.0, -4.4),  # E^-2.4
            "iso": Shape(0.3011, 4.0, -4.4),
            "bub": Shape(0.3011, 4.0, -3.4),  # E^-2
            "gce": Shape(0.655, 4.0, -7.2),  # E^-0.9 exp(-E / 3.5 GeV)
            "disk": Shape(0.376, 4.0, -6.0),  # E^-1.6 exp(-E / 4 GeV)
        }
    )

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def theta(model: SkyModel, composition: Composition) -> NDArray[np.float64]:
    """Parameters (n_parameter,) of a built-in sky of this composition, at the model's nside and time of observation."""
    weeks = getattr(model.settings, "weeks", REFERENCE_WEEKS)
    scale = (REFERENCE_NSIDE / Region.of(model.region).nside) ** 2 * weeks / REFERENCE_WEEKS
    values = {f"{name}_norm": norm * scale for name, norm in composition.norms.items()}
    for name, shape in composition.spectra.items():
        values |= {f"{name}_spectrum_{key}": value for key, value in asdict(shape).items()}
    total = _diffuse_flux(model, values) / (1 - composition.excess - composition.disk)
    excess = [name for name in ("gce", "gce1", "gce2") if f"{name}_flux" in model.prior().names]
    for name in excess:
        values |= _population(name, composition.excess_counts, composition.excess * total / len(excess))
    values |= _population("disk", composition.disk_counts, composition.disk * total)
    return np.array([values.get(name, 0.0) for name in model.prior().names])


def _population(name: str, shape: Shape, flux: float) -> dict[str, float]:
    return {**{f"{name}_{key}": value for key, value in asdict(shape).items()}, f"{name}_flux": flux}


def _diffuse_flux(model: SkyModel, values: Mapping[str, float]) -> float:
    """Flux of the diffuse templates inside the region, photons / cm² / s."""
    vector = np.array([values.get(name, 0.0) for name in model.prior().names])
    norms = model.emission(vector[None]).norms[0, : len(model.diffuse)]
    return float(np.sum(norms * model.flux_per_norm[: len(model.diffuse)]))

"""Means over image pixels of an intensity that depends on the angle from a point, and may diverge there.

Pixels are divided in four until they are small against their distance from the point; each piece is integrated by two
Gauss-Legendre points a side. Division ends at 10⁻⁷ radians; the pieces left about the point are taken together as a
disc of their area with I ∝ ψ^s, s the slope between its radius R and 2R: their mean is I(R) 2 / (2 + s).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.sky.image import ImageGeometry, angular_distance

__all__ = ["disc_mean", "radial_image"]

Array = NDArray[np.float64]

FINENESS = 0.3
"""Largest ratio of a piece to its distance from the point."""
SMALLEST = 1e-7
"""Size, in radians, at which division ends."""
_NODE = 0.5 / np.sqrt(3)


def radial_image(
    intensity: Callable[[Array], Array], geometry: ImageGeometry, centre: tuple[float, float] = (0.0, 0.0)
) -> Array:
    """Mean of an intensity over every pixel, (n_lat, n_lon).

    Parameters
    ----------
    intensity : callable
        Of angles (n,), radians, above 0; not steeper than ψ^-2 towards 0.
    geometry : ImageGeometry
    centre : (glon, glat), deg

    Raises
    ------
    InputError
        If the intensity is not integrable at the centre.
    """
    lat, lon = (v.ravel() for v in np.meshgrid(geometry.native_lat, geometry.native_lon, indexing="ij"))
    owner, size = np.arange(geometry.n_pix), geometry.pixel_size
    lon0, lat0 = geometry.to_native(*centre)
    where = float(lon0), float(lat0)
    total = np.zeros(geometry.n_pix)
    while owner.size:
        distance = angular_distance(lon, lat, where)
        done = size < FINENESS * (distance - size)
        np.add.at(total, owner[done], _pieces(intensity, lon[done], lat[done], size, where))
        lon, lat, owner = lon[~done], lat[~done], owner[~done]
        if owner.size and np.radians(size) < SMALLEST:
            area = np.radians(size) ** 2
            np.add.at(total, owner, disc_mean(intensity, np.sqrt(owner.size * area / np.pi)) * area)
            break
        lon, lat, owner = _quarters(lon, lat, owner, size)
        size /= 2
    return (total / geometry.solid_angle).reshape(geometry.shape)


def _pieces(
    intensity: Callable[[Array], Array], lon: Array, lat: Array, size: float, where: tuple[float, float]
) -> Array:
    """Integrals (n,) over pieces, sr times the intensity's unit."""
    total = np.zeros(lon.shape)
    for up in (-_NODE, _NODE):
        b = lat + up * size
        for along in (-_NODE, _NODE):
            psi = np.radians(angular_distance(lon + along * size, b, where))
            total += intensity(psi) * np.cos(np.radians(b))
    return total * np.radians(size) ** 2 / 4


def _quarters(lon: Array, lat: Array, owner: NDArray[np.int64], size: float) -> tuple[Array, Array, NDArray[np.int64]]:
    step = np.array([-0.25, 0.25]) * size
    shifted = np.stack([(lon + a, lat + b) for a in step for b in step])
    return shifted[:, 0].ravel(), shifted[:, 1].ravel(), np.tile(owner, 4)


def disc_mean(intensity: Callable[[Array], Array], radius: float) -> float:
    """Mean of an intensity over a small disc (radians) about its centre, as a power law of the angle.

    Raises
    ------
    InputError
        If the intensity is not integrable at the centre.
    """
    near, far = intensity(np.array([radius, 2 * radius]))
    slope = np.log2(far / near) if near > 0 and far > 0 else 0.0
    if not slope > -2:
        raise InputError(f"intensity: must rise less steeply than psi^-2 towards its centre, rises as psi^{slope:.3g}")
    return float(near * 2 / (2 + slope))

r"""Point-spread functions on images: tabulated functions, smoothing, and the light of point sources.

A tabulated density ρ is taken as linear in v = 1 - cos θ between its angles. As a ring of the sphere has the solid
angle 2π dv, the containment is then a sum of trapezoids, and exact.

**Smoothing.** A photon from a pixel in row r' lands in the pixel Δ columns further, in row r, with probability

    S(r, r', Δ) = Ω_r <ρ>,

<ρ> the mean of ρ over the places of start and landing within their pixels. On a plate carrée image, S depends on the
columns through Δ alone, everywhere on the sphere: the sum over columns is an ordinary convolution, done by FFT, and no
flat-sky approximation is made. Within a pixel emission is constant. The mean over two squares of one size is one over
their offsets, with triangular weights, at the rows' middle latitudes (that changes distances by δ² tan b, δ the pixel's
half-size: 10⁻⁶ at 0.25° and b = 15°).

**Point sources.** A pixel is divided until its pieces are small against their distance from the source and the width of
ρ. In pieces, here and for offsets, the two-point Gauss-Legendre rule is applied in either direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError, shown
from gcesbi.sky.compiled import njit
from gcesbi.sky.image import ImageGeometry
from gcesbi.sky.observation import RadialPSF

__all__ = [
    "DensityTable",
    "ImageSmoother",
    "PsfTable",
    "TabulatedPSF",
    "density_at",
    "power_law_mean",
    "source_image",
]

Array = NDArray[np.float64]

N_TABLE = 4096
"""Angles at which compiled code knows a density, denser towards the source."""
FINENESS = 0.2
"""Largest ratio of a piece of a pixel to the length over which a density changes."""
MAX_DIVISION = 48
"""Pieces of a pixel along one side, at most."""
FAR = 30
"""Distance, in pixels, from which the density at a pixel's middle stands for its mean."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)


@dataclass(frozen=True, eq=False)
class TabulatedPSF:
    """A radial function given at some angles, linear in 1 - cos θ between them, zero beyond the last.

    Parameters
    ----------
    theta : array (n_theta,), deg
        From 0, ascending.
    values : array (n_theta,), 1/sr
        Scaled to integrate to 1.

    Raises
    ------
    InputError
        If angles do not ascend from 0 to 180 degrees at most, or values are negative, not finite, or all zero.

    Examples
    --------
    >>> psf = TabulatedPSF(np.array([0.0, 0.1, 1.0]), np.array([5.0, 5.0, 0.0]))
    >>> round(float(psf.containment(1.0)), 12)
    1.0
    """

    theta: Array
    values: Array

    def __post_init__(self) -> None:
        theta, values = (np.asarray(v, dtype=np.float64) for v in (self.theta, self.values))
        if theta.ndim != 1 or theta.size < 2 or values.shape != theta.shape:
            raise InputError(f"theta, values: must be of one length, at least 2, got {theta.shape}, {values.shape}")
        if theta[0] != 0 or not np.all(np.diff(theta) > 0) or not theta[-1] <= 180:
            raise InputError(f"theta: must ascend from 0 to 180 degrees at most, got {theta[0]} to {theta[-1]}")
        if not np.isfinite(values).all() or values.min() < 0 or not values.any():
            raise InputError("values: must be finite and not negative, and not all zero")
        object.__setattr__(self, "theta", theta)
        object.__setattr__(self, "values", values / _shells(_versine(theta), values).sum())

    @property
    def theta_max(self) -> float:
        """Angle beyond which there is no light, degrees."""
        return float(self.theta[-1])

    def widened(self, factor: float) -> TabulatedPSF:
        """The function whose angles are `factor` times as large; what comes beyond 180 degrees is cut."""
        theta = self.theta * factor
        return TabulatedPSF(theta[theta <= 180], self.values[theta <= 180])

    def density(self, theta: ArrayLike) -> Array:
        """Light per solid angle (...), 1/sr, at `theta` (...), degrees."""
        return np.interp(_versine(theta), self._v, self.values, right=0.0)

    def containment(self, theta: ArrayLike) -> Array:
        """Share of the light (...) within `theta` (...), degrees."""
        v = np.minimum(_versine(theta), self._v[-1])
        k = np.clip(np.searchsorted(self._v, v, side="right") - 1, 0, len(self._v) - 2)
        below = np.interp(v, self._v, self.values)
        return self._cumulative[k] + np.pi * (v - self._v[k]) * (self.values[k] + below)

    def containment_radius(self, level: ArrayLike) -> Array:
        """Angle (...), degrees, within which the share `level` (...) of the light lies.

        Raises
        ------
        InputError
            If a level lies outside [0, 1].
        """
        share = np.asarray(level, dtype=np.float64)
        if not np.all((share >= 0) & (share <= 1)):
            raise InputError(f"level: must lie in [0, 1], got {share[~((share >= 0) & (share <= 1))].flat[0]}")
        k = np.clip(np.searchsorted(self._cumulative, share, side="left") - 1, 0, len(self._v) - 2)
        rest = np.maximum(share - self._cumulative[k], 0) / np.pi
        start, width = self.values[k], np.diff(self._v)[k]
        slope = np.diff(self.values)[k] / width
        root = np.sqrt(np.maximum(start**2 + slope * rest, 0))
        step = np.divide(rest, start + root, out=np.zeros_like(rest), where=rest > 0)
        return np.degrees(2 * np.arcsin(np.sqrt((self._v[k] + np.minimum(step, width)) / 2)))

    @cached_property
    def _v(self) -> Array:
        return _versine(self.theta)

    @cached_property
    def _cumulative(self) -> Array:
        shares = np.append(0.0, np.cumsum(_shells(self._v, self.values)))
        return shares / shares[-1]


@dataclass(frozen=True, eq=False)
class PsfTable:
    """A point-spread function and the exposure against energy, as the Fermi tools tabulate them.

    Parameters
    ----------
    energy : array (n_energy,), GeV
    exposure : array (n_energy,), cm² s
    theta : array (n_theta,), deg
    values : array (n_energy, n_theta), 1/sr

    Raises
    ------
    InputError
        If energies or angles do not ascend, an exposure is not above zero, a density is negative or not finite, or
        shapes disagree.
    """

    energy: Array
    exposure: Array
    theta: Array
    values: Array

    def __post_init__(self) -> None:
        ascends = self.energy.ndim == 1 and self.energy.size > 1 and np.all(np.diff(self.energy) > 0)
        if not (ascends and self.energy[0] > 0):
            raise InputError(f"energy: must ascend from above 0, at two energies or more, got {shown(self.energy)}")
        if self.exposure.shape != self.energy.shape or not np.all(self.exposure > 0):
            raise InputError(f"exposure: must be above 0 at each of {self.energy.size} energies")
        if self.values.shape != (self.energy.size, self.theta.size):
            raise InputError(
                f"values: must have shape (n_energy, n_theta) = {(self.energy.size, self.theta.size)}, "
                f"got {self.values.shape}"
            )
        for name in ("energy", "exposure", "theta", "values"):
            numbers = getattr(self, name)
            bad = ~np.isfinite(numbers) | (numbers < 0)
            if bad.any():
                raise InputError(f"{name}: must be finite and not negative, got {numbers[bad][0]:.6g}")
        if not (
            self.theta.size > 1 and self.theta[0] == 0 and np.all(np.diff(self.theta) > 0) and self.theta[-1] <= 180
        ):
            raise InputError(
                f"theta: must ascend from 0 to 180 degrees at most, got {self.theta[:1]} to {self.theta[-1:]}"
            )
        if not self.values.any(axis=1).all():
            raise InputError("values: must not be all zero at an energy")

    def mean(self, low: float, high: float, index: float = 2.4) -> TabulatedPSF:
        """Mean function of the photons detected between two energies (GeV) of a flux that follows E^-index."""
        energy, weights = self._nodes(low, high, index)
        between = _interpolate(np.log(energy), np.log(self.energy), self.values)
        return TabulatedPSF(self.theta, (weights * self._exposure(energy)) @ between)

    def mean_exposure(self, low: float, high: float, index: float = 2.4) -> float:
        """Mean exposure, cm² s, between two energies (GeV) for a flux that follows E^-index."""
        energy, weights = self._nodes(low, high, index)
        return float(weights @ self._exposure(energy) / weights.sum())

    def _exposure(self, energy: Array) -> Array:
        return np.exp(np.interp(np.log(energy), np.log(self.energy), np.log(self.exposure)))

    def _nodes(self, low: float, high: float, index: float) -> tuple[Array, Array]:
        tolerance = 1e-5  # files hold energies in single precision
        if not self.energy[0] * (1 - tolerance) <= low < high <= self.energy[-1] * (1 + tolerance):
            raise InputError(
                f"energies: must ascend within the table's {self.energy[0]:.6g} to {self.energy[-1]:.6g} GeV, "
                f"got {low:.6g} to {high:.6g}"
            )
        energy = low * np.exp((_NODES + 1) / 2 * np.log(high / low))
        return energy, _WEIGHTS * (energy / low) ** (1 - index)


def power_law_mean(energy: Array, values: Array, low: float, high: float) -> Array:
    """∫ f dE (...) between two energies, f (n, ...) given at `energy` (n,) and a power law of E in between.

    Raises
    ------
    InputError
        If the energies do not cover the range, or a value is not above zero.
    """
    if not (energy[0] <= low < high <= energy[-1]):
        raise InputError(f"energies: must cover {low:.6g} to {high:.6g} GeV, got {energy[0]:.6g} to {energy[-1]:.6g}")
    if not np.all(values > 0):
        raise InputError("values: must be above zero, to be interpolated as power laws")
    cuts = np.concatenate([[low], energy[(energy > low) & (energy < high)], [high]])
    total = np.zeros(values.shape[1:])
    for start, stop in pairwise(cuts):
        half = np.log(stop / start) / 2
        nodes = start * np.exp(half * (1 + _NODES))
        between = np.exp(_interpolate(np.log(nodes), np.log(energy), np.log(values)))
        total += np.tensordot(half * _WEIGHTS * nodes, between, axes=1)
    return total


def _interpolate(x: Array, at: Array, values: Array) -> Array:
    """Linear interpolation (n, ...) at x (n,) of values (n_at, ...) given at `at` (n_at,)."""
    k = np.clip(np.searchsorted(at, x) - 1, 0, len(at) - 2)
    share = np.clip((x - at[k]) / (at[k + 1] - at[k]), 0, 1)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return (1 - share) * values[k] + share * values[k + 1]


def source_image(
    geometry: ImageGeometry, psf: RadialPSF, glon: ArrayLike, glat: ArrayLike, weights: ArrayLike
) -> Array:
    """Light of point sources in every pixel, (n_lat, n_lon).

    Parameters
    ----------
    geometry : ImageGeometry
    psf : RadialPSF
    glon, glat : array (n_source,), deg
        Anywhere: sources outside the image leak in.
    weights : array (n_source,)
        Light of each source.
    """
    lon, lat = np.broadcast_arrays(*(np.atleast_1d(v) for v in geometry.to_native(glon, glat)))
    amount = np.broadcast_to(np.asarray(weights, dtype=np.float64), lon.shape)
    table = DensityTable.of(psf)
    rows, columns = (np.radians(v) for v in (geometry.native_lat, geometry.native_lon))
    image = np.zeros(geometry.shape)
    for source in zip(np.radians(lon), np.radians(lat), amount, strict=True):
        _add_source(
            image, rows, columns, np.radians(geometry.pixel_size), *source, table.values, table.end, table.width
        )
    return image


class ImageSmoother:
    """Smooths images with one point-spread function, exactly on the sphere.

    Parameters
    ----------
    geometry : ImageGeometry
        Image on which the smoothed light is wanted.
    psf : RadialPSF
    margin : int, optional
        Pixels on every side from which light leaks in; by default those that cover the function's 99.9 % containment,
        at most 5 degrees.

    Attributes
    ----------
    source : ImageGeometry
        Image on which emission must be given: `geometry` and its margin.
    """

    def __init__(self, geometry: ImageGeometry, psf: RadialPSF, margin: int | None = None) -> None:
        if margin is None:
            reach = min(float(psf.containment_radius(0.999)), 5.0)
            margin = math.ceil(reach / geometry.pixel_size)
        self.geometry, self.source = geometry, geometry.padded(margin)
        self._n = self.source.shape[1] + geometry.shape[1]
        table = DensityTable.of(psf)
        rows = np.radians(geometry.native_lat), np.radians(self.source.native_lat)
        lags = _lag_shares(*rows, np.radians(geometry.pixel_size), self._n, table.values, table.end, table.width)
        self._kernel = np.fft.rfft(lags * geometry.row_solid_angle[:, None, None], axis=-1).transpose(2, 0, 1).copy()

    def __call__(self, light: ArrayLike) -> Array:
        """Smoothed light (..., n_lat, n_lon) of light (..., *source.shape), per pixel, not per solid angle."""
        values = np.asarray(light, dtype=np.float64)
        if values.shape[-2:] != self.source.shape:
            raise InputError(f"light: must end in shape {self.source.shape}, got {values.shape}")
        spread = np.moveaxis(
            np.fft.rfft(values.reshape(-1, *self.source.shape), self._n, axis=-1), (0, 1, 2), (2, 1, 0)
        )
        smooth = np.fft.irfft(np.moveaxis(self._kernel @ spread, (0, 1, 2), (2, 1, 0)), self._n, axis=-1)
        side = (self.source.shape[1] - self.geometry.shape[1]) // 2
        inside = np.maximum(smooth[..., side : side + self.geometry.shape[1]], 0.0)
        return inside.reshape(*values.shape[:-2], *self.geometry.shape)


@dataclass(frozen=True)
class DensityTable:
    """A density at chords c_k = end (k/n)²: the form in which compiled code takes it.

    Parameters
    ----------
    values : array (N_TABLE + 1,), 1/sr
    end : float
        Chord beyond which there is no light.
    width : float, rad
        Angle that contains a quarter of the light.
    """

    values: Array
    end: float
    width: float

    @classmethod
    def of(cls, psf: RadialPSF) -> DensityTable:
        """Tabulate a point-spread function."""
        end = 2 * math.sin(math.radians(psf.theta_max) / 2)
        chord = end * (np.arange(N_TABLE + 1) / N_TABLE) ** 2
        values = np.asarray(psf.density(np.degrees(2 * np.arcsin(chord / 2)) * (1 - 1e-12)), dtype=np.float64)
        width = math.radians(float(psf.containment_radius(0.25)))
        return cls(values, end, width)


def _versine(theta: ArrayLike) -> Array:
    return 2 * np.sin(np.radians(np.asarray(theta, dtype=np.float64)) / 2) ** 2


def _shells(versine: Array, values: Array) -> Array:
    """Light between successive angles."""
    return np.pi * np.diff(versine) * (values[1:] + values[:-1])


@njit(cache=True, inline="always")
def density_at(versine: float, table: Array, end: float) -> float:  # pragma: no cover - compiled
    """Density, 1/sr, at 1 - cos θ, from the values and the end of a :class:`DensityTable`."""
    chord = math.sqrt(2.0 * versine)
    if chord >= end:
        return 0.0
    place = math.sqrt(chord / end) * (len(table) - 1)
    k = int(place)
    return table[k] + (place - k) * (table[k + 1] - table[k])


@njit(cache=True, inline="always")
def _division(size: float, distance: float, width: float) -> int:  # pragma: no cover - compiled
    return max(1, min(MAX_DIVISION, math.ceil(size / (FINENESS * max(distance - size, width)))))


@njit(cache=True, inline="always")
def _gauss_node(i: int) -> float:  # pragma: no cover - compiled
    """Node i of the two-point Gauss-Legendre rule on successive pieces of length 1."""
    return i // 2 + (0.21132486540518713 if i % 2 == 0 else 0.7886751345948129)


@njit(cache=True)
def _add_source(
    image: Array,
    rows: Array,
    columns: Array,
    size: float,
    lon: float,
    lat: float,
    amount: float,
    table: Array,
    end: float,
    width: float,
) -> None:  # pragma: no cover - compiled
    reach = 2.0 * math.asin(min(1.0, end / 2.0)) + size
    for y in range(len(rows)):
        if abs(rows[y] - lat) > reach:
            continue
        for x in range(len(columns)):
            aside = math.sin((columns[x] - lon) / 2.0)
            upward = math.sin((rows[y] - lat) / 2.0)
            versine = 2.0 * (upward * upward + math.cos(rows[y]) * math.cos(lat) * aside * aside)
            distance = math.sqrt(2.0 * versine)
            if distance > reach:
                continue
            if distance > FAR * size:
                image[y, x] += amount * density_at(versine, table, end) * math.cos(rows[y]) * size * size
                continue
            n = _division(size, distance, width)
            step = size / n
            light = 0.0
            for i in range(2 * n):
                b = rows[y] + _gauss_node(i) * step - size / 2.0
                upward = math.sin((b - lat) / 2.0)
                part = 0.0
                for j in range(2 * n):
                    aside = math.sin((columns[x] + _gauss_node(j) * step - size / 2.0 - lon) / 2.0)
                    part += density_at(
                        2.0 * (upward * upward + math.cos(b) * math.cos(lat) * aside * aside), table, end
                    )
                light += part * math.cos(b)
            image[y, x] += amount * light * step * step / 4.0


@njit(cache=True)
def _lag_shares(
    rows: Array, sources: Array, size: float, n: int, table: Array, end: float, width: float
) -> Array:  # pragma: no cover - compiled
    """Mean density (n_row, n_source, n) at lags 0, 1 .. and, from the end, -1, -2 .. columns."""
    shares = np.zeros((len(rows), len(sources), n))
    reach = 2.0 * math.asin(min(1.0, end / 2.0)) + 2.0 * size
    for r in range(len(rows)):
        for s in range(len(sources)):
            apart = rows[r] - sources[s]
            if abs(apart) > reach:
                continue
            cosine = math.cos(rows[r]) * math.cos(sources[s])
            for lag in range((n + 1) // 2):
                upward, aside = math.sin(apart / 2.0), math.sin(lag * size / 2.0)
                distance = math.sqrt(4.0 * (upward * upward + cosine * aside * aside))
                if distance > reach:
                    break
                if distance > FAR * size:
                    shares[r, s, lag] = density_at(0.5 * distance * distance, table, end)
                    if lag > 0:
                        shares[r, s, n - lag] = shares[r, s, lag]
                    continue
                m = _division(size, distance, width)
                total = 0.0
                for i in range(4 * m):
                    up = _gauss_node(i) / m - 1.0
                    upward = math.sin((apart + up * size) / 2.0)
                    part = 0.0
                    for j in range(4 * m):
                        along = _gauss_node(j) / m - 1.0
                        aside = math.sin((lag + along) * size / 2.0)
                        part += (1.0 - abs(along)) * density_at(
                            2.0 * (upward * upward + cosine * aside * aside), table, end
                        )
                    total += (1.0 - abs(up)) * part
                shares[r, s, lag] = total / (2 * m) ** 2
                if lag > 0:
                    shares[r, s, n - lag] = shares[r, s, lag]
    return shares

"""What was seen: counts, exposure, energies and region, checked once where they enter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from astropy import units
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.sky.energy import EnergyBins, check_energy_edges
from gcesbi.sky.grid import Grid
from gcesbi.sky.quantity import Values, in_unit, plain

__all__ = ["Observation", "ObservationSet", "RadialPSF", "check_counts", "check_exposure", "photons"]

Array = NDArray[np.float64]


class RadialPSF(Protocol):
    """A point-spread function that depends on the angle from the source alone."""

    @property
    def theta_max(self) -> float:
        """Angle beyond which there is no light, degrees."""
        ...

    def __hash__(self) -> int: ...

    def density(self, theta: ArrayLike) -> Array:
        """Light per solid angle (...), 1/sr, at `theta` (...), degrees."""
        ...

    def containment(self, theta: ArrayLike) -> Array:
        """Share (...) of the light within `theta` (...), degrees."""
        ...

    def containment_radius(self, level: ArrayLike) -> Array:
        """Angle (...), degrees, within which the share `level` (...) of the light lies."""
        ...


MAX_COUNTS = 2**53
"""Above it floating-point numbers are no longer whole ones; a pixel holds less."""


def check_counts(counts: Values, name: str = "counts") -> NDArray[np.int64]:
    """Counts as 64-bit integers; raise InputError if any is NaN, negative, fractional or beyond `MAX_COUNTS`."""
    values = photons(counts, name)
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name}: must be numbers, got {values.dtype}")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise InputError(f"{name}: must be finite, got {np.count_nonzero(~np.isfinite(values))} NaN or infinite")
        fractional = values != np.rint(values)
        if fractional.any():
            raise InputError(f"{name}: must be whole numbers, got {values[fractional].flat[0]}")
    if values.size and values.min() < 0:
        raise InputError(f"{name}: must not be negative, got {values.min()}")
    if values.size and values.max() >= MAX_COUNTS:
        raise InputError(f"{name}: must be below 2^53 in every pixel, got {values.max():.6g}")
    return values.astype(np.int64, order="C")


def photons(counts: Values, name: str = "counts") -> NDArray[Any]:
    """Counts without their unit, which may be photons, counts or none; raises as :func:`gcesbi.sky.quantity.plain`."""
    if not isinstance(counts, units.Quantity):
        return plain(counts, name)
    if counts.unit not in (units.photon, units.count, units.dimensionless_unscaled):
        raise InputError(f"{name}: must be in photons or counts, or without a unit, got {str(counts.unit)!r}")
    return np.asarray(counts.value)


def check_exposure(exposure: Values, name: str = "exposure") -> Array:
    """Exposure in cm² s, from numbers in it or a Quantity; InputError unless it is finite and above zero everywhere."""
    values = in_unit(exposure, "cm2 s", name)
    if not np.isfinite(values).all() or np.any(values <= 0):
        bad = np.count_nonzero(~(values > 0) | ~np.isfinite(values))
        raise InputError(f"{name}: must be above zero inside the region, is not in {bad} of {values.size} values")
    return np.ascontiguousarray(values)


@dataclass(frozen=True, eq=False, repr=False)
class Observation(EnergyBins):
    """A counts map or image that posteriors are conditioned on.

    Parameters
    ----------
    counts : array (n_energy, n_pix), photons
    exposure : array (n_energy, n_pix), cm² s
        In the unit stated here if plain numbers; a Quantity is converted. So are energies.
    energy_edges : array (n_energy + 1,), GeV
    region : Grid
        A :class:`gcesbi.sky.Region` of HEALPix pixels, or an :class:`gcesbi.sky.ImageRegion`.
    psf : tuple of RadialPSF, optional
        One for each energy bin, where the file holds them.
    event_type : str
        Such as "PSF3" or "FRONT".

    Raises
    ------
    InputError
        If counts are negative, fractional or NaN, exposure is not above zero, edges do not increase,
        a unit is of another kind, or shapes disagree.

    Notes
    -----
    Arrays are kept row by row, so that sums over them are the same to the last bit wherever a map comes from.
    """

    counts: NDArray[np.int64]
    exposure: Array
    energy_edges: Array
    region: Grid
    psf: tuple[RadialPSF, ...] | None = None
    event_type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", check_counts(self.counts))
        object.__setattr__(self, "exposure", check_exposure(self.exposure))
        object.__setattr__(self, "energy_edges", check_energy_edges(self.energy_edges))
        shape = (self.n_energy, self.region.n_pix)
        for name in ("counts", "exposure"):
            got = getattr(self, name).shape
            if got != shape:
                raise InputError(f"{name}: must have shape (n_energy, n_pix) = {shape}, got {got}")
        if self.psf is not None and len(self.psf) != self.n_energy:
            raise InputError(f"psf: needs one for each of {self.n_energy} energy bins, got {len(self.psf)}")

    def __repr__(self) -> str:
        return (
            f"Observation({self.counts.sum()} photons in {self.n_energy} bins, {self.energy_edges[0]:.4g} to "
            f"{self.energy_edges[-1]:.4g} GeV, on {self.region})"
        )

    def cut(self, region: Grid) -> Observation:
        """The same observation in fewer pixels.

        Raises
        ------
        InputError
            If the region divides the sky in another way, or has pixels that were not observed.
        """
        at = self.region.places(region)
        return replace(self, counts=self.counts[:, at], exposure=self.exposure[:, at], region=region)


@dataclass(frozen=True, eq=False)
class ObservationSet:
    """One region in the same energy bins, seen in events of several types, to be analysed together.

    Parameters
    ----------
    parts : tuple of Observation
        With their own exposure and point-spread functions.

    Raises
    ------
    InputError
        If there is none, or regions or energy bins differ.
    """

    parts: tuple[Observation, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise InputError("parts: must hold at least one observation, got none")
        first = self.parts[0]
        for part in self.parts[1:]:
            if part.region != first.region:
                raise InputError(f"parts: {part.event_type!r} must have the region of {first.event_type!r}")
            if not np.array_equal(part.energy_edges, first.energy_edges):
                raise InputError(f"parts: {part.event_type!r} must have the energy bins of {first.event_type!r}")

    @property
    def region(self) -> Grid:
        """Region of every part."""
        return self.parts[0].region

    @property
    def energy_edges(self) -> Array:
        """Edges of the energy bins (n_energy + 1,), GeV."""
        return self.parts[0].energy_edges

    @property
    def n_energy(self) -> int:
        """Number of energy bins."""
        return self.parts[0].n_energy

    def cut(self, region: Grid) -> ObservationSet:
        """The same in fewer pixels; raises as :meth:`Observation.cut`."""
        return ObservationSet(tuple(part.cut(region) for part in self.parts))

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Counts (n_energy, n_part n_pix): the pixels of one part after those of another."""
        return np.concatenate([part.counts for part in self.parts], axis=1)

    @cached_property
    def exposure(self) -> Array:
        """Exposure (n_energy, n_part n_pix), cm² s."""
        return np.concatenate([part.exposure for part in self.parts], axis=1)

"""Numbers with units: an astropy Quantity is converted, a plain number has the unit that the documentation states."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from astropy import units
from astropy.coordinates import SkyCoord
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError

__all__ = ["Direction", "Scalar", "Values", "direction", "in_unit", "number_in", "plain"]

Values: TypeAlias = ArrayLike | units.Quantity
Scalar: TypeAlias = float | units.Quantity
Direction: TypeAlias = tuple[Scalar, Scalar] | SkyCoord


def plain(values: ArrayLike, name: str) -> NDArray[Any]:
    """Values as an array.

    Raises
    ------
    InputError
        If rows have unequal lengths, or some values are masked, which an array cannot tell.
    """
    if masked := np.count_nonzero(np.ma.getmaskarray(values) if np.ma.isMaskedArray(values) else 0):
        raise InputError(f"{name}: must be an array without masked values, has {masked}")
    try:
        return np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: must be an array, with rows of one length, got {_short(values)}") from None


def in_unit(values: Values, unit: str, name: str) -> NDArray[np.float64]:
    """Values (...) as plain numbers in `unit`, from numbers in it or from a Quantity.

    Raises
    ------
    InputError
        If a Quantity's unit is of another kind, or there are no numbers.

    Examples
    --------
    >>> float(in_unit(2 * units.m**2 * units.s, "cm2 s", "exposure"))
    20000.0
    """
    several = isinstance(values, (list, tuple)) and any(isinstance(each, units.Quantity) for each in values)
    try:
        if several or isinstance(getattr(values, "unit", None), units.UnitBase):
            return np.asarray(units.Quantity(values).to_value(unit), dtype=np.float64)
        numbers = plain(values, name)
        if numbers.dtype.kind not in "biuf":
            raise TypeError(numbers.dtype)
        return numbers.astype(np.float64)
    except units.UnitConversionError:
        told = str(units.Quantity(values).unit) or "none"
        raise InputError(f"{name}: must have a unit of {unit}, got {told!r}") from None
    except InputError:
        raise
    except (TypeError, ValueError):
        raise InputError(f"{name}: must be numbers in {unit}, or a Quantity, got {_short(values)}") from None


def number_in(value: Scalar, unit: str, name: str) -> float:
    """One number in `unit`; raises as :func:`in_unit`, and if there are several."""
    found = in_unit(value, unit, name)
    if found.size != 1:
        raise InputError(f"{name}: must be one number in {unit}, got shape {found.shape}")
    return float(found.item())


def direction(place: Direction, name: str = "centre") -> tuple[float, float]:
    """Galactic longitude and latitude, degrees, of a pair (glon, glat) or of a SkyCoord in any frame.

    Raises
    ------
    InputError
        If there are not two finite angles, or |glat| is above 90 degrees.
    """
    if isinstance(place, SkyCoord):
        if not place.isscalar:
            raise InputError(f"{name}: must be one direction, got a SkyCoord of shape {place.shape}")
        place = (place.galactic.l, place.galactic.b)
    pair = in_unit(place, "deg", name)
    if pair.shape != (2,) or not np.isfinite(pair).all() or abs(pair[1]) > 90:
        rule = "(glon, glat) in degrees with |glat| <= 90, or a SkyCoord"
        raise InputError(f"{name}: must be {rule}, got {_short(place)}")
    return float(pair[0]), float(pair[1])


def _short(values: Any) -> str:
    text = " ".join(repr(values).split())
    return text if len(text) <= 60 else f"{text[:57]}..."

"""Images from FITS files: counts cubes, tables of the point-spread function, intensity cubes, isotropic spectra.

Counts cubes are those of the Fermi tools (``gtbin``): plate carrée in Galactic coordinates, energies in the table
``EBOUNDS``, in the unit that its columns state (keV as a rule). Tables of the point-spread function are those of
``gtpsf``: energies in MeV, angles in degrees, and the exposure at the centre, which stands for the whole image.
Intensity cubes hold dN/dE per MeV at energies listed in a table ``ENERGIES`` or ``*_BANDS``, in MeV.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy import units
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import existing, naming
from gcesbi.physics.image_psf import PsfTable
from gcesbi.physics.intensity import IntensityCube, IsotropicSpectrum
from gcesbi.sky.energy import check_energy_edges
from gcesbi.sky.image import ImageGeometry, ImageObservation
from gcesbi.sky.observation import check_counts

__all__ = [
    "read_counts_cube",
    "read_image_observation",
    "read_intensity_cube",
    "read_isotropic_spectrum",
    "read_psf_table",
]

Array = NDArray[np.float64]


def read_image_observation(
    counts: str | os.PathLike[str],
    psf: str | os.PathLike[str],
    *,
    radius: float,
    centre: tuple[float, float] = (0.0, 0.0),
    min_latitude: float = 0.0,
    mask: ArrayLike | None = None,
    energy_range: tuple[float, float] | None = None,
    index: float = 2.4,
    event_type: str = "",
) -> ImageObservation:
    """Read the counts of one event type in a disc, with exposure and point-spread function from a table.

    Parameters
    ----------
    counts, psf : path
        Counts cube, and table of the point-spread function with the exposure.
    radius : float, deg
        Pixels with middles within it of `centre` are kept. Stay within the circle in which events were selected.
    centre : (glon, glat), deg
    min_latitude : float, deg
        Pixels at |b| above it are kept.
    mask : array (n_lat, n_lon), optional
        True where a pixel is left out.
    energy_range : (low, high), GeV, optional
        Energy bins within it are kept; all by default.
    index : float
        Spectral index with which exposure and point-spread function are averaged over a bin.
    event_type : str
        Name of the events, such as "PSF3".

    Raises
    ------
    InputError
        If anything read breaks a rule; the message names file, argument, rule and value.
    """
    cube, edges, geometry = read_counts_cube(counts)
    table = read_psf_table(psf)
    kept = _bins_within(edges, energy_range)
    region = geometry.disc(radius, centre, min_latitude, mask)
    bins = list(zip(edges[:-1][kept], edges[1:][kept], strict=True))
    with naming(psf):
        psfs = tuple(table.mean(low, high, index) for low, high in bins)
        exposure = np.array([table.mean_exposure(low, high, index) for low, high in bins])
    return ImageObservation(
        counts=region.take(cube[kept]),
        exposure=exposure[:, None] * np.ones(region.n_pix),
        energy_edges=np.append(edges[:-1][kept], edges[1:][kept][-1]),
        region=region,
        psf=psfs,
        event_type=event_type,
    )


def read_counts_cube(path: str | os.PathLike[str]) -> tuple[NDArray[np.int64], Array, ImageGeometry]:
    """Read a counts cube.

    Returns
    -------
    counts : array (n_energy, n_lat, n_lon)
    energy_edges : array (n_energy + 1,), GeV
    geometry : ImageGeometry

    Raises
    ------
    InputError
        If the file is missing, is no such cube, or its counts are negative or fractional.
    """
    path = existing(path)
    with _opened(path) as tables, naming(path):
        image = _cube(path, tables)
        edges = _edges(path, _table(path, tables, "EBOUNDS"))
        if len(edges) - 1 != len(image.data):
            raise InputError(f"EBOUNDS: must have a row for each of {len(image.data)} images, has {len(edges) - 1}")
        return check_counts(np.asarray(image.data)), edges, _geometry(image.header)


def read_psf_table(path: str | os.PathLike[str]) -> PsfTable:
    """Read a point-spread function against energy, and the exposure.

    Raises
    ------
    InputError
        If the file is missing, or lacks one of the tables ``PSF`` and ``THETA`` or their columns.
    """
    path = existing(path)
    with _opened(path) as tables, naming(path):
        energy, exposure, values = (
            _column(path, _table(path, tables, "PSF"), name) for name in ("Energy", "Exposure", "Psf")
        )
        theta = _column(path, _table(path, tables, "THETA"), "Theta")
        return PsfTable(energy / 1e3, exposure, theta, values)


def read_intensity_cube(path: str | os.PathLike[str]) -> IntensityCube:
    """Read images of dN/dE (photons / cm² / s / sr / MeV) at several energies, such as those of gll_iem.

    Raises
    ------
    InputError
        If the file is missing or no such cube, or a value is not above zero.
    """
    path = existing(path)
    with _opened(path) as tables, naming(path):
        image = _cube(path, tables)
        energy = _energies(path, tables)
        return IntensityCube(energy / 1e3, np.asarray(image.data, dtype=np.float64) * 1e3, _geometry(image.header))


def read_isotropic_spectrum(path: str | os.PathLike[str]) -> IsotropicSpectrum:
    """Read an isotropic spectrum: lines of energy (MeV), dN/dE (photons / cm² / s / sr / MeV), error.

    Raises
    ------
    InputError
        If the file is missing, or its lines are not two or three numbers.
    """
    path = existing(path)
    try:
        rows = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path}: must hold lines of energy, intensity, error ({error})") from None
    if rows.shape[1] < 2:
        raise InputError(f"{path}: must hold lines of energy, intensity, error, has {rows.shape[1]} column")
    with naming(path):
        return IsotropicSpectrum(rows[:, 0] / 1e3, rows[:, 1] * 1e3)


@contextmanager
def _opened(path: Path) -> Iterator[fits.HDUList]:
    try:
        tables = fits.open(path)
    except OSError as error:
        raise InputError(f"{path}: must be a FITS file ({' '.join(str(error).split())})") from None
    with tables:
        yield tables


def _cube(path: Path, tables: fits.HDUList) -> fits.PrimaryHDU:
    shape = None if tables[0].data is None else tables[0].data.shape
    if shape is None or len(shape) != 3:
        raise InputError(f"first image: must have three axes, (energy, latitude, longitude), got shape {shape}")
    return tables[0]


def _table(path: Path, tables: fits.HDUList, name: str) -> fits.BinTableHDU:
    if name not in tables:
        raise InputError(f"must hold the table {name}, has {[hdu.name for hdu in tables[1:]]}")
    return tables[name]


def _column(path: Path, table: fits.BinTableHDU, name: str) -> Array:
    if name not in table.columns.names:
        raise InputError(f"table {table.name} must hold the column {name}, has {table.columns.names}")
    return np.asarray(table.data[name], dtype=np.float64)


def _edges(path: Path, table: fits.BinTableHDU) -> Array:
    """Energy edges in GeV; the unit is the columns' own."""
    sides = []
    for name in ("E_MIN", "E_MAX"):
        values, unit = _column(path, table, name), table.columns[name].unit
        try:
            sides.append((values * units.Unit(unit or "")).to_value("GeV"))
        except (units.UnitConversionError, ValueError):
            raise InputError(f"EBOUNDS: {name} must have a unit of energy, has {unit!r}") from None
    low, high = sides
    if not np.allclose(low[1:], high[:-1], rtol=1e-5):
        raise InputError("EBOUNDS: energy bins must follow one another without a gap")
    return check_energy_edges(np.append(low, high[-1]))


def _energies(path: Path, tables: fits.HDUList) -> Array:
    """Energies of an intensity cube, MeV."""
    for table in tables[1:]:
        if table.name == "ENERGIES" or table.name.endswith("_BANDS"):
            for name in ("Energy", "ENERGY", "ENERGY_TRUE"):
                if name in table.columns.names:
                    return np.asarray(table.data[name], dtype=np.float64)
    raise InputError(f"must list its energies in a table ENERGIES or *_BANDS, has {[hdu.name for hdu in tables[1:]]}")


def _geometry(header: fits.Header) -> ImageGeometry:
    types = tuple(str(header.get(f"CTYPE{axis}", "")).strip() for axis in (1, 2))
    if types != ("GLON-CAR", "GLAT-CAR"):
        raise InputError(f"CTYPE1, CTYPE2: must be GLON-CAR and GLAT-CAR, got {types[0]!r} and {types[1]!r}")
    if float(header.get("CROTA2", 0.0)) != 0:
        raise InputError(f"CROTA2: must be 0, got {header['CROTA2']}")
    step = float(header["CDELT2"])
    if not np.isclose(float(header["CDELT1"]), -step, rtol=1e-6):
        raise InputError(f"CDELT1, CDELT2: must be -size and size of square pixels, got {header['CDELT1']}, {step}")
    glon, glat = float(header["CRVAL1"]) % 360, float(header["CRVAL2"])
    return ImageGeometry(
        shape=(int(header["NAXIS2"]), int(header["NAXIS1"])),
        pixel_size=step,
        reference=(glon, 0.0 if abs(glat) < 1e-9 else glat),
        reference_pixel=(float(header["CRPIX1"]) - 1, float(header["CRPIX2"]) - 1),
    )


def _bins_within(edges: Array, energy_range: tuple[float, float] | None) -> slice:
    if energy_range is None:
        return slice(0, len(edges) - 1)
    low, high = energy_range
    tolerance = 1e-3
    kept = np.flatnonzero((edges[:-1] >= low * (1 - tolerance)) & (edges[1:] <= high * (1 + tolerance)))
    if not kept.size:
        raise InputError(
            f"energy_range: must hold at least one of the bins from {edges[0]:.6g} to {edges[-1]:.6g} GeV, "
            f"got {low} to {high}"
        )
    return slice(int(kept[0]), int(kept[-1]) + 1)

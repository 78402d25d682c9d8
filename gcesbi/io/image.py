"""Images from FITS files: counts cubes, tables of the point-spread function, intensity cubes, isotropic spectra.

Counts cubes are those of the Fermi tools (``gtbin``): plate carrée in Galactic coordinates, energies in the table
``EBOUNDS``, in the unit that its columns state (keV as a rule). Tables of the point-spread function are those of
``gtpsf``: energies in MeV, angles in degrees, and the exposure at the centre, which stands for the whole image.
Intensity cubes hold dN/dE per MeV at energies listed in a table ``ENERGIES`` or ``*_BANDS``, in MeV.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.data.fetching import located
from gcesbi.io.files import naming, write_atomically
from gcesbi.io.tables import column_of, ebounds, joined_edges, opened, table_of
from gcesbi.physics.image_psf import PsfTable, TabulatedPSF
from gcesbi.physics.intensity import IntensityCube, IsotropicSpectrum
from gcesbi.sky.energy import bins_within, check_energy_edges
from gcesbi.sky.image import ImageGeometry, ImageRegion
from gcesbi.sky.observation import Observation, RadialPSF, check_counts

__all__ = [
    "holds_cube",
    "read_counts_cube",
    "read_cube",
    "read_intensity_cube",
    "read_isotropic_spectrum",
    "read_psf_table",
    "write_cube",
]

Array = NDArray[np.float64]


def read_cube(
    path: str | os.PathLike[str],
    exposure: str | os.PathLike[str] | None = None,
    *,
    radius: float | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
    band: float | None = None,
    mask: ArrayLike | None = None,
    energy_range: tuple[float, float] | None = None,
    index: float = 2.4,
    event_type: str = "",
) -> Observation:
    """Read a counts cube, with its own exposure or that of a table of the point-spread function.

    Arguments are those of :func:`gcesbi.read_observation`.

    Raises
    ------
    InputError
        If anything read breaks a rule; the message names file, argument, rule and value.
    """
    cube, edges, geometry = read_counts_cube(path)
    kept = bins_within(edges, energy_range)
    region = geometry.disc(180.1 if radius is None else radius, centre, band or 0.0, mask)
    psf: tuple[RadialPSF, ...] | None = None
    if exposure is None:
        exposed, observed, psf = _own_exposure(Path(path), kept)
        region = ImageRegion(geometry, np.intersect1d(region.pixels, np.flatnonzero(observed)))
        seen = region.take(exposed)
    else:
        table = read_psf_table(exposure)
        bins = list(zip(edges[:-1][kept], edges[1:][kept], strict=True))
        with naming(exposure):
            psf = tuple(table.mean(low, high, index) for low, high in bins)
            seen = np.array([table.mean_exposure(low, high, index) for low, high in bins])[:, None]
    return Observation(
        counts=region.take(cube[kept]),
        exposure=seen * np.ones(region.n_pix),
        energy_edges=np.append(edges[:-1][kept], edges[1:][kept][-1]),
        region=region,
        psf=psf,
        event_type=event_type,
    )


def _own_exposure(path: Path, kept: slice) -> tuple[Array, Array, tuple[RadialPSF, ...] | None]:
    """Exposure (n_energy, n_lat, n_lon), where it is known (n_lat, n_lon), and point-spread functions, if any."""
    with opened(path) as tables:
        if "EXPOSURE" not in tables:
            raise InputError("exposure: must name a table of the point-spread function; the cube holds none")
        exposure = np.asarray(tables["EXPOSURE"].data, dtype=np.float64)[kept]
        psf = None
        if "PSF_BINS" in tables:
            theta, density = (column_of(tables["PSF_BINS"], name) for name in ("Theta", "Psf"))
            psf = tuple(TabulatedPSF(theta, values) for values in density.T[kept])
    return exposure, np.all(exposure > 0, axis=0), psf


def write_cube(path: str | os.PathLike[str], observation: Observation, *, overwrite: bool = False) -> None:
    """Write an observation on an image as a counts cube with its exposure; point-spread functions as tables.

    Raises
    ------
    InputError
        If the file exists and `overwrite` is false, or its folder does not exist.
    """
    region = observation.region
    if not isinstance(region, ImageRegion):
        raise InputError(f"region: must be an image, got {region}")
    header = region.geometry.to_header()
    counts = region.image(observation.counts, 0).astype(np.int64)
    hdus = fits.HDUList([
        fits.PrimaryHDU(counts, header),
        fits.ImageHDU(region.image(observation.exposure, 0), header, name="EXPOSURE"),
        ebounds(observation.energy_edges),
    ])  # fmt: skip
    if observation.psf is not None:
        theta = max(psf.theta_max for psf in observation.psf) * np.linspace(0, 1, 1024) ** 2
        density = np.stack([psf.density(theta) for psf in observation.psf], axis=-1)
        columns = [fits.Column("Theta", "D", "deg", array=theta)]
        columns.append(fits.Column("Psf", f"{observation.n_energy}D", "sr-1", array=density))
        hdus.append(fits.BinTableHDU.from_columns(columns, name="PSF_BINS"))
    write_atomically(Path(path), hdus.writeto, overwrite=overwrite)


def holds_cube(path: Path) -> bool:
    """Whether a FITS file holds an image first, as a counts cube does, and no HEALPix map."""
    with opened(path) as tables:
        return tables[0].header.get("NAXIS", 0) > 0


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
    path = Path(path)
    with opened(path) as tables:
        image = _cube(tables)
        edges = check_energy_edges(joined_edges(table_of(tables, "EBOUNDS")))
        if len(edges) - 1 != len(image.data):
            raise InputError(f"EBOUNDS: must have a row for each of {len(image.data)} images, has {len(edges) - 1}")
        return check_counts(np.asarray(image.data)), edges, ImageGeometry.from_header(image.header)


def read_psf_table(path: str | os.PathLike[str]) -> PsfTable:
    """Read a point-spread function against energy, and the exposure.

    Raises
    ------
    InputError
        If the file is missing, or lacks one of the tables ``PSF`` and ``THETA`` or their columns.
    """
    path = Path(path)
    with opened(path) as tables:
        energy, exposure, values = (column_of(table_of(tables, "PSF"), name) for name in ("Energy", "Exposure", "Psf"))
        theta = column_of(table_of(tables, "THETA"), "Theta")
        return PsfTable(energy / 1e3, exposure, theta, values)


def read_intensity_cube(path: str | os.PathLike[str]) -> IntensityCube:
    """Read images of dN/dE (photons / cm² / s / sr / MeV) at several energies, such as those of gll_iem.

    Raises
    ------
    InputError
        If the file is missing or no such cube, or a value is not above zero.
    """
    path = Path(path)
    with opened(path) as tables:
        image = _cube(tables)
        energy = _energies(tables)
        return IntensityCube(
            energy / 1e3, np.asarray(image.data, dtype=np.float64) * 1e3, ImageGeometry.from_header(image.header)
        )


def read_isotropic_spectrum(path: str | os.PathLike[str]) -> IsotropicSpectrum:
    """Read an isotropic spectrum: lines of energy (MeV), dN/dE (photons / cm² / s / sr / MeV), error.

    Raises
    ------
    InputError
        If the file is missing, or its lines are not two or three numbers.
    """
    path = located(path)
    try:
        rows = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path}: must hold lines of energy, intensity, error ({error})") from None
    if rows.shape[1] < 2:
        raise InputError(f"{path}: must hold lines of energy, intensity, error, has {rows.shape[1]} column")
    with naming(path):
        return IsotropicSpectrum(rows[:, 0] / 1e3, rows[:, 1] * 1e3)


def _cube(tables: fits.HDUList) -> fits.PrimaryHDU:
    shape = None if tables[0].data is None else tables[0].data.shape
    if shape is None or len(shape) != 3:
        raise InputError(f"first image: must have three axes, (energy, latitude, longitude), got shape {shape}")
    return tables[0]


def _energies(tables: fits.HDUList) -> Array:
    """Energies of an intensity cube, MeV."""
    for table in tables[1:]:
        if table.name == "ENERGIES" or table.name.endswith("_BANDS"):
            for name in ("Energy", "ENERGY", "ENERGY_TRUE"):
                if name in table.columns.names:
                    return np.asarray(table.data[name], dtype=np.float64)
    raise InputError(f"must list its energies in a table ENERGIES or *_BANDS, has {[hdu.name for hdu in tables[1:]]}")

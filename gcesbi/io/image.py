"""Images from FITS files: counts cubes, tables of the point-spread function, intensity cubes, isotropic spectra.

Counts cubes are those of the Fermi tools (``gtbin``): plate carrée in Galactic coordinates, energies in the table
``EBOUNDS``, in the unit that its columns state (keV as a rule). Tables of the point-spread function are those of
``gtpsf``: energies in MeV and angles in degrees unless they state a unit, and the exposure at the centre, which stands
for the whole image. Intensity cubes (MapCube) hold dN/dE at energies listed in a table ``ENERGIES`` or ``*_BANDS``, in
the unit of BUNIT, per cm² s sr MeV without one. Images may have longitude rising either way.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.io.exposure import ExposureMaps
from gcesbi.io.files import naming
from gcesbi.io.reading import check_number, load_rows
from gcesbi.io.sky_image import image_of, upright
from gcesbi.io.tables import axis_table, column_of, ebounds, opened, scale_to, table_of, values_in, write_tables
from gcesbi.physics.image_psf import PsfTable, TabulatedPSF
from gcesbi.physics.intensity import IntensityCube, IsotropicSpectrum
from gcesbi.sky.energy import bins_within, check_energy_edges
from gcesbi.sky.image import ImageGeometry, ImageRegion
from gcesbi.sky.observation import Observation, RadialPSF, check_counts
from gcesbi.sky.quantity import Direction, Scalar, Values

__all__ = [
    "holds_cube",
    "holds_psf",
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
    exposure: str | os.PathLike[str] | ExposureMaps | None = None,
    *,
    radius: Scalar | None = None,
    centre: Direction = (0.0, 0.0),
    band: Scalar | None = None,
    mask: ArrayLike | None = None,
    energy_range: Values | None = None,
    index: float = 2.4,
    event_type: str = "",
) -> Observation:
    """Read a counts cube, with its own exposure, exposure maps, or that of a table of the point-spread function.

    Arguments are those of :func:`gcesbi.read_observation`.

    Raises
    ------
    InputError
        If anything read breaks a rule; the message names file, argument, rule and value.
    """
    cube, every, geometry = read_counts_cube(path)
    kept = bins_within(every, energy_range)
    edges = every[kept.start : kept.stop + 1]
    region = geometry.disc(180.1 if radius is None else radius, centre, band or 0.0, mask)
    psf: tuple[RadialPSF, ...] | None = None
    if exposure is None:
        exposed, observed, psf = _own_exposure(Path(path), kept)
        region = ImageRegion(geometry, np.intersect1d(region.pixels, np.flatnonzero(observed)))
        seen = region.take(exposed)
    elif isinstance(exposure, ExposureMaps):
        seen = exposure.on(every).at(*region.glon_glat(), edges, index)
        if np.isnan(seen).any():
            bad = np.count_nonzero(np.isnan(seen).any(axis=0))
            raise InputError(f"{exposure.source}: exposure: must cover the region, does not in {bad} pixels")
    else:
        table = read_psf_table(exposure)
        bins = list(pairwise(edges))
        with naming(exposure):
            psf = tuple(table.mean(low, high, index) for low, high in bins)
            seen = np.array([table.mean_exposure(low, high, index) for low, high in bins])[:, None]
    with naming(path):
        return Observation(
            counts=check_counts(region.take(cube[kept])),
            exposure=seen * np.ones(region.n_pix),
            energy_edges=edges,
            region=region,
            psf=psf,
            event_type=event_type,
        )


def _own_exposure(path: Path, kept: slice) -> tuple[Array, Array, tuple[RadialPSF, ...] | None]:
    """Exposure (n_energy, n_lat, n_lon), where it is known (n_lat, n_lon), and point-spread functions, if any."""
    with opened(path) as tables:
        if "EXPOSURE" not in tables:
            raise InputError("exposure: must name a table of the point-spread function; the cube holds none")
        hdu = tables["EXPOSURE"]
        image, _ = upright(np.asarray(hdu.data, dtype=np.float64), hdu.header)
        if image.shape != np.shape(tables[0].data):
            raise InputError(f"EXPOSURE: must have the counts' shape {np.shape(tables[0].data)}, got {image.shape}")
        exposure = image[kept]
        psf = None
        if "PSF_BINS" in tables:
            theta, density = (column_of(tables["PSF_BINS"], name) for name in ("Theta", "Psf"))
            density = density[:, None] if density.ndim == 1 else density  # so FITS gives a single number a row
            if density.ndim != 2 or density.shape[1] != len(image):
                raise InputError(f"PSF_BINS: Psf must have {len(image)} numbers in every row, got {density.shape}")
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
    write_tables(Path(path), hdus, overwrite=overwrite)


def holds_cube(path: Path) -> bool:
    """Whether a FITS file holds an image first, as a counts cube does, and no HEALPix map."""
    with opened(path) as tables:
        return tables[0].header.get("NAXIS", 0) > 0


def read_counts_cube(path: str | os.PathLike[str]) -> tuple[NDArray[np.generic], Array, ImageGeometry]:
    """Read a counts cube.

    Returns
    -------
    counts : array (n_energy, n_lat, n_lon)
        Not finite where a pixel holds nothing.
    energy_edges : array (n_energy + 1,), GeV
    geometry : ImageGeometry

    Raises
    ------
    InputError
        If the file is missing, is no such cube, or its counts are negative or fractional.
    """
    path = Path(path)
    with opened(path) as tables:
        shape = np.shape(tables[0].data)
        if len(shape) != 3:
            raise InputError(f"first image: must have three axes, (energy, latitude, longitude), got shape {shape}")
        check_number(int(np.prod(shape, dtype=np.float64)), "first image")
        counts, header = upright(np.asarray(tables[0].data), tables[0].header)
        edges, energies = axis_table(tables)
        if edges is None and energies is None:
            raise InputError(f"must hold the table EBOUNDS, has {[hdu.name for hdu in tables[1:]]}")
        edges = check_energy_edges(energies if edges is None else edges)
        if len(edges) - 1 != len(counts):
            raise InputError(f"EBOUNDS: must have a row for each of {len(counts)} images, has {len(edges) - 1}")
        check_counts(counts[np.isfinite(counts)])
        return counts, edges, ImageGeometry.from_header(header)


def holds_psf(path: str | os.PathLike[str]) -> bool:
    """Whether a FITS file holds a table of the point-spread function."""
    with opened(Path(path), "exposure") as tables:
        return "PSF" in tables


def read_psf_table(path: str | os.PathLike[str]) -> PsfTable:
    """Read a point-spread function against energy, and the exposure.

    Raises
    ------
    InputError
        If the file is missing, or lacks one of the tables ``PSF`` and ``THETA`` or their columns.
    """
    path = Path(path)
    with opened(path) as tables:
        table, angles = table_of(tables, "PSF"), table_of(tables, "THETA")
        energy = values_in(table, "Energy", "GeV", "MeV")
        exposure = values_in(table, "Exposure", "cm2 s", "cm2 s")
        values = values_in(table, "Psf", "sr-1", "sr-1")
        return PsfTable(energy, exposure, values_in(angles, "Theta", "deg", "deg"), values)


def read_intensity_cube(path: str | os.PathLike[str]) -> IntensityCube:
    """Read images of dN/dE (photons / cm² / s / sr / MeV unless BUNIT says otherwise) at several energies: a MapCube.

    Raises
    ------
    InputError
        If the file is missing or no such cube, or a value is negative.
    """
    path = Path(path)
    with opened(path) as tables:
        if tables[0].header.get("NAXIS") != 3:
            raise InputError(f"first image: must have three axes, (energy, latitude, longitude), has {tables[0].shape}")
        edges, energies = axis_table(tables)
        if energies is None:
            what = "is in bins (EBOUNDS)" if edges is not None else f"has {[hdu.name for hdu in tables[1:]]}"
            raise InputError(f"must list its energies in a table ENERGIES or *_BANDS, {what}")
        image = image_of(tables[0])
        if image.frame != "G":
            raise InputError("CTYPE1, CTYPE2: must be GLON-CAR and GLAT-CAR, got equatorial ones")
        stated = str(tables[0].header.get("BUNIT", "")).strip() or "cm-2 s-1 sr-1 MeV-1"
        scale = scale_to(stated, "cm-2 s-1 sr-1 GeV-1", "BUNIT")
        return IntensityCube(energies, image.values * scale, image.geometry)


def read_isotropic_spectrum(path: str | os.PathLike[str]) -> IsotropicSpectrum:
    """Read an isotropic spectrum: lines of energy (MeV), dN/dE (photons / cm² / s / sr / MeV), error.

    Raises
    ------
    InputError
        If the file is missing, or its lines are not two or three numbers.
    """
    path = Path(path)
    rows = load_rows(path, "energy, intensity, error")
    if rows.shape[1] not in (2, 3):
        raise InputError(f"{path}: must hold lines of energy, intensity, error, has {rows.shape[1]} column(s)")
    with naming(path):
        return IsotropicSpectrum(rows[:, 0] / 1e3, rows[:, 1] * 1e3)

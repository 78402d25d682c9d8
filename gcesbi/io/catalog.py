"""The Fermi-LAT's source catalogues 3FGL and 4FGL (all data releases) from their FITS files.

4FGL gives every source a norm and parameters for each spectral model and names the one to use in ``SpectrumType``; 3FGL
has one set of columns. Energies are in MeV there. Components 'i' and 's' of the Crab and the like are sources of their
own in both.

4FGL-DR3 and later (Abdollahi et al. 2022, arXiv:2201.11184) describe a cut-off by the local index Γ_S and curvature d
at the pivot energy, in columns of their own (PLEC_IndexS, PLEC_ExpfactorS):

    dN/dE = K (E/E₀)^(d/b - Γ_S) exp[(d/b²) (1 - (E/E₀)^b)],

which is the law of DR1 and DR2, K (E/E₀)^-Γ exp[a (E₀^b - E^b)], with Γ = Γ_S - d/b and a = d / (b² E₀^b), and a
log-parabola of curvature d/2 where b is 0.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import naming
from gcesbi.io.tables import find_column, opened, table_of
from gcesbi.physics.catalogue import SourceCatalogue

__all__ = ["read_catalogue"]

Array = NDArray[np.float64]

_TABLE = "LAT_Point_Source_Catalog"
_COMMON = ("Source_Name", "GLON", "GLAT", "Pivot_Energy", "SpectrumType", "Extended_Source_Name")
_NEW = (
    *("PL_Flux_Density", "PL_Index", "LP_Flux_Density", "LP_Index", "LP_beta"),
    *("PLEC_Flux_Density", "PLEC_Exp_Index"),
)
_CUTOFF = (("PLEC_Index", "PLEC_Expfactor"), ("PLEC_IndexS", "PLEC_ExpfactorS"))
_LEAST_POWER = 1e-5
"""Exponents b below it count as 0: over a decade that changes the flux by 10⁻⁵, and by less than rounding would."""
_OLD = ("Flux_Density", "Spectral_Index", "beta", "Cutoff", "Exp_Index")
_EXTENDED = ("Source_Name", "Model_Form", "Model_SemiMajor")
_TEXTS = ("Source_Name", "SpectrumType", "Extended_Source_Name", "Model_Form")
_FORMS = {"disk": "disc", "map": "disc", "ring": "ring", "2d gaussian": "gaussian", "2d gaussian x2": "gaussian"}


def read_catalogue(path: str | os.PathLike[str]) -> SourceCatalogue:
    """Read all sources of a catalogue.

    Parameters
    ----------
    path : path
        ``gll_psc_v16.fit`` (3FGL), ``gll_psc_v27.fit`` (4FGL-DR2) or another release of 4FGL, DR1 to DR4; gzipped or
        not.

    Raises
    ------
    InputError
        If the file is missing or no FITS file, or lacks the table or a column; the message names what is missing.
    """
    path = Path(path)
    with opened(path) as tables:
        return _read(path, tables)


def _read(path: Path, tables: fits.HDUList) -> SourceCatalogue:
    table = table_of(tables, _TABLE)
    newer = find_column(table, "PL_Flux_Density") is not None
    local = find_column(table, _CUTOFF[1][0]) is not None
    rows = _columns(path, table, (*_COMMON, *((*_NEW, *_CUTOFF[local]) if newer else _OLD)))
    parameters = _fgl4(path, rows, local) if newer else _fgl3(path, rows)
    radius, form = _extensions(path, tables, rows["Extended_Source_Name"])
    with naming(path):
        norm, index, curvature, cutoff, power = parameters
        return SourceCatalogue(
            names=rows["Source_Name"],
            glon=180 - np.mod(180 - rows["GLON"], 360),
            glat=rows["GLAT"],
            norm=norm * 1e3,
            pivot=rows["Pivot_Energy"] / 1e3,
            index=index,
            curvature=curvature,
            cutoff=cutoff * 1e3**power,
            cutoff_power=power,
            radius=radius,
            form=form,
        )


def _columns(path: Path, table: fits.BinTableHDU, names: Sequence[str]) -> dict[str, NDArray]:
    found = {name: find_column(table, name) for name in names}
    missing = [name for name, column in found.items() if column is None]
    if missing:
        raise InputError(f"{path}: table {table.name} must hold the columns {', '.join(missing)}")
    columns = {}
    for name, column in found.items():
        values = np.asarray(table.data[column])
        text = name in _TEXTS
        if values.ndim != 1 or values.dtype.kind not in ("SU" if text else "biuf"):
            rule = "a text" if text else "a number"
            raise InputError(f"{path}: column {column} of table {table.name} must hold {rule} for every source")
        columns[name] = np.char.strip(values.astype(str)) if text else values.astype(np.float64)
    return columns


def _choose(path: Path, kinds: NDArray[np.str_], known: Sequence[str]) -> list[NDArray[np.bool_]]:
    strange = ~np.isin(kinds, known)
    if strange.any():
        raise InputError(f"{path}: SpectrumType must be one of {', '.join(known)}, got {str(kinds[strange][0])!r}")
    return [kinds == kind for kind in known]


def _fgl4(path: Path, rows: dict[str, NDArray], local: bool) -> tuple[Array, ...]:
    """K (per MeV), Γ, β, a (MeV^-b) and b of 4FGL's spectra; `local` are the parameters of DR3 and later."""
    known = ("PowerLaw", "LogParabola", "PLSuperExpCutoff", "PLSuperExpCutoff2", "PLSuperExpCutoff4")
    law, parabola, *cuts = _choose(path, rows["SpectrumType"], known)
    kinds, zero, one = [law, parabola, np.any(cuts, axis=0)], np.zeros(law.size), np.ones(law.size)
    index, bend, factor, power = (_local_cutoff if local else _cutoff)(rows)
    return (
        np.select(kinds, [rows[f"{kind}_Flux_Density"] for kind in ("PL", "LP", "PLEC")]),
        np.select(kinds, [rows["PL_Index"], rows["LP_Index"], index]),
        np.select(kinds, [zero, rows["LP_beta"], bend]),
        np.select(kinds, [zero, zero, factor]),
        np.select(kinds, [one, one, power]),
    )


def _cutoff(rows: dict[str, NDArray]) -> tuple[Array, ...]:
    """Γ, β, a (MeV^-b) and b of a cut-off, as DR1 and DR2 tell it."""
    return rows["PLEC_Index"], np.zeros(len(rows["GLAT"])), rows["PLEC_Expfactor"], rows["PLEC_Exp_Index"]


def _local_cutoff(rows: dict[str, NDArray]) -> tuple[Array, ...]:
    """Γ, β, a (MeV^-b) and b of a cut-off, from the local index and curvature of DR3 and later."""
    index, bend, power = (rows[name] for name in ("PLEC_IndexS", "PLEC_ExpfactorS", "PLEC_Exp_Index"))
    parabola = np.abs(power) < _LEAST_POWER
    b = np.where(parabola, 1.0, power)
    steep = np.where(parabola, index, index - bend / b)
    factor = np.where(parabola, 0.0, bend / (b**2 * rows["Pivot_Energy"] ** b))
    return steep, np.where(parabola, bend / 2, 0.0), factor, b


def _fgl3(path: Path, rows: dict[str, NDArray]) -> tuple[Array, ...]:
    """K (per MeV), Γ, β, a (MeV^-b) and b of 3FGL's spectra."""
    known = ("PowerLaw", "LogParabola", "PLExpCutoff", "PLSuperExpCutoff")
    _, parabola, single, stretched = _choose(path, rows["SpectrumType"], known)
    power = np.where(stretched, rows["Exp_Index"], 1.0)
    cut = single | stretched
    cutoff = np.where(cut, rows["Cutoff"], 1.0)
    factor = np.where(cut, cutoff**-power, 0.0)
    return rows["Flux_Density"], rows["Spectral_Index"], np.where(parabola, rows["beta"], 0.0), factor, power


def _extensions(path: Path, tables: fits.HDUList, names: NDArray[np.str_]) -> tuple[Array, NDArray[np.str_]]:
    """Radius and form of every source, by its name among the extended ones."""
    radius, form = np.zeros(names.size), np.full(names.size, "point", dtype="U8")
    if not np.any(names != ""):
        return radius, form
    if "ExtendedSources" not in tables:
        raise InputError(f"{path}: must hold the table ExtendedSources, for {str(names[names != ''][0])!r}")
    rows = _columns(path, table_of(tables, "ExtendedSources"), _EXTENDED)
    known = dict(zip(rows["Source_Name"], zip(rows["Model_Form"], rows["Model_SemiMajor"], strict=True), strict=True))
    for i in np.flatnonzero(names != ""):
        if names[i] not in known:
            raise InputError(f"{path}: ExtendedSources must hold {str(names[i])!r}")
        model, size = known[names[i]]
        form[i], radius[i] = _FORMS.get(model.lower(), "disc"), size
    return radius, form

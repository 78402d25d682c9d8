"""The Fermi-LAT's source catalogues 3FGL and 4FGL (all data releases) from their FITS files.

4FGL gives every source a norm and parameters for each spectral model and names the one to use in ``SpectrumType``; 3FGL
has one set of columns. Energies are in MeV there. Components 'i' and 's' of the Crab and the like are sources of their
own in both.
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
from gcesbi.io.tables import opened, table_of
from gcesbi.physics.catalogue import SourceCatalogue

__all__ = ["read_catalogue"]

Array = NDArray[np.float64]

_TABLE = "LAT_Point_Source_Catalog"
_COMMON = ("Source_Name", "GLON", "GLAT", "Pivot_Energy", "SpectrumType", "Extended_Source_Name")
_NEW = (
    *("PL_Flux_Density", "PL_Index", "LP_Flux_Density", "LP_Index", "LP_beta"),
    *("PLEC_Flux_Density", "PLEC_Index", "PLEC_Expfactor", "PLEC_Exp_Index"),
)
_OLD = ("Flux_Density", "Spectral_Index", "beta", "Cutoff", "Exp_Index")
_EXTENDED = ("Source_Name", "Model_Form", "Model_SemiMajor")
_FORMS = {"disk": "disc", "map": "disc", "ring": "ring", "2d gaussian": "gaussian", "2d gaussian x2": "gaussian"}


def read_catalogue(path: str | os.PathLike[str]) -> SourceCatalogue:
    """Read all sources of a catalogue.

    Parameters
    ----------
    path : path
        ``gll_psc_v16.fit`` (3FGL), ``gll_psc_v27.fit`` (4FGL-DR2) or another release of 4FGL; gzipped or not.

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
    newer = "PL_Flux_Density" in table.columns.names
    rows = _columns(path, table, (*_COMMON, *(_NEW if newer else _OLD)))
    parameters = (_fgl4 if newer else _fgl3)(path, rows)
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
    missing = [name for name in names if name not in table.columns.names]
    if missing:
        raise InputError(f"{path}: table {table.name} must hold the columns {', '.join(missing)}")
    values = {name: np.asarray(table.data[name]) for name in names}
    return {
        name: np.char.strip(v.astype(str)) if v.dtype.kind in "SU" else v.astype(np.float64)
        for name, v in values.items()
    }


def _choose(path: Path, kinds: NDArray[np.str_], known: Sequence[str]) -> list[NDArray[np.bool_]]:
    strange = ~np.isin(kinds, known)
    if strange.any():
        raise InputError(f"{path}: SpectrumType must be one of {', '.join(known)}, got {str(kinds[strange][0])!r}")
    return [kinds == kind for kind in known]


def _fgl4(path: Path, rows: dict[str, NDArray]) -> tuple[Array, ...]:
    """K (per MeV), Γ, β, a (MeV^-b) and b of 4FGL's spectra."""
    law, parabola, cut = _choose(path, rows["SpectrumType"], ("PowerLaw", "LogParabola", "PLSuperExpCutoff"))
    kinds, zero, one = [law, parabola, cut], np.zeros(law.size), np.ones(law.size)
    return (
        np.select(kinds, [rows[f"{kind}_Flux_Density"] for kind in ("PL", "LP", "PLEC")]),
        np.select(kinds, [rows[f"{kind}_Index"] for kind in ("PL", "LP", "PLEC")]),
        np.select(kinds, [zero, rows["LP_beta"], zero]),
        np.select(kinds, [zero, zero, rows["PLEC_Expfactor"]]),
        np.select(kinds, [one, one, rows["PLEC_Exp_Index"]]),
    )


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
    rows = _columns(path, tables["ExtendedSources"], _EXTENDED)
    known = dict(zip(rows["Source_Name"], zip(rows["Model_Form"], rows["Model_SemiMajor"], strict=True), strict=True))
    for i in np.flatnonzero(names != ""):
        if names[i] not in known:
            raise InputError(f"{path}: ExtendedSources must hold {str(names[i])!r}")
        model, size = known[names[i]]
        form[i], radius[i] = _FORMS.get(model.lower(), "disc"), size
    return radius, form

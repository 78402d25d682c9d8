"""Names of the files in the two public folders of NumPy maps of the 573 weeks.

PLAIN, one energy bin: Leane & Slatyer (2020, arXiv:2002.12370), github.com/FloList/GCE_NN. Its diffuse templates have
the point-spread function applied; halo and disk have not.

EBINS, 40 logarithmic bins from 0.2 to 2000 GeV: github.com/yitiansun/gce-prob-prog, ``ebin_128``. Of its templates only
the shape within an energy bin is meant (their own loader divides every bin by its mean); all have the point-spread
function applied, those of catalogue sources more than that (a FWHM of 120′, says the notebook that made them). Masks
may be fractions there, from a finer grid: what is above 0 is masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["EBINS", "PLAIN", "FolderLayout", "layout_of"]


@dataclass(frozen=True, kw_only=True)
class FolderLayout:
    """Which file of a folder holds what. Names are without the ending ``.npy``.

    Parameters
    ----------
    counts, exposure : str
    masks, templates : mapping or str
        File by the name that a user says; or the beginning of every such file, which the user's name follows.
    energy_edges : tuple, GeV
        Of all bins, if the folder holds no ``fermidata_energy_edges.npy``.
    energy_range : (low, high), GeV, optional
        Bins that are read unless others are asked for; all by default.
    without_psf : tuple of str
        Beginnings of the names of templates that have no point-spread function applied.
    """

    counts: str
    exposure: str
    masks: Mapping[str, str] | str
    templates: Mapping[str, str] | str
    energy_edges: tuple[float, ...]
    energy_range: tuple[float, float] | None = None
    without_psf: tuple[str, ...] = ()

    def masks_in(self, folder: Path) -> dict[str, Path]:
        """Masks that a folder holds, by name."""
        return _present(folder, self.masks)

    def templates_in(self, folder: Path) -> dict[str, Path]:
        """Templates that a folder holds, by name."""
        return _present(folder, self.templates)


def _present(folder: Path, files: Mapping[str, str] | str) -> dict[str, Path]:
    if isinstance(files, str):
        return {path.stem.removeprefix(files): path for path in sorted(folder.glob(f"{files}*.npy"))}
    named = {name: folder / f"{file}.npy" for name, file in files.items()}
    return {name: path for name, path in named.items() if path.is_file()}


PLAIN = FolderLayout(
    counts="fermidata_counts",
    exposure="fermidata_exposure",
    masks="fermidata_pscmask_",
    templates="template_",
    energy_edges=(2.0, 20.0),
    without_psf=("nfw_", "dsk_"),
)
EBINS = FolderLayout(
    counts="counts-fwhm000-0512-bestpsf-nopsc",
    exposure="exposure-fwhm000-0512-bestpsf-nopsc",
    masks={
        "3fgl": "mask-fwhm000-0512-bestpsf-mask",
        "4fgl": "mask-fwhm000-0512-bestpsf-mask_4fgl_special",
    },
    templates={
        "Opi": "modelopibrem-ultracleanveto-bestpsf",
        "Oic": "modeloics-ultracleanveto-bestpsf",
        "Api": "ccwapibrem-ultracleanveto-bestpsf",
        "Aic": "ccwaics-ultracleanveto-bestpsf",
        "Fpi": "ccwfpibrem-ultracleanveto-bestpsf",
        "Fic": "ccwfics-ultracleanveto-bestpsf",
        "dif": "p6v11-ultracleanveto-bestpsf",
        "psc_3fgl": "psc-bestpsf-3fgl",
        "psc_4fgl": "psc-bestpsf-4fgl",
    },
    energy_edges=tuple(np.geomspace(0.2, 2000.0, 41).tolist()),
    energy_range=(2.0, 20.0),
)


def layout_of(folder: Path) -> FolderLayout:
    """The layout of a folder, told by the name of its counts."""
    return EBINS if (folder / f"{EBINS.counts}.npy").is_file() else PLAIN

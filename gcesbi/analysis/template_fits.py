r"""Template fits of a run's held-out images, one interstellar model after another (Caron et al. 2018, 1708.06706).

Two questions. *Own*: the first images of every interstellar model, fitted with that model, tell how well γ and <σv> are
found where the background is known, and how much sources add to the scatter. *Other*: one image, fitted with every
interstellar model in turn, tells how far γ and <σv> move where the background is wrong; no other choice shows in the
real sky. *Observed*: the real image, where the run was made for one, likewise.

::

    template_fits.json      profiles over γ, with the parameters of the images
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.poisson.halo_slope import GAMMAS, SlopeFit, fit_slope, halos_of_model
from gcesbi.baselines.poisson.profiles import ShapeProfile
from gcesbi.errors import InputError
from gcesbi.io.files import write_atomically
from gcesbi.report.html import TableBlock

if TYPE_CHECKING:
    from gcesbi.analysis.image_run import ImageRun

__all__ = ["TemplateFits", "fit_images", "fits_table", "read_template_fits"]

NAME = "template_fits.json"
N_IMAGE = 20
"""Images of each interstellar model that are fitted."""
_UNIT = 1e-27

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TemplateFits:
    """Fits of a run's images.

    Attributes
    ----------
    theta : mapping of str to array (n_image, n_parameter)
        Parameters of the images, by interstellar model.
    own : mapping of str to tuple of SlopeFit
        Fits of those images with the model that they were drawn from.
    drawn_from : str
        Interstellar model of the image that `other` fits: the first of its images.
    other : mapping of str to SlopeFit
        That image, by the interstellar model it was fitted with.
    observed : mapping of str to SlopeFit
        The real image that the run was made for, likewise; empty without one.
    """

    theta: Mapping[str, Array]
    own: Mapping[str, tuple[SlopeFit, ...]]
    drawn_from: str
    other: Mapping[str, SlopeFit]
    observed: Mapping[str, SlopeFit]


def fit_images(run: ImageRun, n_image: int = N_IMAGE, gammas: tuple[float, ...] = GAMMAS) -> TemplateFits:
    """Fit held-out images of a run, and its real image if it has one, and store the fits in its folder.

    Parameters
    ----------
    run : ImageRun
        With simulated images.
    n_image : int
        Of each interstellar model; fewer if fewer are held out.
    gammas : tuple of float
        Slopes, as for :func:`gcesbi.baselines.poisson.halo_slope.fit_slope`.
    """
    if n_image < 1:
        raise InputError(f"n_image: must be at least 1, got {n_image}")
    held = {name: run.validation(name) for name in run.training} | {name: run.test(name) for name in run.testing}
    background = {name: run.model(name).background_templates for name in held}
    halos, reference = halos_of_model(run.model(next(iter(held))))  # of the others too, but for the cross-section

    def fit(image: NDArray[np.integer], name: str) -> SlopeFit:
        return fit_slope(image, background[name], halos, reference, gammas)

    own = {name: tuple(fit(image, name) for image in each.counts[:n_image]) for name, each in held.items()}
    drawn_from = run.testing[0]
    other = {name: fit(held[drawn_from].counts[0], name) for name in held}
    real = run.settings.observation.read()
    observed = {} if real is None else {name: fit(real.counts, name) for name in held}
    fits = TemplateFits({name: each.theta[:n_image] for name, each in held.items()}, own, drawn_from, other, observed)
    _write(Path(run.folder) / NAME, fits)
    return fits


def read_template_fits(folder: str | Path) -> TemplateFits:
    """The fits that a run's folder holds.

    Raises
    ------
    InputError
        If it holds none, or they are damaged.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise InputError(f"run: {str(folder)!r} holds no {NAME}; its images are not fitted yet")
    try:
        stored = json.loads(path.read_text())
        own = {name: tuple(_slope_fit(fit) for fit in fits) for name, fits in stored["own"].items()}
        other = {name: _slope_fit(fit) for name, fit in stored["other"].items()}
        observed = {name: _slope_fit(fit) for name, fit in stored["observed"].items()}
        theta = {name: np.array(values) for name, values in stored["theta"].items()}
        return TemplateFits(theta, own, stored["drawn_from"], other, observed)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"run: {path} is damaged ({type(error).__name__}: {error})") from None


def fits_table(fits: TemplateFits) -> TableBlock:
    """γ, <σv> and TS by interstellar model, for the terminal; errors are those that fits state."""
    blocks = ((f"one image of {fits.drawn_from}", fits.other), ("the real image", fits.observed))
    rows = [(name, f"{len(each)} of its own", *_means(each)) for name, each in fits.own.items()]
    rows += [(name, image, *_means((fit,))) for image, found in blocks for name, fit in found.items()]
    columns = ("fitted with", "images", "γ", "<σv>, 10⁻²⁷ cm³/s", "TS")
    return TableBlock(columns, tuple(rows), "Means over images; an error is the fit's own, for one image.")


def _means(fits: Sequence[SlopeFit]) -> tuple[str, str, str]:
    table = np.array([(f.gamma, f.gamma_error, f.cross_section, f.cross_section_error, f.test_statistic) for f in fits])
    gamma, gamma_error, section, section_error, statistic = table.mean(axis=0)
    edge = " (at the edge)" if any(fit.at_edge for fit in fits) else ""
    told = f"{section / _UNIT:.2f} ± {section_error / _UNIT:.2f}"
    return f"{gamma:.3f} ± {gamma_error:.3f}{edge}", told, f"{statistic:.1f}"


def _write(path: Path, fits: TemplateFits) -> None:
    content = {
        "drawn_from": fits.drawn_from,
        "theta": {name: theta.tolist() for name, theta in fits.theta.items()},
        "other": {name: _plain(fit) for name, fit in fits.other.items()},
        "observed": {name: _plain(fit) for name, fit in fits.observed.items()},
        "own": {name: [_plain(fit) for fit in each] for name, each in fits.own.items()},
    }
    text = json.dumps(content, allow_nan=False) + "\n"
    write_atomically(path, lambda target: target.write_text(text), overwrite=True)


def _plain(fit: SlopeFit) -> dict[str, Any]:
    profile = fit.profile
    return {
        "cross_section_of_norm_1": fit.reference,
        "gamma": profile.values.tolist(),
        "log_likelihood": profile.log_likelihood.tolist(),
        "test_statistic": profile.test_statistic.tolist(),
        "norm": profile.norm[:, 0].tolist(),
        "norm_error": profile.norm_error[:, 0].tolist(),
    }


def _slope_fit(stored: Mapping[str, Any]) -> SlopeFit:
    keys = ("gamma", "log_likelihood", "test_statistic")
    known = [np.array(stored[key], dtype=np.float64) for key in keys]
    norms = [np.array(stored[key], dtype=np.float64)[:, None] for key in ("norm", "norm_error")]
    return SlopeFit(ShapeProfile("gce", *known, *norms), float(stored["cross_section_of_norm_1"]))

"""Answers about one image, and what to hold against them.

The five networks and their means give f_src with the 1σ to 3σ and largest errors of validation images with like
predictions; the quantile network its median and intervals; the joint posterior intervals of every parameter. None of
these errors knows of a sky that the simulations do not hold: the paper itself names the interstellar model, whose
errors the excess lies under, as the main one. So an answer comes with caveats, and with a test of whether the image
looks like those that the networks learnt from:

    χ² = Σ_p (√(k_p + 3/8) - m_p)² / v_p,

m and v mean and variance of √(k + 3/8) over the validation images of one interstellar model. Its place among their χ²
gives a two-sided p-value, and that of the model which resembles the image most is told: a smooth sky unlike all theirs,
a source missing in the catalogue, or too little light makes it small. It need not notice all that misleads a network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.analysis.image_run import ImageRun
from gcesbi.estimators.images import ImageNpe, ShareQuantiles
from gcesbi.report.html import TableBlock
from gcesbi.sky.observation import Observation
from gcesbi.validation.binned_errors import LEVELS

__all__ = ["TAUS", "ImageAnswer", "ShareOfSources", "answer_table", "infer", "likeness"]

Array = NDArray[np.float64]

TAUS = (0.025, 0.16, 0.5, 0.84, 0.975)
"""Levels of the quantiles that are told."""
STRANGE = 0.01
"""A p-value below it is told as a caveat of its own."""
_DRAWS = 4096


@dataclass(frozen=True, kw_only=True)
class ShareOfSources:
    """f_src by one network, or by a mean of several.

    Attributes
    ----------
    prediction : float
    errors : tuple of float
        1σ, 2σ, 3σ and the largest of validation images with predictions like it.
    """

    prediction: float
    errors: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ImageAnswer:
    """All that a run says about an image.

    Attributes
    ----------
    f_src : dict of str to ShareOfSources
        By network: see :meth:`gcesbi.analysis.image_run.ImageRun.predict`.
    quantiles : tuple of float
        Of f_src by the quantile network, at :data:`TAUS`.
    posterior : dict of str to tuple of float
        Quantiles of every parameter of the joint posterior, at :data:`TAUS`.
    at_slope : tuple of float
        Those of f_src given the slope of the sky; empty where the sky fixes none.
    photons : int
    p_value : float
        That the image is like the validation images of the interstellar model most like it.
    photons_known : tuple of int
        Fewest and most photons in a validation image.
    caveats : tuple of str
    """

    f_src: dict[str, ShareOfSources]
    quantiles: tuple[float, ...]
    posterior: dict[str, tuple[float, ...]]
    at_slope: tuple[float, ...]
    photons: int
    photons_known: tuple[int, int]
    p_value: float
    caveats: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return {**asdict(self), "taus": list(TAUS), "error_levels": list(LEVELS)}


def infer(run: ImageRun, observation: Observation) -> ImageAnswer:
    """Ask all networks of a run about an image.

    Parameters
    ----------
    run : ImageRun
        Trained.
    observation : Observation

    Raises
    ------
    InputError
        If the image's size, pixels, energy bins or exposure are not those that the networks were trained for, or the
        run is not trained.
    """
    run.model(run.training[0]).for_observation(observation)
    counts, errors = observation.counts[None], run.errors()
    shares = {
        name: ShareOfSources(prediction=float(each[0]), errors=tuple(errors[name].of(each)[:, 0].tolist()))
        for name, each in run.predict(counts).items()
    }
    quantiles = run.typed_network("quantiles", ShareQuantiles).quantiles(counts, TAUS)[:, 0]
    joint = run.typed_network("npe", ImageNpe)
    drawn = np.quantile(joint.sample(counts, _DRAWS, run.settings.seed)["theta"][:, 0], TAUS, axis=0)
    gamma = run.settings.known_slope
    given = () if gamma is None else tuple(joint.at_slope(counts, TAUS, gamma)[:, 0].tolist())
    known = [run.validation(name).counts for name in run.training]
    p_value = max(likeness(observation.counts, each) for each in known)
    totals = np.concatenate([each.sum(axis=(1, 2)) for each in known])
    return ImageAnswer(
        f_src=shares,
        quantiles=tuple(quantiles.tolist()),
        posterior={name: tuple(column.tolist()) for name, column in zip(joint.parameter_names, drawn.T, strict=True)},
        at_slope=given,
        photons=int(observation.counts.sum()),
        photons_known=(int(totals.min()), int(totals.max())),
        p_value=p_value,
        caveats=_caveats(run, p_value),
    )


def likeness(counts: ArrayLike, others: ArrayLike) -> float:
    """Two-sided p-value of an image's χ² (n_energy, n_pix) among those of other images (n, n_energy, n_pix)."""
    roots = np.sqrt(np.asarray(others, dtype=np.float64) + 0.375)
    mean, variance = roots.mean(axis=0), np.maximum(roots.var(axis=0), 1e-3)
    chi2 = ((roots - mean) ** 2 / variance).sum(axis=(1, 2))
    own = np.sum((np.sqrt(np.asarray(counts, dtype=np.float64) + 0.375) - mean) ** 2 / variance)
    return float(min(1.0, 2 * min(np.mean(chi2 >= own), np.mean(chi2 <= own))))


def answer_table(answer: ImageAnswer) -> TableBlock:
    """The answers side by side, for the terminal."""
    rows = [
        (name, f"{each.prediction:.3f}", *(f"{error:.3f}" for error in each.errors))
        for name, each in answer.f_src.items()
    ]
    told = {"quantiles": answer.quantiles, "NPE": answer.posterior["f_src"], "NPE, γ known": answer.at_slope}
    for name, values in ((name, values) for name, values in told.items() if values):
        low, below, median, above, high = values
        rows.append((name, f"{median:.3f}", f"{below:.3f} to {above:.3f}", f"{low:.3f} to {high:.3f}", "", ""))
    for name, values in answer.posterior.items():
        if name != "f_src":
            low, below, median, above, high = values
            row = (f"NPE, {name}", f"{median:.3f}", f"{below:.3f} to {above:.3f}", f"{low:.3f} to {high:.3f}", "", "")
            rows.append(row)
    columns = ("f_src by", "value", "1σ or 68 %", "2σ or 95 %", "3σ", "largest")
    return TableBlock(columns, tuple(rows), "Errors of numbers, intervals of medians.")


def _caveats(run: ImageRun, p_value: float) -> tuple[str, ...]:
    sky = run.settings.sky
    told = [
        f"Networks know the interstellar emission of {', '.join(run.training)} only; what differs from these on the "
        "scale of the point-spread function is taken for sources.",
        "Sources are placed after the excess, those of the disk or the bulge are not among them; catalogued sources "
        + ("are left out of the model altogether." if sky.catalogue is None else "have the norms of the catalogue."),
        f"f_src is the share of sources in the excess of {run.model(run.training[0]).region_flux[0].sum():.1e} photons "
        f"/ cm² / s with fluxes below {sky.flux_threshold:.0e}, dN/dS ∝ S^α, α in [{sky.alpha[0]}, {sky.alpha[1]}]; "
        "sources much dimmer than one photon look smooth.",
    ]
    if p_value < STRANGE:
        told.append(
            f"The image is unlike those on which the errors were measured (p-value {p_value:.2g}): they may be larger."
        )
    return tuple(told)

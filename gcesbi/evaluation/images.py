"""How accurate and how honest the answers on f_src are, by method and interstellar model.

Three ways to state an error are judged by one measure (:class:`gcesbi.validation.CalibrationReport`): the paper's, a
prediction with the binned error of validation images (:mod:`gcesbi.validation.binned_errors`); quantiles of f_src; and
the joint posterior, its other parameters integrated out, or given the slope where all images have that of the sky.
Prediction means the number, or the median.

The root mean square error counts images as the prior of f_src does: uniformly, for the default sky.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.analysis.image_run import ImageRun
from gcesbi.estimators.images import ImageNpe, ShareQuantiles
from gcesbi.report.html import TableBlock
from gcesbi.simulation.simulations import Simulations
from gcesbi.validation import CalibrationReport
from gcesbi.validation.binned_errors import BinnedErrors

__all__ = ["TAUS", "evaluate", "evaluation_table", "judge", "rmse", "share_quantiles"]

Array = NDArray[np.float64]

TAUS = np.sort(np.append(np.arange(1, 40) / 40, [0.16, 0.84]))
"""Levels of the quantiles that are judged."""
JUDGED = 1024
"""Images of a set that are judged, at most; evenly spaced among all."""
_DRAWS = 100


def rmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Root mean square error of predictions (n,)."""
    return float(np.sqrt(np.mean((np.asarray(prediction) - np.asarray(truth)) ** 2)))


def share_quantiles(
    run: ImageRun,
    counts: ArrayLike,
    taus: ArrayLike,
    errors: Mapping[str, BinnedErrors],
    seed: int = 0,
    gamma: float | None = None,
) -> dict[str, Array]:
    """Quantiles (n_tau, n) of f_src by every method, of counts (n, n_energy, n_pix).

    Parameters
    ----------
    run : ImageRun
    counts : array (n, n_energy, n_pix), photons
    taus : array (n_tau,)
    errors : mapping
        Of the predictions by number.
    seed : int
        Of the joint posterior's samples.
    gamma : float, optional
        The slope of all images, for the joint posterior given it: method ``"npe_slope"``.
    """
    found = {name: errors[name].quantiles(each, taus) for name, each in run.predict(counts).items()}
    found["quantiles"] = run.typed_network("quantiles", ShareQuantiles).quantiles(counts, taus)
    joint = run.typed_network("npe", ImageNpe)
    drawn = joint.sample(counts, _DRAWS, seed)["theta"][..., joint.parameter_names.index("f_src")]
    found["npe"] = np.quantile(drawn, np.asarray(taus), axis=0)
    return found if gamma is None else found | {"npe_slope": joint.at_slope(counts, taus, gamma)}


def judge(truth: ArrayLike, quantiles: ArrayLike, taus: ArrayLike, name: str) -> dict[str, Any]:
    """Figures of one method on images: accuracy of its median, and calibration.

    Parameters
    ----------
    truth : array (n,)
        f_src.
    quantiles : array (n_tau, n)
    taus : array (n_tau,)
        With 0.16, 0.5 and 0.84 among them.
    name : str
    """
    true, curves = np.asarray(truth, dtype=np.float64), np.asarray(quantiles, dtype=np.float64)
    median = curves[int(np.argmin(np.abs(np.asarray(taus) - 0.5)))]
    report = CalibrationReport.from_quantiles(true[:, None], curves[:, :, None], taus, name, cdf=False)
    covered = report.coverage_68
    return {
        "n": len(true),
        "rmse": rmse(median, true),
        "bias": float(np.mean(median - true)),
        "rmse_by_truth": _by_truth(median, true),
        "coverage_68": None if covered is None else covered.value,
        "coverage_68_band": None if covered is None else [covered.low, covered.high],
        "width_68": report.width_68,
        "crps": report.crps.value,
        "judgement": report.judgement,
    }


def evaluate(run: ImageRun) -> dict[str, Any]:
    """Judge all methods of a trained run on its validation images and on those of every testing model.

    The errors by bin of the prediction are measured too. Both are written into the run's folder.

    Returns
    -------
    dict
        ``["fixed" or "free"]["validation" or a testing model][method]``: the figures of :func:`judge`. Methods are
        those of :meth:`ImageRun.predict` with binned errors, ``"quantiles"`` and ``"npe"``. "fixed": images with the
        sky's own slope, and ``"npe_slope"``, the joint posterior given that slope; "free": with that of the joint
        posterior, which only the latter was trained on.
    """
    held_out = run.validation()
    truth = run.f_src(held_out)
    errors = {name: BinnedErrors.measure(each, truth) for name, each in run.predict(held_out.counts).items()}
    run.write_json("errors.json", {name: each.to_dict() for name, each in errors.items()})
    found: dict[str, Any] = {}
    for free in (False, True):
        images = {"validation": run.validation(free=free), **{name: run.test(name, free) for name in run.testing}}
        gamma = None if free else run.settings.known_slope
        found["free" if free else "fixed"] = {name: _judged(run, each, errors, gamma) for name, each in images.items()}
    run.write_json("evaluation.json", found)
    return found


def evaluation_table(found: Mapping[str, Any]) -> TableBlock:
    """The figures of :func:`evaluate` for images of the sky's own slope, for the terminal."""
    columns = (
        "method",
        *(f"{name}: {figure}" for name in found["fixed"] for figure in ("RMSE", "68 % holds", "width")),
    )
    methods = next(iter(found["fixed"].values()))
    rows = [
        (
            method,
            *(
                f"{images[method][key]:.3f}"
                for images in found["fixed"].values()
                for key in ("rmse", "coverage_68", "width_68")
            ),
        )
        for method in methods
    ]
    return TableBlock(columns, tuple(rows), "Root mean square error, coverage and median width of 68 % intervals.")


def _judged(
    run: ImageRun, images: Simulations, errors: Mapping[str, BinnedErrors], gamma: float | None
) -> dict[str, Any]:
    images = images[:: -(-len(images) // JUDGED)]
    truth = run.f_src(images)
    answers = share_quantiles(run, images.counts, TAUS, errors, run.settings.seed, gamma)
    return {name: judge(truth, each, TAUS, name) for name, each in answers.items()}


def _by_truth(prediction: Array, truth: Array) -> list[float | None]:
    """Root mean square error in ten bins of the truth; None in an empty one."""
    bins = np.clip((truth * 10).astype(int), 0, 9)
    return [rmse(prediction[bins == k], truth[bins == k]) if np.any(bins == k) else None for k in range(10)]

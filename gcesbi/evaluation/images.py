"""How accurate and how honest the answers on f_src are, by method.

Three ways to state an error are judged by one measure (:class:`gcesbi.validation.Calibration`): the paper's, a
prediction with the binned error of validation images (:mod:`gcesbi.validation.binned_errors`); quantiles of f_src; and
the joint posterior, its other parameters integrated out, or given the slope where all images have that of the sky.
Prediction means the number, or the median.

The root mean square error counts images as the prior of f_src does: uniformly, for the default sky.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.estimators.images import ImageNpe, ShareEstimator, ShareQuantiles
from gcesbi.evaluation.ring_moments import RingRidge
from gcesbi.networks.image import PARTS
from gcesbi.validation import Calibration
from gcesbi.validation.binned_errors import BinnedErrors

__all__ = [
    "ALL_NETWORKS",
    "SHARES",
    "TAUS",
    "ImageNetworks",
    "LearningCurve",
    "judge",
    "judge_baselines",
    "judge_images",
    "judged",
    "predict_shares",
    "rmse",
]

Array = NDArray[np.float64]

SHARES = PARTS
"""The five networks of f_src as a number: of the whole image and of its halves."""
ALL_NETWORKS = (*SHARES, "quantiles", "npe")
TAUS = np.sort(np.append(np.arange(1, 40) / 40, [0.16, 0.84]))
"""Levels of the quantiles that are judged."""
JUDGED = 1024
"""Images of a set that are judged, at most; evenly spaced among all."""
_DRAWS = 100


@dataclass(frozen=True)
class LearningCurve:
    """Accuracy of the full network against the number of training images.

    Attributes
    ----------
    n_train : tuple of int
        Of all training models together, ascending.
    rmse : dict of str to tuple of float
        Root mean square error of f_src, on ``"validation"`` images and on those of each testing model.
    """

    n_train: tuple[int, ...]
    rmse: dict[str, tuple[float, ...]]


def rmse(prediction: ArrayLike, truth: ArrayLike) -> float:
    """Root mean square error of predictions (n,)."""
    return float(np.sqrt(np.mean((np.asarray(prediction) - np.asarray(truth)) ** 2)))


def predict_shares(shares: Mapping[str, ShareEstimator], counts: ArrayLike) -> dict[str, Array]:
    """f_src (n,) of counts (n, n_energy, n_pix) by every network, by the halves' mean and by that of all five."""
    found = {name: each.predict(counts) for name, each in shares.items()}
    halves = [each for name, each in found.items() if name != "full"]
    return {**found, "halves": np.mean(halves, axis=0), "all": np.mean(list(found.values()), axis=0)}


@dataclass(frozen=True, eq=False)
class ImageNetworks:
    """All networks of a run on images.

    Parameters
    ----------
    shares : mapping of str to ShareEstimator
        By the part of the image they see: :data:`SHARES`.
    quantiles : ShareQuantiles
    joint : ImageNpe
    """

    shares: Mapping[str, ShareEstimator]
    quantiles: ShareQuantiles
    joint: ImageNpe

    def predict(self, counts: ArrayLike) -> dict[str, Array]:
        """f_src (n,) of counts (n, n_energy, n_pix) by every network, by the halves' mean and by that of all five."""
        return predict_shares(self.shares, counts)

    def errors(self, counts: ArrayLike, f_src: ArrayLike) -> dict[str, BinnedErrors]:
        """Errors of :meth:`predict` by bin of the prediction, from images of known f_src (n,)."""
        return {name: BinnedErrors.measure(each, f_src) for name, each in self.predict(counts).items()}

    def share_quantiles(
        self,
        counts: ArrayLike,
        taus: ArrayLike,
        errors: Mapping[str, BinnedErrors],
        seed: int = 0,
        gamma: float | None = None,
    ) -> dict[str, Array]:
        """Quantiles (n_tau, n) of f_src by every method.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        taus : array (n_tau,)
        errors : mapping
            Of the predictions by number.
        seed : int
            Of the joint posterior's samples.
        gamma : float, optional
            The slope of all images, for the joint posterior given it: method ``"npe_slope"``.
        """
        found = {name: errors[name].quantiles(each, taus) for name, each in self.predict(counts).items()}
        found["quantiles"] = self.quantiles.quantiles(counts, taus)
        drawn = self.joint.sample(counts, _DRAWS, seed)["theta"][..., self.joint.parameter_names.index("f_src")]
        found["npe"] = np.quantile(drawn, np.asarray(taus), axis=0)
        return found if gamma is None else found | {"npe_slope": self.joint.at_slope(counts, taus, gamma)}


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
    report = Calibration.from_quantiles(true[:, None], curves[:, :, None], taus, name, cdf=False)
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


def judge_images(
    networks: ImageNetworks,
    counts: NDArray[np.integer],
    f_src: Array,
    errors: Mapping[str, BinnedErrors],
    seed: int = 0,
    gamma: float | None = None,
) -> dict[str, dict[str, Any]]:
    """Figures of :func:`judge` by method, on images of known f_src (n,); arguments as of `share_quantiles`."""
    chosen = judged(len(counts))
    answers = networks.share_quantiles(counts[chosen], TAUS, errors, seed, gamma)
    return {name: judge(f_src[chosen], each, TAUS, name) for name, each in answers.items()}


def judged(n: int) -> slice:
    """Which of n images are judged: :data:`JUDGED` of them at most, evenly spaced."""
    return slice(None, None, -(-n // JUDGED))


def judge_baselines(
    ridge: RingRidge, errors: BinnedErrors, counts: NDArray[np.integer], f_src: Array, prior: ArrayLike
) -> dict[str, dict[str, Any]]:
    """Figures of :func:`judge` of the two baselines, on the images that :func:`judge_images` chooses.

    Parameters
    ----------
    ridge : RingRidge
    errors : BinnedErrors
        Of its predictions.
    counts : array (n, n_energy, n_pix), photons
    f_src : array (n,)
    prior : array (m,)
        Shares that were learnt from: their quantiles are the prior's, of every image.
    """
    chosen = judged(len(counts))
    known = np.repeat(np.quantile(np.asarray(prior), TAUS)[:, None], len(f_src[chosen]), axis=1)
    found = {"prior": known, "ridge": errors.quantiles(ridge.predict(counts[chosen]), TAUS)}
    return {name: judge(f_src[chosen], each, TAUS, name) for name, each in found.items()}


def _by_truth(prediction: Array, truth: Array) -> list[float | None]:
    """Root mean square error in ten bins of the truth; None in an empty one."""
    bins = np.clip((truth * 10).astype(int), 0, 9)
    return [rmse(prediction[bins == k], truth[bins == k]) if np.any(bins == k) else None for k in range(10)]

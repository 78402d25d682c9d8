"""The gate of images: whether the models that networks learnt from could have produced an image.

It is that of maps (:class:`gcesbi.validation.misspecification.Gate`): statistics of an image beside those of fresh
images to which the networks give the same answers, calibrated on the other half of these. Statistics are of what the
networks see, since what they do not see cannot mislead them: an interstellar model of another shape, which is smooth
and falls away in a picture of contrasts, need not be turned away. With t the picture's deviation from the mean of the
models' images in units of their scatter, pixel by pixel, they are

- *picture*: mean t²; the largest |t|; mean square of means over cells of 4 and 8 pixels;
- *north-south*, *left-right*: difference of mean t² between the halves;
- *photons*: ln of all counts, of which a picture of contrasts says nothing;
- *embedding*: the three of :class:`gcesbi.validation.misspecification.EmbeddingReference`, of the network of the whole
  image and that of the quantiles together.

What makes images alike are the predicted f_src, its median and the width of its 68 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.estimators.images import ShareEstimator, ShareQuantiles
from gcesbi.evaluation.misspecification import gate_identity, noted, side_by_side
from gcesbi.io.files import read_arrays, write_arrays
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.validation.misspecification import EMBEDDING_STATISTICS, EmbeddingReference, Gate, GateVerdict

__all__ = ["STATISTICS", "ImageGate"]

Array = NDArray[np.float64]

_CELLS = (4, 8)
STATISTICS = {
    "picture: mean square": True,
    "picture: largest": False,
    **{f"picture: power in cells of {width} pixels": True for width in _CELLS},
    "north-south": True,
    "left-right": True,
    "photons": True,
    **dict.fromkeys(EMBEDDING_STATISTICS, False),
}
"""Names, and whether small values are as suspicious as large ones."""


@dataclass(frozen=True, eq=False)
class ImageGate:
    """Gate of the images that two networks learnt from. Make one by :meth:`fit`.

    Parameters
    ----------
    share : ShareEstimator
        Of the whole image.
    quantiles : ShareQuantiles
    mean, spread : array (n_channel, n_row, n_col)
        Of the pictures of the models' images.
    reference : EmbeddingReference
    gate : Gate
    """

    share: ShareEstimator
    quantiles: ShareQuantiles
    mean: Array
    spread: Array
    reference: EmbeddingReference
    gate: Gate

    @classmethod
    def fit(
        cls, share: ShareEstimator, quantiles: ShareQuantiles, counts: ArrayLike, false_alarm: float = 0.01
    ) -> Self:
        """Calibrate on images (n, n_energy, n_pix) of the models, in random order, that training never saw.

        A quarter serves the reference; of the rest one half serves the expectation of every statistic and one half
        calibrates.
        """
        images = np.asarray(counts)
        quarter = len(images) // 4
        pictures = share.picture(images[:quarter])
        frame = pictures.mean(axis=0), np.maximum(pictures.std(axis=0), 1e-4)
        embedded, covariates = _seen(share, quantiles, images)
        reference = EmbeddingReference.fit(embedded[:quarter])
        known = reference.statistics(embedded[quarter:])
        statistics = np.concatenate([_statistics(share, *frame, images[quarter:]), known], axis=1)
        gate = Gate.fit(covariates[quarter:], statistics, list(STATISTICS), list(STATISTICS.values()), false_alarm)
        return cls(share, quantiles, *frame, reference, gate)

    def p_values(self, counts: ArrayLike) -> Array:
        """Probability (n,) that an image of the models is at least as unusual."""
        return self.gate.p_values(*self._of(np.asarray(counts)))

    def verdict(self, counts: ArrayLike) -> GateVerdict:
        """Verdict on one image (n_energy, n_pix)."""
        covariates, statistics = self._of(np.asarray(counts)[None])
        return self.gate.verdict(covariates[0], statistics[0])

    def _of(self, counts: NDArray) -> tuple[Array, Array]:
        embedded, covariates = _seen(self.share, self.quantiles, counts)
        known = self.reference.statistics(embedded)
        return covariates, np.concatenate([_statistics(self.share, self.mean, self.spread, counts), known], axis=1)

    def save(self, path: str | Path, models: Sequence[ImageSkyModel]) -> None:
        """Store as one NumPy archive, with the identity of models and networks."""
        reference = {f"reference_{name}": np.asarray(value) for name, value in vars(self.reference).items()}
        arrays = {**self.gate.arrays(), **reference, "picture_mean": self.mean, "picture_spread": self.spread}
        write_arrays(Path(path), arrays | {"identity": _identity(models, self.share, self.quantiles)})

    @classmethod
    def load(
        cls, path: str | Path, models: Sequence[ImageSkyModel], share: ShareEstimator, quantiles: ShareQuantiles
    ) -> Self:
        """Read a stored gate.

        Raises
        ------
        InputError
            If it is no gate, or one of other models or other weights.
        """
        try:
            arrays = read_arrays(Path(path))
            identity = arrays.pop("identity").tolist()
            frame = arrays.pop("picture_mean"), arrays.pop("picture_spread")
            kept: dict[str, Any]
            kept = {name.removeprefix("reference_"): arrays.pop(name) for name in list(arrays) if "reference_" in name}
            reference = EmbeddingReference(**{**kept, "width": float(kept["width"])})
            gate = Gate.from_arrays(arrays)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"gate {path}: cannot be read ({' '.join(str(error).split())})") from None
        if identity != _identity(models, share, quantiles).tolist():
            raise InputError(f"gate {path}: was made for other models or other weights")
        return cls(share, quantiles, *frame, reference, gate)


def _identity(models: Sequence[ImageSkyModel], *networks: ShareEstimator | ShareQuantiles) -> NDArray[np.str_]:
    return np.array([gate_identity(model, *networks) for model in models])


def _seen(share: ShareEstimator, quantiles: ShareQuantiles, counts: NDArray) -> tuple[Array, Array]:
    """Embeddings (n, n_feature) of images, which pass through each network once, and what decides which are alike."""
    with noted(share) as first, noted(quantiles) as second:
        low, median, high = quantiles.quantiles(counts, [0.16, 0.5, 0.84])
        covariates = np.stack([share.predict(counts), median, high - low], axis=1)
    return side_by_side(first, second), covariates


def _statistics(share: ShareEstimator, mean: Array, spread: Array, counts: NDArray) -> Array:
    deviation = (share.picture(counts) - mean) / spread
    square = np.mean(deviation**2, axis=1)
    columns = [np.log(np.mean(square, axis=(1, 2))), np.log(np.abs(deviation).max(axis=(1, 2, 3)) + 1e-12)]
    columns += [np.log(_power(deviation, width) + 1e-12) for width in _CELLS]
    for halves in (np.array_split(square, 2, axis=1), np.array_split(square, 2, axis=2)):
        columns.append(halves[1].mean(axis=(1, 2)) - halves[0].mean(axis=(1, 2)))
    columns.append(np.log(np.maximum(counts.sum(axis=(1, 2), dtype=np.float64), 1.0)))
    return np.stack(columns, axis=1)


def _power(deviation: Array, width: int) -> Array:
    """Mean square (n,) of means over cells of width² pixels; what does not fill a cell is left out."""
    n, channel, rows, columns = deviation.shape
    width = min(width, rows, columns)
    whole = deviation[..., : rows // width * width, : columns // width * width]
    cells = whole.reshape(n, channel, rows // width, width, columns // width, width).mean(axis=(3, 5))
    return np.asarray(np.mean(cells**2, axis=(1, 2, 3)))

r"""Two baselines beside every network of images: the prior, and a ridge regression on moments in rings of its picture.

In rings about the Galactic Centre the picture's mean m, variance v, skewness and kurtosis say how bright and how
clumpy it is there. f_src is a linear function of these numbers (of ln v for the variance), by least squares with a
penalty on the squared coefficients of standardised moments (Hoerl & Kennard 1970); of several penalties the one that
generalised cross-validation prefers (Golub, Heath & Wahba 1979). What a network knows beyond that, it owes to its
convolutions; a network that errs by more than the regression, or than the prior, has not learnt what it was for.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.estimators.images import ImageEstimator

__all__ = ["Comparison", "RingRidge", "ring_moments"]

Array = NDArray[np.float64]

N_RING = 12
PENALTIES = np.geomspace(1e-4, 1e2, 13)
"""Per image that is learnt from, in terms of the variance of standardised moments."""
_AT_ONCE = 512


def ring_moments(pictures: ArrayLike, distance: ArrayLike) -> Array:
    """Mean, ln variance, skewness and kurtosis in rings of pictures: (n, 4 n_ring n_channel).

    Parameters
    ----------
    pictures : array (n, n_channel, n_row, n_col)
    distance : array (n_row, n_col), deg
        From the Galactic Centre; :data:`N_RING` rings of equal width reach the farthest pixel, those without any are
        left out.
    """
    flat, radius = np.asarray(pictures, dtype=np.float64), np.asarray(distance).ravel()
    flat = flat.reshape(*flat.shape[:2], -1)
    ring = np.minimum((radius / radius.max() * N_RING).astype(int), N_RING - 1)
    found = []
    for k in np.unique(ring):
        inside = flat[..., ring == k]
        mean = inside.mean(axis=-1)
        away = inside - mean[..., None]
        variance = np.mean(away**2, axis=-1) + 1e-12
        found += [
            mean,
            np.log(variance),
            np.mean(away**3, axis=-1) / variance**1.5,
            np.mean(away**4, axis=-1) / variance**2,
        ]
    return np.concatenate(found, axis=1)


@dataclass(frozen=True, eq=False)
class RingRidge:
    """The regression that goes with a network: on the pictures that it sees. Make one by :meth:`learn`.

    Parameters
    ----------
    network : ImageEstimator
    centre, scale, weights : array (n_moment,)
        By which moments are standardised, and the coefficients.
    mean : float
        Of the truths that were learnt.
    bounds : (low, high)
        Their range; predictions keep to it.
    """

    network: ImageEstimator
    centre: Array
    scale: Array
    weights: Array
    mean: float
    bounds: tuple[float, float]

    @classmethod
    def learn(cls, network: ImageEstimator, counts: ArrayLike, f_src: ArrayLike) -> Self:
        """From images (n, n_energy, n_pix) of known f_src (n,): those that the network learnt from."""
        moments, truth = _moments(network, np.asarray(counts)), np.asarray(f_src, dtype=np.float64)
        centre, scale = moments.mean(axis=0), np.maximum(moments.std(axis=0), 1e-12)
        left, singular, right = np.linalg.svd((moments - centre) / scale, full_matrices=False)
        along, rest = left.T @ (truth - truth.mean()), float(np.var(truth) * len(truth))
        errors = []
        for penalty in PENALTIES * len(truth):
            kept = singular**2 / (singular**2 + penalty)
            missed = rest - np.sum((2 * kept - kept**2) * along**2)
            errors.append(missed / (1 - (kept.sum() + 1) / len(truth)) ** 2)
        penalty = float(PENALTIES[int(np.argmin(errors))]) * len(truth)
        weights = right.T @ (singular / (singular**2 + penalty) * along)
        return cls(network, centre, scale, weights, float(truth.mean()), (float(truth.min()), float(truth.max())))

    def predict(self, counts: ArrayLike) -> Array:
        """f_src (n,) of counts (n, n_energy, n_pix)."""
        moments = _moments(self.network, np.asarray(counts))
        return np.clip(self.mean + (moments - self.centre) / self.scale @ self.weights, *self.bounds)


@dataclass(frozen=True)
class Comparison:
    """Root mean square errors of a network and of the baselines, on the same images.

    Attributes
    ----------
    network, prior, ridge : float
        The prior's is that of its mean.
    """

    network: float
    prior: float
    ridge: float

    @property
    def learnt(self) -> bool:
        """Whether the network errs by less than both baselines."""
        return self.network < min(self.prior, self.ridge)

    def told(self, name: str) -> str:
        """One sentence about a network that has not learnt."""
        found = f"NOT LEARNT: the network {name!r} errs by {self.network:.3f} on images held out, "
        known = [
            f"{words} by {error:.3f}"
            for words, error in (
                ("the mean of the prior", self.prior),
                ("a ridge regression on ring moments of the same picture", self.ridge),
            )
            if error <= self.network
        ]
        return found + " and ".join(known) + ": its answer is no better than that; train it for longer."


def _moments(network: ImageEstimator, counts: NDArray) -> Array:
    distance = network.distances()
    return np.concatenate([ring_moments(network.picture(part), distance) for part in _parts(counts)])


def _parts(counts: NDArray) -> Iterator[NDArray]:
    for start in range(0, len(counts), _AT_ONCE):
        yield counts[start : start + _AT_ONCE]

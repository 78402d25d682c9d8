"""Whether the training model could have produced a map: statistics of the map, and a gate calibrated on fresh maps.

Poisson templates are fitted to every energy bin (norms free), and the named statistics are of what the fit leaves of
the counts, energies summed, k less μ in a pixel:

- *deviance* of the fit, per degree of freedom;
- *counts histogram*: Cramér-von Mises distance of the mid-P values of k from the uniform law;
- *residual kurtosis* of (k − μ)/√μ, as ln(1 + excess), so that single bright pixels do not rule it;
- *angular power*: χ² per cell of the residual counts in cells 2, 4 and 8 pixels wide, about 2°, 4° and 7° at nside 64;
- *north-south* and *left-right*: difference of the residuals of the two halves, in units of its Poisson error.

Bright point sources move most of them, and how many there are is what the model leaves open: maps are compared with
those to which the networks give the same answers (:class:`gcesbi.validation.misspecification.Gate`), which is a
posterior predictive check. With them go the statistics of the networks' embeddings.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincc, xlogy

from gcesbi.baselines.poisson_likelihood import log_factorials
from gcesbi.baselines.poisson_optimum import maximise_many
from gcesbi.errors import InputError
from gcesbi.estimators import Estimator, SourceCountEstimator, SpectralEstimator
from gcesbi.io.files import write_atomically
from gcesbi.simulation import SkyModel
from gcesbi.sky.region import Region
from gcesbi.validation.misspecification import EMBEDDING_STATISTICS, EmbeddingReference, Gate, GateVerdict

__all__ = ["FIT_STATISTICS", "MapGate", "embeddings", "fit_statistics", "fitted_means"]

Array = NDArray[np.float64]

_CELLS = (2, 4, 8)
FIT_STATISTICS = {
    "deviance of the Poisson fit": False,
    "counts histogram": False,
    "residual kurtosis": True,
    **{f"angular power in cells of {width} pixels": True for width in _CELLS},
    "north-south": True,
    "left-right": True,
}
"""Names of the statistics of a fit's residuals, and whether small values are as suspicious as large ones."""


def fitted_means(counts: ArrayLike, model: SkyModel) -> Array:
    """Means (n, n_energy, n_pix) of the Poisson fit of the model's templates to every map, norms free by energy bin."""
    maps = np.asarray(counts)
    templates = np.asarray(model.templates, dtype=np.float64)
    if maps.ndim != 3 or maps.shape[1:] != templates.shape[1:]:
        raise InputError(f"counts: must have shape (n, {templates.shape[1]}, {templates.shape[2]}), got {maps.shape}")
    means = np.empty(maps.shape)
    for e in range(maps.shape[1]):
        each = np.ascontiguousarray(templates[:, e])
        means[:, e] = maximise_many(maps[:, e].astype(np.int64), each).norms @ each
    return means


def fit_statistics(counts: ArrayLike, model: SkyModel, batch: int = 128) -> Array:
    """Statistics (n, n_statistic) of maps (n, n_energy, n_pix), in the order of :data:`FIT_STATISTICS`."""
    maps = np.asarray(counts)
    parts = [_statistics(maps[i : i + batch], model) for i in range(0, len(maps), batch)]
    return np.concatenate(parts)


def _statistics(counts: NDArray[np.integer], model: SkyModel) -> Array:
    means = fitted_means(counts, model)
    k, mu = counts.astype(np.float64), np.maximum(means, 1e-12)
    free = k[0].size - len(model.names) * k.shape[1]
    deviance = 2 * np.sum(xlogy(k, k / mu) - (k - means), axis=(1, 2)) / free
    k, mu = k.sum(axis=1), mu.sum(axis=1)
    rest = k - mu
    standard = rest / np.sqrt(mu)
    kurtosis = np.mean(standard**4, axis=1) / np.mean(standard**2, axis=1) ** 2 - 3
    columns = [deviance, np.log(_histogram_distance(k, mu)), np.log1p(np.maximum(kurtosis, -0.9))]
    columns += [np.log(_cell_power(rest, mu, model.region, width)) for width in _CELLS]
    glon, glat = model.region.glon_glat()
    columns += [_asymmetry(rest, mu, side) for side in (np.sign(glat), np.sign(glon))]
    return np.stack(columns, axis=1)


def _histogram_distance(k: Array, mu: Array) -> Array:
    """Cramér-von Mises distance (n,) of the mid-P values of counts (n, n_pix) from the uniform law, times n_pix."""
    point = np.exp(xlogy(k, mu) - mu - log_factorials(k.astype(np.int64)))
    level = np.sort(np.clip(gammaincc(k + 1, mu) - 0.5 * point, 0, 1), axis=1)
    n = level.shape[1]
    return 1 / (12 * n) + np.sum((level - (np.arange(n) + 0.5) / n) ** 2, axis=1)


def _cell_power(rest: Array, mu: Array, region: Region, width: int) -> Array:
    """χ² per cell (n,) of residuals (n, n_pix) over cells of width² pixels, those at least half inside the region."""
    parents = region.pixels // width**2
    starts = np.flatnonzero(np.diff(parents, prepend=-1))
    whole = np.diff(starts, append=len(parents)) * 2 >= width**2
    whole = whole if whole.any() else np.ones(len(starts), bool)
    above, below = (np.add.reduceat(values, starts, axis=1)[:, whole] for values in (rest, mu))
    return np.mean(above**2 / below, axis=1)


def _asymmetry(rest: Array, mu: Array, side: Array) -> Array:
    return rest @ side / np.sqrt(mu @ np.abs(side))


@torch.no_grad()
def embeddings(estimator: Estimator, counts: ArrayLike, batch: int = 128) -> Array:
    """What an estimator's network makes of maps (n, n_energy, n_pix), before its head: (n, n_features)."""
    maps = np.asarray(counts)
    estimator.check_counts(maps)
    estimator.eval()
    parts = (torch.from_numpy(maps[i : i + batch].astype(np.float32)) for i in range(0, len(maps), batch))
    return torch.cat([estimator.embedding(part).float() for part in parts]).double().numpy()


@dataclass(frozen=True, eq=False)
class MapGate:
    """Gate of a model and its two networks.

    Parameters
    ----------
    model : SkyModel
    spectra : SpectralEstimator
    source_counts : SourceCountEstimator
    reference : EmbeddingReference
    gate : Gate
    """

    model: SkyModel
    spectra: SpectralEstimator
    source_counts: SourceCountEstimator
    reference: EmbeddingReference
    gate: Gate

    @classmethod
    def fit(
        cls,
        model: SkyModel,
        spectra: SpectralEstimator,
        source_counts: SourceCountEstimator,
        counts: ArrayLike,
        false_alarm: float = 0.01,
    ) -> MapGate:
        """Calibrate on maps (n, n_energy, n_pix) of the model that training never saw.

        A third serves the embeddings' reference, a third the expectation of every statistic, a third calibrates.
        """
        maps = np.asarray(counts)
        third = len(maps) // 3
        reference = EmbeddingReference.fit(_both(spectra, source_counts, maps[:third]))
        rest = maps[third:]
        statistics = _all_statistics(model, spectra, source_counts, reference, rest)
        names = (*FIT_STATISTICS, *EMBEDDING_STATISTICS)
        sides = (*FIT_STATISTICS.values(), False, False, False)
        gate = Gate.fit(_covariates(spectra, source_counts, rest), statistics, names, sides, false_alarm)
        return cls(model, spectra, source_counts, reference, gate)

    def scores(self, counts: ArrayLike) -> Array:
        """The deciding number (n,) of maps (n, n_energy, n_pix)."""
        return self.gate.largest_score(self.z(counts))

    def z(self, counts: ArrayLike) -> Array:
        """All statistics (n, n_statistic), in units of their scatter over like maps."""
        return self.gate.z(*self._of(counts))

    def p_values(self, counts: ArrayLike) -> Array:
        """Probability (n,) that a map of the model is at least as unusual."""
        return self.gate.p_values(*self._of(counts))

    def verdict(self, counts: ArrayLike) -> GateVerdict:
        """Verdict on one map (n_energy, n_pix)."""
        covariates, statistics = self._of(np.asarray(counts)[None])
        return self.gate.verdict(covariates[0], statistics[0])

    def _of(self, counts: ArrayLike) -> tuple[Array, Array]:
        statistics = _all_statistics(self.model, self.spectra, self.source_counts, self.reference, np.asarray(counts))
        return _covariates(self.spectra, self.source_counts, counts), statistics

    def save(self, path: str | Path) -> None:
        """Store as one NumPy archive, with the identity of model and networks."""
        reference = {f"reference_{name}": np.asarray(value) for name, value in vars(self.reference).items()}
        identity = np.array(gate_identity(self.model, self.spectra, self.source_counts))
        arrays: dict[str, Any] = {**self.gate.arrays(), **reference, "identity": identity}

        def write(target: Path) -> None:
            with target.open("wb") as file:
                np.savez_compressed(file, **arrays)

        write_atomically(Path(path), write, overwrite=True)

    @classmethod
    def load(
        cls, path: str | Path, model: SkyModel, spectra: SpectralEstimator, source_counts: SourceCountEstimator
    ) -> MapGate:
        """Read a stored gate.

        Raises
        ------
        InputError
            If it is no gate, or one of another model or of other weights.
        """
        try:
            with np.load(Path(path), allow_pickle=False) as stored:
                arrays = dict(stored)
            identity = str(arrays.pop("identity"))
            kept: dict[str, Any]
            kept = {name.removeprefix("reference_"): arrays.pop(name) for name in list(arrays) if "reference_" in name}
            reference = EmbeddingReference(**{**kept, "width": float(kept["width"])})
            gate = Gate.from_arrays(arrays)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            raise InputError(f"gate {path}: cannot be read ({' '.join(str(error).split())})") from None
        if identity != gate_identity(model, spectra, source_counts):
            raise InputError(f"gate {path}: was made for another model or other weights")
        return cls(model, spectra, source_counts, reference, gate)


def gate_identity(model: SkyModel, *estimators: Estimator) -> str:
    """Hash of the model's fingerprint and all weights."""
    found = hashlib.sha256(model.fingerprint.encode())
    for estimator in estimators:
        for name, value in sorted(estimator.state_dict().items()):
            found.update(name.encode())
            found.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
    return found.hexdigest()[:16]


def _both(spectra: SpectralEstimator, source_counts: SourceCountEstimator, counts: NDArray) -> Array:
    return np.concatenate([embeddings(each, counts) for each in (spectra, source_counts)], axis=1)


def _covariates(spectra: SpectralEstimator, source_counts: SourceCountEstimator, counts: ArrayLike) -> Array:
    """What decides which maps are alike: ln counts, predicted flux fractions, depth of the predicted median SCDs."""
    maps = np.asarray(counts)
    total = np.log(np.maximum(maps.sum(axis=(1, 2), dtype=np.float64), 1.0))
    fractions = spectra.predict_total(maps).mean[:, :-1]
    depth = source_counts.quantiles(maps, [0.5])[0].sum(axis=-1)
    return np.concatenate([total[:, None], fractions, depth], axis=1)


def _all_statistics(
    model: SkyModel,
    spectra: SpectralEstimator,
    source_counts: SourceCountEstimator,
    reference: EmbeddingReference,
    counts: NDArray,
) -> Array:
    known = reference.statistics(_both(spectra, source_counts, counts))
    return np.concatenate([fit_statistics(counts, model), known], axis=1)

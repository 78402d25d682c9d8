"""Whether the training model could have produced a map: statistics of the map, and a gate calibrated on fresh maps.

The statistics are of what a Poisson fit leaves (:mod:`gcesbi.evaluation.residuals`), score tests of alternative skies
by name (:mod:`gcesbi.evaluation.score_tests`), and of the networks' embeddings
(:class:`gcesbi.validation.misspecification.EmbeddingReference`). Bright point sources move most of them, and how many
there are is what the model leaves open: maps are compared with those to which the networks give the same answers
(:class:`gcesbi.validation.misspecification.Gate`), which is a posterior predictive check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from gcesbi.errors import InputError
from gcesbi.estimators import Estimator, SourceCountEstimator, SpectralEstimator
from gcesbi.estimators.base import MEASURED_LATER
from gcesbi.estimators.training.devices import has_bfloat16
from gcesbi.evaluation.residuals import FIT_STATISTICS, fit_statistics
from gcesbi.evaluation.score_tests import Alternative
from gcesbi.io.files import read_arrays, write_arrays
from gcesbi.simulation import SkyModel
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.validation.misspecification import EMBEDDING_STATISTICS, EmbeddingReference, Gate, GateVerdict

__all__ = ["MisspecificationTest", "noted", "side_by_side"]

Array = NDArray[np.float64]


@contextmanager
def noted(estimator: Estimator) -> Iterator[list[torch.Tensor]]:
    """What an estimator's network makes of the maps that it is asked about meanwhile, before its head, in batches."""
    seen: list[torch.Tensor] = []
    hook = estimator.embedding.register_forward_hook(lambda *call: seen.append(call[-1]))
    try:
        yield seen
    finally:
        hook.remove()


def side_by_side(*seen: list[torch.Tensor]) -> Array:
    """What :func:`noted` of each network holds, (n, n_feature)."""
    return torch.cat([torch.cat(batches).double() for batches in seen], dim=1).numpy()


@dataclass(frozen=True, eq=False)
class MisspecificationTest:
    """Gate of a model and its two networks.

    Parameters
    ----------
    model : SkyModel
    spectra : SpectralEstimator
    source_counts : SourceCountEstimator
    reference : EmbeddingReference
    gate : Gate
    others : tuple of Alternative
        Skies that it looks for by name.
    half : bool
        The networks are asked in bfloat16, as they are trained where the machine has it: one and a half times as fast.
    """

    model: SkyModel
    spectra: SpectralEstimator
    source_counts: SourceCountEstimator
    reference: EmbeddingReference
    gate: Gate
    others: tuple[Alternative, ...] = ()
    half: bool = False

    @classmethod
    def fit(
        cls,
        model: SkyModel,
        spectra: SpectralEstimator,
        source_counts: SourceCountEstimator,
        counts: ArrayLike,
        false_alarm: float = 0.01,
        others: Sequence[Alternative] = (),
        workers: int = 1,
    ) -> MisspecificationTest:
        """Calibrate on maps (n, n_energy, n_pix) of the model that training never saw.

        A quarter serves the embeddings' reference; of the rest, one half serves the expectation of every statistic and
        one half calibrates.
        """
        maps = np.asarray(counts)
        quarter, half = len(maps) // 4, has_bfloat16()
        embedded, covariates = _seen(spectra, source_counts, maps, half)
        reference = EmbeddingReference.fit(embedded[:quarter])
        known = reference.statistics(embedded[quarter:])
        statistics = np.concatenate([fit_statistics(maps[quarter:], model, others, workers), known], axis=1)
        names = (*FIT_STATISTICS, *(f"towards {other.name}" for other in others), *EMBEDDING_STATISTICS)
        sides = (*FIT_STATISTICS.values(), *(False for _ in (*others, *EMBEDDING_STATISTICS)))
        gate = Gate.fit(covariates[quarter:], statistics, names, sides, false_alarm)
        return cls(model, spectra, source_counts, reference, gate, tuple(others), half)

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
        maps = np.asarray(counts)
        embedded, covariates = _seen(self.spectra, self.source_counts, maps, self.half)
        known = self.reference.statistics(embedded)
        return covariates, np.concatenate([fit_statistics(maps, self.model, self.others), known], axis=1)

    def save(self, path: str | Path) -> None:
        """Store as one NumPy archive, with the identity of model and networks."""
        reference = {f"reference_{name}": np.asarray(value) for name, value in vars(self.reference).items()}
        identity = np.array(gate_identity(self.model, self.spectra, self.source_counts))
        others = {
            f"other_{i}_{key}": np.asarray(value)
            for i, sky in enumerate(self.others)
            for key, value in vars(sky).items()
        }
        arrays: dict[str, Any] = {**self.gate.arrays(), **reference, **others, "half": np.array(self.half)}
        arrays["identity"] = identity
        write_arrays(Path(path), arrays)

    @classmethod
    def load(
        cls, path: str | Path, model: SkyModel, spectra: SpectralEstimator, source_counts: SourceCountEstimator
    ) -> MisspecificationTest:
        """Read a stored gate.

        Raises
        ------
        InputError
            If it is no gate, or one of another model or of other weights.
        """
        try:
            arrays = read_arrays(Path(path))
            identity = str(arrays.pop("identity"))
            half = bool(arrays.pop("half", False))
            kept: dict[str, Any]
            kept = {name.removeprefix("reference_"): arrays.pop(name) for name in list(arrays) if "reference_" in name}
            reference = EmbeddingReference(**{**kept, "width": float(kept["width"])})
            n_other = sum(name.endswith("_change") for name in arrays)
            others = tuple(_stored_sky(arrays, i) for i in range(n_other))
            gate = Gate.from_arrays(arrays)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"gate {path}: cannot be read ({' '.join(str(error).split())})") from None
        if identity != gate_identity(model, spectra, source_counts):
            raise InputError(f"gate {path}: was made for another model or other weights")
        return cls(model, spectra, source_counts, reference, gate, others, half)


def _stored_sky(arrays: dict[str, NDArray], i: int) -> Alternative:
    return Alternative(str(arrays[f"other_{i}_name"]), arrays[f"other_{i}_rows"], arrays[f"other_{i}_change"])


def gate_identity(model: SkyModel | ImageSkyModel, *estimators: Estimator) -> str:
    """Hash of the model's fingerprint and all weights; not of what is measured later, which none sees."""
    found = hashlib.sha256(model.fingerprint.encode())
    for estimator in estimators:
        for name, value in sorted(estimator.state_dict().items()):
            if name in MEASURED_LATER:
                continue
            found.update(name.encode())
            found.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
    return found.hexdigest()[:16]


def _seen(
    spectra: SpectralEstimator, source_counts: SourceCountEstimator, maps: NDArray, half: bool
) -> tuple[Array, Array]:
    """Embeddings (n, n_feature) of maps, which pass through each network once, and what decides which maps are alike.

    That is ln counts, predicted flux fractions, and the depth of the predicted median SCDs.
    """
    precision = torch.autocast("cpu", torch.bfloat16, enabled=half)
    with precision, noted(spectra) as first, noted(source_counts) as second:
        fractions = spectra.predict_total(maps).mean[:, :-1]
        depth = source_counts.stated(maps, [0.5])[0].sum(axis=-1)
    total = np.log(np.maximum(maps.sum(axis=(1, 2), dtype=np.float64), 1.0))
    return side_by_side(first, second), np.concatenate([total[:, None], fractions, depth], axis=1)

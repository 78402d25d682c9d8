"""The diagnostics of sbi, for any posterior of the library: simulation-based calibration, TARP, local C2ST.

All take truths (n_map, d) and independent posterior samples (n_sample, n_map, d), and call `sbi.diagnostics` through a
posterior that hands out those samples. Bands and verdicts are our own: maps are independent, so that ranks and
coverages are binomial. References: SBC, Talts et al. 2018, 1804.06788; TARP, Lemos et al. 2023, 2302.03026; L-C2ST,
Linhart et al. 2023, 2306.03580.

Samples must be of the *joint* posterior for TARP and L-C2ST. The networks' spectra and source counts are marginal:
their samples hold no correlations, and these two tests may rightly say so; SBC looks at one component at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kstwo
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from gcesbi.errors import InputError, checked_seed

from .bootstrap import MIN_MAPS, binomial_band
from .calibration import JUDGING_LEVEL
from .checks import Array, check_draws, check_finite
from .estimate import Estimate
from .pit import normal_scores

if TYPE_CHECKING:
    from gcesbi.posterior import Posterior

__all__ = ["LocalTest", "QuadraticClassifier", "RankTest", "TarpTest", "local_c2st", "samples_of", "sbc", "tarp"]


def samples_of(posteriors: Sequence[Posterior], name: str, n: int = 1000, seed: int = 0) -> Array:
    """Samples (n, n_map, ...) of one quantity from posteriors of several maps, each with a seed of its own."""
    if not posteriors:
        raise InputError("posteriors: needs at least one, got none")
    seeds = np.random.SeedSequence(checked_seed(seed)).generate_state(len(posteriors))
    return np.stack([p.sample(n, int(s))[name] for p, s in zip(posteriors, seeds, strict=True)], axis=1)


@dataclass(frozen=True, eq=False)
class RankTest:
    """Ranks of the truth among posterior samples, component by component: uniform on 0 .. n_sample if exact.

    Parameters
    ----------
    ranks : array (n_map, d)
    n_sample : int
    p_uniform : array (d,)
        Kolmogorov-Smirnov p-value of uniformity, by sbi, of ranks spread within their cells: the test is for continuous
        numbers, and takes few ranks of many maps for a fault.
    """

    ranks: Array
    n_sample: int
    p_uniform: Array

    @property
    def few_maps(self) -> bool:
        """Whether there are too few maps to judge by."""
        return len(self.ranks) < MIN_MAPS

    def histogram(self, n_bin: int = 10, level: float = 0.95) -> tuple[Array, Array, Array]:
        """Counts of maps (d, n_bin), and the binomial band (low, high) that holds each with `level` if exact.

        Bins need the same number of ranks: n_sample + 1 should be a multiple of `n_bin`.
        """
        place = np.clip((self.ranks * n_bin / (self.n_sample + 1)).astype(np.intp), 0, n_bin - 1)
        counts = np.stack([np.bincount(column, minlength=n_bin) for column in place.T]).astype(np.float64)
        low, high = binomial_band(counts, np.full(counts.shape, float(len(self.ranks))), level)
        return counts, low * len(self.ranks), high * len(self.ranks)

    @cached_property
    def dispersion(self) -> Estimate:
        """How many times larger errors are than claimed, all components together: root mean square of Φ⁻¹(rank)."""
        return Estimate.mean(self._scores[1], level=JUDGING_LEVEL).root

    @cached_property
    def bias(self) -> Estimate:
        """Mean of Φ⁻¹(rank): above zero if truths lie above the samples."""
        return Estimate.mean(self._scores[0], level=JUDGING_LEVEL)

    @cached_property
    def _scores(self) -> tuple[Array, Array]:
        """Mean z and z² within each rank's cell: exactly 0 and 1 on average if the ranks are uniform."""
        return normal_scores(self.ranks / (self.n_sample + 1), (self.ranks + 1) / (self.n_sample + 1))

    @property
    def calibrated(self) -> bool:
        """Whether dispersion, bias and (corrected for d) uniformity all hold, at 5 % together."""
        d = len(self.p_uniform)
        return not (self.dispersion.side(1.0) or self.bias.side(0.0) or self.p_uniform.min() < (1 - JUDGING_LEVEL) / d)


def sbc(truth: ArrayLike, samples: ArrayLike, seed: int = 0) -> RankTest:
    """Simulation-based calibration by `sbi.diagnostics.run_sbc`: truth (n_map, d), samples (n_sample, n_map, d)."""
    from sbi.diagnostics.sbc import check_uniformity_frequentist, run_sbc

    values, draws = _checked(truth, samples)
    thetas, posterior, xs = _as_sbi(values, draws)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of few maps: RankTest says so itself
        ranks, _ = run_sbc(thetas, xs, posterior, num_posterior_samples=len(draws), show_progress_bar=False)
    found = ranks.numpy().astype(np.float64)
    spread = found + np.random.default_rng(seed).uniform(size=found.shape)
    p = check_uniformity_frequentist(torch.as_tensor(spread), len(draws) + 1).numpy().astype(np.float64)
    return RankTest(found, len(draws), p)


@dataclass(frozen=True, eq=False)
class TarpTest:
    """Expected coverage of balls about reference points.

    Parameters
    ----------
    alphas, coverage : array (n_alpha,)
    low, high : array (n_alpha,)
        Pointwise 95 % binomial band of the coverage.
    area : float
        sbi's "area to curve": below zero if over-confident.
    p_value : float
        Kolmogorov's, of the largest distance between coverage and diagonal, for n_map independent maps.
    n_map : int
    """

    alphas: Array
    coverage: Array
    low: Array
    high: Array
    area: float
    p_value: float
    n_map: int

    @property
    def few_maps(self) -> bool:
        """Whether there are too few maps to judge by."""
        return self.n_map < MIN_MAPS

    @property
    def calibrated(self) -> bool:
        """Whether the largest distance is one that chance makes, at 5 %."""
        return self.p_value >= 0.05


def tarp(
    truth: ArrayLike, samples: ArrayLike, references: Literal["mean", "prior"] = "mean", seed: int = 0
) -> TarpTest:
    """TARP by `sbi.diagnostics.run_tarp`: truth (n_map, d), samples (n_sample, n_map, d).

    `references` are each map's posterior mean over half of the samples (the other half is tested): balls about it feel
    the width in all directions at once; or, as sbi does, points uniform in the box of the truths, which lie far from
    most posteriors and feel little more than one direction.
    """
    from sbi.diagnostics.tarp import check_tarp, get_tarp_references, run_tarp

    values, draws = _checked(truth, samples)
    if references not in ("mean", "prior"):
        raise InputError(f"references: must be 'mean' or 'prior', got {references!r}")
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.simplefilter("ignore", UserWarning)  # of few maps: TarpTest says so itself
        warnings.simplefilter("ignore", RuntimeWarning)  # of check_tarp's p-value, which is not used
        half = len(draws) // 2
        tested = draws[half:] if references == "mean" else draws
        thetas, posterior, xs = _as_sbi(values, tested)
        mean = torch.as_tensor(draws[:half].mean(axis=0), dtype=torch.float32)
        points = mean if references == "mean" else get_tarp_references(thetas)
        n_bin = min(50, max(len(values) // 10, 2))
        coverage, alphas = run_tarp(
            thetas,
            xs,
            posterior,
            points,
            len(tested),
            show_progress_bar=False,
            num_bins=n_bin,
        )
        area, _ = check_tarp(coverage, alphas)
    shares, nominal = coverage.numpy().astype(np.float64), alphas.numpy().astype(np.float64)
    n = len(values)
    low, high = binomial_band(np.rint(shares * n), np.full(shares.shape, float(n)))
    p = float(kstwo.sf(np.abs(shares - nominal).max(), n))
    return TarpTest(nominal, shares, low, high, float(area), p, n)


class QuadraticClassifier(ClassifierMixin, BaseEstimator):
    """Logistic regression that finds shifts and wrong widths with few samples.

    Columns are the parameters θ (the first `n_parameter`, of about unit spread), their squares, the radius
    r = (|θ|² − n) / √(2n), the features of the map, and r times each; the ridge is strong, the last three nearly free
    of it. The fewer features, the more power.
    """

    def __init__(self, n_parameter: int = 1, random_state: int | None = None) -> None:
        self.n_parameter = n_parameter
        self.random_state = random_state

    def fit(self, X: NDArray, y: NDArray) -> QuadraticClassifier:
        """Fit on rows X (n, m) of classes y (n,)."""
        self.model_ = LogisticRegression(C=1e-3, max_iter=300).fit(self._columns(X), y)
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X: NDArray) -> NDArray:
        """Probabilities (n, 2) of the classes."""
        return self.model_.predict_proba(self._columns(X))

    def predict(self, X: NDArray) -> NDArray:
        """Likelier class of each row."""
        return self.model_.predict(self._columns(X))

    def _columns(self, rows: NDArray) -> NDArray:
        n = self.n_parameter
        theta, known = rows[:, :n], rows[:, n:]
        radius = (np.sum(theta**2, axis=1, keepdims=True) - n) / np.sqrt(2 * n)
        return np.concatenate([theta, theta**2, 5 * radius, 5 * radius * known, 5 * known], axis=1)


@dataclass(frozen=True, eq=False)
class LocalTest:
    """Local classifier two-sample tests at some maps.

    Parameters
    ----------
    maps : array (n,)
        Which of the maps were tested.
    p_values : array (n,)
        Share of classifiers trained under the null hypothesis that separate more than the real one does.
    n_null : int
    """

    maps: NDArray[np.intp]
    p_values: Array
    n_null: int

    @property
    def calibrated(self) -> bool:
        """Whether no map is rejected at 5 %, corrected for their number; p below 1/n_null counts as 1/n_null / 2."""
        smallest = max(float(self.p_values.min()), 0.5 / self.n_null)
        return smallest * len(self.p_values) >= 0.05


def local_c2st(
    truth: ArrayLike,
    samples: ArrayLike,
    features: ArrayLike,
    maps: Sequence[int] = (0,),
    *,
    classifier: str | type[Any] = QuadraticClassifier,
    n_null: int = 100,
    seed: int = 0,
) -> LocalTest:
    """Whether posteriors differ from the exact ones at given maps, by `sbi.diagnostics.LC2ST`.

    Truths and samples enter in units of each map's posterior: less its mean, by its standard deviation. An exact
    posterior stays exact so, and a classifier need not learn where posteriors lie.

    Parameters
    ----------
    truth : array (n_map, d)
    samples : array (n_sample, n_map, d)
        Joint; the first is set against the truth in training, the others are those on which the test is made.
    features : array (n_map, k)
        What is known of each map, some numbers: an embedding, counts, predicted fluxes.
    maps : sequence of int
        Where to test.
    classifier : type, "mlp" or "random_forest"
        See sbi's LC2ST.
    n_null : int
        Trials under the null hypothesis.
    """
    from sbi.diagnostics import LC2ST

    values, draws = _checked(truth, samples)
    known = check_finite("features", features)
    if known.ndim != 2 or len(known) != len(values):
        raise InputError(f"features: must have shape ({len(values)}, k), got {known.shape}")
    if len(draws) < 20:
        raise InputError(f"samples: must be at least 20 per map, got {len(draws)}")
    rest = draws[1:]
    centre, width = rest.mean(axis=0), np.maximum(rest.std(axis=0), 1e-300)
    spread = known.std(axis=0)
    x = _tensor((known - known.mean(axis=0)) / np.where(spread > 0, spread, 1.0))
    with torch.random.fork_rng(devices=[]):
        test = LC2ST(
            prior_samples=_tensor((values - centre) / width),
            xs=x,
            posterior_samples=_tensor((draws[0] - centre) / width),
            seed=seed + 1,
            classifier=classifier,
            classifier_kwargs={"n_parameter": values.shape[1]} if classifier is QuadraticClassifier else None,
            num_trials_null=n_null,
        )
        test.train_on_observed_data(verbosity=0).train_under_null_hypothesis(verbosity=0)
        p = [test.p_value(_tensor((rest[:, i] - centre[i]) / width[i]), x[i]) for i in maps]
    return LocalTest(np.asarray(maps, dtype=np.intp), np.array(p, dtype=np.float64), n_null)


class _Drawn:
    """What sbi asks of a posterior, answered by samples drawn before."""

    def __init__(self, draws: torch.Tensor) -> None:
        self.draws = draws

    def sample_batched(self, sample_shape: Any, x: torch.Tensor, **_: Any) -> torch.Tensor:
        return self.draws[: sample_shape[0]]


def _as_sbi(values: Array, draws: Array) -> tuple[torch.Tensor, _Drawn, torch.Tensor]:
    """Truths, posterior and (meaningless) observations in sbi's form, components in units of the truths' spread."""
    centre, scale = values.mean(axis=0), values.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    drawn = _Drawn(_tensor((draws - centre) / scale))
    return _tensor((values - centre) / scale), drawn, torch.zeros(len(values), 1)


def _tensor(values: Array) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)


def _checked(truth: ArrayLike, samples: ArrayLike) -> tuple[Array, Array]:
    values, draws = check_draws(truth, samples)
    if values.ndim != 2:
        raise InputError(f"truth: must have shape (n_map, d), got {values.shape}")
    return values, draws

"""One report of how calibrated and how sharp a set of predictions is: arrays in, numbers and one sentence out.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> mean, std = rng.normal(size=(500, 6)), np.ones((500, 6))
>>> report = Calibration.from_gaussian(mean + rng.normal(size=mean.shape), mean, std, name="exact")
>>> report.judgement
'calibrated'
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from gcesbi.errors import InputError

from .atoms import atom_bounds, share_inside, undecided
from .bootstrap import MIN_MAPS
from .checks import Array, check_cdfs, check_pair
from .coverage import (
    CalibrationCurve,
    calibration_curve,
    coverage_by,
    gaussian_covered,
    quantiles_covered,
    within,
    z_score,
)
from .distance import emd, pdf_from_cdf, semd
from .estimate import Estimate
from .levels import at_level, draw_quantiles
from .pit import normal_scores, pit_bounds, rank_bounds
from .recalibration import ScoreMap
from .scores import crps_from_quantiles, crps_from_samples, crps_gaussian
from .sharpness import gaussian_sharpness, sharpness

Mask = NDArray[np.bool_]

__all__ = ["ALPHAS", "Calibration", "plain"]

#: Nominal levels at which coverage is reported, as far as the quantile levels reach.
ALPHAS = np.sort(np.append(np.arange(5, 100, 5) / 100, 0.68))
#: Level of the three bands that judge: all hold their calibrated values together with 95 % (Bonferroni).
JUDGING_LEVEL = 1 - 0.05 / 3


@dataclass(frozen=True, eq=False)
class _Pairs:
    """What is known of each (map, ...) pair: the common ground of every kind of prediction.

    `covered` (n_alpha, n_map, ...) at `alphas` over the pairs `used` is the coverage that is shown; `held`, with atoms,
    over the pairs `judged` that which judges, as do `score` (z) and `square` (z²); the two differ for CDFs alone. All
    others are (n_map, ...) too, the widths None where the quantile levels do not reach.
    """

    alphas: Array
    covered: Mask | Array
    used: Mask
    held: Mask | Array
    judged: Mask
    score: Array
    square: Array
    crps: Array
    width_68: Array | None
    width_95: Array | None


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration and sharpness of one method's predictions of one quantity.

    Parameters
    ----------
    name : str
        Whose predictions, of what.
    n_map, n_pair : int
        Maps, and (map, bin) pairs that count.
    curve : CalibrationCurve
        Coverage against nominal level, with 95 % band.
    bin_coverage : array (n_alpha, n_bin)
        Coverage per entry of the last axis, at ``curve.alphas``; NaN where no pair counts.
    all_pairs, undecided : CalibrationCurve or None
        For CDFs: coverage with atoms at 0 and 1, over all pairs and over those whose prediction is open. `curve` counts
        pairs by their truth, which moves it for an exact posterior; these two are nominal for one. See
        :mod:`gcesbi.validation.atoms`.
    dispersion : Estimate
        How many times larger errors are than claimed: root mean square of z = Φ⁻¹(PIT). 1 if calibrated, above if
        over-confident. Its band is of level 98.3 %, as are those of `bias` and `coverage_68`, so that all three hold
        together with 95 %.
    bias : Estimate
        Mean of z: above zero if truths lie above (SCDs: are brighter than) the predictions.
    coverage_68 : Estimate or None
        Coverage of the 68 % interval; None where the quantile levels do not reach. For CDFs this, `dispersion` and
        `bias` count atoms, over the pairs of `undecided`.
    width_68, width_95 : float
        Median width of the central intervals; NaN where the quantile levels do not reach.
    crps : Estimate
        Mean continuous ranked probability score over all pairs, in the quantity's unit.
    semd, emd : Estimate or None
        Mean (signed) Earth mover's distance of the median curve, flux bins; for CDFs only.
    """

    name: str
    n_map: int
    n_pair: int
    curve: CalibrationCurve
    bin_coverage: Array
    dispersion: Estimate
    bias: Estimate
    coverage_68: Estimate | None
    width_68: float
    width_95: float
    crps: Estimate
    semd: Estimate | None = None
    emd: Estimate | None = None
    all_pairs: CalibrationCurve | None = None
    undecided: CalibrationCurve | None = None

    @classmethod
    def from_quantiles(
        cls,
        truth: ArrayLike,
        quantiles: ArrayLike,
        taus: ArrayLike,
        name: str = "prediction",
        cdf: bool = True,
        epsilon: float = 1e-5,
        seed: int = 0,
    ) -> Calibration:
        """Judge quantile curves: truth (n_map, ..., n_bin), quantiles (n_tau, n_map, ..., n_bin).

        `cdf` says that they are CDFs of source-count distributions: pairs with truth outside (ε, 1 − ε) do not count in
        `curve`, atoms at 0 and 1 are allowed for in what judges, and the distance of the median curve is measured.
        Otherwise every pair counts.
        """
        values, curves, levels = check_pair(truth, quantiles, taus)
        if not cdf:
            return cls._build(name, _quantile_pairs(values, curves, levels), seed)
        pairs = _cdf_pairs(values, curves, levels, epsilon)
        signed, absolute = _distances(values, at_level(curves, levels, 0.5, "taus"), seed)
        return replace(
            cls._build(name, pairs, seed),
            semd=signed,
            emd=absolute,
            all_pairs=calibration_curve(pairs.held, pairs.alphas),
            undecided=calibration_curve(pairs.held, pairs.alphas, pairs.judged),
        )

    @classmethod
    def from_gaussian(
        cls,
        truth: ArrayLike,
        mean: ArrayLike,
        std: ArrayLike,
        name: str = "prediction",
        seed: int = 0,
        *,
        asked: ScoreMap | None = None,
    ) -> Calibration:
        """Judge Gaussian predictions; truth, mean and std (n_map, ...), every pair counts.

        `asked` says at which scores of the Gaussian its quantiles are taken, where it is recalibrated.
        """
        z = z_score(truth, mean, std)
        if asked is not None and not asked.trivial:
            return cls._build(name, _asked_pairs(np.asarray(truth), np.asarray(mean), np.asarray(std), z, asked), seed)
        pairs = _all_pairs(
            ALPHAS,
            gaussian_covered(truth, mean, std, ALPHAS),
            score=z,
            square=z**2,
            crps=crps_gaussian(truth, mean, std),
            width_68=gaussian_sharpness(std, 0.68),
            width_95=gaussian_sharpness(std, 0.95),
        )
        return cls._build(name, pairs, seed)

    @classmethod
    def from_samples(cls, truth: ArrayLike, samples: ArrayLike, name: str = "prediction", seed: int = 0) -> Calibration:
        """Judge posterior samples (n_sample, n_map, ...) of quantities truth (n_map, ...), by the truths' ranks.

        Samples must be independent draws; ranks are then exact for any number of them, which quantiles are not.
        """
        return cls._build(name, _sample_pairs(truth, samples), seed)

    @classmethod
    def _build(cls, name: str, pairs: _Pairs, seed: int) -> Calibration:
        used, judged = pairs.used, pairs.judged
        if not used.any():
            raise InputError("truth: no pair counts, every true CDF value is 0 or 1 within epsilon")
        at_68 = np.flatnonzero(np.isclose(pairs.alphas, 0.68))
        covered_68 = pairs.held[at_68[0]].astype(np.float64) if at_68.size else None
        return cls(
            name=name,
            n_map=len(used),
            n_pair=int(used.sum()),
            curve=calibration_curve(pairs.covered, pairs.alphas, used),
            bin_coverage=coverage_by(pairs.covered, used, keep=-1),
            dispersion=Estimate.mean(pairs.square, judged, JUDGING_LEVEL, seed).root,
            bias=Estimate.mean(pairs.score, judged, JUDGING_LEVEL, seed),
            coverage_68=None if covered_68 is None else Estimate.mean(covered_68, judged, JUDGING_LEVEL, seed),
            width_68=_median(pairs.width_68, used),
            width_95=_median(pairs.width_95, used),
            crps=Estimate.mean(pairs.crps, seed=seed),
        )

    @property
    def few_maps(self) -> bool:
        """Whether there were fewer maps than a judgement needs."""
        return self.n_map < MIN_MAPS

    @property
    def judgement(self) -> str:
        """One of calibrated, over-confident, under-confident, misshapen, biased or too few maps.

        *Misshapen*: errors are larger than claimed in the tails and smaller in the core, or the reverse.
        """
        if self.few_maps:
            return "too few maps"
        signs = {self.dispersion.side(1.0), 0 if self.coverage_68 is None else -self.coverage_68.side(0.68)} - {0}
        if signs:
            return "misshapen" if len(signs) > 1 else "over-confident" if 1 in signs else "under-confident"
        return "biased" if self.bias.side(0.0) else "calibrated"

    @property
    def verdict(self) -> str:
        """One sentence for a person: the judgement, the size of the fault, coverage."""
        opening = self.judgement[0].upper() + self.judgement[1:]
        if self.few_maps:
            opening += f" to judge ({self.n_map} of at least {MIN_MAPS})"
        parts = [f"errors are {self.dispersion} times as large as claimed"]
        if side := self.bias.side(0.0):
            way = "low" if side > 0 else "high"
            parts.append(f"predictions lie too {way} by {abs(self.bias.value):.2f} of their claimed error")
        if self.coverage_68 is not None:
            share = self.coverage_68
            spread = f"{100 * share.low:.0f} to {100 * share.high:.0f}"
            right = "" if share.side(0.68) else ", as they claim"
            parts.append(f"68 % intervals hold {100 * share.value:.0f} % of truths ({spread}){right}")
        return f"{opening}: {'; '.join(parts)}."

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers, strings and lists, for JSON; NaN becomes None."""
        return {**plain(asdict(self)), "few_maps": self.few_maps, "judgement": self.judgement, "verdict": self.verdict}


def _quantile_pairs(values: Array, curves: Array, levels: Array) -> _Pairs:
    alphas = _reachable(levels)
    score, square = normal_scores(*pit_bounds(values, curves, levels))
    reach = {level: level <= alphas[-1] + 1e-9 for level in (0.68, 0.95)}
    return _all_pairs(
        alphas,
        quantiles_covered(values, curves, levels, alphas),
        score=score,
        square=square,
        crps=crps_from_quantiles(values, curves, levels),
        width_68=sharpness(curves, levels, 0.68) if reach[0.68] else None,
        width_95=sharpness(curves, levels, 0.95) if reach[0.95] else None,
    )


def _sample_pairs(truth: ArrayLike, samples: ArrayLike) -> _Pairs:
    low, high = rank_bounds(truth, samples)
    score, square = normal_scores(low, high)
    draws = np.asarray(samples, dtype=np.float64)
    outer = draw_quantiles(draws, [0.025, 0.16, 0.84, 0.975])
    return _all_pairs(
        ALPHAS,
        share_inside(low, high, ALPHAS),
        score=score,
        square=square,
        crps=crps_from_samples(truth, draws),
        width_68=outer[2] - outer[1],
        width_95=outer[3] - outer[0],
    )


def _all_pairs(alphas: Array, covered: Mask | Array, **found: Any) -> _Pairs:
    """Pairs of which each counts, and is held by what covers it."""
    every = np.ones(found["score"].shape, bool)
    return _Pairs(alphas=alphas, covered=covered, used=every, held=covered, judged=every, **found)


def _asked_pairs(truth: Array, mean: Array, std: Array, z: Array, asked: ScoreMap) -> _Pairs:
    """Of Gaussians that are asked at other scores than are wanted."""
    score, reach = asked.inverse(z), ndtri((1 + ALPHAS) / 2)
    levels = np.arange(1, 80) / 80
    curves = mean + std * asked(ndtri(levels)).reshape(-1, *(1,) * z.ndim)
    low, high = (asked(ndtri(each)) for each in ([0.16, 0.025], [0.84, 0.975]))
    return _all_pairs(
        ALPHAS,
        np.abs(score) <= reach.reshape(-1, *(1,) * z.ndim),
        score=score,
        square=score**2,
        crps=crps_from_quantiles(truth, curves, levels),
        width_68=std * (high - low)[0],
        width_95=std * (high - low)[1],
    )


def _cdf_pairs(values: Array, curves: Array, levels: Array, epsilon: float) -> _Pairs:
    check_cdfs(values, curves)
    pairs, used, open_ = _quantile_pairs(values, curves, levels), within(values, epsilon), undecided(curves)
    bounds = atom_bounds(values, curves, levels)
    score, square = normal_scores(*bounds)
    judged = open_ if open_.any() else np.ones(values.shape, bool)
    return replace(
        pairs, used=used, held=share_inside(*bounds, pairs.alphas), judged=judged, score=score, square=square
    )


def _reachable(taus: Array) -> Array:
    """Nominal levels of :data:`ALPHAS` that the quantile levels allow."""
    reach = 2 * min(0.5 - taus[0], taus[-1] - 0.5)
    alphas = ALPHAS[reach + 1e-9 >= ALPHAS]
    if alphas.size == 0:
        raise InputError(f"taus: must reach to 0.475 and 0.525 at least, got {taus[0]:g} to {taus[-1]:g}")
    return alphas


def _median(widths: Array | None, used: Mask) -> float:
    return float("nan") if widths is None else float(np.median(widths[used]))


def _distances(truth: Array, median: Array, seed: int) -> tuple[Estimate, Estimate]:
    """Signed and absolute Earth mover's distance of the median curve, averaged over maps (and templates)."""
    pair = pdf_from_cdf(truth), pdf_from_cdf(median)
    signed, absolute = semd(*pair), emd(*pair)
    every = np.ones(signed.shape, bool)
    return Estimate.mean(signed, every, seed=seed), Estimate.mean(absolute, every, seed=seed)


def plain(value: Any) -> Any:
    """Nested results as plain numbers, strings, lists and dictionaries; NaN and infinities become None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value

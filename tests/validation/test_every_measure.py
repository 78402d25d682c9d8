"""Every measure passes the exact posterior of a linear-Gaussian model, and rejects widths 10 % off, at 500 maps.

Each judge returns +1 (over-confident), 0 (calibrated) or -1 (under-confident), or only whether something is wrong.
"""

import numpy as np
import pytest
from scipy.stats import norm

from gcesbi.validation import (
    Calibration,
    ConformalBand,
    adversarial_groups,
    calibration_curve,
    conditional_mean,
    curves_along,
    gaussian_covered,
    groups_by,
    pit,
    pit_gaussian,
    pit_histogram_band,
    quantiles_covered,
    simultaneous_coverage,
)
from gcesbi.validation.sbi_diagnostics import local_c2st, sbc, tarp

TAUS = np.arange(1, 100) / 100


def side_of(curve, alpha):
    """+1 if the band of the coverage at α lies below it."""
    _, low, high = curve.at(alpha)
    return int(high < alpha) - int(low > alpha)


def coverage_gaussian(p):
    return side_of(calibration_curve(gaussian_covered(p.truth, p.mean, p.std, [0.68]), [0.68]), 0.68)


def coverage_quantiles(p):
    return side_of(calibration_curve(quantiles_covered(p.truth, p.quantiles, TAUS, [0.68]), [0.68]), 0.68)


def coverage_by_template(p):
    """Four templates of three bins each."""
    covered = gaussian_covered(p.truth, p.mean, p.std, [0.68]).reshape(1, len(p.truth), 4, 3)
    sides = [side_of(curve, 0.68) for curve in curves_along(covered, [0.68], axis=1, level=1 - 0.05 / 4)]
    return int(np.sign(sum(sides)))


def dispersion(p):
    judgement = Calibration.from_gaussian(p.truth, p.mean, p.std).judgement
    return {"calibrated": 0, "over-confident": 1, "under-confident": -1}.get(judgement, 9)


def pit_flat(values):
    found = pit_histogram_band(values)
    return 0 if found.flat else int(np.sign(found.density[[0, -1]].mean() - 1))


def whole_curves(p):
    """The bins are independent: α^12 of whole curves are held."""
    found = simultaneous_coverage(p.truth, p.quantiles, TAUS, [0.9], cdf=False).curve
    return int(found.high[0] < 0.9**12) - int(found.low[0] > 0.9**12)


def widening(p):
    """Stretching to hold whole curves: against the factor for bands of which the largest of 12 |z| is known."""
    known = norm.ppf((1 + 0.68 ** (1 / 12)) / 2) / norm.ppf((1 + 0.68) / 2)
    ratio = simultaneous_coverage(p.truth, p.quantiles, TAUS, [0.68], cdf=False).widening[0] / known
    return int(ratio > 1.05) - int(ratio < 0.95)


def conformal(p):
    """Widening in units of the claimed error; 0.04 is 2.3 times its error √(0.68 · 0.32 / 6000) / (2 φ(z))."""
    error = (p.truth - p.mean) / p.std
    curves = np.broadcast_to(norm.ppf(TAUS)[:, None], (99, error.size))
    widened = float(ConformalBand.fit(error.ravel(), curves, TAUS, 0.68).widening)
    return int(widened > 0.04) - int(widened < -0.04)


def groups_of_coverage(p):
    covered = gaussian_covered(p.truth, p.mean, p.std, [0.68])[0]
    found = conditional_mean(covered, groups_by(p.mean[:, 0], "predicted"), 0.68)
    return -found.worst.estimate.side(0.68) if not found.calibrated else 0


def groups_of_dispersion(p):
    square = ((p.truth - p.mean) / p.std) ** 2
    found = conditional_mean(square, groups_by(p.features.sum(axis=1), "counts"), 1.0)
    return found.worst.estimate.side(1.0) if not found.calibrated else 0


def searched_groups(p):
    square = ((p.truth - p.mean) / p.std) ** 2
    groups = adversarial_groups(p.features, square.mean(axis=1), [f"x{i}" for i in range(12)])
    found = conditional_mean(square, groups, 1.0)
    return found.worst.estimate.side(1.0) if not found.calibrated else 0


def sbi_ranks(p):
    found = sbc(p.truth, p.samples())
    return 0 if found.calibrated else found.dispersion.side(1.0)


def sbi_tarp(p):
    found = tarp(p.truth, p.samples(400))
    return 0 if found.calibrated else -int(np.sign(found.area))


def sbi_local(p):
    return int(not local_c2st(p.truth, p.samples(60), p.features.sum(axis=1, keepdims=True), [0, 1]).calibrated)


JUDGES = {
    "coverage, Gaussian": coverage_gaussian,
    "coverage, quantiles": coverage_quantiles,
    "coverage by template": coverage_by_template,
    "dispersion, bias, coverage": dispersion,
    "PIT, Gaussian": lambda p: pit_flat(pit_gaussian(p.truth, p.mean, p.std)),
    "PIT, quantiles": lambda p: pit_flat(pit(p.truth, p.quantiles, TAUS, seed=1)),
    "whole curves": whole_curves,
    "widening": widening,
    "conformal widening": conformal,
    "groups, coverage": groups_of_coverage,
    "groups, dispersion": groups_of_dispersion,
    "groups that a tree found": searched_groups,
    "sbi: ranks": sbi_ranks,
    "sbi: TARP": sbi_tarp,
    "sbi: local C2ST": sbi_local,
}
ONE_SIDED = {"sbi: local C2ST"}


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize(("factor", "side"), [(1.0, 0), (0.9, 1), (1.1, -1)], ids=["exact", "narrow", "wide"])
def test_passes_the_exact_posterior_and_rejects_ten_percent(linear_gaussian, name, factor, side):
    found = JUDGES[name](linear_gaussian(factor))
    assert found == (abs(side) if name in ONE_SIDED else side)

"""Time of all measures but sbi's on 1,000 maps, 99 quantiles, 2 templates x 26 bins; and of the page made of them.

    python benchmarks/bench_validation.py

Predictions are exact, of histograms with a Dirichlet prior seen through multinomial counts; maps are of one pixel a
bin, so that what is timed is arithmetic on predictions, not networks. Processor times, and elapsed ones in brackets.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import beta

from gcesbi.report.html import FigureBlock, Report, Section, write_report
from gcesbi.validation import (
    Calibration,
    ConformalBand,
    adversarial_groups,
    conditional_mean,
    coverage_with_atoms,
    crps_from_quantiles,
    curves_along,
    groups_by,
    pit,
    pit_histogram_band,
    prior_quantiles,
    quantiles_covered,
    sharpness_ratio,
    simultaneous_coverage,
    skill_estimate,
    undecided,
    within,
)
from gcesbi.validation.pit import normal_scores, pit_bounds

N_MAP, N_TEMPLATE, N_BIN, N_PHOTON = 1000, 2, 26, 60
TAUS = np.arange(1, 100) / 100
ALPHAS = np.array([0.5, 0.68, 0.95])


def predictions(rng):
    """Truth (n_map, n_template, n_bin), exact quantiles (n_tau, ...), labels of other maps."""
    prior = np.full(N_BIN, 0.5)
    pdf = rng.dirichlet(prior, size=(N_MAP, N_TEMPLATE))
    seen = prior + rng.multinomial(N_PHOTON, pdf)
    below = np.cumsum(seen, axis=-1)[..., :-1]
    levels = (1 - TAUS)[:, None, None, None]
    inner = beta.ppf(levels, below, seen.sum(axis=-1, keepdims=True) - below)
    curves = np.concatenate([inner, np.ones((*inner.shape[:-1], 1))], axis=-1)
    truth, labels = (np.minimum(np.cumsum(p, axis=-1), 1.0) for p in (pdf, rng.dirichlet(prior, (2000, N_TEMPLATE))))
    truth[..., -1] = labels[..., -1] = 1.0
    return truth, curves, labels


def steps(truth, curves, labels):
    """Names and the work of every measure."""
    used = within(truth, 1e-5)
    covered = quantiles_covered(truth, curves, TAUS, ALPHAS)
    width = (curves[5] - curves[94]).mean(axis=(1, 2))
    square = normal_scores(*pit_bounds(truth, curves, TAUS))[1]
    each = np.where(used, square, 0.0).sum(axis=(1, 2)) / used.sum(axis=(1, 2))
    prior = prior_quantiles(labels, TAUS, falling=True)
    before = np.broadcast_to(prior[:, None], curves.shape)
    features = np.stack([width, curves[49].mean(axis=(1, 2)), curves[49, :, 0].mean(axis=1)], axis=1)
    return {
        "coverage, dispersion, bias, CRPS, SEMD, EMD": lambda: Calibration.from_quantiles(truth, curves, TAUS),
        "coverage with atoms, open predictions": lambda: coverage_with_atoms(
            truth, curves, TAUS, ALPHAS, used=undecided(curves)
        ),
        "coverage by flux bin": lambda: curves_along(covered, ALPHAS, -1, used),
        "coverage by template": lambda: curves_along(covered, ALPHAS, 1, used),
        "whole curves": lambda: simultaneous_coverage(truth, curves, TAUS, ALPHAS),
        "PIT with bands": lambda: pit_histogram_band(pit(truth, curves, TAUS, seed=1), used),
        "groups of maps": lambda: conditional_mean(square, groups_by(width, "width"), 1.0, used),
        "groups that a tree finds": lambda: conditional_mean(
            square, adversarial_groups(features, each, ["width", "depth", "gce"]), 1.0, used
        ),
        "width against the prior's": lambda: sharpness_ratio(curves, TAUS, prior),
        "skill against the prior": lambda: skill_estimate(
            crps_from_quantiles(truth, curves, TAUS), crps_from_quantiles(truth, before, TAUS)
        ),
        "conformal widening": lambda: ConformalBand.fit(truth[:500], curves[:, :500], TAUS, 0.68).interval(
            curves[:, 500:], TAUS
        ),
    }


def page(truth, curves):
    """A page with as many figures as the validation page has."""
    from gcesbi import plots

    reports = {f"template {j}": Calibration.from_quantiles(truth[:, j], curves[:, :, j], TAUS) for j in (0, 1)}
    used = within(truth, 1e-5)
    by_bin = curves_along(quantiles_covered(truth, curves, TAUS, ALPHAS), ALPHAS, -1, used)
    lines = {name: report.curve for name, report in reports.items()}
    blocks = [FigureBlock(plots.coverage_curves(lines), "Coverage curves.", "On the diagonal.") for _ in range(8)]
    blocks += [
        FigureBlock(plots.bin_coverage(by_bin, np.arange(N_BIN), "bin"), "Coverage by bin.", "On the dashed line.")
        for _ in range(8)
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = {name: report.to_dict() for name, report in reports.items()}
        report = Report("Page", "Verdict.", (Section("All", *blocks),), data=data)
        write_report(Path(folder) / "page.html", report)


def timed(work):
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main():
    truth, curves, labels = predictions(np.random.default_rng(0))
    total = np.zeros(2)
    for name, work in steps(truth, curves, labels).items():
        spent = np.array(timed(work))
        total += spent
        print(f"{name:55s} {spent[0]:7.2f} s ({spent[1]:.2f})")
    print(f"{'all measures':55s} {total[0]:7.2f} s ({total[1]:.2f})   target: 10 s on two cores")
    spent = timed(lambda: page(truth, curves))
    print(f"{'page with 16 figures':55s} {spent[0]:7.2f} s ({spent[1]:.2f})   target: 30 s")


if __name__ == "__main__":
    main()

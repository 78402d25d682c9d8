"""What energies are worth: a source-count network that sees all energy bins, and its energy-independent twins.

    python benchmarks/twins.py RUN [--train 50000] [--maps 150000] [--test 1000] [--seed 1]

RUN holds stored maps of several energy bins. All networks are of the same sizes and see as many maps as often:

- *resolved*: a channel for every energy bin, and one for their sum;
- *summed*: one channel, the counts of all bins added up, on the same maps;
- *one bin*: trained on maps that were drawn in one energy bin, with its mean PSF and exposure and no spectra, as older
  work does. It is judged on held-out maps of its own, and on the stored ones, their bins added up.

SEMD is the signed Earth mover's distance of the median, half width half of its central 68 %, in flux bins; coverage is
pointwise. The second table compares pairs of networks map by map on the same maps: skill is the share of the second
one's CRPS that the first saves. Errors are bootstrap standard deviations over maps, bands of the second table 95 %.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from how_good import TAUS, bootstrap

from gcesbi import Simulator, SkyModel
from gcesbi.analysis.run import Run
from gcesbi.estimators import SourceCountEstimator, TrainingSettings
from gcesbi.physics.scd import true_cdf
from gcesbi.validation import Comparison, coverage, emd, semd, sharpness

ALPHAS = np.array([0.68, 0.95])


def summed(maps):
    """The same maps in one energy bin."""
    return replace(
        maps, counts=maps.counts.sum(axis=1, keepdims=True, dtype=np.int64), flux=maps.flux.sum(axis=2, keepdims=True)
    )


def trained(model, maps, network, training):
    """A source-count network, and maps a second."""
    estimator = SourceCountEstimator.for_model(model, network=network, seed=training.seed)
    history = estimator.fit(maps, training)
    print(f"{network.energy}, {model.n_energy} bins: {history.maps} maps, {history.maps_per_second:.0f} a second")
    return estimator


def row(label, name, scd, curves, rng):
    """One line of the first table: histograms (n_map, n_bin) and quantile curves (n_tau, n_map, n_bin)."""
    truth, n = true_cdf(scd), len(scd)
    median = np.diff(curves[len(TAUS) // 2], axis=-1, prepend=0.0)
    signed, distance, width = semd(scd, median), emd(scd, median), sharpness(curves, TAUS)
    figures = [
        bootstrap(lambda rows: np.median(signed[rows]), n, rng),
        bootstrap(lambda rows: np.diff(np.quantile(signed[rows], [0.16, 0.84]))[0] / 2, n, rng),
        bootstrap(lambda rows: distance[rows].mean(), n, rng),
        bootstrap(lambda rows: np.median(width[rows]), n, rng),
    ]
    covered, error = bootstrap(lambda rows: coverage(truth[rows], curves[:, rows], TAUS, ALPHAS), n, rng, 50)
    figures += list(zip(covered, error, strict=True))
    digits = (2, 2, 2, 3, 3, 3)
    cells = [f"{value:.{d}f} ± {spread:.{d}f}" for (value, spread), d in zip(figures, digits, strict=True)]
    print(f"| {name} | {label} | {' | '.join(cells)} |")


def compared(name, scd, first, second, labels, seed):
    curves = dict(zip(labels, (first, second), strict=True))
    (found,) = Comparison.of(true_cdf(scd), curves, TAUS, cdf=True, seed=seed).pairs
    print(f"| {name} | {labels[1]} against {labels[0]} | {found.skill} | {found.width_ratio} | {found.correlation} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--train", type=int, default=50_000, help="distinct maps")
    parser.add_argument("--maps", type=int, default=150_000, help="maps presented to each network")
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = Run.open(given.run)
    model, network, first = run.model, run.settings.network, run.settings.simulation.n_test
    held_out = run.store.read(0, min(given.test, first))
    training = TrainingSettings(max_maps=given.maps, seed=given.seed)

    maps = run.store.read(first, first + given.train)
    found = {
        kind: trained(model, maps, replace(network, energy=kind), training).quantiles(held_out.counts, TAUS)
        for kind in ("resolved", "summed")
    }
    del maps
    one = Simulator(SkyModel.build(run.settings.sky.model_copy(update={"n_energy": 1})))
    twin = trained(one.model, one.sample(given.train, given.seed), network, training)
    own = one.sample(len(held_out), given.seed + 1)
    found["one bin"] = twin.quantiles(summed(held_out).counts, TAUS)
    alone = twin.quantiles(own.counts, TAUS)

    print(f"\n{given.train} maps, {given.maps} presented, seed {given.seed}; {len(held_out)} held-out maps\n")
    print("| template | network | SEMD | half width | EMD | 95 % width | coverage at 0.68 | at 0.95 |")
    print("|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for j, name in enumerate(model.point_sources):
        for label, curves in found.items():
            row(label, name, held_out.scd[:, j], curves[:, :, j], rng)
        row("one bin, maps of its own", name, own.scd[:, j], alone[:, :, j], rng)
    print("\n| template | pair | skill | ratio of 68 % widths | correlation of errors |\n|---|---|---|---|---|")
    for j, name in enumerate(model.point_sources):
        for pair in (("summed", "resolved"), ("one bin", "resolved"), ("one bin", "summed")):
            compared(name, held_out.scd[:, j], *(found[each][:, :, j] for each in pair), pair, given.seed)


if __name__ == "__main__":
    main()

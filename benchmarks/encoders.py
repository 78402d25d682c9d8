"""Face network against DeepSphere at equal training time: held-out loss, sharpness, maps a second.

    python benchmarks/encoders.py RUN [--seconds 300] [--train 50000] [--test 1000] [--seed 1] [--only NAME ...]

RUN holds stored maps. Four source-count networks, on the face, on the face with means over pixels too
(``gcesbi.networks.layers``), on the face with residuals of a Poisson fit (``gcesbi.networks.residuals``) and on the
graph, have the same widths, seeds and maps, and each trains for so many seconds of one core: a pilot tells how many
maps that makes, and over those its learning rate falls to zero. Time is the processor's, so that other jobs on the
machine change little. The loss is that of training, the Earth mover's pinball loss at random levels, on the held-out
maps; CRPS is the mean over bins of the continuous ranked probability score of the CDF's values, width the median of
their 95 % intervals. Errors are those of the mean (or bootstrap standard deviations) over maps; the last lines compare
pairs map by map.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from how_good import TAUS, bootstrap

from gcesbi.analysis.run import Run
from gcesbi.estimators import SourceCountEstimator, TrainingSettings
from gcesbi.physics.scd import true_cdf
from gcesbi.validation import Comparison, coverage, crps_from_quantiles, sharpness

PILOT = 256  # maps
NETWORKS = {
    "face": {"encoder": "face"},
    "face, means": {"encoder": "face", "means": True},
    "face, residuals": {"encoder": "face", "residuals": True},
    "DeepSphere": {"encoder": "chebyshev"},
}
PAIRS = (("DeepSphere", "face"), ("face", "face, means"), ("face", "face, residuals"))


def held_out_loss(estimator, maps, seed):
    """Mean of the training loss over maps, as in a validation."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        outputs = [(part, estimator(torch.from_numpy(part.counts.astype(np.float32)))) for part in parts(maps, 250)]
        return np.mean([float(estimator.loss(output, estimator.targets(part).float())) for part, output in outputs])


def fitted(model, network, maps, training):
    """An estimator and the processor's seconds that its training took."""
    estimator, start = SourceCountEstimator.for_model(model, network=network, seed=training.seed), time.process_time()
    estimator.fit(maps, training)
    return estimator, time.process_time() - start


def parts(maps, size):
    return [maps[i : i + size] for i in range(0, len(maps), size)]


def row(label, name, n_map, seconds, loss, truth, curves, rng):
    n = len(truth)
    score, width = crps_from_quantiles(truth, curves, TAUS).mean(axis=-1), sharpness(curves, TAUS)
    sharp, error = bootstrap(lambda rows: np.median(width[rows]), n, rng)
    covered, spread = bootstrap(lambda rows: coverage(truth[rows], curves[:, rows], TAUS, [0.95])[0], n, rng, 50)
    print(
        f"| {label} | {n_map / seconds:.0f} | {n_map} | {seconds:.0f} | {loss:.4f} | {name} "
        f"| {score.mean():.4f} ± {score.std() / np.sqrt(n):.4f} | {sharp:.3f} ± {error:.3f} "
        f"| {covered:.3f} ± {spread:.3f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, each")
    parser.add_argument("--train", type=int, default=50_000, help="distinct maps")
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = Run.open(given.run)
    model, first = run.model, run.settings.simulation.n_test
    held_out, maps = run.store.read(0, min(given.test, first)), run.store.read(first, first + given.train)
    training = TrainingSettings(max_maps=PILOT, seed=given.seed, validation_share=0.0)
    truth, found = true_cdf(held_out.scd), {}
    print("| network | maps/s | maps presented | s | held-out loss | template | CRPS | 95 % width | coverage at 0.95 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for label in given.only:
        network = replace(run.settings.network, **{"means": False, "residuals": False} | NETWORKS[label])
        few = [replace(training, max_maps=n) for n in (PILOT // 4, PILOT, 5 * PILOT)]  # the first one warms up
        spent = [fitted(model, network, maps[: 2 * PILOT], each)[1] for each in few]
        n_map = int(given.seconds * 4 * PILOT / (spent[2] - spent[1]))  # what is constant falls out
        estimator, seconds = fitted(model, network, maps, replace(training, max_maps=n_map))
        loss = held_out_loss(estimator, held_out, given.seed)
        found[label] = estimator.quantiles(held_out.counts, TAUS)
        for j, name in enumerate(model.point_sources):
            row(label, name, n_map, seconds, loss, truth[:, j], found[label][:, :, j], np.random.default_rng(0))
    for j, name in enumerate(model.point_sources):
        for one, two in (pair for pair in PAIRS if found.keys() >= set(pair)):
            curves = {each: found[each][:, :, j] for each in (one, two)}
            (pair,) = Comparison.of(truth[:, j], curves, TAUS, cdf=True, seed=given.seed).pairs
            print(f"{name}: skill of {two} against {one} {pair.skill}, widths {pair.width_ratio} of its")


if __name__ == "__main__":
    main()

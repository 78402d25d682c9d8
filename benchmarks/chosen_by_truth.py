"""What choosing maps by their truth does to an exact posterior: its signed Earth mover's distance is no longer centred.

    python benchmarks/chosen_by_truth.py [--maps 1000] [--draws 50000] [--seed 1]

Take the toy sky of ``toy_known_answer.py``, whose posterior can be computed, here by importance from the prior. Over
all maps the posterior's median curve is as often too dim as too bright. Among maps whose true flux-weighted median
source is brighter than one photon it must be too dim: the maps were chosen by what no posterior is told, and a
posterior leans towards what is likely, which on average is dimmer. The benchmark ``how_good.py`` chooses maps of a
network so. Maps chosen by what the posterior itself says, its own median source above one photon, show no such shift.

SEMD is that of the median curve, in flux bins; half width is half of its central 68 %. Errors are bootstrap standard
deviations over maps; what importance sampling adds to them is shown by two independent halves of the draws.
"""

from __future__ import annotations

import argparse

import numpy as np
from how_good import bootstrap, centre_and_half_width, median_source
from toy_known_answer import EDGE, EXPOSURE, N_FFT, ExactPosterior, toy_model

from gcesbi import Simulator
from gcesbi.validation import semd

SAMPLES = 1000


def median_curves(exact, counts, n_prior, rng):
    """Median CDFs (n_map, n_bin) of the exact posterior, bin by bin, and effective numbers of draws (n_map,)."""
    numbers = np.stack([np.bincount(each, minlength=N_FFT) for each in counts[:, 0]])
    theta = exact.model.prior().from_uniform(rng.random((n_prior, 5)).clip(EDGE, 1 - EDGE))
    value, cdf = exact.log_likelihood(theta, numbers), exact.cdf(theta)
    weight = np.exp(value - value.max(axis=0))
    weight /= weight.sum(axis=0)
    chosen = (rng.choice(n_prior, SAMPLES, p=each) for each in weight.T)
    return np.stack([np.median(cdf[rows], axis=0) for rows in chosen]), 1 / np.square(weight).sum(axis=0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=50_000, help="from the prior, in each of two halves")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    model, rng = toy_model(), np.random.default_rng(given.seed)
    maps, exact = Simulator(model).sample(given.maps, seed=given.seed), ExactPosterior(model)
    truth, photon = exact.cdf(maps.theta), -np.log10(EXPOSURE)
    print("| maps chosen by | half | maps | median SEMD | half width |\n|---|---|---|---|---|")
    for half in (1, 2):
        median, effective = median_curves(exact, maps.counts, given.draws, rng)
        signed = semd(np.diff(truth, axis=-1, prepend=0.0), np.diff(median, axis=-1, prepend=0.0))
        bright = {name: median_source(model.bins, cdf) > photon for name, cdf in (("truth", truth), ("answer", median))}
        for label, rows in {"nothing": signed < np.inf, **bright}.items():
            figures = bootstrap(lambda draw, chosen=signed[rows]: centre_and_half_width(chosen[draw]), rows.sum(), rng)
            cells = [f"{value:+.2f} ± {error:.2f}" for value, error in zip(*figures, strict=True)]
            print(f"| {label} | {half} | {rows.sum()} | {cells[0]} | {cells[1][1:]} |")
        print(f"effective draws: median {np.median(effective):.0f}, tenth part below {np.quantile(effective, 0.1):.0f}")


if __name__ == "__main__":
    main()

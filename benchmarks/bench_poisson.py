"""Time of Poisson fits: the real 573-week map, its intervals and goodness of fit, 2,000 maps, and ten energy bins.

    python benchmarks/bench_poisson.py [data folder]

One core (set OMP_NUM_THREADS=1), best of several runs after a first one; ratios are to one plain evaluation of ln L
(mean, then scipy's ln P, summed) in the same run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.stats import poisson
from timing import best

from gcesbi import Observation, SkyModel, read_observation
from gcesbi.baselines import PoissonFit, deviance, goodness_of_fit


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "shared" / "data"
    observation = read_observation(folder / "fermi-573w", mask="3fgl")
    model = SkyModel.from_folder(folder / "fermi-573w").for_observation(observation)
    counts, templates = observation.counts[0], model.templates[:, 0]
    result = PoissonFit(model, observation).run()
    norms = result.norms
    one = best(lambda: poisson.logpmf(counts, norms @ templates).sum(), 50)

    def say(what, seconds):
        print(f"{what:46s} {1e3 * seconds:9.2f} ms {seconds / one:10.1f}")

    print(f"{counts.size} pixels, {counts.sum()} counts, {len(templates)} templates{'':12s} {'':9s} ratio")
    say("one ln L", one)
    say("fit, checks of the templates included", best(lambda: PoissonFit(model, observation).run(), 20))
    say("fit alone", best(PoissonFit(model, observation).run, 20))
    say("test statistics of all templates", best(lambda: PoissonFit(model, observation).run().test_statistics, 5))
    say("68 % intervals of all templates", best(result.intervals, 5))
    say("goodness of fit, 200 maps", best(lambda: goodness_of_fit(result), 2))
    maps = np.random.default_rng(0).poisson(result.mean, (2000, *result.mean.shape))
    say("deviance of 2,000 maps", best(lambda: deviance(maps, model), 1))
    ten = SkyModel.preset(nside=64, n_energy=10)
    mean = 2.0 * ten.templates.sum(axis=0) / 10
    seen = Observation(np.random.default_rng(1).poisson(mean), ten.exposure, ten.energy_edges, ten.region)
    say(f"ten bins of {seen.counts.shape[1]} pixels", best(lambda: PoissonFit(ten, seen).run(), 5))
    say("their spectra with errors and limits", best(lambda: PoissonFit(ten, seen).run().template_spectra(), 2))


if __name__ == "__main__":
    main()

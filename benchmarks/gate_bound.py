"""How well any test could tell another sky from a run's own on one map, and how well the gate's score tests do.

    python benchmarks/gate_bound.py RUN --observation data/fermi-573w [--maps 200]

Maps of every sky are as bright as the observation, template by template (:mod:`gcesbi.evaluation.matched_maps`).
Printed are areas under the curve, nominal maps against the other sky's, with 95 % bands:

- *known*: ln p(k | θ, other sky) − ln p(k | θ, run's sky) at the parameters θ that made the map. By the lemma of
  Neyman and Pearson nothing separates these two better, whoever knows θ; the NPTF stands for p, which takes
  neighbouring pixels as independent. No gate knows θ: this bounds what is in the data, not what can be had.
- *smooth*: were the light of both skies smooth, and the norms free: Φ(d/√2) with d² = Σ D⊥²/μ at the best fit to the
  observation (:mod:`gcesbi.evaluation.score_tests`). What point sources add to the scatter is left out.
- *score*: the gate's statistic towards the sky (:mod:`gcesbi.evaluation.score_tests`): norms fitted, source counts
  unknown. In the gate it is compared with that of like maps besides, which costs or gains.

The run needs no trained networks; its model must have one energy bin.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from scipy.stats import norm

from gcesbi.analysis.run import Run
from gcesbi.analysis.variations import variations
from gcesbi.baselines import NPTF
from gcesbi.baselines.nptf.priors import ModelPriors
from gcesbi.baselines.nptf.psf_correction import psf_correction
from gcesbi.baselines.poisson.many_maps import fitted_means, fitted_norms
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.evaluation.score_tests import alternatives, scores_towards
from gcesbi.io import read_observation
from gcesbi.simulation import Simulator, SkyModel
from gcesbi.validation.misspecification import area_under_curve


def drawn(model, nominal, observation, n, rng):
    theta = at_composition(model, nominal, observation, n, rng)
    return theta, Simulator(model).draw(theta, rng).counts


def log_ratios(other, nominal, observation, theta, maps):
    """ln p(k | θ, other) − ln p(k | θ, nominal) of every map."""
    psf = psf_correction(nominal.psf, nominal.region, np.ones(1))
    names = nominal.prior().names
    found = []
    for each, counts in zip(theta, maps, strict=True):
        seen = replace(observation, counts=counts)
        one, two = (NPTF(model, seen, ModelPriors(), workers=1, psf=psf) for model in (other, nominal))
        values = each[[names.index(name) for name in one.names]]
        found.append(float(one.log_likelihood(values) - two.log_likelihood(values)))
    return np.array(found)


def scores(looks, maps, model):
    norms = fitted_norms(maps, model)
    return scores_towards(looks, maps, norms, fitted_means(norms, model), model)


def smooth_bound(look, observation, model):
    """Area under the curve of the score test between two smooth skies that differ by what `look` changes."""
    norms = fitted_norms(observation.counts[None], model)
    means = fitted_means(norms, model)
    added = np.einsum("te,tep->ep", norms[0, look.rows], look.change.astype(float))
    return norm.cdf(scores_towards((look,), means + added, norms, means, model)[0, 0] / np.sqrt(2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--observation", required=True)
    parser.add_argument("--maps", type=int, default=200)
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    sky, model, rng = run.settings.sky, run.model, np.random.default_rng(6)
    seen = read_observation(arguments.observation, sky.radius, sky.band, "3fgl", nside=sky.nside)
    others = {name: SkyModel.build(varied) for name, varied in variations(sky).items()}
    others = {name: m if m.region == model.region else m.with_region(model.region) for name, m in others.items()}
    looks = alternatives(model, others)
    theta, maps = drawn(model, model, seen, arguments.maps, rng)
    own = scores(looks, maps, model)
    print("| sky | known | smooth | score |\n|---|---|---|---|")
    for i, (name, other) in enumerate(others.items()):
        other_theta, other_maps = drawn(other, model, seen, arguments.maps, rng)
        known = [log_ratios(other, model, seen, *each) for each in ((theta, maps), (other_theta, other_maps))]
        score = area_under_curve(own[:, i], scores(looks, other_maps, model)[:, i])
        smooth = smooth_bound(looks[i], seen, model)
        print(f"| {name} | {area_under_curve(*known)} | {smooth:.3f} | {score} |", flush=True)


if __name__ == "__main__":
    main()

"""Samplers on one likelihood, the NPTF of the real map: effective draws a second of the processor, and ln Z.

    python benchmarks/samplers.py [--seconds 300] [--only nested,importance,dynesty,ultranest,ensemble,nuts]

dynesty and ultranest (``pip install dynesty ultranest``) are peers, not used by the library; they see its likelihood
and its unit cube one point at a time. Effective draws are those of the least well known parameter for chains (ArviZ),
and of the weights, (Σ w)² / Σ w², for the others. Whoever has not ended after so many seconds is stopped: peers by the
processor's time, the library's own by the clock on the wall, which on a busy machine is much less. One thread.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
from known_answer_nptf import build

from gcesbi.baselines import Ensemble, ImportanceSampling, NestedSampling, Nuts


class OutOfTime(Exception):
    """The processor's time for one sampler is over."""


class Counted:
    """ln L in the unit cube, of one point, until time is over."""

    def __init__(self, nptf, seconds):
        self.nptf, self.n = nptf, 0
        self.end = time.process_time() + seconds

    def __call__(self, u):
        self.n += 1
        if time.process_time() > self.end:
            raise OutOfTime
        return max(float(self.nptf.log_likelihood_in_cube(np.atleast_2d(u))[0]), -1e300)


def own(sampler, nptf, seconds):
    """One of the library's: effective draws, ln Z and its error, evaluations, whether it ended."""
    posterior = nptf.run(sampler, 1, max_seconds=seconds, progress=False)
    found = posterior.convergence
    effective = found.n_eff if hasattr(found, "n_eff") else float(np.min(found.ess))
    evidence = posterior.log_evidence, posterior.log_evidence_error
    return effective, *evidence, posterior.n_evaluation, not found.problems


def kish(log_weights):
    weights = np.exp(log_weights - np.max(log_weights))
    return weights.sum() ** 2 / np.sum(weights**2)


def dynesty(nptf, seconds):
    from dynesty import NestedSampler

    likelihood = Counted(nptf, seconds)
    rng = np.random.default_rng(1)
    sampler = NestedSampler(likelihood, lambda u: u, len(nptf.names), nlive=400, sample="rwalk", rstate=rng)
    ended = True
    try:
        sampler.run_nested(print_progress=False)
    except OutOfTime:
        ended = False
    found = sampler.results
    return kish(found.logwt), found.logz[-1], found.logzerr[-1], likelihood.n, ended


def ultranest(nptf, seconds):
    from ultranest import ReactiveNestedSampler
    from ultranest.stepsampler import SliceSampler, generate_mixture_random_direction

    likelihood = Counted(nptf, seconds)
    sampler = ReactiveNestedSampler(list(nptf.names), likelihood, lambda u: u, vectorized=False)
    sampler.stepsampler = SliceSampler(2 * len(nptf.names), generate_mixture_random_direction)
    try:
        found = sampler.run(min_num_live_points=400, show_status=False, viz_callback=False)
    except OutOfTime:
        return np.nan, np.nan, np.nan, likelihood.n, False
    return found["ess"], found["logz"], found["logzerr"], likelihood.n, True


KINDS = {
    "nested": lambda nptf, s: own(NestedSampling(), nptf, s),
    "importance": lambda nptf, s: own(ImportanceSampling(n_eff=4000, batch=2000, n_rounds=60), nptf, s),
    "ensemble": lambda nptf, s: own(Ensemble(), nptf, s),
    "nuts": lambda nptf, s: own(Nuts(), nptf, s),
    "dynesty": dynesty,
    "ultranest": ultranest,
}


def main(arguments=None, make=build):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0, help="for each sampler; see above")
    parser.add_argument("--only", default=",".join(KINDS))
    given = parser.parse_args(arguments)
    nptf = make()
    nptf.log_likelihood(nptf.from_cube(np.full((2, len(nptf.names)), 0.5)))  # compile
    print(f"load {os.getloadavg()[0]:.1f}\n\n| sampler | effective draws | ln Z | evaluations | s | draws / s | |")
    print("|---|---|---|---|---|---|---|")
    for kind in given.only.split(","):
        start = time.process_time()
        effective, log_z, error, n, ended = KINDS[kind](nptf, given.seconds)
        seconds = time.process_time() - start
        evidence = "" if np.isnan(log_z) else f"{log_z:.2f} ± {error:.2f}"
        numbers = f"{effective:.0f} | {evidence} | {n} | {seconds:.0f} | {effective / seconds:.2f}"
        print(f"| {kind} | {numbers} | {'' if ended else 'not ended, or not converged'} |", flush=True)


if __name__ == "__main__":
    main()

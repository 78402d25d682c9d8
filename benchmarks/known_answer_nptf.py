"""The NPTF of the real 573-week map against its known answer, with evidence, time and what its diagnostics say.

    python benchmarks/known_answer_nptf.py [--live 1000] [--seed 1] [--checkpoint run.h5]

Model O, 3FGL mask, two breaks for the excess and the disk, 17 parameters, the reference's PSF table and the priors of
issue 5. The time of an idle machine is estimated from the evaluations, at 0.65 ms on one of two cores, and from the
processor time of all else.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from scipy.stats import poisson

import gcesbi
from gcesbi.baselines import NPTF, NestedSampling, NptfPriors, PsfCorrection

SHARED = Path(__file__).resolve().parents[2] / "shared"
NORMS = {
    "pi_norm": (6.0, 14.0),
    "ic_norm": (1.0, 9.0),
    "iso_norm": (0.0, 1.5),
    "bub_norm": (0.0, 1.5),
    "gce_norm": (0.0, 2.0),
    "gce_ps_norm": (0.0, 2.0),
    "disk_ps_norm": (0.0, 2.0),
}
MILLISECONDS = 0.65


def build():
    table = json.loads((SHARED / "reference" / "nptf_log_likelihood.json").read_bytes())["psf_correction"]
    f, df_rho = (np.array(table[key]) for key in ("f", "df_rho"))
    folder = SHARED / "data" / "fermi-573w"
    model = gcesbi.SkyModel.from_folder(folder, diffuse="O")
    observation = gcesbi.read_observation(folder, radius=25, band=2, mask="3fgl")
    psf = PsfCorrection(f, df_rho, np.append(f, 0.0))
    return NPTF(model, observation, NptfPriors(norms=NORMS), psf=psf)


def peaks(nptf, theta):
    """Flux at which F² dN/dF of the excess is highest, (n,): a break, or a bound on it where it has none."""
    column = {name: theta[:, i] for i, name in enumerate(nptf.names)}
    at = np.where(column["gce_n2"] < 2, column["gce_S1"], column["gce_S2"])
    return at / nptf.sky.mean_exposure[0]


def median_and_interval(values, digits):
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def compare(nptf, posterior):
    share = posterior.samples["point_source_flux_fraction"][:, 0]
    rows = (
        ("excess, point sources", median_and_interval(share, 3), "0.072 (0.060-0.081)"),
        ("excess, smooth norm", median_and_interval(posterior.samples["gce_norm"], 2), "0.18 (0.05-0.38)"),
        ("peak, 1e-11", median_and_interval(1e11 * peaks(nptf, posterior.theta), 1), "7.6 (6.2-9.9)"),
        ("ln Z", f"{posterior.log_evidence:.2f} +- {posterior.log_evidence_error:.2f}", "-22980.4 +- 0.4"),
    )
    print(f"{'':24}{'found':>28}{'known':>24}")
    for name, found, known in rows:
        print(f"{name:24}{found:>28}{known:>24}")


def what_the_data_say(nptf, posterior):
    """Width of every posterior in units of its prior's, and the weight within 5 % of either wall."""
    print("\nparameter       median (68 %)                 width/prior  at low, high wall")
    for i, name in enumerate(nptf.names):
        low, high = nptf.bounds[i]
        u = (posterior.theta[:, i] - low) / (high - low)
        walls = f"{np.mean(u < 0.05):.2f} {np.mean(u > 0.95):.2f}"
        print(f"{name:16}{median_and_interval(posterior.theta[:, i], 2):30}{u.std() * 12**0.5:11.2f}  {walls:>12}")
    for j, name in enumerate(nptf.sky.point_sources):
        one_photon = np.log10(1 / nptf.sky.mean_exposure[j])
        edges = nptf.model.scd_edges[1:]
        below = [np.interp(one_photon, edges, cdf) for cdf in posterior.samples["scd_cdf"][:, j]]
        print(f"{name}: share of its sources' flux below one photon {median_and_interval(np.array(below), 2)}")
    shares = (posterior.samples[f"{kind}_flux_fraction"].T for kind in ("poisson", "point_source"))
    correlation = [round(float(np.corrcoef(*pair)[0, 1]), 2) for pair in zip(*shares, strict=True)]
    print(f"correlation of smooth and point-source share: {correlation}")


def pixels(nptf, posterior, n=12):
    """Pixels in which sources gain most ln L over the Poisson fit."""
    best = posterior.best_theta[None]
    mean = nptf.parameters.smooth_norms(best)[0] @ nptf.sky.maps[nptf.sky.rows(nptf.parameters.smooth_templates)]
    logs = nptf.likelihood.log_probabilities_of(mean, nptf.vectors(best)[0])
    smooth = nptf.sky.fit.spectrum.sum(axis=1) @ nptf.sky.maps
    gain = logs - poisson.logpmf(nptf.sky.counts, smooth)
    order = np.argsort(-gain)
    glon, glat = nptf.model.region.glon_glat()
    print(f"\nln L above the Poisson fit: {gain.sum():.1f}; of the best {n} pixels {gain[order[:n]].sum():.1f}")
    for i in order[:n]:
        print(
            f"l {glon[i]:7.2f} b {glat[i]:7.2f}: {nptf.sky.counts[i]:4d} counts, {smooth[i]:6.1f} smooth, "
            f"gain {gain[i]:6.1f}, ln p {logs[i]:6.1f}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", type=int, default=NestedSampling.n_live)
    parser.add_argument("--eff", type=int, default=NestedSampling.n_eff)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint")
    arguments = parser.parse_args()
    nptf = build()
    nptf.log_likelihood(nptf.from_cube(np.full((2, len(nptf.names)), 0.5)))  # compile
    wall, cpu = time.perf_counter(), time.process_time()
    sampler = NestedSampling(n_live=arguments.live, n_eff=arguments.eff)
    posterior = nptf.run(sampler, arguments.seed, checkpoint=arguments.checkpoint, progress=False)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    compare(nptf, posterior)
    print(f"\n{posterior.n_evaluation} evaluations, N_eff {posterior.convergence.n_eff:.0f}; {wall:.0f} s wall as the ")
    print(f"machine was, {cpu:.0f} s of processor; problems: {posterior.convergence.problems or 'none'}")
    likelihood = 1e-3 * MILLISECONDS * posterior.n_evaluation
    print(f"likelihood alone on two idle cores: {likelihood / 2:.0f} s; with the sampler's own work below {cpu:.0f} s")
    print(f"error by one mean exposure: {nptf.exposure_error(posterior.best_theta):+.2f} in ln L")
    what_the_data_say(nptf, posterior)
    pixels(nptf, posterior)


if __name__ == "__main__":
    main()

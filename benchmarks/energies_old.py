"""What energies are worth to the template fit: information on source counts in ten bins and in their sum.

    python benchmarks/energies.py [--maps 400] [--photons 10] [--psf] [--nside 128] [--radius 8] [--bins 10]

Maps of the default sky, one population of sources in the excess and a share of it exactly Poisson; parameters at the
medians of their priors but the spectra, which differ (`SPECTRA`), and the excess' source counts, which peak at sources
of so many photons. They are drawn from the law of the likelihood (without PSF, where it is exact), or, `--psf`, by the
simulator.

The scores at the true parameters, in coordinates z in which the prior is a standard normal, give the information
F = <g g'>, the posterior's covariance (F + 1)^-1 to first order, and so widths of quantities. The sum is the same
likelihood with every pixel used by its number of photons alone (`coarse_above=0`). Errors, and corrections for the
number of maps, are the jackknife's over 20 groups. Under the true PSF the mean score times the covariance is the
shift of the posterior that the likelihood's approximations make, to first order.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri

import gcesbi
from gcesbi.baselines import NPTF, ModelPriors, PsfCorrection

QUANTITIES = {"mean log F": "scd_mean", "width of log F": "scd_width", "Poisson share": "gce_poisson_share"}
NO_PSF = PsfCorrection(np.ones(1), np.ones(1), np.array([1.0, 0.0]))
SPECTRA = {  # xi, omega2, a: all but the bubbles' fall, the excess' and the disk's are curved
    "pi": (0.35, 0.15, 1.5),
    "ic": (0.35, 0.25, 1.5),
    "iso": (0.35, 0.20, 1.5),
    "bub": (0.40, 0.40, 1.0),
    "gce": (0.45, 0.05, 1.0),
    "disk": (0.40, 0.06, 0.5),
}


def truth(model, photons):
    """All parameters at their medians, the excess' sources of so many photons."""
    prior = model.prior()
    theta = prior.from_uniform(np.full((1, len(prior.names)), 0.5))[0]
    values = {"gce_xi": np.log10(photons / model.exposure.mean()), "gce_omega2": 0.06, "gce_a": 0.01}
    for name, spectrum in SPECTRA.items():
        values |= {f"{name}_spectrum_{key}": v for key, v in zip(("xi", "omega2", "a"), spectrum, strict=True)}
    for name, value in values.items():
        theta[prior.names.index(name)] = value
    return theta


def to_z(nptf, theta):
    u = [float(m.cdf(v)) for m, v in zip(nptf.prior.marginals, theta, strict=True)]
    return ndtri(np.clip(u, 1e-9, 1 - 1e-9))


def drawn(nptf, theta, rng):
    """Counts (n_energy, n_pix) from the likelihood's law."""
    joint = nptf.joint
    shares = joint.spectra.shares(theta[None])
    smooth, norms = joint.norms(theta[None], shares)
    c = joint.norm_shares(shares[0])
    at = joint._sources(theta, shares[0], c, norms[0])
    counts = rng.poisson(joint._mean(smooth[0], c))
    photons = np.arange(1, at.vectors.shape[1])
    for template, vector, splits in zip(at.templates, at.vectors, at.splits, strict=True):
        n = (rng.poisson(template[:, None] * np.maximum(vector[1:], 0)) * photons).sum(axis=1)
        counts += rng.multinomial(n, splits)
    return counts.T


def score(nptf, z):
    """Gradient of ln L by z."""
    gradient = nptf.target.gradient(ndtr(z))[1]
    return gradient * np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)


def moments(nptf, theta):
    """The quantities (n_quantity,) of one vector."""
    found = nptf.quantities(theta[None])
    pdf = np.diff(found["scd_cdf"][0, 0], prepend=0.0)
    log_flux = np.asarray(nptf.model.coordinates.flux_bin)
    mean = pdf @ log_flux
    return np.array([mean, np.sqrt(pdf @ (log_flux - mean) ** 2), found["gce_poisson_share"][0]])


def slopes(nptf, z):
    """Derivatives (n_quantity, n_dim) of the quantities by z."""
    out = []
    for i in range(len(z)):
        step = 1e-2 * np.eye(len(z))[i]
        ends = [moments(nptf, nptf.from_cube(ndtr(z + sign * step))) for sign in (1, -1)]
        out.append((ends[0] - ends[1]) / 2e-2)
    return np.array(out).T


def covariance(scores):
    """The posterior's, to first order."""
    return np.linalg.inv(scores.T @ scores / len(scores) + np.eye(scores.shape[1]))


def widths(scores, slope):
    """Posterior widths (n_quantity,)."""
    return np.sqrt(np.einsum("qi,ij,qj->q", slope, covariance(scores), slope))


def jackknife(values, of, n_group=20):
    """A function of maps, corrected, and its error."""
    groups = np.arange(len(values[0])) % n_group
    left = np.array([of(*(each[groups != i] for each in values)) for i in range(n_group)])
    bias = (n_group - 1) * (left.mean(axis=0) - of(*values))
    return of(*values) - bias, np.sqrt((n_group - 1) * left.var(axis=0))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=400)
    parser.add_argument("--photons", type=float, default=10.0)
    parser.add_argument("--psf", action="store_true")
    parser.add_argument("--nside", type=int, default=128)
    parser.add_argument("--radius", type=float, default=8.0)
    parser.add_argument("--bins", type=int, default=10)
    given = parser.parse_args()
    sky = {"gce_populations": 1, "gce_poisson_share": True, "radius": given.radius}
    model = gcesbi.SkyModel.preset(nside=given.nside, n_energy=given.bins, **sky)
    simulator, theta = gcesbi.Simulator(model), truth(model, given.photons)
    seen = simulator.observe(theta, seed=0)[0]
    long = seen.counts.copy()
    long[0, 0] += 1000  # vectors from which maps are drawn reach so many photons
    psf, names = None if given.psf else NO_PSF, model.prior().names
    kinds = {"bins": 200, "sum": 0}
    law = NPTF(model, replace(seen, counts=long), ModelPriors(), energies="joint", psf=psf)
    own = theta[[names.index(name) for name in law.names]]
    z = to_z(law, own)
    slope, rng, start = slopes(law, z), np.random.default_rng(1), time.time()
    scores = {kind: [] for kind in kinds}
    for i in range(given.maps):
        counts = simulator.observe(theta, seed=i + 1)[0].counts if given.psf else drawn(law, own, rng)
        for kind, limit in kinds.items():
            options = {"energies": "joint", "coarse_above": limit, "psf": psf, "workers": 1}
            nptf = NPTF(model, replace(seen, counts=counts), ModelPriors(), **options)
            scores[kind].append(score(nptf, z))
    per_pixel = counts.sum() / counts.shape[1]
    seen_in = f"{counts.shape[1]} pixels of {per_pixel:.1f} photons, {given.bins} bins"
    print(f"{given.maps} maps, nside {given.nside}, {seen_in},")
    print(f"sources of {given.photons:g} photons, {'true PSF' if given.psf else 'no PSF'}, {time.time() - start:.0f} s")
    bins, summed = (np.array(scores[kind]) for kind in kinds)
    prior = np.sqrt(np.sum(slope**2, axis=1))
    columns = [
        jackknife([bins], lambda a: widths(a, slope)),
        jackknife([summed], lambda a: widths(a, slope)),
        jackknife([bins, summed], lambda a, b: widths(a, slope) / widths(b, slope)),
    ]
    print(f"{'width of':16s} {'prior':>8s} {'bins':>18s} {'sum':>18s} {'bins / sum':>18s}")
    for q, name in enumerate(QUANTITIES):
        cells = "".join(f"{value[q]:9.4f} ± {error[q]:<7.4f}" for value, error in columns)
        print(f"{name:16s} {prior[q]:8.3f} {cells}")
    for kind, values in zip(kinds, (bins, summed), strict=True):
        moved = values @ covariance(values) @ slope.T / widths(values, slope)
        error = moved.std(axis=0) / np.sqrt(len(moved))
        told = zip(QUANTITIES, moved.mean(axis=0), error, strict=True)
        print(f"shift by {kind}, posterior widths: " + ", ".join(f"{n} {m:+.2f} ± {e:.2f}" for n, m, e in told))


if __name__ == "__main__":
    main()

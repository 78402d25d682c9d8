"""Time of one NPTF log-likelihood on the real 573-week map, against a plain textbook recursion in the same run.

    python benchmarks/bench_nptf.py [data folder] [reference folder]

Model O, 3FGL mask, 7,749 pixels, excess and disk as point sources with two breaks, the reference's 15-bin PSF table,
one core. The textbook computes x_m anew in every pixel, on a grid of 200 fluxes, and runs k p_k = sum m x_m p_(k-m) as
written, compiled; "recursion alone" gives it the factorised vectors for nothing. The floor is the time of sum_p k_p
(k_p + 1) / 2 multiply-adds at the machine's vector rate.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import healpy as hp
import numpy as np
from numba import njit
from timing import best

from gcesbi.baselines import BrokenPowerLaws, NptfLikelihood, SkewNormals
from gcesbi.baselines.nptf.count_integrals import count_vectors, mean_counts
from gcesbi.sky.region import Region

NAMES = ("Opi", "Oic", "iso", "bub", "nfw_g1p2", "dsk_z0p3")


@njit
def textbook(counts, mean, templates, thetas, shares, density):
    """Sum of ln p_k, pixel by pixel, x_m by adding up the PSF bins and fluxes of a grid."""
    log_s = np.linspace(math.log(1e-3), math.log(1e3), 200)
    step = log_s[1] - log_s[0]
    total = 0.0
    for i in range(len(counts)):
        k_max = counts[i]
        x = np.zeros(k_max + 1)
        for j in range(len(thetas)):
            theta = thetas[j]
            for q in range(len(log_s)):
                s = math.exp(log_s[q])
                if s >= theta[4]:
                    number = theta[0] * (s / theta[4]) ** -theta[1]
                elif s >= theta[5]:
                    number = theta[0] * (s / theta[4]) ** -theta[2]
                else:
                    number = theta[0] * (theta[5] / theta[4]) ** -theta[2] * (s / theta[5]) ** -theta[3]
                weight = templates[j, i] * number * s * step
                for b in range(len(shares)):
                    p = density[b] * weight * math.exp(-shares[b] * s)
                    x[0] += density[b] * weight - p
                    for m in range(1, k_max + 1):
                        p *= shares[b] * s / m
                        x[m] += p
        total += recursion(k_max, mean[i], x)
    return total


@njit
def recursion(k_max, mean, x):
    if k_max:
        x[1] += mean
    p = np.zeros(k_max + 1)
    p[0] = math.exp(-mean - x[0])
    for k in range(1, k_max + 1):
        for m in range(1, k + 1):
            p[k] += m * x[m] * p[k - m]
        p[k] /= k
    return math.log(p[k_max])


@njit
def plain(counts, mean, templates, vectors):
    """The textbook's recursion alone: x_m per pixel from factorised vectors."""
    total = 0.0
    for i in range(len(counts)):
        x = np.zeros(counts[i] + 1)
        for m in range(counts[i] + 1):
            for j in range(len(vectors)):
                x[m] += templates[j, i] * vectors[j, m]
        total += recursion(counts[i], mean[i], x)
    return total


@njit(fastmath=True)
def multiply_adds(a, b, n):
    """Vectorised multiply-adds on data in the first-level cache: the machine's rate."""
    total = 0.0
    for _ in range(n):
        for i in range(a.size):
            total += a[i] * b[i]
    return total


def load(folder):
    def read(stem):
        return hp.reorder(np.load(folder / "fermi-573w" / f"{stem}.npy"), r2n=True)

    region = Region.disc(128, mask=read("fermidata_pscmask_3fgl") > 0)
    counts = read("fermidata_counts")[region.pixels].astype(np.int64)
    exposure = read("fermidata_exposure")[region.pixels]
    return counts, exposure / exposure.mean(), np.stack([read(f"template_{name}")[region.pixels] for name in NAMES])


def main():
    shared = Path(__file__).resolve().parents[2] / "shared"
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else shared / "data"
    reference = Path(sys.argv[2]) if len(sys.argv) > 2 else shared / "reference"
    counts, exposure, templates = load(data)
    record = json.loads((reference / "nptf_log_likelihood.json").read_bytes())
    shares, density = (np.array(record["psf_correction"][key]) for key in ("f", "df_rho"))
    point = next(p for p in record["points"] if p["n_break"] == 2)
    mean, sources = np.array(point["poisson_norms"]) @ templates, templates[4:6] / exposure
    thetas = [np.array(point["theta_gce"]), np.array(point["theta_dsk"])]
    likelihood = NptfLikelihood.build(counts, sources, shares, density)
    smooth, norms = likelihood.lanes(templates), np.array([point["poisson_norms"]])
    shapes, amounts = [theta[None, 1:] for theta in thetas], [mean_counts(theta[None]) for theta in thetas]
    broken = [BrokenPowerLaws(2).bind(view) for view in likelihood.views]
    skew = [SkewNormals().bind(replace(view, exposure=1.1e11)) for view in likelihood.views]
    populations = [
        (0, np.array([[-10.5, 0.2, -1.0]])),
        (0, np.array([[-11.5, 0.1, 1.0]])),
        (1, np.array([[-11.0, 0.4, 2.0]])),
    ]

    def power_laws(part):
        out = np.zeros((1, 1, 2, likelihood.n_row))
        for j in range(2):
            broken[j].unit_vectors(shapes[j], out[:, :, j])
            out[:, :, j] *= amounts[j]
        return out

    def skew_normals(part):
        out, unit = np.zeros((1, 1, 2, likelihood.n_row)), np.zeros((1, 1, likelihood.n_row))
        for j, shape in populations:
            skew[j].unit_vectors(shape, unit)
            out[:, :, j] += 0.5 * unit
        return out

    vectors = np.zeros((2, counts.max() + 1))
    for theta, vector in zip(thetas, vectors, strict=True):
        count_vectors(theta, shares, density, vector)
    value = best(lambda: likelihood.evaluate_many(norms, smooth, power_laws, 1), 100)
    three = best(lambda: likelihood.evaluate_many(norms, smooth, skew_normals, 1), 100)
    gradient = best(lambda: likelihood.vector_gradient(mean, power_laws(slice(0, 1))[0]), 50)
    slow = best(lambda: plain(counts, mean, sources, vectors), 10)
    slowest = best(lambda: textbook(counts[::50], mean[::50], sources[:, ::50], np.array(thetas), shares, density), 1)
    work = float(np.sum(counts * (counts + 1)) / 2)
    a = np.ones(1024)
    rate = 1024 * 10_000 / best(lambda: multiply_adds(a, a, 10_000), 5)

    error = likelihood(mean, thetas) - point["log_likelihood"]
    print(f"{counts.size} pixels, {counts.sum()} counts; error against the reference {error:.1e}")
    print(f"value, one core              {1e3 * value:8.3f} ms")
    print(f"value, three skew normals    {1e3 * three:8.3f} ms")
    print(f"value and gradient           {1e3 * gradient:8.3f} ms   {gradient / value:.2f} values")
    print(f"recursion alone, plain       {1e3 * slow:8.3f} ms   {slow / value:.1f} values")
    print(f"textbook, x_m per pixel      {1e3 * slowest * 50:8.0f} ms   {slowest * 50 / value:.0f} values (from 1/50)")
    print(f"floor                        {1e3 * work / rate:8.3f} ms   {work:.3g} multiply-adds at {rate:.2g} / s")


if __name__ == "__main__":
    main()

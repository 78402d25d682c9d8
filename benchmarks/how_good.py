"""How good a run's networks are on its held-out maps: coverage, signed Earth mover's distance, sharpness.

    python benchmarks/how_good.py RUN [--weights RUN2] [--maps 1000]

With ``--weights`` the networks of another folder (an exported run) are judged on the maps of the first. Source counts
are shown for all maps, for those whose flux-weighted median source is brighter than one photon, and for those where the
network's own median curve says so. Choosing by the truth shifts the SEMD of any posterior, an exact one too
(``chosen_by_truth.py``); choosing by the answer does not. What that shift would be if the truth of every map were drawn
from the network's own answer, a curve of uniform τ, is printed below: of a perfectly calibrated network whose bins go
together. Errors are bootstrap standard deviations over maps.
"""

from __future__ import annotations

import argparse

import numpy as np

from gcesbi.analysis.infer import load_networks
from gcesbi.analysis.run import Run
from gcesbi.physics.scd import true_cdf
from gcesbi.validation import coverage, emd, gaussian_coverage, semd, sharpness

TAUS = np.arange(1, 200) / 200
ALPHAS = np.round(np.append(np.arange(0.1, 0.95, 0.1), 0.95), 2)


def bootstrap(statistic, n, rng, repeats=200):
    """Value over all n maps, and its bootstrap standard deviation."""
    draws = np.array([statistic(rng.integers(n, size=n)) for _ in range(repeats)])
    return statistic(np.arange(n)), draws.std(axis=0)


def centre_and_half_width(signed):
    """Median and half of the central 68 % of numbers (n_map,)."""
    low, centre, high = np.quantile(signed, [0.16, 0.5, 0.84])
    return np.array([centre, (high - low) / 2])


def median_source(bins, cdf):
    """log10 of the flux (...) of the bin below which half of the flux lies, for CDFs (..., n_bin)."""
    return bins.centres[np.argmax(cdf >= 0.5, axis=-1)]


def shift_of_choice(quantiles, bins, photon, rng):
    """Median SEMD of median curves against curves of every level brighter than one photon, and its error over maps."""
    histograms = np.diff(quantiles, axis=-1, prepend=0.0)
    signed = np.stack([semd(each, histograms[len(TAUS) // 2]) for each in histograms])
    bright = median_source(bins, quantiles) > photon
    return bootstrap(lambda maps: np.median(signed[:, maps][bright[:, maps]]), signed.shape[1], rng, 50)


def source_counts(name, scd, quantiles, prior_width, rng):
    truth, n = true_cdf(scd), len(scd)
    median = np.diff(quantiles[len(TAUS) // 2], axis=-1, prepend=0.0)
    signed, distance = semd(scd, median), emd(scd, median)
    covered, error = bootstrap(lambda rows: coverage(truth[rows], quantiles[:, rows], TAUS, ALPHAS), n, rng, 50)
    worst = int(np.argmax(np.abs(covered - ALPHAS)))
    (middle, half), (middle_error, half_error) = bootstrap(lambda rows: centre_and_half_width(signed[rows]), n, rng)
    width = np.median(sharpness(quantiles, TAUS))
    print(
        f"| {name} | {n} | {covered[worst] - ALPHAS[worst]:+.3f} ± {error[worst]:.3f} at {ALPHAS[worst]} "
        f"| {middle:+.2f} ± {middle_error:.2f} | {half:.2f} ± {half_error:.2f} "
        f"| {distance.mean():.2f} ± {distance.std() / np.sqrt(n):.2f} | {width:.3f} | {width / prior_width:.2f} |"
    )


def spectrum(name, truth, mean, std, rng):
    found, error = bootstrap(
        lambda rows: gaussian_coverage(truth[rows], mean[rows], std[rows], [0.68, 0.95]), len(truth), rng, 50
    )
    print(f"| {name} | " + " | ".join(f"{v:.3f} ± {e:.3f}" for v, e in zip(found, error, strict=True)) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--weights")
    parser.add_argument("--maps", type=int, default=1000)
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    maps = run.store.read(0, min(arguments.maps, run.settings.simulation.n_test))
    model, rng = run.model, np.random.default_rng(0)
    spectra, counts = load_networks(Run.open(arguments.weights or arguments.run))
    quantiles = counts.quantiles(maps.counts, TAUS)
    photon = -np.log10(model.exposure.mean())
    shifts = []
    print("| source counts | maps | worst coverage | SEMD | half width | EMD | 95 % width | of the prior's |")
    print("|---|---|---|---|---|---|---|---|")
    for j, name in enumerate(model.point_sources):
        truth = true_cdf(maps.scd[:, j])
        prior_width = np.median(np.diff(np.quantile(truth, [0.025, 0.975], axis=0), axis=0))
        median = quantiles[len(TAUS) // 2, :, j]
        chosen = {
            name: np.full(len(truth), True),
            f"{name}, truth above one photon": median_source(model.bins, truth) > photon,
            f"{name}, answer above one photon": median_source(model.bins, median) > photon,
        }
        for label, rows in chosen.items():
            source_counts(label, maps.scd[rows, j], quantiles[:, rows, j], prior_width, rng)
        shift, error = shift_of_choice(quantiles[:, :, j], model.bins, photon, rng)
        shifts.append(f"{name}: drawn from the answers, truths above one photon have SEMD {shift:+.2f} ± {error:.2f}")
    print("\n" + "\n".join(shifts))
    predicted = spectra.predict(maps.counts)
    print("\n| spectrum | coverage at 0.68 | at 0.95 |\n|---|---|---|")
    for i, name in enumerate(model.names):
        spectrum(name, maps.flux_fractions[:, i], predicted.mean[:, i], predicted.std[:, i], rng)


if __name__ == "__main__":
    main()

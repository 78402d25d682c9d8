"""Whether samples of flux fractions know how their errors go together: pair sums, coverage, number of sources.

    python benchmarks/joint_samples.py RUN [--maps 1000] [--seed 987001]

On fresh maps of a run's model, of a seed that the run did not use. The root mean square of z = (truth − mean) /
standard deviation of samples is printed for every pair sum of two templates' shares, of all energies together, and
beside it what independent Gaussians of the network's own deviations claim; then the coverage of intervals of samples
and of those Gaussians, of shares, of fluxes, and of the number of sources. Errors are bootstrap standard deviations.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np

from gcesbi.analysis.error_correlations import noted_flux_correlation
from gcesbi.analysis.infer import load_networks
from gcesbi.analysis.run import Run
from gcesbi.estimators import SourceCountPosterior, SpectralPosterior
from gcesbi.validation import gaussian_coverage

LEVELS = (0.5, 0.68, 0.95)
N_SAMPLE = 1000


def with_error(statistic, n, rng, repeats=200):
    """Value over all n maps, and its bootstrap standard deviation."""
    draws = np.array([statistic(rng.integers(n, size=n)) for _ in range(repeats)])
    return statistic(np.arange(n)), draws.std(axis=0)


def rms(z, rng):
    """Root mean square over maps of z (n_map,), as text with its error."""
    found, error = with_error(lambda rows: np.sqrt(np.mean(z[rows] ** 2)), len(z), rng)
    return f"{found:.2f} ± {error:.2f}"


def held(truth, samples):
    """Share of truths (n_map, ...) in the central intervals of samples (n_map, n_sample, ...), by level."""
    tails = np.array([[(1 - level) / 2, (1 + level) / 2] for level in LEVELS])
    low, high = np.quantile(samples, tails.T, axis=1)
    inside = (low <= truth) & (truth <= high)
    return " / ".join(f"{each.mean():.3f}" for each in inside)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=987001)
    asked = parser.parse_args()
    run, rng = Run.open(asked.run), np.random.default_rng(0)
    model, (spectra, source_counts) = run.model, load_networks(run)
    maps = run.simulator.sample(asked.maps, seed=asked.seed)
    rows = [model.names.index(name) for name in model.point_sources]
    drawn = {name: [] for name in ("flux_fraction", "spectrum_fraction", "flux", "n_sources")}
    for i, counts in enumerate(maps.counts):
        spectral = SpectralPosterior.of(spectra, counts, model.coordinates)
        low, flux, high = spectral.quantiles("flux", [0.16, 0.5, 0.84])[:, rows]
        error = {"template_flux_error": (high - low) / 2, "flux_correlation": noted_flux_correlation(run, spectra)}
        numbers = SourceCountPosterior(source_counts, counts, model.coordinates, flux, **error)
        samples = {**spectral.sample(N_SAMPLE, seed=i), **numbers.sample(N_SAMPLE, seed=i)}
        for name, values in drawn.items():
            values.append(samples[name].astype(np.float32))
    share, in_bin, flux, numbers = (np.stack(values) for values in drawn.values())

    truth = maps.flux.sum(axis=2) / maps.flux.sum(axis=(1, 2))[:, None]
    own, predicted = spectra.predict_total(maps.counts), spectra.predict(maps.counts)
    scatter = share.sum(axis=2).std(axis=1).mean()
    print(f"scatter of the sum: samples {scatter:.1e}, independent {np.linalg.norm(own.std, axis=1).mean():.3f}")
    print("rms z of pair sums: samples, independent, pairs in bins (samples)")
    for i, j in combinations(range(len(model.names)), 2):
        pair, true = share[..., i] + share[..., j], truth[:, i] + truth[:, j]
        alone = (true - own.mean[:, i] - own.mean[:, j]) / np.hypot(own.std[:, i], own.std[:, j])
        bins, bins_true = in_bin[:, :, i] + in_bin[:, :, j], maps.flux_fractions[:, i] + maps.flux_fractions[:, j]
        told = rms((true - pair.mean(axis=1)) / pair.std(axis=1), rng), rms(alone, rng), held(bins_true, bins)
        spread = np.sqrt(np.mean(np.square((bins_true - bins.mean(axis=1)) / bins.std(axis=1))))
        name = f"{model.names[i]:>5} + {model.names[j]:<5}"
        print(f"{name} {told[0]}   {told[1]}   {held(true, pair)}   bins {spread:.2f}, {told[2]}")
    print(f"coverage at {LEVELS}: samples, then the network's Gaussians")
    for i, name in enumerate(model.names):
        gaussian = gaussian_coverage(truth[:, [i]], own.mean[:, [i]], own.std[:, [i]], LEVELS)
        print(f"{name:>5} share {held(truth[:, i], share[..., i])}   {np.round(gaussian, 3)}")
        gaussian = gaussian_coverage(maps.flux_fractions[:, i], predicted.mean[:, i], predicted.std[:, i], LEVELS)
        print(f"{name:>5} bins  {held(maps.flux_fractions[:, i], in_bin[:, :, i])}   {np.round(gaussian, 3)}")
        print(f"{name:>5} flux  {held(maps.flux[:, i].sum(axis=1), flux[..., i])}")
    for j, name in enumerate(model.point_sources):
        print(f"{name:>5} number of sources {held(maps.n_sources[:, j], numbers[..., j])}")


if __name__ == "__main__":
    main()

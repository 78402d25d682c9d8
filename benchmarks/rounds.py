"""Rounds for one map against amortised networks of the same cost, on a toy whose posterior is known.

    python benchmarks/rounds.py [--maps 8] [--rounds 3] [--train 4096] [--seen 65536] [--out FOLDER]

The toy is a sky of two smooth templates at nside 16 (80 pixels) and of point sources that are too dim to matter: its
posterior is the Poisson likelihood on a grid of two norms. A run is trained on few maps and looks closer in rounds, an
eighth of its cost each; a second run is trained for as long as the first and its rounds together. Told are, by method,
how far medians are from the exact ones (root mean square, in exact 68 % half-widths), widths over the exact ones, and
how much of the exact posterior the networks' 68 % and 95 % intervals hold.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from gcesbi import Formula, PointSources, SkyModel, Smooth
from gcesbi.analysis.rounds import infer_in_rounds
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings

HIGH = 30.0  # of both norms, photons a pixel
LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)


def toy():
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=(0.0, HIGH)),
            Smooth(name="halo", template=Formula.of("nfw", gamma=1.2), norm=(0.0, HIGH)),
            PointSources(name="dots", template="isotropic", populations=[{"xi": (-11, -9), "flux": (0, 3e-10)}]),
        ],
        region={"nside": 16, "radius": 20},
        energy_edges=[2, 20],
    )


def exact(model, counts, n=1201):
    """Fluxes (n,) of a grid and the exact posterior's distribution function there, of either template: (2, n) each."""
    norm = np.linspace(0, HIGH, n)
    sky, halo = model.templates[:2, 0]
    log_l = np.empty((n, n))
    for i, a in enumerate(norm):
        mean = np.maximum(a * sky + norm[:, None] * halo, 1e-300)
        log_l[i] = (counts[0] * np.log(mean) - mean).sum(axis=1)
    mass = np.exp(log_l - log_l.max())
    cdf = np.cumsum([mass.sum(axis=1), mass.sum(axis=0)], axis=1) / mass.sum()
    return norm * model.flux_per_norm[:2, 0][:, None], cdf


def compared(posterior, flux, cdf):
    """Offset of medians and width, in exact half-widths, and the exact mass in 68 % and 95 % intervals: (2, 4)."""
    found = posterior.quantiles("flux", LEVELS)[:, :2].T
    rows = []
    for own, x, p in zip(found, flux, cdf, strict=True):
        low, middle, high = np.interp([0.16, 0.5, 0.84], p, x)
        half, held = (high - low) / 2, np.interp(own, x, p)
        rows.append([(own[2] - middle) / half, (own[3] - own[1]) / 2 / half, held[3] - held[1], held[4] - held[0]])
    return np.array(rows)


def trained(model, folder, n_train, seen):
    settings = load_settings("test", sky=model.settings)
    settings = settings.model_copy(
        update={
            "simulation": settings.simulation.model_copy(update={"n_train": n_train, "n_test": 256}),
            "training": replace(settings.training, max_maps=seen, head_maps=0),
        }
    )
    run = Run.begin(folder, settings, model)
    run.simulate()
    run.train(only=["spectra", "source_counts"])
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", type=int, default=4096)
    parser.add_argument("--seen", type=int, default=65536)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model, out = toy(), given.out or Path(tempfile.mkdtemp())
    run = trained(model, out / "few", given.train, given.seen)
    more = 1 + given.rounds / 8
    longer = trained(model, out / "long", int(given.train * more), int(given.seen * more))
    rows = {"amortised, before": [], "in rounds": [], "amortised, same cost": []}
    for i in range(given.maps):
        theta = model.prior().draw(1, np.random.default_rng([21, i]))[0]
        observation = run.simulator.observe(theta, seed=i)[0]
        known, told = exact(model, observation.counts), infer_in_rounds(run, observation, given.rounds)
        answers = told[0].posterior, told[-1].posterior, longer.infer(observation)
        for name, posterior in zip(rows, answers, strict=True):
            rows[name].append(compared(posterior, *known))
        print(i, "; ".join(f"{name} {np.round(rows[name][-1][:, 0], 2)}" for name in rows), flush=True)
    print("| | offset | width | 68 % hold | 95 % hold |\n|---|---|---|---|---|")
    for name, each in rows.items():
        found = np.concatenate(each)
        error = found[:, 1:].std(axis=0) / np.sqrt(len(found))
        offset = np.sqrt(np.mean(found[:, 0] ** 2))
        spread = np.std(found[:, 0] ** 2) / 2 / offset / np.sqrt(len(found))
        cells = " | ".join(f"{m:.2f} ± {e:.2f}" for m, e in zip(found[:, 1:].mean(axis=0), error, strict=True))
        print(f"| {name} | {offset:.2f} ± {spread:.2f} | {cells} |")


if __name__ == "__main__":
    main()

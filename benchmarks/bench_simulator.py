"""Speed of the simulator: maps a second, where the time goes, how it grows, memory.

    python benchmarks/bench_simulator.py [--quick] [--figures docs/figures] [--n 256]

Priors of the default model at the exposure of 573 weeks, labels included, one core unless said otherwise. The share of
labels is the time at an exposure so short that no source gives a photon; the share of diffuse emission is that of maps
without sources, less the same at that exposure; sources and their photons have the rest. The floor is the time of the
random numbers that an exact simulation cannot do without: one for every pixel and energy bin, four for every source
with several photons (flux, pixel, number, energies), three for each of their photons (direction, displacement), one for
every other photon (its pixel). Times per core are those of the processor.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np
from numba import njit

from gcesbi import Simulator, SkyModel
from gcesbi.simulation import draws

matplotlib.use("Agg")
SHORT = 1e-7  # of the exposure: no photons


@njit
def uniform_numbers(state, n):
    total = 0.0
    for _ in range(n):
        total += draws.uniform(state)
    return total


def seconds(function, repeats=3, clock=time.process_time):
    """Least time of some runs; of the processor, which other jobs of the machine disturb least, unless told."""
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def prepared(**settings):
    simulator = Simulator(SkyModel.preset("inner-galaxy", **settings))
    simulator.prepare()
    simulator.sample(1)
    return simulator


def dimmed(simulator):
    """The same sky in an exposure without photons; norms of diffuse templates scale with the counts."""
    model = simulator.model
    found = Simulator(model.with_exposure(SHORT * model.exposure))
    found.prepare()
    found.sample(1)
    return found


def columns(model, ending):
    return [i for i, name in enumerate(model.prior().names) if name.endswith(ending)]


def seconds_per_map(simulator, theta, repeats=3):
    return seconds(lambda: simulator.draw(theta, np.random.default_rng(1)), repeats) / len(theta)


def shares(simulator, n):
    """Seconds per map: all, diffuse emission, labels (with the tables that they need), the rest."""
    model = simulator.model
    theta = model.prior().draw(n, np.random.default_rng(0))
    smooth = theta.copy()
    smooth[:, columns(model, "_flux")] = 0.0
    dark, bare = theta.copy(), smooth.copy()
    for each in (dark, bare):
        each[:, columns(model, "_norm")] *= SHORT
    short = dimmed(simulator)
    total, diffuse = seconds_per_map(simulator, theta), seconds_per_map(simulator, smooth)
    labels = seconds_per_map(short, dark) - seconds_per_map(short, bare)
    return theta, total, diffuse, labels, total - diffuse - labels


def numbers_needed(simulator, theta):
    """Random numbers per map that an exact simulation needs."""
    model = simulator.model
    exposure = model.exposure.mean()
    emission = model.emission(theta)
    several = single = photons = 0.0
    n = min(64, len(theta))
    drawn = [(each, i) for each in emission.populations for i in range(n)]
    for each, i in drawn:
        first, step, density = each.family.nodes(each.shape[i], model.flux_cut)
        x = first + step * np.arange(len(density))
        number = density * each.flux[i] / np.trapezoid(density * 10.0**x, x)
        mean = exposure * 10.0**x
        one = mean * np.exp(-mean)
        several += np.trapezoid(number * (-np.expm1(-mean) - one), x)
        single += np.trapezoid(number * one, x)
        photons += np.trapezoid(number * (mean - one), x)
    pixels = model.n_energy * model.region.n_pix
    return pixels + (4 * several + 3 * photons + single) / n, several / n, photons / n, single / n


def rates(nsides, n):
    print("| nside | bins | pixels | maps/s per core | ms/map | diffuse | sources | labels | floor, ms | time/floor |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    state = draws.fast_state(np.random.default_rng(0))
    uniform_numbers(state, 10)
    cost = seconds(lambda: uniform_numbers(state, 10_000_000)) / 1e7
    rows, told = [], []
    for nside in nsides:
        simulator = prepared(nside=nside, n_energy=10)
        theta, total, diffuse, labels, rest = shares(simulator, n)
        needed, several, photons, single = numbers_needed(simulator, theta)
        floor = needed * cost
        rows.append((nside, 1 / total))
        told.append((nside, needed, several, photons, single))
        print(
            f"| {nside} | 10 | {simulator.model.region.n_pix} | **{1 / total:.0f}** | {1e3 * total:.2f} "
            f"| {diffuse / total:.0%} | {rest / total:.0%} | {labels / total:.0%} "
            f"| {1e3 * floor:.2f} | {total / floor:.1f} |",
            flush=True,
        )
    print(f"\nOne random number costs {1e9 * cost:.2f} ns. Per map:\n")
    for nside, needed, several, photons, single in told:
        print(
            f"- nside {nside}: {needed:.0f} numbers; {several:.0f} sources of several photons with {photons:.0f} "
            f"photons, {single:.0f} sources of one"
        )
    return rows


def with_number(simulator, n_source, flux=1.4e-7):
    """Parameters of a disk of `n_source` sources of one flux, nothing else in the sky."""
    model = simulator.model
    names = model.prior().names
    theta = model.prior().draw(1, np.random.default_rng(0))[0]
    theta[[i for i, name in enumerate(names) if name.endswith(("_norm", "_flux"))]] = 0.0
    values = {"xi": np.log10(flux / n_source), "omega2": 0.0, "a": 0.0, "flux": flux}
    values |= {"spectrum_xi": 0.7, "spectrum_omega2": 1.0, "spectrum_a": 0.0}
    for key, value in values.items():
        theta[names.index(f"disk_{key}")] = value
    return theta


def growth(n, nsides, simulator):
    """(title, label of x, xs, ms per map) of every plot."""
    base = simulator.model.prior().draw(n, np.random.default_rng(0))
    numbers = 10.0 ** np.arange(3, 9.5, 0.5)
    by_number = [1e3 * seconds_per_map(simulator, np.tile(with_number(simulator, each), (16, 1))) for each in numbers]
    weeks = [1.0, 10.0, 50.0, 100.0, 300.0, 573.0, 1146.0, 2292.0]
    by_weeks = []
    for each in weeks:
        longer = each / 573.0
        other = Simulator(simulator.model.with_exposure(longer * simulator.model.exposure))
        other.prepare()
        theta = base.copy()
        theta[:, columns(simulator.model, "_norm")] *= longer
        other.sample(1)
        by_weeks.append(1e3 * seconds_per_map(other, theta, 2))
    bins, by_bins = [1, 2, 5, 10, 20], []
    for each in bins:
        other = prepared(nside=64, n_energy=each)
        by_bins.append(1e3 * seconds_per_map(other, other.model.prior().draw(n, np.random.default_rng(0)), 2))
    by_nside = []
    for each in nsides:
        other = simulator if each == 64 else prepared(nside=each, n_energy=10)
        by_nside.append(1e3 * seconds_per_map(other, other.model.prior().draw(n, np.random.default_rng(0)), 2))
    return (
        ("sources", "sources at fixed flux", numbers, by_number),
        ("weeks", "weeks of observation (photons)", weeks, by_weeks),
        ("energy", "energy bins", bins, by_bins),
        ("nside", "nside", list(nsides), by_nside),
    )


def draw_figure(curves, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(13, 3), constrained_layout=True)
    for axis, (_, label, x, y) in zip(axes, curves, strict=True):
        axis.plot(x, y, "o-", markersize=3, linewidth=1)
        axis.set(xscale="log", xlabel=label, ylim=(0, 1.15 * max(y)))
        if len(x) < 6:
            axis.set_xticks(x, [str(value) for value in x])
            axis.minorticks_off()
    axes[0].set_ylabel("ms per map, one core")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def workers(simulator, n):
    """Seconds with one and two worker threads."""
    simulator.sample(128)
    return [seconds(lambda w=w: list(simulator.shards(n, 1, w)), 3, time.perf_counter) for w in (1, 2)]


def memory(n, nside=64, n_worker=2):
    """Peak memory, MiB, of a fresh process that draws n maps shard by shard, by threads."""
    command = [sys.executable, __file__, "--draw", str(n), "--draw-nside", str(nside), "--workers", str(n_worker)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def draw_only(n, nside, n_worker):
    simulator = Simulator(SkyModel.preset("inner-galaxy", nside=nside, n_energy=10))
    for _ in simulator.shards(n, 1, n_worker):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def machine():
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = ", ".join(f"{value:.1f}" for value in __import__("os").getloadavg())
    return f"{names[0].split(':')[1].strip()}, {len(names)} cores, Python {platform.python_version()}; load {load}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=256, help="maps per measurement")
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--quick", action="store_true", help="rates only")
    parser.add_argument("--draw", type=int, help="draw so many maps and print the peak memory")
    parser.add_argument("--draw-nside", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if given.draw:
        draw_only(given.draw, given.draw_nside, given.workers)
        return
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; {machine()}\n")
    rates((64, 128), given.n)
    if given.quick:
        return
    simulator = prepared(nside=64, n_energy=10)
    one, two = workers(simulator, 4 * given.n)
    print(f"\nWorkers 1 -> 2: {one / two:.2f} times as fast (threads, {4 * given.n} maps, nside 64)")
    curves = growth(given.n // 4, (16, 32, 64, 128), simulator)
    for title, label, x, y in curves:
        print(f"\n{title}: {label}")
        print("| " + " | ".join(f"{value:.3g}" for value in x) + " |")
        print("|" + "---|" * len(x))
        print("| " + " | ".join(f"{value:.2f}" for value in y) + " |")
    draw_figure(curves, given.figures / "simulator_growth.png")
    print(f"\nPeak memory: {memory(1000)} MiB for 1,000 maps, {memory(4000)} MiB for 4,000 (nside 64)")


if __name__ == "__main__":
    main()

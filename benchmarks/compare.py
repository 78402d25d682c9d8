"""What the library's work costs, against the last figures that were kept: ``make bench``.

    python benchmarks/compare.py [--keep] [--data DATA] [--only smoothing]

Figures are milliseconds of the processor, one thread, the least of several runs, unless a name says otherwise;
``--keep`` appends them, dated, to ``benchmarks/figures.json``. How the simulator's cost grows is that of one map, by
sources, weeks, bins and nside; what a million maps of nside 256 would take is worked out, and printed below. Another
machine, or another load, moves all of them: what matters is what moves by itself.
Whatever got slower by more than a fifth is named at the end, and the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

FIGURES = Path(__file__).with_name("figures.json")
SLOWER = 1.2


def least(function, repeats):
    """Milliseconds of the processor of the fastest of some runs, after one that may compile."""
    function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def smoothing():
    """PSF smoothing of six maps, one energy bin."""
    from gcesbi.physics.psf import PSF
    from gcesbi.physics.smoothing import smooth
    from gcesbi.sky.region import Region, in_disc

    psf = PSF.default(2.0, 2.5)
    for nside in (64, 256):
        patch = Region(nside, np.flatnonzero(in_disc(nside, 35.0)))
        maps = np.random.default_rng(0).random((6, patch.n_pix))
        yield f"smoothing, nside {nside}", least(lambda m=maps, p=patch: smooth(m, p, psf), 5)


def sky():
    """Set-up of a process, and maps."""
    from gcesbi import Simulator, SkyModel
    from gcesbi.physics.templates import pixel_average
    from gcesbi.simulation import patches
    from gcesbi.simulation.shard_file import Stamp, encode_shard

    def set_up():
        for kept in (patches._drawn, pixel_average._table):  # as in a process of its own
            kept.cache_clear()
        simulator = Simulator(SkyModel.preset(nside=64, n_energy=10))
        simulator.prepare()
        return simulator

    yield "model and simulator, nside 64", least(set_up, 2)
    for nside in (64, 128, 256):
        simulator = set_up() if nside == 64 else Simulator(SkyModel.preset(nside=nside, n_energy=10))
        maps = simulator.sample(128, seed=1)
        yield f"a map, nside {nside}, ten bins", least(lambda draw=simulator: draw.sample(128, seed=1), 3) / 128
        yield f"storing it, nside {nside}", least(lambda held=maps: encode_shard(held, Stamp("", 1, 0)), 3) / 128
    yield "a map's bytes on disk, nside 256", len(encode_shard(maps, Stamp("", 1, 0))) / 128


def growth():
    """One map, as sources, exposure, bins and nside grow."""
    import bench_simulator

    for title, _, values, times in bench_simulator.growth(32, (16, 32, 64, 128, 256), bench_simulator.prepared()):
        for value, time_ in zip(values, times, strict=True):
            if title != "sources" or round(np.log10(value) % 1, 3) == 0:
                yield f"a map, {title} {value:g}", time_


def workers():
    """Memory of a process that draws and of two threads, and what two threads bring, by the clock."""
    import bench_simulator

    for nside in (64, 128, 256):
        for n in (1, 2):
            yield f"MiB at most, nside {nside}, {n} worker(s)", bench_simulator.memory(256, nside, n)
    one, two = bench_simulator.workers(bench_simulator.prepared(nside=64), 512)
    yield "two threads' time, by the clock, in one's", two / one


def validation():
    """All measures but sbi's on 1,000 maps."""
    import bench_validation

    made = bench_validation.predictions(np.random.default_rng(0))
    works = bench_validation.steps(*made).values()
    yield "validation of 1,000 maps", least(lambda: [work() for work in works], 1)


def nptf(data):
    """The likelihood of the real map."""
    import bench_nptf

    from gcesbi.baselines import NptfLikelihood, nptf_log_likelihood

    counts, exposure, templates = bench_nptf.load(data)
    mean, sources = np.array([8.0, 5.0, 1.0, 0.7, 0.5, 0.3]) @ templates, templates[4:6] / exposure
    thetas = [np.array([3e-3, 3.5, 1.5, -0.8, 20.0, 5.0])] * 2
    shares = np.array([0.6, 0.3, 0.1, 0.03, 0.01, 0.003])
    density = np.array([0.4, 0.9, 2.0, 6.0, 12.0, 40.0])
    density /= shares @ density
    built = NptfLikelihood.build(counts, sources, shares, density)
    yield (
        "NPTF ln L, public call",
        least(lambda: nptf_log_likelihood(counts, mean, sources, thetas, shares, density), 100),
    )
    yield "NPTF ln L, built", least(lambda: built(mean, thetas), 100)


def training():
    """A step of the face network on one map."""
    import torch
    from bench_networks import embedding

    from gcesbi import Region

    torch.set_num_threads(1)
    region = Region.disc(64)
    counts = torch.poisson(torch.full((64, 10, region.n_pix), 3.0))
    network = embedding("face", region, 10, (32, 64, 128, 256), "cpu")
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)

    def step(bfloat16):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = network(counts).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    yield "training on a map, nside 64, bfloat16", least(lambda: step(True), 8) / len(counts)
    yield "training on a map, nside 64, float32", least(lambda: step(False), 8) / len(counts)
    region = Region.disc(256)
    counts = torch.poisson(torch.full((16, 10, region.n_pix), 0.5))
    network = embedding("face", region, 10, (32, 64, 128, 256, 256, 256), "cpu")
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    yield "training on a map, nside 256, paper's widths, bfloat16", least(lambda: step(True), 2) / len(counts)


def command():
    """The command line's own start."""

    def run():
        before = os.times()
        subprocess.run([sys.executable, "-m", "gcesbi.cli.main"], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    yield "importing the command line", 1e3 * min(run() for _ in range(3))


KINDS = {each.__name__: each for each in (smoothing, sky, growth, workers, training, validation, command)}


def a_million(now):
    """What a million maps of nside 256 would take, by the figures of one."""
    drawn, stored = now["a map, nside 256, ten bins"], now["storing it, nside 256"]
    hours, size = (drawn + stored) * 1e6 / 3.6e6, now["a map's bytes on disk, nside 256"] * 1e6 / 1e9
    return (
        f"from these, not run: a million maps at nside 256, ten bins, take {hours:.1f} core hours and {size:.0f} GB; "
        f"on 100 workers {60 * hours / 100:.0f} minutes, {1e3 * size / (hours * 36):.0f} MB/s written together"
    )


def measured(only, data):
    """Figures by name; what needs the data folder is left out without it."""
    kinds = dict(KINDS)
    if (data / "fermi-573w").is_dir():
        kinds["nptf"] = lambda: nptf(data)
    wanted = kinds if only is None else {only: kinds[only]}
    return {name: round(value, 4) for kind in wanted.values() for name, value in kind()}


def table(now, before):
    """Lines of a table, and what got slower."""
    lines, slower = ["| work | ms | before | ratio |", "|---|---|---|---|"], []
    for name, value in now.items():
        old = before.get(name)
        lines.append(f"| {name} | {value:.3g} | {' | ' if old is None else f'{old:.3g} | {value / old:.2f}'} |")
        if old is not None and value > SLOWER * old:
            slower.append(f"{name}: {value / old:.2f} times slower")
    return lines, slower


def main(arguments=None, path=FIGURES):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="append the figures to those that are kept")
    parser.add_argument("--only", choices=(*KINDS, "nptf"))
    data = os.environ.get("GCESBI_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data))
    given = parser.parse_args(arguments)
    kept = json.loads(path.read_bytes()) if path.is_file() else []
    before = {name: value for run in kept for name, value in run["ms"].items()}
    now = measured(given.only, given.data)
    lines, slower = table(now, before)
    date, load = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC", os.getloadavg()[0]
    print(f"{date}, load {load:.1f}; before: {kept[-1]['date'] if kept else 'nothing'}\n")
    million = [a_million(now)] if "a map's bytes on disk, nside 256" in now else []
    print("\n".join([*lines, "", *million, *(slower or ["nothing got slower"])]))
    if given.keep:
        path.write_text(json.dumps([*kept, {"date": date, "load": round(load, 1), "ms": now}], indent=1) + "\n")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())

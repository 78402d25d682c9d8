"""What a machine with a GPU does: the device simulator's law, maps a second drawn and trained on, the paper's million.

    python benchmarks/gpu.py [--nside 64 128 256] [--seconds 25] [--maps 100000] [--toy]

At most 8 minutes on one GPU. For every nside: maps drawn on the device are compared with the compiled simulator's for
the same parameters (mean counts of every energy bin, their spread from map to map, flux fractions and SCD labels, in
standard errors of the difference), then simulation and training steps in bfloat16 are timed. Last, the source-count
network of the `default` preset trains on a stream of fresh maps, and the time of the paper's million maps follows from
its rate. ``--toy`` is small enough for a CPU.
"""

from __future__ import annotations

import argparse
import datetime
import time

import numpy as np
import torch
from bench_networks import embedding, machine, step_seconds

from gcesbi import Simulator, SkyModel, SourceCountEstimator
from gcesbi.analysis.settings import load_settings
from gcesbi.estimators import TrainingSettings
from gcesbi.simulation.device import DeviceSimulator

PAPER = 1_000_000
WIDTHS = (32, 64, 128, 256)


def chosen_device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def settled(device):
    if device == "cuda":
        torch.cuda.synchronize()


def same_law(simulator, device, n, seed=1):
    """Largest difference of the two simulators, in standard errors, by what is compared; n maps of one theta each."""
    theta = np.repeat(simulator.model.prior().draw(1, np.random.default_rng(seed)), n, axis=0)
    on_device = DeviceSimulator(simulator, device).draw(theta, torch.Generator(device).manual_seed(seed))
    compiled = simulator.draw(theta, np.random.default_rng(seed))
    both = [
        (each.double().cpu().numpy(), np.asarray(other, dtype=np.float64))
        for each, other in ((getattr(on_device, name), getattr(compiled, name)) for name in ("counts", "flux", "scd"))
    ]
    totals = [each.sum(axis=-1) for each in both[0]]
    spreads = [np.square(each - each.mean(axis=0)) for each in totals]
    pairs = {"mean counts": totals, "their spread": spreads, "flux": both[1], "SCD": both[2]}
    return {name: float(np.abs(deviation(*pair)).max()) for name, pair in pairs.items()}


def deviation(one, other):
    """Difference of means over maps in standard errors; 0 where they are the same to the device's single precision."""
    gap = one.mean(axis=0) - other.mean(axis=0)
    error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / len(one))
    there = np.abs(gap) > 1e-5 * np.abs(other.mean(axis=0))
    return np.divide(gap, error, out=np.zeros_like(gap), where=there)


def simulation_rate(simulator, device, seconds, batch):
    """Maps a second of the device simulator, parameters from the prior."""
    drawer, generator = DeviceSimulator(simulator, device), torch.Generator(device).manual_seed(2)
    rng, n, start = np.random.default_rng(2), 0, None
    while start is None or time.perf_counter() - start < seconds:
        drawer.draw(simulator.model.prior().draw(batch, rng), generator)
        settled(device)
        if start is None:  # the first one warms up
            start = time.perf_counter()
        else:
            n += batch
    return n / (time.perf_counter() - start)


def training_rate(model, device, batch, steps):
    """Maps a second of training steps in bfloat16, maps on the device already."""
    network = embedding("face", model.region, model.n_energy, WIDTHS, device)
    counts = torch.poisson(torch.full((batch, model.n_energy, model.region.n_pix), 3.0, device=device))
    return batch / step_seconds(network, counts, True, steps)


def streamed_rate(simulator, n_map, workers):
    """Maps a second of a training of the `default` preset on fresh maps, validation included."""
    settings = load_settings("default", [], None)
    wanted = {"max_maps": n_map, "head_maps": 0, "n_validation": 128, "workers": workers}
    training = TrainingSettings(**{**vars(settings.training), **wanted, "source": "stream"})
    estimator = SourceCountEstimator.for_model(simulator.model, network=settings.network)
    history = estimator.fit(simulator, training)
    return history.maps_per_second, history.validation_loss[-1]


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", type=int, nargs="+", default=(64, 128, 256))
    parser.add_argument("--seconds", type=float, default=25.0, help="of each simulation that is timed")
    parser.add_argument("--maps", type=int, default=100_000, help="that the default preset trains on")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--toy", action="store_true", help="nside 16 and a few maps, for a CPU")
    given = parser.parse_args(arguments)
    if given.toy:
        given.nside, given.seconds, given.maps, given.batch = (16,), 0.1, 256, 32
    device = chosen_device()
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; {name}; {machine()}\n")
    print("| nside | drawn, maps/s | trained, maps/s | device against compiled, standard errors |")
    print("|---|---|---|---|")
    simulators = {
        nside: Simulator(SkyModel.preset(nside=nside, n_energy=2 if given.toy else 10)) for nside in given.nside
    }
    for nside, simulator in simulators.items():
        simulator.prepare()
        law = ", ".join(f"{what} {worst:.1f}" for what, worst in same_law(simulator, device, 4 * given.batch).items())
        drawn = simulation_rate(simulator, device, given.seconds, given.batch)
        trained = training_rate(simulator.model, device, given.batch, 2 if given.toy else 20)
        print(f"| {nside} | {drawn:.0f} | {trained:.0f} | {law} |", flush=True)
    rate, loss = streamed_rate(simulators[given.nside[0]], given.maps, 0 if given.toy else 1)
    print(f"\n`default` network from a stream, nside {given.nside[0]}: {rate:.0f} maps/s, held-out loss {loss:.4f}")
    print(f"the paper's million maps: {PAPER / rate / 3600:.1f} hours for each network", flush=True)


if __name__ == "__main__":
    main()

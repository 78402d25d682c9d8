"""Speed of the networks: training maps a second of the face network and of DeepSphere, and what a step consists of.

    python benchmarks/bench_networks.py [--nside 64] [--bins 10] [--batch 64] [--steps 20] [--threads 2]

One step: counts to input channels, encoder, dense layer, a quadratic loss, gradients, AdamW; no simulation, no loading.
The fastest half of the steps is averaged, as other jobs of the machine only ever slow a step down.
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
from pathlib import Path

import numpy as np
import torch

from gcesbi import Region
from gcesbi.networks.chebyshev import ChebyshevEncoder
from gcesbi.networks.face import FaceEncoder
from gcesbi.networks.inputs import CountsInput, MapEmbedding

ENCODERS = {"face": FaceEncoder, "chebyshev": ChebyshevEncoder}


def embedding(kind, region, n_energy, widths, device):
    torch.manual_seed(0)
    inputs = CountsInput(np.ones((n_energy, region.n_pix)))
    network = MapEmbedding(inputs, ENCODERS[kind](region, inputs.n_channel, widths, 256), 256)
    return network.to(device, memory_format=torch.channels_last)


def step_seconds(network, counts, bfloat16, n_step):
    """Mean of the fastest half of the steps."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    times = []
    for _ in range(n_step + 3):
        start = time.perf_counter()
        with torch.autocast(counts.device.type, torch.bfloat16, enabled=bfloat16):
            loss = network(counts).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if counts.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.mean(np.sort(times[3:])[: max(n_step // 2, 1)]))


def machine():
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{names[0].split(':')[1].strip()}, {len(names)} cores, torch {torch.__version__}; load {load}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--bins", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--widths", type=int, nargs="+", default=(32, 64, 128, 256))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    region = Region.disc(given.nside)
    counts = torch.poisson(torch.full((given.batch, given.bins, region.n_pix), 3.0)).to(given.device)
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC; {machine()}; {given.threads} threads")
    print(f"nside {given.nside}, {region.n_pix} pixels, {given.bins} bins, batches of {given.batch}, {given.device}\n")
    print("| network | weights | bfloat16, maps/s | float32, maps/s |")
    print("|---|---|---|---|")
    for kind in ENCODERS:
        network = embedding(kind, region, given.bins, given.widths, given.device)
        weights = sum(parameter.numel() for parameter in network.parameters())
        rates = [given.batch / step_seconds(network, counts, bfloat16, given.steps) for bfloat16 in (True, False)]
        print(f"| {kind} | {weights / 1e6:.2f} M | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()

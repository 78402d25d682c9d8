"""A toy sky with known answers: a Poisson background, and point sources that shine into one pixel each.

Three energy bins. Template "flat" has the same mean in every pixel. Template "dots" has sources of two fluxes, 1 and 32
photons: a share w ~ U(0, 1) of its flux comes from the dim ones, so that its CDF is 0, then w, then 1. The exposure is
one photon per unit of flux.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

from gcesbi.estimators import (
    NetworkSettings,
    SourceCountEstimator,
    SpectralEstimator,
    TrainingHistory,
    TrainingSettings,
    load_estimator,
    read_notes,
    save_estimator,
)
from gcesbi.posterior import Coordinates
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.region import Region

REGION = Region.disc(32)
N_ENERGY, N_BIN, DIM, BRIGHT = 3, 8, 2, 5
SHARES = np.array([0.5, 0.3, 0.2])
CENTRES = -1 + 0.5 * np.arange(N_BIN)  # log10 of flux
EXPOSURE = np.ones((N_ENERGY, REGION.n_pix))
COORDINATES = Coordinates(("flat", "dots"), (2.0, 5.0, 12.0), ("dots",), tuple(CENTRES.tolist()))


def simulate(n: int, seed: int) -> Simulations:
    """Maps whose background is U(1, 3) photons per pixel, and whose dots give about U(0.1, 0.5) of the flux."""
    rng = np.random.default_rng(seed)
    background = rng.uniform(1, 3, n) * REGION.n_pix
    share, w = rng.uniform(0.1, 0.5, n), rng.uniform(size=n)
    aim = background * share / (1 - share)
    number = np.stack([aim * w / 10 ** CENTRES[DIM], aim * (1 - w) / 10 ** CENTRES[BRIGHT]], axis=1).round().astype(int)
    number[:, 0] += number.sum(axis=1) == 0
    flux = number * 10 ** CENTRES[[DIM, BRIGHT]]
    mean = np.repeat(background[:, None] / REGION.n_pix, REGION.n_pix, axis=1)
    for row, kind in np.ndindex(n, 2):
        where = rng.integers(REGION.n_pix, size=number[row, kind])
        np.add.at(mean[row], where, 10 ** CENTRES[(DIM, BRIGHT)[kind]])
    counts = rng.poisson(SHARES[:, None] * mean[:, None, :]).astype(np.uint16)
    scd = np.zeros((n, 1, N_BIN))
    scd[:, 0, [DIM, BRIGHT]] = flux / flux.sum(axis=1, keepdims=True)
    labels = np.stack([background, flux.sum(axis=1)], axis=1)[:, :, None] * SHARES
    return Simulations(
        np.stack([share, w], axis=1), counts, labels, scd, number.sum(axis=1, keepdims=True).astype(float)
    )


SMALL = NetworkSettings(widths=(8, 16), n_features=32)
SETTINGS = TrainingSettings(max_maps=30_000, batch_size=64, learning_rate=3e-3, precision="float32")


@pytest.fixture(scope="session")
def toy() -> SimpleNamespace:
    """The toy sky: region, exposure, coordinates, `simulate`, small network sizes, quick settings."""
    return SimpleNamespace(
        region=REGION,
        exposure=EXPOSURE,
        coordinates=COORDINATES,
        simulate=simulate,
        n_bin=N_BIN,
        dim=DIM,
        bright=BRIGHT,
        spectra=lambda **options: SpectralEstimator(
            REGION, EXPOSURE, ("flat", "dots"), **{"network": SMALL, "fingerprint": "toy"} | options
        ),
        source_counts=lambda **options: SourceCountEstimator(
            REGION, EXPOSURE, ("dots",), **{"n_bin": N_BIN, "network": SMALL, "fingerprint": "toy"} | options
        ),
        settings=SETTINGS,
    )


@pytest.fixture(scope="session")
def maps() -> SimpleNamespace:
    """Toy maps: to train on, and 500 fresh ones."""
    return SimpleNamespace(train=simulate(12_000, 1), fresh=simulate(500, 2))


def trained(estimator, maps, folder):
    """An estimator with its `history`, trained by the first worker of pytest-xdist that asks for one of its kind."""
    path = folder / f"toy-{estimator.kind}"
    with FileLock(f"{path}.lock"):
        if not path.with_suffix(".json").exists():
            save_estimator(estimator, path, {"history": estimator.fit(maps.train, SETTINGS).to_dict()})
    found = load_estimator(path)
    found.history = TrainingHistory.from_dict(read_notes(path)["history"])
    return found


@pytest.fixture(scope="session")
def spectra(toy, maps, machine_folder) -> SpectralEstimator:
    """A trained spectral estimator, with its `history`."""
    return trained(toy.spectra(), maps, machine_folder)


@pytest.fixture(scope="session")
def source_counts(toy, maps, machine_folder) -> SourceCountEstimator:
    """A trained source-count estimator, with its `history`."""
    return trained(toy.source_counts(), maps, machine_folder)

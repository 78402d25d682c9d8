"""Skies that nobody foresaw, composed in a few lines: every method follows without an edit."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.simulate import mock_observation
from gcesbi.simulation import Formula, Map, Mixture, PointSources, SkyModel, Smooth

healpy = pytest.importorskip("healpy")

DIM = {"xi": (-12.0, -10.0), "flux": (0.0, 1e-7)}
REGION = {"nside": 16, "radius": 20.0, "band": 2.0}
BRIEF = 5e9  # cm² s: few photons, for which the NPTF is cheap
STEPS = (
    "simulation.n_train=128",
    "simulation.n_test=128",
    "training.max_maps=256",
    "network.widths=[4, 8]",
    "network.n_features=16",
    "nptf.n_steps=20",
)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """A folder of FITS cubes of ten bins, as a user's own."""
    folder = tmp_path_factory.mktemp("cubes")
    glat = np.abs(healpy.pix2ang(16, np.arange(3072), lonlat=True)[1])
    for name, width in (("gas", 5.0), ("lobes", 25.0)):
        cube = [np.exp(-glat / width) * 10.0**-e for e in np.linspace(0, 2, 10)]
        healpy.write_map(folder / f"{name}.fits", cube, coord="G", dtype=np.float64)
    return folder


def ten_bins(cubes):
    gas, lobes = (Map(file=cubes / f"{name}.fits", smoothed=False) for name in ("gas", "lobes"))
    return SkyModel(
        [
            Smooth(name="gas", template=gas, norm=(0.5, 2.0), spectrum="power-law"),
            Smooth(name="lobes", template=lobes, norm=(0.0, 1.0), spectrum="log-parabola"),
            PointSources(name="halo", template="nfw", populations=[DIM]),
        ],
        region=REGION,
        energy_edges="2:20:10",
        exposure=BRIEF,
    )


def two_disks(cubes):
    bulge = Mixture(mixture=[Formula(formula="nfw", gamma=1.3), Formula(formula="bubbles")], weight=(0.2, 0.9))
    return SkyModel(
        [
            PointSources(name="thin", template=Formula(formula="disk", z_s=0.2), populations=[DIM]),
            PointSources(name="thick", template=Formula(formula="disk", z_s=1.0), populations=[DIM]),
            PointSources(name="bulge", template=bulge, populations=[DIM], spectrum="free"),
            PointSources(name="far", template="isotropic", populations=[DIM]),
        ],
        region=REGION, energy_edges="2:20:2", exposure=BRIEF, subject="bulge",
    )  # fmt: skip


def floating_slope(cubes):
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=torch.distributions.Gamma(2.0, 2.0)),
            PointSources(name="halo", template=Formula(formula="nfw", gamma=(0.9, 1.4)), populations=[DIM, DIM]),
        ],
        region=REGION,
        energy_edges=[2.0, 20.0],
        exposure=BRIEF,
    )


def broken_power_laws(cubes):
    law = {"family": "broken-power-law", "indices": [(2.1, 5.0), (-1.0, 1.9)], "breaks": [(-10.5, -9.0)]}
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=(0.1, 1.0)),
            PointSources(name="dots", template="nfw", populations=[{**law, "flux": (0.0, 1e-7)}]),
        ],
        region=REGION,
        energy_edges=[2.0, 20.0],
        exposure=BRIEF,
    )


def image(cubes):
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=(0.1, 1.0)),
            PointSources(name="halo", template="nfw", populations=[DIM]),
        ],
        region={"shape": (16, 16), "pixel_size": 2.0},
        energy_edges=[2.0, 20.0],
        exposure=BRIEF,
    )


@pytest.fixture(scope="module", params=[ten_bins, two_disks, floating_slope, broken_power_laws, image])
def done(request, cubes, tmp_path_factory):
    """A run of each sky, all its steps done."""
    folder = tmp_path_factory.mktemp("any") / "run"
    model = request.param(cubes)
    run = Run.create(folder, load_settings("test", STEPS), sky=model)
    run.simulate(backend="threads")
    histories = run.train()
    seen, truth = mock_observation(run)
    run.write_observation(seen)
    return SimpleNamespace(sky=request.param, model=model, run=run, histories=histories, seen=seen, truth=truth)


def test_every_method_answers_by_the_users_names(done):
    pass

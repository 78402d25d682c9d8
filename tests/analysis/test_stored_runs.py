"""What version 0.1.0 wrote is read today, and says what it said then: ``tests/data/v0.1.0``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gcesbi.analysis import infer as infer_step
from gcesbi.analysis.run import Run
from gcesbi.estimators.images import ImageNpe, ShareQuantiles

STORED = Path(__file__).resolve().parents[1] / "data" / "v0.1.0"
SAID = json.loads((STORED / "answers.json").read_text())
TAUS = SAID["taus"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy: runs keep maps in their folder."""
    return shutil.copytree(STORED, tmp_path_factory.mktemp("stored") / "runs")


@pytest.fixture(scope="module")
def run(folder):
    return Run.open(folder / "healpix")


@pytest.fixture(scope="module")
def images(folder):
    return Run.open(folder / "images")


def test_a_run_answers_as_it_did(run):
    found = infer_step.infer(run, run.observation())
    for name in ("flux_fraction", "scd_cdf"):
        np.testing.assert_allclose(found.quantiles(name, TAUS), SAID["healpix"][name], rtol=1e-4, atol=1e-6)


def test_a_store_is_read_and_its_maps_are_drawn_alike(run):
    stored, drawn = run.store.read(0, 128), run.simulator.shard(0, run.settings.seed)
    np.testing.assert_array_equal(stored.theta[:3], SAID["healpix"]["store"])
    for name in ("theta", "counts"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(drawn, name))
    for name in ("flux", "scd"):  # sums that are taken in another order since
        np.testing.assert_allclose(getattr(stored, name), getattr(drawn, name), rtol=1e-12, atol=0)


def test_networks_of_images_answer_as_they_did(images):
    maps, said = images.images.store("snr-10-150").read(0, 3), SAID["images"]
    drawn = images.images.simulator("snr-10-150").shard(0, images.images.seed("snr-10-150"))
    np.testing.assert_array_equal(maps.theta, said["store"])
    np.testing.assert_array_equal(maps.counts, drawn.counts[:3])
    answers = {
        "full": images.network("full").predict(maps.counts),
        "quantiles": images.network("quantiles", ShareQuantiles).quantiles(maps.counts, TAUS),
        "npe": np.quantile(images.network("npe", ImageNpe).sample(maps.counts, 256, 1)["theta"], TAUS, axis=0),
    }
    for name, found in answers.items():
        np.testing.assert_allclose(found, said[name], rtol=1e-4, atol=1e-6)

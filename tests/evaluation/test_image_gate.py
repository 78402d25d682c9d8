"""The gate of images: true levels on images of the model; sources that no image has are turned away."""

import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators.images import ImageNetworkSettings, ShareEstimator, ShareQuantiles
from gcesbi.evaluation.image_gate import STATISTICS, ImageGate
from gcesbi.sky.image import ImageGeometry

REGION = ImageGeometry((16, 16), 1.0).whole()
EXPOSURE = np.full((1, REGION.n_pix), 1e11)
NETWORK = ImageNetworkSettings(widths=(4,), n_features=8, scaling="contrast")


class Model:
    fingerprint = "images"


def images(n, seed, mean=50.0):
    return np.random.default_rng(seed).poisson(mean, (n, 1, REGION.n_pix))


@pytest.fixture(scope="module")
def networks():
    found = ShareEstimator(REGION, EXPOSURE, network=NETWORK), ShareQuantiles(REGION, EXPOSURE, network=NETWORK)
    for each in found:
        each.prepare(torch.from_numpy(images(300, 1)).float(), torch.rand(300, generator=torch.manual_seed(1)))
    return found


@pytest.fixture(scope="module")
def gate(networks):
    return ImageGate.fit(*networks, images(1600, 2))


def test_levels_are_true_on_images_of_the_model(gate):
    p = gate.p_values(images(400, 3))
    assert p.min() > 0
    assert np.mean(p < 0.1) == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / 400) + 0.03)  # k = 4, and the calibration's
    assert np.mean(p) == pytest.approx(0.5, abs=4 / np.sqrt(12 * 400) + 0.03)


def test_sources_that_no_image_has_are_turned_away(gate):
    counts = images(1, 4)[0]
    counts[0, 100] += 400
    verdict = gate.verdict(counts)
    assert not verdict.accepted
    assert verdict.p_value == pytest.approx(1 / 601)
    assert set(verdict.names) == set(STATISTICS)
    assert "Do not trust the posterior" in str(verdict)
    assert not gate.verdict(images(1, 5, 100.0)[0]).accepted  # twice the photons


def test_a_gate_is_stored_with_its_models_and_networks(gate, networks, tmp_path):
    gate.save(tmp_path / "gate.npz", [Model])
    again, seen = ImageGate.load(tmp_path / "gate.npz", [Model], *networks), images(5, 6)
    np.testing.assert_array_equal(again.p_values(seen), gate.p_values(seen))
    with pytest.raises(InputError, match="was made for other models or other weights"):
        ImageGate.load(tmp_path / "gate.npz", [Model, Model], *networks)
    (tmp_path / "bad.npz").write_bytes(b"no gate")
    with pytest.raises(InputError, match="cannot be read"):
        ImageGate.load(tmp_path / "bad.npz", [Model], *networks)

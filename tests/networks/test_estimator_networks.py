"""The network that an estimator is told to have is the one it has, keeps on disk, and tells apart."""

import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators import NetworkSettings, SpectralEstimator, load_estimator, save_estimator
from gcesbi.networks.chebyshev import ChebyshevEncoder
from gcesbi.networks.face import FaceEncoder
from gcesbi.sky.region import Region

REGION = Region.disc(16)
EXPOSURE = np.random.default_rng(1).uniform(1, 2, (3, REGION.n_pix))


def _estimator(region=REGION, **options):
    exposure = np.broadcast_to(EXPOSURE.mean(), (3, region.n_pix)) if region is not REGION else EXPOSURE
    return SpectralEstimator(
        region, exposure, ("a", "b"), network=NetworkSettings(widths=(8, 16), n_features=16, **options)
    )


def _counts(n=5, region=REGION):
    return np.random.default_rng(2).poisson(5.0, (n, 3, region.n_pix))


def _answer(estimator, counts):
    return next(estimator.outputs(counts)).mean


@pytest.mark.parametrize("energy", ["resolved", "summed"])
@pytest.mark.parametrize(("name", "kind"), [("face", FaceEncoder), ("chebyshev", ChebyshevEncoder)])
def test_settings_decide_on_encoder_and_channels(tmp_path, name, kind, energy):
    estimator = _estimator(encoder=name, energy=energy)
    assert type(estimator.embedding.encoder) is kind
    assert estimator.embedding.inputs.n_channel == {"resolved": 4, "summed": 1}[energy]
    loaded = load_estimator(save_estimator(estimator, tmp_path / "x"))
    assert loaded.network == estimator.network
    assert torch.equal(_answer(loaded, _counts()), _answer(estimator, _counts()))


@pytest.mark.parametrize("name", ["face", "chebyshev"])
def test_the_summed_twin_does_not_see_energies(name):
    counts = _counts()
    for energy, same in (("summed", True), ("resolved", False)):
        estimator = _estimator(encoder=name, energy=energy)
        torch.nn.init.normal_(estimator.head.linear.weight)
        assert torch.equal(_answer(estimator, counts), _answer(estimator, counts[:, ::-1])) is same


def test_identity_tells_networks_apart():
    identities = [
        _estimator(encoder=encoder, energy=energy, norm=norm).identity()["network"]
        for encoder in ("face", "chebyshev")
        for energy in ("resolved", "summed")
        for norm in ("batch", "instance")
    ]
    assert all(a != b for i, a in enumerate(identities) for b in identities[:i])


def test_the_graph_takes_any_region_and_the_face_says_why_not():
    region = Region.disc(16, radius=60, centre=(40.0, 30.0))
    estimator = _estimator(region, encoder="chebyshev")
    assert _answer(estimator, _counts(2, region)).shape[0] == 2
    with pytest.raises(InputError, match="region: must lie inside one HEALPix base face"):
        _estimator(region, encoder="face")

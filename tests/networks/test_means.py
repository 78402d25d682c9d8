import json

import healpy as hp
import numpy as np
import pytest
import torch

from gcesbi.estimators import NetworkSettings, SpectralEstimator, load_estimator, save_estimator
from gcesbi.networks.chebyshev import ChebyshevEncoder
from gcesbi.networks.face import FaceEncoder, FaceImage
from gcesbi.networks.layers import NORMS, LevelMeans, PixelLayer
from gcesbi.sky.region import Region

REGION = Region.disc(16)
ENCODERS = {"face": FaceEncoder, "chebyshev": ChebyshevEncoder}


@pytest.fixture(params=ENCODERS)
def kind(request):
    return ENCODERS[request.param]


def _encoder(kind, region=REGION, **options):
    torch.manual_seed(1)
    return kind(region, 2, (8, 16), 12, means=True, **options).eval()


def _means(encoder, maps):
    """What the encoder hands to its standardisation: means of the pixels and of every level."""
    found = []
    hook = encoder.means.register_forward_hook(lambda module, given, result: found.extend(given[0]))
    encoder(maps)
    hook.remove()
    return found


def _mirror(region):
    """Position in the region of every pixel's mirror image at -glon."""
    glon, glat = region.glon_glat()
    return region.index[hp.ang2pix(region.nside, -glon, glat, nest=True, lonlat=True)]


def _holed():
    hole = np.zeros(12 * 16**2, dtype=bool)
    hole[REGION.pixels[50:61]] = True
    return Region.disc(16, mask=hole)


def test_pixel_layer_is_a_matrix_product_and_a_rectifier():
    layer, maps = PixelLayer(2, 5, "none"), torch.randn(3, 2, REGION.n_pix)
    weight, bias = layer.layers[0].weight[:, :, 0].detach().numpy(), layer.layers[0].bias.detach().numpy()
    expected = np.maximum(np.einsum("ci,nip->ncp", weight, maps.numpy()) + bias[:, None], 0)
    np.testing.assert_allclose(layer(maps).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_means_are_of_the_regions_pixels_before_the_maximum(kind, norm):
    """Against a mean of each level's output over the pixels that are there, taken one by one."""
    region = _holed()
    encoder, maps = _encoder(kind, region, norm=norm), torch.randn(3, 2, region.n_pix)
    found = _means(encoder, maps)
    assert [mean.shape for mean in found] == [(3, 8), (3, 8), (3, 16)]
    torch.testing.assert_close(found[0], encoder.pixel(maps).mean(dim=2))
    if kind is ChebyshevEncoder:
        first = encoder.levels[0](maps.permute(2, 0, 1))
        torch.testing.assert_close(found[1], sum(first) / region.n_pix, atol=1e-5, rtol=1e-5)
        second = encoder.levels[1](encoder.pools[0](first))
        torch.testing.assert_close(found[2], sum(second) / len(second), atol=1e-5, rtol=1e-5)
        return
    image = FaceImage(region, 8)
    first = encoder.levels[0](encoder.image(maps))
    expected = sum(first[:, :, i, j] for i, j in zip(image.row, image.column, strict=True)) / region.n_pix
    torch.testing.assert_close(found[1], expected, atol=1e-5, rtol=1e-5)
    second = encoder.levels[1](torch.nn.functional.max_pool2d(first, 2))
    blocks = {(i // 2, j // 2) for i, j in zip(image.row, image.column, strict=True)}
    expected = sum(second[:, :, i, j] for i, j in blocks) / len(blocks)
    torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-5)


def test_masked_pixels_do_not_matter(kind):
    """Full-sky maps that differ by masked pixels only, those in a hole among them, have equal features."""
    region = _holed()
    encoder, sky = _encoder(kind, region), torch.rand(1, 2, 12 * 16**2)
    other = sky.clone()
    other[..., np.setdiff1d(np.arange(12 * 16**2), region.pixels)] = 1e6
    assert torch.equal(*(encoder(each[..., torch.tensor(region.pixels)]) for each in (sky, other)))


@pytest.mark.parametrize("norm", NORMS)
def test_mirror_images_have_the_same_means(kind, norm):
    """On the face with transposed filters, and row and column exchanged; graph filters know no direction."""
    encoder, mirrored = (_encoder(kind, norm=norm, depth=2) for _ in range(2))
    if kind is FaceEncoder:
        with torch.no_grad():
            for parameter in mirrored.levels.parameters():
                if parameter.ndim == 4:
                    parameter.copy_(parameter.transpose(2, 3).clone())
            first = mirrored.levels[0][0].weight
            first.copy_(first[:, [0, 1, 2, 4, 3]])
    maps = torch.randn(3, 2, REGION.n_pix)
    turned = maps[..., _mirror(REGION)]
    for found, expected in zip(_means(mirrored, turned), _means(encoder, maps), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    shuffled = _means(encoder, maps[..., torch.randperm(REGION.n_pix)])
    torch.testing.assert_close(shuffled[0], _means(encoder, maps)[0], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(shuffled[1], _means(encoder, maps)[1], atol=1e-3)


def test_every_pixel_reaches_the_features(kind):
    """Maxima pass the gradient of some pixels only, means that of all."""
    encoder, maps = _encoder(kind, norm="none"), torch.randn(1, 2, REGION.n_pix, requires_grad=True)
    encoder(maps).sum().backward()
    assert (maps.grad != 0).any(dim=1).all()


def test_means_are_standardised_over_maps_in_float32():
    """Also those that vary as little as the means of forty thousand pixels."""
    means = [0.5 + 5e-3 * torch.randn(200, 3), 2 + 1e-2 * torch.randn(200, 4)]
    layer = LevelMeans(7, "batch")
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(means)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.detach().mean(dim=0), 0, atol=1e-3)
    np.testing.assert_allclose(found.detach().std(dim=0, correction=0), 1, rtol=1e-3)
    assert torch.equal(LevelMeans(7, "instance")(means), torch.cat(means, dim=1))


@pytest.mark.parametrize("norm", NORMS)
def test_bfloat16_autocast_is_close(kind, norm):
    """Relative error 12 · 2⁻⁸: roundings of two levels, three layers each, and of the dense layer."""
    encoder, maps = _encoder(kind, norm=norm), torch.randn(20, 2, REGION.n_pix)
    exact = encoder(maps)
    with torch.autocast("cpu", torch.bfloat16):
        found = encoder(maps)
    assert (found - exact).norm() < 12 * 2**-8 * exact.norm()


# -- settings ---------------------------------------------------------------------------------------------------------


def _estimator(encoder="face", **options):
    network = NetworkSettings(encoder=encoder, widths=(8, 16), n_features=16, **options)
    return SpectralEstimator(REGION, np.ones((3, REGION.n_pix)), ("a", "b"), network=network)


def _answer(estimator):
    return next(estimator.outputs(np.random.default_rng(2).poisson(5.0, (5, 3, REGION.n_pix)))).mean


@pytest.mark.parametrize("means", [False, True])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_setting_is_kept_on_disk(tmp_path, encoder, means):
    estimator = _estimator(encoder, means=means)
    torch.nn.init.normal_(estimator.head.linear.weight)
    assert (estimator.embedding.encoder.means is not None) is means
    loaded = load_estimator(save_estimator(estimator, tmp_path / "x"))
    assert loaded.network == estimator.network
    assert torch.equal(_answer(loaded), _answer(estimator))


def test_networks_without_means_are_stored_as_before_there_were_means(tmp_path):
    """So that weights and checkpoints of earlier versions stay valid, and are told from networks with means."""
    estimator = _estimator()
    save_estimator(estimator, tmp_path / "x")
    assert "means" not in json.loads((tmp_path / "x.json").read_text())["identity"]["network"]
    assert not [name for name in estimator.state_dict() if "pixel." in name or "means" in name]
    assert _estimator(means=True).identity()["network"]["means"] is True

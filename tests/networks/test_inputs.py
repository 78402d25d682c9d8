import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.networks.chebyshev import ChebyshevEncoder
from gcesbi.networks.face import FaceEncoder
from gcesbi.networks.inputs import CountsInput, MapEmbedding
from gcesbi.sky.region import Region

REGION = Region.disc(16)
RNG = np.random.default_rng(5)


def _counts(n=4, n_energy=3, mean=20):
    return torch.from_numpy(RNG.poisson(mean, (n, n_energy, REGION.n_pix)).astype(np.float32))


def _exposure(n_energy=3):
    return RNG.uniform(1e11, 2e11, (n_energy, REGION.n_pix))


def test_contrast_is_the_formula():
    counts, exposure = _counts(), _exposure()
    inputs = CountsInput(exposure)
    contrast, total = inputs.contrast(counts)
    flux = counts.numpy() * exposure.mean(1, keepdims=True) / exposure
    flux = np.concatenate([flux, flux.sum(1, keepdims=True)], axis=1)
    root = np.sqrt(flux + 0.375) - np.sqrt(flux.mean(2, keepdims=True) + 0.375)
    np.testing.assert_allclose(contrast.numpy(), root, atol=1e-4)
    np.testing.assert_allclose(total.numpy(), np.log1p(flux.sum(2)), rtol=1e-5)


def test_one_bin_has_one_channel():
    inputs = CountsInput(_exposure(1))
    channels, total = inputs(_counts(n_energy=1))
    assert channels.shape == (4, 1, REGION.n_pix)
    assert total.shape == (4, 1)


def test_summed_input_is_that_of_one_bin():
    """The energy-independent twin: counts of all bins added, over the mean of their exposures."""
    exposure, counts = _exposure(), _counts(8)
    summed, one = CountsInput(exposure, "summed"), CountsInput(exposure.mean(axis=0, keepdims=True))
    for inputs, each in ((summed, counts), (one, counts.sum(dim=1, keepdim=True))):
        inputs.standardise(each)
    assert summed.n_channel == 1
    for found, expected in zip(summed(counts), one(counts.sum(dim=1, keepdim=True)), strict=True):
        torch.testing.assert_close(found, expected)


def test_summed_input_knows_no_energies():
    counts = _counts()
    shuffled = counts[:, [2, 0, 1]]
    for energy, same in (("summed", True), ("resolved", False)):
        inputs = CountsInput(np.ones((3, REGION.n_pix)), energy)
        assert torch.equal(inputs(counts)[0], inputs(shuffled)[0]) is same


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("energy", "energy: must be one of resolved, summed, got 'mean'"),
        ("channels", "channels: must be one of contrast, relative, got 'mean'"),
        ("totals", "totals: must be one of log, counts, scatter, none, got 'mean'"),
    ],
)
def test_unknown_words_are_refused(word, told):
    with pytest.raises(InputError, match=told):
        CountsInput(_exposure(), **{word: "mean"})


def test_totals_are_those_that_were_asked_for():
    counts, exposure = _counts(), np.ones((3, REGION.n_pix))
    flux = np.concatenate([counts.numpy(), counts.numpy().sum(1, keepdims=True)], axis=1)
    total, scatter = flux.sum(2), flux.std(2)
    wanted = {"log": np.log1p(total), "counts": total, "none": total[:, :0]}
    wanted["scatter"] = np.concatenate([np.log1p(total), np.log1p(scatter)], axis=1)
    for totals, expected in wanted.items():
        inputs = CountsInput(exposure, totals=totals)
        np.testing.assert_allclose(inputs.contrast(counts)[1].numpy(), expected, rtol=1e-5)
        assert inputs.n_total == expected.shape[1]
        assert MapEmbedding(inputs, FaceEncoder(REGION, 4, (4,), 16), 8, n_seen=16)(counts).shape == (4, 8)


def test_deepsphere_may_descend_to_one_pixel_and_have_two_dense_layers():
    inputs = CountsInput(_exposure(), channels="relative", totals="counts")
    encoder = ChebyshevEncoder(REGION, 4, (4, 4, 4, 4), 24)
    assert encoder.dense.in_features == 4 + 16  # one pixel, and the means of four levels
    embedding, counts = MapEmbedding(inputs, encoder, 8, n_seen=24), _counts()
    inputs.standardise(counts)
    features = embedding(counts)
    assert features.shape == (4, 8)
    assert torch.isfinite(features).all()


def test_relative_channels_are_counts_over_their_mean():
    counts = _counts()
    found = CountsInput(np.ones((3, REGION.n_pix)), channels="relative").contrast(counts)[0].numpy()
    np.testing.assert_allclose(found[:, :3], counts / counts.mean(2, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(found.mean(2), 1, rtol=1e-5)


def test_poisson_noise_is_even_whatever_the_brightness():
    """Contrasts of bright and dim maps have the same noise, close to 1/2; 2 % is the square root's bias at 20."""
    inputs = CountsInput(np.ones((1, REGION.n_pix)))
    for mean in (20, 2000):
        spread = inputs.contrast(_counts(50, 1, mean))[0].std()
        assert spread == pytest.approx(0.5, rel=0.02)


def test_exposure_is_taken_out():
    exposure = np.ones((1, REGION.n_pix))
    exposure[0, : REGION.n_pix // 2] = 2
    counts = torch.from_numpy((100 * exposure[None]).astype(np.float32))
    contrast, _ = CountsInput(exposure).contrast(counts)
    np.testing.assert_allclose(contrast.numpy(), 0, atol=1e-4)


def test_standardised_input_has_mean_zero_and_variance_one():
    inputs, counts = CountsInput(_exposure()), _counts(40)
    inputs.standardise(counts)
    channels, total = inputs(counts)
    deviation = _untamed(channels)
    np.testing.assert_allclose(deviation.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose((deviation**2).mean((0, 2)), 1, rtol=1e-3)
    np.testing.assert_allclose(total.mean(0).numpy(), 0, atol=1e-3)
    np.testing.assert_allclose(total.std(0, correction=0).numpy(), 1, rtol=1e-3)


def _untamed(channels):
    """Solve s = z / √(1 + |z| / 4) for z."""
    s = channels.double().abs().numpy()
    return np.sign(channels.numpy()) * (s**2 / 8 + s * np.sqrt(1 + s**2 / 64))


def test_a_source_of_a_hundred_thousand_photons_stays_tame():
    inputs, counts = CountsInput(_exposure()), _counts(40)
    inputs.standardise(counts)
    counts[0, 0, 3] = 1e5
    channels, total = inputs(counts)
    assert torch.isfinite(channels).all()
    assert torch.isfinite(total).all()
    assert channels.abs().max() < 60
    assert channels[0, 0, 3] > channels[1:].max()


def test_empty_maps_are_finite():
    inputs = CountsInput(_exposure())
    inputs.standardise(torch.zeros(3, 3, REGION.n_pix))
    channels, total = inputs(torch.zeros(2, 3, REGION.n_pix))
    assert torch.isfinite(channels).all()
    assert torch.isfinite(total).all()


@pytest.mark.parametrize("kind", [FaceEncoder, ChebyshevEncoder])
def test_embedding_sees_totals_that_the_contrast_forgets(kind):
    """Two flat maps of different brightness have the same contrast (none), and different features."""
    torch.manual_seed(0)
    inputs = CountsInput(np.ones((3, REGION.n_pix)))
    embedding = MapEmbedding(inputs, kind(REGION, inputs.n_channel, (8,), 16), 16).eval()
    flat = torch.full((1, 3, REGION.n_pix), 10.0)
    assert torch.allclose(inputs(flat)[0], inputs(3 * flat)[0], atol=1e-4)
    assert not torch.allclose(embedding(flat), embedding(3 * flat), atol=1e-3)
    assert embedding(flat).shape == (1, 16)

"""What a network sees of an image, and its convolutions."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from gcesbi.errors import InputError
from gcesbi.networks.image import RINGS, SCALINGS, ImageEmbedding, ImageEncoder, ImageInput, ShareHead
from gcesbi.sky.image import ImageGeometry

GEOMETRY = ImageGeometry((12, 16), 1.0)


def poisson(mean=20.0, n=30, n_energy=1, seed=0):
    drawn = np.random.default_rng(seed).poisson(mean, (n, n_energy, GEOMETRY.n_pix))
    return torch.from_numpy(drawn.astype(np.float32))


def inputs(scaling="contrast", counts=None, region=None, **settings):
    made = ImageInput(region or GEOMETRY.whole(), 1, scaling=scaling, **settings)
    if counts is not None:
        made.standardise(counts)
    return made


@pytest.mark.parametrize("scaling", SCALINGS)
@settings(deadline=None, max_examples=15)
@given(st.floats(0, 5), st.integers(0, 100))
def test_pictures_lie_between_0_and_1(scaling, log_mean, seed):
    seen = inputs(scaling, poisson())
    picture = seen(poisson(10**log_mean, n=2, seed=seed))
    assert picture.shape == (2, 1, 12, 16)
    assert float(picture.min()) >= 0
    assert float(picture.max()) <= 1


def test_the_largest_counts_are_one_and_the_root_evens_noise():
    counts = poisson()
    seen = counts.reshape(30, 1, 12, 16) / counts.max()
    torch.testing.assert_close(inputs("maximum", counts)(counts), seen)
    torch.testing.assert_close(inputs("root", counts)(counts), seen.sqrt())
    bright, dim = (inputs("root", counts)(poisson(mean, 400)).std() for mean in (16.0, 4.0))
    assert float(bright / dim) == pytest.approx(1, abs=0.1)


def test_the_contrast_is_the_deviation_from_mean_and_surroundings():
    counts = poisson(seed=1)
    root = np.sqrt(counts.numpy().reshape(30, 12, 16).astype(float) + 0.375)
    u = root - root.mean(axis=0)
    around = np.stack([uniform_filter(each, 5, mode="constant") for each in u])
    shares = uniform_filter(np.ones((12, 16)), 5, mode="constant")
    d = u - around / shares
    expected = 1 / (1 + np.exp(-d / (2 * np.sqrt((d**2).mean()))))
    np.testing.assert_allclose(inputs("contrast", counts)(counts)[:, 0], expected, atol=1e-5)


def test_the_deviation_tells_bright_sources_apart_and_ends_at_16_spreads():
    counts = poisson(20.0, 200)
    images = np.full((2, 1, 12, 16), 20.0, dtype=np.float32)
    images[:, 0, 6, 8] = 100.0, 1e6
    seen = torch.from_numpy(images.reshape(2, 1, -1))
    contrast, deviation = (inputs(scaling, counts)(seen)[:, 0, 6, 8] for scaling in ("contrast", "deviation"))
    assert contrast[0] > 0.95
    assert 0.65 < deviation[0] < 0.9
    assert deviation[1] == 1
    assert float(deviation[0]) == pytest.approx(0.5 + float(torch.logit(contrast[0])) / 16, rel=1e-3)


def test_smooth_light_leaves_the_contrast_alone_and_a_source_does_not():
    slope = np.linspace(15, 25, GEOMETRY.n_pix).reshape(12, 16)
    seen = inputs("contrast", poisson(20.0, 200))
    noise = poisson(0.0, 1)
    flat, tilted, point = noise + 20, noise + torch.from_numpy(slope.ravel()).float(), noise + 20
    point[..., GEOMETRY.index(0.5, 0.5)] += 30
    rest = (seen(tilted) - seen(flat)).abs()[..., 3:-3, 3:-3].max()
    assert float(rest) < 0.1 * float((seen(point) - seen(flat)).abs().max())


@pytest.mark.parametrize(
    ("part", "glon", "glat"), [("left", 3.5, 0.5), ("right", -3.5, 0.5), ("top", 0.5, 3.5), ("bottom", 0.5, -3.5)]
)
def test_halves_lie_where_they_are_named(part, glon, glat):
    counts = torch.zeros(1, 1, GEOMETRY.n_pix)
    counts[..., GEOMETRY.index(glon, glat)] = 1
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[part]
    assert float(inputs("maximum", part=part)(counts).sum()) == 1
    assert float(inputs("maximum", part=opposite)(counts).sum()) == 0
    assert inputs(part=part).shape == ((12, 8) if part in ("left", "right") else (6, 16))


def test_halves_know_nothing_of_each_other_but_surroundings():
    counts = poisson()
    left = inputs("contrast", counts, part="left")
    brighter = counts.reshape(30, 1, 12, 16).clone()
    brighter[..., 10:] *= 3  # two columns beyond its edge are surroundings
    torch.testing.assert_close(left(brighter.reshape(30, 1, -1)), left(counts))


def test_blocks_of_pixels_are_summed():
    counts = poisson(n=1)
    blocks = counts.reshape(6, 2, 8, 2).sum(dim=(1, 3))
    torch.testing.assert_close(inputs("maximum", rebin=2).image(counts)[0, 0], blocks)


def test_pixels_outside_the_region_are_empty_and_say_nothing():
    region = GEOMETRY.disc(4.0)
    drawn = torch.from_numpy(np.random.default_rng(2).poisson(20, (50, 1, region.n_pix)).astype(np.float32))
    seen = ImageInput(region, 1, scaling="contrast")
    seen.standardise(drawn)
    outside = np.isnan(region.image(np.zeros(region.n_pix)))
    picture = seen(drawn)[:, 0].numpy()
    np.testing.assert_allclose(picture[:, outside], 0.5)
    inside = np.log(picture[:, ~outside] / (1 - picture[:, ~outside]))
    assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.5, rel=0.02)


def test_five_convolutions_halve_the_image_and_show_what_they_see():
    encoder = ImageEncoder((24, 20), 2, (4, 4, 6, 6, 8), 10, means=True)
    picture = torch.rand(3, 2, 24, 20)
    levels = encoder.activations(picture)
    assert [tuple(level.shape[1:]) for level in levels] == [
        (4, 24, 20), (4, 12, 10), (6, 6, 5), (6, 3, 3), (8, 2, 2)
    ]  # fmt: skip
    assert all(float(level.detach().min()) >= 0 for level in levels)
    first = torch.relu(encoder.levels[0][0](picture))
    torch.testing.assert_close(levels[0], first)
    torch.testing.assert_close(levels[1], torch.relu(encoder.levels[1][0](torch.max_pool2d(first, 2))))
    assert encoder(picture).shape == (3, 10)


@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
@pytest.mark.parametrize("means", [False, True])
def test_every_weight_has_a_part_in_the_answer(norm, means):
    torch.manual_seed(0)
    seen = ImageInput(GEOMETRY.whole(), 1)
    network = ImageEmbedding(seen, ImageEncoder(seen.shape, 1, (4, 4, 4), 8, norm=norm, means=means), 8)
    head = ShareHead(8)
    head(network(poisson(n=8) / 40)).square().mean().backward()
    for weights in (*network.parameters(), *head.parameters()):
        assert weights.grad is not None


def test_an_untrained_head_answers_the_mean():
    head = ShareHead(4)
    head.set_prior(torch.tensor([0.1, 0.3]))
    assert float(head(torch.zeros(1, 4)).detach()) == pytest.approx(0.2)
    answers = head(100 * torch.randn(50, 4)).detach()
    assert float(answers.min()) >= 0
    assert float(answers.max()) <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"part": "middle"}, "part: must be one of full, left, right, top, bottom, got 'middle'"),
        ({"scaling": "log"}, "scaling: must be one of maximum, root, contrast, deviation, got 'log'"),
        ({"rebin": 0}, "rebin: must be at least 1, got 0"),
        ({"rebin": 5}, "rebin: must divide the image's 12 rows and 16 columns, got 5"),
    ],
)
def test_bad_pictures_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ImageInput(GEOMETRY.whole(), 1, **settings)


def test_a_half_of_one_pixel_is_refused():
    with pytest.raises(InputError, match="part: 'left' of 1 x 1 pixels holds none"):
        ImageInput(ImageGeometry((2, 2), 1.0).whole(), 1, part="left", rebin=2)


def test_bad_sizes_are_refused():
    with pytest.raises(InputError, match="network: needs positive sizes"):
        ImageEncoder((8, 8), 1, (), 4)
    with pytest.raises(InputError, match="norm: 'instance' needs at least two pixels at the last level"):
        ImageEncoder((4, 4), 1, (4, 4, 4), 4, norm="instance")


def test_responses_are_normalised_by_those_of_the_filters_beside():
    from gcesbi.networks.image import RESPONSE

    torch.manual_seed(1)
    encoder = ImageEncoder((8, 8), 1, (6,), 4, response=True)
    picture = torch.rand(2, 1, 8, 8) * 30
    (found,) = encoder.activations(picture)
    plain = torch.relu(encoder.levels[0][0](picture))
    square = torch.nn.functional.pad(plain**2, (0, 0, 0, 0, 2, 2))
    beside = sum(square[:, i : i + 6] for i in range(5))
    wanted = plain / (RESPONSE["k"] + RESPONSE["alpha"] / 5 * beside) ** RESPONSE["beta"]
    torch.testing.assert_close(found, wanted)
    (without,) = ImageEncoder((8, 8), 1, (6,), 4).activations(picture)
    assert not torch.equal(found, without)


def test_means_may_be_taken_in_rings():
    rows, columns = np.indices((12, 16))
    distance = torch.from_numpy(np.hypot(rows - 5.5, columns - 7.5))
    encoder = ImageEncoder((12, 16), 1, (4, 6), 8, means=True, distance=distance)
    values = torch.rand(3, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    found = encoder._means(values, 0).reshape(3, 4, len(RINGS) + 1)
    for k, (low, high) in enumerate(pairwise((0.0, *RINGS, np.inf))):
        inside = (distance >= low) & (distance < high)
        torch.testing.assert_close(found[..., k], values[..., inside].mean(dim=-1))
    assert encoder.dense.in_features == 6 * 3 * 4 + 10 * (len(RINGS) + 1)
    assert encoder(torch.rand(3, 1, 12, 16)).shape == (3, 8)


def test_means_may_be_taken_of_maxima():
    rows, columns = np.indices((12, 16))
    distance = torch.from_numpy(np.hypot(rows - 5.5, columns - 7.5))
    torch.manual_seed(2)
    encoder = ImageEncoder((12, 16), 1, (4, 6), 8, norm="batch", means=True, distance=distance, pooled=True).eval()
    picture = torch.rand(3, 1, 12, 16)
    maxima = [torch.max_pool2d(each, 2) for each in encoder.activations(picture)]
    blocks = torch.nn.functional.avg_pool2d((distance < RINGS[0]).float()[None], 2)[0]  # shares of the inmost ring
    torch.testing.assert_close(
        encoder._means(maxima[0], 0)[:, :: len(RINGS) + 1], (maxima[0] * blocks).sum(dim=(2, 3)) / blocks.sum()
    )
    seen = [maxima[1].flatten(1), *(encoder._means(each, k) for k, each in enumerate(maxima))]
    torch.testing.assert_close(encoder(picture), torch.relu(encoder.dense(torch.cat(seen, dim=1))))


@pytest.mark.parametrize("response", [False, True])
def test_the_rectified_maximum_is_the_maximum_of_what_is_rectified(response):
    torch.manual_seed(2)
    encoder, picture = ImageEncoder((8, 8), 1, (4, 6), 5, response=response), torch.rand(3, 1, 8, 8)
    last = torch.max_pool2d(encoder.activations(picture)[-1], 2)
    torch.testing.assert_close(encoder(picture), torch.relu(encoder.dense(last.flatten(1))))


def test_pictures_are_mirrored_in_training_alone():
    seen, counts = inputs(flips=True, counts=poisson()), poisson(n=40, seed=2)
    plain = seen.eval()(counts)
    mirrored = seen.train()(counts)
    ways = torch.stack([plain, plain.flip(2), plain.flip(3), plain.flip(2, 3)])
    same = (mirrored == ways).flatten(2).all(dim=2)
    assert same.any(dim=0).all()
    assert same.any(dim=1).all()
    assert torch.equal(inputs(counts=poisson()).train()(counts), plain)

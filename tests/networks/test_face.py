import healpy as hp
import numpy as np
import pytest
import torch
from hypothesis import settings

from gcesbi.errors import InputError
from gcesbi.networks.chebyshev import ChebyshevEncoder
from gcesbi.networks.face import FaceEncoder, FaceImage
from gcesbi.networks.layers import NORMS
from gcesbi.sky.region import Region

FEW = settings(deadline=None, max_examples=30)
REGION = Region.disc(32)


def test_rows_and_columns_follow_the_equatorial_projection():
    nside = REGION.nside
    glon, glat = REGION.glon_glat()
    x, y = glon / 90, 0.75 * np.sin(np.radians(glat))
    image = FaceImage(REGION)
    row, column = np.floor(nside * (0.5 - x + y)), np.floor(nside * (0.5 + x + y))
    assert image.face == 4
    np.testing.assert_array_equal(image.row, row - row.min())
    np.testing.assert_array_equal(image.column, column - column.min())


def test_image_is_the_smallest_crop_of_the_multiple():
    image = FaceImage(REGION, multiple=8)
    for size, index in ((image.height, image.row), (image.width, image.column)):
        assert size % 8 == 0
        assert index.min() == 0
        assert size - 8 < index.max() + 1 <= size


def test_image_spreads_values_and_nothing_else():
    image = FaceImage(REGION, multiple=4)
    values = np.arange(1.0, 2 * REGION.n_pix + 1).reshape(2, -1)
    spread = image.image(values, fill=-1)
    np.testing.assert_array_equal(spread[:, image.row, image.column], values)
    np.testing.assert_array_equal(spread[:, ~image.mask], -1)
    assert image.mask.sum() == REGION.n_pix
    np.testing.assert_array_equal(spread.reshape(2, -1)[:, image.place], values)


def test_neighbours_on_the_image_are_neighbours_on_the_sphere():
    image = FaceImage(REGION)
    pixels = image.image(REGION.pixels, fill=-1)
    for left, right in zip(pixels[:, :-1].ravel(), pixels[:, 1:].ravel(), strict=True):
        if left >= 0 and right >= 0:
            assert right in hp.get_all_neighbours(REGION.nside, left, nest=True)


def test_region_over_two_faces_is_refused():
    with pytest.raises(InputError, match=r"region: must lie inside one HEALPix base face, got pixels of faces \["):
        FaceImage(Region.disc(16, radius=60))


def test_multiple_must_be_positive():
    with pytest.raises(InputError, match="multiple: must be at least 1, got 0"):
        FaceImage(REGION, multiple=0)


def _encoder(**options) -> FaceEncoder:
    torch.manual_seed(1)
    return FaceEncoder(REGION, 2, (8, 16), 12, **options).eval()


def test_encoder_image_agrees_with_numpy():
    encoder = _encoder()
    maps = torch.randn(3, 2, REGION.n_pix)
    image = encoder.image(maps)
    expected = FaceImage(REGION, 8).image(maps.numpy())
    np.testing.assert_array_equal(image[:, :2].numpy(), expected)
    np.testing.assert_array_equal(image[:, 2].numpy(), np.broadcast_to(FaceImage(REGION, 8).mask, image[:, 2].shape))


@pytest.mark.parametrize("means", [False, True])
def test_levels_of_odd_size_keep_their_last_row(means):
    """With three pixels a side, the maximum of the last row and column is over fewer: it is not dropped."""
    torch.manual_seed(1)
    encoder = FaceEncoder(REGION, 1, (4, 4, 4, 4), 6, norm="none", means=means, padding=1).eval()
    sides = [encoder.height]
    for _ in range(4):
        sides.append(-(-sides[-1] // 2))
    assert any(side % 2 for side in sides[:-1])
    rows = FaceImage(REGION).row
    maps = torch.zeros(1, 1, REGION.n_pix).requires_grad_(True)
    encoder(maps).abs().sum().backward()
    assert maps.grad[0, 0, torch.from_numpy(rows == rows.max())].abs().sum() > 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("depth", [1, 2])
def test_encoder_shapes_and_dependence_on_the_map(norm, depth):
    encoder = _encoder(norm=norm, depth=depth)
    maps = torch.randn(3, 2, REGION.n_pix)
    features = encoder(maps)
    assert features.shape == (3, 12)
    other = maps.clone()
    other[1, 0, 7] += 100
    changed = (encoder(other) != features).any(dim=1)
    assert changed.tolist() == [False, True, False]


def test_what_lies_outside_the_region_does_not_matter():
    """Full-sky maps that differ in masked pixels only have equal features, with and without a hole in the region."""
    hole = np.zeros(12 * 32**2, dtype=bool)
    hole[REGION.pixels[100:110]] = True
    region = Region.disc(32, mask=hole)
    encoder = FaceEncoder(region, 1, (8, 16), 12).eval()
    sky = torch.rand(12 * 32**2)
    other = sky.clone()
    outside = np.setdiff1d(np.arange(12 * 32**2), region.pixels)
    other[outside] = 1e6
    features = [encoder(maps[None, None, torch.tensor(region.pixels)]) for maps in (sky, other)]
    assert torch.equal(*features)


def test_encoder_sees_the_mask():
    """The same map on two regions, with a hole of zeros in one and zero measurements in the other, differs."""
    hole = np.zeros(12 * 32**2, dtype=bool)
    hole[REGION.pixels[100:110]] = True
    region = Region.disc(32, mask=hole)
    torch.manual_seed(1)
    whole = FaceEncoder(REGION, 1, (8, 16), 12).eval()
    holed = FaceEncoder(region, 1, (8, 16), 12).eval()
    holed.load_state_dict(whole.state_dict())
    maps = torch.rand(1, 1, REGION.n_pix)
    maps[..., 100:110] = 0
    kept = torch.from_numpy(np.isin(REGION.pixels, region.pixels))
    assert not torch.allclose(whole(maps), holed(maps[..., kept]))


def test_every_region_pixel_reaches_the_features():
    encoder = _encoder(norm="none")
    maps = torch.randn(1, 2, REGION.n_pix, requires_grad=True)
    maxima = encoder(maps).sum()
    maxima.backward()
    assert (maps.grad != 0).float().mean() > 0.5  # the 2 × 2 maximum passes the gradient of some pixels only


@pytest.mark.parametrize("norm", NORMS)
def test_mirror_images_give_mirrored_feature_maps(norm):
    """l -> -l transposes the image; with transposed filters, and row and column exchanged, so do all feature maps."""
    encoder, mirrored = _encoder(norm=norm, depth=2), _encoder(norm=norm, depth=2)
    with torch.no_grad():
        for parameter in mirrored.levels.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter.transpose(2, 3).clone())
        first = mirrored.levels[0][0].weight
        first.copy_(first[:, [0, 1, 2, 4, 3]])  # two channels of counts, mask, row, column
    maps = torch.randn(3, 2, REGION.n_pix)
    image, mirror = encoder.image(maps), mirrored.image(maps[..., _mirror(REGION)])
    for level, other in zip(encoder.levels, mirrored.levels, strict=True):
        image, mirror = level(image), other(mirror)
        torch.testing.assert_close(mirror, image.transpose(2, 3), atol=1e-5, rtol=1e-5)
    assert image.std() > 1e-3


def _mirror(region):
    """Position in the region of every pixel's mirror image at -glon."""
    glon, glat = region.glon_glat()
    return region.index[hp.ang2pix(region.nside, -glon, glat, nest=True, lonlat=True)]


def test_instance_norm_treats_maps_alone_and_batch_norm_together():
    maps = torch.randn(4, 2, REGION.n_pix)
    for norm, alone in (("instance", True), ("batch", False)):
        encoder = _encoder(norm=norm).train()
        assert torch.allclose(encoder(maps)[:2], encoder(maps[:2]), atol=1e-5) is alone


def test_instance_norm_forgets_the_scale_of_a_level():
    """Outputs of a level with filters twice as large are the same; without normalisation they are not."""
    maps = torch.randn(2, 2, REGION.n_pix)
    for norm, same in (("instance", True), ("none", False)):
        encoder = _encoder(norm=norm)
        before = encoder(maps)
        with torch.no_grad():
            encoder.levels[0][0].weight.mul_(2)
        assert torch.allclose(encoder(maps), before, atol=1e-3) is same


def test_instance_norm_needs_more_than_one_pixel():
    message = "norm: 'instance' needs at least two pixels at the last level, got 1"
    with pytest.raises(InputError, match=message):
        FaceEncoder(Region(4, [64]), 1, (8,), 4, norm="instance", padding=2)
    with pytest.raises(InputError, match=message):
        ChebyshevEncoder(Region(4, [64]), 1, (8,), 4, norm="instance")


def test_unknown_norm_is_refused():
    with pytest.raises(InputError, match="norm: must be one of batch, instance, none, got 'layer'"):
        _encoder(norm="layer")


@pytest.mark.parametrize("arguments", [(0, (8,), 4), (1, (), 4), (1, (8, 0), 4), (1, (8,), 0)])
def test_sizes_must_be_positive(arguments):
    with pytest.raises(InputError, match="network: needs positive sizes"):
        FaceEncoder(REGION, *arguments)

import healpy as hp
import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev
from torch import nn

from gcesbi.errors import InputError
from gcesbi.networks.chebyshev import ChebyshevConvolution, ChebyshevEncoder, PixelMaximum, PixelNorm
from gcesbi.networks.face import FaceEncoder
from gcesbi.networks.graph import rescaled_laplacian
from gcesbi.networks.layers import NORMS
from gcesbi.sky.region import Region

REGION = Region.disc(16)
FULL = Region(8, np.arange(12 * 64))
OVER_FACES = Region.disc(8, radius=60, centre=(40.0, 30.0))


def _encoder(region=REGION, **options):
    torch.manual_seed(1)
    return ChebyshevEncoder(region, 2, (8, 16), 12, **options).eval()


# -- the convolution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_term", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("region", [REGION, OVER_FACES], ids=["one face", "over faces"])
def test_terms_are_chebyshev_polynomials_of_the_matrix(region, n_term):
    """Against T_k(L̃) = V T_k(λ) Vᵀ with dense eigenvectors, T_k by NumPy's series."""
    values, vectors = np.linalg.eigh(rescaled_laplacian(region).toarray())
    x = torch.randn(region.n_pix, 3, 2)
    found = ChebyshevConvolution(region, 2, 4, n_term).terms(x).unflatten(-1, (n_term, 2))
    for k in range(n_term):
        polynomial = vectors * chebyshev.chebval(values, np.eye(n_term)[k]) @ vectors.T
        expected = np.einsum("pq,qnc->pnc", polynomial, x.numpy())
        np.testing.assert_allclose(found[:, :, k].numpy(), expected, atol=2e-5)


def test_convolution_is_the_sum_over_terms():
    convolution = ChebyshevConvolution(REGION, 2, 4, 3)
    x = torch.randn(REGION.n_pix, 5, 2)
    parts = convolution.terms(x).chunk(3, dim=-1)
    weights = convolution.linear.weight.chunk(3, dim=1)
    expected = sum(part @ weight.T for part, weight in zip(parts, weights, strict=True)) + convolution.linear.bias
    torch.testing.assert_close(convolution(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("n_term", [1, 2, 5])
def test_gradient_agrees_with_finite_differences(n_term):
    region = Region(4, np.arange(60, 90))
    convolution = ChebyshevConvolution(region, 2, 3, n_term).double()
    x = torch.randn(region.n_pix, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(convolution, x)


def test_gradient_is_the_transpose_of_the_dense_series():
    region = OVER_FACES
    dense = torch.from_numpy(rescaled_laplacian(region).toarray()).float()
    x = torch.randn(region.n_pix, 2, 3, requires_grad=True)
    weight = torch.randn(region.n_pix, 2, 15)
    (ChebyshevConvolution(region, 3, 4).terms(x) * weight).sum().backward()
    found, x.grad = x.grad, None
    terms = [x, torch.einsum("pq,qnc->pnc", dense, x)]
    for _ in range(3):
        terms.append(2 * torch.einsum("pq,qnc->pnc", dense, terms[-1]) - terms[-2])
    (torch.cat(terms, dim=-1) * weight).sum().backward()
    torch.testing.assert_close(found, x.grad, atol=1e-4, rtol=1e-4)


def test_a_pixel_sees_no_further_than_the_terms_reach():
    """The response to one pixel ends K - 1 neighbours away, and not before."""
    centre = FULL.n_pix // 3
    x = torch.zeros(FULL.n_pix, 1, 1)
    x[centre] = 1
    ring = {centre}
    for n_term in (2, 3, 4):
        ring |= set(hp.get_all_neighbours(FULL.nside, sorted(ring), nest=True).ravel().tolist()) - {-1}
        response = ChebyshevConvolution(FULL, 1, 1, n_term).terms(x).abs().amax(dim=(1, 2))
        assert set(response.nonzero().ravel().tolist()) == ring


def test_bfloat16_autocast_is_close():
    """Relative error 8 · 2⁻⁸: eight roundings of bfloat16."""
    convolution = ChebyshevConvolution(REGION, 2, 4)
    x = torch.randn(REGION.n_pix, 3, 2)
    exact = convolution(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = convolution(x)
    assert found.dtype == torch.bfloat16
    assert (found - exact).norm() < 8 * 2**-8 * exact.norm()


# -- masked pixels ----------------------------------------------------------------------------------------------------


def test_nothing_crosses_a_masked_band():
    """A signal north of a masked band is not seen south of it, by any term nor in any gradient."""
    region = Region.disc(16, min_latitude=8)
    _, glat = region.glon_glat()
    north = torch.from_numpy(glat > 0)
    x = torch.randn(region.n_pix, 2, 2, requires_grad=True)
    convolution = ChebyshevConvolution(region, 2, 4)
    changed = x.detach().clone()
    changed[north] += torch.randn_like(changed[north])
    assert torch.equal(convolution(changed)[~north], convolution(x)[~north])
    convolution(x)[north].sum().backward()
    assert not x.grad[~north].any()
    assert x.grad[north].any()


def test_masked_pixels_do_not_matter():
    """Full-sky maps that differ by masked pixels only, those in a hole among them, have equal features."""
    hole = np.zeros(12 * 16**2, dtype=bool)
    hole[REGION.pixels[50:61]] = True
    region = Region.disc(16, mask=hole)
    encoder = _encoder(region)
    sky = torch.rand(1, 2, 12 * 16**2)
    other = sky.clone()
    other[..., np.setdiff1d(np.arange(12 * 16**2), region.pixels)] = 1e6
    assert torch.equal(*(encoder(each[..., torch.tensor(region.pixels)]) for each in (sky, other)))


def test_a_hole_is_no_zero():
    """Zeros in pixels and pixels that are not there differ: the first are measurements."""
    hole = np.zeros(12 * 16**2, dtype=bool)
    hole[REGION.pixels[50]] = True
    region = Region.disc(16, mask=hole)
    kept = REGION.index[region.pixels]
    whole, holed = ChebyshevConvolution(REGION, 1, 3), ChebyshevConvolution(region, 1, 3)
    holed.load_state_dict(whole.state_dict())
    x = torch.rand(REGION.n_pix, 1, 1) + 1
    x[50] = 0
    assert (whole(x)[kept] - holed(x[kept])).abs().max() > 1e-3


# -- the maximum ------------------------------------------------------------------------------------------------------


def test_maximum_of_the_whole_sky_is_that_of_four_consecutive_pixels():
    x = torch.randn(FULL.n_pix, 3, 5)
    torch.testing.assert_close(PixelMaximum(FULL)(x), x.view(-1, 4, 3, 5).amax(dim=1))


@pytest.mark.parametrize("region", [REGION, OVER_FACES, Region(16, np.arange(3, 3072, 5))])
def test_maximum_takes_the_children_that_are_there(region):
    """Against a loop; all values negative, so that a zero for a masked child would win."""
    x = -1 - torch.rand(region.n_pix, 2, 3)
    pool = PixelMaximum(region)
    found = pool(x)
    for row, parent in zip(found, pool.coarse.pixels, strict=True):
        torch.testing.assert_close(row, x[torch.from_numpy(region.pixels // 4 == parent)].amax(dim=0))


def test_maximum_passes_its_gradient_once():
    """Also where a coarse pixel has one child: the gradient's sum is the number of maxima."""
    region = Region(16, np.arange(3, 3072, 5))
    x = torch.randn(region.n_pix, 2, 3, requires_grad=True)
    out = PixelMaximum(region)(x)
    out.sum().backward()
    assert x.grad.sum() == out.numel()


# -- normalisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "axes"), [("batch", (0, 1)), ("instance", (0,))])
def test_norms_take_off_mean_and_spread(norm, axes):
    x = 3 + 2 * torch.randn(50, 4, 3)
    found = PixelNorm(norm, 3).train()(x)
    expected = (x - x.mean(axes, keepdim=True)) / x.std(axes, keepdim=True, correction=0)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


# -- the encoder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("region", [REGION, FULL, OVER_FACES], ids=["one face", "full sky", "over faces"])
def test_features_of_any_region(region, norm, depth):
    encoder = _encoder(region, norm=norm, depth=depth)
    maps = torch.randn(3, 2, region.n_pix)
    features = encoder(maps)
    assert features.shape == (3, 12)
    other = maps.clone()
    other[1, 0, 7] += 100
    assert (encoder(other) != features).any(dim=1).tolist() == [False, True, False]


def test_regions_that_the_face_refuses_are_taken():
    with pytest.raises(InputError, match="region: must lie inside one HEALPix base face"):
        FaceEncoder(OVER_FACES, 2, (8, 16), 12)
    assert _encoder(OVER_FACES)(torch.randn(1, 2, OVER_FACES.n_pix)).shape == (1, 12)


def _turned(region, glon, glat):
    """Position in the region of the pixels at given directions; all must be centres of its pixels."""
    pixels = hp.ang2pix(region.nside, glon, glat, nest=True, lonlat=True)
    there = region.index[pixels]
    assert sorted(there.tolist()) == list(range(region.n_pix))
    return torch.from_numpy(there.astype(np.int64))


TURNS = {
    "90 degrees about the poles": (FULL, lambda glon, glat: (glon + 90, glat)),
    "180 degrees about the centre": (REGION, lambda glon, glat: (-glon, -glat)),
    "mirror image in longitude": (REGION, lambda glon, glat: (-glon, glat)),
    "mirror image in latitude": (REGION, lambda glon, glat: (glon, -glat)),
    "half turn of the sky": (FULL, lambda glon, glat: (glon + 180, -glat)),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("region", "turn"), TURNS.values(), ids=TURNS)
def test_layers_commute_with_symmetries_of_the_pixels(region, turn, norm):
    """Every level: levels of a turned map are the turned levels; and its means over pixels are the same."""
    encoder = _encoder(region, norm=norm, depth=2)
    x = torch.randn(region.n_pix, 3, 2)
    y = x[_turned(region, *turn(*region.glon_glat()))]
    for level in encoder.levels:
        x, y = level(x), level(y)
        region = next(layer for layer in level if isinstance(layer, PixelMaximum)).coarse
        expected = x[_turned(region, *turn(*region.glon_glat()))]
        torch.testing.assert_close(y, expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(y.mean(dim=0), x.mean(dim=0), atol=1e-4, rtol=1e-4)
    assert x.std() > 1e-3


def test_other_permutations_do_not_commute():
    """The test above would see a graph that ignores where pixels lie."""
    level = _encoder(FULL).levels[0]
    x = torch.randn(FULL.n_pix, 3, 2)
    shuffled = level(x[torch.randperm(FULL.n_pix)]).sort(dim=0).values
    assert (shuffled - level(x).sort(dim=0).values).abs().max() > 0.05


def test_every_map_of_a_batch_has_the_features_it_has_alone():
    encoder = _encoder()
    maps = torch.randn(4, 2, REGION.n_pix)
    torch.testing.assert_close(encoder(maps)[2:3], encoder(maps[2:3]), atol=1e-5, rtol=1e-5)


def test_it_learns():
    """Which half of the sky is brighter: from log 2 to below a tenth of it in 60 steps."""
    torch.manual_seed(0)
    network = nn.Sequential(ChebyshevEncoder(REGION, 1, (8, 16), 16), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    side = torch.from_numpy(np.sign(REGION.glon_glat()[0])).float()
    for _ in range(60):
        label = torch.randint(2, (32, 1)).float()
        maps = torch.randn(32, 1, REGION.n_pix) + (2 * label - 1)[:, :, None] * side * 0.3
        loss = nn.functional.binary_cross_entropy_with_logits(network(maps), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.07


def test_bad_settings_are_refused():
    with pytest.raises(InputError, match="norm: must be one of batch, instance, none, got 'layer'"):
        _encoder(norm="layer")
    with pytest.raises(InputError, match="network: needs positive sizes, got n_channel 0"):
        ChebyshevEncoder(REGION, 0)
    with pytest.raises(InputError, match="n_term: must be at least 1, got 0"):
        _encoder(n_term=0)
    with pytest.raises(InputError, match=r"widths: at most log2\(nside\) = 1 levels fit nside 2, got 2"):
        _encoder(Region(2, np.arange(48)))

import healpy as hp
import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.networks.graph import coarsen, edge_weights, normalised_laplacian, rescaled_laplacian
from gcesbi.sky.region import Region

REGIONS = {
    "inner galaxy": Region.disc(16),
    "over faces": Region.disc(8, radius=60, centre=(40.0, 30.0)),
    "pole": Region.disc(16, radius=30, min_latitude=0, centre=(0.0, 90.0)),
    "full sky": Region(4, np.arange(12 * 16)),
    "scattered": Region(8, np.arange(0, 12 * 64, 5)),
    "one pixel": Region(8, [100]),
}


def _holed():
    hole = np.zeros(12 * 16**2, dtype=bool)
    hole[REGIONS["inner galaxy"].pixels[[5, 17, 18, 40]]] = True
    return Region.disc(16, mask=hole)


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_weights_are_gaussians_of_the_distance_to_neighbours_in_the_region(region):
    """Against a double loop."""
    expected, distances = np.zeros((region.n_pix, region.n_pix)), []
    for i, pixel in enumerate(region.pixels):
        for other in hp.get_all_neighbours(region.nside, pixel, nest=True):
            if other in region.pixels:
                vectors = np.array(hp.pix2vec(region.nside, np.array([pixel, other]), nest=True))
                expected[i, np.searchsorted(region.pixels, other)] = np.sum((vectors[:, 0] - vectors[:, 1]) ** 2)
                distances.append(np.sum((vectors[:, 0] - vectors[:, 1]) ** 2))
    joined = expected > 0
    if distances:
        expected[joined] = np.exp(-expected[joined] / np.mean(distances))
    found = edge_weights(region).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_normalised_laplacian_has_the_known_null_vector(region):
    """L √D = 0, eigenvalues in [0, 2]; a vertex without edges has a row of zeros."""
    weights = edge_weights(region)
    laplacian = normalised_laplacian(weights).toarray()
    np.testing.assert_allclose(laplacian @ np.sqrt(weights.sum(axis=1)), 0, atol=1e-12)
    values = np.linalg.eigvalsh(laplacian)
    assert values.min() > -1e-9
    assert values.max() < 2 + 1e-9  # 2 for pairs of pixels
    assert not laplacian[weights.sum(axis=1) == 0].any()


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_rescaled_laplacian_fills_the_interval(region):
    """Dense eigenvalues reach from -1 (never below) to 1; both ways of finding the largest are met (256 vertices)."""
    rescaled = rescaled_laplacian(region)
    values = np.linalg.eigvalsh(rescaled.toarray())
    assert values.min() == pytest.approx(-1, abs=1e-9)
    assert values.max() == pytest.approx(-1 if region.n_pix == 1 else 1, abs=1e-5)
    assert rescaled.has_sorted_indices


def test_a_hole_has_no_edges_and_changes_no_others():
    """Weights between pixels that stay are those without the hole, but for the mean squared distance."""
    whole, holed = REGIONS["inner galaxy"], _holed()
    kept = whole.index[holed.pixels]
    before = edge_weights(whole).toarray()[np.ix_(kept, kept)]
    after = edge_weights(holed).toarray()
    np.testing.assert_array_equal(before > 0, after > 0)
    ratio = np.log(after[after > 0]) / np.log(before[before > 0])
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


@pytest.mark.parametrize("region", [*REGIONS.values(), _holed()], ids=[*REGIONS, "holed"])
def test_coarse_pixels_are_those_with_a_child(region):
    coarse, children = coarsen(region)
    assert coarse.nside == region.nside // 2
    assert set(coarse.pixels) == {int(pixel) // 4 for pixel in region.pixels}
    for parent, places in zip(coarse.pixels, children, strict=True):
        there = {place for place, pixel in enumerate(region.pixels) if pixel // 4 == parent}
        assert set(places.tolist()) == there


def test_coarse_pixels_hold_their_children_on_the_sphere():
    """Mean direction of four children is the parent's centre."""
    region = REGIONS["full sky"]
    coarse, children = coarsen(region)
    centres = np.stack(hp.pix2vec(region.nside, region.pixels, nest=True), axis=-1)[children].mean(axis=1)
    assert hp.vec2pix(coarse.nside, *centres.T, nest=True).tolist() == coarse.pixels.tolist()


def test_nside_1_cannot_be_halved():
    with pytest.raises(InputError, match="region: nside 1 cannot be halved"):
        coarsen(Region(1, [4]))

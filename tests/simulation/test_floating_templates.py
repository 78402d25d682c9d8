"""Templates that float: convex combinations of known maps, near the true map everywhere, drawn by the true law."""

import numpy as np
import pytest

from gcesbi import Formula, InputError, Map, Mixture, PointSources, Simulator, SkyModel, Smooth
from gcesbi.physics import templates
from gcesbi.simulation.patches import HealpixPatch
from gcesbi.simulation.template_shapes import INTERPOLATION_ERROR, draw_basis
from gcesbi.sky import Region

K = 5.0  # tolerance of every moment test, in Monte Carlo standard errors
DIM = {"xi": (-13, -9), "flux": (0, 1e-6)}


def check_interpolation(formula, make, nside, band, n=12, radius=20.0):
    """Largest error of the interpolated template at random values, as a share of a pixel's light."""
    patch = HealpixPatch(nside, radius, (0.0, 0.0))
    inside = patch.places(Region.disc(nside, radius, band))
    basis = draw_basis(formula, lambda each, values: patch.draw(each.at(**values), inside))
    maps = np.array([patch.draw(leaf.at(**values), inside) for leaf, values in basis.leaves])
    maps /= maps.sum(axis=1, keepdims=True)
    low, high = np.array([marginal.range for marginal in basis.floating.values()]).T
    values = low + (high - low) * np.random.default_rng(1).random((n, len(low)))
    weights = basis.weights(values)
    assert np.all(weights >= 0)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert np.all(np.count_nonzero(weights, axis=1) <= 2 ** len(low))
    worst = 0.0
    for value, weight in zip(values, weights, strict=True):
        exact = patch.draw(make(*value), inside)
        exact /= exact.sum()
        worst = max(worst, float(np.max(np.abs(weight @ maps - exact) / exact)))
    return worst, len(basis)


@pytest.mark.parametrize(
    ("nside", "band"), [(64, 2.0), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((64, 0.0), (128, 2.0)))]
)
def test_an_interpolated_cusp_is_the_true_one_to_a_thousandth(nside, band):
    worst, n = check_interpolation(
        Formula(formula="nfw", gamma=(0.9, 1.4)), lambda g: templates.NFW(gamma=g), nside, band
    )
    assert worst < INTERPOLATION_ERROR
    assert n <= 65


@pytest.mark.parametrize(
    ("formula", "make"),
    [
        (Formula(formula="disk", z_s=(0.2, 1.0)), lambda z: templates.Disk(z_s=z)),
        pytest.param(Formula(formula="disk", r_s=(3.0, 7.0)), lambda r: templates.Disk(r_s=r), marks=pytest.mark.slow),
        pytest.param(
            Formula(formula="disk", r_s=(4.6, 5.4), z_s=(0.3, 0.36)),
            lambda r, z: templates.Disk(r_s=r, z_s=z),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["height", "radius", "both"],
)
def test_an_interpolated_disk_is_the_true_one_to_a_thousandth(formula, make):
    worst, n = check_interpolation(formula, make, 16, 2.0, n=4)
    assert worst < INTERPOLATION_ERROR
    assert n <= 200


def sky(template, **settings):
    return SkyModel(
        [
            Smooth(name="flat", template="isotropic", norm=(0.0, 1.0)),
            PointSources(name="dots", template=template, populations=[DIM], **settings),
        ],
        region={"nside": 16, "radius": 20, "band": 2},
        energy_edges=[2.0, 20.0],
    )


def test_sources_lie_by_the_true_template_between_nodes():
    """Means by pixel of many dim sources of γ = 1.237, against the template of a model whose γ is fixed there."""
    floating = sky(Formula(formula="nfw", gamma=(0.9, 1.4)))
    fixed, other = (sky(Formula(formula="nfw", gamma=gamma), poisson_share=(0, 1)) for gamma in (1.237, 1.0))
    names = floating.prior().names
    assert names[-1] == "dots_gamma"
    assert floating.parameters.shapes == ("dots_gamma",)
    n, theta = 1500, dict.fromkeys(names, 0.0)
    theta |= {"dots_xi": -12.5, "dots_omega2": 0.01, "dots_flux": 5e-7, "dots_gamma": 1.237}
    counts = Simulator(floating).draw(np.tile(list(theta.values()), (n, 1)), np.random.default_rng(1)).counts[:, 0]
    expected, wrong = (5e-7 * each.smooth_templates[1, 0] for each in (fixed, other))  # flux that starts inside
    error = counts.std(axis=0, ddof=1) / np.sqrt(n)
    pull = (counts.mean(axis=0) - expected) / np.hypot(error, 1.5e-3 * expected)  # of interpolation and smoothing
    assert np.max(np.abs(pull)) < K
    assert abs(np.sum(pull**2) - len(pull)) < K * np.sqrt(2 * len(pull)) + 0.5 * len(pull)
    assert np.max(np.abs(counts.mean(axis=0) - wrong) / error) > 3 * K


def test_a_floating_sky_at_a_value_is_the_fixed_sky():
    floating, fixed = sky(Formula(formula="nfw", gamma=(0.9, 1.4))), sky(Formula(formula="nfw", gamma=1.3))
    stands = floating.at(dots_gamma=1.3)
    np.testing.assert_allclose(stands.templates, fixed.templates, rtol=2e-3)
    assert stands.prior().names == fixed.prior().names
    assert stands.parameters.shapes == ()
    np.testing.assert_allclose(floating.templates, floating.at(dots_gamma=1.15).templates)
    with pytest.raises(InputError, match="shape: must be one of dots_gamma, got 'dots_gama'"):
        floating.at(dots_gama=1.3)
    with pytest.raises(InputError, match=r"dots_gamma: must lie within its prior's range, 0\.9 to 1\.4, got 1\.5"):
        floating.at(dots_gamma=1.5)


@pytest.fixture(scope="module")
def bulge(data_folder):
    return str(data_folder / "bulge-templates" / "Bulge_modulated_Coleman_etal_2019_Normalized.fits")


def test_a_mixture_shares_the_flux(bulge):
    """Light of both parts by weight: flux inside is conserved, and every pixel has its share."""
    mixed = sky(Mixture(mixture=["nfw", Map(file=bulge)]), poisson_share=(0, 1))
    nfw, alone = (sky(template, poisson_share=(0, 1)) for template in ("nfw", Map(file=bulge)))
    assert mixed.prior().names[-2:] == ("dots_poisson_share", "dots_weight")
    names = mixed.prior().names
    theta = dict.fromkeys(names, 0.0) | {"dots_omega2": 0.01, "dots_flux": 2e-7, "dots_poisson_share": 1.0}
    light = [2e-7 * each.smooth_templates[1, 0] for each in (nfw, alone)]
    for weight in (0.0, 0.3, 1.0):
        emission = mixed.emission([list((theta | {"dots_weight": weight}).values())])
        seen = np.einsum("te,tep->p", emission.norms[0], mixed.smooth_templates)
        np.testing.assert_allclose(seen, weight * light[0] + (1 - weight) * light[1], rtol=1e-9)
        stands = mixed.at(dots_weight=weight)
        np.testing.assert_allclose(2e-7 * stands.smooth_templates[1, 0], seen, rtol=1e-9)


def test_three_parts_have_a_dirichlet_prior_and_may_float_themselves():
    model = sky(Mixture(mixture=[Formula(formula="nfw", gamma=(1.0, 1.2)), "disk", "isotropic"], alpha=(1.0, 2.0, 3.0)))
    assert model.parameters.shapes == ("dots_weight1", "dots_weight2", "dots_gamma")
    theta = model.prior().draw(4000, np.random.default_rng(2))
    weights = model.emission(theta).populations[0].weights
    n_nfw = weights.shape[1] - 2
    shares = np.column_stack([weights[:, :n_nfw].sum(axis=1), weights[:, n_nfw:]])
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares.mean(axis=0), [1 / 6, 2 / 6, 3 / 6], atol=0.02)
    drawn = Simulator(model).sample(2, seed=1)
    assert drawn.counts.sum() > 0


@pytest.mark.parametrize("name", ["BoxyBulge_arxiv1901.03822", "Nuclear_bulge_Nishiyama_etal_2013"])
def test_bulges_are_read_as_they_are(data_folder, name):
    """CAR pixels against direct averaging of their values over HEALPix pixels; all light is kept, none lies outside."""
    import healpy as hp
    from astropy.io import fits
    from astropy.wcs import WCS

    from gcesbi.io.template_map import read_light

    path = data_folder / "bulge-templates" / f"{name}_Normalized.fits"
    with fits.open(path) as hdus:
        image = next(h for h in hdus if h.data is not None)
        values, header = np.squeeze(image.data).astype(float), image.header
    wcs = WCS(header).celestial
    row, column = np.indices(values.shape)
    glon, glat = wcs.all_pix2world(column.ravel(), row.ravel(), 0)
    area = np.cos(np.radians(glat)) * np.radians(abs(wcs.wcs.cdelt[0])) * np.radians(abs(wcs.wcs.cdelt[1]))
    found = read_light(path, [2.0, 20.0]).in_pixels(64, np.arange(12 * 64**2))[0]
    pixel = hp.nside2pixarea(64)
    assert found.sum() * pixel == pytest.approx(np.sum(np.nan_to_num(values.ravel()) * area), rel=1e-3)
    covered = np.zeros(len(found), bool)
    covered[hp.ang2pix(64, glon, glat, nest=True, lonlat=True)] = True
    assert not found[~covered & (found > 0)].size or covered.sum() < 100
    fine = 64 * 64
    inner = np.flatnonzero(found > 0.2 * found.max())[:20]
    children = (inner[:, None] * 4096 + np.arange(4096)).ravel()
    x, y = wcs.all_world2pix(*hp.pix2ang(fine, children, nest=True, lonlat=True), 0)
    i, j = np.rint(y).astype(int), np.rint(x).astype(int)
    within = (i >= 0) & (i < values.shape[0]) & (j >= 0) & (j < values.shape[1])
    looked = np.where(within, np.nan_to_num(values)[i.clip(0, values.shape[0] - 1), j.clip(0, values.shape[1] - 1)], 0)
    np.testing.assert_allclose(found[inner], looked.reshape(len(inner), -1).mean(axis=1), rtol=0.03)

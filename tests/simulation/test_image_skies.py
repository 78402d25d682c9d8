"""Composed skies on images: light moves by the PSF, maps follow the law of their templates, methods follow."""

import numpy as np
import pytest
from scipy import stats

from gcesbi import Catalogue, Formula, InputError, Map, PointSources, Simulator, SkyModel, Smooth
from gcesbi.baselines import PoissonFit
from gcesbi.io import read_catalogue
from gcesbi.physics.image_smoothing import smooth_image
from gcesbi.physics.psf import PSF
from gcesbi.simulation.composition import Composition
from gcesbi.sky import ImageGeometry, ImageRegion

GEOMETRY = ImageGeometry((24, 30), 1.0)


@pytest.fixture(scope="module")
def model():
    return SkyModel(
        [
            Smooth(name="gas", template="pion-decay", norm=(1.0, 3.0), spectrum="power-law"),
            PointSources(
                name="halo",
                template=Formula(formula="nfw", gamma=1.1),
                populations=[{"family": "power-law", "alpha": (-1.05, 1.05), "flux": (0.0, 2e-7)}],
            ),
        ],
        region=GEOMETRY,
        energy_edges=[2.0, 5.0, 20.0],
        exposure=5e10,
    )


@pytest.mark.parametrize("row", [20, 60])
def test_a_pixel_s_light_spreads_as_the_psf_says(row):
    """Against the PSF's density, averaged over both pixels by quadrature; on the equator and at latitude 20°."""
    psf, geometry = PSF.customary_2gev(), ImageGeometry((81, 41), 0.5, (0.0, 0.0), (20.0, 20.0))
    light = np.zeros((1, geometry.n_pix))
    light[0, row * 41 + 20] = 1.0
    found = smooth_image(light, geometry, psf).reshape(81, 41)
    assert found.sum() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(found[row], found[row, ::-1], atol=2e-3)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    cell = np.multiply.outer(weights, weights).ravel() / 4
    x, y = (v.ravel() * 0.25 for v in np.meshgrid(nodes, nodes))
    lat = np.radians(geometry.native_lat[row])
    for up, across in [(0, 0), (1, 0), (0, 1), (1, 1), (-2, 1)]:
        at = np.radians(geometry.native_lat[row + up] + y)
        dx = across * 0.5 + x[:, None] - x[None, :]
        dlat = at[:, None] - (lat + np.radians(y))[None, :]
        lon = np.radians(dx)
        h = np.sin(dlat / 2) ** 2 + np.cos(at)[:, None] * np.cos(lat + np.radians(y))[None, :] * np.sin(lon / 2) ** 2
        density = psf.density(np.degrees(2 * np.arcsin(np.sqrt(h))))
        expected = (cell @ density @ cell) * geometry.row_solid_angle[row + up]
        assert found[row + up, 20 + across] == pytest.approx(expected, abs=2e-3)


def test_maps_follow_the_law_of_their_templates(model):
    """Means of pixels over many maps of one vector against smoothed templates, in each by its own scatter."""
    theta = model.prior().mean.numpy().astype(float)
    n = 1500
    drawn = Simulator(model).draw(np.tile(theta, (n, 1)), np.random.default_rng(3)).counts.astype(float)
    emission, halo = model.emission(theta[None]), model.point_source_templates[0]
    expected = np.einsum("re,rep->ep", emission.norms[0], model.smooth_templates)
    share = halo.intensity / halo.intensity[:, model.inside].sum()
    for e, psf in enumerate(model.psf):
        spread = model.patch.smooth(share, psf)[0, model.inside]
        expected[e] += 5e10 * emission.populations[0].flux[0] * emission.spectra[0, 1, e] * spread
    z = (drawn.mean(axis=0) - expected) / np.sqrt(drawn.var(axis=0) / n)
    assert abs(z.mean()) < 6 / np.sqrt(z.size) + 0.15  # bright sources light several pixels: z are not independent
    assert z.std() == pytest.approx(1.0, abs=0.1)
    assert stats.kstest(z.ravel(), "norm", args=(z.mean(), 1.0)).statistic < 0.05


def test_labels_and_seeds(model):
    one, again = Simulator(model).sample(140, seed=5), Simulator(model).sample(140, seed=5, workers=2)
    np.testing.assert_array_equal(one.counts, again.counts)
    np.testing.assert_allclose(one.scd.sum(axis=-1), 1.0)
    assert isinstance(model.region, ImageRegion)
    assert SkyModel.build(model.composition).fingerprint == model.fingerprint


def test_a_poisson_fit_finds_the_norms(model):
    theta = model.prior().mean.numpy().astype(float)
    theta[model.prior().names.index("halo_flux")] = 0.0
    observation, _ = Simulator(model).observe(theta, seed=7)
    fit = PoissonFit(model, observation).run()
    norm = fit.norms[0].sum()
    assert norm == pytest.approx(theta[0], abs=4 * np.sqrt(np.sum(fit.errors[0] ** 2)))


def test_an_image_of_one_s_own_is_a_template():
    rng = np.random.default_rng(1)
    image = rng.uniform(1, 2, GEOMETRY.shape)
    sky = SkyModel(
        [
            Smooth(name="mine", template=Map(values=image[None], quantity="counts", smoothed=True), norm=(0.5, 2.0)),
            PointSources(name="dots", template="nfw", populations=[{"xi": (-11, -9), "flux": (0, 1e-7)}]),
        ],
        region=GEOMETRY.disc(9.0),
        energy_edges="2:20:1",
        exposure=1e11,
    )
    np.testing.assert_allclose(sky.templates[0, 0], image.ravel()[sky.region.pixels] / image.mean())
    with pytest.raises(InputError, match=r"map: must have the image's shape \(24, 30\), got \(3, 3\)"):
        SkyModel(
            [
                Smooth(name="mine", template=Map(values=np.ones((1, 3, 3)), smoothed=True), norm=1.0),
                PointSources(name="dots", template="nfw", populations=[{"xi": (-11, -9), "flux": (0, 1e-7)}]),
            ],
            region=GEOMETRY,
            energy_edges="2:20:1",
            exposure=1e11,
        )


def test_observations_of_other_grids_are_refused(model):
    other = SkyModel.preset("inner-galaxy", nside=16, n_energy=2)
    seen, _ = Simulator(other).observe(other.prior().mean.numpy().astype(float))
    with pytest.raises(InputError, match="energy edges"):
        model.for_observation(seen)
    with pytest.raises(InputError, match="must be an image"):
        model.with_region(other.region)
    with pytest.raises(InputError, match="must be a HEALPix map"):
        other.with_region(model.region)


def test_a_catalogue_lies_where_it_says(data_folder):
    sky = SkyModel(
        [
            Catalogue(name="known", file=str(data_folder / "catalogs" / "gll_psc_v27.fit.gz")),
            PointSources(name="dots", template="nfw", populations=[{"xi": (-11, -9), "flux": (0, 1e-7)}]),
        ],
        region=GEOMETRY,
        energy_edges="2:20:1",
        exposure=1e11,
    )
    assert sky.prior().names[0] == "dots_xi"  # the norm is fixed
    emission = sky.emission(sky.prior().draw(1, np.random.default_rng(1)))
    found = sky.flux(emission, np.zeros((1, 1)))[0, 0].sum()
    known = read_catalogue(data_folder / "catalogs" / "gll_psc_v27.fit.gz")
    here = GEOMETRY.index(known.glon, known.glat) >= 0
    assert found == pytest.approx(known.flux([2.0, 20.0])[here].sum(), rel=0.03)  # some light crosses the border
    brightest = known.names[here][np.argmax(known.flux([2.0, 20.0])[here, 0] * (known.form[here] == "point"))]
    at = int(np.flatnonzero(known.names == brightest)[0])
    near = sky.region.holding(known.glon[at], known.glat[at])
    assert sky.templates[0, 0, near] > 5 * np.median(sky.templates[0, 0])


def test_a_cube_that_does_not_cover_the_region_is_refused(data_folder):
    cube = {"file": str(data_folder / "fermi-gc-4gev" / "gll_iem_v07_gc.fits.gz"), "smoothed": False}  # ±5 degrees
    dots = PointSources(name="dots", template="nfw", populations=[{"xi": (-11, -9), "flux": (0, 1e-7)}])
    sky = {"energy_edges": [4.0, 8.0], "exposure": 5e10}
    sky["components"] = [Smooth(name="gas", template=cube, norm=1.0), dots]
    regions = {"shape": (24, 24), "pixel_size": 1.0}, {"nside": 64, "radius": 10.0, "band": 0.0}
    for region in regions:
        with pytest.raises(InputError, match=r"gll_iem.*must cover the region, does not in \d\d\.\d % of its pixels"):
            SkyModel.build(Composition(region=region, **sky))
    assert SkyModel.build(Composition(region={"shape": (8, 8), "pixel_size": 1.0}, **sky)).names == ("gas", "dots")

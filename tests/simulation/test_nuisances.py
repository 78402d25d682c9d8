"""Log-fields on smooth templates: their law, what they leave unchanged, and maps that are drawn with them."""

import numpy as np
import pytest
import torch
from scipy.special import eval_legendre

from gcesbi import GaussianField, Harmonics, InputError, PointSources, Region, Simulator, SkyModel, Smooth
from gcesbi.simulation.device import DeviceSimulator
from gcesbi.simulation.instrument_errors import draw_exposures, psf_factors
from gcesbi.simulation.modulations import modulate, modulations_of
from gcesbi.sky import ImageGeometry

K = 5.0  # Monte Carlo errors
REGION = Region.disc(32)
DOTS = PointSources(name="dots", template="nfw", populations=[{"xi": (-12, -11.5), "flux": (0, 1e-9)}])


def gas(**told):
    return Smooth(name="gas", template="inverse-compton", norm=(40, 50), **told)


def sky(*components, nside=16, edges="2:20:2", **told):
    return SkyModel([*components, DOTS], region={"nside": nside}, energy_edges=edges, **told)


def distances(grid):
    return np.degrees(np.arccos(np.clip(grid.vectors @ grid.vectors.T, -1, 1)))


def only(law, grid=REGION):
    return modulations_of((law,), grid)[0]


# -- the fields ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [REGION, ImageGeometry((30, 40), 0.5).whole()], ids=["healpix", "image"])
@pytest.mark.parametrize("length", [0.5, 2.0, 5.0, 10.0])
def test_a_field_has_the_stated_covariance(grid, length):
    basis = only(GaussianField(sigma=1.0, length=length), grid).basis
    covariance = (basis @ basis.T).toarray()
    np.testing.assert_allclose(np.diag(covariance), 1.0, rtol=1e-12)
    np.testing.assert_allclose(covariance, np.exp(-(distances(grid) ** 2) / 2 / length**2), atol=0.01)


@pytest.mark.parametrize(("l_min", "slope"), [(1, 0.0), (3, 1.5)])
def test_harmonics_have_the_covariance_of_the_addition_theorem(l_min, slope):
    basis = only(Harmonics(sigma=1.0, l_max=8, l_min=l_min, slope=slope)).basis
    assert basis.shape[1] == 81 - l_min**2
    x = np.clip(REGION.vectors @ REGION.vectors.T, -1, 1)
    terms = [(2 * n + 1) / (4 * np.pi) * n ** (-2 * slope) * eval_legendre(n, x) for n in range(l_min, 9)]
    np.testing.assert_allclose((basis @ basis.T).toarray(), sum(terms), atol=1e-12)


@pytest.mark.parametrize("law", [GaussianField(sigma=1.0, length=8.0), Harmonics(sigma=2.0, l_max=6, slope=0.5)])
def test_drawn_fields_scatter_as_the_basis_says(law):
    modulation, n = only(law), 4000
    places = np.arange(0, REGION.n_pix, 60)
    drawn = modulation.draw(n, 2, np.random.default_rng(3))[0][:, places]
    part = modulation.basis[places]
    expected = (part @ part.T).toarray()
    variance = np.diag(expected)
    error = np.sqrt((np.outer(variance, variance) + expected**2) / n)
    assert np.all(np.abs(drawn.T @ drawn / n - expected) < K * error)
    assert np.all(np.abs(drawn.mean(axis=0)) < K * np.sqrt(variance / n))


def test_energies_share_a_field_unless_told_otherwise():
    rng = np.random.default_rng(1)
    assert only(GaussianField(sigma=1.0, length=3.0)).draw(4, 3, rng).shape == (1, 4, REGION.n_pix)
    own = only(GaussianField(sigma=1.0, length=3.0, per_energy=True)).draw(400, 3, rng)
    assert own.shape == (3, 400, REGION.n_pix)
    between = np.mean(own[0] * own[1], axis=0)
    assert np.all(np.abs(between) < K / np.sqrt(400))


# -- what they leave unchanged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.3, 30.0])
def test_flux_stays_in_every_energy_bin(sigma):
    rng = np.random.default_rng(2)
    maps = rng.gamma(2.0, size=(2, 3, REGION.n_pix)) * (rng.random(REGION.n_pix) > 0.2)
    norms = rng.gamma(2.0, size=(5, 2, 3))
    norms[4] = 0.0
    mean = np.einsum("nme,mep->nep", norms, maps)
    exposure = 1e11 * rng.uniform(0.8, 1.2, (3, REGION.n_pix))
    laws = modulations_of((GaussianField(sigma=1.0, length=2.0), Harmonics(sigma=1.0, l_max=4)), REGION)
    found = modulate(norms, maps, exposure, laws, np.full((5, 2), sigma), rng)
    np.testing.assert_allclose((found / exposure).sum(axis=-1), (mean / exposure).sum(axis=-1), rtol=1e-10)
    assert np.all((found > 0)[mean == 0] == 0)
    assert not np.allclose(found[:4], mean[:4], rtol=0.1)


def test_a_field_of_amplitude_nil_changes_nothing():
    maps = np.random.default_rng(2).gamma(2.0, size=(1, 1, REGION.n_pix))
    laws = modulations_of((GaussianField(sigma=0.0, length=2.0),), REGION)
    ones = np.ones((2, 1, 1)), maps, np.ones((1, REGION.n_pix))
    found = modulate(*ones, laws, np.zeros((2, 1)), np.random.default_rng(1))
    np.testing.assert_allclose(found, maps.repeat(2, axis=0), rtol=1e-12)


def test_a_sky_without_them_is_the_sky_that_it_was():
    assert sky(gas()).fingerprint == sky(gas(nuisances=())).fingerprint
    assert "nuisances" not in str(sky(gas()).composition.law())


# -- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    laws = [
        {"kind": "harmonics", "l_max": 6, "sigma": 0.2},
        GaussianField(sigma=(0.1, 0.4), length=4.0),
        GaussianField(sigma=(0.1, 0.4), length=8.0, per_energy=True),
    ]
    return sky(gas(nuisances=laws), Smooth(name="flat", template="isotropic", norm=(1, 2)))


def test_amplitudes_with_a_prior_are_the_last_parameters(model):
    assert model.prior().names[-2:] == ("gas_field_sigma", "gas_field2_sigma")
    assert "gas_field2_sigma" in (told := model.prior().describe())
    assert "amplitude of the log-field field2 of gas" in told
    theta = model.prior().draw(3, np.random.default_rng(1))
    np.testing.assert_array_equal(model.emission(theta).amplitudes, np.column_stack([[0.2] * 3, theta[:, -2:]]))
    assert model.modulated == (0,)
    assert [each.label for each in model.diffuse[0].modulations] == ["harmonics", "field", "field2"]


def test_toml_says_the_same(model, tmp_path):
    model.to_toml(tmp_path / "sky.toml")
    read = SkyModel.from_toml(tmp_path / "sky.toml")
    assert read.fingerprint == model.fingerprint
    assert read.prior().describe() == model.prior().describe()
    assert read.composition.components[0] == model.composition.components[0]


def test_models_of_other_regions_and_exposures_keep_them(model):
    part = model.region.only(model.region.glon_glat()[1] > 0)
    other = model.with_region(part)
    for one, whole in zip(other.diffuse[0].modulations, model.diffuse[0].modulations, strict=True):
        assert one.basis.shape[0] == part.n_pix
        at = model.region.places(part)
        covariance = (whole.basis @ whole.basis.T).toarray()[np.ix_(at, at)]
        np.testing.assert_allclose((one.basis @ one.basis.T).toarray(), covariance, atol=1e-12)
    assert model.with_exposure(model.exposure * 2).modulated == (0,)
    law = GaussianField(sigma=0.3, length=5.0)
    floating = sky(Smooth(name="gas", template={"formula": "nfw", "gamma": (1.0, 1.1)}, norm=1.0, nuisances=[law]))
    assert floating.at(gas_gamma=1.05).diffuse[0].modulations == floating.diffuse[0].modulations


# -- maps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("summed", [False, True])
def test_maps_scatter_as_field_and_photons_do(summed):
    """Of a bright component alone: mean and covariance of pixels, photon noise and conserved flux included."""
    laws = [GaussianField(sigma=0.2, length=6.0)]
    bright = Smooth(name="gas", template="isotropic", norm=500.0, nuisances=laws, spectrum={"family": "power-law"})
    model = sky(bright, edges="2:20:2", summed=summed)
    n = 2000
    drawn = Simulator(model).sample(n, seed=4)
    counts = drawn.counts.sum(axis=1).astype(float)
    resolved = model.resolved or model
    theta = resolved.prior().draw(n, np.random.default_rng(7))
    mean = resolved.modulated_counts(resolved.emission(theta), np.random.default_rng(8)).sum(axis=1)
    # the first 1000 fields tell what the photons of other fields must do
    error = np.sqrt((counts.var(axis=0) + mean.var(axis=0)) / n)
    background = counts.mean() - mean.mean()
    assert 0 <= background < 20  # the dots
    assert np.all(np.abs(counts.mean(axis=0) - mean.mean(axis=0) - background) < K * error + 15)
    spread = counts.var(axis=0) - counts.mean(axis=0)
    np.testing.assert_allclose(spread.mean(), mean.var(axis=0).mean(), rtol=0.1)
    g = np.log(mean / mean.mean())
    assert abs(g.var(axis=0).mean() / 0.2**2 - 1) < 0.1  # less what conservation takes


def test_labels_are_those_of_the_parameters(model):
    plain = sky(gas(), Smooth(name="flat", template="isotropic", norm=(1, 2)))
    theta = model.prior().draw(4, np.random.default_rng(2))
    rng = np.random.default_rng(5)
    smooth = Simulator(model).draw(theta, rng).flux[:, :2]
    np.testing.assert_array_equal(smooth, Simulator(plain).draw(theta[:, :-2], rng).flux[:, :2])


def test_maps_do_not_depend_on_workers_nor_on_how_many_are_asked_for(model):
    simulator = Simulator(model)
    drawn = simulator.sample(140, seed=2, workers=2)
    np.testing.assert_array_equal(drawn.counts[:40], simulator.sample(40, seed=2).counts)


def test_a_device_draws_the_same_law():
    laws = [GaussianField(sigma=0.3, length=6.0, per_energy=True), Harmonics(sigma=0.5, l_max=4)]
    bright = Smooth(name="gas", template="isotropic", norm=500.0, nuisances=laws, spectrum="power-law")
    simulator, n = Simulator(sky(bright, Smooth(name="flat", template="nfw", norm=20.0))), 600
    theta = np.repeat(simulator.model.prior().draw(1, np.random.default_rng(4)), n, axis=0)
    found = DeviceSimulator(simulator).draw(theta, torch.Generator().manual_seed(2)).counts.double().numpy()
    drawn = simulator.draw(theta, np.random.default_rng(6)).counts.astype(float)
    error = np.sqrt((found.var(axis=0) + drawn.var(axis=0)) / n)
    assert np.all(np.abs(found.mean(axis=0) - drawn.mean(axis=0)) < K * error)
    np.testing.assert_allclose(found.var(axis=0).mean(axis=-1), drawn.var(axis=0).mean(axis=-1), rtol=0.1)


# -- the instrument --------------------------------------------------------------------------------------------------


def test_an_exposure_that_is_not_known_scales_counts_of_all_kinds_and_no_label():
    dots = PointSources(name="dots", template="nfw", populations=[{"xi": -10.5, "omega2": 0.1, "a": 0.0, "flux": 5e-8}])
    gas_ = Smooth(name="gas", template="isotropic", norm=(99, 101), nuisances=[GaussianField(sigma=0.1, length=5.0)])
    told = {"region": {"nside": 16}, "energy_edges": [2, 20], "exposure": 1e11}
    known, vague = (SkyModel([gas_, dots], **told, exposure_error=error) for error in (0.0, 0.3))
    n = 800
    sure, drawn = (Simulator(model).sample(n, seed=3) for model in (known, vague))
    total, other = drawn.counts.sum(axis=(1, 2)), sure.counts.sum(axis=(1, 2))
    spread = (total.std() / total.mean()) ** 2 - (other.std() / other.mean()) ** 2
    factor = draw_exposures(0.3, 100_000, np.random.default_rng(1))
    assert abs(factor.mean() - 1) < 0.003
    assert abs(factor - 1).max() <= 0.9 + 1e-12
    np.testing.assert_allclose(np.sqrt(spread), factor.std(), rtol=0.1)
    np.testing.assert_allclose(drawn.flux[:, 1].mean(), sure.flux[:, 1].mean(), rtol=0.02)
    assert known.fingerprint != vague.fingerprint


@pytest.mark.parametrize("summed", [False, True])
def test_a_psf_that_is_not_known_spreads_the_same_flux(summed):
    lump = Smooth(
        name="gas", template={"formula": "nfw", "gamma": (1.15, 1.2)}, norm=(3000, 3001), spectrum="power-law"
    )
    model = SkyModel(
        [lump, DOTS], region={"nside": 32, "radius": 15, "band": 0}, energy_edges="2:20:2", psf_error=0.3, summed=summed
    )
    simulator, n = Simulator(model), 400
    theta = np.repeat(model.prior().draw(1, np.random.default_rng(1)), n, axis=0)
    drawn = simulator.draw(theta, np.random.default_rng(2))
    base = simulator._resolved or simulator
    emission = base.model.emission(theta[:1])
    means = [np.einsum("me,mep->p", emission.norms[0], each.model.smooth_templates) for each in base._through]
    assert len(means) == 5
    assert base._through[2] is base
    total = [mean.sum() for mean in means]
    np.testing.assert_allclose(total, total[2], rtol=0.01)
    peak = np.argmax(means[2])
    assert np.all(np.diff([mean[peak] for mean in means]) < 0)
    counts = drawn.counts.sum(axis=1, dtype=np.int64)
    expected = np.mean(means, axis=0)
    extra = np.var(means, axis=0)
    assert abs(counts[:, peak].mean() - expected[peak] - 1) < K * np.sqrt((expected + extra)[peak] / n) + 1
    np.testing.assert_allclose(counts[:, peak].var(), (expected + extra)[peak], rtol=0.4)
    assert extra[peak] > 3 * expected[peak]
    np.testing.assert_array_equal(drawn.flux[:, 0], np.repeat(drawn.flux[:1, 0], n, axis=0))


def test_factors_of_the_psf_have_the_stated_spread():
    np.testing.assert_allclose([np.mean(psf_factors(0.1)), np.std(psf_factors(0.1))], [1.0, 0.1])
    assert psf_factors(0.0) == (1.0,)


@pytest.mark.parametrize("name", ["exposure_error", "psf_error"])
def test_errors_of_the_instrument_that_cannot_be(name):
    for value in (-0.1, 0.5):
        with pytest.raises(InputError, match=f"{name}: input should be"):
            sky(gas(), **{name: value})
    with pytest.raises(InputError, match=f"{name}: is drawn by the simulator on the processor only"):
        DeviceSimulator(Simulator(sky(gas(), **{name: 0.1})))


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ({"kind": "field", "sigma": -0.1, "length": 2.0}, "nuisance 1: sigma: must not be negative, reaches -0.1"),
        ({"kind": "harmonics", "sigma": (-1, 1), "l_max": 2}, "nuisance 1: sigma: must not be negative, reaches -1"),
        ({"kind": "field", "sigma": 0.1, "length": 60.0}, "nuisance 1: length: .*less than or equal to 10, got 60"),
        ({"kind": "field", "sigma": 0.1, "length": 0.1}, "nuisance 1: length: .*greater than or equal to 0.5"),
        ({"kind": "field", "sigma": 0.1, "lenght": 1.0}, "lenght: unknown setting; the nearest valid one is 'length'"),
        ({"kind": "harmonic", "sigma": 0.1, "l_max": 2}, "kind: must be one of .*got 'harmonic'; .* 'harmonics'"),
        ({"kind": "harmonics", "sigma": 0.1, "l_max": 0}, "l_max: .*greater than or equal to 1, got 0"),
        ({"kind": "harmonics", "sigma": 0.1, "l_max": 2, "l_min": 3}, "l_min: must not exceed l_max 2, got 3"),
    ],
)
def test_statements_that_cannot_be(law, message):
    with pytest.raises(InputError, match=message):
        sky(gas(nuisances=[law]))


@pytest.mark.parametrize(
    ("region", "law", "message"),
    [
        ({"nside": 16}, Harmonics(sigma=0.1, l_max=40), "component gas: harmonics: l_max must be at most 32 .*got 40"),
        (
            {"shape": (20, 20), "pixel_size": 1.0},
            Harmonics(sigma=0.1, l_max=130),
            "component gas: harmonics: l_max must be at most 120 for pixels of 0.997 deg, got 130",
        ),
        (
            {"shape": (8, 8), "pixel_size": 0.5},
            GaussianField(sigma=0.1, length=9.0),
            "component gas: field: length must not exceed the region's .*, got 9",
        ),
    ],
)
def test_fields_that_do_not_fit(region, law, message):
    with pytest.raises(InputError, match=message):
        SkyModel([gas(nuisances=[law]), DOTS], region=region, energy_edges=[2, 20])

"""Every variation of the paper is a setting of the same model: what it changes, and that it changes nothing else."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats

from gcesbi import InputError, Observation, Region, Simulator, SkyModel
from gcesbi.baselines import PoissonFit
from gcesbi.simulation.sky_settings import INTERSTELLAR, InnerGalaxySky
from gcesbi.simulation.statement import make_settings

K = 5.0  # tolerance of every moment test, in Monte Carlo standard errors


@lru_cache
def sky(**settings):
    return SkyModel.preset("inner-galaxy", **{"nside": 16, "n_energy": 2, **settings})


def marginals(model):
    prior = model.prior()
    return dict(zip(prior.names, prior.marginals, strict=True))


def theta_with(model, n=1, seed=0, **changes):
    """Draws from the prior, some columns set."""
    theta = model.prior().draw(n, np.random.default_rng(seed))
    for name, value in changes.items():
        theta[:, model.prior().names.index(name)] = value
    return theta


@pytest.fixture(scope="module")
def summed():
    return sky(summed=True)


@pytest.fixture(scope="module")
def mixed():
    return sky(gce_poisson_share=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"summed": True},
        {"spectral_jitter": 0.5},
        {"gce_xi_low": -11.5},
        {"gce_populations": 1},
        {"gce_poisson_share": True},
        {"interstellar": "lorimer-4-150"},
        {"disk_height": 1.0},
        {"gamma": 1.0},
        {"weeks": 573.5},
        {"n_energy": 1},
        {"expected_labels": True},
    ],
    ids=str,
)
def test_a_variation_has_a_fingerprint_of_its_own_and_can_be_stored(settings):
    model = sky(**settings)
    assert model.fingerprint != sky().fingerprint
    assert make_settings(InnerGalaxySky, model.settings.model_dump(mode="json")) == model.settings
    theta = theta_with(model, 2)
    assert np.isfinite(model.emission(theta).norms).all()
    with pytest.raises(InputError, match="theta: must have shape"):
        model.emission(theta[:, 1:])


def test_variations_that_are_off_leave_no_trace_in_the_fingerprint():
    """So that maps and networks of a model stay its own when the library learns a new variation."""
    law = sky().settings.law()
    assert set(law) == {
        "kind", "nside", "n_energy", "weeks", "radius", "band",
        "gamma", "disk_height", "cosmic_rays", "halo_height", "spin_temperature",
    }  # fmt: skip
    jittered = {"spectral_jitter": 0.5, "jitter": "each bin by itself"}  # unlike maps of when flux was kept
    assert sky(spectral_jitter=0.5).settings.law() == law | jittered


def test_expected_labels_are_the_mean_of_drawn_ones_on_the_same_maps(mixed):
    """Also where a share of the excess is Poisson, whose flux is in the dimmest bin of both."""
    k, n = 5, 300
    model = sky(gce_poisson_share=True, expected_labels=True)
    theta = np.repeat(theta_with(model, 1, gce1_xi=-10.5, gce2_xi=-12.0, disk_xi=-10.0, gce2_omega2=0.3), n, axis=0)
    told, drawn = (Simulator(m).draw(theta, np.random.default_rng(5)) for m in (model, mixed))
    assert np.array_equal(told.counts, drawn.counts)
    assert np.ptp(told.scd, axis=0).max() == 0
    for name in ("n_sources", "flux"):
        each, mean = getattr(drawn, name), getattr(told, name)[0]
        assert np.all(np.abs(each.mean(axis=0) - mean) <= k * each.std(axis=0) / np.sqrt(n) + 2e-4 * mean)
    flux = drawn.flux[:, 4:].sum(axis=-1)[..., None]
    histogram, expected = drawn.scd * flux, told.scd[0] * told.flux[0, 4:].sum(axis=-1)[:, None]
    error = k * histogram.std(axis=0) / np.sqrt(n) + 2e-4 * expected.sum(axis=-1, keepdims=True)
    assert np.all(np.abs(histogram.mean(axis=0) - expected) <= error)


# -- energy ---------------------------------------------------------------------------------------------------------


def test_one_bin_has_no_spectra():
    model = sky(n_energy=1)
    assert model.energy_edges.tolist() == [2.0, 20.0]
    assert not any("spectrum" in name for name in model.prior().names)
    assert (model.emission(theta_with(model)).spectra == 1).all()


def test_summed_maps_are_the_sums_of_resolved_ones(summed):
    fine = sky()
    assert summed.prior().names == fine.prior().names
    theta = theta_with(summed, n=4)
    one, many = (Simulator(m).draw(theta, np.random.default_rng(3)) for m in (summed, fine))
    assert np.array_equal(one.counts[:, 0], many.counts.sum(axis=1, dtype=int))
    assert one.counts.max() == many.counts.sum(axis=1, dtype=int).max()
    assert np.allclose(one.flux[..., 0], many.flux.sum(axis=-1))
    for name in ("theta", "scd", "n_sources"):
        assert np.array_equal(getattr(one, name), getattr(many, name))


def test_sums_take_a_type_that_holds_them():
    """Two bins of up to 255 counts, each in 8 bits, sum to more."""
    model = sky(summed=True)
    off = dict.fromkeys(("ic_norm", "iso_norm", "bub_norm", "gce1_flux", "gce2_flux", "disk_flux"), 0.0)
    norm = 350 / model.templates[0].max()
    theta = theta_with(model, pi_norm=norm, pi_spectrum_xi=0.8, pi_spectrum_a=0.0, pi_spectrum_omega2=4.0, **off)
    resolved = Simulator(model.resolved).draw(theta, np.random.default_rng(0)).counts
    assert resolved.dtype == np.uint8
    one = Simulator(model).draw(theta, np.random.default_rng(0)).counts
    assert one.max() > 255
    assert np.array_equal(one[:, 0], resolved.sum(axis=1, dtype=int))


def test_likelihoods_see_one_bin_that_fits_the_summed_maps(summed):
    """The Poisson fit of the mean summed map, with the model's own templates, finds the fluxes that were put in."""
    assert summed.n_energy == 1
    assert summed.templates.shape == (6, 1, summed.region.n_pix)
    assert len(summed.psf) == 1
    assert summed.coordinates.energy == sky(n_energy=1).coordinates.energy
    fine = summed.resolved
    assert np.allclose(summed.exposure, fine.exposure.mean(axis=0))
    theta = theta_with(summed, seed=2, gce1_flux=5e-8, gce2_flux=5e-8, disk_flux=1.4e-7)
    emission = fine.emission(theta)
    populations = np.array([1e-7, 1.4e-7])[:, None] * emission.spectra[0, 4:] / fine.flux_per_norm[4:]
    norms = np.concatenate([emission.norms[0], populations])
    mean = 1000 * np.einsum("te,tep->p", norms, fine.templates)
    longer = summed.with_exposure(1000 * summed.exposure)
    seen = Observation(np.rint(mean)[None].astype(int), longer.exposure, longer.energy_edges, longer.region)
    fit = PoissonFit(longer, seen).run()
    asked = np.sum(norms * fine.flux_per_norm, axis=1)
    # templates of the summed band assume E^-2 within it, the skies drawn do not: per cent of the total flux
    assert np.max(np.abs(fit.flux[:, 0] - asked)) < 0.01 * asked.sum()
    assert fit.flux.sum() == pytest.approx(asked.sum(), rel=1e-3)


def test_summed_models_can_be_cut_to_a_region(summed):
    part = summed.with_region(Region(16, summed.region.pixels[::2]))
    assert part.resolved.region == part.region
    assert Simulator(part).sample(1, seed=1).counts.shape == (1, 1, part.region.n_pix)


def test_jittered_spectra_scatter_by_half_and_stay_positive():
    model, n = sky(spectral_jitter=0.5), 2000
    shape = {"xi": 0.8, "omega2": 4.0, "a": 0.0}
    theta = theta_with(model, n, **{f"{t}_spectrum_{key}": shape[key] for t in model.names for key in shape})
    plain = model.emission(theta)
    drawn = model.emission(theta, np.random.default_rng(1))
    assert np.allclose(drawn.spectra.sum(axis=-1), 1)
    assert (drawn.spectra > 0).all()
    # normalising cancels in the ratio of two bins, which is that of two N(1, 1/2) cut to positive values
    ratio = drawn.spectra / plain.spectra
    pi, disk = ratio[:, 0, 0] / ratio[:, 0, 1], ratio[:, 5, 0] / ratio[:, 5, 1]
    oracle = stats.truncnorm(-2, np.inf, 1, 0.5).rvs((2, 100_000), random_state=2)
    for found in (pi, disk):
        assert stats.ks_2samp(found, oracle[0] / oracle[1]).pvalue > 1e-3
    assert abs(stats.spearmanr(pi, disk).statistic) < K / np.sqrt(n)  # every spectrum on its own


def test_jitter_scatters_bins_of_smooth_templates_without_scaling_them_back():
    model = sky(spectral_jitter=0.5)
    theta = theta_with(model, 2000)
    plain, drawn = model.emission(theta), model.emission(theta, np.random.default_rng(1))
    assert not np.allclose(drawn.norms.sum(axis=-1), theta[:, :4])
    oracle = stats.truncnorm(-2, np.inf, 1, 0.5).rvs(100_000, random_state=2)
    for template in range(4):
        before, after = plain.norms[:, template], drawn.norms[:, template]
        lit = (before > 0).all(axis=1)  # some spectra leave a bin without light
        ratio = after[lit] / before[lit]
        assert stats.ks_2samp(ratio[:, 0], oracle).pvalue > 1e-3
        assert abs(stats.spearmanr(ratio[:, 0], ratio[:, 1]).statistic) < K / np.sqrt(len(ratio))


def test_the_built_in_sky_may_leave_out_the_pixels_of_catalogue_sources(data_folder):
    plain, masked = sky(nside=32), sky(nside=32, mask="3fgl")
    assert set(masked.region.pixels) < set(plain.region.pixels)
    assert plain.fingerprint != masked.fingerprint != sky(nside=32, mask="4fgl").fingerprint
    assert SkyModel.build(masked.settings.composition()).fingerprint == masked.fingerprint
    assert "mask" not in plain.settings.law()
    with pytest.raises(InputError, match="mask: input should be '3fgl' or '4fgl', got '5fgl'"):
        sky(mask="5fgl")


def test_jitter_changes_spectra_and_nothing_else():
    model = sky(spectral_jitter=0.5)
    theta = theta_with(model, 5)
    plain, drawn = model.emission(theta), model.emission(theta, np.random.default_rng(1))
    flux = drawn.norms * model.flux_per_norm[:4]
    assert np.allclose(flux / flux.sum(axis=-1, keepdims=True), drawn.spectra[:, :4])
    for one, other in zip(plain.populations, drawn.populations, strict=True):
        assert np.array_equal(one.shape, other.shape)
        assert np.array_equal(one.flux, other.flux)
    assert np.array_equal(model.emission(theta, np.random.default_rng(1)).spectra, drawn.spectra)
    assert np.array_equal(sky().emission(theta, np.random.default_rng(1)).spectra, plain.spectra)
    labelled = Simulator(model).draw(theta, np.random.default_rng(1)).flux
    assert np.allclose(labelled[:, 0] / labelled[:, 0].sum(axis=-1, keepdims=True), drawn.spectra[:, 0])


# -- the excess -----------------------------------------------------------------------------------------------------


def test_the_prior_of_the_excess_can_start_brighter():
    wide, bright = marginals(sky()), marginals(sky(gce_xi_low=-11.5))
    for name in ("gce1_xi", "gce2_xi"):
        assert (bright[name].low, bright[name].high) == (-11.5, -9)
    assert {n for n in wide if wide[n] != bright[n]} == {"gce1_xi", "gce2_xi"}


def test_an_excess_of_one_population_may_be_as_bright_as_one_of_two():
    model = sky(gce_populations=1)
    named = marginals(model)
    assert (named["gce_flux"].low, named["gce_flux"].high) == (0, 2.8e-7)
    assert "gce1_xi" not in named
    assert len(named) == len(marginals(sky())) - 4
    assert [each.template for each in model.emission(theta_with(model)).populations] == [0, 1]


def test_the_poisson_share_is_a_parameter(mixed):
    named = marginals(mixed)
    assert mixed.prior().names[-1] == "gce_poisson_share"
    assert (named["gce_poisson_share"].low, named["gce_poisson_share"].high) == (0, 1)
    emission = mixed.emission(theta_with(mixed, 3, gce1_flux=6e-8, gce2_flux=2e-8, gce_poisson_share=0.25))
    assert np.allclose(emission.poisson, [2e-8, 0])
    assert np.allclose([each.flux for each in emission.populations[:2]], [[4.5e-8], [1.5e-8]])
    assert np.allclose(emission.norms[:, 4], 2e-8 * emission.spectra[:, 4])
    ratio = mixed.smooth_templates[4] / mixed.templates[4]
    assert np.allclose(ratio, ratio[:, :1])  # the template's own shape


BRIGHT = {
    "gce1_xi": -9.6, "gce1_omega2": 0.01, "gce1_a": 0.0, "gce1_flux": 1e-7, "gce2_flux": 0.0, "disk_flux": 0.0,
    "pi_norm": 0.0, "ic_norm": 0.0, "iso_norm": 0.0, "bub_norm": 0.0,
    "gce_spectrum_omega2": 4.0, "gce_spectrum_a": 0.0, "gce_spectrum_xi": 0.7,
}  # fmt: skip


def draw_bright(model, share, n=600):
    theta = np.repeat(theta_with(model, **BRIGHT, gce_poisson_share=share), n, axis=0)
    return theta, Simulator(model).draw(theta, np.random.default_rng(7))


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_poisson_share_keeps_the_mean_and_takes_its_part_of_the_variance(mixed, share):
    theta, drawn = draw_bright(mixed, share)
    expected = 1e-7 * np.einsum("e,ep->p", mixed.emission(theta).spectra[0, 4], mixed.smooth_templates[4])
    counts = drawn.counts.sum(axis=1).astype(float)
    error = counts.std(axis=0, ddof=1) / np.sqrt(len(counts))
    used = expected > 5
    assert (
        np.max(np.abs(counts.mean(axis=0) - expected)[used] / np.hypot(error, 1e-3 * expected)[used]) < K
    )  # and 0.1 % of the smoothing
    _, sources = draw_bright(mixed, 0.0)
    clumped = (sources.counts.sum(axis=1).astype(float).var(axis=0, ddof=1) - expected)[used].sum()
    found = (counts.var(axis=0, ddof=1) - expected)[used].sum()
    scatter = K * np.sqrt(2 / len(counts)) * np.sqrt(np.sum(counts.var(axis=0)[used] ** 2)) * 2  # heavy tails: doubled
    assert abs(found - (1 - share) * clumped) < scatter
    assert clumped > 3 * scatter


def test_the_poisson_share_is_labelled_as_flux_and_as_the_dimmest_bin(mixed):
    _, drawn = draw_bright(mixed, 0.4)
    total = drawn.flux[:, 4].sum(axis=-1)
    assert abs(total.mean() - 1e-7) < K * total.std() / np.sqrt(len(total))
    assert np.allclose(drawn.scd[:, 0, 0] * total, 0.4e-7)  # no source of this population is dimmer than 10^-13.5
    assert np.allclose(drawn.scd.sum(axis=-1), 1)
    _, smooth = draw_bright(mixed, 1.0, n=3)
    assert np.allclose(smooth.scd[:, 0, 0], 1)
    assert np.allclose(smooth.flux[:, 4].sum(axis=-1), 1e-7)
    assert (smooth.n_sources == 0).all()


# -- the sky --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INTERSTELLAR)
def test_interstellar_variants_have_names(name):
    cosmic_rays, halo_height, spin_temperature = INTERSTELLAR[name]
    by_hand = InnerGalaxySky(cosmic_rays=cosmic_rays, halo_height=halo_height, spin_temperature=spin_temperature)
    assert InnerGalaxySky(interstellar=name) == by_hand


def test_interstellar_variants_differ_where_they_should():
    names = ("lorimer-10-100000", "lorimer-4-150", "lorimer-10-150")
    maps = {name: sky(n_energy=1, interstellar=name).templates[:2, 0] for name in names}
    thin, thick = maps["lorimer-10-100000"], maps["lorimer-10-150"]
    assert not np.allclose(thin[0], thick[0], rtol=1e-3)  # the spin temperature is one of gas
    assert np.array_equal(thin[1], thick[1])
    shallow, deep = maps["lorimer-4-150"], maps["lorimer-10-150"]
    assert shallow[1].std() > deep[1].std()  # a lower halo is steeper in latitude


def test_a_thick_disk_and_a_shallow_cusp():
    region = sky(n_energy=1).region
    glat, psi = np.abs(region.glon_glat()[1]), np.hypot(*region.glon_glat())

    def outer_share(model, template, angle, at):
        values = model.templates[model.names.index(template), 0]
        return values[angle > at].sum() / values.sum()

    thin, thick = (sky(n_energy=1, disk_height=z) for z in (0.3, 1.0))
    assert outer_share(thick, "disk", glat, 10) > 1.5 * outer_share(thin, "disk", glat, 10)
    steep, shallow = thin, sky(n_energy=1, gamma=1.0)
    assert outer_share(shallow, "gce", psi, 10) > 1.1 * outer_share(steep, "gce", psi, 10)
    for name in ("pi", "ic", "iso", "bub"):
        i = thin.names.index(name)
        assert np.array_equal(thin.templates[i], thick.templates[i])


def test_the_folder_has_the_same_variations(data_folder):
    path = data_folder / "fermi-573w"
    plain = SkyModel.from_folder(path, nside=16)
    fingerprints = {plain.fingerprint}
    for settings in (
        {"diffuse": "A"}, {"diffuse": "F"}, {"disk": "z1p0"}, {"nfw": "g1p0"}, {"gce_xi_low": -11.5},
        {"gce_populations": 1}, {"gce_poisson_share": True}, {"weeks": 1146.0},
    ):  # fmt: skip
        model = SkyModel.from_folder(path, nside=16, **settings)
        fingerprints.add(model.fingerprint)
        assert model.templates.shape[1] == 1
    assert len(fingerprints) == 9
    longer = SkyModel.from_folder(path, nside=16, weeks=1146.0)
    assert np.allclose(longer.exposure, 2 * plain.exposure)
    assert np.allclose(longer.flux_per_norm, plain.flux_per_norm / 2)
    assert longer.prior().marginals[0].high == pytest.approx(2 * plain.prior().marginals[0].high)


def test_the_folders_poisson_share_has_the_psf_that_its_sources_have(data_folder):
    model = SkyModel.from_folder(data_folder / "fermi-573w", nside=32, gce_poisson_share=True)
    names = model.prior().names
    base = dict.fromkeys(("pi_norm", "ic_norm", "iso_norm", "bub_norm", "disk_flux", "gce2_flux"), 0.0)
    dim = base | {"gce1_xi": -12.5, "gce1_omega2": 0.0, "gce1_a": 0.0, "gce1_flux": 2e-7}
    n, found = 300, []
    for share in (0.0, 1.0):
        theta = np.repeat(theta_with(model, **dim, gce_poisson_share=share), n, axis=0)
        assert theta.shape == (n, len(names))
        found.append(Simulator(model).draw(theta, np.random.default_rng(1)).counts[:, 0].astype(float))
    sources, smooth = (each.mean(axis=0) for each in found)
    used = smooth > 1
    error = np.sqrt((found[0].var(axis=0) + found[1].var(axis=0)) / n)
    assert np.max(np.abs(sources - smooth)[used] / error[used]) < K


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gce_xi_low": -9.0}, "gce_xi_low: input should be less than -9, got -9.0"),
        ({"gce_populations": 3}, "gce_populations: input should be 1 or 2, got 3"),
        ({"spectral_jitter": -0.1}, "spectral_jitter: input should be greater than or equal to 0, got -0.1"),
        ({"spectral_jitter": 0.5, "n_energy": 1}, "spectral_jitter: needs more than one energy bin, got n_energy 1"),
        ({"summed": True, "n_energy": 1}, "summed: needs more than one energy bin, got n_energy 1"),
        ({"interstellar": "X"}, "interstellar: input should be 'snr-10-150', 'lorimer-10-100000'"),
        ({"interstellar": "snr-10-150", "halo_height": 4}, "interstellar: must stand without halo_height"),
        ({"gce_poisson_shar": True}, "unknown setting; the nearest valid one is 'gce_poisson_share'"),
    ],
)
def test_bad_variations_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        sky(**settings)


def test_a_poisson_map_must_be_a_map(mixed):
    with pytest.raises(InputError, match="template gce: must be finite and not negative"):
        replace(mixed.point_source_templates[0], poisson=-mixed.point_source_templates[0].counts)

"""Sky models: built in and from the real folder; norms, fluxes, regions, fingerprints."""

import numpy as np
import pytest

from gcesbi import InputError, Observation, Region, SkyModel, read_observation
from gcesbi.sky.region import in_disc

TEMPLATES = ("pi", "ic", "iso", "bub", "gce", "disk")


def test_templates_have_unit_mean_over_the_normalisation_disc(model):
    assert model.names == TEMPLATES
    assert model.point_sources == ("gce", "disk")
    disc = model.patch.region.index[np.flatnonzero(in_disc(16, 30.0, 2.0))]
    for template in (*model.diffuse, *model.point_source_templates):
        assert template.counts.shape == (1, 2, len(model.patch))
        assert np.allclose(template.counts[..., disc].mean(axis=-1), 1)


def test_flux_per_norm_is_counts_over_exposure(model):
    by_hand = np.array([[np.sum(t / e) for t, e in zip(ts, model.exposure, strict=True)] for ts in model.templates])
    assert np.allclose(model.flux_per_norm, by_hand)


def test_emission_spends_the_norm_and_follows_the_spectrum(model):
    theta = model.prior().draw(20, np.random.default_rng(0))
    emission = model.emission(theta)
    assert np.allclose(emission.norms.sum(axis=-1), theta[:, :4])
    flux = emission.norms * model.flux_per_norm[:4]
    assert np.allclose(flux / flux.sum(axis=-1, keepdims=True), emission.spectra[:, :4])


def test_priors_are_those_of_the_paper_scaled_to_nside():
    prior = SkyModel.preset(nside=16, n_energy=2).prior()
    marginal = dict(zip(prior.names, prior.marginals, strict=True))
    assert (marginal["pi_norm"].low, marginal["pi_norm"].high) == (1.75 * 256, 3.5 * 256)
    assert (marginal["ic_norm"].low, marginal["ic_norm"].high) == (256, 2.25 * 256)
    assert (marginal["gce1_xi"].low, marginal["gce2_xi"].high) == (-13, -9)
    assert (marginal["disk_xi"].low, marginal["disk_flux"].high) == (-12, 2.8e-7)
    assert marginal["gce1_flux"].high == 1.4e-7
    assert marginal["disk_omega2"].scale == 0.25
    assert marginal["pi_spectrum_omega2"].scale == 4
    assert marginal["disk_a"].scale == 3
    assert marginal["gce_spectrum_a"].scale == 5
    assert len(prior.names) == 4 + 3 * 4 + 6 * 3
    assert not any("spectrum" in name for name in SkyModel.preset(nside=16, n_energy=1).prior().names)


def test_exposure_scales_counts_but_not_fluxes():
    short, long = (SkyModel.preset(nside=16, n_energy=1, weeks=weeks) for weeks in (573, 1146))
    assert np.allclose(long.exposure, 2 * short.exposure)
    assert long.prior().marginals[0].high == pytest.approx(2 * short.prior().marginals[0].high)
    assert np.allclose(long.flux_per_norm, short.flux_per_norm / 2)


def test_the_fingerprint_knows_the_law_and_not_the_place(model):
    assert SkyModel.preset(nside=16, n_energy=2).fingerprint == model.fingerprint
    assert SkyModel.preset(nside=16, n_energy=2, gamma=1.0).fingerprint != model.fingerprint
    assert model.with_region(Region(16, model.region.pixels[1:])).fingerprint != model.fingerprint


def test_settings_build_the_same_model_again(model):
    from gcesbi.simulation.rebuild import build_model

    again = build_model(model.settings.model_dump(mode="json"))
    assert again.fingerprint == model.fingerprint
    assert np.array_equal(again.templates, model.templates)


def test_for_observation_takes_region_and_exposure_and_refuses_what_does_not_fit(model):
    def seen(**changes):
        region = changes.pop("region", Region(16, model.region.pixels[::2]))
        part = model.with_region(region)
        given = {"counts": np.zeros(part.exposure.shape, int), "exposure": part.exposure, "region": region}
        return Observation(**{"energy_edges": model.energy_edges, **given, **changes})

    assert model.for_observation(seen()).region == Region(16, model.region.pixels[::2])
    assert model.for_observation(seen(region=model.region)) is model
    with pytest.raises(InputError, match="energy edges must be the model's"):
        model.for_observation(seen(energy_edges=[2, 5, 20]))
    part = model.with_region(Region(16, model.region.pixels[::2]))
    assert model.for_observation(seen(exposure=1.015 * part.exposure)).exposure == pytest.approx(part.exposure)
    assert model.for_observation(seen(exposure=1.1 * part.exposure)).exposure == pytest.approx(1.1 * part.exposure)
    outside = Region.disc(16, radius=20, centre=(90, 0))
    with pytest.raises(InputError, match="pixels outside the patch"):
        model.with_region(outside)
    with pytest.raises(InputError, match="nside must be the templates' 16, got 32"):
        model.with_region(Region.disc(32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SkyModel.preset("outer-galaxy"), "preset: must be 'inner-galaxy', got 'outer-galaxy'"),
        (lambda: SkyModel.preset(nside=48), "nside: must be a power of two, got 48"),
        (lambda: SkyModel.preset(gama=1.0), "gama: unknown setting; the nearest valid one is 'gamma'"),
        (lambda: SkyModel.preset(gamma=1.6), "gamma: input should be less than 1.5, got 1.6"),
        (lambda: SkyModel.from_folder("/nowhere"), "/nowhere"),
        (lambda: SkyModel.from_folder("/nowhere", diffuse="X"), "diffuse: input should be 'O', 'A', 'F' or 'p6v11'"),
    ],
)
def test_bad_skies_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_real_folder_gives_the_real_model(data_folder):
    path = data_folder / "fermi-573w"
    model = SkyModel.from_folder(path)
    seen = read_observation(path, radius=25, band=2, mask="3fgl")
    assert model.names == TEMPLATES
    assert model.region == seen.region
    assert model.for_observation(seen) is model
    assert model.templates.shape == (6, 1, 7749)
    import healpy as hp

    raw = np.load(path / "template_Opi.npy")
    assert np.allclose(model.templates[0, 0], raw[hp.nest2ring(128, model.region.pixels)], rtol=1e-6)
    other = SkyModel.from_folder(path, diffuse="A", nfw="g1p0", disk="z1p0", mask="4fgl")
    assert other.fingerprint != model.fingerprint
    assert SkyModel.from_folder(path, diffuse="p6v11").names == ("dif", "iso", "bub", "gce", "disk")
    coarse = SkyModel.from_folder(path, nside=64)
    assert coarse.region == read_observation(path, mask="3fgl", nside=64).region


def test_templates_of_another_nside_than_the_counts_are_refused(tmp_path):
    names = ("Opi", "Oic", "iso", "bub", "nfw_g1p2", "dsk_z0p3")
    for name in names:
        np.save(tmp_path / f"template_{name}.npy", np.ones(12 * 16**2))
    for name in ("exposure", "pscmask_3fgl"):
        np.save(tmp_path / f"fermidata_{name}.npy", np.full(12 * 16**2, float(name == "exposure")))
    assert SkyModel.from_folder(tmp_path, nside=16).names[0] == "pi"
    np.save(tmp_path / "template_bub.npy", np.ones(12 * 8**2))
    with pytest.raises(InputError, match=r"template_bub.npy: nside must be at least the model's 16, is 8"):
        SkyModel.from_folder(tmp_path, nside=16)
    with pytest.raises(
        InputError,
        match="nside: must be at most the map's own, 16, got 32",
    ):
        SkyModel.from_folder(tmp_path, nside=32)

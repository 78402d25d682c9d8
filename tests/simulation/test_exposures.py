"""Exposure follows the observation: any form of it, counts in proportion, fluxes untouched."""

import numpy as np
import pytest
from astropy import units as u

from gcesbi import InputError, Map, Observation, PointSources, Simulator, SkyModel, Smooth

NSIDE = 8
N_PIX = 12 * NSIDE**2


def sky(exposure, n_energy=2, **more):
    parts = [
        Smooth(name="gas", template="pion-decay", norm=(1, 3)),
        Smooth(name="ice", template=Map(values=1 + np.arange(N_PIX) / N_PIX, order="ring", smoothed=True), norm=2.0),
        PointSources(
            name="dots", template="nfw", populations=[{"xi": (-13, -9), "flux": (0, 2e-7)}], poisson_share=(0, 1)
        ),
    ]
    region = {"nside": NSIDE, "radius": 20}
    return SkyModel(parts, region=region, energy_edges=f"2:20:{n_energy}", exposure=exposure, **more)


def test_all_forms_say_the_same():
    number = sky(1e11)
    whole = np.full(N_PIX, 1e11)
    forms = [
        1e11 * u.cm**2 * u.s,
        1e7 * u.m**2 * u.s,
        {"values": whole, "order": "ring"},
        {"values": np.stack([whole, whole]), "order": "nested"},
        {"values": 0.5e11, "scale": 2.0},
    ]
    for form in forms:
        found = sky(form)
        np.testing.assert_allclose(found.exposure, number.exposure)
        np.testing.assert_allclose(found.templates, number.templates)
    assert number.exposure == pytest.approx(np.full((2, number.region.n_pix), 1e11))


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (1.0 * u.s, "exposure: must be an area times a time, has the unit s"),
        ({"values": np.full(N_PIX, 1e11)}, "exposure: order must be stated"),
        ({"values": np.full((3, N_PIX), 1e11), "order": "ring"}, "exposure: needs one map for each of 2 energy bins"),
        ({"values": np.full(100, 1e11), "order": "ring"}, "exposure"),
        (0.0, "exposure: must be above zero inside the region"),
        ({"scale": 2.0, "values": 1.0, "file": "x.fits"}, "exposure: needs either a file or values"),
        ({"values": 1e11, "scale": 0.0}, "exposure: scale: input should be greater than 0"),
    ],
)
def test_bad_exposures_are_refused(form, message):
    with pytest.raises(InputError, match=message):
        sky(form)


@pytest.mark.parametrize("more", [{}, {"summed": True}], ids=["resolved", "summed"])
def test_a_longer_exposure_keeps_fluxes_and_scales_counts_and_norms(more):
    ramp = np.stack([1e11 + 1e8 * np.arange(N_PIX), 2e11 - 1e8 * np.arange(N_PIX)])
    short = sky({"values": ramp, "order": "nested"}, **more)
    long = short.with_exposure(1.4 * short.exposure)
    stated = sky({"values": ramp, "order": "nested", "scale": 1.4}, **more)
    np.testing.assert_allclose(long.exposure, stated.exposure)
    np.testing.assert_allclose(long.templates, stated.templates, rtol=1e-6)
    np.testing.assert_allclose(
        long.smooth_templates, 1.4 ** np.array([0, 0, 1])[:, None, None] * short.smooth_templates
    )
    assert long.prior().marginals[0].range == pytest.approx((1.4, 4.2))
    assert long.prior().names == short.prior().names
    theta = short.prior().draw(3, np.random.default_rng(1))
    longer = theta.copy()
    longer[:, 0] *= 1.4  # norms are counts
    one, other = short.emission(theta), long.emission(longer)
    sources = np.array([[1e-7]] * 3)
    np.testing.assert_allclose(other.spectra, one.spectra)
    np.testing.assert_allclose(long.flux(other, sources), short.flux(one, sources))
    drawn = [Simulator(m).draw(t, np.random.default_rng(3)).counts.sum() for m, t in ((short, theta), (long, longer))]
    assert drawn[1] / drawn[0] == pytest.approx(1.4, rel=0.1)


def test_an_observation_brings_its_own_exposure():
    model = sky(1e11)

    def seen(factor):
        counts = np.ones(model.exposure.shape, dtype=int)
        return Observation(counts, factor * model.exposure, model.energy_edges, model.region)

    assert model.for_observation(seen(1.0)) is model
    assert model.for_observation(seen(1.015)) is model
    longer = model.for_observation(seen(1.4))
    np.testing.assert_allclose(longer.exposure, 1.4e11)
    assert longer.fingerprint != model.fingerprint
    assert longer.prior().marginals[0].range == pytest.approx((1.4, 4.2))
    with pytest.raises(InputError, match="exposure: must have shape"):
        model.with_exposure(np.ones(3))
    with pytest.raises(InputError, match="exposure"):
        model.with_exposure(np.zeros(model.exposure.shape))

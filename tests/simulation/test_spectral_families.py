"""Families of spectra: shares of flux against integrals of dN/dE, priors, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from gcesbi import InputError, PointSources, SkyModel, Smooth
from gcesbi.simulation.marginals import Beta
from gcesbi.simulation.spectral_families import (
    BrokenPowerLawSpectrum,
    FreeSpectrum,
    LogParabolaSpectrum,
    PowerLawSpectrum,
    SkewNormalSpectrum,
    TabulatedSpectrum,
    stick_marginals,
    sticks_to_shares,
)
from gcesbi.sky import log_energy_edges

EDGES = log_energy_edges(5)
TABLE = np.array([1.0, 3.0, 7.0, 30.0]), np.array([2.0, 0.5, 0.3, 0.001])

FAMILIES = {
    "skew normal": (
        SkewNormalSpectrum(),
        (0.6, 0.3, 2.0),
        lambda e: stats.skewnorm(2.0, 0.6, np.sqrt(0.3)).pdf(np.log10(e)) / e,
    ),
    "power law": (PowerLawSpectrum(), (2.4,), lambda e: e**-2.4),
    "log-parabola": (
        LogParabolaSpectrum(pivot=3.0),
        (2.1, 0.4),
        lambda e: (e / 3) ** -(2.1 + 0.4 * np.log(e / 3)),
    ),
    "broken power law": (
        BrokenPowerLawSpectrum(),
        (1.3, 3.2, 5.0),
        lambda e: (e / 5) ** -np.where(e < 5, 1.3, 3.2),
    ),
    "tabulated": (
        TabulatedSpectrum(energy=TABLE[0], dnde=TABLE[1]),
        (),
        lambda e: np.exp(np.interp(np.log(e), np.log(TABLE[0]), np.log(TABLE[1]))),
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_shares_are_integrals(name):
    family, values, dnde = FAMILIES[name]
    exact = np.array([integrate.quad(dnde, a, b, points=[3.0, 5.0, 7.0], limit=200)[0] for a, b in pairwise(EDGES)])
    found = family.shares(EDGES, np.array([values, values]))
    assert found.shape == (2, 5)
    np.testing.assert_allclose(found[0], exact / exact.sum(), rtol=2e-5)
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_shares_sum_to_one_all_over_the_prior(name):
    family = FAMILIES[name][0]
    marginals = family.marginals(EDGES)
    u = np.random.default_rng(1).random((500, len(marginals)))
    values = np.array([m.from_uniform(column) for m, column in zip(marginals.values(), u.T, strict=True)]).T
    found = family.shares(EDGES, values.reshape(500, len(marginals)))
    assert np.isfinite(found).all()
    assert np.all(found >= 0)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert set(family.units()) <= set(marginals)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_free_shares_have_a_dirichlet_prior(alpha):
    family, n = FreeSpectrum(alpha=alpha), 20_000
    marginals = family.marginals(EDGES)
    assert list(marginals) == ["share1", "share2", "share3", "share4"]
    u = np.random.default_rng(2).random((n, 4))
    sticks = np.stack([m.from_uniform(column) for m, column in zip(marginals.values(), u.T, strict=True)], axis=1)
    found = family.shares(EDGES, sticks)
    oracle = stats.dirichlet(np.full(5, alpha))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    for i in range(5):
        assert stats.kstest(found[:, i], stats.beta(alpha, 4 * alpha).cdf).pvalue > 1e-4
    np.testing.assert_allclose(np.cov(found.T), oracle.cov(), atol=5 * oracle.var().max() / np.sqrt(n) * 3)


def test_sticks_of_unequal_weights():
    marginals = stick_marginals("share", [1.0, 2.0, 3.0])
    assert marginals == {"share1": Beta(1.0, 5.0), "share2": Beta(2.0, 3.0)}
    assert sticks_to_shares(np.array([0.2, 0.5])) == pytest.approx([0.2, 0.4, 0.4])
    with pytest.raises(InputError, match="share: weights of a Dirichlet distribution must be above zero"):
        stick_marginals("share", [1.0, 0.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TabulatedSpectrum(energy=[1, 2], dnde=[1]), "energy and dnde must be of one length, got 2 and 1"),
        (lambda: TabulatedSpectrum(energy=[2, 1], dnde=[1, 1]), "energies must be above zero and ascend"),
        (lambda: TabulatedSpectrum(energy=[1, 2], dnde=[1, 0]), "dnde must be above zero"),
        (lambda: LogParabolaSpectrum(pivot=0), "pivot: input should be greater than 0"),
        (lambda: PowerLawSpectrum(indx=2), "indx: unknown setting; the nearest valid one is 'index'"),
        (lambda: TabulatedSpectrum(energy=[3, 30], dnde=[1, 1]).shares(EDGES, np.zeros((1, 0))), "must cover 2 to 20"),
    ],
)
def test_bad_spectra_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_every_component_has_a_family_of_its_own():
    """By its bare name, as a table or as an object; one bin has no spectra."""
    parts = [
        Smooth(name="a", template="isotropic", norm=1.0, spectrum="power-law"),
        Smooth(name="b", template="isotropic", norm=1.0, spectrum={"family": "log-parabola", "curvature": 0.1}),
        PointSources(
            name="c", template="nfw", populations=[{"xi": -10, "flux": (0, 1e-8)}], spectrum=FreeSpectrum(alpha=2)
        ),
    ]
    model = SkyModel(parts, region={"nside": 8}, energy_edges="2:20:3")
    names = model.prior().names
    assert [n for n in names if "spectrum" in n] == [
        "a_spectrum_index", "b_spectrum_index", "c_spectrum_share1", "c_spectrum_share2",
    ]  # fmt: skip
    theta = model.prior().draw(3, np.random.default_rng(1))
    found = model.emission(theta).spectra
    np.testing.assert_allclose(
        found[:, 0], PowerLawSpectrum().shares(model.energy_edges, theta[:, [names.index("a_spectrum_index")]])
    )
    one = SkyModel(parts, region={"nside": 8}, energy_edges="2:20:1")
    assert not any("spectrum" in name for name in one.prior().names)

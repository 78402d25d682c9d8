"""Named quantities: labels, bounds, and the way to the real line and back."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi import InputError
from gcesbi.estimators.neural_posterior_quantities import NEURAL_QUANTITIES, NamedQuantities, scd_moments
from gcesbi.simulation.simulations import Simulations

FLUX_BIN = tuple((-12 + 0.5 * np.arange(6)).tolist())
PARAMETERS = {"norm": (1.0, 3.0), "omega2": (0.0, None), "a": (None, None)}


def quantities(*names, **changes):
    given_ = {
        "template": ("flat", "dots", "disk"),
        "point_source": ("dots", "disk"),
        "n_energy": 4,
        "flux_bin": FLUX_BIN,
        "parameters": PARAMETERS,
    }
    return NamedQuantities(names=names, **(given_ | changes))


ALL = quantities(*NEURAL_QUANTITIES)


def simulations(flux, scd, theta=None):
    n = len(flux)
    theta = np.tile([2.0, 0.3, -1.0], (n, 1)) if theta is None else theta
    return Simulations(theta, np.zeros((n, 4, 1), dtype=np.uint8), flux, scd, np.ones(scd.shape[:2]))


def test_dimensions_are_those_of_free_numbers():
    assert ALL.shapes["spectrum_fraction"] == (3, 4)
    # two free shares; two in each of four bins; three fluxes; two means and widths; three parameters
    assert ALL.n_real == 2 + 8 + 3 + 2 + 2 + 3


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 6.0))
def test_real_numbers_go_to_values_within_bounds_and_back(seed, spread):
    generator = torch.Generator().manual_seed(seed)
    real = spread * torch.randn(7, 5, ALL.n_real, generator=generator, dtype=torch.float64)
    real = real.clamp(-12, 12)
    values = ALL.to_values(real)
    assert {name: tuple(v.shape[2:]) for name, v in values.items()} == ALL.shapes
    assert torch.allclose(values["flux_fraction"].sum(dim=-1), torch.ones(7, 5, dtype=torch.float64))
    assert torch.allclose(values["spectrum_fraction"].sum(dim=-2), torch.ones(7, 5, 4, dtype=torch.float64))
    assert (values["flux_fraction"] > 0).all()
    assert (values["flux"] > 0).all()
    assert (values["scd_width"] > 0).all()
    assert ((values["scd_mean"] >= -12.25) & (values["scd_mean"] <= -9.25)).all()
    norm, omega2, _ = values["theta"].unbind(-1)
    assert ((norm >= 1) & (norm <= 3)).all()
    assert (omega2 > 0).all()
    assert torch.allclose(ALL.to_real(values), real, atol=1e-5)


@pytest.mark.parametrize("name", ["flux", "scd_mean", "scd_width", "theta"])
def test_the_jacobian_is_that_of_automatic_differentiation(name):
    one = quantities(name)
    real = torch.randn(one.n_real, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrix = torch.autograd.functional.jacobian(lambda x: one.to_values(x)[name], real)
    assert float(one.log_jacobian(real)) == pytest.approx(float(torch.linalg.slogdet(matrix)[1]), abs=1e-9)


@pytest.mark.parametrize("name", ["flux_fraction", "spectrum_fraction"])
def test_the_jacobian_of_a_simplex_is_that_of_all_shares_but_the_last(name):
    one = quantities(name)
    real = torch.randn(one.n_real, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    matrix = torch.autograd.functional.jacobian(lambda x: one.to_values(x)[name][:-1].flatten(), real)
    assert float(one.log_jacobian(real)) == pytest.approx(float(torch.linalg.slogdet(matrix)[1]), abs=1e-9)


def test_jacobians_of_several_quantities_add_up():
    real = torch.randn(3, ALL.n_real, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    parts = real.split([quantities(name).n_real for name in ALL.names], dim=-1)
    apart = sum(quantities(name).log_jacobian(part) for name, part in zip(ALL.names, parts, strict=True))
    assert torch.allclose(ALL.log_jacobian(real), apart)


def test_scd_moments_are_those_of_drawn_log_fluxes():
    rng = np.random.default_rng(1)
    pdf = rng.dirichlet(np.ones(6), size=2)
    mean, width = scd_moments(pdf, FLUX_BIN)
    n = 200_000
    for p, m, w in zip(pdf, mean, width, strict=True):
        x = rng.choice(FLUX_BIN, n, p=p) + rng.uniform(-0.25, 0.25, n)
        assert x.mean() == pytest.approx(m, abs=5 * w / np.sqrt(n))  # five standard errors
        assert x.std() == pytest.approx(w, rel=0.02)


def test_labels_are_shares_of_the_flux_moments_and_parameters():
    rng = np.random.default_rng(2)
    flux, scd = rng.uniform(1, 2, (50, 3, 4)), rng.dirichlet(np.ones(6), size=(50, 2))
    labels = ALL.labels(simulations(flux, scd))
    total = flux.sum(axis=2)
    assert np.allclose(labels["flux"], total)
    assert np.allclose(labels["flux_fraction"], total / total.sum(axis=1, keepdims=True))
    assert np.allclose(labels["spectrum_fraction"], flux / flux.sum(axis=1, keepdims=True))
    mean, width = scd_moments(scd, FLUX_BIN)
    assert np.abs(labels["scd_mean"] - mean).max() < 5 * 0.05  # noise of a tenth of a bin
    assert np.abs(np.log(labels["scd_width"] / width)).max() < 5 * 0.1
    assert np.array_equal(labels["theta"], np.tile([2.0, 0.3, -1.0], (50, 1)))


def test_labels_at_the_bounds_are_carried_to_finite_numbers():
    flux = np.zeros((2, 3, 4))
    flux[0, 0] = 1.0  # all flux from one template; then no flux at all
    scd = np.zeros((2, 2, 6))
    scd[:, :, 0] = 1.0  # all in the dimmest bin
    real = ALL.to_real(ALL.labels(simulations(flux, scd)))[0]
    assert torch.isfinite(real).all()
    assert real.abs().max() < 40
    labels = quantities("flux_fraction", "spectrum_fraction").labels(simulations(flux, scd))
    assert np.allclose(labels["flux_fraction"][0], [1, 1e-6, 1e-6], rtol=1e-5)
    assert np.allclose(labels["spectrum_fraction"][1], 1 / 3)


def test_dequantised_moments_do_not_repeat_and_are_the_same_each_time():
    scd = np.zeros((100, 2, 6))
    scd[:, :, 3] = 1.0
    one = quantities("scd_mean", "scd_width")
    labels = one.labels(simulations(np.ones((100, 3, 4)), scd))
    for name, centre in (("scd_mean", -10.5), ("scd_width", 0.5 / np.sqrt(12))):
        assert len(np.unique(labels[name])) == 200
        assert np.median(labels[name]) == pytest.approx(centre, abs=0.03)
        assert np.array_equal(labels[name], one.labels(simulations(np.ones((100, 3, 4)), scd))[name])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: quantities("flux_fractions"), "'flux_fractions' is unknown; the nearest valid one is 'flux_fraction'"),
        (lambda: quantities("scd_men"), "the nearest valid one is 'scd_mean'"),
        (lambda: quantities("zzz"), "'zzz' is unknown; valid ones are flux_fraction, spectrum_fraction"),
        (lambda: quantities(), "quantities: must be distinct, at least one, got ()"),
        (lambda: quantities("flux", "flux"), "quantities: must be distinct"),
        (lambda: quantities("scd_mean", point_source=()), "SCD moments need a point-source template"),
        (lambda: quantities("scd_width", flux_bin=()), "flux_bin: must hold at least 2 bin centres"),
        (lambda: quantities("theta", parameters={}), "parameters: must name the model's parameters"),
        (
            lambda: ALL.labels(simulations(np.ones((2, 3, 4)), np.ones((2, 2, 5)))),
            r"scd: must have shape \(n, 2, 6\), got \(2, 2, 5\)",
        ),
        (
            lambda: quantities("flux").labels(simulations(np.ones((2, 5, 4)), np.ones((2, 2, 6)))),
            r"flux: simulations must give shape \(n, 3\), got \(2, 5\)",
        ),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()

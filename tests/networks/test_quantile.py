import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.errors import InputError
from gcesbi.networks.quantile import QuantileHead, ShareQuantileHead, ramp_basis

FEW = settings(deadline=None, max_examples=25)
LEVELS = torch.linspace(1e-4, 1 - 1e-4, 101)
SEEDS = st.integers(0, 2**31 - 1)


def _random_head(seed: int, scale: float, n_template: int = 2, n_bin: int = 26) -> tuple[QuantileHead, torch.Tensor]:
    """Head with wild weights and buffers, and the CDFs (n, n_level, n_template, n_bin) it answers."""
    torch.manual_seed(seed)
    head = QuantileHead(8, n_template, n_bin)
    torch.nn.init.normal_(head.linear.weight, std=scale)
    torch.nn.init.normal_(head.linear.bias, std=scale)
    head.base_median.normal_(0, 5)
    head.scale_step.uniform_(0, 3)
    return head, head.cdf(head(torch.randn(5, 8)), LEVELS).detach()


@FEW
@given(SEEDS, st.sampled_from([0.1, 1.0, 10.0, 100.0]))
def test_cdf_is_monotone_in_flux_and_level_and_ends_at_one(seed, scale):
    _, cdf = _random_head(seed, scale)
    assert torch.isfinite(cdf).all()
    assert (cdf.diff(dim=3) >= 0).all()  # flux
    assert (cdf.diff(dim=1) >= 0).all()  # t = 1 - τ
    assert (cdf[..., -1] == 1).all()
    assert (cdf >= 0).all()


def test_the_flux_guard_is_needed():
    """Without the maximum over dimmer bins the same coefficients do break monotony, so the property test can fail."""
    head, _ = _random_head(3, 1.0)
    output = head(torch.randn(5, 8))
    raw = output.median[..., None] + torch.matmul(output.step, ramp_basis(LEVELS, head.knots).T)
    assert (raw.diff(dim=2) < 0).any()


@FEW
@given(SEEDS)
def test_cdf_changes_with_level_and_map(seed):
    _, cdf = _random_head(seed, 1.0)
    assert cdf.std(dim=0).max() > 1e-3
    assert cdf.std(dim=1).max() > 1e-3


def test_own_levels_per_map_agree_with_common_levels():
    head, _ = _random_head(1, 1.0)
    output = head(torch.randn(3, 8))
    common = head.cdf(output, LEVELS)
    own = head.cdf(output, LEVELS.expand(3, -1))
    torch.testing.assert_close(own, common)


@FEW
@given(st.floats(0.0005, 0.9995), st.floats(0.0005, 0.9995))
def test_basis_never_falls_and_vanishes_at_one_half(a, b):
    knots = QuantileHead(2, 1, 3).knots
    low, high = sorted((a, b))
    basis = ramp_basis(torch.tensor([low, 0.5, high], dtype=torch.float64), knots.double())
    assert (basis[2] >= basis[0]).all()
    np.testing.assert_allclose(basis[1], 0, atol=1e-7)


def test_basis_with_unit_steps_interpolates_the_knots():
    """Steps equal to the knots' distances, and tails of slope one, give back ln t/(1 - t)."""
    knots = QuantileHead(2, 1, 3).knots.double()
    steps = torch.cat([torch.ones(1), knots.diff(), torch.ones(1)])
    level = torch.linspace(0.001, 0.999, 77, dtype=torch.float64)
    np.testing.assert_allclose(ramp_basis(level, knots) @ steps, torch.logit(level), atol=1e-6)


def _labels(n: int = 4000) -> torch.Tensor:
    pdf = np.random.default_rng(0).dirichlet(np.full(6, 0.5), size=(n, 2))
    return torch.from_numpy(np.cumsum(pdf, axis=-1)).clamp(0, 1)


def test_untrained_quantiles_are_the_labels_own():
    """At the knots the prior is met; weights of size 0.01 are set to zero for the purpose."""
    labels = _labels()
    head = QuantileHead(8, 2, 6)
    head.set_prior(labels)
    torch.nn.init.zeros_(head.linear.weight)
    levels = torch.sigmoid(head.knots)
    cdf = head.cdf(head(torch.randn(1, 8)), levels)[0]
    expected = torch.quantile(labels, levels.double(), dim=0)
    np.testing.assert_allclose(cdf.detach()[..., :-1], expected[..., :-1], atol=0.02)


def test_one_bin_is_refused():
    with pytest.raises(InputError, match="n_bin: must be at least 2, got 1"):
        QuantileHead(8, 1, 1)


def test_a_shares_head_is_one_value_of_a_cdfs():
    """Same weights, same answers: files of the time when a share was a CDF of two bins are those of today's head."""
    head, cdf = _random_head(4, 1.0, n_template=1, n_bin=2)
    share = ShareQuantileHead(8)
    share.load_state_dict(head.state_dict())
    features = torch.randn(5, 8)
    torch.testing.assert_close(
        share.share(share(features), LEVELS), head.cdf(head(features), LEVELS)[:, :, 0, 0], rtol=0, atol=0
    )
    assert cdf.shape[2:] == (1, 2)


def test_an_untrained_shares_head_answers_the_labels_quantiles():
    head, labels = ShareQuantileHead(8), torch.rand(20_000)
    head.set_prior(labels)
    levels = torch.tensor([0.025, 0.25, 0.5, 0.75, 0.975])
    found = head.share(head(torch.zeros(1, 8)), levels).detach()[0]
    torch.testing.assert_close(found, torch.quantile(labels, levels), rtol=0, atol=0.02)

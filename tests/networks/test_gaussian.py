"""Heads of flux fractions: means that are shares, covariances that are regular, and a start from the prior."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.errors import InputError
from gcesbi.networks.gaussian import CholeskyGaussianHead, GaussianHead, LowRankGaussianHead

FEW = settings(deadline=None, max_examples=20)
SEEDS = st.integers(0, 2**31 - 1)
N_TEMPLATE, N_COLUMN = 4, 3
HEADS = {
    "diagonal": lambda: GaussianHead(8, N_TEMPLATE, N_COLUMN),
    "full": lambda: CholeskyGaussianHead(8, N_TEMPLATE, N_COLUMN),
    "low rank": lambda: LowRankGaussianHead(8, N_TEMPLATE, N_COLUMN, 3),
    "as many components as contrasts": lambda: LowRankGaussianHead(8, N_TEMPLATE, N_COLUMN, 9),
}
CORRELATED = [name for name in HEADS if name != "diagonal"]


def _labels(n: int = 3000) -> torch.Tensor:
    """Fractions (n, 4, 3) that go together between columns: each a mixture of a common and an own Dirichlet draw."""
    rng = np.random.default_rng(1)
    common, own = rng.dirichlet(np.full(4, 2.0), size=(n, 1)), rng.dirichlet(np.full(4, 2.0), size=(n, 3))
    return torch.from_numpy(0.7 * common + 0.3 * own).movedim(1, 2).float()


def _covariance(scale: torch.Tensor) -> torch.Tensor:
    flat = scale.flatten(1, 2)
    return flat @ flat.mT


def _wild(name: str, seed: int = 0, std: float = 0.5) -> torch.nn.Module:
    torch.manual_seed(seed)
    head = HEADS[name]()
    head.set_prior(_labels(500))
    torch.nn.init.normal_(head.linear.weight, std=std)
    return head


@pytest.mark.parametrize("name", HEADS)
def test_means_sum_to_one(name):
    mean = _wild(name, std=30)(torch.randn(20, 8)).mean
    np.testing.assert_allclose(mean.sum(1).detach(), 1, atol=1e-5)
    assert mean.shape == (20, 4, 3)
    assert (mean >= 0).all()


def test_diagonal_spreads_are_bounded():
    log_std = _wild("diagonal", std=30)(torch.randn(20, 8)).log_std
    assert log_std.shape == (20, 4, 3)
    assert np.log(3e-4) - 1e-5 <= log_std.min() < log_std.max() <= np.log(0.5) + 1e-5


@pytest.mark.parametrize("name", HEADS)
def test_an_untrained_head_answers_the_labels_mean(name):
    labels = _labels()
    head = HEADS[name]()
    head.set_prior(labels)
    torch.nn.init.zeros_(head.linear.weight)
    np.testing.assert_allclose(head(torch.randn(1, 8)).mean.detach()[0], labels.mean(0), atol=1e-5)


def test_an_untrained_diagonal_head_answers_the_labels_spread():
    labels, head = _labels(), HEADS["diagonal"]()
    head.set_prior(labels)
    torch.nn.init.zeros_(head.linear.weight)
    np.testing.assert_allclose(head(torch.randn(1, 8)).log_std.detach()[0].exp(), labels.std(0), rtol=1e-2)


@pytest.mark.parametrize("name", ["full", "as many components as contrasts"])
def test_an_untrained_head_answers_the_labels_covariance(name):
    """Up to `min_std` squared, which is added to the variances of contrasts."""
    labels, head = _labels(), HEADS[name]()
    head.set_prior(labels)
    torch.nn.init.zeros_(head.linear.weight)
    found = _covariance(head.scale(head(torch.randn(1, 8))))[0].detach()
    expected = np.cov(labels.flatten(1).double().T, bias=True)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_low_rank_keeps_variances_and_leading_correlations():
    labels, head = _labels(), HEADS["low rank"]()
    head.set_prior(labels)
    torch.nn.init.zeros_(head.linear.weight)
    found = _covariance(head.scale(head(torch.randn(1, 8))))[0].detach().numpy()
    expected = np.cov(labels.flatten(1).double().T, bias=True)
    assert np.trace(found) == pytest.approx(np.trace(expected), rel=1e-3)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("name", CORRELATED)
@FEW
@given(seed=SEEDS)
def test_errors_sum_to_zero_and_covariances_of_contrasts_are_regular(name, seed):
    head = _wild(name, seed)
    scale = head.scale(head(torch.randn(3, 8))).detach()
    np.testing.assert_allclose(scale.sum(1), 0, atol=1e-9 * float(scale.abs().max()))
    contrasts = torch.einsum("jt,ntem->njem", head.contrast.double(), scale)
    assert torch.linalg.eigvalsh(_covariance(contrasts)).min() > 0


@pytest.mark.parametrize("name", CORRELATED)
def test_whitening_and_scale_are_of_the_same_covariance(name):
    """-ln of torch's MultivariateNormal of the contrasts is the whitened quadratic form and determinant."""
    head = _wild(name)
    output = head(torch.randn(5, 8))
    deviation = _labels(5) - output.mean
    contrast = head.contrast.double()
    flat = torch.einsum("jt,ntem->njem", contrast, head.scale(output)).flatten(1, 2)
    gaussian = torch.distributions.MultivariateNormal(torch.zeros(9).double(), flat @ flat.mT)
    expected = -gaussian.log_prob(torch.matmul(contrast, deviation.double()).flatten(1))
    whitened = head.whitened(deviation).double()
    if name == "full":
        covariance = torch.linalg.inv(output.factor.mT.double() @ output.factor.double())
    else:
        loadings = output.loadings.double()
        covariance = torch.diag_embed((2 * output.log_std.double()).exp()) + loadings @ loadings.mT
    found = -torch.distributions.MultivariateNormal(torch.zeros(9).double(), covariance).log_prob(whitened)
    np.testing.assert_allclose((found + head.log_det()).detach(), expected.detach(), rtol=1e-3, atol=1e-3)


def test_degenerate_labels_leave_a_smallest_deviation():
    """A template that is never there: no deviation of a contrast, given the ones before it, falls below `min_std`."""
    labels = torch.cat([_labels(), torch.zeros(3000, 1, 3)], dim=1)
    head = CholeskyGaussianHead(8, 5, 3)
    head.set_prior(labels)
    torch.nn.init.normal_(head.linear.weight, std=30)
    output = head(torch.randn(50, 8))
    conditional = head.prior_factor.diagonal() / output.factor.diagonal(dim1=1, dim2=2)
    assert 1e-3 * 0.999 <= conditional.min() < conditional.max() <= 0.5 * 1.001
    assert torch.isfinite(head.scale(output)).all()


@pytest.mark.parametrize("name", HEADS)
def test_heads_answer_in_float32_under_autocast(name):
    with torch.autocast("cpu", torch.bfloat16):
        assert all(part.dtype == torch.float32 for part in HEADS[name]()(torch.randn(2, 8)))


@pytest.mark.parametrize("rank", [0, 10])
def test_a_rank_that_cannot_be_is_refused(rank):
    with pytest.raises(InputError, match=f"rank: must lie between 1 and the number of contrasts 9, got {rank}"):
        LowRankGaussianHead(8, 4, 3, rank)


def test_one_template_has_no_correlated_errors():
    with pytest.raises(InputError, match="n_template: must be at least 2 for correlated errors, got 1"):
        CholeskyGaussianHead(8, 1, 3)

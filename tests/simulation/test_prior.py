"""The prior: one object for torch, sbi and NumPy."""

import numpy as np
import pytest
import torch
from scipy import stats

from gcesbi import InputError
from gcesbi.simulation.marginals import ChiSquared, HalfNormal, LogUniform, Normal, Truncated, Uniform
from gcesbi.simulation.prior import Parameter, Prior
from gcesbi.simulation.stated_marginals import as_marginal

PRIOR = Prior(["u", "n", "c"], [Uniform(-2, 3), Normal(1, 2), ChiSquared(0.25)])
ORACLES = [stats.uniform(-2, 5), stats.norm(1, 2), stats.chi2(1, scale=0.25)]


def test_draws_follow_the_marginals():
    drawn = PRIOR.draw(20_000, np.random.default_rng(1))
    for column, oracle in zip(drawn.T, ORACLES, strict=True):
        assert stats.kstest(column, oracle.cdf).pvalue > 1e-3
    torch.manual_seed(1)
    for column, oracle in zip(PRIOR.sample((20_000,)).double().numpy().T, ORACLES, strict=True):
        assert stats.kstest(column, oracle.cdf).pvalue > 1e-3


def test_log_prob_is_the_sum_of_scipys():
    theta = PRIOR.draw(50, np.random.default_rng(2))
    exact = sum(oracle.logpdf(column) for column, oracle in zip(theta.T, ORACLES, strict=True))
    assert np.allclose(PRIOR.log_prob(torch.as_tensor(theta)).numpy(), exact, rtol=1e-9)


def test_outside_the_support_the_density_vanishes():
    theta = torch.tensor([[4.0, 0.0, 0.1], [0.0, 0.0, -0.1], [0.0, 0.0, 0.1]])
    assert torch.isinf(PRIOR.log_prob(theta)).tolist() == [True, True, False]
    inside = PRIOR.support.check(theta)
    assert inside.reshape(3, -1).all(dim=1).tolist() == [False, False, True]


def test_mean_and_variance_are_scipys():
    assert np.allclose(PRIOR.mean, [oracle.mean() for oracle in ORACLES])
    assert np.allclose(PRIOR.variance, [oracle.var() for oracle in ORACLES])
    assert PRIOR.event_shape == (3,)
    assert PRIOR.sample().shape == (3,)
    assert PRIOR.sample((4, 5)).shape == (4, 5, 3)


def test_from_uniform_inverts_the_distribution_functions():
    u = np.array([0.01, 0.5, 0.999])
    for marginal, oracle in zip(PRIOR.marginals, ORACLES, strict=True):
        assert np.allclose(oracle.cdf(marginal.from_uniform(u)), u)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(1, 1), r"uniform prior: lower must be below upper, got \[1, 1\]"),
        (lambda: Normal(0, 0), "normal prior: scale must be positive"),
        (lambda: ChiSquared(-1), "chi-squared prior: scale must be positive, got -1"),
        (lambda: Prior(["a", "a"], [Uniform(0, 1)] * 2), "one marginal for each distinct name"),
        (lambda: PRIOR.from_uniform(np.zeros(2)), "u: last axis must have 3 entries"),
    ],
)
def test_bad_priors_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


# -- sbi, and people -----------------------------------------------------------------------------------------------


def test_sbi_takes_the_prior_of_any_marginals():
    from sbi.utils.user_input_checks import process_prior

    prior = Prior(
        ["a", "b", "c", "d", "e"],
        [
            Uniform(0, 1),
            Truncated(Normal(0, 1), 0, 2),
            HalfNormal(2.0),
            LogUniform(1e-12, 1e-7),
            as_marginal(torch.distributions.Gamma(2.0, 1.0)),
        ],
    )
    taken, n, numpy_returned = process_prior(prior)
    assert n == 5
    assert not numpy_returned
    drawn = taken.sample((100,))
    assert torch.isfinite(taken.log_prob(drawn)).all()
    assert torch.isinf(taken.log_prob(drawn - 1e3)).all()


def test_a_prior_is_described_as_a_table():
    prior = Prior.of(
        [
            Parameter("gas_norm", Uniform(0.0, 2.0), "counts / pixel", "norm of gas"),
            Parameter("dots_xi", Normal(-11.0, 1.0)),
        ]
    )
    rows = [line.split("  ") for line in prior.describe().splitlines()]
    assert [row[0].strip() for row in rows] == ["parameter", "gas_norm", "dots_xi"]
    assert prior.describe().splitlines()[0].split() == ["parameter", "unit", "prior", "meaning"]
    assert "counts / pixel" in prior.describe()
    assert "[0.0, 2.0]" in prior.describe() or "Uniform(low=0.0, high=2.0)" in prior.describe()

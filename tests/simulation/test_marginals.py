"""Priors of single parameters: against SciPy's distributions and numeric integration, and as text."""

import tomllib

import numpy as np
import pytest
import tomli_w
import torch
from scipy import stats
from torch import distributions as td

from gcesbi import InputError
from gcesbi.simulation.marginals import (
    Beta,
    ChiSquared,
    Fixed,
    HalfNormal,
    LogUniform,
    Normal,
    Truncated,
    Uniform,
)
from gcesbi.simulation.stated_marginals import as_marginal
from gcesbi.simulation.torch_marginals import Tabulated, TorchMarginal, marginal_of

ORACLES = {
    "uniform": (Uniform(-2.0, 5.0), stats.uniform(-2, 7)),
    "log-uniform": (LogUniform(1e-3, 20.0), stats.loguniform(1e-3, 20)),
    "normal": (Normal(1.5, 0.3), stats.norm(1.5, 0.3)),
    "half-normal": (HalfNormal(2.5), stats.halfnorm(scale=2.5)),
    "chi-squared": (ChiSquared(0.25), stats.chi2(1, scale=0.25)),
    "beta": (Beta(0.7, 3.0), stats.beta(0.7, 3.0)),
    "truncated": (Truncated(Normal(1.0, 2.0), 0.0, 4.0), stats.truncnorm(-0.5, 1.5, 1.0, 2.0)),
    "truncated above": (Truncated(HalfNormal(1.0), high=2.0), stats.truncnorm(0, 2)),
    "scaled": (ChiSquared(0.5).scaled(3.0), stats.chi2(1, scale=1.5)),
    "torch, closed form": (as_marginal(td.Gumbel(1.0, 2.0)), stats.gumbel_r(1, 2)),
    "torch, tabulated": (as_marginal(td.Gamma(2.0, 0.5)), stats.gamma(2, scale=2)),
    "torch, integrated": (as_marginal(td.Beta(2.0, 5.0)), stats.beta(2, 5)),
    "torch, of infinite density": (as_marginal(td.Beta(0.5, 0.5)), stats.beta(0.5, 0.5)),
    "torch, heavy tails": (as_marginal(td.StudentT(4.0, 1.0, 2.0)), stats.t(4, 1, 2)),
    "torch, heavier": (as_marginal(td.Cauchy(0.0, 1.0)), stats.cauchy()),
}


@pytest.fixture(params=ORACLES)
def pair(request):
    return ORACLES[request.param]


def test_the_distribution_function_and_its_inverse_are_scipys(pair):
    ours, oracle = pair
    u = np.array([1e-6, 0.003, 0.1, 0.5, 0.77, 0.99, 0.9999])
    x = oracle.ppf(u)
    np.testing.assert_allclose(ours.cdf(x), u, rtol=1e-5, atol=2e-6)
    spread = oracle.ppf(0.84) - oracle.ppf(0.16)
    np.testing.assert_allclose(ours.from_uniform(u)[1:], x[1:], rtol=1e-4, atol=1e-5 * spread)
    assert ours.from_uniform(np.full((2, 3), 0.4)).shape == (2, 3)


def test_the_density_is_the_derivative_and_has_mass_one(pair):
    ours, oracle = pair
    x = oracle.ppf([0.01, 0.2, 0.5, 0.9, 0.999])
    found = ours.log_prob(torch.as_tensor(x)).numpy()
    np.testing.assert_allclose(found, oracle.logpdf(x), rtol=1e-6, atol=1e-6)
    edges = oracle.ppf(np.linspace(0.001, 0.999, 40))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    step = np.diff(edges)[:, None] / 2
    within = torch.as_tensor(edges[:-1, None] + step * (1 + nodes))
    mass = (torch.exp(ours.log_prob(within)).numpy() * step) @ weights
    np.testing.assert_allclose(mass, 0.998 / 39, atol=1e-4)  # of the pole of an infinite density


def test_there_is_no_density_beyond_the_support(pair):
    ours, oracle = pair
    low, high = ours.range
    assert (low, high) == pytest.approx(oracle.support(), rel=1e-6)
    for end, step in ((low, -1.0), (high, 1.0)):
        if np.isfinite(end):
            beyond = torch.tensor([end + step], dtype=torch.float64)
            assert ours.log_prob(beyond).item() == -np.inf
            assert not ours.support.check(beyond).item()
    assert ours.support.check(torch.as_tensor(oracle.ppf([0.01, 0.5, 0.99]))).all()


def test_mean_and_variance_are_scipys(pair):
    ours, oracle = pair
    if not np.isfinite(oracle.mean()):
        pytest.skip("has none")
    mean, variance = ours.moments
    assert mean == pytest.approx(oracle.mean(), rel=2e-3, abs=2e-3 * oracle.std())
    assert variance == pytest.approx(oracle.var(), rel=0.1 if np.isinf(ours.range[1]) else 1e-2)


def test_text_says_the_same(pair):
    ours, _ = pair
    told = tomllib.loads(tomli_w.dumps({"norm": ours.to_data()}))["norm"]
    assert as_marginal(told) == ours


@pytest.mark.parametrize(
    "law",
    [
        td.Normal(0.3, 2.0),
        td.LogNormal(0.0, 0.5),
        td.Exponential(3.0),
        td.Weibull(2.0, 1.5),
        td.Laplace(0.0, 1.0),
        td.HalfNormal(2.0),
        td.Gamma(0.5, 1.0),
        td.Beta(0.5, 0.5),
        td.Chi2(3.0),
        td.Pareto(1.0, 3.0),
    ],
    ids=repr,
)
def test_distributions_of_torch_keep_their_law(law):
    ours, n = as_marginal(law), 4000
    drawn = ours.from_uniform((np.arange(n) + 0.5) / n)
    assert stats.kstest(law.sample((n,)).double().numpy(), ours.cdf).pvalue > 1e-4
    assert np.allclose(ours.cdf(drawn), (np.arange(n) + 0.5) / n, atol=1e-5)
    x = torch.as_tensor(drawn[::100])
    np.testing.assert_allclose(ours.log_prob(x), law.log_prob(x.float()), rtol=1e-4, atol=1e-4)
    assert as_marginal(tomllib.loads(tomli_w.dumps({"p": ours.to_data()}))["p"]) == ours


def test_what_a_user_may_write():
    assert as_marginal(2) == Fixed(2.0)
    assert as_marginal(np.float32(2.5)) == Fixed(2.5)
    assert as_marginal((1, 3)) == as_marginal([1.0, 3.0]) == as_marginal(np.array([1.0, 3.0])) == Uniform(1.0, 3.0)
    assert as_marginal({"prior": "uniform", "low": 1, "high": 3}) == Uniform(1, 3)
    assert as_marginal({"prior": "truncated", "of": {"prior": "half-normal", "scale": 2.0}, "high": 1.0}) == Truncated(
        HalfNormal(2.0), high=1.0
    )
    assert Uniform(1, 3).scaled(1.0) == Uniform(1, 3)
    assert Uniform(1, 3).scaled(2.0) == Uniform(2, 6)
    assert Fixed(3.0).scaled(2.0) == Fixed(6.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3.0, 1.0], r"uniform prior: lower must be below upper, got \[3.0, 1.0\]"),
        ([1.0, 1.0], "uniform prior: lower must be below upper"),
        ([0.0, float("inf")], "uniform prior"),
        ([1.0, 2.0, 3.0], "prior: a range must be two numbers, low and high"),
        (["a", "b"], "prior: a range must be two numbers"),
        ("wide", "prior: must be a number, a range"),
        (True, "prior: must be a number"),
        (float("nan"), "fixed value: must be finite, got nan"),
        ({"prior": "norml", "centre": 0, "scale": 1}, "prior: must be one of .*; the nearest valid one is 'normal'"),
        ({"prior": "normal", "center": 0, "scale": 1}, "normal prior: center is unknown; the nearest .* is 'centre'"),
        ({"prior": "normal", "centre": 0}, "normal prior: needs numbers centre, scale"),
        ({"prior": "normal", "centre": 0, "scale": 0}, "normal prior: scale must be positive"),
        ({"prior": "normal", "centre": "x", "scale": 1}, "normal prior"),
        ({"prior": "half-normal", "scale": -1}, "half-normal prior: scale must be positive"),
        ({"prior": "chi-squared", "scale": 0}, "chi-squared prior: scale must be positive"),
        ({"prior": "beta", "a": 0, "b": 1}, "beta prior: a and b must be positive"),
        ({"prior": "log-uniform", "low": 0, "high": 1}, "log-uniform prior: needs 0 < lower < upper"),
        ({"prior": "truncated", "of": [0, 1], "low": 2, "high": 3}, "truncated prior: has no mass between 2 and 3"),
        ({"prior": "truncated", "of": 3.0, "low": 2}, "truncated prior: needs a prior"),
        ({"prior": "truncated", "of": [0, 1], "low": 3, "high": 2}, "truncated prior: low must be below high"),
        ({"prior": "truncated", "low": 3, "high": 2}, "truncated prior: needs numbers of, low, high"),
        ({"prior": "torch", "distribution": "Gama", "parameters": {}}, "torch.distributions has no 'Gama'"),
        (
            {"prior": "torch", "distribution": "Distribution", "parameters": {}},
            "torch.distributions has no 'Distribution'",
        ),
        (
            {"prior": "torch", "distribution": "Gamma", "parameters": {"rate": 1.0}},
            "prior: torch's Gamma: .*concentration",
        ),
        (
            {"prior": "torch", "distribution": "Gamma", "parameters": {"rate": 1.0, "concentration": -1.0}},
            "prior: torch's Gamma",
        ),
        (td.Normal(torch.zeros(2), 1.0), "torch's Normal must be of single numbers"),
        (td.Dirichlet(torch.ones(3)), "torch's Dirichlet must be of single numbers"),
        (td.Poisson(3.0), "prior: torch's Poisson is not continuous"),
        ({"prior": "tabulated", "value": [0, 1], "share": [0, 0.5]}, "tabulated prior: shares must rise from 0 to 1"),
        ({"prior": "tabulated", "value": [0, 0], "share": [0, 1]}, "tabulated prior: values must ascend"),
        ({"prior": "tabulated", "value": [0, 1, 2], "share": [0, 1]}, "tabulated prior: .* of one length"),
        ({"prior": "tabulated", "value": ["a", 1], "share": [0, 1]}, "tabulated prior: .* lists of numbers"),
    ],
    ids=str,
)
def test_bad_priors_are_refused(value, message):
    with pytest.raises(InputError, match=message):
        as_marginal(value)


def test_a_truncated_prior_in_a_far_tail_is_refused_and_a_thin_one_kept():
    with pytest.raises(InputError, match=r"no mass between 60\.0 and 70\.0"):
        Truncated(Normal(0.0, 1.0), 60.0, 70.0)
    thin = Truncated(Normal(0.0, 1.0), 5.0, 6.0)
    drawn = thin.from_uniform(np.linspace(0, 1, 11))
    assert np.all((drawn >= 5) & (drawn <= 6))
    assert np.all(np.diff(drawn) > 0)


def test_what_is_fixed_has_no_distribution():
    assert np.array_equal(Fixed(3.0).from_uniform(np.array([0.1, 0.9])), [3.0, 3.0])
    assert Fixed(3.0).range == (3.0, 3.0)
    for ask in (lambda: Fixed(3.0).cdf(2.0), lambda: Fixed(3.0).log_prob(torch.zeros(1))):
        with pytest.raises(NotImplementedError):
            ask()


def test_laws_of_torch_are_frozen():
    one = TorchMarginal("Gamma", {"concentration": 2.0, "rate": 1.0})
    assert one == marginal_of(td.Gamma(2.0, 1.0))
    assert hash(one) == hash(marginal_of(td.Gamma(2.0, 1.0)))


MIXTURE = td.MixtureSameFamily(td.Categorical(torch.tensor([0.3, 0.7])), td.Normal(torch.tensor([0.0, 3.0]), 0.5))
SKEWED = td.TransformedDistribution(td.Normal(0.0, 0.5), [td.transforms.ExpTransform()])


@pytest.mark.parametrize("law", [MIXTURE, SKEWED], ids=["mixture", "transformed"])
def test_objects_that_a_name_does_not_tell_become_tables(law):
    ours, n = as_marginal(law), 20_000
    assert isinstance(ours, Tabulated)
    torch.manual_seed(1)
    assert stats.kstest(law.sample((n,)).double().numpy(), ours.cdf).pvalue > 1e-4
    assert as_marginal(tomllib.loads(tomli_w.dumps({"p": ours.to_data()}))["p"]) == ours
    x = torch.as_tensor(ours.from_uniform(np.linspace(0.01, 0.99, 50)))
    np.testing.assert_allclose(ours.log_prob(x), law.log_prob(x.float()), atol=0.06)  # of 1001 rows
    assert torch.isinf(ours.log_prob(torch.tensor([ours.range[1] + 1.0])))

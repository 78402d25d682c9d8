"""The Poisson fraction: a toy whose posterior is known, calibration, flags, storage, and what it refuses.

In the toy the share η is uniform and the SCD's dimmest bin holds x = η + 0.15 g, g standard normal, cut to [0, 1]; so
the posterior of η given an x inside is a normal about x, cut to [0, 1].
"""

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from gcesbi.errors import InputError
from gcesbi.estimators import PoissonFraction, PoissonFractionPosterior, load_poisson_fraction
from gcesbi.estimators.poisson_fraction import brightness
from gcesbi.estimators.source_counts import network_digest
from gcesbi.posterior import Coordinates

NOISE = 0.15
CENTRES = np.array([-13.0, -12.0, -11.0, -10.0, -9.0])
COORDINATES = Coordinates(("gce",), (3.0,), ("gce",), tuple(CENTRES.tolist()))


def _maps(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    share = rng.uniform(size=n)
    dim = np.clip(share + NOISE * rng.normal(size=n), 0, 1)
    return np.stack([dim, dim, (1 + dim) / 2, (1 + dim) / 2, np.ones(n)], axis=1), share


@pytest.fixture(scope="module")
def network():
    network = PoissonFraction(CENTRES, "gce", source_counts="abc")
    network.history = network.fit(*_maps(8000, 1), n_step=700)
    return network


@pytest.mark.parametrize("x", [0.3, 0.5, 0.7])
def test_quantiles_are_those_of_the_known_posterior(network, x):
    """To 0.03: a fifth of the noise."""
    cdf = np.array([[x, x, (1 + x) / 2, (1 + x) / 2, 1]])
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    expected = truncnorm.ppf(levels, -x / NOISE, (1 - x) / NOISE, loc=x, scale=NOISE)
    np.testing.assert_allclose(network.quantiles(cdf, levels)[:, 0], expected, atol=0.03)


def test_coverage_on_fresh_maps(network):
    """Within 4 binomial errors of 2000 maps, and 0.01 for learning."""
    cdf, share = _maps(2000, 2)
    assert (share < network.upper_limit(cdf)).mean() == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 2000) + 0.01)
    low, high = network.quantiles(cdf, [0.16, 0.84])
    inside = ((low < share) & (share < high)).mean()
    assert inside == pytest.approx(0.68, abs=4 * np.sqrt(0.68 * 0.32 / 2000) + 0.01)


def test_the_history_tells_gain_and_coverage(network):
    history = network.history
    assert (history.n_train, history.n_validation) == (7200, 800)
    assert history.validation_loss < 0.6 * history.prior_loss
    assert history.prior_loss == pytest.approx(1 / 12, rel=0.05)  # ∫ of the pinball loss of U(0, 1)
    assert history.coverage_90 == pytest.approx(0.9, abs=0.05)
    assert history.below_95 == pytest.approx(0.95, abs=0.04)
    assert history.to_dict()["n_train"] == 7200


def test_quantiles_never_cross_and_stay_in_range():
    torch.manual_seed(0)
    network = PoissonFraction(CENTRES, "gce")
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=3)
    found = network.quantiles(_maps(50, 3)[0], np.linspace(0.001, 0.999, 99))
    assert (np.diff(found, axis=0) >= 0).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_what_is_excluded_is_what_the_limit_leaves(network):
    cdf = _maps(5, 4)[0]
    np.testing.assert_allclose(network.excluded(cdf, 0.9), 1 - network.quantiles(cdf, 0.9)[0])
    assert (network.upper_limit(cdf, 0.99) > network.upper_limit(cdf, 0.9)).all()


def test_brightness_is_the_flux_weighted_mean_log_flux():
    cdf = np.array([[0.25, 0.25, 0.75, 1.0, 1.0]])
    assert brightness(cdf, CENTRES)[0] == pytest.approx(0.25 * -13 + 0.5 * -11 + 0.25 * -10)


def test_inputs_dimmer_than_99_percent_of_the_training_set_are_flagged(network):
    """One in a hundred of fresh maps: 4 binomial errors of 4000; and the border is the training set's quantile."""
    cdf, _ = _maps(8000, 1)
    border = np.quantile(brightness(cdf[:7200], CENTRES), 0.01)
    assert float(network.dimmest) == pytest.approx(border, abs=1e-9)
    fresh = _maps(4000, 5)[0]
    assert network.extrapolates(fresh).mean() == pytest.approx(0.01, abs=4 * np.sqrt(0.01 / 4000) + 0.005)
    np.testing.assert_array_equal(network.extrapolates(fresh), brightness(fresh, CENTRES) < border)


def test_the_posterior_answers_like_the_network(network):
    cdf = np.array([0.5, 0.5, 0.75, 0.75, 1])
    posterior = PoissonFractionPosterior(network, cdf, COORDINATES)
    assert posterior.names == ("poisson_fraction",)
    levels = [0.16, 0.5, 0.84]
    np.testing.assert_array_equal(
        posterior.quantiles("poisson_fraction", levels), network.quantiles(cdf[None], levels)[:, 0]
    )
    drawn = posterior.sample(4000, seed=1)["poisson_fraction"]
    assert drawn.shape == (4000,)
    share = (drawn < posterior.quantiles("poisson_fraction", 0.3)[0]).mean()
    assert share == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 4000))
    np.testing.assert_array_equal(drawn, posterior.sample(4000, seed=1)["poisson_fraction"])
    assert posterior.to_arviz(10).posterior["poisson_fraction"].shape == (1, 10)


def test_the_statement_gives_both_numbers_and_warns(network):
    usual = PoissonFractionPosterior(network, [0.5, 0.5, 0.75, 0.75, 1], COORDINATES)
    limit = 100 * network.upper_limit(usual.median_cdf)[0]
    told = usual.statement()
    assert f"At 95 % confidence the Poisson share of gce is below {limit:.1f} %" in told
    assert f"at most {100 - limit:.1f} % of its flux can be excluded" in told
    assert "Extrapolation" not in told
    assert not usual.extrapolates
    dim = PoissonFractionPosterior(network, np.ones(5), COORDINATES)
    assert dim.extrapolates == (float(network.dimmest) > -13)
    network_of_bright = PoissonFraction(CENTRES, "gce")
    network_of_bright.dimmest.fill_(-10.0)
    assert (
        "Extrapolation: the median SCD is dimmer than 99 %"
        in PoissonFractionPosterior(network_of_bright, np.ones(5), COORDINATES).statement()
    )


def test_it_comes_back_from_disk(network, toy, tmp_path):
    source_counts = toy.source_counts()
    network.source_counts = network_digest(source_counts)
    path = network.save(tmp_path / "weights" / "poisson_fraction.safetensors", {"seed": 1})
    loaded = load_poisson_fraction(path, source_counts)
    cdf = _maps(20, 6)[0]
    np.testing.assert_array_equal(loaded.quantiles(cdf, [0.1, 0.9]), network.quantiles(cdf, [0.1, 0.9]))
    np.testing.assert_array_equal(loaded.extrapolates(cdf), network.extrapolates(cdf))
    assert loaded.identity() == network.identity()
    assert [file.name for file in path.parent.iterdir()] == ["poisson_fraction.safetensors"]


def test_another_source_count_network_is_refused(network, toy, tmp_path):
    network.source_counts = network_digest(toy.source_counts())
    path = network.save(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="trained behind another source-count network, run `gcesbi poisson-fraction`"):
        load_poisson_fraction(path, toy.source_counts(seed=5))


def test_the_digest_outlives_storage_at_16_bits(toy):
    estimator = toy.source_counts()
    before = network_digest(estimator)
    for value in estimator.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.half())
    assert network_digest(estimator) == before
    assert network_digest(toy.source_counts(seed=9)) != before


@pytest.mark.parametrize("size", [0, 20, -1])
def test_truncated_files_are_refused(network, toy, tmp_path, size):
    path = network.save(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="must be a whole file of such a network"):
        load_poisson_fraction(path, toy.source_counts())


def test_missing_files_and_other_versions_are_refused(network, toy, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="must be a whole file of such a network"):
        load_poisson_fraction(tmp_path / "none", toy.source_counts())
    path = network.save(tmp_path / "a.safetensors")
    monkeypatch.setattr("gcesbi.estimators.files.version", lambda _: "99.0.1")
    with pytest.raises(InputError, match=r"made by gcesbi .*, this is gcesbi 99\.0\.1"):
        load_poisson_fraction(path, toy.source_counts())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: PoissonFraction([[1.0, 2.0]], "gce"),
            r"log_flux: must be a vector of at least 2 bin centres, got shape \(1, 2\)",
        ),
        (lambda p: p.quantiles(np.ones((2, 4)), 0.5), r"cdf: must have shape \(n, 5\), got \(2, 4\)"),
        (lambda p: p.quantiles(np.full((1, 5), 1.5), 0.5), r"cdf: must lie in \[0, 1\], got 1.5 to 1.5"),
        (lambda p: p.quantiles(np.ones((1, 5)), 1.0), "levels: must be"),
        (
            lambda p: PoissonFraction(CENTRES, "gce").fit(np.ones((200, 5)), np.full(200, 2.0)),
            "share: needs one number in",
        ),
        (lambda p: PoissonFraction(CENTRES, "gce").fit(np.ones((50, 5)), np.ones(50)), "share: needs one number in"),
        (lambda p: PoissonFraction(CENTRES, "gce").fit(np.ones((200, 5)), np.ones(199)), "share: needs one number in"),
    ],
)
def test_bad_input_is_refused(network, call, message):
    with pytest.raises(InputError, match=message):
        call(network)

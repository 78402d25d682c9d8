import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators import SourceCountEstimator
from gcesbi.estimators.losses import earth_movers_pinball, stratified_levels

TAUS = np.linspace(0.025, 0.975, 39)


def _loss(cdf, quantiles):
    """Earth mover's pinball loss of quantiles (n_tau, n, n_ps, n_bin), averaged over τ and maps."""
    level = torch.from_numpy(1 - TAUS)[:, None, None]
    return float(earth_movers_pinball(torch.from_numpy(cdf)[None], torch.from_numpy(quantiles), level).mean())


def test_levels_are_stratified_and_fresh():
    torch.manual_seed(0)
    first, second = stratified_levels(500, 8), stratified_levels(500, 8)
    assert first.shape == (500, 8)
    assert torch.equal((first * 8).long(), torch.arange(8).expand(500, -1))
    assert not torch.equal(first, second)
    assert (first[0] * 8 % 1).std() > 0.05  # each stratum has its own draw
    # uniform: 4000 draws, stratified; the mean's Monte Carlo error is below 0.289 / 8 / sqrt(4000), 5 of them
    assert float(first.mean()) == pytest.approx(0.5, abs=5 * 0.289 / 8 / 4000**0.5)


def test_training_beats_the_best_constant_prediction(source_counts, maps):
    truth = np.cumsum(maps.fresh.scd, axis=2)
    constant = np.quantile(np.cumsum(maps.train.scd, axis=2), 1 - TAUS, axis=0)[:, None].repeat(500, axis=1)
    assert _loss(truth, source_counts.quantiles(maps.fresh.counts, TAUS)) < 0.5 * _loss(truth, constant)


def test_an_untrained_estimator_answers_the_prior(toy, maps):
    estimator = toy.source_counts()
    cdf = estimator.targets(maps.train)
    estimator.prepare(torch.from_numpy(maps.train.counts[:500].astype(np.float32)), cdf)
    predicted = estimator.quantiles(maps.fresh.counts[:20], [0.25, 0.5, 0.75])[:, :, 0, toy.dim]
    expected = np.quantile(cdf[:, 0, toy.dim], [0.75, 0.5, 0.25])[:, None]
    assert np.abs(predicted - expected).max() < 0.15  # weights of the untrained head have size 0.01, not zero


def test_the_truth_is_found(source_counts, maps, toy):
    """Bright sources are resolved: the share of the dim ones is known to better than 0.1 for most maps."""
    median = source_counts.quantiles(maps.fresh.counts, 0.5)[0, :, 0]
    truth = np.cumsum(maps.fresh.scd, axis=2)[:, 0]
    assert np.median(np.abs(median[:, toy.dim] - truth[:, toy.dim])) < 0.1
    assert median[:, : toy.dim].max() < 0.05
    assert median[:, toy.bright :].min() > 0.95


@pytest.mark.parametrize("level", [0.5, 0.68, 0.95])
def test_coverage_on_fresh_maps(source_counts, maps, toy, level):
    """Share w of dim sources lies in its band as often as said, up to 4 Monte Carlo errors plus 0.04 for learning."""
    low, high = source_counts.quantiles(maps.fresh.counts, [(1 + level) / 2, (1 - level) / 2])[:, :, 0, toy.dim]
    truth = maps.fresh.scd[:, 0, toy.dim]
    inside = truth[(truth > 1e-5) & (truth < 1 - 1e-5)]
    covered = ((low <= truth) & (truth <= high))[(truth > 1e-5) & (truth < 1 - 1e-5)].mean()
    assert covered == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / len(inside)) + 0.04)


def test_quantiles_are_monotone_and_ordered(source_counts, maps, toy):
    cdf = source_counts.quantiles(maps.fresh.counts, TAUS)
    assert cdf.shape == (39, 500, 1, toy.n_bin)
    assert np.all(np.diff(cdf, axis=3) >= 0)
    assert np.all(np.diff(cdf, axis=0) <= 0)  # τ orders from dim to bright
    assert np.all(cdf[..., -1] == 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint16])
def test_any_integer_type_and_batch_size_gives_the_same(source_counts, maps, dtype):
    counts = maps.fresh.counts[:300].clip(0, 255)
    np.testing.assert_allclose(
        source_counts.quantiles(counts.astype(dtype), 0.3)[:, 7:9],
        source_counts.quantiles(counts[7:9].astype(np.uint16), 0.3),
        atol=1e-5,
    )


def test_samples_share_one_level_and_are_distributed_as_the_quantiles(source_counts, maps):
    counts = maps.fresh.counts[:3]
    samples = source_counts.sample(counts, 4000, seed=3)
    assert samples.shape == (4000, 3, 1, 8)
    ordered = samples[np.lexsort((samples[:, 1, 0, 3], samples[:, 0, 0, 2]))]
    assert np.all(np.diff(ordered[:, 1, 0, 3]) >= 0)
    expected = source_counts.quantiles(counts, [0.75, 0.5, 0.25])
    # 4 x the Monte Carlo error of a median of 4000 draws, in level, is 0.03
    for level, curve in zip((0.25, 0.5, 0.75), expected, strict=True):
        below = source_counts.quantiles(counts, 1 - level + 0.03)[0]
        above = source_counts.quantiles(counts, 1 - level - 0.03)[0]
        found = np.quantile(samples, level, axis=0)
        assert np.all((found >= below - 1e-6) & (found <= above + 1e-6))
        assert np.all((curve >= below) & (curve <= above))
    np.testing.assert_array_equal(samples, source_counts.sample(counts, 4000, seed=3))
    assert not np.array_equal(samples, source_counts.sample(counts, 4000, seed=4))


def test_samples_of_two_templates_have_levels_of_their_own(toy):
    estimator = SourceCountEstimator(toy.region, toy.exposure, ("a", "b"), n_bin=8)
    drawn = estimator.sample(np.ones((1, *toy.exposure.shape), dtype=int), 1000, seed=1)[:, 0]
    assert drawn.shape == (1000, 2, 8)
    assert (np.diff(drawn, axis=-1) >= 0).all()
    assert abs(np.corrcoef(drawn[:, 0, 3], drawn[:, 1, 3])[0, 1]) < 5 / np.sqrt(1000)
    assert np.corrcoef(drawn[:, 0, 3], drawn[:, 0, 4])[0, 1] > 0.9


def test_loss_falls_on_held_out_maps(source_counts):
    losses = source_counts.history.validation_loss
    assert losses[-1] < losses[0]
    assert source_counts.history.n_validation == 600


def test_bad_levels_are_refused(source_counts, maps):
    with pytest.raises(InputError, match=r"levels: must be a vector of numbers in \(0, 1\), got \[1.0\]"):
        source_counts.quantiles(maps.fresh.counts[:1], 1.0)


def test_scd_of_another_shape_is_refused(toy, maps):
    with pytest.raises(InputError, match=r"scd: must have shape \(n, 1, 9\), got \(.*, 1, 8\)"):
        toy.source_counts(n_bin=9).fit(maps.train)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"n_level": 0}, "n_level: must be at least 1, got 0"),
        ({"tail_weight": -1.0}, "tail_weight: must not be negative, got -1.0"),
    ],
)
def test_options_are_checked(toy, option, message):
    with pytest.raises(InputError, match=message):
        toy.source_counts(**option)

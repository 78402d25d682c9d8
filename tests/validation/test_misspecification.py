"""The gate: uniform for maps of the model, closed for others; its MMD is sbi's."""

import numpy as np
import pytest
import torch
from sbi.diagnostics.misspecification import compute_rbf_mmd
from scipy.stats import kstest, rankdata

from gcesbi.errors import InputError
from gcesbi.validation.misspecification import (
    EMBEDDING_STATISTICS,
    EmbeddingReference,
    Gate,
    area_under_curve,
    mmd_of_one,
)

NAMES = ("deviance", "tilt")


def model_maps(rng, n, shift=0.0, tilt=0.0):
    """Covariates c and statistics that depend on them, in mean and width; `shift` and `tilt` are in units of it."""
    c = rng.normal(size=(n, 3))
    width = np.exp(0.4 * c[:, 1])
    deviance = 5 * c[:, 0] + c[:, 1] ** 2 + width * (rng.gumbel(size=n) + shift)
    return c, np.stack([deviance, rng.normal(size=n) + tilt], axis=1)


def gate(n=3000, **options):
    return Gate.fit(*model_maps(np.random.default_rng(0), n), NAMES, (False, True), **options)


def test_p_values_of_fresh_maps_are_uniform_and_the_false_alarm_rate_is_the_stated_one():
    """4,000 maps; 5 % of them below 0.05 within 4 σ of the maps and of the 1,500 that calibrate."""
    p = gate().p_values(*model_maps(np.random.default_rng(1), 4000))
    error = np.sqrt(0.05 * 0.95 * (1 / 4000 + 1 / 1500))
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=4 * error)
    assert kstest(p, "uniform").statistic < 4 * 0.5 * np.sqrt(1 / 4000 + 1 / 1500)


def test_maps_of_another_model_are_found_although_the_statistic_varies_more_over_the_model():
    """A shift of 4 widths of the conditional law is less than one of the statistic's own spread of 5."""
    rng = np.random.default_rng(2)
    null, other = model_maps(rng, 1000), model_maps(rng, 1000, shift=6.0)
    found = gate()
    raw = area_under_curve(null[1][:, 0], other[1][:, 0])
    area = area_under_curve(*(found.largest_score(found.z(*maps)) for maps in (null, other)))
    assert area.low > raw.high
    assert area.value > 0.95


def test_asymmetries_count_on_both_sides_others_on_one():
    rng = np.random.default_rng(3)
    found = gate()
    for changes in ({"tilt": 6.0}, {"tilt": -6.0}, {"shift": 30.0}):
        assert np.mean(found.p_values(*model_maps(rng, 300, **changes)) < 0.01) > 0.9
    assert np.mean(found.p_values(*model_maps(rng, 300, shift=-3.0)) < 0.05) < 0.1


def test_the_verdict_names_the_statistic_and_says_what_to_do():
    found = gate(false_alarm=0.02)
    good = found.verdict([0, 0, 0], [0.5, 0.1])
    assert good.accepted
    assert str(good).startswith("The training model could have produced this map (p = ")
    bad = found.verdict([0, 0, 0], [0.5, -60.0])
    assert not bad.accepted
    assert bad.worst == "tilt"
    assert "tilt is -59.2 standard deviations from like maps" in str(bad)
    assert "Do not trust the posterior." in str(bad)
    assert bad.p_value == pytest.approx(1 / 1501)
    assert bad.to_dict()["statistics"]["tilt"]["value"] == -60.0


def test_there_and_back(tmp_path):
    found = gate()
    np.savez(tmp_path / "gate.npz", **found.arrays())
    with np.load(tmp_path / "gate.npz", allow_pickle=False) as stored:
        again = Gate.from_arrays(dict(stored))
    maps = model_maps(np.random.default_rng(4), 20)
    np.testing.assert_array_equal(found.p_values(*maps), again.p_values(*maps))
    assert again.false_alarm == found.false_alarm
    assert str(again.verdict(maps[0][0], maps[1][0])) == str(found.verdict(maps[0][0], maps[1][0]))


def test_a_gate_whose_spread_has_products_of_covariates_is_read_as_it_was_made():
    """Products with weight zero change nothing: 1, three covariates, then (0,0), (0,1), (0,2), (1,1), (1,2), (2,2)."""
    found = gate()
    older = np.zeros((10, 2))
    older[[0, 1, 2, 3, 4, 7, 9]] = found.spread
    maps = model_maps(np.random.default_rng(9), 20)
    np.testing.assert_allclose(Gate.from_arrays({**found.arrays(), "spread": older}).z(*maps), found.z(*maps))


def test_mmd_is_sbis():
    rng = np.random.default_rng(5)
    reference, maps = rng.normal(size=(60, 4)), rng.normal(size=(3, 4))
    expected = [
        compute_rbf_mmd(torch.as_tensor(each[None]), torch.as_tensor(reference), bandwidth=1.7).item() for each in maps
    ]
    np.testing.assert_allclose(mmd_of_one(maps, reference, 1.7), expected, rtol=1e-9)


def test_embeddings_apart_score_higher_on_all_three():
    """Maps of the model fill two of twelve dimensions; others lie far out in them, or outside them."""
    rng = np.random.default_rng(6)
    plane = np.linalg.qr(rng.normal(size=(12, 2)))[0].T

    def model(n, scale=1.0):
        return scale * rng.normal(size=(n, 2)) @ plane + 0.01 * rng.normal(size=(n, 12))

    reference = EmbeddingReference.fit(model(1000))
    assert reference.axes.shape == (12, 2)
    usual, far = reference.statistics(model(300)), reference.statistics(model(300, 4.0))
    outside = reference.statistics(model(300) + 0.5 * rng.normal(size=(300, 12)))
    assert usual.shape == (300, len(EMBEDDING_STATISTICS))
    assert np.all(np.median(far, axis=0)[:2] > np.median(usual, axis=0)[:2])
    assert outside[:, 2].min() > usual[:, 2].max()
    np.testing.assert_allclose(usual[:, 1].mean() - np.log(2 * np.pi), 1.0, atol=0.3)  # half of χ² of two


def test_area_is_the_mann_whitney_statistic():
    rng = np.random.default_rng(7)
    null, other = rng.normal(size=40), np.round(rng.normal(size=30) + 0.5, 1)
    null = np.round(null, 1)
    ranks = rankdata(np.concatenate([null, other]))[40:]
    expected = (ranks.sum() - 30 * 31 / 2) / (40 * 30)
    found = area_under_curve(null, other)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high


def test_bad_input_is_named():
    c, s = model_maps(np.random.default_rng(8), 500)
    with pytest.raises(InputError, match=r"statistics: must have shape \(500, 3\), got \(500, 2\)"):
        Gate.fit(c, s, ("a", "b", "c"), (False,) * 3)
    with pytest.raises(InputError, match="covariates: a gate needs at least 400 maps, got 300"):
        Gate.fit(c[:300], s[:300], NAMES, (False, True))
    with pytest.raises(InputError, match=r"false_alarm: must lie in \(0.004, 0.5\), got 0.001"):
        Gate.fit(c, s, NAMES, (False, True), false_alarm=0.001)
    with pytest.raises(InputError, match="statistics: must be finite"):
        Gate.fit(c, s * np.nan, NAMES, (False, True))
    with pytest.raises(InputError, match=r"statistics: must have shape \(n, 2\) and covariates \(n, 3\)"):
        gate(500).z(c[:, :2], s)
    with pytest.raises(InputError, match=r"embedding: must have shape \(n, d\), n at least 200, got \(5, 3\)"):
        EmbeddingReference.fit(np.zeros((5, 3)))
    with pytest.raises(InputError, match=r"embedding: must have shape \(n, 3\), got \(1, 2\)"):
        EmbeddingReference.fit(np.random.default_rng(0).normal(size=(200, 3))).statistics(np.zeros((1, 2)))

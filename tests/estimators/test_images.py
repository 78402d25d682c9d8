"""Estimators of images, on pictures whose clumpiness is the share."""

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators import TrainingSettings, load_estimator, read_notes, save_estimator
from gcesbi.estimators.images import (
    ImageNetworkSettings,
    ImageNpe,
    ShareEstimator,
    ShareQuantiles,
    activations,
    joint_fingerprint,
)
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.image import ImageGeometry

REGION = ImageGeometry((12, 12), 1.0).whole()
EXPOSURE = np.full((1, REGION.n_pix), 1e11)
NETWORK = ImageNetworkSettings(widths=(4, 8), n_features=16, scaling="contrast", norm="batch", means=True, penalty=1e-5)
TRAINING = TrainingSettings(
    max_maps=4000, batch_size=32, learning_rate=1e-2, weight_decay=0.0, schedule="two-step", checkpoint_every=20
)


@lru_cache
def images(n, seed):
    """Counts of mean 20 a pixel, up to half of them in seven bright pixels."""
    rng = np.random.default_rng(seed)
    theta = np.column_stack([rng.uniform(size=n), rng.uniform(-1, 1, size=n)])
    bright = rng.random((n, REGION.n_pix)).argsort(axis=1) < 7
    share = theta[:, :1] / 2
    counts = rng.poisson(20 * (1 - share) + 20 * share * bright * REGION.n_pix / 7)[:, None].astype(np.uint16)
    none = np.zeros((n, 1, 1))
    return Simulations(theta, counts, none, none + 1, none[:, :, 0])


@lru_cache
def trained(kind, **settings):
    network = kind(REGION, EXPOSURE, network=NETWORK, fingerprint="sky", seed=1, **dict(settings))
    network.fit(images(1000, 1), TRAINING, images(300, 2))
    return network


def test_the_share_is_learnt_far_better_than_guessed():
    network, fresh = trained(ShareEstimator), images(500, 3)
    error = np.sqrt(np.mean((network.predict(fresh.counts) - fresh.theta[:, 0]) ** 2))
    assert error < 0.1  # a guess has 0.29


def test_halves_see_their_half_alone():
    left = ShareEstimator(REGION, EXPOSURE, part="left", network=NETWORK)
    counts = images(20, 4).counts
    other = counts.reshape(20, 1, 12, 12).copy()
    other[..., 8:] = 0  # two columns beyond its edge are surroundings of those at the edge
    left.embedding.inputs.standardise(torch.from_numpy(counts.astype(np.float32)))
    torch.nn.init.normal_(left.head.linear.weight)
    np.testing.assert_array_equal(left.predict(other.reshape(20, 1, -1)), left.predict(counts))
    assert np.ptp(left.predict(counts)) > 0
    assert left.picture(counts).shape == (20, 1, 12, 6)


def test_predictions_are_divided_so_that_the_largest_is_the_largest_truth():
    network = ShareEstimator(REGION, EXPOSURE, network=NETWORK, seed=3)
    held_out, fresh = images(300, 2).counts, images(100, 5).counts
    torch.nn.init.normal_(network.head.linear.weight, std=0.2)
    before, own = network.predict(fresh), network.predict(held_out)
    truth = 0.95 * own / own.max()
    for _ in range(2):  # the second time as the first
        network.rescale(held_out, truth)
        np.testing.assert_allclose(network.predict(held_out), truth, rtol=1e-6)
        np.testing.assert_allclose(network.predict(fresh), np.minimum(before * 0.95 / own.max(), 1), rtol=1e-6)


def test_a_guess_stays_a_guess():
    network = ShareEstimator(REGION, EXPOSURE, network=NETWORK, seed=3)
    held_out = images(300, 2).counts
    torch.nn.init.zeros_(network.head.linear.weight)
    network.rescale(held_out, np.linspace(0, 1, 300))
    np.testing.assert_allclose(network.predict(held_out), network.predict(held_out)[0])
    assert network.predict(held_out)[0] < 0.9


def test_convolutions_alone_are_penalised_and_in_training_alone():
    network = ShareEstimator(REGION, EXPOSURE, network=replace(NETWORK, penalty=0.5))
    output, targets = torch.tensor([0.5, 0.7]), torch.tensor([0.4, 0.4])
    plain = float(network.loss(output, targets))
    assert plain == pytest.approx((0.01 + 0.09) / 2)
    squares = sum(float(level[0].weight.detach().square().sum()) for level in network.embedding.encoder.levels)
    assert float(network.train().loss(output, targets).detach()) == pytest.approx(plain + 0.5 * squares, rel=1e-5)


@pytest.mark.parametrize("kind", [ShareEstimator, ShareQuantiles, ImageNpe])
def test_networks_are_stored_and_read_again(kind, tmp_path):
    more = {"parameters": {"f_src": (0.0, 1.0), "alpha": (-1.0, 1.0)}} if kind is ImageNpe else {}
    more |= {"part": "top"} if kind is ShareEstimator else {}
    network = kind(REGION, EXPOSURE, network=NETWORK, fingerprint="sky", seed=2, **more)
    save_estimator(network, tmp_path / "network", {"told": 1})
    again = load_estimator(tmp_path / "network", fingerprint="sky")
    assert type(again) is kind
    assert again.identity() == network.identity()
    assert again.region == REGION
    counts = images(20, 4).counts
    for mine, theirs in zip(network.outputs(counts), again.outputs(counts), strict=True):
        pairs = [(mine, theirs)] if isinstance(mine, torch.Tensor) else list(zip(mine, theirs, strict=True))
        for a, b in pairs:
            torch.testing.assert_close(a, b)
    assert read_notes(tmp_path / "network") == {"told": 1}
    with pytest.raises(InputError, match="made for another model; fingerprint: 'sky', now 'other'"):
        load_estimator(tmp_path / "network", fingerprint="other")


def test_quantiles_stored_as_a_cdf_of_two_bins_are_read(tmp_path):
    """Cards of gcesbi 0.1.0 name the bins."""
    network = ShareQuantiles(REGION, EXPOSURE, network=NETWORK, seed=2)
    save_estimator(network, tmp_path / "network")
    card = json.loads((tmp_path / "network.json").read_text())
    card["identity"]["n_bin"] = 2
    del card["checksum"]  # which they had not
    (tmp_path / "network.json").write_text(json.dumps(card))
    counts = images(5, 4).counts
    np.testing.assert_array_equal(
        load_estimator(tmp_path / "network").quantiles(counts, [0.1, 0.9]), network.quantiles(counts, [0.1, 0.9])
    )


@pytest.mark.parametrize("kind", [ShareEstimator, ShareQuantiles])
def test_the_share_is_found_by_its_name(kind):
    network = kind(REGION, EXPOSURE, network=NETWORK, parameters=("alpha", "f_src"))
    maps = images(20, 4)
    np.testing.assert_array_equal(network.targets(maps).numpy(), maps.theta[:, 1])
    with pytest.raises(InputError, match="parameters: must name f_src, got \\('alpha',\\)"):
        kind(REGION, EXPOSURE, network=NETWORK, parameters=("alpha",))


def test_a_training_that_was_killed_ends_with_the_same_weights(tmp_path):
    short = replace(TRAINING, max_maps=1280, validation_share=0.0)
    whole = ShareEstimator(REGION, EXPOSURE, network=NETWORK, seed=5)
    whole.fit(images(640, 1), short)

    class Killed(Exception):
        pass

    class Dying(ShareEstimator):
        steps = 0

        def loss(self, output, targets):
            self.steps += 1
            if self.steps > 30:
                raise Killed
            return super().loss(output, targets)

    with pytest.raises(Killed):
        Dying(REGION, EXPOSURE, network=NETWORK, seed=5).fit(images(640, 1), short, checkpoint=tmp_path / "there")
    resumed = ShareEstimator(REGION, EXPOSURE, network=NETWORK, seed=9)
    resumed.fit(images(640, 1), short, checkpoint=tmp_path / "there")
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_the_two_step_rate_falls_to_a_tenth_for_the_last_third(tmp_path):
    settings = replace(TRAINING, max_maps=1920, warmup=0.1, log_every=1, validation_share=0.0)
    network = ShareEstimator(REGION, EXPOSURE, network=NETWORK)
    network.fit(images(640, 1), settings, log=tmp_path / "log.csv")
    lines = (tmp_path / "log.csv").read_text().splitlines()
    column = lines[0].split(",").index("learning_rate")
    rates = np.array([float(line.split(",")[column]) for line in lines[1:]])
    assert len(rates) == 60
    np.testing.assert_allclose(rates[:5], 1e-2 * np.arange(1, 6) / 6)
    np.testing.assert_allclose(rates[6:39], 1e-2)
    np.testing.assert_allclose(rates[40:], 1e-3)


def test_quantiles_rise_with_their_level_and_hold_what_they_say():
    network, fresh = trained(ShareQuantiles), images(800, 6)
    taus = np.array([0.01, 0.16, 0.5, 0.84, 0.99])
    curves = network.quantiles(fresh.counts, taus)
    assert curves.shape == (5, 800)
    assert np.all(np.diff(curves, axis=0) >= 0)
    assert curves.min() >= 0
    assert curves.max() <= 1
    truth = fresh.theta[:, 0]
    held = np.mean((truth > curves[1]) & (truth < curves[3]))
    # k = 4 Monte Carlo errors, and 0.05 for a training of some seconds
    assert held == pytest.approx(0.68, abs=4 * np.sqrt(0.68 * 0.32 / 800) + 0.05)
    assert np.sqrt(np.mean((curves[2] - truth) ** 2)) < 0.12
    drawn = network.sample(fresh.counts[:5], 400, seed=1)
    assert drawn.shape == (400, 5)
    np.testing.assert_allclose(np.median(drawn, axis=0), curves[2, :5], atol=0.05)


def test_levels_that_lie_are_made_true_on_validation_images():
    network, held_out, fresh = trained(ShareQuantiles), images(1000, 9), images(800, 6)
    taus = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    before = network.quantiles(fresh.counts, taus)
    moved = 0.05 + 0.8 * held_out.theta[:, 0]  # what it was trained on is not the truth any more
    network.calibrate(held_out.counts, moved)
    curves = network.quantiles(fresh.counts, taus)
    assert np.all(np.diff(curves, axis=0) >= 0)
    below = np.mean(0.05 + 0.8 * fresh.theta[:, 0] < curves, axis=1)
    error = np.sqrt(taus * (1 - taus) * (1 / 800 + 1 / 1000))
    np.testing.assert_array_less(np.abs(below - taus), 4 * error + 0.01)  # k = 4, and the grid of levels
    network.calibrate(held_out.counts, held_out.theta[:, 0])
    assert np.abs(network.quantiles(fresh.counts, taus) - before).max() < 0.2
    network.levels.copy_(torch.arange(1, 100) / 100)
    np.testing.assert_allclose(network.quantiles(fresh.counts, taus), before, atol=1e-5)


def test_the_joint_posterior_keeps_to_its_bounds_and_names():
    bounds = {"f_src": (0.0, 1.0), "alpha": (-1.0, 1.0)}
    network = ImageNpe(REGION, EXPOSURE, network=NETWORK, parameters=bounds, hidden=8, n_layer=2, seed=1)
    network.fit(images(1000, 1), replace(TRAINING, max_maps=3000), images(300, 2))
    fresh = images(300, 7)
    drawn = network.sample(fresh.counts, 200, seed=1)["theta"]
    assert network.parameter_names == ("f_src", "alpha")
    assert drawn.shape == (200, 300, 2)
    assert np.all((drawn[..., 0] >= 0) & (drawn[..., 0] <= 1))
    assert np.all(np.abs(drawn[..., 1]) <= 1)
    assert np.sqrt(np.mean((np.median(drawn[..., 0], axis=0) - fresh.theta[:, 0]) ** 2)) < 0.15
    assert drawn[..., 1].std(axis=0).mean() == pytest.approx(2 / np.sqrt(12), abs=0.1)  # nothing is known of it


def test_a_half_sees_the_picture_of_the_whole():
    whole, counts = ShareEstimator(REGION, EXPOSURE, network=NETWORK), images(20, 4).counts
    top = ShareEstimator(REGION, EXPOSURE, part="top", network=NETWORK)
    for network in (whole, top):
        network.embedding.inputs.standardise(torch.from_numpy(counts.astype(np.float32)))
        network.embedding.inputs.spread.fill_(1.0)
    np.testing.assert_allclose(top.picture(counts), whole.picture(counts)[:, :, 6:], rtol=1e-6)


def posterior(bounds):
    """An untrained joint posterior that answers differently from image to image."""
    network = ImageNpe(REGION, EXPOSURE, network=NETWORK, parameters=bounds, hidden=8, n_layer=2, seed=1).eval()
    network.embedding.inputs.standardise(torch.from_numpy(images(300, 2).counts.astype(np.float32)))
    torch.manual_seed(4)
    for name, value in network.head.named_parameters():
        if "weight" in name:
            torch.nn.init.normal_(value, std=0.4)
    return network


def test_samples_are_moved_to_true_levels_in_their_order():
    bounds = {"f_src": (0.0, 1.0), "alpha": (-1.0, 1.0)}
    network, held_out, fresh = posterior(bounds), images(1000, 9), images(800, 6)
    before = network.sample(fresh.counts, 300, seed=1)["theta"]
    network.calibrate(held_out.counts, held_out.theta)
    after = network.sample(fresh.counts, 300, seed=1)["theta"]
    level = np.mean(after < fresh.theta, axis=0)
    spread = np.sqrt(0.25 * (1 / 800 + 1 / 1000))
    for low, high in ((0.16, 0.84), (0.3, 0.7)):
        held = np.mean((level > low) & (level < high), axis=0)
        np.testing.assert_array_less(np.abs(held - (high - low)), 4 * spread + 0.01)  # k = 4, and steps of levels
    assert np.abs(np.mean((np.mean(before < fresh.theta, axis=0) < 0.16), axis=0) - 0.16).max() > 0.05  # it had to move
    for k in range(2):
        assert np.all(np.diff(after[before[:, 0, k].argsort(), 0, k]) >= 0)
    network.levels.copy_(torch.arange(1, 100).expand(2, -1) / 100)
    np.testing.assert_allclose(network.sample(fresh.counts, 300, seed=1)["theta"], before, atol=2e-3)


def test_the_share_at_a_known_slope_is_the_joint_density_along_a_line():
    """Against samples of the joint posterior that happen to lie near the slope."""
    network, counts = posterior({"f_src": (0.0, 1.0), "alpha": (-1.0, 1.0), "gamma": (1.0, 1.3)}), images(2, 8).counts
    taus = np.array([0.16, 0.5, 0.84])
    curves = network.at_slope(counts, taus, 1.1)
    drawn = network.sample(counts, 30_000, seed=2)["theta"]
    for i in range(2):
        near = drawn[np.abs(drawn[:, i, 2] - 1.1) < 0.01, i, 0]
        below = [np.mean(near < value) for value in curves[:, i]]
        assert len(near) > 500
        np.testing.assert_allclose(below, taus, atol=4 * 0.5 / np.sqrt(len(near)) + 0.01)  # k = 4, and the grid


def test_levels_at_a_known_slope_are_made_true():
    network, held_out, fresh = (
        posterior({"f_src": (0.0, 1.0), "gamma": (1.0, 1.3)}),
        images(600, 9),
        images(600, 6),
    )
    network.calibrate_at_slope(held_out.counts, held_out.theta[:, 0], 1.1)
    taus = np.array([0.16, 0.5, 0.84])
    below = np.mean(fresh.theta[:, 0] < network.at_slope(fresh.counts, taus, 1.1), axis=1)
    np.testing.assert_allclose(below, taus, atol=4 * np.sqrt(0.25 * 2 / 600))  # k = 4


def test_a_slope_that_the_posterior_does_not_know_is_refused():
    network = posterior({"f_src": (0.0, 1.0), "gamma": (1.0, 1.3)})
    with pytest.raises(InputError, match=r"gamma: must lie inside the posterior's range \(1.0, 1.3\), got 1.4"):
        network.at_slope(images(2, 8).counts, [0.5], 1.4)
    with pytest.raises(InputError, match=r"gamma: must lie inside the posterior's range \(nan, nan\), got 1.1"):
        posterior({"f_src": (0.0, 1.0), "alpha": (-1.0, 1.0)}).at_slope(images(2, 8).counts, [0.5], 1.1)


def test_activations_are_those_of_the_convolutions():
    network, counts = trained(ShareEstimator), images(4, 8).counts
    levels = activations(network, counts)
    assert [level.shape for level in levels] == [(4, 4, 12, 12), (4, 8, 6, 6)]
    picture = torch.from_numpy(network.picture(counts)).float()
    np.testing.assert_allclose(levels[0], network.embedding.encoder.levels[0](picture).detach(), rtol=1e-5)


def test_other_counts_are_refused():
    network = ShareEstimator(REGION, EXPOSURE, network=NETWORK)
    with pytest.raises(InputError, match=r"counts: must have shape \(n, 1, 144\), as the image_share estimator"):
        network.predict(np.zeros((1, 1, 100)))
    with pytest.raises(InputError, match=r"counts: must have shape \(n, 1, 144\)"):
        network.picture(np.zeros((1, 2, 144)))


def test_an_unknown_schedule_is_refused():
    with pytest.raises(InputError, match="schedule: must be one of one-cycle, two-step, got 'cosine'"):
        TrainingSettings(schedule="cosine")


def test_fingerprints_are_joined_in_any_order():
    assert joint_fingerprint(["a", "b"]) == joint_fingerprint(["b", "a"]) != joint_fingerprint(["a", "c"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty": -1.0}, "penalty: must not be negative, got -1.0"),
        ({"dropout": 1.0}, r"dropout: must lie in \[0, 1\), got 1.0"),
        ({"scaling": "log"}, "scaling: must be one of"),
        ({"rebin": 0}, "rebin: must be at least 1"),
        ({"widths": ()}, "network: needs positive sizes"),
        ({"norm": "layer"}, "norm: must be one of"),
    ],
)
def test_bad_sizes_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ImageNetworkSettings(**settings)


@pytest.mark.parametrize("kind", [ShareEstimator, ShareQuantiles, ImageNpe])
def test_light_is_seen_by_every_kind_and_stored(tmp_path, kind):
    how = {"parameters": {"f_src": (0.0, 1.0), "alpha": (-1.0, 1.0)}} if kind is ImageNpe else {}
    network = kind(REGION, EXPOSURE, network=replace(NETWORK, light=True), n_light=2, **how)
    light = np.random.default_rng(6).normal(size=(2, 1, REGION.n_pix))
    network.see_light(light)
    network.fit(images(300, 1), replace(TRAINING, max_maps=320), images(100, 2))
    save_estimator(network, tmp_path / "w.safetensors")
    again = load_estimator(tmp_path / "w.safetensors")
    assert (again.n_light, again.network.light) == (2, True)
    np.testing.assert_allclose(again.embedding.light.weights.numpy(), light, rtol=1e-6)
    counts = torch.from_numpy(images(8, 3).counts.astype(np.float32))
    with torch.no_grad():
        known, moved = network.embedding(counts), network.embedding(counts + 1)
    assert (known - moved).abs().max() > 1e-3
    with pytest.raises(InputError, match=r"weights: must have shape \(2, 1, 144\), got \(1, 1, 144\)"):
        network.see_light(light[:1])
    with pytest.raises(InputError, match="n_light: must not be negative, got -1"):
        kind(REGION, EXPOSURE, network=NETWORK, n_light=-1, **how)

"""The simulator: seeds, labels, sbi's conventions."""

import numpy as np
import pytest
import torch

from gcesbi import InputError, Region, Simulator
from gcesbi.simulation.simulator import SHARD, smallest_counts

K = 5.0


@pytest.fixture(scope="module")
def sample(simulator):
    return simulator.sample(2 * SHARD, seed=3)


def test_same_seed_same_maps_whatever_the_workers_and_the_number(simulator, sample):
    again = simulator.sample(SHARD + 10, seed=3, workers=2)
    for name in ("theta", "counts", "flux", "scd", "n_sources"):
        assert np.array_equal(getattr(again, name), getattr(sample, name)[: SHARD + 10])
    other = simulator.sample(5, seed=4)
    assert not np.array_equal(other.theta, sample.theta[:5])


def test_labels_have_their_shapes_and_sums(simulator, sample):
    model = simulator.model
    assert sample.counts.shape == (2 * SHARD, 2, model.region.n_pix)
    assert sample.flux_fractions.shape == (2 * SHARD, 6, 2)
    assert np.allclose(sample.flux_fractions.sum(axis=1), 1)
    assert sample.scd.shape == (2 * SHARD, 2, 26)
    assert np.allclose(sample.scd.sum(axis=-1), 1)
    assert (sample.n_sources > 0).all()


def test_flux_labels_are_counts_over_exposure(simulator, sample):
    """The flux of all templates equals counts / exposure, on average over maps, but for leakage at the border."""
    seen = (sample.counts / simulator.model.exposure).sum(axis=-1)
    labelled = sample.flux.sum(axis=1)
    ratio = seen.sum(axis=-1) / labelled.sum(axis=-1)
    assert np.median(ratio) == pytest.approx(1, abs=0.03)


def test_populations_spend_the_prior_flux(simulator, sample):
    """Realised over expected flux of the disk has mean 1: the draw is not biased by re-drawing or truncation."""
    names = simulator.model.prior().names
    asked = sample.theta[:, names.index("disk_flux")]
    ratio = sample.flux[:, 5].sum(axis=-1) / asked
    assert abs(ratio.mean() - 1) < K * ratio.std() / np.sqrt(len(ratio))


def test_sbi_accepts_prior_and_simulator(simulator):
    from sbi.inference import simulate_for_sbi
    from sbi.utils.user_input_checks import check_sbi_inputs, process_prior, process_simulator

    prior, _, returns_numpy = process_prior(simulator.model.prior())
    wrapped = process_simulator(simulator, prior, returns_numpy)
    check_sbi_inputs(wrapped, prior)
    torch.manual_seed(1)
    theta, x = simulate_for_sbi(wrapped, prior, num_simulations=6, show_progress_bar=False)
    assert theta.shape == (6, len(simulator.model.prior().names))
    assert x.shape == (6, 2, simulator.model.region.n_pix)
    torch.manual_seed(1)
    assert torch.equal(simulate_for_sbi(wrapped, prior, num_simulations=6, show_progress_bar=False)[1], x)


def test_masked_pixels_get_no_counts_and_still_leak_in(simulator):
    model = simulator.model
    keep = model.region.pixels[::2]
    theta = model.prior().draw(3, np.random.default_rng(0))
    masked = Simulator(model.with_region(Region(model.region.nside, keep))).draw(theta, np.random.default_rng(1))
    assert masked.counts.shape[-1] == len(keep)
    whole = simulator.draw(theta, np.random.default_rng(1))
    ratio = masked.counts.sum() / whole.counts[..., ::2].sum()
    assert ratio == pytest.approx(1, abs=0.25)


def test_counts_take_the_smallest_type_and_never_wrap():
    for largest, kind in ((255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)):
        kept = smallest_counts(np.array([0, largest], dtype=np.int32))
        assert kept.dtype == kind
        assert kept[1] == largest


def test_wild_corners_give_finite_maps(simulator):
    names = simulator.model.prior().names
    theta = simulator.model.prior().draw(8, np.random.default_rng(0))
    column = names.index
    theta[0, column("disk_omega2")] = 0.0
    theta[1, column("disk_omega2")], theta[1, column("disk_xi")], theta[1, column("disk_a")] = 9.0, -9.0, 12.0
    theta[2, column("disk_omega2")], theta[2, column("disk_a")] = 9.0, -15.0
    theta[3, column("disk_flux")] = 0.0
    theta[4, column("gce1_flux")] = theta[4, column("gce2_flux")] = 0.0
    theta[5, column("disk_spectrum_omega2")] = 0.0
    drawn = simulator.draw(theta, np.random.default_rng(1))
    assert np.isfinite(drawn.flux).all()
    assert np.allclose(drawn.scd.sum(axis=-1), 1)
    assert (drawn.scd >= 0).all()
    assert drawn.counts.max() < 5e6
    assert drawn.flux[3, 5].sum() == 0
    assert drawn.n_sources[4, 0] == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.sample(0), "n: must be at least 1, got 0"),
        (lambda s: s.sample(5, workers=0), "workers: must be at least 1, got 0"),
        (
            lambda s: s.draw(np.zeros((2, 3)), np.random.default_rng(0)),
            r"theta: must have shape \(batch, 34\), got \(2, 3\)",
        ),
        (lambda s: s.draw(np.full((1, 34), np.nan), np.random.default_rng(0)), "theta: must be finite"),
    ],
)
def test_bad_input_is_refused(simulator, call, message):
    with pytest.raises(InputError, match=message):
        call(simulator)

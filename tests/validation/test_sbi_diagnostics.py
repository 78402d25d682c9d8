"""sbi's diagnostics through our adapter: ranks by brute force, bands, what each is blind to."""

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.posterior import Coordinates, SamplePosterior
from gcesbi.validation.sbi_diagnostics import local_c2st, samples_of, sbc, tarp


def test_ranks_are_those_of_brute_force(linear_gaussian):
    p = linear_gaussian(n_map=120, d=3)
    draws = p.samples(49)
    found = sbc(p.truth, draws)
    brute = (draws.astype(np.float32) < p.truth.astype(np.float32)).sum(axis=0)
    assert np.abs(found.ranks - brute).max() <= 1  # single precision, standardised
    assert np.mean(found.ranks != brute) < 0.01


def test_rank_histogram_has_binomial_bands(linear_gaussian):
    p = linear_gaussian(n_map=400, d=2)
    counts, low, high = sbc(p.truth, p.samples(99)).histogram(10)
    assert counts.shape == (2, 10)
    np.testing.assert_array_equal(counts.sum(axis=1), [400, 400])
    assert np.mean((low <= 40) & (high >= 40)) >= 0.8


def test_a_shift_is_told_with_its_side(linear_gaussian):
    p = linear_gaussian(n_map=300, d=4)
    found = sbc(p.truth + 0.2, p.samples(99))
    assert not found.calibrated
    assert found.bias.side(0.0) == 1


def test_tarp_about_far_points_is_blind_to_what_balls_about_the_mean_feel(linear_gaussian):
    narrow = linear_gaussian(0.85)
    assert not tarp(narrow.truth, narrow.samples(200)).calibrated
    assert (
        tarp(narrow.truth, narrow.samples(200), "prior", seed=1).p_value
        > tarp(narrow.truth, narrow.samples(200)).p_value
    )
    exact = linear_gaussian()
    found = tarp(exact.truth, exact.samples(200), "prior", seed=1)
    assert found.calibrated
    assert np.mean((found.low <= found.alphas) & (found.alphas <= found.high)) > 0.8


def test_local_test_finds_the_half_of_the_sky_that_is_wrong(linear_gaussian):
    """Claimed errors are right where the first feature is above zero, and half of the true ones below."""
    p = linear_gaussian(n_map=600, d=3)
    draws = p.samples(60)
    below = p.features[:, 0] < 0
    draws[:, below] = p.mean[below] + 0.5 * (draws[:, below] - p.mean[below])
    side = np.sign(p.features[:, :1])
    at = [int(np.argmax(below)), int(np.argmax(~below))]
    wrong, right = local_c2st(p.truth, draws, side, at, n_null=40).p_values
    assert wrong < 0.05
    assert right > wrong


def test_the_same_seed_gives_the_same_and_torch_keeps_its_own(linear_gaussian):
    import torch

    p = linear_gaussian(n_map=100, d=2)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = tarp(p.truth, p.samples(40), "prior", seed=3)
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(one.coverage, tarp(p.truth, p.samples(40), "prior", seed=3).coverage)


def test_samples_of_the_librarys_posteriors():
    coordinates = Coordinates(("a", "b"), (3.0,), ("b",), (-10.0,))
    posteriors = [SamplePosterior("chain", coordinates, {"flux_fraction": np.full((5, 2), i)}) for i in range(3)]
    draws = samples_of(posteriors, "flux_fraction", 7)
    assert draws.shape == (7, 3, 2)
    np.testing.assert_array_equal(draws[0, :, 0], [0, 1, 2])
    with pytest.raises(InputError, match="posteriors: needs at least one"):
        samples_of([], "flux_fraction")


def test_few_maps_are_marked(linear_gaussian):
    p = linear_gaussian(n_map=40, d=2)
    assert sbc(p.truth, p.samples(50)).few_maps
    assert tarp(p.truth, p.samples(50)).few_maps


def test_bad_input_is_named(linear_gaussian):
    p = linear_gaussian(n_map=30, d=2)
    for test in (sbc, tarp):
        with pytest.raises(InputError, match="samples: must have shape"):
            test(p.truth, p.samples(5)[:, :7])
        with pytest.raises(InputError, match="truth: must be finite"):
            test(p.truth * np.nan, p.samples(5))
    with pytest.raises(InputError, match="references: must be 'mean' or 'prior', got 'box'"):
        tarp(p.truth, p.samples(5), "box")
    with pytest.raises(InputError, match=r"features: must have shape \(30, k\), got \(30,\)"):
        local_c2st(p.truth, p.samples(30), np.zeros(30))
    with pytest.raises(InputError, match="samples: must be at least 20 per map, got 5"):
        local_c2st(p.truth, p.samples(5), np.zeros((30, 1)))


@pytest.mark.parametrize("n_sample", [9, 49])
def test_few_samples_of_many_maps_are_judged_by_their_cells(linear_gaussian, n_sample):
    """2,000 maps of 10 or 50 ranks each: steps of the ranks are no fault, and dispersion is exactly one on average."""
    exact, narrow = (linear_gaussian(factor, n_map=2000, d=4) for factor in (1.0, 0.8))
    assert sbc(exact.truth, exact.samples(n_sample)).calibrated
    assert sbc(narrow.truth, narrow.samples(n_sample)).dispersion.side(1.0) == 1

"""Earth mover's distances against displacements known by construction and scipy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from gcesbi.errors import InputError
from gcesbi.validation import emd, pdf_from_cdf, semd


def histograms(seed, n_map=4, n_bin=26):
    return np.random.default_rng(seed).dirichlet(np.full(n_bin, 0.3), size=n_map)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_emd_is_scipys_wasserstein_distance_and_semd_the_shift_of_the_mean(seed):
    true, predicted = histograms(seed), histograms(seed + 1)
    bins = np.arange(26)
    expected = [wasserstein_distance(bins, bins, a, b) for a, b in zip(true, predicted, strict=True)]
    np.testing.assert_allclose(emd(true, predicted), expected, atol=1e-10)
    np.testing.assert_allclose(semd(true, predicted), (predicted - true) @ bins, atol=1e-10)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_properties(seed):
    true, predicted = histograms(seed), histograms(seed + 1)
    np.testing.assert_allclose(semd(true, predicted), -semd(predicted, true), atol=1e-12)
    assert np.all(np.abs(semd(true, predicted)) <= emd(true, predicted) + 1e-12)
    np.testing.assert_array_equal(semd(true, true), 0)


@pytest.mark.parametrize("shift", [-3, -1, 0, 2, 5])
def test_a_prediction_too_dim_is_negative(shift):
    true = np.zeros((1, 26))
    true[0, 10:13] = 1 / 3
    predicted = np.roll(true, shift, axis=1)
    assert semd(true, predicted)[0] == pytest.approx(shift)
    assert emd(true, predicted)[0] == pytest.approx(abs(shift))


def test_opposite_displacements_cancel_only_in_the_signed_distance():
    true, predicted = np.array([[0, 1.0, 0]]), np.array([[0.5, 0, 0.5]])
    assert semd(true, predicted)[0] == pytest.approx(0)
    assert emd(true, predicted)[0] == pytest.approx(1)


def test_further_axes_are_kept():
    true, predicted = histograms(1, 6).reshape(3, 2, 26), histograms(2, 6).reshape(3, 2, 26)
    np.testing.assert_allclose(
        semd(true, predicted).ravel(), semd(true.reshape(6, 26), predicted.reshape(6, 26)), atol=1e-12
    )


def test_histogram_and_cdf_are_inverse():
    pdf = histograms(3)
    np.testing.assert_allclose(pdf_from_cdf(np.cumsum(pdf, axis=-1)), pdf, atol=1e-12)


@pytest.mark.parametrize("distance", [semd, emd])
@pytest.mark.parametrize(
    ("true", "predicted", "message"),
    [
        ([[0.5, 0.5]], [[0.2, 0.2]], "predicted_pdf: every histogram must sum to 1.*got a sum of 0.4"),
        ([[0.5, 0.6]], [[0.5, 0.5]], "true_pdf: every histogram must sum to 1.*got a sum of 1.1"),
        ([[0.5, 0.5]], [[0.5, 0.2, 0.3]], r"predicted_pdf: must have the shape of true_pdf, \(1, 2\), got \(1, 3\)"),
        ([[np.nan, 0.5]], [[0.5, 0.5]], "true_pdf: must be finite, got 1 NaN or infinite of 2 values"),
        (1.0, 1.0, "true_pdf: must have shape"),
    ],
)
def test_bad_input_is_named(distance, true, predicted, message):
    with pytest.raises(InputError, match=message):
        distance(true, predicted)


def test_a_cdf_with_nan_has_no_histogram():
    with pytest.raises(InputError, match="cdf: must be finite, got 1 NaN"):
        pdf_from_cdf([0.1, np.nan, 1.0])

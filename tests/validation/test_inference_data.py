"""ArviZ in and out, and its own plots of what came out."""

import arviz
import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.stats import kstest, uniform

from gcesbi.errors import InputError
from gcesbi.validation import CalibrationReport, from_arviz, pit_of, to_arviz


def test_there_and_back(linear_gaussian):
    p = linear_gaussian(n_map=50, d=3)
    truth, samples = from_arviz(to_arviz(p.truth, p.samples(20)))
    np.testing.assert_array_equal(truth, p.truth)
    np.testing.assert_array_equal(samples, p.samples(20))


def test_chains_of_another_package_are_joined_and_judged(linear_gaussian):
    p = linear_gaussian(0.8, n_map=300, d=4)
    chains = p.samples(200).reshape(2, 100, 300, 4)
    data = arviz.from_dict(posterior_predictive={"y": chains}, observed_data={"y": p.truth})
    truth, samples = from_arviz(data, "y")
    assert samples.shape == (200, 300, 4)
    assert CalibrationReport.from_samples(truth, samples).judgement == "over-confident"


def test_arviz_draws_them(linear_gaussian):
    p = linear_gaussian(n_map=200, d=2)
    data = to_arviz(p.truth, p.samples(150))
    values = pit_of(data)
    assert values.shape == (200, 2)
    assert kstest(values[:, 0], "uniform").pvalue > 1e-3
    for kind in ("u_value", "p_value"):
        arviz.plot_bpv(data, kind=kind)
    exact = uniform(0, 1)
    bands = {"confidence_bands": "pointwise", "rvs": exact.rvs, "eval_points": np.linspace(0, 1, 50)}
    axes = arviz.plot_ecdf(values[:, 0], cdf=exact.cdf, **bands)
    assert axes.lines
    plt.close("all")


def test_bad_input_is_named():
    data = to_arviz(np.zeros(3), np.zeros((5, 3)))
    with pytest.raises(InputError, match="data: group observed_data must hold 'flux', holds truth"):
        from_arviz(data, "flux")
    with pytest.raises(InputError, match="data: group observed_data must hold 'truth', holds nothing"):
        from_arviz(arviz.from_dict(posterior={"truth": np.zeros((1, 5))}))
    with pytest.raises(InputError, match="samples: must have shape"):
        to_arviz(np.zeros(3), np.zeros((5, 4)))

"""One interface for every method's posterior."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from gcesbi import InputError
from gcesbi.posterior import Coordinates, JointPosterior, PartialPosterior, SamplePosterior

COORDINATES = Coordinates(("a", "b"), (3.0,), ("b",), (-10.0, -9.0))
RNG = np.random.default_rng(0)
SAMPLES = {"flux_fraction": RNG.dirichlet([2, 3], 500), "scd_cdf": np.sort(RNG.random((500, 1, 2)), axis=-1)}


@pytest.fixture
def posterior():
    return SamplePosterior("chain", COORDINATES, SAMPLES)


def test_samples_come_from_the_stored_ones_and_are_seeded(posterior):
    drawn = posterior.sample(100, seed=1)
    assert {tuple(row) for row in drawn["flux_fraction"]} <= {tuple(row) for row in SAMPLES["flux_fraction"]}
    assert np.array_equal(posterior.sample(100, seed=1)["scd_cdf"], drawn["scd_cdf"])
    assert not np.array_equal(posterior.sample(100, seed=2)["scd_cdf"], drawn["scd_cdf"])


def test_quantiles_and_summary_are_those_of_the_samples(posterior):
    found = posterior.quantiles("flux_fraction", [0.1, 0.5])
    assert np.allclose(found, np.quantile(SAMPLES["flux_fraction"], [0.1, 0.5], axis=0))
    told = posterior.summary(0.9)["scd_cdf"]
    assert np.allclose(told["low"], np.quantile(SAMPLES["scd_cdf"], 0.05, axis=0))
    assert told["median"].shape == (1, 2)


def test_arviz_gets_names_axes_and_labels(posterior):
    data = posterior.to_arviz(50, seed=0).posterior
    assert data["flux_fraction"].dims == ("chain", "draw", "template")
    assert data["scd_cdf"].dims == ("chain", "draw", "point_source", "flux_bin")
    assert data["template"].values.tolist() == ["a", "b"]
    assert data.sizes["draw"] == 50


def test_xarray_has_axes_labels_units_and_chains():
    stored = SamplePosterior("chain", COORDINATES, SAMPLES | {"own": RNG.random((500, 3))}, n_chain=5)
    data = stored.to_xarray()
    assert dict(data.sizes) == {
        "chain": 5,
        "draw": 100,
        "template": 2,
        "point_source": 1,
        "flux_bin": 2,
        "own_dim_0": 3,
    }
    np.testing.assert_array_equal(data["flux_fraction"][2, 7], SAMPLES["flux_fraction"][207])
    np.testing.assert_array_equal(
        data["scd_cdf"].sel(point_source="b", flux_bin=-9.0)[4, 99], SAMPLES["scd_cdf"][499, 0, 1]
    )
    assert data.attrs == {"method": "chain"}
    assert data["scd_cdf"].attrs == {"long_name": "cumulative SCD histogram, dim to bright"}
    assert dict(stored.to_xarray(40).sizes)["draw"] == 40
    drawn = stored.to_xarray(40, seed=3)
    np.testing.assert_array_equal(drawn["own"][0], stored.sample(40, seed=3)["own"])


def test_pandas_has_one_row_a_draw_and_one_column_a_number(posterior):
    table = posterior.to_dataframe()
    assert list(table) == ["flux_fraction[a]", "flux_fraction[b]", "scd_cdf[b, -10]", "scd_cdf[b, -9]"]
    assert table.index.names == ["chain", "draw"]
    np.testing.assert_array_equal(table["flux_fraction[b]"], SAMPLES["flux_fraction"][:, 1])
    np.testing.assert_array_equal(table.loc[(0, 12), "scd_cdf[b, -9]"], SAMPLES["scd_cdf"][12, 0, 1])
    scalar = SamplePosterior("x", COORDINATES, {"poisson_fraction": np.arange(4.0)}, n_chain=2).to_dataframe()
    assert scalar.loc[(1, 0), "poisson_fraction"] == 2


def test_arviz_of_either_generation_takes_an_export_and_nothing_warns(posterior, tmp_path):
    """ArviZ 0.23 warns of its next version when first imported on a day: an empty cache makes any day the first."""
    code = (
        "import numpy as np; from gcesbi.posterior import Coordinates, SamplePosterior as S\n"
        "x = np.random.default_rng(0).normal(size=(400, 2))\n"
        "data = S('m', Coordinates(('a', 'b'), (3.0,), ('b',), (-9.0,)), {'flux': x}, n_chain=4).to_arviz()\n"
        "import arviz; print(float(arviz.rhat(data)['flux'].sel(template='a')), type(data).__name__)"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    r_hat, kind = found.stdout.split()
    assert float(r_hat) == pytest.approx(1, abs=0.05)
    assert kind in ("InferenceData", "DataTree")
    assert "Warning" not in found.stderr


def test_a_joint_posterior_asks_the_part_that_knows():
    first = SamplePosterior("one", COORDINATES, {"flux_fraction": SAMPLES["flux_fraction"]})
    second = SamplePosterior("two", COORDINATES, {k: v[::-1] + 0.0 for k, v in SAMPLES.items()})
    joint = JointPosterior("both", [first, second])
    assert set(joint.names) == {"flux_fraction", "scd_cdf"}
    assert np.array_equal(joint.sample(9, 1)["flux_fraction"], first.sample(9, 1)["flux_fraction"])
    assert np.allclose(joint.quantiles("scd_cdf", [0.5]), second.quantiles("scd_cdf", [0.5]))


def test_each_part_is_sampled_once_whatever_it_knows(monkeypatch):
    part, calls = SamplePosterior("one", COORDINATES, SAMPLES), []
    monkeypatch.setattr(
        part, "sample", lambda n, seed: calls.append((n, seed)) or {k: v[:n] for k, v in SAMPLES.items()}
    )
    assert set(JointPosterior("all", [part]).sample(9, 1)) == set(SAMPLES)
    assert calls == [(9, 1)]


def test_a_part_of_a_posterior_is_found_by_name():
    """The other model has the templates in another order, and neither the shape nor the subject."""
    own = Coordinates(("pi", "gce", "disk"), (5.0,), ("gce", "disk"), (-11.0, -10.0), ("gce_gamma",), "gce")
    rng = np.random.default_rng(4)
    samples = {
        "flux": rng.random((50, 3)),
        "n_sources": rng.random((50, 2)),
        "gce_gamma": rng.random(50),
        "poisson_fraction": rng.random(50),
    }
    whole = SamplePosterior("networks", own, samples)
    other = replace(own, template=("disk", "pi"), point_source=("disk",), shape=(), subject="disk")
    part = PartialPosterior("others", whole, other)
    assert part.names == ("flux", "n_sources")
    drawn, all_ = part.sample(9, 2), whole.sample(9, 2)
    np.testing.assert_array_equal(drawn["flux"], all_["flux"][:, [2, 0]])
    np.testing.assert_array_equal(drawn["n_sources"], all_["n_sources"][:, [1]])
    np.testing.assert_array_equal(part.quantiles("flux", [0.5]), whole.quantiles("flux", [0.5])[:, [2, 0]])
    assert part.to_xarray(3).sizes["template"] == 2
    assert PartialPosterior("same", whole, own).names == whole.names
    with pytest.raises(InputError, match="template 'iso' must be one of pi, gce, disk"):
        PartialPosterior("others", whole, replace(own, template=("iso",)))
    with pytest.raises(InputError, match="energy must be the posterior's own"):
        PartialPosterior("others", whole, replace(own, energy=(2.0, 3.0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.quantiles("mass", [0.5]), "quantity: chain knows flux_fraction, scd_cdf, got 'mass'"),
        (lambda p: p.quantiles("scd_cdf", [1.0]), r"levels: must be a vector of numbers in \(0, 1\), got \[1.0\]"),
        (lambda p: p.summary(1.5), "levels: must be"),
        (lambda p: SamplePosterior("x", COORDINATES, {}), "samples: every quantity needs"),
        (lambda p: SamplePosterior("x", COORDINATES, {"a": np.ones(2), "b": np.ones(3)}), "same number of samples"),
        (lambda p: JointPosterior("x", []), "parts: needs at least one posterior"),
    ],
)
def test_bad_questions_are_refused(posterior, call, message):
    with pytest.raises(InputError, match=message):
        call(posterior)


def test_repr_names_method_and_quantities_in_few_lines(posterior):
    told = repr(posterior)
    assert told.startswith("<SamplePosterior by 'chain' of")
    assert "flux_fraction (template)" in told
    many = {f"parameter_{i}": np.zeros(3) for i in range(400)}
    assert len(repr(SamplePosterior("chain", COORDINATES, many)).splitlines()) <= 10

"""Rounds for one map: the box, the runs that are made for it, and where they end."""

import numpy as np
import pytest

from gcesbi import Formula, InputError, PointSources, Simulator, SkyModel, Smooth
from gcesbi.analysis.rounds import infer_in_rounds, posterior_box
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.cli import main as cli
from gcesbi.posterior import Posterior


def sky(**more):
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=(0.5, 20.0)),
            PointSources(
                name="dots",
                template=Formula(formula="nfw", gamma=(0.9, 1.4)),
                populations=[{"xi": (-11, -9), "flux": (0, 1e-7)}],
            ),
        ],
        region={"nside": 8, "radius": 20},
        energy_edges=[2, 20],
        **more,
    )


class Known(Posterior):
    """Fluxes and a slope, uniform between two ends each."""

    def __init__(self, model, **ends):
        self.method, self.coordinates, self.ends = "known", model.coordinates, ends

    @property
    def names(self):
        return tuple(self.ends)

    def sample(self, n, seed=0):
        u = np.random.default_rng(seed).random(n)
        return {k: np.add.outer(u, np.zeros(np.shape(v[0]))) * (v[1] - v[0]) + v[0] for k, v in self.ends.items()}

    def quantiles(self, name, levels, seed=0):
        low, high = (np.asarray(end) for end in self.ends[name])
        return np.stack([low + level * (high - low) for level in levels])


@pytest.fixture(scope="module")
def model():
    return sky()


def test_truncations_cut_priors_and_their_maps(model):
    cut = sky(truncations={"sky_norm": (1.0, 2.0), "dots_gamma": (1.0, 1.1)})
    drawn = dict(zip(cut.prior().names, cut.prior().draw(500, np.random.default_rng(1)).T, strict=True))
    for name, (low, high) in cut.composition.truncations.items():
        assert low <= drawn[name].min()
        assert drawn[name].max() <= high
    assert cut.fingerprint != model.fingerprint
    assert SkyModel.build(cut.composition).fingerprint == cut.fingerprint
    theta = cut.prior().draw(2, np.random.default_rng(2))
    same = [Simulator(each).draw(theta, np.random.default_rng(3)).counts for each in (cut, model)]
    np.testing.assert_array_equal(*same)  # the prior is cut, not the law


@pytest.mark.parametrize(
    ("ends", "rule"),
    [
        ({"sky_nrm": (1, 2)}, "truncations: sky_nrm must be a norm or a shape; the nearest valid one is 'sky_norm'"),
        ({"sky_norm": (30, 40)}, "truncations: sky_norm: truncated prior: has no mass between 30.0 and 40.0"),
    ],
)
def test_truncations_that_fit_nothing_are_refused(ends, rule):
    with pytest.raises(InputError, match=rule):
        sky(truncations=ends)


def test_the_box_holds_the_middle_of_the_posterior_and_no_more_than_the_prior(model):
    per_norm = model.flux_per_norm[0, 0]
    known = Known(model, flux=([5 * per_norm, 0.0], [15 * per_norm, 1e-7]), dots_gamma=(1.0, 2.0))
    box = posterior_box(model, known)
    assert box["sky_norm"] == pytest.approx((5 + 0.0005 * 10, 15 - 0.0005 * 10))
    assert box["dots_gamma"] == pytest.approx((1.0005, 1.4))
    outside = Known(model, flux=([25 * per_norm, 0.0], [30 * per_norm, 1e-7]), dots_gamma=(1.0, 2.0))
    with pytest.raises(InputError, match=r"nothing is left of the prior of sky_norm, 0\.5 to 20: the map lies outside"):
        posterior_box(model, outside)


def test_rounds_look_closer_and_go_on_where_they_were(model, tmp_path):
    changes = ["simulation.n_train=256", "simulation.n_test=100", "training.max_maps=1024", "training.head_maps=0"]
    changes += ["network.widths=[4, 8]", "network.n_features=16"]
    settings = load_settings("test", changes, sky=model.settings)
    run = Run.create(tmp_path / "run", settings, model)
    run.simulate()
    run.train()
    seen, _ = run.simulator.observe(model.prior().draw(1, np.random.default_rng(4))[0], seed=5)
    told = []
    first = infer_in_rounds(run, seen, 1, told=told.append)
    assert [each.number for each in first] == [0, 1]
    assert len(told) == 2
    assert 0 < first[1].share <= 1
    assert first[1].moved > 0
    assert first[1].run.model.composition.truncations == first[1].box
    weights = first[1].run.weights("spectra").read_bytes()
    again = infer_in_rounds(run, seen, 1)
    assert first[1].run.weights("spectra").read_bytes() == weights
    np.testing.assert_array_equal(*(each[1].posterior.quantiles("flux", [0.5]) for each in (first, again)))
    other, _ = run.simulator.observe(model.prior().draw(1, np.random.default_rng(6))[0], seed=7)
    second = infer_in_rounds(run, other, 1)[1].run  # of another map: beside the rounds of the first
    assert second.folder.parent == run.about(other).folder / "rounds"
    assert first[1].run.weights("spectra").read_bytes() == weights
    with pytest.raises(InputError, match="rounds: must be at least 1, got 0"):
        infer_in_rounds(run, seen, 0)


def test_rounds_are_refused_where_the_exposure_is_forced(tmp_path, capsys, monkeypatch):
    (tmp_path / "run.json").touch()
    monkeypatch.setattr("sys.argv", ["gcesbi", "infer", str(tmp_path), "--rounds", "2", "--force"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert "rounds: are for maps of the networks' own exposure, not with --force" in capsys.readouterr().err

"""sbi's density estimators behind the library's networks: what they learn, store and refuse; and sbi by itself."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from gcesbi import InputError, Region, Simulator, SkyModel
from gcesbi.estimators import (
    FmpeEstimator,
    NetworkSettings,
    NpeEstimator,
    SbiPosterior,
    TrainingSettings,
    load_estimator,
    map_embedding,
    save_estimator,
)
from gcesbi.physics.scd import ScdBins
from gcesbi.posterior import Coordinates, Posterior
from gcesbi.report.tables import comparison_table
from gcesbi.simulation.expected import expected_quantities
from gcesbi.simulation.simulations import Simulations

SMALL = NetworkSettings(widths=(8,), n_features=16)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/howto/sbi.md"
REGION = Region.disc(16, 12, min_latitude=0)
FLUX_BIN = tuple((-12 + 0.5 * np.arange(8)).tolist())
COORDINATES = Coordinates(("flat", "dots"), (5.0,), ("dots",), FLUX_BIN)
BOUNDS = {"a": (1.0, 3.0), "b": (1.0, 3.0)}
GRID = 1 + 2 * (np.arange(80) + 0.5) / 80


def draw(n, seed):
    """Maps of a sky with a known posterior: Poisson counts of mean a + b in every pixel, a and b ~ U(1, 3)."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(1, 3, (n, 2))
    counts = rng.poisson(theta.sum(axis=1)[:, None, None], (n, 1, REGION.n_pix)).astype(np.uint16)
    return Simulations(theta, counts, theta[:, :, None], rng.dirichlet(np.ones(8), size=(n, 1)), np.ones((n, 1)))


def exact(counts):
    """Posterior density (80, 80) of (a, b) on the grid, given one map: a function of the total alone."""
    rate = REGION.n_pix * (GRID[:, None] + GRID)
    log_density = counts.sum() * np.log(rate) - rate
    density = np.exp(log_density - log_density.max())
    return density / density.sum() / (2 / 80) ** 2


def make(kind, *quantities, **options):
    known = {
        "point_sources": ("dots",),
        "flux_bin": FLUX_BIN,
        "parameters": BOUNDS,
        "network": SMALL,
        "hidden": 16,
        "n_layer": 2,
        "fingerprint": "toy",
    }
    return kind(REGION, np.ones((1, REGION.n_pix)), ("flat", "dots"), quantities=quantities, **(known | options))


@pytest.fixture(scope="module")
def fresh():
    return draw(200, 2)


@pytest.fixture(scope="module")
def trained():
    """NPE and FMPE of θ = (a, b)."""
    train = draw(4_000, 1)
    settings = TrainingSettings(max_maps=24_000, batch_size=128, learning_rate=5e-3, precision="float32")
    found = {}
    for kind in (NpeEstimator, FmpeEstimator):
        found[kind.kind] = make(kind, "theta")
        found[kind.kind].fit(train, settings)
    return found


@pytest.mark.parametrize("kind", ["npe", "fmpe"])
def test_densities_are_those_of_the_exact_posterior(kind, trained, fresh):
    theta = np.stack(np.meshgrid(GRID, GRID, indexing="ij"), axis=-1).reshape(-1, 2)
    for one in range(3):
        truth = exact(fresh.counts[one])
        maps = np.repeat(fresh.counts[one : one + 1], len(theta), axis=0)
        density = np.exp(trained[kind].log_prob(maps, {"theta": theta})).reshape(80, 80)
        assert density.sum() * (2 / 80) ** 2 == pytest.approx(1.0, abs=0.03)  # a density of (a, b), Jacobian included
        assert 0.5 * np.abs(density - truth).sum() * (2 / 80) ** 2 < 0.25  # total variation distance; 0.7 of the prior


@pytest.mark.parametrize("kind", ["npe", "fmpe"])
def test_samples_are_those_of_the_exact_posterior(kind, trained, fresh):
    drawn = trained[kind].sample(fresh.counts[:20], 500, seed=1)["theta"]
    assert drawn.shape == (500, 20, 2)
    assert ((drawn > 1) & (drawn < 3)).all()
    offsets, ratios, tied = [], [], []
    for one in range(20):
        truth = exact(fresh.counts[one])
        total = GRID[:, None] + GRID
        mean = np.average(total, weights=truth)
        spread = np.sqrt(np.average((total - mean) ** 2, weights=truth))
        found = drawn[:, one].sum(axis=1)
        offsets.append((found.mean() - mean) / spread)
        ratios.append(found.std() / spread)
        tied.append(np.corrcoef(drawn[:, one].T)[0, 1])
    assert np.abs(np.mean(offsets)) < 0.3
    assert np.std(offsets) < 0.5
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.2)
    assert np.mean(tied) < -0.6  # a + b is known better than a or b: only a joint posterior says so


def test_samples_are_functions_of_the_seed_alone(trained, fresh):
    counts = fresh.counts[:3]
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    for estimator in trained.values():
        first, again, other = (estimator.sample(counts, 5, seed)["theta"] for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", ["npe", "fmpe"])
def test_stored_estimators_answer_as_before(kind, trained, fresh, tmp_path):
    path = save_estimator(trained[kind], tmp_path / kind)
    loaded = load_estimator(path, fingerprint="toy")
    assert type(loaded) is type(trained[kind])
    assert loaded.identity() == trained[kind].identity()
    counts = fresh.counts[:2]
    assert np.array_equal(loaded.sample(counts, 4)["theta"], trained[kind].sample(counts, 4)["theta"])


def test_a_training_goes_on_from_its_checkpoint(fresh, tmp_path):
    settings = TrainingSettings(max_maps=512, batch_size=50, precision="float32", checkpoint_every=3)
    path, whole = tmp_path / "checkpoint", make(FmpeEstimator, "flux_fraction")
    whole.fit(fresh, settings)
    broken = make(FmpeEstimator, "flux_fraction")
    loss, calls = broken.loss, []

    def until_killed(output, targets):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return loss(output, targets)

    broken.loss = until_killed
    with pytest.raises(KeyboardInterrupt):
        broken.fit(fresh, settings, checkpoint=path)
    resumed = make(FmpeEstimator, "flux_fraction")
    resumed.fit(fresh, settings, checkpoint=path)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_the_posterior_is_asked_as_every_other(fresh):
    estimator = make(NpeEstimator, "flux_fraction", "scd_mean", "scd_width", "theta")
    posterior = SbiPosterior.of(estimator, fresh.counts[0], COORDINATES, n=64, seed=3)
    assert isinstance(posterior, Posterior)
    assert posterior.method == "NPE"
    assert posterior.names == ("flux_fraction", "scd_mean", "scd_width", "a", "b")
    assert posterior.quantiles("flux_fraction", [0.16, 0.5, 0.84]).shape == (3, 2)
    assert posterior.sample(7)["scd_mean"].shape == (7, 1)
    data = posterior.to_arviz(n=10)
    assert data.posterior["scd_width"].dims == ("chain", "draw", "point_source")
    table = comparison_table({"NPE": posterior}, ScdBins(n_inner=6))
    assert table.columns == ("quantity", "NPE")
    with pytest.raises(InputError, match="quantity: NPE knows flux_fraction, scd_mean"):
        posterior.quantiles("flux", [0.5])


def told(message):
    """A warning of sbi's that is meant for longer runs, or for other data."""
    return pytest.mark.filterwarnings(f"ignore:{message}:UserWarning")


OUTLIERS = told("Data has extreme outliers")  # in pixels with bright sources; x is not z-scored
SHORT = told("Maximum number of epochs")

# -- sbi's own objects ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sky():
    return SkyModel.preset("inner-galaxy", nside=16, n_energy=1, gce_populations=1)


def test_the_posterior_of_sbi_has_the_estimators_density_and_samples(sky):
    counts = Simulator(sky).sample(3, seed=1).counts
    estimator = NpeEstimator.for_model(sky, ("theta",), network=SMALL, hidden=16, n_layer=2)
    posterior = estimator.sbi_posterior(sky.prior())
    theta = sky.prior().draw(3, np.random.default_rng(1))
    for i in range(3):
        x = torch.from_numpy(counts[i].astype(np.float32))
        own = estimator.log_prob(counts[i : i + 1], {"theta": theta[i : i + 1]})
        found = posterior.log_prob(torch.as_tensor(theta[i : i + 1]), x=x, norm_posterior=False)
        assert found.numpy() == pytest.approx(own, rel=1e-4)
    torch.manual_seed(5)
    drawn = posterior.sample((40,), x=x, show_progress_bars=False)
    inside = sky.prior().support.check(drawn)
    assert inside.reshape(40, -1).all()
    assert np.allclose(drawn, estimator.sample(counts[2:], 40, seed=5)["theta"][:, 0], rtol=1e-4)


@told("Number of SBC samples")
def test_sbis_diagnostics_take_it(sky):
    from sbi.diagnostics import run_sbc

    maps = Simulator(sky).sample(10, seed=2)
    estimator = NpeEstimator.for_model(sky, ("theta",), network=SMALL, hidden=16, n_layer=2)
    theta, x = (torch.from_numpy(a.astype(np.float32)) for a in (maps.theta, maps.counts))
    ranks, _ = run_sbc(
        theta, x, estimator.sbi_posterior(sky.prior()), num_posterior_samples=100, show_progress_bar=False
    )
    assert ranks.shape == theta.shape


def test_sbi_takes_prior_and_simulator_unchanged(sky):
    from sbi.inference import simulate_for_sbi
    from sbi.utils.user_input_checks import check_sbi_inputs, process_prior, process_simulator

    prior, n_parameter, is_numpy = process_prior(sky.prior())
    assert prior is sky.prior()
    assert (n_parameter, is_numpy) == (len(sky.prior().names), False)
    simulator = process_simulator(Simulator(sky), prior, is_numpy)
    check_sbi_inputs(simulator, prior)
    theta, x = simulate_for_sbi(simulator, prior, 5, seed=1, show_progress_bar=False)
    assert theta.shape == (5, n_parameter)
    assert x.shape == (5, 1, sky.region.n_pix)


@OUTLIERS
@SHORT
@pytest.mark.parametrize("method", ["NPE", "FMPE"])
def test_sbis_own_trainers_take_the_networks_as_embedding(method, sky):
    import sbi.inference
    from sbi.neural_nets import posterior_flow_nn, posterior_nn

    maps = Simulator(sky).sample(60, seed=3)
    theta, x = (torch.from_numpy(a.astype(np.float32)) for a in (maps.theta, maps.counts))
    embedding = map_embedding(sky, maps.counts, network=SMALL)
    if method == "NPE":
        options = {
            "density_estimator": posterior_nn(
                "nsf", embedding_net=embedding, z_score_x="none", hidden_features=8, num_transforms=2
            )
        }
    else:
        options = {"vf_estimator": posterior_flow_nn(embedding_net=embedding, z_score_x="none", hidden_features=8)}
    trainer = getattr(sbi.inference, method)(prior=sky.prior(), show_progress_bars=False, **options)
    before = embedding.dense[0].weight.clone()
    learnt = trainer.append_simulations(theta, x).train(max_num_epochs=2, training_batch_size=20)
    assert not torch.equal(before, embedding.dense[0].weight)  # trained with the density, not frozen
    features = embedding(x)
    assert features.shape == (60, 16)
    assert torch.isfinite(learnt.loss(theta, x)).all()


def test_expected_quantities_are_the_simulators_expected_labels(sky):
    maps = Simulator(SkyModel.build(sky.settings.model_copy(update={"expected_labels": True}))).sample(10, seed=4)
    found = expected_quantities(sky, maps.theta)
    flux = maps.flux.sum(axis=2)
    assert np.allclose(found["flux"], flux, rtol=1e-6)
    assert np.allclose(found["flux_fraction"], flux / flux.sum(axis=1, keepdims=True), rtol=1e-6)
    assert np.allclose(found["scd_cdf"], np.cumsum(maps.scd, axis=2), atol=5e-3)  # tables of fewer nodes
    assert found["n_sources"].shape == (10, 2)


def test_samples_of_parameters_say_what_is_expected(sky):
    maps = Simulator(sky).sample(1, seed=4)
    estimator = NpeEstimator.for_model(sky, ("theta",), network=SMALL, hidden=16, n_layer=2)
    posterior = SbiPosterior.of(estimator, maps.counts[0], sky.coordinates, n=6, model=sky)
    assert posterior.names == ("flux", "flux_fraction", "scd_cdf", "n_sources", *sky.prior().names)
    theta = np.stack([posterior.samples[name] for name in sky.prior().names], axis=1)
    assert np.array_equal(posterior.samples["scd_cdf"], expected_quantities(sky, theta)["scd_cdf"])
    assert posterior.quantiles("scd_cdf", [0.5]).shape == (1, 2, 26)


@OUTLIERS
@SHORT
def test_the_code_of_the_document_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    assert len(blocks) >= 2
    exec(compile("\n".join(blocks), str(DOCUMENT), "exec"), {})
    assert "torch.Size([1000, 12])" in capsys.readouterr().out


# -- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, m, _: e.sample(m.counts[:1], 0), "n: must be at least 1, got 0"),
        (lambda e, m, _: e.sample(m.counts[:1, :, :2], 5), r"counts: must have shape \(n, 1, "),
        (lambda e, m, _: e.log_prob(m.counts[:2], {"theta": m.theta[:3]}), "values: must hold one for each of 2 maps"),
        (
            lambda e, m, sky: e.sbi_posterior(sky.prior()),
            "prior: must have the estimator's parameters and bounds, a, b, got pi_norm",
        ),
    ],
)
def test_bad_questions_are_refused(call, message, trained, fresh, sky):
    with pytest.raises(InputError, match=message):
        call(trained["npe"], fresh, sky)


def test_bad_estimators_are_refused(sky):
    with pytest.raises(InputError, match="'fluxes' is unknown; the nearest valid one is 'flux'"):
        make(NpeEstimator, "fluxes")
    with pytest.raises(InputError, match="hidden, n_layer: must be at least 1, got 0, 2"):
        make(NpeEstimator, "flux", hidden=0)
    with pytest.raises(InputError, match=r"quantities: must be \('theta',\) for a posterior of sbi, got \('flux',\)"):
        make(NpeEstimator, "flux").sbi_posterior(None)
    with pytest.raises(InputError, match=r"counts: must have shape"):
        map_embedding(sky, np.zeros((2, 3, 5)))

"""Training and inference as steps of a run: which networks, what lies beside their weights, which maps they take."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gcesbi.analysis import evaluate as evaluate_step
from gcesbi.analysis import gate as gate_step
from gcesbi.analysis import infer as infer_step
from gcesbi.analysis import simulate as simulate_step
from gcesbi.analysis import start as start_step
from gcesbi.analysis import train as train_step
from gcesbi.analysis.error_correlations import measure_errors, noted_flux_correlation, relate_fluxes
from gcesbi.analysis.keeping import package_folder
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.start import ENCODER, FINE_TUNED, FROM_SCRATCH, start_from_shipped
from gcesbi.baselines import PoissonFit
from gcesbi.errors import InputError
from gcesbi.estimators import SpectralEstimator, load_estimator, read_notes
from gcesbi.estimators.store import add_notes
from gcesbi.simulation import Simulator, SkyModel
from gcesbi.simulation.torch_maps import StoredMaps

CHANGES = [
    "sky.nside=16",
    "sky.weeks=30",
    "sky.n_energy=1",
    "simulation.n_test=128",
    "simulation.n_train=128",
    "network.widths=[4, 8]",
    "network.n_features=8",
    "training.max_maps=256",
    "training.log_every=1",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose source-count network was trained after its spectral one."""
    settings = load_settings("test", CHANGES)
    run = Run.create(tmp_path_factory.mktemp("steps") / "run", settings, SkyModel.build(settings.sky))
    simulate_step.simulate(run)
    assert set(train_step.train(run, only=["spectra"])) == {"spectra"}
    assert not run.weights("source_counts").exists()
    before = run.weights("spectra").read_bytes()
    assert set(train_step.train(run, only=("source_counts",))) == {"source_counts"}
    assert run.weights("spectra").read_bytes() == before
    return run


def test_weights_log_and_card_lie_side_by_side_and_no_checkpoint(run):
    names = sorted(file.name for file in (run.folder / "weights").iterdir())
    assert names == [f"{kind}.{end}" for kind in ("source_counts", "spectra") for end in ("csv", "json", "safetensors")]
    notes = read_notes(run.weights("spectra"))
    assert notes["seed"] == notes["training"]["seed"] == run.settings.seed
    assert notes["training"]["max_maps"] == notes["history"]["maps"] == 256
    with run.training_log("spectra").open() as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["maps"]) == 256
    assert float(rows[-1]["validation_loss"]) == notes["history"]["validation_loss"][-1]


def test_training_measures_how_errors_of_the_spectra_go_together(run):
    """On fresh maps: in the one bin, errors of the templates sum to zero, and so correlate with −0.2 in the mean."""
    found = run.network("spectra").error_correlation.numpy()
    others = found[~np.eye(len(found), dtype=bool)]
    assert -0.35 < others.mean() < -0.05


def test_scatter_of_samples_is_measured_behind_the_recalibration_and_once(run, monkeypatch):
    """Those of networks of earlier versions too, which know none."""
    assert read_notes(run.weights("spectra"))["samples_measured_with"] == run.settings.simulation.n_calibration
    measured = []
    monkeypatch.setattr("gcesbi.analysis.recalibrate.fit_samples", lambda network, *_: measured.append(network.kind))
    measure_errors(run)
    assert not measured
    card = run.weights("spectra").with_suffix(".json").read_bytes()
    add_notes(run.weights("spectra"), {"samples_measured_with": None})
    measure_errors(run)
    assert measured == ["spectra"]
    assert run.weights("spectra").with_suffix(".json").read_bytes() == card


def test_how_fluxes_go_with_source_counts_is_noted_beside_these_spectra(run, monkeypatch):
    """And measured once; not known with other spectra, or before it is measured."""
    spectra = run.network("spectra")
    (found,) = {len(noted_flux_correlation(run, spectra))}
    assert found == len(run.model.point_sources)
    assert np.all(np.abs(noted_flux_correlation(run, spectra)) < 1)
    monkeypatch.setattr("gcesbi.analysis.error_correlations.flux_correlation", None)
    relate_fluxes(run)
    assert noted_flux_correlation(run, run.network("source_counts")) is None


def test_no_checkpoint_of_either_stage_is_left(tmp_path):
    settings = load_settings("test", [*CHANGES, "training.head_maps=64"])
    run = Run.create(tmp_path / "run", settings, SkyModel.build(settings.sky))
    simulate_step.simulate(run)
    assert train_step.train(run, only=["spectra"])["spectra"].maps == 256 + 64
    assert sorted(file.suffix for file in (run.folder / "weights").iterdir()) == [".csv", ".json", ".safetensors"]


def test_an_unknown_kind_is_refused_before_anything_is_read(run):
    with pytest.raises(InputError, match=r"only: must be among spectra, source_counts.*, got 'spectrum'"):
        train_step.train(run, only=["spectrum"])


def test_validation_figures_are_noted_beside_the_weights(run):
    evaluation = evaluate_step.evaluate(run)
    for kind, figures in evaluation.to_dict().items():
        if run.weights(kind).exists():
            assert read_notes(run.weights(kind))["validation"].keys() == figures.keys()


def test_a_map_of_another_exposure_is_refused_unless_forced(run):
    seen, _ = simulate_step.mock_observation(run)
    other = replace(seen, exposure=1.12 * seen.exposure)
    told = r"exposure must be 0.98 to 1.02 times that of the networks' maps, .*; its mean is 1.12 times, .*; --force"
    with pytest.raises(InputError, match=told):
        infer_step.infer(run, other)
    own, forced = infer_step.infer(run, seen), infer_step.infer(run, other, force=True)
    fluxes = [np.sum(posterior.quantiles("flux", [0.5])) for posterior in (own, forced)]
    assert fluxes[1] == pytest.approx(fluxes[0] / 1.12, rel=0.1)  # same photons from more exposure: less flux
    again = infer_step.infer(run, replace(seen, exposure=1.01 * seen.exposure))
    np.testing.assert_array_equal(again.quantiles("flux_fraction", [0.5]), own.quantiles("flux_fraction", [0.5]))


def test_networks_take_the_exposures_that_they_were_trained_for(tmp_path):
    """Of a sky that draws the scale of its exposure: networks say how far, and refuse what lies beyond."""
    sky = SkyModel.build(load_settings("test", CHANGES).sky).composition.replace(exposure_error=0.05)
    run = Run.create(tmp_path / "run", load_settings("test", CHANGES[3:]), sky=sky)
    simulate_step.simulate(run, backend="threads")
    train_step.train(run)
    networks = Run.open(run.folder).network("spectra"), Run.open(run.folder).network("source_counts")
    assert [each.exposure_range for each in networks] == [pytest.approx((0.85, 1.15))] * 2
    seen, _ = simulate_step.mock_observation(run)
    own = infer_step.infer(run, seen).quantiles("flux", [0.5])
    within = infer_step.infer(run, replace(seen, exposure=1.12 * seen.exposure)).quantiles("flux", [0.5])
    np.testing.assert_array_equal(within, own)  # it was told that the exposure is not known so well
    with pytest.raises(InputError, match=r"exposure must be 0.85 to 1.15 times that of the networks' maps"):
        infer_step.infer(run, replace(seen, exposure=1.2 * seen.exposure))


def test_the_gate_sees_what_networks_see_of_another_exposure(run, monkeypatch):
    seen, _ = simulate_step.mock_observation(run)
    monkeypatch.setattr(gate_step, "stored_gate", lambda _: SimpleNamespace(verdict=lambda counts: counts))
    np.testing.assert_array_equal(gate_step.judge(run, seen), seen.counts)
    longer = replace(seen, exposure=2 * seen.exposure)
    np.testing.assert_allclose(gate_step.judge(run, longer), seen.counts / 2)


def test_a_forced_map_has_the_flux_of_the_fit_at_its_own_exposure(run):
    """`force` scales counts to the networks' exposure, `for_observation` the model to the map's: one total flux."""
    longer = run.model.with_exposure(2 * run.model.exposure)
    seen, truth = Simulator(longer).observe(longer.prior().mean.numpy(), seed=3)
    forced = np.sum(infer_step.infer(run, seen, force=True).quantiles("flux", [0.5]))
    fitted = PoissonFit(run.model.for_observation(seen), seen).run().flux.sum()
    assert [forced, fitted] == pytest.approx([truth.flux.sum()] * 2, rel=0.1)


def test_force_takes_no_other_region_or_energies(run):
    seen, _ = simulate_step.mock_observation(run)
    with pytest.raises(InputError, match="energy edges must be the model's"):
        infer_step.infer(run, replace(seen, energy_edges=seen.energy_edges * 2), force=True)


def test_maps_beyond_the_memory_allowed_are_read_shard_by_shard(run):
    def taken(limit):
        training = replace(run.settings.training, max_memory=limit)
        other = Run(run.folder, run.settings.model_copy(update={"training": training}), run.model)
        return train_step._training_maps(other)

    assert len(taken(1.0).counts) == 128
    stored = taken(1e-6)
    assert isinstance(stored, StoredMaps)
    assert (stored.start, stored.stop) == (128, 256)


def test_a_run_may_train_on_fresh_maps_and_then_stores_only_those_held_out(tmp_path, run):
    settings = load_settings(
        "test", [*CHANGES, "training.source=stream", "training.workers=0", "training.n_validation=50"]
    )
    fresh = Run.create(tmp_path / "run", settings, run.model)
    simulate_step.simulate(fresh)
    assert len(fresh.store) == 128
    history = train_step.train(fresh, only=["spectra"])["spectra"]
    assert (history.n_train, history.most_presentations, history.n_validation) == (256, 1, 50)


def test_networks_start_from_shipped_weights_or_their_encoder(monkeypatch):
    """Of the same templates all weights fit, of others the encoder's; never where random weights are asked for."""
    path = package_folder("default") / "weights" / "spectra.safetensors"
    shipped = load_estimator(path)
    monkeypatch.setattr(start_step, "_shipped_weights", lambda kind: [path])
    maps = SimpleNamespace(counts=np.random.default_rng(0).poisson(2.0, (64, *shipped.exposure.shape)))
    settings = SimpleNamespace(
        training=SimpleNamespace(start="shipped", source="stream"), simulation=SimpleNamespace(n_test=8), seed=1
    )
    run = SimpleNamespace(settings=settings, simulator=SimpleNamespace(sample=lambda n, seed: maps))
    found = {}
    for names in (shipped.names, ("gas", "halo")):
        new = SpectralEstimator(shipped.region, shipped.exposure, names, network=shipped.network)
        found[names] = start_from_shipped(run, new), new.state_dict()
    told, weights = found[shipped.names]
    old = shipped.state_dict()
    assert told == FINE_TUNED
    assert weights["head.linear.weight"].equal(old["head.linear.weight"])
    assert not weights["embedding.inputs.pixel_mean"].equal(old["embedding.inputs.pixel_mean"])
    told, weights = found[("gas", "halo")]
    assert told == ENCODER
    assert weights["embedding.encoder.dense.weight"].equal(old["embedding.encoder.dense.weight"])
    assert not weights["prepared"]
    settings.training.start = "scratch"
    assert start_from_shipped(run, new) == FROM_SCRATCH

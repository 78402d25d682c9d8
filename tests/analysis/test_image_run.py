"""A run on images from settings to an answer, and what it refuses."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from gcesbi.analysis.evaluate import binned_errors, image_networks, learning_curve, not_learnt
from gcesbi.analysis.fit import read_template_fits
from gcesbi.analysis.gate import image_gate
from gcesbi.analysis.image_sets import ImageSets
from gcesbi.analysis.infer_image import _caveats, infer_image
from gcesbi.analysis.presets import preset_names
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.simulate import mock_image
from gcesbi.analysis.train_images import train_images, training_settings
from gcesbi.cli.console import _width
from gcesbi.cli.main import app
from gcesbi.errors import InputError
from gcesbi.estimators.images import ShareEstimator
from gcesbi.evaluation.images import ALL_NETWORKS, SHARES, TAUS, judge
from gcesbi.report.images import answer_table
from gcesbi.report.prior_mark import PRIOR_MARK
from gcesbi.sky.image import ImageGeometry, ImageRegion
from gcesbi.sky.observation import Observation


def test_presets_load_and_the_papers_has_its_images_and_widths():
    names = [name for name in preset_names() if name.startswith("images")]
    assert names == ["images", "images-4gev", "images-paper", "images-test"]
    paper = load_settings("images-paper")
    assert (paper.sky.shape, paper.sky.pixel_size) == ((120, 120), 0.25)
    assert (len(paper.network.widths), min(paper.network.widths), max(paper.network.widths)) == (5, 64, 256)
    assert paper.network.scaling == "maximum"
    for name in names:
        settings = load_settings(name)
        assert settings.training.schedule == ("one-cycle" if name == "images" else "two-step")
        assert settings.training.weight_decay == 0


def test_images_that_are_learnt_from_are_not_held_out(images_run):
    wanted = images_run.settings.simulation
    assert images_run.images.training == ("snr-10-150", "lorimer-4-150")
    assert images_run.images.testing == ("lorimer-10-150",)
    learnt, held_out = images_run.images.learnt(), images_run.images.validation()
    assert len(learnt) == 2 * wanted.n_train
    assert len(held_out) == 2 * wanted.n_validation
    assert len(images_run.images.test("lorimer-10-150", free=True)) == wanted.n_test
    assert not set(learnt.theta[:, 0]) & set(held_out.theta[:, 0])
    first = images_run.images.validation("snr-10-150")
    np.testing.assert_array_equal(first.counts, held_out.counts[: wanted.n_validation])
    np.testing.assert_array_equal(images_run.images.f_src(first), first.theta[:, 0])
    assert first.theta.shape[1] == 2
    assert images_run.images.validation(free=True).theta.shape[1] == 3


def test_models_have_images_of_their_own(images_run):
    shares = [
        images_run.images.store(name, free).read(0, 5).theta[:, 0]
        for name in images_run.images.training
        for free in (0, 1)
    ]
    assert len({float(share[0]) for share in shares}) == 4


def test_networks_may_learn_from_mixtures(tmp_path):
    changes = ["interstellar.mix=true", "simulation.n_train=64", "simulation.n_validation=100"]
    changes += ["interstellar.scatter=0.3", "interstellar.flux_scatter=0.15"]
    run = Run.create(tmp_path / "run", load_settings("images-test", changes))
    sky = run.images.sky_of("mixed", free=True)
    assert (sky.interstellar, sky.mixed, sky.gamma) == ("snr-10-150", ("lorimer-4-150",), (1.0, 1.3))
    assert (sky.scatter, sky.flux_scatter) == (0.3, 0.15)
    assert all(run.images.sky_of(name).scatter == 0 for name in ("snr-10-150", "lorimer-10-150"))
    assert run.images.learning == ("mixed",)
    assert run.images.n_images() == {"mixed": 328, "snr-10-150": 100, "lorimer-4-150": 100, "lorimer-10-150": 128}
    assert run.images.n_images(free=True) == {"mixed": 328, "lorimer-10-150": 128}
    assert run.images.seed("lorimer-10-150") == Run(tmp_path, load_settings("images-test")).images.seed(
        "lorimer-10-150"
    )
    for name in ("mixed", "snr-10-150"):
        run.images.new_store(name).fill(run.images.simulator(name), run.images.n_images()[name])
    held_out, learnt = run.images.validation(), run.images.learnt()
    assert (len(held_out), len(learnt), len(run.images.validation("snr-10-150"))) == (200, 128, 100)
    np.testing.assert_array_equal(learnt.counts, run.images.store("mixed").read(200, 328).counts)
    np.testing.assert_array_equal(held_out.counts, run.images.store("mixed").read(0, 200).counts)
    assert held_out.flux[:, 0].std() > 100 * run.images.validation("snr-10-150").flux[:, 0].std()
    with pytest.raises(InputError, match=r"interstellar: must be one of snr-10-150, .*, mixed, got 'nowhere'"):
        run.images.store("nowhere")


def test_every_network_is_stored_with_its_history(images_run):
    for name in ALL_NETWORKS:
        assert images_run.weights(name).is_file()
        assert images_run.training_log(name).is_file()
        assert not images_run.checkpoint(name).exists()
    assert [images_run.network(name).part for name in SHARES] == list(SHARES)


def test_the_joint_posterior_alone_is_trained_in_its_own_way(tmp_path):
    run = Run(tmp_path, load_settings("images-test", ["joint.max_maps=1500"], seed=4))
    told = {name: training_settings(run, name) for name in ALL_NETWORKS}
    assert {name: each.max_maps for name, each in told.items()} == dict.fromkeys(ALL_NETWORKS, 1248) | {"npe": 1500}
    assert {each.schedule for name, each in told.items() if name != "npe"} == {"two-step"}
    assert told["npe"].schedule == "one-cycle"
    assert {each.seed for each in told.values()} == {4}
    shorter = Run(tmp_path, load_settings("images-test", ["joint.schedule='two-step'"], seed=4))
    assert training_settings(shorter, "npe") == training_settings(shorter, "full")


def test_networks_may_start_from_that_of_the_full_image(images_run, tmp_path):
    changes = ["training.start='full'", "training.max_maps=640", "network.pooled=true"]
    run = Run.create(tmp_path / "run", load_settings("images-test", changes, seed=images_run.settings.seed))
    shutil.copytree(images_run.folder / "simulations", run.folder / "simulations")
    told = {name: training_settings(run, name) for name in ALL_NETWORKS}
    assert {name: each.max_maps for name, each in told.items()} == dict.fromkeys(ALL_NETWORKS, 80) | {
        "full": 640,
        "npe": 640,
    }
    assert told["left"].learning_rate == told["full"].learning_rate / 4 == told["npe"].learning_rate / 4
    with pytest.raises(InputError, match=r"full\.safetensors"):
        run.train(["left"])
    run.train(["full", "left"])
    filters = [run.network(n).embedding.encoder.levels[0][0].weight.detach().numpy().ravel() for n in ("full", "left")]
    assert np.corrcoef(*filters)[0, 1] > 0.7  # other seeds of the halves would share nothing


def test_predictions_are_those_of_the_networks_and_their_means(images_run):
    counts = images_run.images.test("lorimer-10-150").counts[:7]
    found = image_networks(images_run).predict(counts)
    assert list(found) == [*SHARES, "halves", "all"]
    np.testing.assert_array_equal(found["left"], images_run.network("left").predict(counts))
    np.testing.assert_allclose(found["halves"], np.mean([found[name] for name in SHARES[1:]], axis=0))
    np.testing.assert_allclose(found["all"], np.mean([found[name] for name in SHARES], axis=0))


def test_predictions_stay_in_the_range_of_validation_images(images_run):
    held_out = images_run.images.validation()
    found, truth = image_networks(images_run).predict(held_out.counts), images_run.images.f_src(held_out)
    for name in SHARES:
        assert found[name].max() <= truth.max() + 1e-6
        assert np.sqrt(np.mean((found[name] - truth) ** 2)) < 1.2 * truth.std()  # no worse than a guess, nearly


def test_errors_and_evaluation_are_those_of_the_images(images_run):
    held_out = images_run.images.validation()
    missed = np.abs(image_networks(images_run).predict(held_out.counts)["full"] - images_run.images.f_src(held_out))
    errors = binned_errors(images_run)
    assert set(errors) == {*SHARES, "halves", "all"}
    assert np.nanmax(errors["full"].errors[3]) == pytest.approx(missed.max())
    told = images_run.read_json("evaluation.json")
    assert set(told["fixed"]) == {"validation", "lorimer-10-150"}
    beside = {"prior", "ridge"}
    assert set(told["free"]["lorimer-10-150"]) == {*errors, "quantiles", "npe", *beside}
    assert set(told["fixed"]["lorimer-10-150"]) == {*errors, "quantiles", "npe", "npe_slope", *beside}
    for free, name in ((True, "npe"), (False, "npe_slope"), (False, "quantiles")):  # levels made true on these images
        judged = told["free" if free else "fixed"]["validation"][name]
        assert judged["coverage_68"] == pytest.approx(0.68, abs=0.06)
    assert told["fixed"]["validation"]["full"]["rmse"] == pytest.approx(np.sqrt(np.mean(missed**2)))
    # the bins' 68.27 % of the very images that they were measured on
    assert told["fixed"]["validation"]["full"]["coverage_68"] == pytest.approx(0.68, abs=0.06)


def test_the_learning_curve_ends_at_the_full_network(images_run):
    curve = learning_curve(images_run)
    assert curve.n_train == (156, 312)
    assert set(curve.rmse) == {"validation", "lorimer-10-150"}
    full = images_run.read_json("evaluation.json")["fixed"]["validation"]["full"]["rmse"]
    assert curve.rmse["validation"][-1] == pytest.approx(full)


def test_an_answer_holds_all_methods_and_caveats(images_run):
    seen, truth = mock_image(images_run)
    assert set(truth) == {"f_src", "alpha"}
    answer = infer_image(images_run, seen)
    assert set(answer.f_src) == {*SHARES, "halves", "all"}
    assert list(answer.quantiles) == sorted(answer.quantiles)
    assert set(answer.posterior) == {"f_src", "alpha", "gamma"}
    assert 1.0 <= answer.posterior["gamma"][0] <= answer.posterior["gamma"][-1] <= 1.3
    assert answer.photons == seen.counts.sum()
    assert answer.photons_known[0] < answer.photons_known[1]
    assert len(answer.caveats) == len(not_learnt(images_run)) + 4
    assert json.loads(json.dumps(answer.to_dict()))["f_src"]["full"]["prediction"] == answer.f_src["full"].prediction
    assert list(answer.at_slope) == sorted(answer.at_slope)
    table = answer_table(answer)
    assert len(table.rows) == 7 + 3 + 2
    assert _width([table.columns, *table.rows]) <= 80
    assert any(PRIOR_MARK in row[1] for row in table.rows)


def test_an_image_unlike_all_others_is_told(images_run):
    seen, _ = images_run.images.simulator("snr-10-150").observe(np.array([0.5, 0.0]), seed=2)
    assert infer_image(images_run, seen).p_value > 0.01
    counts = seen.counts.copy()
    counts[0, :40] *= 5
    answer = infer_image(images_run, replace(seen, counts=counts))
    assert answer.p_value < 0.01
    assert any("No model produces images like this one" in each for each in answer.caveats)


def test_images_of_an_unseen_interstellar_model_pass_the_gate(images_run):
    p = image_gate(images_run).p_values(images_run.images.test("lorimer-10-150").counts)
    assert p.min() > 0
    assert np.mean(p < 0.01) < 0.08
    assert image_gate(images_run).p_values(images_run.images.validation().counts).mean() == pytest.approx(0.5, abs=0.08)


def test_the_excess_of_a_map_of_ones_own_is_told(tmp_path):
    trained = "interstellar.training=['snr-10-150', '/nowhere/mine.fits']"
    told = _caveats(Run(tmp_path, load_settings("images-test", [trained])))
    assert told[-1] == "No excess was fitted beside mine: it has that of snr-10-150; sky.flux states another."
    stated = _caveats(Run(tmp_path, load_settings("images-test", [trained, "sky.flux=1e-7"])))
    assert "1.0e-07 photons" in stated[-1]
    assert len(stated) == len(told) - 1


def test_judging_finds_bias_and_overconfidence():
    rng = np.random.default_rng(2)
    mean = rng.uniform(0.3, 0.7, 2000)
    truth = mean + 0.05 * rng.normal(size=2000)
    from scipy.stats import norm

    curves = mean + 0.05 * norm.ppf(TAUS)[:, None]
    assert judge(truth, curves, TAUS, "exact")["judgement"] == "calibrated"
    assert judge(truth, curves, TAUS, "exact")["rmse"] == pytest.approx(0.05, rel=0.07)
    narrow = judge(truth, mean + 0.025 * norm.ppf(TAUS)[:, None], TAUS, "narrow")
    assert narrow["judgement"] == "over-confident"
    assert narrow["coverage_68"] < 0.45
    assert judge(truth, curves + 0.1, TAUS, "high")["bias"] == pytest.approx(0.1, abs=0.006)


def _observation(images_run, geometry=None, edges=None, region=None, factor=1.0):
    model = images_run.images.model(images_run.images.training[0])
    region = (geometry.whole() if geometry else None) or region or model.region
    shape = (1, region.n_pix)
    same = region.geometry == model.region.geometry
    exposure = factor * (model.exposure[:, region.pixels] if same else np.full(shape, model.exposure.mean()))
    counts = np.ones(shape, dtype=np.int64)
    return Observation(counts, exposure, np.array(edges or model.energy_edges), region, model.psf)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"geometry": ImageGeometry((16, 12), 1.0)}, r"image must have \(16, 16\) pixels, has \(16, 12\)"),
        ({"geometry": ImageGeometry((16, 16), 0.5)}, "pixels must be those of .*=1.0.*, are of .*=0.5"),
        ({"edges": (2.0, 6.0)}, r"energy edges must be the model's \[1.0, 6.0\] GeV"),
        ({"region": ImageRegion(ImageGeometry((16, 16), 1.0), np.arange(200))}, "must hold the model's 256 pixels"),
        ({"factor": 1.5}, "exposure must be the model's within 2 %"),
    ],
)
def test_images_of_another_kind_are_refused(images_run, change, message):
    with pytest.raises(InputError, match=message):
        infer_image(images_run, _observation(images_run, **change))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda run: run.network("middle"),
            "is not trained .it holds no middle.safetensors.; run `gcesbi images train`",
        ),
        (lambda run: run.images.validation("lorimer-10-150"), "interstellar: must be one of .* for validation"),
        (lambda run: run.images.test("snr-10-150"), "interstellar: must be one of lorimer-10-150 for a test"),
        (lambda run: run.images.store("nowhere"), "interstellar: must be one of .*, got 'nowhere'"),
        (lambda run: run.images.sky_of("nowhere"), "interstellar: must be one of .*, got 'nowhere'"),
        (lambda run: run.network("npe", ShareEstimator), "must be of kind 'image_share', got 'image_npe'"),
        (lambda run: train_images(run, ["middle"]), "only: must be among full, .*, got 'middle'"),
        (lambda run: run.read_json("nothing.json"), "holds no nothing.json; run `gcesbi images train` first"),
    ],
)
def test_what_a_run_lacks_is_named(images_run, ask, message):
    with pytest.raises(InputError, match=message):
        ask(images_run)


def test_weights_of_other_images_are_refused(images_run, tmp_path):
    shutil.copytree(images_run.folder, tmp_path / "run")
    other = Run.open(tmp_path / "run")
    card = other.images.place("snr-10-150") / "store.json"
    told = json.loads(card.read_text())
    card.write_text(json.dumps(told | {"fingerprint": "other"}))
    with pytest.raises(InputError, match="made for another model; fingerprint"):
        other.network("full")
    other.weights("npe").unlink()
    with pytest.raises(InputError, match=r"holds no npe\.safetensors\); run `gcesbi images train` first"):
        other.network("npe")


def test_a_run_without_its_images_still_answers(images_run, tmp_path):
    shutil.copytree(images_run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("simulations"))
    bare, counts = Run.open(tmp_path / "run"), images_run.images.validation().counts[:3]
    np.testing.assert_array_equal(
        image_networks(bare).predict(counts)["all"], image_networks(images_run).predict(counts)["all"]
    )


def test_a_folder_is_made_once_and_not_lost(images_run, tmp_path):
    settings = load_settings("images-test", seed=5)
    run = Run.create(tmp_path / "new", settings)
    assert Run.begin(tmp_path / "new", settings).settings == run.settings
    with pytest.raises(InputError, match="another seed: 5, now 6; choose another folder or give --overwrite"):
        Run.begin(tmp_path / "new", load_settings("images-test", seed=6))
    again = Run.create(tmp_path / "new", load_settings("images-test", seed=6), overwrite=True)
    assert Run.open(again.folder).settings.seed == 6
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is no run folder, and is not overwritten"):
        Run.create(tmp_path / "mine", settings, overwrite=True)
    with pytest.raises(InputError, match=r"is no run folder \(it holds no run.json\)"):
        Run.open(tmp_path / "mine")
    (again.folder / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        Run.open(again.folder)


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("imges", [], "preset: must be one of default, images, .* or a TOML file"),
        ("images", ["sky.shap=[4,4]"], "sky.shap: unknown setting; the nearest valid one is 'shape'"),
        ("images", ["sky.f_src=[0, 1.5]"], r"f_src: must lie in \[0, 1\], got 0.0 to 1.5"),
        ("images", ["sky.f_src=[0.5, 0.5]"], "f_src: must have a range for a network to learn"),
        ("images", ["sky.flux_low=0", "sky.alpha=[-2.5, 1]"], "alpha: must be above -2 .* the flux diverges"),
        ("images", ["sky.flux_threshold=1e-13"], "flux_threshold: must be above the lowest flux 1e-12"),
        ("images", ["learning_shares=[1.0]"], r"learning_shares: must lie in \(0, 1\), got 1.0"),
        ("images", ["interstellar.testing=['snr-10-150']"], "interstellar: training and testing must be distinct"),
        ("images", ["interstellar.mix=true", "interstellar.training=['snr-10-150']"], "mix: needs two training models"),
        ("images-test", ["interstellar.scatter=0.3"], "scatter: is of mixtures, interstellar.mix must be true"),
        ("images-test", ["interstellar.flux_scatter=0.1"], "flux_scatter: is of mixtures, interstellar.mix must be"),
        ("images", ["interstellar.training=['a/mixed.fits']"], "'mixed' is the name of mixtures, no model may have it"),
        ("images", ["simulation.n_test=5"], "simulation: n_test: input should be greater than or equal to 100"),
        ("images", ["network.penalty=-1"], "penalty: must not be negative"),
        ("images", ["training.start='shipped'"], "training.start: 'shipped' is for networks of maps"),
        ("default", ["training.start='full'"], "training.start: 'full' is for networks of images"),
    ],
)
def test_bad_settings_are_named(preset, changes, message):
    with pytest.raises(InputError, match=message):
        load_settings(preset, changes)


def test_a_catalogue_without_the_needed_columns_is_refused(tmp_path):
    from astropy.io import fits

    columns = [fits.Column("GLON", "D", array=[0.0]), fits.Column("GLAT", "D", array=[0.0])]
    table = fits.BinTableHDU.from_columns(columns, name="LAT_Point_Source_Catalog")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "cat.fits")
    settings = load_settings("images-test", [f"sky.catalogue='{tmp_path / 'cat.fits'}'"])
    with pytest.raises(InputError, match="must hold the column"):
        ImageSets(tmp_path, settings).model("snr-10-150")


def test_a_folder_of_real_images_makes_the_sky(data_folder, tmp_path):
    settings = load_settings("images-4gev", images=data_folder / "fermi-gc-4gev")
    assert settings.interstellar.training[-1].endswith("gll_iem_v07_gc.fits.gz")
    seen = settings.observation.read()
    assert seen.counts.shape == (3, 6080)
    assert (
        ImageSets(data_folder, settings).sky_of("gll_iem_v07_gc").interstellar_map == settings.interstellar.training[-1]
    )
    with pytest.raises(InputError, match=r"observation: must be an existing file or folder, got '.*/nowhere'"):
        load_settings("images", images=tmp_path / "nowhere")


def test_an_exposure_cube_of_the_folder_takes_the_place_of_one_number(data_folder, tmp_path):
    from astropy.io import fits

    for name in ("ccube_01.fits", "psf_01.fits"):
        (tmp_path / name).symlink_to(data_folder / "fermi-gc-4gev" / name)
    flat = load_settings("images-4gev", images=tmp_path).observation.read()
    header = fits.getheader(tmp_path / "ccube_01.fits")
    rows, columns = header["NAXIS2"], header["NAXIS1"]
    cube = np.ones((2, rows, 1)) * np.linspace(1e11, 2e11, columns)
    kept = {key: header[key] for n in (1, 2) for key in (f"CTYPE{n}", f"CRVAL{n}", f"CDELT{n}", f"CRPIX{n}")}
    energies = fits.BinTableHDU.from_columns([fits.Column("Energy", "D", "MeV", array=[1e3, 1e5])], name="ENERGIES")
    fits.HDUList([fits.PrimaryHDU(cube, fits.Header(kept)), energies]).writeto(tmp_path / "expcube_01.fits")
    seen = load_settings("images-4gev", images=tmp_path).observation.read()
    np.testing.assert_array_equal(seen.counts, flat.counts)
    assert np.ptp(flat.exposure[0]) == 0
    assert seen.exposure.min() < 1.4e11 < 1.6e11 < seen.exposure.max()
    assert len(seen.psf) == 3


def test_commands_tell_what_the_steps_found(images_run, tmp_path):
    runner = CliRunner()
    told = runner.invoke(app, ["images", "train", str(images_run.folder), "--quiet"])
    assert told.exit_code == 3, told.output  # so small a training does not beat a ridge regression
    assert told.output.startswith("NOT LEARNT: the network ")
    assert "f_src on images not learnt from" in told.output
    told = runner.invoke(app, ["images", "infer", str(images_run.folder), "--quiet"])
    assert told.exit_code == 3, told.output
    assert (images_run.folder / "infer.html").is_file()
    assert "a simulated image of lorimer-10-150: f_src = " in told.output
    assert "Networks know the interstellar emission of" in told.output
    stored = json.loads((images_run.folder / "inference.json").read_text())
    assert set(stored["posterior"]) == {"f_src", "alpha", "gamma"}
    told = runner.invoke(app, ["images", "simulate", "--out", str(images_run.folder), "--preset", "images-test"])
    assert told.exit_code == 0, told.output
    assert "1280 images of 2 training and 1 testing models" in told.output.replace("\n", " ")


def test_templates_are_fitted_by_a_command(images_run):
    told = CliRunner().invoke(app, ["images", "fit", str(images_run.folder), "--images", "1", "--quiet"])
    assert told.exit_code == 0, told.output
    assert "Excess in template fits" in told.output
    fits = read_template_fits(images_run.folder)
    assert {name: len(each) for name, each in fits.own.items()} == dict.fromkeys(images_run.images.names, 1)
    assert not fits.observed


def test_commands_refuse_bad_input(tmp_path):
    told = CliRunner().invoke(app, ["images", "infer", str(tmp_path)])
    assert isinstance(told.exception, InputError)
    assert "is no run folder" in str(told.exception)


def test_what_is_taken_of_fluxes_is_stated(data_folder, tmp_path):
    folder = data_folder / "fermi-gc-4gev"
    run = Run.create(tmp_path / "run", load_settings("images", images=folder))
    band, excess = run.images.notes
    assert "stated for 1 to 6 GeV, and converted by the excess' spectrum to 3.981 to 19.95 GeV: times 0.1" in band
    assert "No excess was fitted beside gll_iem_v07_gc: it has that of snr-10-150" in excess
    model = run.images.model("snr-10-150")
    assert model.settings.flux_threshold == pytest.approx(1e-9 * run.images.sky.flux_ratio([3.98, 19.95]), rel=0.01)
    plain = Run(tmp_path, load_settings("images-test"))
    assert plain.images.notes == ()


def test_images_are_stated_as_a_composed_sky(tmp_path, data_folder):
    from gcesbi.simulation import SkyModel

    Run.create(tmp_path / "run", load_settings("images-test"))
    ask = ["images", "compose", str(tmp_path / "run"), "--out", str(tmp_path / "sky.toml")]
    told = CliRunner().invoke(app, ask)
    assert told.exit_code == 0, told.output
    model = SkyModel.from_toml(tmp_path / "sky.toml")
    assert model.names == ("interstellar", "iso", "gce")
    assert {"gce_poisson_share", "gce_alpha"} <= set(model.prior().names)
    real = ImageSets(tmp_path, load_settings("images-4gev", images=data_folder / "fermi-gc-4gev"))
    with pytest.raises(InputError, match="observation: must not be given for a composition"):
        real.composed("snr-10-150")


def test_a_run_is_validated_by_the_report_of_all_methods(images_run):
    told = CliRunner().invoke(app, ["validate", str(images_run.folder), "--quiet"])
    assert told.exit_code == 0, told.output
    found = json.loads((images_run.folder / "validation.json").read_text())
    assert found["labels"] == ["f_src"]
    page = (images_run.folder / "validation.html").read_text()
    assert "Are the error bars of f_src true?" in page
    told = CliRunner().invoke(app, ["validate", str(images_run.folder), "--observation", "fermi-gc-4gev"])
    assert "observation: is asked about by `gcesbi validate gate`" in str(told.exception)
    told = CliRunner().invoke(app, ["validate", "gate", str(images_run.folder), "--n", "1200", "--quiet"])
    assert told.exit_code == 0, told.output
    assert image_gate(images_run).gate.p_values is not None


@pytest.mark.parametrize("command", [("validate", "misspecification"), ("validate", "inject"), ("train",), ("infer",)])
def test_what_is_for_maps_says_how_images_become_such(images_run, command):
    told = CliRunner().invoke(app, [*command, str(images_run.folder)])
    assert isinstance(told.exception, InputError)
    assert f"`gcesbi images compose {images_run.folder} --out sky.toml` states its sky" in str(told.exception)


def test_an_exported_run_answers_without_its_images(images_run, tmp_path):
    told = CliRunner().invoke(app, ["export", str(images_run.folder), str(tmp_path / "small"), "--quiet"])
    assert told.exit_code == 0, told.output
    small = Run.open(tmp_path / "small")
    assert not (small.folder / "simulations").exists()
    seen, _ = mock_image(small)
    answer, known = infer_image(small, seen), infer_image(images_run, seen)
    assert answer.photons_known == known.photons_known
    np.testing.assert_allclose(answer.quantiles, known.quantiles, atol=0.01)
    assert small.read_json("evaluation.json").keys() == {"fixed", "free"}
    shutil.copytree(small.folder, tmp_path / "again")
    Run.check_free(tmp_path / "again", overwrite=True)  # it holds nothing that no run wrote


def test_damaged_images_are_drawn_again(images_run, tmp_path):
    shutil.copytree(images_run.folder, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    shard = run.images.place("snr-10-150") / "00000.zip"
    before = run.images.learnt().counts
    shard.write_bytes(shard.read_bytes()[:-100])
    ask = ["images", "simulate", "--out", str(run.folder), "--repair", "--quiet"]
    told = CliRunner().invoke(app, ask)
    assert told.exit_code == 0, told.output
    assert "repaired: 00000.zip" in told.output
    np.testing.assert_array_equal(run.images.learnt().counts, before)


def test_likelihoods_take_the_image_of_a_run(images_run):
    told = CliRunner().invoke(app, ["fit", "poisson", "--out", str(images_run.folder), "--quiet"])
    assert told.exit_code == 0, told.output
    assert (images_run.folder / "poisson.html").is_file()
    assert images_run.has_observation


def test_a_fit_needs_a_real_image(tmp_path):
    ask = ["images", "simulate", "--out", str(tmp_path / "run"), "--preset", "images-test", "--fit"]
    told = CliRunner().invoke(app, ask)
    assert isinstance(told.exception, InputError)
    assert str(told.exception) == "fit: needs a real image, --observation FOLDER"

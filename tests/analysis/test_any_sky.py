"""Skies that nobody foresaw, composed in a few lines: every method follows without an edit."""

import ast
import json
import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import healpy
import numpy as np
import pytest
import torch

import gcesbi
from gcesbi.analysis.evaluate import evaluate
from gcesbi.analysis.infer import infer
from gcesbi.analysis.injection import inject
from gcesbi.analysis.neural_posteriors import infer_neural_posteriors
from gcesbi.analysis.quickstart import answers
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.analysis.simulate import mock_observation
from gcesbi.analysis.train import training_histories
from gcesbi.analysis.variations import models_to_try, variations
from gcesbi.cli import main as cli
from gcesbi.errors import InputError
from gcesbi.estimators import PoissonFraction, PoissonFractionPosterior
from gcesbi.evaluation.described_sky import describe_sky
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.evaluation.neural_posteriors import judge_neural_posterior
from gcesbi.evaluation.prior_quantities import true_quantities
from gcesbi.io import write_observation
from gcesbi.report.html import render_report
from gcesbi.report.tables import comparison_table
from gcesbi.report.validation import validation_report
from gcesbi.simulation import Formula, Map, Mixture, PointSources, Simulator, SkyModel, Smooth
from gcesbi.simulation.rebuild import Recipe

DIM = {"xi": (-12.0, -10.0), "flux": (0.0, 1e-7)}
REGION = {"nside": 16, "radius": 20.0, "band": 2.0}
BRIEF = 5e9  # cm² s: few photons, for which the NPTF is cheap
STEPS = (
    "simulation.n_train=128",
    "simulation.n_test=128",
    "training.max_maps=256",
    "network.widths=[4, 8]",
    "network.n_features=16",
    "nptf.n_steps=20",
)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """A folder of FITS cubes of ten bins, as a user's own."""
    folder = tmp_path_factory.mktemp("cubes")
    glat = np.abs(healpy.pix2ang(16, np.arange(3072), lonlat=True)[1])
    for name, width in (("gas", 5.0), ("lobes", 25.0)):
        cube = [np.exp(-glat / width) * 10.0**-e for e in np.linspace(0, 2, 10)]
        healpy.write_map(folder / f"{name}.fits", cube, coord="G", dtype=np.float64)
    return folder


def ten_bins(cubes):
    gas, lobes = (Map(file=cubes / f"{name}.fits", smoothed=False) for name in ("gas", "lobes"))
    return SkyModel(
        [
            Smooth(name="gas", template=gas, norm=(0.5, 2.0), spectrum="power-law"),
            Smooth(name="lobes", template=lobes, norm=(0.0, 1.0), spectrum="log-parabola"),
            PointSources(name="halo", template="nfw", populations=[DIM]),
        ],
        region=REGION,
        energy_edges="2:20:10",
        exposure=BRIEF,
    )


def two_disks(cubes):
    bulge = Mixture(mixture=[Formula(formula="nfw", gamma=1.3), Formula(formula="bubbles")], weight=(0.2, 0.9))
    return SkyModel(
        [
            PointSources(name="thin", template=Formula(formula="disk", z_s=0.2), populations=[DIM]),
            PointSources(name="thick", template=Formula(formula="disk", z_s=1.0), populations=[DIM]),
            PointSources(name="bulge", template=bulge, populations=[DIM], spectrum="free"),
            PointSources(name="far", template="isotropic", populations=[DIM]),
        ],
        region=REGION, energy_edges="2:20:2", exposure=BRIEF, subject="bulge",
    )  # fmt: skip


def floating_slope(cubes):
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=torch.distributions.Gamma(2.0, 2.0)),
            PointSources(name="halo", template=Formula(formula="nfw", gamma=(0.9, 1.4)), populations=[DIM, DIM]),
        ],
        region=REGION,
        energy_edges=[2.0, 20.0],
        exposure=BRIEF,
    )


def broken_power_laws(cubes):
    law = {"family": "broken-power-law", "indices": [(2.1, 5.0), (-1.0, 1.9)], "breaks": [(-10.5, -9.0)]}
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=(0.1, 1.0)),
            PointSources(name="dots", template="nfw", populations=[{**law, "flux": (0.0, 1e-7)}]),
        ],
        region=REGION,
        energy_edges=[2.0, 20.0],
        exposure=BRIEF,
    )


def image(cubes):
    return SkyModel(
        [
            Smooth(name="sky", template="isotropic", norm=(0.1, 1.0)),
            PointSources(name="halo", template="nfw", populations=[DIM]),
        ],
        region={"shape": (16, 16), "pixel_size": 2.0},
        energy_edges=[2.0, 20.0],
        exposure=BRIEF,
    )


LONG = pytest.param(two_disks, marks=pytest.mark.slow)  # an NPTF of four populations


@pytest.fixture(scope="module", params=[ten_bins, LONG, floating_slope, broken_power_laws, image])
def done(request, cubes, tmp_path_factory):
    """A run of each sky, simulated and trained, with a mock map."""
    folder = tmp_path_factory.mktemp("any") / "run"
    run = Run.create(folder, load_settings("test", STEPS), sky=request.param(cubes))
    run.simulate(backend="threads")
    histories = run.train()
    seen, truth = mock_observation(run)
    run.write_observation(seen)
    return SimpleNamespace(run=run, histories=histories, seen=seen, truth=truth)


@contextmanager
def silent(name, own_bar=False):
    yield


def test_every_method_answers_by_the_users_names(done):
    run, model = done.run, done.run.model
    posteriors = answers(run, done.seen, silent)[0]
    for posterior in posteriors.values():
        assert posterior.coordinates.template == model.names
        assert np.isfinite(posterior.quantiles("flux_fraction", [0.16, 0.5, 0.84])).all()
    for name in model.shapes:
        low, high = model.prior().marginals[model.prior().names.index(name)].range
        for method in ("networks", "Poisson fit"):
            quantiles = posteriors[method].quantiles(name, [0.1, 0.5, 0.9])
            assert low <= quantiles[0] < quantiles[1] < quantiles[2] <= high
    truth = true_quantities(model, done.truth)
    rows = {row[0]: row[1:] for row in comparison_table(posteriors, model.bins, truth).rows}
    assert {f"flux fraction of {name} [%]" for name in model.names} | set(model.shapes) <= set(rows)
    assert not [label for label in rows if "gce" in label or "excess" in label]
    assert "–" not in [rows[name][0] for name in model.shapes]


def test_error_bars_are_judged(done):
    found = evaluate(done.run)
    assert set(found.spectra) == set(done.run.model.names)
    assert set(found.source_counts) == set(done.run.model.point_sources)
    assert set(found.shapes) == set(done.run.model.shapes)
    assert all(np.isfinite(each.dispersion.value) for each in found.reports)
    assert set(done.histories) == set(training_histories(done.run))


def test_a_run_opens_again(done):
    again = Run.open(done.run.folder)
    assert again.model.fingerprint == done.run.model.fingerprint
    assert again.observation().region == done.seen.region
    card = json.loads((again.folder / "run.json").read_text())
    assert card["settings"]["sky"] == {"kind": "composed", "file": "sky.toml"}


# -- one sky, whose halo floats ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halo(tmp_path_factory):
    """Sky of a floating halo, with a variation, as a TOML file."""
    sky = floating_slope(None).composition
    steep = {"name": "halo", "template": Formula(formula="nfw", gamma=1.4)}
    file = tmp_path_factory.mktemp("halo") / "sky.toml"
    SkyModel.build(sky.replace(variations=({"name": "steep halo", "components": [steep]},))).to_toml(file)
    return file


def test_a_run_keeps_its_own_copy(halo, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(halo.read_text())
    (tmp_path / "preset.toml").write_text('[sky]\nfile = "mine.toml"\n')
    runs = [
        Run.create(tmp_path / "a", "test", sky=file),
        Run.create(tmp_path / "b", "test", sky=SkyModel.from_toml(file)),
        Run.create(tmp_path / "c", load_settings(str(tmp_path / "preset.toml"))),
    ]
    file.write_text("flux_cut = 3\n")
    assert {Run.open(run.folder).model.fingerprint for run in runs} == {SkyModel.from_toml(halo).fingerprint}
    assert set(variations(Run.open(tmp_path / "a").settings.sky)) == {"steep halo"}
    (tmp_path / "a" / "sky.toml").write_text((tmp_path / "a" / "sky.toml").read_text().replace("-7.0", "-6.5"))
    with pytest.raises(InputError, match=r"was made with model .*, now it is"):
        _ = Run.open(tmp_path / "a").model
    (tmp_path / "b" / "sky.toml").unlink()
    with pytest.raises(InputError, match="sky: there is no file"):
        Run.open(tmp_path / "b")


def test_arrays_are_kept_beside_it(tmp_path):
    light = 1 + np.arange(3072.0) / 3072
    mask = np.zeros(3072, bool)
    mask[1500:1520] = True
    sky = Smooth(name="sky", template=Map(values=light, order="ring", smoothed=True), norm=(0.1, 1.0))
    dots = PointSources(name="dots", template="nfw", populations=[DIM])
    region = {**REGION, "mask": mask, "mask_order": "ring"}
    model = SkyModel([sky, dots], region=region, energy_edges=[2.0, 20.0], exposure=BRIEF)
    run = Run.create(tmp_path / "run", "test", sky=model)
    assert Run.open(run.folder).model.fingerprint == model.fingerprint
    assert sorted(path.name for path in run.folder.glob("sky*")) == ["sky.npz", "sky.toml", "sky_1.npy", "sky_2.npy"]
    Run.create(run.folder, "test", sky=model, overwrite=True)


def test_a_map_of_another_exposure_has_networks_of_its_own(halo, tmp_path):
    model = SkyModel.from_toml(halo)
    longer = model.with_exposure(1.5 * model.exposure)
    seen, _ = Simulator(longer).observe(longer.prior().mean.numpy(), seed=1)
    run = Run.create(tmp_path / "run", "test", model.for_observation(seen), sky=halo)
    again = Run.open(run.folder).model
    assert again.fingerprint == run.model.fingerprint != model.fingerprint
    np.testing.assert_allclose(again.exposure, 1.5 * model.exposure, rtol=1e-12)
    told = Recipe.of(run.model)
    assert Recipe.from_dict(json.loads(json.dumps(told.to_dict()))).simulator().model.fingerprint == again.fingerprint
    fixed = Run.create(tmp_path / "fixed", "test", model.at(halo_gamma=1.1), sky=halo)
    assert Run.open(fixed.folder).model.fingerprint == fixed.model.fingerprint
    assert fixed.model.shapes == ()


def test_shapes_are_quantities_of_neural_posteriors(halo, tmp_path):
    npe = ("kind=npe", 'quantities=["halo_gamma", "flux_fraction"]', "hidden=4", "n_layer=1")
    changes = [*STEPS, *(f"neural_posterior.{each}" for each in npe)]
    run = Run.create(tmp_path / "run", load_settings("test", changes, sky=halo))
    run.simulate(backend="threads")
    run.train(only=("npe", "spectra", "source_counts"))
    seen, _ = mock_observation(run)
    found = infer_neural_posteriors(run, seen)["NPE"]
    assert found.quantiles("halo_gamma", [0.01, 0.99]).tolist() == sorted(found.quantiles("halo_gamma", [0.01, 0.99]))
    assert np.all((found.samples["halo_gamma"] > 0.9) & (found.samples["halo_gamma"] < 1.4))
    judged = judge_neural_posterior(run.network("npe"), run.store.read(0, 100), 50)
    assert [each.name for each in judged.reports] == ["halo_gamma", "flux_fraction of sky", "flux_fraction of halo"]
    assert run.model.shapes[0] not in infer(run, seen).names  # its own network was not trained
    wrong = load_settings("test", [*STEPS, 'neural_posterior.quantities=["halo_gama"]'], sky=halo)
    with pytest.raises(InputError, match="quantities: 'halo_gama' is unknown; the nearest valid one is 'halo_gamma'"):
        Run.create(tmp_path / "other", wrong)


def test_the_subject_gets_the_poisson_share(cubes):
    model = two_disks(cubes)
    varied = model.with_poisson_share()
    assert [varied.point_sources[i] for i in varied.poissonian] == [model.subject] == ["bulge"]
    network = PoissonFraction(model.bins.centres, varied.subject)
    posterior = PoissonFractionPosterior(network, np.linspace(0, 1, 26), model.coordinates)
    assert "Poisson share of bulge is below" in posterior.statement()
    assert (
        comparison_table({"all": posterior}, model.bins).rows[-1][0] == "Poisson share of bulge, 95 % upper limit [%]"
    )
    smooth = SkyModel.build(floating_slope(cubes).composition.replace(subject="sky"))
    with pytest.raises(InputError, match="subject: must be one of point sources for a Poisson share, is 'sky'"):
        smooth.with_poisson_share()


def test_populations_are_injected_where_the_subject_shines(halo, tmp_path):
    run = Run.create(tmp_path / "run", load_settings("test", STEPS, sky=halo))
    run.simulate(backend="threads")
    run.train()
    seen, _ = mock_observation(run)
    found = inject(run, seen, [1e-7], n_repeat=2)
    assert found.template == "halo"
    np.testing.assert_allclose(found.injected, 1e-7, rtol=0.5)
    varied = models_to_try(run)
    assert set(varied) == {"steep halo"}
    theta = at_composition(varied["steep halo"], run.model, seen, 5, np.random.default_rng(0))
    assert theta.shape == (5, len(varied["steep halo"].prior().names))
    page = render_report(validation_report(run.model, evaluate(run), None, {}, training_histories(run), "here"))
    assert "shape halo_gamma" in page


# -- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def call(monkeypatch, capfd):
    """Exit status, standard output and standard error of a command."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["gcesbi", *map(str, words)])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        return (status, *capfd.readouterr())

    return run


def test_a_sky_is_shown(call, halo, tmp_path):
    status, out, err = call("sky", "show", halo, "--out", tmp_path / "sky.html", "--quiet")
    assert (status, err) == (0, "")
    for words in ("Uniform(low=0.9, high=1.4)", "halo1_xi", "expected counts", "point-sources"):
        assert words in out
    page = (tmp_path / "sky.html").read_text()
    assert page.count("<img") == 2
    assert "halo_gamma" in page


def test_expected_counts_are_those_of_many_maps(halo):
    model = SkyModel.from_toml(halo)
    theta = np.tile([each.moments[0] for each in model.prior().marginals], (400, 1))
    drawn = Simulator(model).draw(theta, np.random.default_rng(1))
    found = describe_sky(model)
    assert found.counts.sum() == pytest.approx(drawn.counts.sum() / 400, rel=0.1)
    np.testing.assert_allclose(found.flux_fraction, drawn.flux_fractions.mean(axis=0)[:, 0], atol=0.02)


def test_nuisances_are_shown_and_bad_ones_refused(call, tmp_path):
    text = """
energy_edges = "2:20:1"
region = { nside = 16 }
[[components]]
name = "gas"
kind = "smooth"
template = "pion-decay"
norm = [5, 15]
nuisances = [ { kind = "field", length = 5, sigma = [0.0, 0.3] }, { kind = "harmonics", l_max = 4, sigma = 0.2 } ]
[[components]]
name = "dots"
kind = "point-sources"
template = "nfw"
populations = [ { xi = [-12, -10], flux = [0, 1e-7] } ]
"""
    (tmp_path / "sky.toml").write_text(text)
    status, out, _ = call("sky", "show", tmp_path / "sky.toml", "--out", tmp_path / "sky.html")
    assert status == 0
    assert "gas_field_sigma" in out
    page = (tmp_path / "sky.html").read_text()
    assert "What a template is multiplied by" in page
    assert "harmonics (sigma Fixed(value=0.2)" in re.sub("<[^>]+>", "", page)
    found = describe_sky(SkyModel.from_toml(tmp_path / "sky.toml"))
    assert found.modulations.keys() == {"gas"}
    assert 0.05 < found.modulations["gas"].std() < 0.6
    (tmp_path / "sky.toml").write_text(text.replace("l_max = 4", "l_max = 99"))
    status, _, err = call("sky", "show", tmp_path / "sky.toml")
    assert status == 2
    assert "component gas: harmonics: l_max must be at most 32" in err
    assert len(err.strip().splitlines()) == 1


def test_a_map_is_checked(call, halo, tmp_path):
    model = SkyModel.from_toml(halo)
    seen, _ = Simulator(model).observe(model.prior().mean.numpy(), seed=1)
    write_observation(tmp_path / "good.fits", seen)
    status, out, _ = call("sky", "check", halo, "--observation", tmp_path / "good.fits")
    assert status == 0
    assert [line.split(":")[0].split("  ")[1] for line in out.splitlines()] == [
        "frame", "energies", "pixels", "exposure", "counts", "residuals", "order",
    ]  # fmt: skip
    for name, changes, told in (
        ("bright", {"counts": 1000 * seen.counts}, "DOES NOT FIT  counts"),
        ("unit", {"exposure": 1e-4 * seen.exposure}, "DOES NOT FIT  exposure"),
        ("bins", {"energy_edges": [1.0, 20.0]}, "DOES NOT FIT  energies"),
    ):
        write_observation(tmp_path / f"{name}.fits", replace(seen, **changes))
        status, out, _ = call("sky", "check", halo, "--observation", tmp_path / f"{name}.fits")
        assert status == 1
        assert told in out


def test_bad_words_are_one_line(call, halo, tmp_path):
    (tmp_path / "bad.toml").write_text(halo.read_text().replace("flux_cut", "flux_cot"))
    (tmp_path / "vary.toml").write_text(
        f'include = "{halo}"\n[[variations]]\nname = "x"\n[[variations.components]]\nname = "hallo"\nkind = "smooth"\n'
        'template = "nfw"\nnorm = [0, 1]\n'
    )
    for words, told in (
        (("sky", "show", tmp_path / "none.toml"), "sky: there is no file"),
        (("sky", "show", tmp_path / "bad.toml"), "flux_cot: unknown setting; the nearest valid one is 'flux_cut'"),
        (("sky", "show", tmp_path / "vary.toml"), "variation x: there is no 'hallo'; the nearest valid one is 'halo'"),
        (("sky", "check", halo, "--observation", tmp_path / "none.fits"), "none.fits"),
        (("simulate", "--sky", tmp_path / "none.toml", "--out", tmp_path / "run"), "sky: there is no file"),
        (("simulate", "--sky", halo, "--diffuse", "O", "--out", tmp_path / "run"), "diffuse: needs --observation"),
    ):
        status, out, err = call(*words)
        assert (status, out.strip()) == (2, "")
        assert told in err
        assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_commands_take_a_sky(call, halo, tmp_path):
    sets = [word for step in STEPS for word in ("--set", step)]
    words = ["simulate", "--preset", "test", *sets, "--sky", halo, "--out", tmp_path / "run", "--workers", 1]
    status, _, err = call(*words, "--backend", "threads", "--quiet")
    assert (status, err) == (0, "")
    other = tmp_path / "other.toml"
    other.write_text(halo.read_text().replace("-7.0", "-6.5"))
    status, _, err = call("train", tmp_path / "run", "--sky", other, "--quiet")
    assert (status, "was made with another sky than" in err) == (2, True)
    status, _, err = call(*words[:-6], "--sky", other, "--out", tmp_path / "run", "--quiet")
    assert (status, "was made with another sky.flux_cut: -7.0, now -6.5" in err) == (2, True)


def test_no_method_knows_a_component_by_name():
    root = Path(gcesbi.__file__).parent
    places = [root / room for room in ("simulation", "estimators", "evaluation", "plots", "report", "analysis", "cli")]
    places += [root.parent / "validation"]
    presets = {"sky_settings.py", "model.py", "template_statements.py", "variations.py"}
    presets |= {
        "image_compose.py",
        "image_composition.py",
        "image_settings.py",
        "image_sky_model.py",
    }  # the preset of images
    presets |= {"typical.py", "fitted_sky.py"}  # a mock map as bright as the real one; images as the real one
    known = {"pi", "ic", "iso", "bub", "gce", "disk", "dif"}
    for path in (path for place in places for path in place.rglob("*.py") if path.name not in presets):
        words = (each.value for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.Constant))
        assert not known & {word for word in words if isinstance(word, str)}, path

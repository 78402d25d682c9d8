"""Fingerprints hash what a sky is: every field of every statement, the content of files, and not where they lie."""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits

from gcesbi import (
    Catalogue,
    Formula,
    GaussianField,
    Harmonics,
    InputError,
    Map,
    Mixture,
    PointSources,
    Region,
    SimulationStore,
    Simulator,
    SkyModel,
    Smooth,
)
from gcesbi.physics.psf import PSF
from gcesbi.simulation import components, population_families, rebuild, spectral_families
from gcesbi.simulation.composition import Composition, Variation
from gcesbi.simulation.composition_files import read_toml, write_toml
from gcesbi.simulation.instrument import Exposure, FilePsf, KingPsf, NamedPsf, SurveyExposure
from gcesbi.simulation.marginals import HalfNormal, Normal, Truncated
from gcesbi.simulation.nuisances import Nuisance
from gcesbi.simulation.parallel import ShardJob
from gcesbi.simulation.population_families import BrokenPowerLawPopulation, PowerLawPopulation, SkewNormalPopulation
from gcesbi.simulation.rebuild import Recipe, build_model
from gcesbi.simulation.regions import HealpixRegion, WcsRegion
from gcesbi.simulation.sky_settings import folder_sky, inner_galaxy, preset_of
from gcesbi.simulation.source_mask import SourceMask
from gcesbi.simulation.spectral_families import (
    BrokenPowerLawSpectrum,
    FreeSpectrum,
    LogParabolaSpectrum,
    PowerLawSpectrum,
    SkewNormalSpectrum,
    TabulatedSpectrum,
)
from gcesbi.simulation.statement import Statement

NSIDE = 16
N_PIX = 12 * NSIDE**2
MAP = 1.0 + np.arange(N_PIX) / N_PIX
OTHER = MAP[::-1].copy()
DIM = SkewNormalPopulation(xi=(-12, -10), flux=(0, 1e-7))
SMOOTH = Smooth(name="gas", template="isotropic", norm=(1, 2))
DOTS = PointSources(name="dots", template="nfw", populations=[DIM])
BASE = Composition(region=HealpixRegion(nside=NSIDE), energy_edges="2:20:2", components=(SMOOTH, DOTS))


def within(part):
    """A sky that holds a statement."""
    if isinstance(part, Composition):
        return part
    if isinstance(part, components.Component):
        kept = [DOTS] if part.name != "dots" else [SMOOTH]
        return BASE.replace(components=(*kept, part))
    if isinstance(part, spectral_families.SpectrumPrior):
        return BASE.change("gas", spectrum=part)
    if isinstance(part, population_families.Population):
        return BASE.change("dots", populations=(part,))
    if isinstance(part, Formula | Map | Mixture):
        return BASE.change("dots", template=part)
    if isinstance(part, Nuisance):
        return BASE.change("gas", nuisances=(part,))
    if isinstance(part, SourceMask):
        return BASE.replace(region=HealpixRegion(mask_sources=part))
    field = {HealpixRegion: "region", WcsRegion: "region", SurveyExposure: "exposure", Exposure: "exposure"}.get(
        type(part), "psf"
    )
    return BASE.replace(**{field: part})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Names of maps and catalogues, two of each."""
    folder = tmp_path_factory.mktemp("files")
    for name, values in (("one", MAP), ("two", OTHER)):
        np.save(folder / f"{name}.npy", values)
        np.save(folder / f"mask_{name}.npy", values > values.mean())
        (folder / f"catalogue_{name}").write_text(name)
    told = {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CDELT1": -1.0, "CDELT2": 1.0, "CRPIX1": 4.5, "CRPIX2": 4.5}
    fits.PrimaryHDU(np.zeros((8, 8)), fits.Header(told | {"CRVAL1": 0.0, "CRVAL2": 0.0})).writeto(folder / "image.fits")
    return {each.stem: str(each) for each in folder.iterdir()}


def cases(files):
    """Of every statement: what it is told, and another value of every field, with what must go with it."""
    mask = MAP > 1.5
    return [
        (
            Composition,
            {n: getattr(BASE, n) for n in Composition.model_fields},
            {
                "region": {"region": HealpixRegion(nside=8)},
                "energy_edges": {"energy_edges": "2:20:3"},
                "exposure": {"exposure": 1e11},
                "psf": {"psf": "customary-2gev"},
                "components": {"components": (DOTS, SMOOTH)},
                "subject": {"subject": "gas"},
                "flux_cut": {"flux_cut": -8.0},
                "spectral_jitter": {"spectral_jitter": 0.5},
                "expected_labels": {"expected_labels": True},
                "summed": {"summed": True},
                "truncations": {"truncations": {"gas_norm": (1.0, 1.5)}},
                "exposure_error": {"exposure_error": 0.1},
                "psf_error": {"psf_error": 0.1},
            },
        ),
        (
            HealpixRegion,
            {"nside": NSIDE, "mask": mask, "mask_order": "ring"},
            {
                "nside": {"nside": 8},
                "centre": {"centre": (1.0, 0.0)},
                "radius": {"radius": 20.0},
                "band": {"band": 3.0},
                "mask": {"mask": ~mask},
                "mask_order": {"mask_order": "nested"},
                "runs": {"runs": "1000+20"},
                "mask_sources": {"mask_sources": SourceMask(file=files["catalogue_one"], radius=1.0)},
            },
        ),
        (
            SourceMask,
            {"file": files["catalogue_one"], "radius": 1.0},
            {
                "file": {"file": files["catalogue_two"]},
                "radius": {"radius": 2.0},
                "containment": {"radius": None, "containment": 0.95},
            },
        ),
        (HealpixRegion, {"mask": files["mask_one"], "mask_order": "ring"}, {"mask": {"mask": files["mask_two"]}}),
        (
            WcsRegion,
            {"shape": (8, 8), "pixel_size": 1.0},
            {
                "header": {"header": files["image"], "shape": None, "pixel_size": None},
                "shape": {"shape": (8, 10)},
                "pixel_size": {"pixel_size": 2.0},
                "reference": {"reference": (1.0, 0.0)},
                "reference_pixel": {"reference_pixel": (2.0, 2.0)},
                "centre": {"centre": (1.0, 0.0)},
                "radius": {"radius": 3.0},
                "band": {"band": 1.0},
                "mask": {"mask": np.eye(8)},
                "mask_sources": {"mask_sources": SourceMask(file=files["catalogue_one"], radius=1.0)},
                "runs": {"runs": "1+20"},
            },
        ),
        (SurveyExposure, {}, {"weeks": {"weeks": 600.0}}),
        (
            Exposure,
            {"values": MAP, "order": "ring"},
            {
                "values": {"values": OTHER},
                "order": {"order": "nested"},
                "frame": {"frame": "equatorial"},
                "scale": {"scale": 2.0},
                "index": {"index": 2.0},
                "bins": {"bins": (0, 1)},
                "file": {"file": files["mask_two"], "values": None},
            },
        ),
        (Exposure, {"values": 1e11}, {"values": {"values": 2e11}}),
        (Exposure, {"file": files["one"], "order": "ring"}, {"file": {"file": files["two"]}}),
        (
            FilePsf,
            {"file": files["catalogue_one"]},
            {
                "file": {"file": files["catalogue_two"]},
                "event_type": {"event_type": "PSF3"},
                "index": {"index": 2.0},
            },
        ),
        (NamedPsf, {}, {"name": {"name": "customary-2gev"}}),
        (
            KingPsf,
            {n: getattr(KingPsf.of((PSF.customary_2gev(),)), n) for n in KingPsf.model_fields},
            {
                "weights": {"weights": ((0.4, 0.6),)},
                "sigmas": {"sigmas": ((0.001, 0.002),)},
                "gammas": {"gammas": ((2.0, 3.0),)},
                "theta_max": {"theta_max": 4.0},
            },
        ),
        (
            Smooth,
            {"name": "gas", "template": "isotropic", "norm": (1, 2)},
            {
                "name": {"name": "ice"},
                "template": {"template": "nfw"},
                "norm": {"norm": Truncated(Normal(1.5, 0.1), low=0.0)},
                "spectrum": {"spectrum": "power-law"},
                "nuisances": {"nuisances": [Harmonics(l_max=2, sigma=0.1)]},
            },
        ),
        (
            Harmonics,
            {"l_max": 4, "sigma": 0.1},
            {
                "l_max": {"l_max": 5},
                "l_min": {"l_min": 2},
                "sigma": {"sigma": (0.0, 0.1)},
                "slope": {"slope": 1.0},
                "per_energy": {"per_energy": True},
            },
        ),
        (
            GaussianField,
            {"length": 2.0, "sigma": 0.1},
            {
                "length": {"length": 3.0},
                "sigma": {"sigma": 0.2},
                "per_energy": {"per_energy": True},
            },
        ),
        (
            PointSources,
            {"name": "dots", "template": "nfw", "populations": [DIM]},
            {
                "name": {"name": "stars"},
                "template": {"template": "disk"},
                "populations": {"populations": [DIM, DIM]},
                "poisson_share": {"poisson_share": (0, 1)},
                "spectrum": {"spectrum": "free"},
            },
        ),
        (
            Catalogue,
            {"name": "known", "file": files["catalogue_one"]},
            {
                "name": {"name": "seen"},
                "file": {"file": files["catalogue_two"]},
                "norm": {"norm": (0.5, 1.5)},
            },
        ),
        (
            SkewNormalPopulation,
            {"xi": (-12, -10), "flux": (0, 1e-7)},
            {
                "xi": {"xi": (-12, -9)},
                "omega2": {"omega2": (0.1, 0.2)},
                "a": {"a": 1.0},
                "flux": {"flux": (0, 2e-7)},
            },
        ),
        (
            BrokenPowerLawPopulation,
            {"indices": [(2.1, 4), (-1, 1.9)], "breaks": [(-10, -9)], "flux": (0, 1e-7)},
            {
                "indices": {"indices": [(2.1, 4), (-1, 1.8)]},
                "breaks": {"breaks": [(-10, -9.5)]},
                "low": {"low": -14.0},
                "flux": {"flux": (0, 2e-7)},
            },
        ),
        (
            PowerLawPopulation,
            {"alpha": (-2, -1), "flux": (0, 1e-7)},
            {
                "alpha": {"alpha": (-2.5, -1)},
                "low": {"low": -13.0},
                "threshold": {"threshold": -8.0},
                "flux": {"flux": (0, 2e-7)},
            },
        ),
        (SkewNormalSpectrum, {}, {"xi": {"xi": (0, 1)}, "omega2": {"omega2": 1.0}, "a": {"a": 0.0}}),
        (PowerLawSpectrum, {}, {"index": {"index": (2, 3)}}),
        (
            LogParabolaSpectrum,
            {},
            {"index": {"index": (2, 3)}, "curvature": {"curvature": 0.0}, "pivot": {"pivot": 1.0}},
        ),
        (
            BrokenPowerLawSpectrum,
            {},
            {
                "low_index": {"low_index": 1.0},
                "high_index": {"high_index": 3.0},
                "break_energy": {"break_energy": (3, 5)},
            },
        ),
        (
            TabulatedSpectrum,
            {"energy": (1.0, 30.0), "dnde": (1.0, 0.1)},
            {"energy": {"energy": (1.0, 40.0)}, "dnde": {"dnde": (1.0, 0.2)}},
        ),
        (FreeSpectrum, {}, {"alpha": {"alpha": 2.0}}),
        (
            Formula,
            {"formula": "nfw"},
            {"formula": {"formula": "disk"}, "parameters": {"parameters": {"gamma": (0.9, 1.4)}}},
        ),
        (
            Map,
            {"values": MAP, "order": "ring"},
            {
                "values": {"values": OTHER},
                "order": {"order": "nested"},
                "quantity": {"quantity": "counts"},
                "smoothed": {"smoothed": True},
                "hdu": {"hdu": "gas"},
                "frame": {"frame": "equatorial"},
                "index": {"index": 2.0},
                "bins": {"bins": (0, 1)},
                "file": {"file": files["mask_two"], "values": None},
            },
        ),
        (
            Mixture,
            {"mixture": ["nfw", "disk"]},
            {
                "mixture": {"mixture": ["nfw", "isotropic"]},
                "weight": {"weight": (0.1, 0.4)},
                "alpha": {"alpha": 2.0},
            },
        ),
    ]


def statements(kind=Statement):
    """All classes of statements that a composition may hold."""
    return {kind}.union(*(statements(each) for each in kind.__subclasses__()))


def test_every_field_of_every_statement_is_in_the_fingerprint(files):
    seen = {}
    for kind, told, changes in cases(files):
        base = within(kind(**told)).digest()
        assert within(kind(**told)).digest() == base
        others = {name: within(kind(**(told | changed))).digest() for name, changed in changes.items()}
        assert base not in others.values(), [kind.__name__, *(n for n, each in others.items() if each == base)]
        assert len(set(others.values())) == len(others)
        seen.setdefault(kind, {"kind", "family", "variations"}).update(changes)
    abstract = {
        Statement,
        Nuisance,
        components.Component,
        population_families.Population,
        spectral_families.SpectrumPrior,
        spectral_families.FixedShares,  # is computed, not stated
        Variation,  # of a sky, which stays the same
    }
    stated = {kind for kind in statements() if kind.__module__.startswith("gcesbi.simulation")} - abstract
    assert stated == set(seen)
    missing = {kind.__name__: set(kind.model_fields) - seen[kind] for kind in seen}
    assert not any(missing.values()), missing


# -- text and files ------------------------------------------------------------------------------------------------


def whole_sky():
    """A sky of every kind of component and array, at nside 16."""
    return Composition(
        region=HealpixRegion(nside=NSIDE, mask=MAP > 1.9, mask_order="ring"),
        energy_edges=[2.0, 6.0, 20.0],
        exposure={"values": 1e11 * np.stack([MAP, OTHER]), "order": "nested"},
        psf=[PSF.default(2, 6), PSF.default(6, 20)],
        components=(
            Smooth(name="gas", template=Map(values=MAP, order="ring", smoothed=False), norm=HalfNormal(2.0)),
            Smooth(
                name="flat",
                template="isotropic",
                norm=(0, 1),
                nuisances=[Harmonics(l_max=2, sigma=(0, 0.1)), GaussianField(length=5.0, sigma=0.1, per_energy=True)],
                spectrum={"family": "tabulated", "energy": [1, 30], "dnde": [1, 0.1]},
            ),
            PointSources(
                name="dots",
                template=Mixture(
                    mixture=[Formula(formula="nfw", gamma=(0.9, 1.4)), Map(values=OTHER, order="ring")],
                    weight=(0.2, 0.8),
                ),
                populations=[DIM, {"family": "power-law", "alpha": (-2, -1), "flux": (0, 1e-7)}],
                poisson_share=(0, 1),
                spectrum="free",
            ),
        ),
        subject="gas",
        flux_cut=-8.0,
    )


def test_python_and_toml_say_the_same(tmp_path):
    stated = whole_sky()
    model = SkyModel.build(stated)
    model.to_toml(tmp_path / "sky.toml")
    assert {path.name for path in tmp_path.iterdir()} == {"sky.toml", *(f"sky_{i}.npy" for i in range(1, 5))}
    read = SkyModel.from_toml(tmp_path / "sky.toml")
    assert read.fingerprint == model.fingerprint
    assert read.prior().describe() == model.prior().describe()
    np.testing.assert_array_equal(read.templates, model.templates)
    np.testing.assert_array_equal(read.exposure, model.exposure)
    read.to_toml(tmp_path / "again.toml")
    assert SkyModel.from_toml(tmp_path / "again.toml").fingerprint == model.fingerprint
    with pytest.raises(InputError, match=r"sky.toml' exists, and overwrite is False"):
        model.to_toml(tmp_path / "sky.toml")
    with pytest.raises(InputError, match="path: must be given, the sky holds arrays"):
        model.to_toml()


def test_the_place_of_files_is_not_in_the_fingerprint_and_their_content_is(tmp_path):
    (tmp_path / "here").mkdir()
    SkyModel.build(whole_sky()).to_toml(tmp_path / "here" / "sky.toml")
    here = read_toml(tmp_path / "here" / "sky.toml").digest()
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert read_toml(tmp_path / "there" / "sky.toml").digest() == here
    for i in range(1, 5):
        path = tmp_path / "there" / f"sky_{i}.npy"
        values = np.load(path)
        np.save(path, values[..., ::-1])
        assert read_toml(tmp_path / "there" / "sky.toml").digest() != here
        np.save(path, values)
    assert read_toml(tmp_path / "there" / "sky.toml").digest() == here


def test_settings_that_are_stored_build_the_same_model():
    model = SkyModel.build(whole_sky())
    again = build_model(json.loads(json.dumps(model.settings.model_dump(mode="json"))))
    assert again.fingerprint == model.fingerprint
    assert again.settings == model.settings
    assert hash(again.settings) == hash(model.settings)
    recipe = Recipe.of(model)
    assert len(recipe.text) < 1.4 * 8 * 6 * N_PIX
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))).simulator().model.fingerprint == model.fingerprint


def test_skies_that_are_changed_in_one_call_have_fingerprints_of_their_own():
    model = SkyModel.build(whole_sky())
    found = {
        "model": model,
        "at": model.at(),
        "steeper": model.at(dots_gamma=1.3),
        "longer": model.with_exposure(1.5 * model.exposure),
        "longer still": model.with_exposure(1.6 * model.exposure),
        "smaller": model.with_region(Region(NSIDE, model.region.pixels[1:])),
        "smaller and longer": model.with_region(Region(NSIDE, model.region.pixels[1:])).with_exposure(
            1.5 * model.exposure[:, 1:]
        ),
        "mock": SkyModel.build(model.composition.replace(expected_labels=True)),
    }
    assert len({each.fingerprint for each in found.values()}) == len(found)


def test_workers_draw_the_sky_that_was_composed(tmp_path):
    """Arrays and all: before, workers drew the preset's."""
    model = SkyModel.build(whole_sky())
    simulator = Simulator(model)
    store = SimulationStore.create(tmp_path / "store", simulator, seed=3)
    told = Recipe.from_dict(json.loads(json.dumps(store.recipe.to_dict())))  # all that a worker hears of it
    rebuild._build.cache_clear()
    for k in range(2):
        ShardJob(store.place, told, 3).draw(k)
    drawn = simulator.sample(256, seed=3)
    np.testing.assert_array_equal(store.read(0, 256).counts, drawn.counts)
    np.testing.assert_array_equal(store.read(0, 256).theta, drawn.theta)


def test_fields_that_came_later_change_no_fingerprint():
    """Those of a map that says nothing of them, as before there were any."""
    told = Map(values=MAP, order="ring", smoothed=True).model_dump(mode="json")
    later = {"hdu": "a", "frame": "equatorial", "index": 2.0}
    assert not later.keys() & told.keys()
    assert later.items() <= Map(**told, **later).model_dump().items()


PRESETS = [
    {},
    {"summed": True, "n_energy": 3, "expected_labels": True, "gce_poisson_share": True},
    {"interstellar": "lorimer-4-150", "gamma": 1.1, "disk_height": 1.0, "gce_populations": 1, "gce_xi_low": -12.0},
    {"weeks": 60.5, "radius": 20.0, "band": 3.0, "spectral_jitter": 0.5, "n_energy": 2},
]


@pytest.mark.parametrize("told", PRESETS)
def test_a_preset_and_its_toml_are_one_sky(told, tmp_path):
    settings = inner_galaxy(**{"nside": 16, "n_energy": 1} | told)
    again = read_toml(_written(settings.composition(), tmp_path))
    assert preset_of(again) == settings
    assert preset_of(again.change("gce", template="isotropic")) is None
    assert preset_of(again.change("gce", populations=[DIM])) is None
    assert preset_of(again.replace(flux_cut=-8.0)) is None


def test_a_preset_and_its_toml_open_the_same_weights(tmp_path):
    """The fingerprint that weights and stores of version 0.1.0 have is that of the preset."""
    model = SkyModel.preset(nside=16, n_energy=1, weeks=60)
    model.to_toml(tmp_path / "sky.toml")
    again = SkyModel.from_toml(tmp_path / "sky.toml")
    assert again.fingerprint == model.fingerprint
    np.testing.assert_array_equal(again.templates, model.templates)
    assert SkyModel.build(again.composition.change("iso", norm=(0, 30))).fingerprint != model.fingerprint


@pytest.mark.parametrize(
    "told", [{}, {"diffuse": "p6v11", "mask": None}, {"diffuse": "A", "mask": "4fgl", "weeks": 60}]
)
def test_a_folder_and_its_toml_are_one_sky(told, data_folder, tmp_path):
    settings = folder_sky(path=str(data_folder / "fermi-573w"), nside=32, **told)
    again = read_toml(_written(settings.composition(), tmp_path))
    assert preset_of(again).law() == settings.law()
    assert preset_of(again).content() == settings.content()


def _written(sky, folder):
    write_toml(sky, folder / "sky.toml")
    return folder / "sky.toml"

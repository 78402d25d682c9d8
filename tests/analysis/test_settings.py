"""Settings: presets, changes, and errors that name the nearest valid key."""

import pytest
from pydantic import ValidationError

from gcesbi import InputError
from gcesbi.analysis.presets import preset_names
from gcesbi.analysis.settings import IMAGES, RunSettings, load_settings


def test_presets_ship_with_the_package_and_load():
    names = ("default", "paper", "paper-face", "quick", "test")
    others = ("images", "images-4gev", "images-paper", "images-test", "robust")
    assert preset_names() == tuple(sorted((*names, *others)))
    sizes = {name: (load_settings(name).sky.nside, load_settings(name).sky.n_energy) for name in names}
    assert sizes == {
        "test": (32, 3),
        "quick": (64, 10),
        "default": (64, 10),
        "paper": (256, 10),
        "paper-face": (256, 10),
    }


def test_the_papers_network_is_deepsphere_down_to_one_pixel_with_two_dense_layers():
    network, face = load_settings("paper").network, load_settings("paper-face").network
    assert (network.encoder, 256 // 2 ** len(network.widths), network.norm) == ("chebyshev", 1, "batch")
    assert (network.n_seen, network.n_features, network.dropout, network.totals) == (2048, 512, 0.0, "counts")
    assert (face.encoder, face.n_seen) == ("face", 512)


def test_the_robust_preset_states_the_real_sky_by_names_of_data():
    sky = load_settings("robust").sky
    assert sky.region.mask == "fermi-573w/fermidata_pscmask_3fgl.npy"
    mixed = [len(each.template.mixture) for each in sky.components if hasattr(each.template, "mixture")]
    assert mixed == [5, 4, 2, 2]  # gas, inverse Compton, bubbles; halo and bulge


def test_changes_and_seed_overrule_the_preset():
    settings = load_settings("quick", ["training.max_maps=77", "sky.gamma=1.0", "network.widths=[8, 16]"], seed=9)
    assert settings.training.max_maps == 77
    assert settings.sky.gamma == 1.0
    assert settings.network.widths == (8, 16)
    assert settings.seed == 9


def test_the_network_is_a_setting():
    settings = load_settings("test", ["network.encoder=chebyshev", "network.energy=summed", "network.norm=instance"])
    assert (settings.network.encoder, settings.network.energy) == ("chebyshev", "summed")
    assert settings.network.norm == "instance"
    assert load_settings("test").network.encoder == "face"
    assert RunSettings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_survive_json():
    settings = load_settings("test", ["sky.cosmic_rays=lorimer"])
    assert RunSettings.model_validate_json(settings.model_dump_json()) == settings


def test_a_users_own_file_is_a_preset(tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text("[simulation]\nn_train = 100\n")
    assert load_settings(str(own)).simulation.n_train == 100


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("qick", [], "preset: must be one of default, images, .*, test or a TOML file, got 'qick'"),
        ("nowhere.toml", [], "preset: must be one of"),
        ("quick", ["training.max_map=3"], "training.max_map: unknown setting; the nearest valid one is 'max_maps'"),
        ("quick", ["sky.nsid=3"], "sky.nsid: unknown setting; the nearest valid one is 'nside'"),
        ("quick", ["zzz.yyy=3"], "zzz: unknown setting; valid ones are seed, sky"),
        (
            "quick",
            ["sky.kind=moon"],
            "sky.kind: must be one of inner-galaxy, folder, composed, galactic-centre-images, got 'moon'",
        ),
        ("quick", ["sky.nside=3"], "nside: input should be greater than or equal to 8, got 3"),
        ("quick", ["sky.cosmic_rays=abc"], "cosmic_rays: input should be 'snr' or 'lorimer', got 'abc'"),
        ("quick", ["network.encoder=resnet"], "encoder: must be one of face, chebyshev, got 'resnet'"),
        ("quick", ["network.energy=mean"], "energy: must be one of resolved, summed, got 'mean'"),
        ("quick", ["network.norm=layer"], "norm: must be one of batch, instance, none, got 'layer'"),
        ("quick", ["network.widths=[8, 0]"], "network: needs positive sizes"),
        ("quick", ["training.max_maps=-3"], "max_maps: must be at least 1, got -3"),
        ("quick", ["joint.hidden=3"], "joint: is no section of a sky of kind 'inner-galaxy'"),
        ("images", ["nptf.n_live=30"], "nptf: is no section of a sky of kind 'galactic-centre-images'"),
        ("images", ["simulation.store='s3://x'"], "simulation.store: images lie in the run's own folder"),
        ("quick", ["nonsense"], "set: must read section.key=value, got 'nonsense'"),
        ("quick", ["seed.x=1"], "seed"),
    ],
)
def test_bad_settings_are_refused(preset, changes, message):
    with pytest.raises(InputError, match=message):
        load_settings(preset, changes)


def test_a_broken_file_is_refused(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("[sky\n")
    with pytest.raises(InputError, match="is no TOML file"):
        load_settings(str(broken))


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        load_settings("test").seed = 3


def test_stored_runs_that_name_the_tempered_sampler_still_open():
    """The shipped run is one; a new file that names its settings is told which ones there are."""
    stored = {"sampler": "tempering", "n_particles": 500, "n_islands": 4, "n_moves": 8, "n_live": 77}
    found = RunSettings.model_validate({"nptf": stored}).nptf
    assert (found.sampler, found.n_live) == ("nested", 77)
    assert RunSettings.model_validate({"nptf": stored | {"sampler": "ensemble"}}).nptf.sampler == "ensemble"
    with pytest.raises(InputError, match=r"nptf.n_islands"):
        load_settings("test", ["nptf.n_islands=2"])


def test_a_kind_of_sky_has_its_own_sections_and_numbers(tmp_path):
    assert {"interstellar", "joint"}.isdisjoint(load_settings("quick").model_dump())
    settings = load_settings("images-test")
    assert {"nptf", "spectra"}.isdisjoint(settings.model_dump())
    assert RunSettings.model_validate_json(settings.model_dump_json()) == settings
    (tmp_path / "mine.toml").write_text("seed = 3\n")
    assert load_settings(str(tmp_path / "mine.toml"), kind=IMAGES).simulation.n_test == 1024
    assert load_settings(str(tmp_path / "mine.toml")).simulation.n_test == 512

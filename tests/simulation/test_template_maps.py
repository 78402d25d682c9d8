"""Template maps that a run keeps: the model built from them is the one that was computed, to the last bit."""

import numpy as np
import pytest

from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.simulation import SkyModel, patches
from gcesbi.simulation import model as model_module
from gcesbi.simulation.sky_settings import InnerGalaxySky
from gcesbi.simulation.template_maps import TemplateMaps

SKY = InnerGalaxySky(nside=16, n_energy=2)


@pytest.fixture(autouse=True)
def really_computed(monkeypatch):
    """Other tests keep templates in files."""
    monkeypatch.setattr(model_module, "compose", model_module.compose.__wrapped__)


@pytest.fixture(scope="module")
def model():
    return SkyModel.build(SKY)


def same(first, second):
    assert first.fingerprint == second.fingerprint
    assert first.names == second.names
    np.testing.assert_array_equal(first.templates, second.templates)
    np.testing.assert_array_equal(first.patch_exposure, second.patch_exposure)
    for one, two in zip(first.point_source_templates, second.point_source_templates, strict=True):
        np.testing.assert_array_equal(one.intensity, two.intensity)
        assert (one.poisson is None) == (two.poisson is None)
        if one.poisson is not None:
            np.testing.assert_array_equal(one.poisson, two.poisson)


@pytest.mark.parametrize("share", [False, True])
def test_a_model_of_kept_maps_is_the_model_that_was_computed(tmp_path, share):
    sky = SKY.model_copy(update={"gce_poisson_share": share})
    computed = SkyModel.build(sky)
    computed.maps.save(tmp_path / "sky.npz", sky.law())
    same(SkyModel.build(sky, TemplateMaps.load(tmp_path / "sky.npz", sky.law())), computed)


def test_other_settings_and_broken_files_give_none(tmp_path, model):
    path = tmp_path / "sky.npz"
    assert TemplateMaps.load(path, SKY.law()) is None
    model.maps.save(path, SKY.law())
    assert TemplateMaps.load(path, SKY.model_copy(update={"gamma": 1.0}).law()) is None
    path.write_bytes(path.read_bytes()[:-100])
    assert TemplateMaps.load(path, SKY.law()) is None
    path.write_bytes(b"")
    assert TemplateMaps.load(path, SKY.law()) is None


def test_a_run_computes_its_maps_once(tmp_path, monkeypatch):
    settings = load_settings("test", ["sky.nside=16", "sky.n_energy=2"])
    Run.create(tmp_path / "run", settings, SkyModel.build(settings.sky))
    first = Run.open(tmp_path / "run").model
    monkeypatch.setattr(patches, "smooth", lambda *arguments: pytest.fail("computed again"))
    same(Run.open(tmp_path / "run").model, first)

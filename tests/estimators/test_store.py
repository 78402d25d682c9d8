import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gcesbi import SkyModel
from gcesbi.errors import InputError
from gcesbi.estimators import (
    NetworkSettings,
    SourceCountEstimator,
    load_estimator,
    read_notes,
    save_estimator,
    store,
)
from gcesbi.estimators.store import KINDS, KINDS_OF_MAPS, add_notes
from gcesbi.sky.region import Region


def test_round_trip_gives_identical_predictions(spectra, source_counts, maps, tmp_path):
    counts = maps.fresh.counts[:30]
    path = save_estimator(spectra, tmp_path / "spectra")
    assert path == tmp_path / "spectra.safetensors"
    loaded = load_estimator(path)
    np.testing.assert_array_equal(loaded.predict(counts), spectra.predict(counts))
    save_estimator(source_counts, tmp_path / "scd.safetensors")
    again = load_estimator(tmp_path / "scd")
    np.testing.assert_array_equal(again.quantiles(counts, [0.1, 0.9]), source_counts.quantiles(counts, [0.1, 0.9]))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "scd.json",
        "scd.safetensors",
        "spectra.json",
        "spectra.safetensors",
    ]


def test_options_and_identity_come_back(toy, tmp_path):
    estimator = toy.source_counts(n_level=5, tail_weight=0.5)
    save_estimator(estimator, tmp_path / "a")
    loaded = load_estimator(tmp_path / "a")
    assert loaded.identity() == estimator.identity()
    assert (loaded.n_level, loaded.tail_weight, loaded.names) == (5, 0.5, ("dots",))
    assert loaded.region == estimator.region
    assert not loaded.training


def test_notes_and_version_lie_beside_the_weights(toy, tmp_path):
    save_estimator(toy.spectra(), tmp_path / "a", notes={"seed": 3, "coverage": [0.68]})
    assert read_notes(tmp_path / "a") == {"seed": 3, "coverage": [0.68]}
    card = json.loads((tmp_path / "a.json").read_text())
    assert card["identity"]["names"] == ["flat", "dots"]
    assert card["version"]


def test_what_is_asked_for_must_be_what_is_stored(toy, tmp_path):
    save_estimator(toy.spectra(), tmp_path / "a")
    same = {"region": toy.region, "exposure": toy.exposure, "names": ("flat", "dots"), "fingerprint": "toy"}
    load_estimator(tmp_path / "a", **same)
    for change, message in (
        ({"region": Region.disc(16)}, r"made for another model; nside: 32, now 16; n_pix"),
        (
            {"region": Region(32, toy.region.pixels[::-1][:-1][::-1])},
            r"another model; n_pix: \d+, now \d+; pixels:",
        ),
        ({"exposure": toy.exposure * 2}, "another model; exposure: '"),
        ({"exposure": toy.exposure[:2]}, "another model; n_energy: 3, now 2"),
        ({"names": ("dots", "flat")}, r"another model; names: \['flat', 'dots'\], now \['dots', 'flat'\]"),
        ({"fingerprint": "other"}, "another model; fingerprint: 'toy', now 'other'"),
    ):
        with pytest.raises(InputError, match=message):
            load_estimator(tmp_path / "a", **(same | change))


@pytest.mark.parametrize("size", [0, 10, -1])
def test_truncated_weights_are_refused(toy, tmp_path, size):
    path = save_estimator(toy.spectra(), tmp_path / "a")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"weights .*a.safetensors: must be the whole file that a.json describes"):
        load_estimator(tmp_path / "a")


def test_exchanged_weights_are_refused(toy, tmp_path):
    save_estimator(toy.spectra(seed=1), tmp_path / "a")
    other = save_estimator(toy.spectra(seed=2), tmp_path / "b")
    other.replace(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="truncated or changed"):
        load_estimator(tmp_path / "a")


def test_missing_files_are_named(toy, tmp_path):
    with pytest.raises(InputError, match=r"estimator: cannot read .*none.json \(No such file or directory\)"):
        load_estimator(tmp_path / "none")
    save_estimator(toy.spectra(), tmp_path / "a").unlink()
    with pytest.raises(InputError, match=r"estimator: cannot read .*a.safetensors"):
        load_estimator(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card | {"version": "99.1.0"}, "made by gcesbi 99.1.0, this is gcesbi"),
        (lambda card: {}, r"must be the JSON card of an estimator \('version'\)"),
        (
            lambda card: card | {"identity": card["identity"] | {"kind": "oracle"}},
            "kind must be one of spectra, source_counts",
        ),
    ],
)
def test_foreign_cards_are_refused(toy, tmp_path, change, message):
    save_estimator(toy.spectra(), tmp_path / "a")
    card = tmp_path / "a.json"
    card.write_text(json.dumps(change(json.loads(card.read_text()))))
    with pytest.raises(InputError, match=message):
        load_estimator(tmp_path / "a")


def test_a_card_that_is_no_json_is_refused(toy, tmp_path):
    save_estimator(toy.spectra(), tmp_path / "a")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InputError, match="must be the JSON card of an estimator"):
        load_estimator(tmp_path / "a")


def test_a_training_goes_on_after_loading(spectra, toy, maps, tmp_path):
    """Input and prior stay as they were, and the loss starts where it ended: no worse than by a third of the gain."""
    save_estimator(spectra, tmp_path / "a")
    loaded = load_estimator(tmp_path / "a")
    settings = replace(toy.settings, max_maps=128, learning_rate=1e-5)
    history = loaded.fit(maps.train[3000:3500], settings)
    first, last = spectra.history.validation_loss[0], spectra.history.validation_loss[-1]
    assert history.validation_loss[0] < last + (first - last) / 3
    assert torch.equal(loaded.embedding.inputs.pixel_mean, spectra.embedding.inputs.pixel_mean)
    assert not torch.equal(loaded.head.linear.weight, spectra.head.linear.weight)


TINY = NetworkSettings(widths=(8,), n_features=16)


@pytest.fixture(scope="module")
def model():
    return SkyModel.preset("inner-galaxy", nside=16, n_energy=2)


@pytest.fixture(scope="module")
def of_model(model, tmp_path_factory):
    """Stored weights of an untrained estimator for the model."""
    estimator = SourceCountEstimator.for_model(model, network=TINY, seed=3)
    return save_estimator(estimator, tmp_path_factory.mktemp("weights") / "a", {"seed": 3}, model=model)


def test_an_estimator_of_a_model_has_its_labels(model):
    estimator = SourceCountEstimator.for_model(model, network=TINY, seed=3)
    assert (estimator.names, estimator.n_bin) == (("gce", "disk"), len(model.bins))
    assert (estimator.region, estimator.fingerprint) == (model.region, model.fingerprint)


def test_the_models_settings_lie_beside_the_weights(model, of_model):
    card = json.loads(of_model.with_suffix(".json").read_text())
    assert card["model"]["sky"] == model.settings.model_dump(mode="json")
    assert card["model"]["fingerprint"] == model.fingerprint
    assert load_estimator(of_model, model=model).fingerprint == model.fingerprint


def test_another_model_is_named_setting_by_setting(of_model):
    other = SkyModel.preset("inner-galaxy", nside=8, n_energy=1, gamma=1.0)
    told = r"made for another model; sky.gamma: 1.2, now 1.0; sky.n_energy: 2, now 1; sky.nside: 16, now 8$"
    with pytest.raises(InputError, match=told):
        load_estimator(of_model, model=other)


def test_another_region_of_the_same_sky_is_named(model, of_model):
    part = model.with_region(Region(16, model.region.pixels[5:]))
    with pytest.raises(InputError, match=r"another model; region: other pixels$"):
        load_estimator(of_model, model=part)


def test_another_law_under_the_same_settings_is_named(model, of_model, tmp_path):
    text = json.loads(of_model.with_suffix(".json").read_text())
    text["model"]["fingerprint"] = "0" * 16
    del text["checksum"]
    (tmp_path / "a.safetensors").write_bytes(of_model.read_bytes())
    (tmp_path / "a.json").write_text(json.dumps(text))
    with pytest.raises(InputError, match="its settings are the same, its maps or the simulator's law are not"):
        load_estimator(tmp_path / "a", model=model)


def test_weights_of_a_card_without_padding_see_the_image_that_they_learnt_from(toy, maps, tmp_path):
    """Images were padded to pairs at every level once, and the cards did not say so."""
    sizes = {"widths": (8, 8, 8, 8), "n_features": 8}
    old = toy.spectra(network=NetworkSettings(**sizes, padding=16))
    save_estimator(old, tmp_path / "a")
    card = json.loads((tmp_path / "a.json").read_text())
    del card["identity"]["network"]["padding"], card["checksum"]
    (tmp_path / "a.json").write_text(json.dumps(card))
    loaded = load_estimator(tmp_path / "a")
    assert loaded.network.padding == 16
    assert toy.spectra(network=NetworkSettings(**sizes)).network.padding == 8
    counts = torch.from_numpy(maps.fresh.counts[:5].astype(np.float32))
    with torch.no_grad():
        assert torch.equal(loaded.embedding(counts), old.embedding(counts))


def test_a_foreign_model_is_not_stored(toy, model, tmp_path):
    with pytest.raises(InputError, match="model: must be the estimator's, 'toy', got"):
        save_estimator(toy.spectra(), tmp_path / "a", model=model)


def test_notes_can_be_added(of_model):
    add_notes(of_model, {"validation": {"coverage": 0.68}})
    add_notes(of_model, {"validation": {"coverage": 0.7}})
    assert read_notes(of_model) == {"seed": 3, "validation": {"coverage": 0.7}}
    load_estimator(of_model)


def test_half_the_size_and_nearly_the_same_answer(spectra, maps, tmp_path):
    """Rounding to 11 bits moves an answer by far less than its error."""
    whole, half = save_estimator(spectra, tmp_path / "whole"), save_estimator(spectra, tmp_path / "half", half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = load_estimator(half, exposure=spectra.exposure, region=spectra.region)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    counts = maps.fresh.counts[:50]
    exact, rounded = spectra.predict(counts), loaded.predict(counts)
    assert np.max(np.abs(rounded.mean - exact.mean) / exact.std) < 0.1
    assert not np.array_equal(rounded.mean, exact.mean)


def test_templates_of_residuals_are_stored_with_the_weights(model, tmp_path):
    """16 bits of a template are 2⁻¹¹ of its counts: residuals of 20 counts move by 2⁻¹¹ √20."""
    network = NetworkSettings(widths=(4,), n_features=8, residuals=True)
    estimator = SourceCountEstimator.for_model(model, network=network)
    counts = np.random.default_rng(1).poisson(20.0, (6, *model.exposure.shape))
    estimator.embedding.inputs.standardise(torch.from_numpy(counts))
    assert len(estimator.embedding.inputs.basis) == len(model.names)
    loaded = load_estimator(save_estimator(estimator, tmp_path / "a", model=model), model=model)
    np.testing.assert_array_equal(loaded.quantiles(counts, [0.5]), estimator.quantiles(counts, [0.5]))
    halved = load_estimator(save_estimator(estimator, tmp_path / "b", half=True)).embedding.inputs
    exact, rounded = (each.contrast(torch.from_numpy(counts))[0] for each in (estimator.embedding.inputs, halved))
    assert 0 < (exact - rounded).abs().max() < 4 * 2**-11 * np.sqrt(20)
    plain = SourceCountEstimator.for_model(model)
    assert "residuals" not in plain.identity()["network"]  # files from before it was there are read
    assert not [name for name in plain.state_dict() if "basis" in name]


def test_a_very_large_matrix_is_stored_in_bytes_by_rows(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_BYTES_FROM", 1)
    estimator = toy.spectra()
    exact = {name: value for name, value in estimator.state_dict().items() if value.ndim == 2 and value.numel() >= 1024}
    assert exact
    loaded = load_estimator(save_estimator(estimator, tmp_path / "a", half=True)).state_dict()
    for name, value in exact.items():
        step = value.abs().amax(dim=1, keepdim=True) / 127
        assert torch.all((loaded[name] - value).abs() <= 0.501 * step), name


def test_large_numbers_are_halved_too(toy, tmp_path):
    estimator = toy.spectra()
    estimator.embedding.inputs.pixel_mean += 1e5  # beyond float16
    loaded = load_estimator(save_estimator(estimator, tmp_path / "a", half=True))
    torch.testing.assert_close(
        loaded.embedding.inputs.pixel_mean, estimator.embedding.inputs.pixel_mean, rtol=2**-8, atol=0
    )


def test_kinds_of_maps():
    assert set(KINDS_OF_MAPS) == {"spectra", "source_counts", "shapes", "npe", "fmpe"}
    assert set(KINDS) - set(KINDS_OF_MAPS) == {"image_share", "image_quantiles", "image_npe"}

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gcesbi.errors import InputError
from gcesbi.estimators import NetworkSettings, TrainingError, TrainingHistory, TrainingSettings
from gcesbi.estimators.training.devices import has_bfloat16
from gcesbi.estimators.training.log import LogRow, TrainingLog
from gcesbi.estimators.training.loop import remove_checkpoints, train
from gcesbi.validation import crps_gaussian


def _weights(estimator):
    return {name: value.clone() for name, value in estimator.state_dict().items()}


def _same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def short(toy):
    return replace(toy.settings, max_maps=640, checkpoint_every=4)


@pytest.fixture(scope="session")
def few(toy):
    return toy.simulate(320, 5)


@pytest.mark.parametrize("kind", ["spectra", "source_counts"])
def test_same_seed_same_weights_and_another_seed_others(toy, few, short, kind):
    weights = []
    for initial, seed in ((0, 0), (0, 0), (0, 1), (1, 0)):
        estimator = getattr(toy, kind)(seed=initial)
        estimator.fit(few, replace(short, seed=seed))
        weights.append(_weights(estimator))
    assert _same(weights[0], weights[1])
    assert not _same(weights[0], weights[2])
    assert not _same(weights[0], weights[3])


def test_training_leaves_the_global_generator_alone(toy, few, short):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    toy.source_counts().fit(few, short)
    assert torch.equal(torch.rand(3), expected)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("stop", [5, 9])
def test_killed_and_resumed_ends_with_the_same_weights(toy, few, short, tmp_path, monkeypatch, stop):
    """Killed in step 5 or 9, resumed from the checkpoint of step 4 or 8: five steps an epoch, so once mid-epoch."""
    whole = toy.source_counts()
    reference = whole.fit(few, short)
    killed = toy.source_counts()
    steps, loss = [], type(killed).loss

    def dying(self, output, targets):
        if self.training:
            steps.append(1)
        if len(steps) > stop:
            raise _Killed
        return loss(self, output, targets)

    with monkeypatch.context() as patch:
        patch.setattr(type(killed), "loss", dying)
        with pytest.raises(_Killed):
            killed.fit(few, short, checkpoint=tmp_path / "run.ckpt")
    resumed = toy.source_counts(seed=99)
    history = resumed.fit(few, short, checkpoint=tmp_path / "run.ckpt")
    assert _same(_weights(resumed), _weights(whole))
    assert history.validation_loss == reference.validation_loss
    assert history.train_loss == pytest.approx(reference.train_loss, abs=1e-12)
    assert history.maps == reference.maps == 640


@pytest.fixture
def with_head(short):
    return replace(short, head_maps=384)


def test_the_head_alone_is_trained_at_the_end(toy, few, short, with_head, monkeypatch):
    """The encoder, its running statistics included, is that of a training without; dropout is off."""
    first, both = toy.source_counts(), toy.source_counts()
    first.fit(few, short)
    modes, loss = [], type(both).loss

    def watched(self, output, targets):
        modes.append((self.training, self.embedding.dropout.training))
        return loss(self, output, targets)

    monkeypatch.setattr(type(both), "loss", watched)
    history = both.fit(few, with_head)
    before, after = _weights(first), _weights(both)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"head.linear.weight", "head.linear.bias"}
    assert {mode for mode in modes if mode[0]} == {(True, True), (True, False)}
    assert modes.count((True, False)) == 6
    assert (history.maps, history.maps_at[-1], history.most_presentations) == (1024, 1024, 5)
    assert all(weight.requires_grad for weight in both.parameters())


def test_the_heads_training_makes_up_for_dropout(toy, few):
    """Trained with half of all features dropped, a network answers too wide; its head learns to do without."""
    settings = replace(toy.settings, max_maps=1920)
    plain = toy.source_counts(network=NetworkSettings(widths=(8, 16), n_features=32, dropout=0.5))
    tuned = toy.source_counts(network=NetworkSettings(widths=(8, 16), n_features=32, dropout=0.5))
    history = plain.fit(few, settings), tuned.fit(few, replace(settings, head_maps=1920))
    assert history[1].validation_loss[-1] < history[0].validation_loss[-1]


def test_a_finished_trainings_second_checkpoint_is_not_taken_for_anothers(toy, few, with_head, tmp_path):
    """Who begins anew, and from other weights, ends with weights of his own; and both checkpoints go together."""
    path = tmp_path / "run.ckpt"
    toy.source_counts().fit(few, with_head, checkpoint=path)
    path.unlink()
    again, expected = toy.source_counts(seed=1), toy.source_counts(seed=1)
    again.fit(few, with_head, checkpoint=path)
    expected.fit(few, with_head)
    assert _same(_weights(again), _weights(expected))
    assert len(list(tmp_path.iterdir())) == 2
    remove_checkpoints(path)
    assert not list(tmp_path.iterdir())


def test_spectra_end_with_a_score_that_outliers_move_less(toy, few, with_head):
    """The head's stage lowers the CRPS of training maps below that of the stage before."""
    first, both = toy.spectra(), toy.spectra()
    first.fit(few, replace(with_head, head_maps=0))
    both.fit(few, replace(with_head, head_maps=3200, learning_rate=2e-2))
    targets = first.targets(few).numpy()[..., : first.n_energy]
    scores = [crps_gaussian(targets, *each.predict(few.counts)).mean() for each in (first, both)]
    assert scores[1] < scores[0]


@pytest.mark.parametrize("stop", [5, 14])
def test_both_stages_are_resumed_with_the_same_weights_and_log(toy, few, with_head, tmp_path, monkeypatch, stop):
    settings = replace(with_head, log_every=1, checkpoint_every=3)
    whole = toy.source_counts()
    reference = whole.fit(few, settings, log=tmp_path / "whole.csv")
    killed = toy.source_counts()
    steps, loss = [], type(killed).loss

    def dying(self, output, targets):
        steps.append(1) if self.training else None
        if len(steps) > stop:
            raise _Killed
        return loss(self, output, targets)

    files = {"checkpoint": tmp_path / "run.ckpt", "log": tmp_path / "run.csv"}
    with monkeypatch.context() as patch:
        patch.setattr(type(killed), "loss", dying)
        with pytest.raises(_Killed):
            killed.fit(few, settings, **files)
    resumed = toy.source_counts()
    history = resumed.fit(few, settings, **files)
    assert _same(_weights(resumed), _weights(whole))
    assert replace(history, seconds=0) == replace(reference, seconds=0)
    rows = [list(csv.DictReader((tmp_path / name).read_text().splitlines())) for name in ("whole.csv", "run.csv")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]] == [str(k) for k in range(1, 17)]
    assert [row["train_loss"] for row in rows[0]] == [row["train_loss"] for row in rows[1]]


def test_a_finished_training_is_not_repeated(toy, few, short, tmp_path):
    first, second = toy.spectra(), toy.spectra()
    first.fit(few, short, checkpoint=tmp_path / "run.ckpt")
    history = second.fit(few, short, checkpoint=tmp_path / "run.ckpt")
    assert _same(_weights(first), _weights(second))
    assert history.maps == 640
    assert [file.name for file in tmp_path.iterdir()] == ["run.ckpt"]


def test_checkpoint_of_another_training_is_refused(toy, few, short, tmp_path):
    toy.spectra().fit(few, short, checkpoint=tmp_path / "run.ckpt")
    with pytest.raises(InputError, match=r"belongs to another training; settings.learning_rate: 0.003, now 0.1"):
        toy.spectra().fit(few, replace(short, learning_rate=0.1), checkpoint=tmp_path / "run.ckpt")
    with pytest.raises(InputError, match=r"estimator.fingerprint: 'toy', now 'other'"):
        toy.spectra(fingerprint="other").fit(few, short, checkpoint=tmp_path / "run.ckpt")


@pytest.mark.parametrize("size", [0, 7, 3000])
def test_truncated_checkpoint_is_refused(toy, few, short, tmp_path, size):
    path = tmp_path / "run.ckpt"
    toy.spectra().fit(few, short, checkpoint=path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"checkpoint .*run.ckpt: must be a whole checkpoint of a training"):
        toy.spectra().fit(few, short, checkpoint=path)


def test_history_counts_and_is_json(toy, few, short):
    history = toy.spectra().fit(few, short)
    assert history.n_train == 304
    assert history.n_validation == 16
    assert history.maps == 640
    assert history.presentations == pytest.approx(640 / 304)
    assert len(history.train_loss) == len(history.validation_loss) == 3  # 10 steps, 4 an epoch: the last one is short
    assert history.precision == "float32"
    assert json.loads(json.dumps(history.to_dict()))["maps_per_second"] == pytest.approx(640 / history.seconds)


def test_history_comes_back_from_json(toy, few, short):
    history = toy.spectra().fit(few, short)
    assert TrainingHistory.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    assert history.maps_at == (256, 512, 640)
    assert history.most_presentations == 3


def test_log_has_a_row_every_so_many_steps_and_at_every_validation(toy, few, short, tmp_path):
    history = toy.spectra().fit(few, replace(short, log_every=3), log=tmp_path / "deep" / "log.csv")
    rows = list(csv.DictReader((tmp_path / "deep" / "log.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [3, 4, 6, 8, 9, 10]
    assert [int(row["maps"]) for row in rows] == [64 * int(row["step"]) for row in rows]
    validated = [row for row in rows if row["validation_loss"]]
    assert tuple(float(row["validation_loss"]) for row in validated) == history.validation_loss
    first = 3 * float(rows[0]["train_loss"]) + float(rows[1]["train_loss"])  # an epoch of four steps
    assert first / 4 == pytest.approx(history.train_loss[0], abs=1e-9)
    assert float(rows[-1]["learning_rate"]) < float(rows[0]["learning_rate"])


def test_a_log_that_was_cut_goes_on_with_whole_rows(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "step,maps,seconds,learning_rate,train_loss,validation_loss\n1,2,0.1,0.1,3.0,\n2,4,0.2,0.1,2.0,\n3,6,0.3"
    )
    TrainingLog(path, 2).write(LogRow(3, 6, 0.4, 0.1, 1.0, 0.5))
    assert path.read_text().splitlines()[1:] == ["1,2,0.1,0.1,3.0,", "2,4,0.2,0.1,2.0,", "3,6,0.4,0.1,1.0,0.5"]


def test_validation_every_so_many_maps(toy, few, short):
    history = toy.spectra().fit(few, replace(short, validate_every=128))
    assert history.maps_at == (128, 256, 384, 512, 640)


def test_validation_maps_can_be_given(toy, few, short):
    history = toy.spectra().fit(few, short, validation=few[:50])
    assert (history.n_train, history.n_validation) == (320, 50)


def test_validation_loss_is_the_estimators_own(toy, few, short):
    """Validation in evaluation mode, batch statistics untouched: the same number comes out afterwards."""
    estimator = toy.spectra()
    history = estimator.fit(few, short, validation=few[:50])
    with torch.no_grad():
        output = estimator(torch.from_numpy(few.counts[:50].astype(np.float32)))
        loss = float(estimator.loss(output, estimator.targets(few[:50])))
    assert history.validation_loss[-1] == pytest.approx(loss, abs=1e-4)


def test_without_validation_there_is_no_validation_loss(toy, few, short):
    history = toy.spectra().fit(few, replace(short, validation_share=0.0))
    assert history.validation_loss == ()
    assert history.n_train == 320


def test_patience_stops_and_keeps_the_best_weights(toy, few):
    """Maps of the training set are given shuffled labels for validation, so that validation soon gets worse."""
    wrong = few[:100]
    wrong = type(wrong)(wrong.theta, wrong.counts, wrong.flux[::-1], wrong.scd[::-1], wrong.n_sources)
    settings = replace(toy.settings, max_maps=20_000, patience=3)
    estimator = toy.spectra()
    history = estimator.fit(few, settings, validation=wrong)
    assert history.stopped_early
    assert not history.ran_out_of_time
    assert history.maps < 20_000 < history.maps_wanted + 64
    losses = history.validation_loss
    assert len(losses) == int(np.argmin(losses)) + 1 + 3
    with torch.no_grad():
        output = estimator(torch.from_numpy(wrong.counts.astype(np.float32)))
    assert float(estimator.loss(output, estimator.targets(wrong))) == pytest.approx(min(losses), abs=1e-4)


def test_time_limit_ends_training(toy, few):
    with pytest.warns(UserWarning, match=r"training.max_seconds \(0.5 s\) ran out after \d+ of \d{9,} maps"):
        history = toy.spectra().fit(few, replace(toy.settings, max_maps=10**9, max_seconds=0.5))
    assert history.ran_out_of_time
    assert 0 < history.maps < 10**6
    assert 0.5 <= history.seconds < 10


def test_loss_that_is_not_finite_is_named_and_the_last_good_weights_kept(toy, few, short, tmp_path, monkeypatch):
    estimator = toy.spectra()
    loss, calls = type(estimator).loss, []

    def breaking(self, output, targets):
        calls.append(self.training)
        value = loss(self, output, targets)
        return value * float("nan") if sum(calls) == 7 else value

    monkeypatch.setattr(type(estimator), "loss", breaking)
    told = (
        r"loss: must be finite, got nan .* at step 6 \(training seed 0\) on training maps .*batch_rows\(n=320, "
        r"batch_size=64, seed=0, step=6\); kept the last good weights, of step 5; checkpoint .*run.ckpt is of step 4"
    )
    with pytest.raises(TrainingError, match=told) as caught:
        estimator.fit(few, short, validation=few[:16], checkpoint=tmp_path / "run.ckpt")
    assert (caught.value.step, caught.value.checkpoint) == (6, tmp_path / "run.ckpt")
    assert all(torch.isfinite(value).all() for value in estimator.state_dict().values())
    assert not estimator.training


def test_a_gradient_that_is_not_finite_is_caught_too(toy, few, short, monkeypatch):
    estimator = toy.spectra()
    loss = type(estimator).loss
    monkeypatch.setattr(
        type(estimator), "loss", lambda self, o, t: loss(self, o, t) + torch.sqrt(0 * o.log_std.sum()) * 1.0
    )
    with pytest.raises(TrainingError, match="or such a gradient at step 0"):
        estimator.fit(few, short)


@pytest.mark.skipif(not has_bfloat16(), reason="no native bfloat16 on this processor")
def test_bfloat16_is_close_to_float32(toy, maps):
    """Both reach held-out losses that differ by less than a tenth of what training gains."""
    settings = replace(toy.settings, max_maps=5000)
    losses = {}
    for precision in ("float32", "auto"):
        estimator = toy.source_counts()
        history = estimator.fit(maps.train, replace(settings, precision=precision), validation=maps.fresh)
        losses[history.precision] = (history.validation_loss[-1], estimator.quantiles(maps.fresh.counts[:50], 0.5))
    assert losses.keys() == {"float32", "bfloat16"}
    untrained = toy.source_counts()
    untrained.prepare(torch.from_numpy(maps.train.counts[:500].astype(np.float32)), untrained.targets(maps.train))
    with torch.no_grad():
        start = untrained.loss(
            untrained(torch.from_numpy(maps.fresh.counts.astype(np.float32))), untrained.targets(maps.fresh)
        )
    gain = float(start) - losses["float32"][0]
    assert abs(losses["bfloat16"][0] - losses["float32"][0]) < 0.1 * gain


def test_progress_is_shown_only_when_asked_for(toy, few, short, capfd):
    toy.spectra().fit(few, short)
    quiet = capfd.readouterr()
    assert quiet.err == quiet.out == ""
    toy.spectra().fit(few, short, progress=True)
    loud = capfd.readouterr()
    assert "spectra" in loud.err
    assert loud.out == ""


def test_no_maps_are_refused(toy, few, short):
    with pytest.raises(InputError, match="simulations: no map is left to train on"):
        train(toy.spectra(), few[:1], short)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_maps", 0, "max_maps: must be at least 1, got 0"),
        ("batch_size", 0, "batch_size: must be at least 1, got 0"),
        ("checkpoint_every", 0, "checkpoint_every: must be at least 1, got 0"),
        ("learning_rate", 0.0, "learning_rate: must be positive, got 0.0"),
        ("clip_norm", -1.0, "clip_norm: must be positive, got -1.0"),
        ("warmup", 1.0, r"warmup: must lie in \[0, 1\), got 1.0"),
        ("validation_share", -0.1, r"validation_share: must lie in \[0, 1\), got -0.1"),
        ("weight_decay", -1.0, "weight_decay: must not be negative, got -1.0"),
        ("max_seconds", 0.0, "max_seconds: must be positive, got 0.0"),
        ("patience", 0, "patience: must be at least 1, got 0"),
        ("seed", -1, "seed: must be a whole number from 0, got -1"),
        ("log_every", 0, "log_every: must be at least 1, got 0"),
        ("n_validation", 0, "n_validation: must be at least 1, got 0"),
        ("max_presentations", 0, "max_presentations: must be at least 1, got 0"),
        ("validate_every", 0, "validate_every: must be at least 1, got 0"),
        ("workers", -1, "workers: must not be negative, got -1"),
        ("max_memory", 0.0, "max_memory: must be positive, got 0.0"),
        ("head_maps", -1, "head_maps: must not be negative, got -1"),
        ("part", "tail", "part: must be one of all, head, got 'tail'"),
        ("source", "file", "source: must be one of store, stream, got 'file'"),
        ("start", "mine", "start: must be one of scratch, shipped, full, got 'mine'"),
        ("precision", "half", "precision: must be one of auto, bfloat16, float32, got 'half'"),
    ],
)
def test_settings_are_checked(name, value, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_dropout_is_checked(value):
    with pytest.raises(InputError, match=rf"dropout: must lie in \[0, 1\), got {value}"):
        NetworkSettings(dropout=value)


def test_dropout_is_the_estimators_own_unless_given(toy):
    small = {"widths": (8,), "n_features": 8}
    for given, spectra, source_counts in ((None, 0.0, 0.1), (0.3, 0.3, 0.3)):
        network = NetworkSettings(**small, dropout=given)
        assert toy.spectra(network=network).embedding.dropout.p == spectra
        assert toy.source_counts(network=network).embedding.dropout.p == source_counts

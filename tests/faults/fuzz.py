"""Malformed inputs, seeded: each is taken, or refused by an InputError. Run more by ``make fuzz``.

Whatever a person or a disk may hand to a run is altered: settings and changes to them, a run's card, the cards of
weights, tensors, NumPy archives, sealed files. A strange exception, more than a second, or 200 MB of memory is a fault.
"""

import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.kept_sky import kept_region
from gcesbi.analysis.presets import preset_names
from gcesbi.analysis.settings import IMAGES, RunSettings, load_settings
from gcesbi.errors import InputError
from gcesbi.estimators import SpectralEstimator, load_estimator, save_estimator
from gcesbi.estimators.files import read_tensors, write_tensors
from gcesbi.io.files import read_arrays, read_json, sealed, unsealed
from gcesbi.sky import Region

SECONDS, MEGABYTES = 20.0, 200
STRANGE = [
    None,
    True,
    -1,
    0,
    1e-320,
    1e308,
    float("nan"),
    10**40,
    "",
    "banana",
    "[/q]",
    "π",
    [],
    [[]],
    {},
    {"x": 1},
    "1e3",
]


def anything(rng):
    return rng.choice(STRANGE)


def altered(rng, value, depth=0):
    """A JSON value with something in it exchanged, left out, or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if (how := rng.random()) < 0.1:
            return {name: each for name, each in value.items() if name != key}
        if how < 0.2:
            return value | {rng.choice(["x", key.upper(), key[:-1], ""]): anything(rng)}
        return value | {key: altered(rng, value[key], depth + 1)}
    if isinstance(value, list) and value and rng.random() < 0.5:
        return [*value[:-1], altered(rng, value[-1], depth + 1)]
    return anything(rng)


def broken(rng, data):
    """Bytes cut, or with some of their bits turned."""
    if rng.random() < 0.2:
        return data[: rng.randrange(len(data))]
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 3])):
        at = rng.randrange(min(len(data), rng.choice([200, len(data)])))
        data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


class Inputs:
    """Kinds of inputs: each makes one, and what takes it."""

    def __init__(self, folder):
        self.folder = folder
        self.cards = [load_settings("test").model_dump(mode="json")]
        self.cards.append(load_settings("images-test", kind=IMAGES).model_dump(mode="json"))
        region = Region.disc(8)
        estimator = SpectralEstimator(region, np.ones((2, region.n_pix)), ("a", "b"))
        self.weights = save_estimator(estimator, folder / "whole", {"seed": 1})
        self.card = json.loads(self.weights.with_suffix(".json").read_text())
        write_tensors(folder / "tensors", {"a": torch.arange(6.0), "b": torch.ones(2, 3)}, {"card": {"x": 1}})
        np.savez(folder / "arrays.npz", a=np.arange(5), b=np.ones((2, 2)), c=np.array("word"))

    def settings(self, rng):
        keys = [
            "sky",
            "seed",
            "sky.nside",
            "sky.kind",
            "training.max_maps",
            "network.widths",
            "x.y.z",
            "simulation.n_train",
        ]
        values = ["5", "[/q]", "1e999", "nan", "'", "[1,[2]]", "{a=1}", "", "=", "2020-01-01", "-0", "9" * 400, "true"]
        change = f"{rng.choice(keys)}{rng.choice(['=', '=', '=', '', '.=', '=='])}{rng.choice(values)}"
        seed = rng.choice([None, None, 3, -1])
        load_settings(rng.choice(["test", "images-test"]), [change], seed, kind=rng.choice(["inner-galaxy", IMAGES]))

    def preset(self, rng):
        name = rng.choice(preset_names())
        path = self.folder / "own.toml"
        text = (Path(load_settings.__code__.co_filename).parent / "presets" / f"{name}.toml").read_bytes()
        path.write_bytes(rng.choice([b"\xef\xbb\xbf" + text, broken(rng, text), text.decode().encode("utf-16")]))
        load_settings(str(path))

    def sections(self, rng):
        values = altered(rng, rng.choice(self.cards))
        if isinstance(values, dict):
            try:
                RunSettings.model_validate(values)
            except ValueError as error:  # pydantic's, which callers put into one line
                raise InputError(str(error)) from None

    def run_card(self, rng):
        card = {"version": "0.1.0", "settings": rng.choice(self.cards), "model": "0" * 16, "region": {"nside": 8}}
        text = json.dumps(altered(rng, card)).encode()
        (self.folder / "run.json").write_bytes(broken(rng, text) if rng.random() < 0.3 else text)
        found = RunFolder.open(self.folder)
        repr(found)
        if rng.random() < 0.5:
            kept_region(self.folder, found._card)

    def estimator_card(self, rng):
        (self.folder / "a.safetensors").write_bytes(self.weights.read_bytes())
        card = altered(rng, self.card)
        if isinstance(card, dict) and rng.random() < 0.8:
            card.pop("checksum", None)
        (self.folder / "a.json").write_text(json.dumps(card))
        load_estimator(self.folder / "a")

    def tensors(self, rng):
        self.damage(rng, "tensors", lambda path: read_tensors(path, ("card",), "file: must be whole"))

    def arrays(self, rng):
        self.damage(rng, "arrays.npz", read_arrays, may_pass=True)

    def seal(self, rng):
        data = broken(rng, sealed(b"something"))
        if data != sealed(b"something"):
            unsealed(data)
            raise AssertionError("a damaged file was taken for whole")

    def json(self, rng):
        path = self.folder / "some.json"
        path.write_bytes(
            rng.choice([b"[]", b"[" * 100_000, b"\xff", b"{", b"", b"1e999", broken(rng, b'{"a": [1, 2]}')])
        )
        read_json(path)

    def damage(self, rng, name, read, may_pass=False):
        data, path = (self.folder / name).read_bytes(), self.folder / "damaged"
        path.write_bytes(changed := broken(rng, data))
        found = read(path)
        if changed != data and not may_pass:
            raise AssertionError(f"a damaged file was taken for whole: {found}")
        if may_pass and changed != data:  # the archive's names and dates have no checksum, what it holds has
            whole = read(self.folder / name)
            assert all(np.array_equal(found[key], whole[key]) for key in found.keys() & whole.keys())


KINDS = ("settings", "preset", "sections", "run_card", "estimator_card", "tensors", "arrays", "seal", "json")


def faults(n, seed=0):
    """What went wrong with `n` inputs, a line each; how many were refused."""
    found, refused = [], 0
    with tempfile.TemporaryDirectory() as name:
        inputs = Inputs(Path(name))
        for i in range(n):
            kind, rng = KINDS[i % len(KINDS)], random.Random(f"{seed} {i}")
            start, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                getattr(inputs, kind)(rng)
            except InputError as error:
                refused += 1
                if not str(error).strip():
                    found.append(f"{kind} {seed} {i}: says nothing")
            except Exception as error:  # whatever it is, it is a fault
                found.append(f"{kind} {seed} {i}: {type(error).__name__}: {error}")
            seconds, grown = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
            if seconds > SECONDS:
                found.append(f"{kind} {seed} {i}: took {seconds:.1f} s")
            if (grown.ru_maxrss - memory) / 1024 > MEGABYTES:
                found.append(f"{kind} {seed} {i}: took {(grown.ru_maxrss - memory) / 1024:.0f} MB")
    return found, refused


if __name__ == "__main__":
    found, refused = faults(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(*found[:50], f"{len(found)} faults, {refused} refused", sep="\n")  # noqa: T201
    sys.exit(bool(found))

"""The file of a shard: counts never wrap, same maps same bytes, every bit is watched."""

import io
import zipfile

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import ZipStore

from gcesbi import InputError, Simulations
from gcesbi.io.files import unsealed
from gcesbi.simulation import shard_file
from gcesbi.simulation.shard_file import Stamp, decode_shard, encode_shard

STAMP = Stamp("f" * 16, seed=1, shard=7)
NAMES = ("theta", "counts", "flux", "scd", "n_sources")


def maps(counts):
    rng = np.random.default_rng(0)
    n = len(counts)
    return Simulations(rng.random((n, 3)), counts, rng.random((n, 2, 2)), rng.random((n, 1, 4)), rng.random((n, 1)))


@pytest.mark.parametrize(
    ("largest", "kind"),
    [(0, "u1"), (255, "u1"), (256, "u2"), (65_535, "u2"), (65_536, "u4"), (2**32 - 1, "u4"), (2**32, "u8")],
)
def test_counts_take_the_smallest_type_and_never_wrap(largest, kind):
    counts = np.arange(24, dtype=np.int64).reshape(2, 2, 6) % 3
    counts[counts > largest] = 0
    counts[1, 1, 5] = largest
    read = decode_shard(encode_shard(maps(counts), STAMP), STAMP)
    assert read.counts.dtype == np.dtype(kind)
    assert np.array_equal(read.counts.astype(object), counts.astype(object))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 2**40), min_size=4, max_size=4), st.sampled_from(["i8", "u8"]))
def test_what_is_written_is_read(values, kind):
    wanted = maps(np.array(values, dtype=kind).reshape(2, 1, 2))
    read = decode_shard(encode_shard(wanted, STAMP), STAMP)
    for name in NAMES:
        assert np.array_equal(getattr(read, name), getattr(wanted, name))


def test_same_maps_same_bytes_and_any_zarr_reader_opens_them(tmp_path):
    part = maps(np.arange(8).reshape(2, 2, 2))
    data = encode_shard(part, STAMP)
    assert encode_shard(part, STAMP) == data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(set(archive.namelist()))
    (tmp_path / "shard.zip").write_bytes(data)
    with ZipStore(tmp_path / "shard.zip", mode="r") as store:
        group = zarr.open_group(store, mode="r")
        assert group.metadata.zarr_format == 3
        assert np.array_equal(group["counts"][:], part.counts)
        assert group["counts"].chunks == part.counts.shape
        assert dict(group.attrs) == {"fingerprint": "f" * 16, "seed": 1, "shard": 7, "schema": 2}


def test_arrays_beyond_the_compressors_limit_are_cut_into_chunks(monkeypatch):
    monkeypatch.setattr(shard_file, "_LARGEST_CHUNK", 20)
    part = maps(np.arange(24).reshape(6, 2, 2))
    read = decode_shard(encode_shard(part, STAMP), STAMP)
    for name in NAMES:
        assert np.array_equal(getattr(read, name), getattr(part, name))


def test_counts_are_compressed():
    counts = np.random.default_rng(1).poisson(0.5, (128, 4, 500))
    assert len(encode_shard(maps(counts), STAMP)) < 0.3 * counts.size  # entropy: 1.6 bits of 8


def test_a_change_of_any_byte_is_seen():
    data = encode_shard(maps(np.arange(8).reshape(2, 2, 2)), STAMP)
    assert unsealed(data)
    for at in range(len(data)):
        for damaged in (data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :], data[:at]):
            with pytest.raises(InputError, match="is damaged"):
                unsealed(damaged)
    with pytest.raises(InputError, match="is damaged"):
        decode_shard(data[:-1], STAMP)


@pytest.mark.parametrize(
    ("stamp", "message"),
    [
        (Stamp("0" * 16, 1, 7), "holds maps of fingerprint 'ffffffffffffffff', must be '0000000000000000'"),
        (Stamp("f" * 16, 2, 7), "holds maps of seed 1, must be 2"),
        (Stamp("f" * 16, 1, 8), "holds maps of shard 7, must be 8"),
        (Stamp("f" * 16, 1, 7, schema=3), "holds maps of schema 2, must be 3"),
    ],
)
def test_a_shard_of_something_else_is_refused(stamp, message):
    data = encode_shard(maps(np.arange(8).reshape(2, 2, 2)), STAMP)
    with pytest.raises(InputError, match=message):
        decode_shard(data, stamp)


@pytest.mark.parametrize("counts", [np.full((2, 1, 1), -1), np.full((2, 1, 1), 0.5)])
def test_what_is_no_count_is_refused(counts):
    with pytest.raises(InputError, match="counts: must be integers from 0"):
        encode_shard(maps(counts), STAMP)

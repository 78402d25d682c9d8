"""One shard of simulated maps as one file: a zarr (v3) group in a zip archive that carries its own checksum.

The archive is laid out so that the same maps always give the same bytes: entries sorted, stored, dated 1980. Its
comment, the last 64 bytes of the file, is the SHA-256 of everything before it; a file that was cut or altered anywhere
is recognised before anything in it is parsed. Each array is one chunk (up to 1 GiB), bit-shuffled and compressed with
Zstandard, which takes Poisson counts below the entropy of their histogram. Any zip or zarr reader opens the file.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gcesbi.errors import InputError
from gcesbi.io.files import sealed, unsealed
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import smallest_counts

if TYPE_CHECKING:  # zarr takes a quarter of a second to import: it is where maps are read or written
    import zarr
    from zarr.core.buffer import Buffer

__all__ = ["SCHEMA", "Stamp", "decode_shard", "encode_shard"]

SCHEMA = 2
_FIELDS = tuple(field.name for field in fields(Simulations))
_LARGEST_CHUNK = 2**30  # bytes; the compressor takes less than 2³¹
_DATE = (1980, 1, 1, 0, 0, 0)
_DIGEST = 64


@dataclass(frozen=True)
class Stamp:
    """What a shard was drawn from.

    Parameters
    ----------
    fingerprint : str
        Of the model.
    seed, shard : int
    schema : int
    """

    fingerprint: str
    seed: int
    shard: int
    schema: int = SCHEMA


def encode_shard(part: Simulations, stamp: Stamp) -> bytes:
    """The file of a shard; counts take the smallest unsigned type that holds them.

    Raises
    ------
    InputError
        If counts are no integers or negative.
    """
    import zarr
    from zarr.codecs import BloscCodec
    from zarr.storage import MemoryStore

    if part.counts.dtype.kind not in "iu" or part.counts.min(initial=0) < 0:
        raise InputError(f"counts: must be integers from 0, got {part.counts.dtype} from {part.counts.min(initial=0)}")
    counts = smallest_counts(part.counts)
    part = replace(part, counts=counts.view(counts.dtype.str))  # C has two names for one type, zarr knows one
    entries: dict[str, Buffer] = {}
    compressor = BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")
    group = zarr.create_group(MemoryStore(entries), attributes=asdict(stamp), zarr_format=3)
    for name in _FIELDS:
        values = np.ascontiguousarray(getattr(part, name))
        rows = max(1, min(len(values), _LARGEST_CHUNK // max(1, values[:1].nbytes)))
        chunks = (rows, *values.shape[1:])
        array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks, compressors=compressor)
        array[...] = values
    return _archive({name: entries[name].to_bytes() for name in sorted(entries)})


def decode_shard(data: bytes, stamp: Stamp) -> Simulations:
    """Maps of a shard's file.

    Raises
    ------
    InputError
        If the file is damaged, or was not drawn from what `stamp` says.
    """
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    unsealed(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        make = default_buffer_prototype().buffer.from_bytes
        entries = {name: make(archive.read(name)) for name in archive.namelist()}
    group = zarr.open_group(MemoryStore(entries, read_only=True), mode="r", zarr_format=3)
    for name, wanted in asdict(stamp).items():
        if group.attrs.get(name) != wanted:
            raise InputError(f"holds maps of {name} {group.attrs.get(name)!r}, must be {wanted!r}")
    return Simulations(*(_array(group, name) for name in _FIELDS))


def _archive(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)
        archive.comment = b"0" * _DIGEST
    return sealed(buffer.getvalue()[:-_DIGEST])


def _array(group: zarr.Group, name: str) -> NDArray:
    from zarr import Array

    found = group[name]
    if not isinstance(found, Array):
        raise InputError(f"is no shard of this library (it holds no array {name!r})")
    return np.asarray(found[:])

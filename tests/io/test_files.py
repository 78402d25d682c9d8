"""Archives of arrays that a disk has spoilt, and file systems that refuse to write, in one line."""

import errno
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.io.files import read_arrays, write_arrays


@pytest.mark.parametrize("wrong", [b"\xa9", b"(", b"'", b"\n"])
def test_a_header_that_is_no_python_is_refused(tmp_path, wrong):
    """NumPy reads a second time what it cannot parse, as Python's words; these end in other errors than the first."""
    whole = io.BytesIO()
    np.save(whole, np.arange(5))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", whole.getvalue().replace(b"5", wrong, 1))
    with pytest.raises(InputError, match=r"a\.npz: must be a whole NumPy archive"):
        read_arrays(tmp_path / "a.npz")


def test_a_file_system_that_is_read_only_is_one_line(tmp_path, monkeypatch):
    """It refuses to remove what is not there before it looks whether that is there."""

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(InputError, match=r"a\.npz: cannot be written \(Read-only file system\)"):
        write_arrays(tmp_path / "a.npz", {"a": np.arange(5)})


def test_an_archive_that_holds_other_than_it_states_is_refused(tmp_path):
    """A zip file's own checksums tell of its bytes; they cannot tell that whole arrays were exchanged."""
    held = {"a": np.arange(5), "b": np.array("word"), "c": np.zeros((2, 0))}
    write_arrays(tmp_path / "a.npz", held)
    read = read_arrays(tmp_path / "a.npz")
    assert read.keys() == held.keys()
    assert all(np.array_equal(read[name], held[name]) for name in held)
    with np.load(tmp_path / "a.npz") as stored:
        spoilt = dict(stored) | {"a": np.zeros((5, 1), dtype=np.int64)}
    np.savez(tmp_path / "a.npz", **spoilt)
    with pytest.raises(InputError, match=r"a\.npz: is damaged \(altered: checksum differs\)"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **held)  # by others, who state none
    assert read_arrays(tmp_path / "a.npz").keys() == held.keys()

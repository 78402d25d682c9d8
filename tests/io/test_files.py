"""Archives of arrays that a disk has spoilt are refused in one line."""

import io
import zipfile

import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.io.files import read_arrays


@pytest.mark.parametrize("wrong", [b"\xa9", b"(", b"'", b"\n"])
def test_a_header_that_is_no_python_is_refused(tmp_path, wrong):
    """NumPy reads a second time what it cannot parse, as Python's words; these end in other errors than the first."""
    whole = io.BytesIO()
    np.save(whole, np.arange(5))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", whole.getvalue().replace(b"5", wrong, 1))
    with pytest.raises(InputError, match=r"a\.npz: must be a whole NumPy archive"):
        read_arrays(tmp_path / "a.npz")

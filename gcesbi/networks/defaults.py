"""Networks are built and run by torch's and NumPy's own defaults, whatever the user has set for a script."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["own_defaults"]


@contextmanager
def own_defaults() -> Iterator[None]:
    """Tensors made within are float32 on the CPU where nothing else is said, and no number that underflows is an error.

    The user's defaults come back after it.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"), np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
            yield
    finally:
        torch.set_default_dtype(before)

"""Networks are built and run in float32, on the CPU unless a training moves them, whatever torch's defaults are."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["own_defaults"]


@contextmanager
def own_defaults() -> Iterator[None]:
    """Tensors made within are float32 on the CPU where nothing else is said; the user's defaults come back after it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(before)

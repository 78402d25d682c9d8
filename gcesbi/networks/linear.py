"""Linear layers that start near zero, so that a head first answers what its buffers say: the prior."""

from __future__ import annotations

from torch import nn

__all__ = ["quiet_linear"]


def quiet_linear(n_in: int, n_out: int) -> nn.Linear:
    """Linear layer whose outputs start near zero."""
    linear = nn.Linear(n_in, n_out)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return linear

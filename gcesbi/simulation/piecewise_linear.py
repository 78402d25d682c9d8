"""Rates over log-flux as piecewise linear functions, many at once: their integrals, and draws from them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Curves"]


class Curves(NamedTuple):
    """Functions (n_row, n_node) that are linear between evenly spaced nodes, each row with nodes of its own.

    Parameters
    ----------
    first, step : tensor (n_row, 1)
        First node and spacing.
    values : tensor (n_row, n_node)
        At the nodes, not negative.
    total : tensor (n_row, n_node)
        Integral from the first node to each node.
    """

    first: Tensor
    step: Tensor
    values: Tensor
    total: Tensor

    @classmethod
    def of(cls, first: Tensor, step: Tensor, values: Tensor) -> Curves:
        """Curves of values at nodes, with their integrals."""
        parts = 0.5 * step * (values[:, :-1] + values[:, 1:])
        total = torch.cat([torch.zeros_like(step), parts.cumsum(dim=1)], dim=1)
        return cls(first, step, values, total)

    def below(self, x: Tensor) -> Tensor:
        """Integrals (n_row, m) up to x (m,)."""
        last = self.values.shape[1] - 1
        place = ((x - self.first) / self.step).clamp(0, last)
        i = place.long().clamp_max(last - 1)
        s, low, high = place - i, self.values.gather(1, i), self.values.gather(1, i + 1)
        return self.total.gather(1, i) + self.step * s * (low + 0.5 * s * (high - low))

    def draw(self, row: Tensor, target: Tensor) -> Tensor:
        """The x (n,) up to which the integrals of rows (n,) are `target` (n,), each within its row's total."""
        n_row, n_node = self.total.shape
        whole = self.total[:, -1].clamp_min(torch.finfo(self.total.dtype).tiny)
        shares = self.total / whole[:, None] + torch.arange(n_row, device=row.device)[:, None]
        at = torch.searchsorted(shares.view(-1), target / whole[row] + row, right=True) - 1
        at = torch.minimum(torch.maximum(at, row * n_node), row * n_node + n_node - 2)
        low, high = self.values.view(-1)[at], self.values.view(-1)[at + 1]
        rest = (target - self.total.view(-1)[at]).clamp_min(0) / self.step[row, 0]
        root = torch.sqrt((low * low + 2 * rest * (high - low)).clamp_min(0))
        s = (2 * rest / (low + root).clamp_min(1e-300)).clamp(0, 1)
        return self.first[row, 0] + self.step[row, 0] * (at - row * n_node + s)

"""What every encoder's settings must satisfy, said once."""

from __future__ import annotations

from collections.abc import Sequence

from gcesbi.errors import InputError

__all__ = ["NORMS", "check_sizes"]

NORMS = ("batch", "instance", "none")
"""Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167), of each map by itself (Ulyanov et al. 2016,
arXiv:1607.08022), or none."""


def check_sizes(norm: str, widths: Sequence[int], n_channel: int, n_features: int, depth: int) -> None:
    """Raise InputError unless the norm is known and all sizes are positive."""
    if norm not in NORMS:
        raise InputError(f"norm: must be one of {', '.join(NORMS)}, got {norm!r}")
    if not widths or min(widths) < 1 or min(n_channel, n_features, depth) < 1:
        raise InputError(
            f"network: needs positive sizes, got n_channel {n_channel}, widths {tuple(widths)}, "
            f"n_features {n_features}, depth {depth}"
        )


def check_instance(norm: str, n_pix: int) -> None:
    """Raise InputError if a map's last normalised level has a single pixel, which has no spread to divide by."""
    if norm == "instance" and n_pix < 2:
        raise InputError(
            "norm: 'instance' needs at least two pixels at the last level, got 1; take fewer widths or norm 'batch'"
        )

"""Normalisation of channels, by the names of :data:`gcesbi.networks.sizes.NORMS`."""

from __future__ import annotations

from torch import nn

__all__ = ["norm_of_images", "norm_of_pixels"]


def norm_of_images(kind: str, width: int) -> nn.Module:
    """Normalisation of images (n, width, n_row, n_column)."""
    if kind == "batch":
        return nn.BatchNorm2d(width)
    return nn.InstanceNorm2d(width, affine=True) if kind == "instance" else nn.Identity()


def norm_of_pixels(kind: str, width: int) -> nn.Module:
    """Normalisation of maps (n, width, n_pix)."""
    if kind == "batch":
        return nn.BatchNorm1d(width)
    return nn.InstanceNorm1d(width, affine=True) if kind == "instance" else nn.Identity()

r"""Layers that encoders and heads share: checks of sizes, a quiet beginning, normalisation, means over pixels.

**Means.** Maxima of neighbouring pixels, from level to level, say where something shines. How clumpy a map is, that is
how many pixels hold so and so much, is a mean of rectified channels, taken before the maxima,

.. math:: m_c = \frac{1}{n_\mathrm{pix}} \sum_p \mathrm{ReLU}(w_c \cdot x_p + b_c) ,

with x_p all that a level sees around a pixel. With x_p the pixel's own channels (:class:`PixelLayer`, in front of the
levels) these are sums over a set (Zaheer et al. 2017, arXiv:1703.06114), and give the histogram of its counts as finely
as there are channels. From map to map they vary little, by about :math:`n_\mathrm{pix}^{-1/2}`, so
:class:`LevelMeans` standardises them over maps.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gcesbi.errors import InputError

__all__ = [
    "NORMS",
    "LevelMeans",
    "PixelLayer",
    "check_instance",
    "check_sizes",
    "norm_of_images",
    "norm_of_pixels",
    "quiet_linear",
]

NORMS = ("batch", "instance", "none")
"""Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167), of each map by itself (Ulyanov et al. 2016,
arXiv:1607.08022), or none."""

_EPSILON = 1e-8  # added to the variances of means, which are of the order of 1 / n_pix


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


def quiet_linear(n_in: int, n_out: int) -> nn.Linear:
    """Linear layer whose outputs start near zero."""
    linear = nn.Linear(n_in, n_out)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return linear


def norm_of_images(kind: str, width: int) -> nn.Module:
    """Normalisation of images (n, width, n_row, n_column)."""
    return _norm(kind, nn.BatchNorm2d, nn.InstanceNorm2d, width)


def norm_of_pixels(kind: str, width: int) -> nn.Module:
    """Normalisation of maps (n, width, n_pix)."""
    return _norm(kind, nn.BatchNorm1d, nn.InstanceNorm1d, width)


def _norm(kind: str, batch: type[nn.Module], instance: type[nn.Module], width: int) -> nn.Module:
    if kind == "batch":
        return batch(width)
    return instance(width, affine=True) if kind == "instance" else nn.Identity()


class PixelLayer(nn.Module):
    """Every pixel by itself: channels (n, n_channel, n_pix) to rectified channels (n, width, n_pix).

    Parameters
    ----------
    n_channel, width : int
    norm : {"batch", "instance", "none"}
    """

    def __init__(self, n_channel: int, width: int, norm: str) -> None:
        super().__init__()
        layer = nn.Conv1d(n_channel, width, 1, bias=norm == "none")
        self.layers = nn.Sequential(layer, norm_of_pixels(norm, width), nn.ReLU())

    def forward(self, maps: Tensor) -> Tensor:
        """Rectified channels of maps."""
        found: Tensor = self.layers(maps)
        return found


class LevelMeans(nn.Module):
    """Join levels' means, each (n, width), to (n, n_mean), standardised over maps unless maps are treated alone.

    Parameters
    ----------
    n_mean : int
        Channels of all levels together.
    norm : {"batch", "instance", "none"}
        With "batch" a batch of training needs two maps at least.
    """

    def __init__(self, n_mean: int, norm: str) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(n_mean, eps=_EPSILON) if norm == "batch" else nn.Identity()

    def forward(self, means: list[Tensor]) -> Tensor:
        """All means, in float32."""
        with torch.autocast(means[0].device.type, enabled=False):
            found: Tensor = self.norm(torch.cat([mean.float() for mean in means], dim=1))
            return found

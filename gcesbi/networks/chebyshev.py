r"""DeepSphere: Chebyshev graph convolutions on any HEALPix region (Perraudin et al. 2019, arXiv:1810.12186).

A filter is a polynomial of the rescaled Laplacian :math:`\tilde L` of the region's graph (:mod:`gcesbi.networks.graph`;
Defferrard et al. 2016, arXiv:1606.09375): channels x of the pixels become

.. math:: y = \sum_{k=0}^{K-1} T_k(\tilde L)\, x\, \Theta_k + b, \qquad
          T_k(\tilde L) x = 2 \tilde L\, T_{k-1}(\tilde L) x - T_{k-2}(\tilde L) x,

with :math:`T_0 x = x`, :math:`T_1 x = \tilde L x` and K matrices :math:`\Theta_k` that are learnt. A pixel sees those
at most K - 1 steps away. The filters know no direction: whatever maps the graph onto itself (mirror images, turns by
90° about the poles) commutes with them.

Activations are held pixels first, (n_pix, n, n_channel): a product with :math:`\tilde L` then adds up contiguous rows,
which torch's ``embedding_bag`` does fastest of what was tried on two cores (64 maps, 11 channels, nside 64, ms: 0.5 in
bfloat16; a CSR product, float32 only, 2.9; dense, bfloat16, 4.2; gathered neighbour by neighbour, 9.5). As
:math:`\tilde L` is symmetric, gradients flow by the same product, in Clenshaw's order.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.networks.graph import coarsen, rescaled_laplacian
from gcesbi.networks.layers import LevelMeans, PixelLayer, check_instance, check_sizes
from gcesbi.sky.region import Region

__all__ = ["ChebyshevConvolution", "ChebyshevEncoder", "PixelMaximum", "PixelNorm"]


class ChebyshevConvolution(nn.Module):
    """Graph convolution of channels (n_pix, n, n_in) to (n_pix, n, n_out).

    Parameters
    ----------
    region : Region
    n_in, n_out : int
        Channels.
    n_term : int
        Terms K of the Chebyshev series.
    bias : bool
    """

    start: Tensor
    column: Tensor
    value: Tensor

    def __init__(self, region: Region, n_in: int, n_out: int, n_term: int = 5, *, bias: bool = True) -> None:
        super().__init__()
        if n_term < 1:
            raise InputError(f"n_term: must be at least 1, got {n_term}")
        laplacian = rescaled_laplacian(region)
        self.n_term = n_term
        self.register_buffer("start", torch.from_numpy(laplacian.indptr[:-1].astype(np.int64)), persistent=False)
        self.register_buffer("column", torch.from_numpy(laplacian.indices.astype(np.int64)), persistent=False)
        self.register_buffer("value", torch.from_numpy(laplacian.data.astype(np.float32)), persistent=False)
        self.linear = nn.Linear(n_term * n_in, n_out, bias=bias)

    def terms(self, x: Tensor) -> Tensor:
        """Chebyshev terms (n_pix, n, n_term · n_in) of channels (n_pix, n, n_in), the lowest order first."""
        device = x.device.type
        x = x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x
        found: Tensor = _Terms.apply(x, self.n_term, self.start, self.column, self.value.to(x.dtype))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Channels (n_pix, n, n_out) of channels (n_pix, n, n_in)."""
        y: Tensor = self.linear(self.terms(x))
        return y


class _Terms(torch.autograd.Function):
    """T_k(L̃) x for k = 0 .. K - 1, by the recursion; its transpose by Clenshaw's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, n_term: int, start: Tensor, column: Tensor, value: Tensor) -> Tensor:
        ctx.n_term = n_term
        ctx.save_for_backward(start, column, value)
        terms = [x.contiguous()]
        for k in range(1, n_term):
            product = _multiply(terms[-1], start, column, value if k == 1 else 2 * value)
            terms.append(product if k == 1 else product.sub_(terms[-2]))
        return torch.cat(terms, dim=-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        start, column, value = ctx.saved_tensors
        *lower, above = grads[0].chunk(ctx.n_term, dim=-1)
        above, beyond = above.contiguous(), torch.zeros_like(above)
        for k in range(ctx.n_term - 2, -1, -1):
            product = _multiply(above, start, column, value if k == 0 else 2 * value)
            above, beyond = product.add_(lower[k]).sub_(beyond), above
        return above, None, None, None, None


def _multiply(x: Tensor, start: Tensor, column: Tensor, value: Tensor) -> Tensor:
    """Product of a sparse matrix, row i of which begins at start[i], with channels (n_pix, n, n_channel)."""
    product = nn.functional.embedding_bag(column, x.flatten(1), start, mode="sum", per_sample_weights=value)
    return product.view_as(x)


class PixelMaximum(nn.Module):
    """Maximum over the children of every pixel of half the nside: (n_pix, n, n_channel) to (n_coarse, n, n_channel).

    Children outside the region take no part; a coarse pixel without any is not in the coarse region.

    Parameters
    ----------
    region : Region

    Attributes
    ----------
    coarse : Region
        Where the result lies.
    """

    child: Tensor

    def __init__(self, region: Region) -> None:
        super().__init__()
        self.coarse, children = coarsen(region)
        self.register_buffer("child", torch.from_numpy(children.ravel()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maxima (n_coarse, n, n_channel)."""
        four = x.flatten(1).index_select(0, self.child)
        square = four.view(-1, 2, 2, four.shape[1]).permute(0, 3, 1, 2)  # an image per coarse pixel, channels last
        return nn.functional.max_pool2d(square, 2).flatten(1).view(-1, *x.shape[1:])


class PixelNorm(nn.Module):
    """Normalisation of channels (n_pix, n, n_channel): over pixels and maps ("batch"), or over pixels ("instance")."""

    def __init__(self, kind: str, n_channel: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        if kind == "batch":
            self.norm = nn.BatchNorm2d(n_channel)
        elif kind == "instance":
            self.norm = nn.InstanceNorm1d(n_channel, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised channels (n_pix, n, n_channel)."""
        if isinstance(self.norm, nn.InstanceNorm1d):
            normed: Tensor = self.norm(x.permute(1, 2, 0)).permute(2, 0, 1)
            return normed
        image = self.norm(x.permute(2, 0, 1)[None])  # one image of n_pix × n pixels, channels last
        return image[0].permute(1, 2, 0)


class ChebyshevEncoder(nn.Module):
    """Graph convolutions on a HEALPix region: maps (n, n_channel, n_pix) to features (n, n_features).

    Each level convolves, takes the maximum of four pixels (nside halves), normalises and rectifies. The features are
    a linear map of the last level's pixels and of every level's mean over pixels, rectified: the same as those of
    :class:`gcesbi.networks.FaceEncoder`, which differs in its filters, in the place (row, column) that it is told, and
    in being bound to one base face.

    Parameters
    ----------
    region : Region
        Any, of any nside of at least 2^k for k widths.
    n_channel, widths, n_features, depth, norm, means
        See :class:`gcesbi.networks.FaceEncoder`.
    n_term : int
        Terms of the Chebyshev series.
    """

    def __init__(
        self,
        region: Region,
        n_channel: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        n_features: int = 256,
        *,
        depth: int = 1,
        norm: str = "batch",
        n_term: int = 5,
        means: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(norm, widths, n_channel, n_features, depth)
        if region.nside < 2 ** len(widths):
            raise InputError(
                f"widths: at most log2(nside) = {region.nside.bit_length() - 1} levels fit nside {region.nside}, "
                f"got {len(widths)}"
            )
        levels, pools = [], []
        for n_in, n_out in zip([n_channel, *widths[:-1]], widths, strict=True):
            level, pool = _level(region, n_in, n_out, depth, norm, n_term, pool=not means)
            levels.append(level)
            pools.append(pool)
            region = pool.coarse
        check_instance(norm, region.n_pix)
        self.levels = nn.ModuleList(levels)
        n_mean = widths[0] + sum(widths) if means else 0
        self.dense = nn.Linear(region.n_pix * widths[-1] + sum(widths) + n_mean, n_features)
        self.means = LevelMeans(n_mean, norm) if means else None
        self.pixel = PixelLayer(n_channel, widths[0], norm) if means else None
        self.pools = nn.ModuleList(pools) if means else None

    def forward(self, maps: Tensor) -> Tensor:
        """Features (n, n_features) of maps (n, n_channel, n_pix)."""
        x = maps.permute(2, 0, 1)
        seen, means = [], [] if self.pixel is None else [self.pixel(maps).mean(dim=2)]
        for k, level in enumerate(self.levels):
            x = level(x)
            if self.pools is not None:
                means.append(x.mean(dim=0))
                x = self.pools[k](x)
            seen.append(x.mean(dim=0))
        if self.means is not None:
            seen.append(self.means(means))
        return torch.relu(self.dense(torch.cat([x.transpose(0, 1).flatten(1), *seen], dim=1)))


def _level(
    region: Region, n_in: int, n_out: int, depth: int, norm: str, n_term: int, *, pool: bool
) -> tuple[nn.Sequential, PixelMaximum]:
    """`depth` times convolution, norm and ReLU, the last, if told to, with a maximum in front of its norm; the maximum.

    Norm and ReLU before and after the maximum are as in :mod:`gcesbi.networks.face`.
    """
    maximum = PixelMaximum(region)
    layers: list[nn.Module] = []
    for k in range(depth):
        layers.append(ChebyshevConvolution(region, n_in if k == 0 else n_out, n_out, n_term, bias=norm == "none"))
        layers += [maximum] if pool and k == depth - 1 else []
        layers += [PixelNorm(norm, n_out), nn.ReLU()]
    return nn.Sequential(*layers), maximum

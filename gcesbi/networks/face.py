"""A HEALPix region as an ordinary image, and a convolutional network on it.

In NESTED order the nside² pixels of one base face of HEALPix (Górski et al. 2005, astro-ph/0409513) are numbered along
a Morton curve: the even bits of the number are the column, the odd bits the row of a square grid of equal-area pixels.
A 2-D convolution on that grid is therefore a convolution on equal-area pixels of the sphere. The disc of 25° about the
Galactic Centre lies wholly inside base face 4. Regions that straddle faces need graph convolutions and are refused.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.networks.layers import LevelMeans, PixelLayer, check_instance, check_sizes, norm_of_images
from gcesbi.sky import Grid, ImageRegion, Region
from gcesbi.sky.healpix import xy_of_pixel

__all__ = ["FaceEncoder", "FaceImage"]


class FaceImage:
    """Where the pixels of a region lie on the smallest image that holds them.

    Parameters
    ----------
    region : Region or ImageRegion
        All HEALPix pixels must lie in one base face.
    multiple : int
        Height and width are rounded up to multiples of this number.

    Attributes
    ----------
    face : int
        Base face, 0 .. 11.
    row, column : array (n_pix,)
        Place of every pixel of the region on the image.
    height, width : int
        Size of the image. Its far rim may reach beyond the face; nothing of the region lies there.

    Raises
    ------
    InputError
        If the region's pixels lie in more than one base face.
    """

    def __init__(self, region: Grid, multiple: int = 1) -> None:
        if multiple < 1:
            raise InputError(f"multiple: must be at least 1, got {multiple}")
        if isinstance(region, ImageRegion):
            row, column = np.divmod(region.pixels, region.geometry.shape[1])
            face = np.zeros_like(row)
        else:
            face, column, row = xy_of_pixel(Region.of(region).nside, region.pixels).T
        faces = np.unique(face)
        if len(faces) != 1:
            raise InputError(f"region: must lie inside one HEALPix base face, got pixels of faces {faces.tolist()}")
        self.face = int(faces[0])
        self.row, self.column = row - row.min(), column - column.min()
        self.height = -(-int(self.row.max() + 1) // multiple) * multiple
        self.width = -(-int(self.column.max() + 1) // multiple) * multiple

    @property
    def place(self) -> NDArray[np.int64]:
        """Position (n_pix,) of every pixel of the region on the flattened image."""
        return self.row * self.width + self.column

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Image (height, width): true on the region."""
        mask = np.zeros((self.height, self.width), dtype=bool)
        mask[self.row, self.column] = True
        return mask

    def image(self, values: ArrayLike, fill: float = 0.0) -> NDArray:
        """Spread values (..., n_pix) over images (..., height, width), `fill` outside the region."""
        values = np.asarray(values)
        image = np.full((*values.shape[:-1], self.height, self.width), fill, dtype=values.dtype)
        image[..., self.row, self.column] = values
        return image


def _level(n_in: int, n_out: int, depth: int, norm: str, *, pool: bool) -> nn.Sequential:
    """`depth` times convolution, norm and ReLU, the last, if told to, with a 2 × 2 maximum in front of its norm.

    Norm and ReLU after the maximum equal norm and ReLU before it for positive gains, at a quarter of the cost.
    """
    layers: list[nn.Module] = []
    for k in range(depth):
        layers.append(nn.Conv2d(n_in if k == 0 else n_out, n_out, 3, padding=1, bias=norm == "none"))
        layers += [nn.MaxPool2d(2, ceil_mode=True)] if pool and k == depth - 1 else []
        layers += [norm_of_images(norm, n_out), nn.ReLU()]
    return nn.Sequential(*layers)


class FaceEncoder(nn.Module):
    """Convolutions on the HEALPix face: maps (n, n_channel, n_pix) to features (n, n_features).

    Each level convolves (3 × 3), takes the 2 × 2 maximum, normalises and rectifies. The features are a linear map of
    the last level's image and of every level's mean over the image, rectified. Three channels are appended to the
    input: the region's mask, and row and column, so that a filter knows where it stands. Pixels outside the region
    are zero in every input channel: what a map holds there is never read.

    Parameters
    ----------
    region : Region or ImageRegion
        Inside one base face.
    n_channel : int
        Channels of the maps.
    widths : sequence of int
        Channels of each level.
    n_features : int
        Features returned.
    depth : int
        Convolutions per level.
    norm : {"batch", "instance", "none"}
    means : bool
        Show the dense layer means over the region's pixels too (:mod:`gcesbi.networks.layers`): of a layer of every
        pixel by itself, as wide as the first level, and of every level before its maximum.
    """

    place: Tensor
    fixed: Tensor
    held: Tensor

    def __init__(
        self,
        region: Grid,
        n_channel: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        n_features: int = 256,
        *,
        depth: int = 1,
        norm: str = "batch",
        means: bool = False,
        padding: int = 8,
    ) -> None:
        super().__init__()
        check_sizes(norm, widths, n_channel, n_features, depth)
        image = FaceImage(region, multiple=padding)
        n_last = math.prod(-(-size // 2 ** len(widths)) for size in (image.height, image.width))
        check_instance(norm, n_last)
        self.height, self.width, self.n_pix, self.n_channel = image.height, image.width, region.n_pix, n_channel
        self.register_buffer("place", torch.from_numpy(image.place), persistent=False)
        self.register_buffer("fixed", _fixed_channels(image), persistent=False)
        n_in = [n_channel + self.fixed.shape[-1], *widths]
        levels = (_level(a, b, depth, norm, pool=not means) for a, b in zip(n_in[:-1], widths, strict=True))
        self.levels = nn.ModuleList(levels)
        n_mean = widths[0] + sum(widths) if means else 0
        self.dense = nn.Linear(widths[-1] * n_last + sum(widths) + n_mean, n_features)
        self.means = LevelMeans(n_mean, norm) if means else None
        self.pixel = PixelLayer(n_channel, widths[0], norm) if means else None
        self.register_buffer("held", torch.from_numpy(image.mask).float()[None, None], persistent=False)

    def image(self, maps: Tensor) -> Tensor:
        """Images (n, n_channel + 3, height, width) of maps (n, n_channel, n_pix); channels last in memory."""
        fixed = self.fixed.expand(len(maps), -1, -1)
        pixels = torch.cat([maps.transpose(1, 2), fixed.to(maps.dtype)], dim=-1)
        image = pixels.new_zeros(len(maps), self.height * self.width, pixels.shape[-1])
        image = image.index_copy(1, self.place, pixels)
        return image.view(len(maps), self.height, self.width, -1).permute(0, 3, 1, 2)

    def forward(self, maps: Tensor) -> Tensor:
        """Features (n, n_features) of maps (n, n_channel, n_pix)."""
        image, held = self.image(maps), self.held
        seen, means = [], [] if self.pixel is None else [self.pixel(maps).mean(dim=2)]
        for level in self.levels:
            image = level(image)
            if self.means is not None:
                means.append(_mean_where(image, held))
                image, held = (nn.functional.max_pool2d(each, 2, ceil_mode=True) for each in (image, held))
            seen.append(image.mean(dim=(2, 3)))
        if self.means is not None:
            seen.append(self.means(means))
        return torch.relu(self.dense(torch.cat([image.flatten(1), *seen], dim=1)))


def _mean_where(image: Tensor, held: Tensor) -> Tensor:
    """Mean (n, n_channel) of images (n, n_channel, height, width) over pixels that are held, (1, 1, height, width)."""
    return image.flatten(2) @ held.flatten() / held.sum()


def _fixed_channels(image: FaceImage) -> Tensor:
    """Mask, row and column of the region's pixels, (1, n_pix, 3); rows and columns in [-1, 1]."""
    size = max(image.height, image.width)
    place = np.stack([image.row, image.column], axis=-1) * (2 / size) - 1
    return torch.from_numpy(np.concatenate([np.ones((len(place), 1)), place], axis=-1)[None]).float()

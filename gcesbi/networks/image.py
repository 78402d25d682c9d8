r"""What a network sees of a counts image, and its convolutions (Caron et al. 2018, arXiv:1708.06706).

**Picture.** Counts k of an image, of its whole or of one half, summed over blocks of pixels if they are to be larger,
become channels between 0 and 1, one for each energy bin, in one of four ways:

========= ================================================================================================
maximum   k / k_max, k_max the largest counts of a channel in training images: the paper's
root      √(k / k_max): Poisson noise is even then
contrast  1 / (1 + exp(-d / 2σ)), with r = √(k + 3/8), u = r - ⟨r⟩ its deviation from the pixel's mean in training
          images, and d = u - ū that from the mean ū of u in the pixels around; σ is the spread of d
deviation 1/2 + d / 32σ: the same without the sigmoid, in which bright sources are all alike; cut at ±16σ
========= ================================================================================================

The contrast knows no smooth light: what two interstellar models differ in is smooth over some degrees and falls away,
with what it says about the excess' brightness; sources remain. Where the prior of backgrounds is narrow, that is what
lets a network answer on a model that it never saw. The pixels around are those of the whole image: at its inner edge a
half knows two rows or columns of the other.

**Encoder.** Convolutions of 3 × 3, each rectified and followed by a maximum over 2 × 2 pixels; then a dense layer.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.networks.layers import check_instance, check_sizes, norm_of_images, quiet_linear
from gcesbi.sky.image import ImageRegion

__all__ = [
    "PARTS",
    "SCALINGS",
    "ImageEmbedding",
    "ImageEncoder",
    "ImageInput",
    "LightInput",
    "ShareHead",
    "check_image",
]

PARTS = ("full", "left", "right", "top", "bottom")
"""Parts of an image; the left half has the higher longitudes, the top one the higher latitudes."""
SCALINGS = ("maximum", "root", "contrast", "deviation")
_FARTHEST = 16.0  # spreads at which the picture of a deviation ends
SURROUNDINGS = 5
"""Pixels along a side of the square over which the contrast's mean is taken."""


def check_image(part: str, scaling: str, rebin: int) -> None:
    """Raise InputError unless there is such a part and scaling, and pixels are summed over blocks of at least one."""
    for name, value, known in (("part", part, PARTS), ("scaling", scaling, SCALINGS)):
        if value not in known:
            raise InputError(f"{name}: must be one of {', '.join(known)}, got {value!r}")
    if rebin < 1:
        raise InputError(f"rebin: must be at least 1, got {rebin}")


RESPONSE: dict[str, Any] = {"size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0}
"""Local response normalisation (Krizhevsky, Sutskever & Hinton 2012): a_i / (k + α/size Σ_j a_j²)^β over `size` filters
about i, with their numbers."""


RINGS = (1.5, 3.0, 6.0)
"""Distances from the Galactic Centre, degrees, at which one ring of means ends and the next begins."""


class ImageInput(nn.Module):
    """Counts (n, n_energy, n_pix) to pictures (n, n_energy, n_row, n_col) between 0 and 1.

    Parameters
    ----------
    region : ImageRegion
        Pixels of its rectangle that it does not hold are empty.
    n_energy : int
    part : {"full", "left", "right", "top", "bottom"}
    scaling : {"maximum", "root", "contrast", "deviation"}
    rebin : int
        Pixels along a side of the blocks over which counts are summed.
    flips : bool
        In training every picture is mirrored in longitude, in latitude, or in both, at random.

    Raises
    ------
    InputError
        If there is no such part or scaling, or blocks do not fit into the image.
    """

    place: Tensor
    held: Tensor
    largest: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        region: ImageRegion,
        n_energy: int,
        part: str = "full",
        scaling: str = "maximum",
        rebin: int = 1,
        flips: bool = False,
    ) -> None:
        super().__init__()
        self.flips = flips
        check_image(part, scaling, rebin)
        rows, columns = region.geometry.shape
        if rows % rebin or columns % rebin:
            raise InputError(f"rebin: must divide the image's {rows} rows and {columns} columns, got {rebin}")
        self.full_shape, self.part, self.scaling, self.rebin = (rows, columns), part, scaling, rebin
        self.rows, self.columns = _part(part, rows // rebin, columns // rebin)
        self.shape = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        if min(self.shape) < 1:
            raise InputError(f"part: {part!r} of {rows // rebin} x {columns // rebin} pixels holds none")
        self.register_buffer("place", torch.from_numpy(region.pixels.copy()), persistent=False)
        self.register_buffer("held", self._held(), persistent=False)
        self.register_buffer("largest", torch.ones(n_energy, 1, 1))
        self.register_buffer("mean", torch.zeros(n_energy, rows // rebin, columns // rebin))
        self.register_buffer("spread", torch.ones(n_energy, 1, 1))

    @torch.no_grad()
    def standardise(self, counts: Tensor) -> None:
        """Set the largest counts, mean and spread from training images (n, n_energy, n_pix)."""
        whole = self._whole(counts)
        self.largest.copy_(self._cut(whole).amax(dim=(0, 2, 3)).clamp_min(1)[:, None, None])
        self.mean.copy_(_root(whole).mean(dim=0))
        square = self._cut(self._contrast(whole)).square().mean(dim=(0, 2, 3)) / self._cut(self.held).mean()
        self.spread.copy_(square.sqrt().clamp_min(1e-3)[:, None, None])

    def image(self, counts: Tensor) -> Tensor:
        """Counts (n, n_energy, n_row, n_col) of the part that is seen."""
        return self._cut(self._whole(counts))

    def means_of(self, values: Tensor) -> Tensor:
        """Means over the picture's pixels (n_row, n_col) of values (n_row, n_col) on the whole image."""
        return self._cut(self._blocks(values[None].float())[0]) / self.rebin**2

    def forward(self, counts: Tensor) -> Tensor:
        """Picture of counts (n, n_energy, n_pix)."""
        whole = self._whole(counts)
        smooth = self.scaling in ("maximum", "root")
        seen = self._cut(self._mirrored(whole if smooth else self._contrast(whole)))
        if self.scaling == "contrast":
            return torch.sigmoid(seen / (2 * self.spread))
        if self.scaling == "deviation":
            return (0.5 + seen / (2 * _FARTHEST * self.spread)).clamp(0, 1)
        share = (seen / self.largest).clamp_max(1)
        return share.sqrt() if self.scaling == "root" else share

    def _mirrored(self, images: Tensor) -> Tensor:
        """Whole images, in training mirrored at random if :attr:`flips`."""
        if not (self.training and self.flips):
            return images
        for axis in (2, 3):
            chosen = (torch.rand(len(images), device=images.device) < 0.5)[:, None, None, None]
            images = torch.where(chosen, images.flip(axis), images)
        return images

    def _whole(self, counts: Tensor) -> Tensor:
        """Counts (n, n_energy, ...) of the whole image's blocks."""
        rows, columns = self.full_shape
        flat = counts.new_zeros(*counts.shape[:2], rows * columns, dtype=torch.float32)
        flat = flat.index_copy(2, self.place, counts.float())
        return self._blocks(flat.view(*counts.shape[:2], rows, columns))

    def _contrast(self, images: Tensor) -> Tensor:
        """Deviation d of a whole image from mean and surroundings; zero outside the region."""
        deviation = (_root(images) - self.mean) * self.held
        sums = [nn.functional.avg_pool2d(each, SURROUNDINGS, 1, SURROUNDINGS // 2) for each in (deviation, self.held)]
        return (deviation - sums[0] / sums[1].clamp_min(1e-3)) * self.held

    def _held(self) -> Tensor:
        """Blocks of the whole image that lie in the region, (1, ...): 1, else 0."""
        rows, columns = self.full_shape
        held = torch.zeros(rows * columns).index_fill(0, self.place, 1.0)
        return (self._blocks(held.view(1, rows, columns)) > 0).float()

    def _blocks(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, self.rebin) * self.rebin**2 if self.rebin > 1 else images

    def _cut(self, images: Tensor) -> Tensor:
        return images[..., self.rows, self.columns]


class ImageEncoder(nn.Module):
    """Convolutions on pictures (n, n_channel, n_row, n_col) to features (n, n_features).

    Parameters
    ----------
    shape : (n_row, n_col)
    n_channel, widths, n_features
        See :class:`gcesbi.networks.FaceEncoder`; a level is one convolution.
    norm : {"batch", "instance", "none"}
        Before a convolution's output is rectified.
    means : bool
        Show the dense layer every convolution's mean over its image too, not the last pooled image alone: how clumpy
        an image is, is a mean.
    response : bool
        Normalise local responses after every rectifier: :data:`RESPONSE`.
    distance : tensor (n_row, n_col), degrees, optional
        Of the picture's pixels from the Galactic Centre: means are then taken in rings of it, :data:`RINGS`.
    pooled : bool
        Take the means after the maximum over 2 x 2 pixels, not before it: less than half the work.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        n_channel: int,
        widths: Sequence[int],
        n_features: int,
        *,
        norm: str = "none",
        means: bool = False,
        response: bool = False,
        distance: Tensor | None = None,
        pooled: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(norm, widths, n_channel, n_features, 1)
        last = [-(-size // 2 ** (len(widths) - 1)) for size in shape]
        check_instance(norm, last[0] * last[1])
        self.means, self.pooled, self.response = means, pooled, response
        self.n_ring = 1 if distance is None else len(RINGS) + 1
        for level, rings in enumerate(_rings(distance, len(widths) + pooled)[int(pooled) :]):
            self.register_buffer(f"rings_{level}", rings, persistent=False)
        n_in = [n_channel, *widths[:-1]]
        self.levels = nn.ModuleList(_level(a, b, norm, response) for a, b in zip(n_in, widths, strict=True))
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        rows, columns = (-(-size // 2 ** len(widths)) for size in shape)
        self.dense = nn.Linear(widths[-1] * rows * columns + (sum(widths) * self.n_ring if means else 0), n_features)

    def activations(self, picture: Tensor) -> list[Tensor]:
        """What every convolution gives after it is rectified, before the maximum: (n, n_filter, n_row, n_col) each."""
        found = []
        for level in self.levels:
            found.append(level(picture))
            picture = self.pool(found[-1])
        return found

    def forward(self, picture: Tensor) -> Tensor:
        """Features of pictures."""
        means = []
        for k, level in enumerate(self.levels):
            if self.response or (self.means and not self.pooled):
                seen = level(picture)
                picture = self.pool(seen)
            else:  # the maximum of what is rectified is the rectified maximum, of a quarter as many pixels
                convolution, norm, rectifier = level.children()
                picture = rectifier(self.pool(norm(convolution(picture))))
            if self.means:
                means.append(self._means(picture if self.pooled else seen, k))
        return torch.relu(self.dense(torch.cat([picture.flatten(1), *means], dim=1)))

    def _means(self, values: Tensor, level: int) -> Tensor:
        """Means of a level's filters over the image, (n, n_filter), or over every ring, (n, n_filter n_ring)."""
        if self.n_ring == 1:
            return values.mean(dim=(2, 3))
        rings = getattr(self, f"rings_{level}").flatten(1).to(values.dtype)
        return (values.flatten(2) @ rings.T).flatten(1)


class LightInput(nn.Module):
    """Scores (n, n_score) of the smooth light of counts (n, n_energy, n_pix), standardised.

    They are linear functions of √(k + 3/8): see :mod:`gcesbi.simulation.light_scores`.
    """

    weights: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, n_score: int, n_energy: int, n_pix: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(n_score, n_energy, n_pix))
        self.register_buffer("mean", torch.zeros(n_score))
        self.register_buffer("spread", torch.ones(n_score))

    @torch.no_grad()
    def standardise(self, counts: Tensor) -> None:
        """Set mean and spread from training images."""
        scores = torch.cat([self._scores(part) for part in counts.split(1024)])
        self.mean.copy_(scores.mean(dim=0))
        self.spread.copy_(scores.std(dim=0).clamp_min(1e-6))

    def forward(self, counts: Tensor) -> Tensor:
        """Scores, of mean 0 and spread 1 over training images, in float32."""
        with torch.autocast(counts.device.type, enabled=False):
            return ((self._scores(counts) - self.mean) / self.spread).clamp(-10, 10)

    def _scores(self, counts: Tensor) -> Tensor:
        return torch.einsum("nep,sep->ns", _root(counts.float()), self.weights)


class ImageEmbedding(nn.Module):
    """Counts (n, n_energy, n_pix) to features (n, n_features): picture, convolutions, two dense layers.

    Parameters
    ----------
    inputs : ImageInput
    encoder : ImageEncoder
    n_features : int
        That the encoder returns, and this module.
    dropout : float
        Share of the encoder's features that is set to zero, at random, in training.
    light : LightInput, optional
        Scores that the last layer sees beside the encoder's features, through a layer of their own.
    """

    def __init__(
        self,
        inputs: ImageInput,
        encoder: ImageEncoder,
        n_features: int,
        dropout: float = 0.0,
        light: LightInput | None = None,
    ) -> None:
        super().__init__()
        self.inputs, self.encoder, self.light = inputs, encoder, light
        self.dropout = nn.Dropout(dropout)
        n_light = 0 if light is None else len(light.mean)
        self.hidden = nn.Linear(n_light, n_features) if light is not None else None
        self.dense = nn.Linear(n_features * (1 if light is None else 2) + n_light, n_features)

    def forward(self, counts: Tensor) -> Tensor:
        """Features of counts."""
        features = self.dropout(self.encoder(self.inputs(counts)))
        if self.light is not None and self.hidden is not None:
            scores = self.light(counts)
            features = torch.cat([features, scores, torch.relu(self.hidden(scores))], dim=1)
        return torch.relu(self.dense(features))


class ShareHead(nn.Module):
    """Features (n, n_features) to a number (n,) between 0 and 1, by a sigmoid."""

    shift: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.linear = quiet_linear(n_features, 1)
        self.register_buffer("shift", torch.zeros(()))

    @torch.no_grad()
    def set_prior(self, targets: Tensor) -> None:
        """Let zero features answer the mean of training labels (n,)."""
        self.shift.copy_(torch.logit(targets.double().mean().clamp(1e-3, 1 - 1e-3)).float())

    def forward(self, features: Tensor) -> Tensor:
        """The share, in float32."""
        with torch.autocast(features.device.type, enabled=False):
            return torch.sigmoid(self.linear(features.float())[:, 0] + self.shift)


def _root(images: Tensor) -> Tensor:
    return torch.sqrt(images + 0.375)


def _rings(distance: Tensor | None, n_level: int) -> list[Tensor]:
    """Weights (n_ring, n_row, n_col) of every level's pixels in means over rings; none without distances."""
    if distance is None:
        return []
    inner = torch.bucketize(distance.float(), torch.tensor(RINGS), right=True)
    share, found = nn.functional.one_hot(inner, len(RINGS) + 1).permute(2, 0, 1).float(), []
    for _ in range(n_level):
        found.append(share / share.sum(dim=(1, 2), keepdim=True).clamp_min(1e-6))
        share = nn.functional.avg_pool2d(share, 2, ceil_mode=True)
    return found


def _part(part: str, rows: int, columns: int) -> tuple[slice, slice]:
    """Rows and columns of a part of an image."""
    whole = slice(0, rows), slice(0, columns)
    halves = {
        "left": (whole[0], slice(0, columns // 2)),
        "right": (whole[0], slice(columns // 2, columns)),
        "bottom": (slice(0, rows // 2), whole[1]),
        "top": (slice(rows // 2, rows), whole[1]),
    }
    return halves.get(part, whole)


def _level(n_in: int, n_out: int, norm: str, response: bool) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, 3, padding=1, bias=norm == "none")
    layers = [convolution, norm_of_images(norm, n_out), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.LocalResponseNorm(**RESPONSE)] if response else []))

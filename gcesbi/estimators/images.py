"""Estimators of images: the paper's network, quantiles of f_src, and the joint posterior of all parameters.

============== =====================================================================================================
ShareEstimator f_src as a number: sigmoid, mean square error, squared weights of convolutions as a penalty; the output
               is brought to the largest truth of validation images (Caron et al. 2018, arXiv:1708.06706)
ShareQuantiles quantiles of f_src that cannot cross (:class:`gcesbi.networks.quantile.ShareQuantileHead`), their levels
               made true on validation images
ImageNpe       joint density of f_src, α and γ, or those that vary (:mod:`gcesbi.estimators.neural_posterior`); levels
               of each made true likewise
============== =====================================================================================================

All see counts through the same convolutions (:mod:`gcesbi.networks.image`), train in the library's loop and are stored
as its other estimators are. They learn from images of several interstellar models together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.estimators.base import Estimator, digest
from gcesbi.estimators.losses import check_quantile_loss, levels_of_loss, quantile_loss
from gcesbi.estimators.neural_posterior import NpeEstimator
from gcesbi.networks.image import ImageEmbedding, ImageEncoder, ImageInput, LightInput, ShareHead, check_image
from gcesbi.networks.layers import check_sizes
from gcesbi.networks.quantile import QuantileOutput, ShareQuantileHead
from gcesbi.posterior import asked, check_levels
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.image import ImageRegion, angular_distance

__all__ = [
    "ImageEstimator",
    "ImageNetworkSettings",
    "ImageNpe",
    "ShareEstimator",
    "ShareQuantiles",
    "activations",
    "joint_fingerprint",
]

Array = NDArray[np.float64]

_LATER = ("response", "rings", "flips", "light", "pooled")
_LEVELS = np.arange(1, 100) / 100
_DRAWS = 200
_N_SHARE, _N_OTHER = 64, 8  # nodes at which a density is taken, of f_src and of each parameter that is integrated out
_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class ImageNetworkSettings:
    """Sizes of the networks; by default those of the paper's scale.

    Parameters
    ----------
    widths : tuple of int
        Filters of each convolution.
    n_features : int
        Width of the two dense layers.
    scaling : {"maximum", "root", "contrast", "deviation"}
        How counts are brought between 0 and 1: see :mod:`gcesbi.networks.image`.
    rebin : int
        Pixels along a side of the blocks over which counts are summed.
    norm : {"batch", "instance", "none"}
    means : bool
        Show the dense layers every convolution's mean over its image.
    penalty : float
        Weight of the sum of squares of the convolutions' weights in the loss.
    dropout : float
        Share of features that is set to zero, at random, in training.
    response : bool
        Divide every convolution's rectified output by that of the filters beside it, as the paper does (its App. A.1):
        :data:`gcesbi.networks.image.RESPONSE`.
    rings : bool
        With `means`: take them in rings about the Galactic Centre, :data:`gcesbi.networks.image.RINGS`.
    flips : bool
        Mirror pictures at random in training, in longitude and latitude: for skies that look the same then.
    light : bool
        Show networks of f_src the scores of smooth light too (:mod:`gcesbi.simulation.light_scores`); whether the joint
        posterior sees them, ``joint.light`` says.
    pooled : bool
        With `means`: take them after a convolution's maximum over 2 x 2 pixels, not before: less than half the work.

    Raises
    ------
    InputError
        If a value is out of range or unknown.
    """

    widths: tuple[int, ...] = (64, 128, 128, 256, 256)
    n_features: int = 256
    scaling: str = "maximum"
    rebin: int = 1
    norm: str = "none"
    means: bool = False
    penalty: float = 1e-5
    dropout: float = 0.0
    response: bool = False
    rings: bool = False
    flips: bool = False
    light: bool = False
    pooled: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        check_sizes(self.norm, self.widths, 1, self.n_features, 1)
        check_image("full", self.scaling, self.rebin)
        if not self.penalty >= 0:
            raise InputError(f"penalty: must not be negative, got {self.penalty!r}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout: must lie in [0, 1), got {self.dropout!r}")


class ImageEstimator(Estimator):
    """What estimators of images share: pixels of an image, and convolutions on it.

    `n_light` is the number of scores of smooth light that it sees beside its picture; :meth:`see_light` says which.
    """

    network_settings = ImageNetworkSettings
    network: ImageNetworkSettings  # type: ignore[assignment]
    embedding: ImageEmbedding  # type: ignore[assignment]
    part: str = "full"

    def __init__(self, *sky: Any, n_light: int = 0, **settings: Any) -> None:
        if n_light < 0:
            raise InputError(f"n_light: must not be negative, got {n_light}")
        self.n_light = n_light
        super().__init__(*sky, **settings)

    def _more_identity(self) -> dict[str, Any]:
        return super()._more_identity() | ({"n_light": self.n_light} if self.n_light else {})

    def _embedding(self) -> ImageEmbedding:  # type: ignore[override]
        sizes = self.network
        inputs = ImageInput(self.region, self.n_energy, self.part, sizes.scaling, sizes.rebin, sizes.flips)  # type: ignore[arg-type]
        how: dict[str, Any] = {
            "norm": sizes.norm,
            "means": sizes.means,
            "response": sizes.response,
            "pooled": sizes.pooled,
        }
        how |= {"distance": inputs.means_of(self._away())} if sizes.rings else {}
        encoder = ImageEncoder(inputs.shape, self.n_energy, sizes.widths, sizes.n_features, **how)
        light = LightInput(self.n_light, self.n_energy, self.region.n_pix) if self.n_light else None
        return ImageEmbedding(inputs, encoder, sizes.n_features, sizes.dropout, light)

    def _network_identity(self) -> dict[str, Any]:
        """As every estimator's; what is off and came later than others is not told: older files do not know it."""
        return {name: v for name, v in super()._network_identity().items() if v or name not in _LATER}

    @torch.no_grad()
    def see_light(self, weights: ArrayLike) -> None:
        """Set the weights (n_light, n_energy, n_pix) of the scores of smooth light, before training.

        See :func:`gcesbi.simulation.light_scores.light_scores`.
        """
        light, values = self.embedding.light, torch.from_numpy(np.array(weights, dtype=np.float32))
        if light is None or values.shape != light.weights.shape:
            wanted = () if light is None else tuple(light.weights.shape)
            raise InputError(f"weights: must have shape {wanted}, got {tuple(values.shape)}")
        light.weights.copy_(values)

    def see_with(self, other: "ImageEstimator") -> None:
        """Let convolutions start as those of another network of the same filters, which saw other parts or parameters.

        Raises
        ------
        InputError
            If filters differ.
        """
        if other.network.widths != self.network.widths or other.network.norm != self.network.norm:
            raise InputError(
                f"other: must have filters {self.network.widths} and norm {self.network.norm!r}, "
                f"got {other.network.widths} and {other.network.norm!r}"
            )
        self.embedding.encoder.levels.load_state_dict(other.embedding.encoder.levels.state_dict())

    def prepare(self, counts: Tensor, targets: Tensor) -> None:
        """As every estimator's, and the scores of smooth light are standardised."""
        if self.embedding.light is not None and not self.prepared:
            self.embedding.light.standardise(counts)
        super().prepare(counts, targets)

    def penalised(self, loss: Tensor) -> Tensor:
        """A loss, in training with the penalty on the squares of the convolutions' weights."""
        if not self.training or self.network.penalty == 0:
            return loss
        weights = [m.weight for m in self.embedding.encoder.modules() if isinstance(m, nn.Conv2d)]
        return loss + self.network.penalty * torch.stack([weight.square().sum() for weight in weights]).sum()

    @torch.no_grad()
    def picture(self, counts: ArrayLike) -> Array:
        """What the network sees of counts (n, n_energy, n_pix): (n, n_channel, n_row, n_col), between 0 and 1."""
        counts = np.asarray(counts)
        self.check_counts(counts)
        return self.eval().embedding.inputs(torch.from_numpy(counts.astype(np.float32))).double().numpy()

    def distances(self) -> Array:
        """Distances (n_row, n_col), degrees, of the picture's pixels from the Galactic Centre."""
        return self.embedding.inputs.means_of(self._away()).double().numpy()

    def _away(self) -> Tensor:
        """Distances of the image's pixels, (n_row, n_col), degrees."""
        geometry = self.region.geometry  # type: ignore[attr-defined]
        glon, glat = geometry.glon_glat()
        return torch.from_numpy(angular_distance(glon, glat, (0.0, 0.0)).reshape(geometry.shape))


class _OfShare(ImageEstimator):
    """What estimators of f_src alone share: where it stands among the parameters, and labels."""

    def __init__(
        self,
        region: ImageRegion,
        exposure: ArrayLike,
        names: Sequence[str] = ("f_src",),
        *,
        parameters: Sequence[str] = ("f_src",),
        **settings: Any,
    ) -> None:
        if "f_src" not in parameters:
            raise InputError(f"parameters: must name f_src, got {tuple(parameters)}")
        self.column = list(parameters).index("f_src")
        super().__init__(region, exposure, names, **settings)

    @classmethod
    def _labels(cls, model: ImageSkyModel) -> dict[str, Any]:
        return {"names": ("f_src",), "parameters": model.settings.varied}

    def targets(self, simulations: Simulations) -> Tensor:
        """f_src (n,)."""
        return torch.from_numpy(simulations.theta[:, self.column].copy())


class ShareEstimator(_OfShare):
    """f_src from an image, or from a half of it.

    Parameters
    ----------
    region, exposure, names, network, fingerprint, seed
        See :class:`gcesbi.estimators.base.Estimator`.
    part : {"full", "left", "right", "top", "bottom"}
    parameters : sequence of str
        Parameters of the images that it is trained on, f_src among them.
    n_light : int
        See :class:`ImageEstimator`; halves see the smooth light of the whole image.
    """

    kind = "image_share"
    largest: Tensor

    def __init__(self, *sky: Any, part: str = "full", **settings: Any) -> None:
        self.part = part
        super().__init__(*sky, **settings)
        self.register_buffer("largest", torch.ones(()))

    def _head(self) -> ShareHead:
        return ShareHead(self.network.n_features)

    def _more_identity(self) -> dict[str, Any]:
        return super()._more_identity() | {"part": self.part}

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Mean square error; in training with the penalty."""
        return self.penalised((output - targets).square().mean())

    def rescale(self, counts: ArrayLike, f_src: ArrayLike) -> None:
        """Let the largest prediction on validation images be the largest truth there, where that lowers their error.

        That is the paper's division by the largest output. A network that learnt nothing gives one number near the
        mean; brought to the largest truth it would be wrong everywhere, so it is left as it is.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        f_src : array (n,)
        """
        truth = np.asarray(f_src, dtype=np.float64)
        self.largest.fill_(1.0)
        plain = self.predict(counts)
        factor = float(plain.max() / truth.max())
        if np.mean((plain / factor - truth) ** 2) < np.mean((plain - truth) ** 2):
            self.largest.fill_(factor)

    def predict(self, counts: ArrayLike) -> Array:
        """f_src (n,) of counts (n, n_energy, n_pix); at most 1."""
        found = torch.cat(list(self.outputs(counts))).double() / float(self.largest)
        return found.clamp(0, 1).numpy()


class ShareQuantiles(_OfShare):
    """Quantiles of f_src, which do not cross.

    Parameters
    ----------
    region, exposure, names, network, parameters, fingerprint, seed
        As of :class:`ShareEstimator`.
    n_level, tail_weight
        See :class:`gcesbi.estimators.SourceCountEstimator`.
    """

    kind = "image_quantiles"
    head: ShareQuantileHead
    levels: Tensor

    def __init__(self, *sky: Any, n_level: int = 16, tail_weight: float = 0.05, **settings: Any) -> None:
        check_quantile_loss(n_level, tail_weight)
        self.n_level, self.tail_weight = n_level, tail_weight
        super().__init__(*sky, **settings)
        self.register_buffer("levels", torch.from_numpy(_LEVELS).float())

    def _head(self) -> ShareQuantileHead:
        return ShareQuantileHead(self.network.n_features)

    def _more_identity(self) -> dict[str, Any]:
        return super()._more_identity() | {"n_level": self.n_level, "tail_weight": self.tail_weight}

    def loss(self, output: QuantileOutput, targets: Tensor) -> Tensor:
        """Pinball loss of f_src and, with a small weight, of its log odds; in training with the penalty."""
        level = levels_of_loss(len(targets), self.n_level, self.training, targets.device)
        logit = self.head.logits(output, level)[..., None]
        return self.penalised(quantile_loss(targets[:, None, None], logit, level, self.tail_weight))

    @torch.no_grad()
    def quantiles(self, counts: ArrayLike, taus: ArrayLike) -> Array:
        """Quantiles (n_tau, n) of f_src at levels (n_tau,) in (0, 1)."""
        own = check_levels(_own_levels(check_levels(taus), self.levels))
        level = torch.from_numpy(own).float().clamp(1e-6, 1 - 1e-6)
        return torch.cat([self.head.share(output, level).T for output in self.outputs(counts)], dim=1).double().numpy()

    def calibrate(self, counts: ArrayLike, f_src: ArrayLike) -> None:
        """Make levels true on validation images: τ stands for the level below which a share τ of their truths lies.

        (Kuleshov, Fenner & Ermon 2018, arXiv:1807.00263.) The paper's errors are read off validation images likewise.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        f_src : array (n,)
        """
        self.levels.copy_(torch.from_numpy(_LEVELS))
        curves = self.quantiles(counts, _LEVELS)
        found = [np.interp(true, curve, _LEVELS) for true, curve in zip(np.asarray(f_src), curves.T, strict=True)]
        self.levels.copy_(_true_levels(found))

    def sample(self, counts: ArrayLike, n: int, seed: int = 0) -> Array:
        """Draw f_src (n, n_image); draw k of every image is of one level."""
        n, seed = asked(n, seed)
        return self.quantiles(counts, np.random.default_rng(seed).uniform(size=n).clip(1e-6, 1 - 1e-6))


class ImageNpe(ImageEstimator, NpeEstimator):
    """Joint posterior of f_src, α and γ, or those of them that vary: a spline flow.

    Parameters
    ----------
    region, exposure, names, network, fingerprint, seed
        As of :class:`ShareEstimator`.
    parameters : mapping of str to (low, high)
        Names and bounds.
    hidden, n_layer : int
        See :class:`gcesbi.estimators.NpeEstimator`.
    n_light : int
        See :class:`ImageEstimator`.

    Notes
    -----
    Samples have levels made true by :meth:`calibrate`, parameter by parameter; ranks, and with them how parameters
    depend on each other, stay the flow's. ``log_prob`` is the density of the flow before that.
    """

    kind = "image_npe"
    levels: Tensor
    levels_at_slope: Tensor

    def __init__(
        self,
        region: ImageRegion,
        exposure: ArrayLike,
        names: Sequence[str] = ("f_src",),
        **settings: Any,
    ) -> None:
        super().__init__(region, exposure, names, **{"quantities": ("theta",), **settings})
        plain = torch.from_numpy(_LEVELS).float()
        self.register_buffer("levels", plain.repeat(len(self.parameter_names), 1))
        self.register_buffer("levels_at_slope", plain.clone())

    @classmethod
    def _labels(cls, model: ImageSkyModel) -> dict[str, Any]:
        bounds = {name: getattr(model.settings, name) for name in model.settings.varied}
        return {"names": ("f_src",), "parameters": bounds}

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of samples."""
        return tuple(self.quantities.parameters)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        """Negative log density; in training with the penalty."""
        return self.penalised(super().loss(output, targets))

    def sample(self, counts: ArrayLike, n: int, seed: int = 0) -> dict[str, Array]:
        """Draw from the joint posterior: ``"theta"`` -> (n, n_image, n_parameter)."""
        drawn = super().sample(counts, n, seed)["theta"]
        made = [_with_levels(drawn[..., k], levels) for k, levels in enumerate(self.levels)]
        return {"theta": np.stack(made, axis=-1)}

    def calibrate(self, counts: ArrayLike, theta: ArrayLike) -> None:
        """Make the levels of every parameter true on validation images: see :meth:`ShareQuantiles.calibrate`.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        theta : array (n, n_parameter)
        """
        drawn = super().sample(counts, _DRAWS)["theta"]
        ranks = ((drawn < np.asarray(theta)).sum(axis=0) + 0.5) / (_DRAWS + 1)
        self.levels.copy_(torch.stack([_true_levels(column) for column in ranks.T]))

    def calibrate_at_slope(self, counts: ArrayLike, f_src: ArrayLike, gamma: float) -> None:
        """Make the levels of :meth:`at_slope` true on validation images of one slope.

        Parameters
        ----------
        counts : array (n, n_energy, n_pix), photons
        f_src : array (n,)
        gamma : float
        """
        edges, below = self._cumulative(counts, gamma)
        ranks = [np.interp(true, edges, each) for true, each in zip(np.asarray(f_src), below, strict=True)]
        self.levels_at_slope.copy_(_true_levels(ranks))

    def at_slope(self, counts: ArrayLike, taus: ArrayLike, gamma: float) -> Array:
        """Quantiles (n_tau, n) of f_src where γ is known, with levels that :meth:`calibrate_at_slope` made true.

        That is p(f_src | image, γ) ∝ ∫ p(f_src, α, γ | image) dα, the joint density along a line.

        Raises
        ------
        InputError
            If γ is no parameter of the posterior, or lies outside its range.
        """
        edges, below = self._cumulative(counts, gamma)
        own = _own_levels(check_levels(taus), self.levels_at_slope)
        return np.stack([np.interp(own, each, edges) for each in below], axis=1)

    @torch.no_grad()
    def _cumulative(self, counts: ArrayLike, gamma: float) -> tuple[Array, Array]:
        """Values of f_src (n_node + 1,), and the probability (n, n_node + 1) to lie below them given the slope."""
        real, less = self._nodes(gamma)
        parts = []
        for features in torch.cat(list(self.outputs(counts))).split(_AT_ONCE):
            nodes = real[:, None].expand(-1, len(features), -1).float()
            density = self.head.log_prob(nodes, features).double() - less[:, None]
            density = (density - density.amax(dim=0)).exp().view(_N_SHARE, -1, len(features)).sum(dim=1)
            parts.append((density / density.sum(dim=0)).T)
        below = torch.nn.functional.pad(torch.cat(parts).cumsum(dim=1), (1, 0))
        low, high = self.quantities.parameters["f_src"]
        return np.linspace(float(low or 0), float(1 if high is None else high), _N_SHARE + 1), below.numpy()

    def _nodes(self, gamma: float) -> tuple[Tensor, Tensor]:
        """Parameters on the real line (n_node, n_parameter), f_src slowest, and the log Jacobian (n_node,) there."""
        bounds = self.quantities.parameters
        low, high = bounds.get("gamma", (np.nan, np.nan))
        if not (low is not None and high is not None and low < gamma < high):
            raise InputError(f"gamma: must lie inside the posterior's range ({low}, {high}), got {gamma}")
        number = {"f_src": _N_SHARE, "gamma": 1}
        axes = [_middles(*limits, number.get(name, _N_OTHER)) for name, limits in bounds.items()]
        axes[self.parameter_names.index("gamma")] = np.array([gamma])
        values = np.stack([each.ravel() for each in np.meshgrid(*axes, indexing="ij")], axis=-1)
        real = self.quantities.to_real({"theta": values})
        return real, self.quantities.log_jacobian(real)


def joint_fingerprint(fingerprints: Iterable[str]) -> str:
    """Hash of the fingerprints of several models, in any order."""
    return digest(np.frombuffer(" ".join(sorted(fingerprints)).encode(), dtype=np.uint8))


def _middles(low: float | None, high: float | None, n: int) -> Array:
    """Middles of n equal intervals between two bounds."""
    return np.interp((np.arange(n) + 0.5) / n, [0, 1], [float(low or 0), float(1 if high is None else high)])


def _true_levels(found: ArrayLike) -> Tensor:
    """Levels (99,) below which each per cent of truths lies, from the levels (n,) at which truths were found."""
    return torch.from_numpy(np.quantile(np.asarray(found), _LEVELS))


def _own_levels(taus: ArrayLike, levels: Tensor) -> Array:
    """Levels to ask a network for, so that a share τ of truths lies below."""
    return np.interp(np.asarray(taus, dtype=float), [0, *_LEVELS, 1], [0, *levels.double().tolist(), 1])


def _with_levels(drawn: Array, levels: Tensor) -> Array:
    """Samples (n, n_image) of one parameter, moved to the levels that are true; their order stays."""
    n = len(drawn)
    moved = np.quantile(drawn, _own_levels((np.arange(n) + 0.5) / n, levels), axis=0, method="hazen")
    return np.take_along_axis(moved, drawn.argsort(axis=0).argsort(axis=0), axis=0)


@torch.no_grad()
def activations(network: ImageEstimator, counts: ArrayLike) -> list[Array]:
    """What every convolution gives after its rectifier, before pooling: (n, n_filter, n_row, n_col) each."""
    seen = torch.from_numpy(network.picture(counts)).float()
    return [each.double().numpy() for each in network.eval().embedding.encoder.activations(seen)]

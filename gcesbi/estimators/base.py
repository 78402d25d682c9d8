"""What the estimators share: a map embedding, a head, training, saving.

An estimator knows its region, exposure and labels. It refuses maps of another shape, and files made for another sky.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.estimators.training.loop import train
from gcesbi.estimators.training.settings import TrainingHistory, TrainingSettings
from gcesbi.estimators.training.trainable import Batch, Trainable
from gcesbi.networks import ChebyshevEncoder, CountsInput, FaceEncoder, MapEmbedding
from gcesbi.networks.defaults import own_defaults
from gcesbi.networks.inputs import check_words
from gcesbi.networks.layers import check_sizes
from gcesbi.simulation import Simulations, Simulator
from gcesbi.simulation.matching import SAME_EXPOSURE
from gcesbi.simulation.torch_maps import StoredMaps
from gcesbi.sky import Grid, ImageGeometry, ImageRegion, Region

__all__ = ["COMMON_IDENTITY", "MEASURED_LATER", "Estimator", "NetworkSettings", "digest"]

_ENCODERS: dict[str, type[FaceEncoder | ChebyshevEncoder]] = {"face": FaceEncoder, "chebyshev": ChebyshevEncoder}
_PIXELS_AT_ONCE = 2**22
_MAPS_AT_ONCE = 64  # what layers pass on stays in the cache: 1.4 times faster than 256, the same bits
_LATER = ("means", "channels", "totals", "dense", "residuals")

COMMON_IDENTITY = frozenset(
    ("kind", "nside", "geometry", "n_pix", "pixels", "n_energy", "exposure", "names", "network", "fingerprint")
)
"""What every estimator's identity says; what a kind adds to it are arguments of its own."""

MEASURED_LATER = ("error_correlation", "recalibration", "tails", "sample_covariance")
"""Numbers that are measured on fresh maps after training, and that no network sees; older files lack some."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """What network looks at the maps.

    Parameters
    ----------
    encoder : {"face", "chebyshev"}
        Convolutions on a HEALPix face (:class:`gcesbi.networks.FaceEncoder`), or on the region's graph
        (:class:`gcesbi.networks.ChebyshevEncoder`), which may be any region.
    energy : {"resolved", "summed"}
        "summed": the energy-independent twin, which sees the counts of all energy bins added up.
    widths : tuple of int
        Channels of each level; nside halves from level to level.
    channels, totals : str
        What of the counts the encoder and the last dense layer see: see :class:`gcesbi.networks.CountsInput`.
    depth : int
        Convolutions per level.
    dense : int, optional
        Width of the first dense layer, behind the encoder; as the second one's by default.
    residuals : bool
        Show the encoder, too, what a Poisson fit of the model's templates leaves: see
        :mod:`gcesbi.networks.residuals`. The templates, floating ones at the means of their priors, are stored with the
        weights.
    n_features : int
        Width of the second dense layer, which sees the totals too.
    norm : {"batch", "instance", "none"}
    dropout : float, optional
        Share of features that is set to zero, at random, in training; by default the estimator's own.
    means : bool
        Show the dense layers means over pixels too, of every pixel by itself and of every level before its maximum:
        see :mod:`gcesbi.networks.layers`.
    padding : int
        The face encoder's image has a height and width that are multiples of this number.

    Raises
    ------
    InputError
        If a value is none of those.
    """

    encoder: str = "face"
    energy: str = "resolved"
    widths: tuple[int, ...] = (32, 64, 128, 256)
    depth: int = 1
    n_features: int = 256
    norm: str = "batch"
    dropout: float | None = None
    means: bool = False
    padding: int = 8
    channels: str = "contrast"
    totals: str = "log"
    dense: int | None = None
    residuals: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        if self.encoder not in _ENCODERS:
            raise InputError(f"encoder: must be one of {', '.join(_ENCODERS)}, got {self.encoder!r}")
        check_words(self.energy, self.channels, self.totals)
        check_sizes(self.norm, self.widths, 1, min(self.n_features, self.n_seen), self.depth)
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise InputError(f"dropout: must lie in [0, 1), got {self.dropout!r}")
        if self.padding < 1:
            raise InputError(f"padding: must be at least 1, got {self.padding}")

    @property
    def n_seen(self) -> int:
        """Width of the first dense layer."""
        return self.n_features if self.dense is None else self.dense


class Estimator(Trainable):
    """Counts to the answer of a head.

    Parameters
    ----------
    region : Region or ImageRegion
        HEALPix pixels inside one base face, for the face encoder.
    exposure : array (n_energy, n_pix), cm² s
        Positive.
    names : sequence of str
        Templates that the answer is about.
    network : NetworkSettings, optional
    fingerprint : str
        Of the model whose simulations train the estimator; stored, and compared on loading.
    seed : int
        Of the initial weights.
    """

    exposure_range: tuple[float, float] = (1 - SAME_EXPOSURE, 1 + SAME_EXPOSURE)
    """Exposures of the maps that trained it, in terms of its own; stored with the weights."""
    dropout: ClassVar[float] = 0.0
    network_settings: ClassVar[Any] = NetworkSettings
    network: NetworkSettings
    embedding: MapEmbedding
    head: nn.Module
    prepared: Tensor

    def __init__(
        self,
        region: Grid,
        exposure: ArrayLike,
        names: Sequence[str],
        *,
        network: NetworkSettings | None = None,
        fingerprint: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.region = region
        self.exposure = _checked_exposure(exposure, region)
        self.names = _checked_names(names)
        self.network = network or self.network_settings()
        self.fingerprint = fingerprint
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = self._embedding()
            self.head = self._head()
            self.register_buffer("prepared", torch.tensor(False))
        self.eval()

    @classmethod
    def for_model(cls, model: Any, **settings: Any) -> Self:
        """An untrained estimator for the maps of a SkyModel or ImageSkyModel; `settings` are its other arguments."""
        about = {"fingerprint": model.fingerprint, **cls._labels(model)}
        found = cls(model.region, model.exposure, **about | settings)
        found.exposure_range = getattr(model, "exposure_range", cls.exposure_range)  # images have no error of it
        if getattr(found.network, "residuals", False):
            found.embedding.inputs.fit_templates(model.templates)
        return found

    @classmethod
    def _labels(cls, model: Any) -> dict[str, Any]:
        """Arguments that say what a model's labels are."""
        return {"names": model.names}

    @property
    def n_energy(self) -> int:
        """Number of energy bins."""
        return len(self.exposure)

    @abstractmethod
    def _head(self) -> nn.Module: ...

    @abstractmethod
    def targets(self, simulations: Simulations) -> Tensor:
        """Labels (n, ...) of simulated maps."""

    def batch_of(self, maps: Simulations) -> Batch:
        """Counts and labels of simulated maps."""
        return Batch(torch.from_numpy(maps.counts), self.targets(maps).float())

    def _embedding(self) -> MapEmbedding:
        sizes = self.network
        inputs = CountsInput(self.exposure, sizes.energy, sizes.channels, sizes.totals, sizes.residuals)
        how = {"depth": sizes.depth, "norm": sizes.norm, "means": sizes.means}
        how |= {"padding": sizes.padding} if sizes.encoder == "face" else {}
        made = _ENCODERS[sizes.encoder]
        encoder = made(self.region, inputs.n_channel, sizes.widths, sizes.n_seen, **how)  # type: ignore[arg-type]
        dropout = self.dropout if sizes.dropout is None else sizes.dropout
        return MapEmbedding(inputs, encoder, sizes.n_features, dropout, sizes.n_seen)

    def forward(self, counts: Tensor) -> Any:
        """Head's output on counts (n, n_energy, n_pix)."""
        return self.head(self.embedding(counts))

    def prepare(self, counts: Tensor, targets: Tensor) -> None:
        """See :class:`Trainable`. Once done it is kept: another training goes on where the last one ended."""
        if self.prepared:
            return
        self.embedding.inputs.standardise(counts)
        self.head.set_prior(targets[:100_000])  # type: ignore[operator]
        self.prepared.fill_(True)

    def fit(
        self,
        maps: Simulations | StoredMaps | Simulator,
        settings: TrainingSettings | None = None,
        validation: Simulations | StoredMaps | None = None,
        *,
        progress: bool = False,
        checkpoint: str | Path | None = None,
        log: str | Path | None = None,
    ) -> TrainingHistory:
        """Train on maps in memory, in a store, or drawn afresh: see :func:`gcesbi.estimators.training.loop.train`."""
        for each in (maps, validation):
            if isinstance(each, Simulations):
                self.check_counts(each.counts[:1])
        settings = settings or TrainingSettings()
        return train(self, maps, settings, validation, progress=progress, checkpoint=checkpoint, log=log)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take weights; what was not yet measured when they were stored stays as it is."""
        own = self.state_dict()
        for name in own.keys() & set(MEASURED_LATER):
            state_dict.setdefault(prefix + name, own[name])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def check_counts(self, counts: NDArray) -> None:
        """Raise InputError unless counts are (n, n_energy, n_pix) of this estimator."""
        if counts.ndim != 3 or counts.shape[1:] != self.exposure.shape:
            raise InputError(
                f"counts: must have shape (n, {self.n_energy}, {self.region.n_pix}), as the {self.kind} estimator was "
                f"made for, got {counts.shape}"
            )

    @torch.no_grad()
    def outputs(self, counts: ArrayLike) -> Iterator[Any]:
        """Head's outputs on maps, batch by batch, in float32 and evaluation mode."""
        counts = np.asarray(counts)
        self.check_counts(counts)
        self.eval()
        batch_size = min(_MAPS_AT_ONCE, 1 + _PIXELS_AT_ONCE // self.exposure.size)
        for start in range(0, len(counts), batch_size):
            with own_defaults():
                found = self(torch.from_numpy(counts[start : start + batch_size].astype(np.float32)))
            yield found

    def identity(self) -> dict[str, Any]:
        """All that must agree for weights to be used: kind, sky, labels, network sizes, model."""
        return {
            "kind": self.kind,
            **self._grid(),
            "n_pix": self.region.n_pix,
            "pixels": digest(self.region.pixels),
            "n_energy": self.n_energy,
            "exposure": digest(self.exposure.astype(np.float32)),
            "names": list(self.names),
            "network": self._network_identity(),
            "fingerprint": self.fingerprint,
            **self._more_identity(),
        }

    def _network_identity(self) -> dict[str, Any]:
        """Settings of the network, but for those that files from before they were there lack, where they are off."""
        values = {**asdict(self.network), "widths": list(self.network.widths)}
        if isinstance(self.network, NetworkSettings):
            off = {each.name: each.default for each in fields(NetworkSettings) if each.name in _LATER}
            values = {name: value for name, value in values.items() if name not in off or value != off[name]}
        return values

    def _grid(self) -> dict[str, Any]:
        """What the pixels are numbered on."""
        return numbering(self.region)

    @classmethod
    def stored_region(cls, identity: Mapping[str, Any], pixels: NDArray[np.int64]) -> Grid:
        """The region of a stored estimator, by its identity and its pixels."""
        if "nside" in identity:
            return Region(int(identity["nside"]), pixels)
        told: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in identity["geometry"].items()
        }
        return ImageRegion(ImageGeometry(**told), pixels)

    def _more_identity(self) -> dict[str, Any]:
        """Arguments of the estimator's own kind."""
        return {}


def numbering(region: Grid) -> dict[str, Any]:
    """What the numbers of a region's pixels mean, as plain values."""
    told = region.describe()
    del told["runs"]
    if "geometry" in told:
        told["geometry"] = {n: list(v) if isinstance(v, tuple) else v for n, v in told["geometry"].items()}
    return told


def digest(array: NDArray) -> str:
    """First 16 hexadecimal digits of the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def _checked_exposure(exposure: ArrayLike, region: Grid) -> NDArray[np.float64]:
    exposure = np.atleast_2d(np.asarray(exposure, dtype=np.float64))
    if exposure.ndim != 2 or exposure.shape[1] != region.n_pix:
        raise InputError(f"exposure: must have shape (n_energy, {region.n_pix}), got {exposure.shape}")
    if not np.all(np.isfinite(exposure) & (exposure > 0)):
        raise InputError(f"exposure: must be positive in every pixel of the region, got {exposure.min()}")
    return exposure


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    if not names or len(set(names)) != len(names):
        raise InputError(f"names: must be distinct, at least one, got {tuple(names)}")
    return tuple(names)

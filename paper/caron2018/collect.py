"""What the figures need of an image run, worked out by the library and stored in ``paper/caron2018.npz`` of its folder.

A figure then needs neither model nor network. Stored are: predictions of all networks for held-out images, with the
slope that was learnt and with others; two images, one smooth and one of sources, with the expected counts of their
parts; and what the convolutions make of those two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.evaluate import predict
from gcesbi.analysis.run import Run
from gcesbi.errors import InputError
from gcesbi.estimators.images import ShareEstimator, activations
from gcesbi.evaluation.images import SHARES
from gcesbi.io.files import read_arrays, write_arrays
from gcesbi.simulation.image_settings import TESTING, TRAINING
from gcesbi.simulation.simulations import Simulations
from gcesbi.sky.image import ImageGeometry

__all__ = [
    "ARCHIVE",
    "PREDICTIONS",
    "TITLES",
    "Collected",
    "HeldOut",
    "collect",
    "extremes",
    "interstellar_label",
    "within",
]

Array = NDArray[np.float64]

ARCHIVE = Path("paper") / "caron2018.npz"
TITLES = {
    "full": "full image",
    "left": "left half",
    "right": "right half",
    "top": "top half",
    "bottom": "bottom half",
    "halves": "mean of halves",
    "all": "mean of all five",
}
"""What a network, or a mean of networks, is called in a figure."""
PREDICTIONS = tuple(TITLES)
N_FILTER = 4
"""Filters of each convolution that are kept."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images that no training saw.

    Attributes
    ----------
    name : str
    parameters : mapping of str to array (n,)
        True f_src, alpha and, where it is free, gamma.
    predicted : mapping of str to array (n,)
        f_src by the keys of :data:`TITLES`.
    """

    name: str
    parameters: Mapping[str, Array]
    predicted: Mapping[str, Array]

    @property
    def truth(self) -> Array:
        """f_src (n,)."""
        return self.parameters["f_src"]

    def error(self, network: str) -> Array:
        """Predicted less true f_src (n,)."""
        return self.predicted[network] - self.truth

    def rmse(self, network: str) -> float:
        """Root-mean-square error of f_src."""
        return float(np.sqrt(np.mean(self.error(network) ** 2)))


@dataclass(frozen=True, eq=False)
class Collected:
    """The archive of a run.

    Attributes
    ----------
    sets : tuple of HeldOut
        Validation images of all training models together, then the images of each testing model.
    response : tuple of HeldOut
        Images of each testing model with halos of various inner slopes.
    pair : Array (2, n_lat, n_lon)
        Counts, all energies together, of a smooth image and one of sources, of the first testing model.
    pair_theta : array (2, n_parameter)
    background, smooth : array (n_lat, n_lon)
        Expected counts of the background, and of a smooth excess.
    extent : array (4,), deg
        Longitude of the left and the right edge, latitude of the lower and the upper one.
    inputs : array (2, n_row, n_col)
        The pair as the network of the full image sees it, channels summed.
    layers : tuple of array (2, n_filter, n_row, n_col)
        What each convolution makes of it, for the filters that vary most.
    n_filters : array (n_layer,)
        How many filters each has.
    """

    sets: tuple[HeldOut, ...]
    response: tuple[HeldOut, ...]
    pair: Array
    pair_theta: Array
    background: Array
    smooth: Array
    extent: Array
    inputs: Array
    layers: tuple[Array, ...]
    n_filters: NDArray[np.int64]

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the archive of a run's folder.

        Raises
        ------
        InputError
            If it is no image run, has no archive, or that is damaged.
        """
        Run.open(folder)
        path = Path(folder) / ARCHIVE
        if not path.is_file():
            raise InputError(f"run: {str(folder)!r} is unfinished, it holds no {ARCHIVE}")
        try:
            return cls._from(read_arrays(path))
        except KeyError as error:
            raise InputError(f"run: {path} is damaged (it lacks {error})") from None

    @classmethod
    def _from(cls, stored: Mapping[str, Any]) -> Self:
        plain = ("pair", "pair_theta", "background", "smooth", "extent", "inputs", "n_filters")
        layers = tuple(stored[f"layer_{k}"] for k in range(len(stored["n_filters"])))
        sets, response = (_unpacked(kind, stored) for kind in ("sets", "response"))
        return cls(sets=sets, response=response, layers=layers, **{name: stored[name] for name in plain})


def collect(run: Run) -> None:
    """Ask the networks of a trained run, and store what figures need.

    Raises
    ------
    InputError
        If images or networks are missing.
    """
    for network in SHARES:
        run.network(network)
    sets = {"validation": run.images.validation()} | {name: run.images.test(name) for name in run.images.testing}
    response = {name: run.images.test(name, free=True) for name in run.images.testing}
    content = _packed("sets", run, sets) | _packed("response", run, response, free=True) | _pictures(run) | _layers(run)
    write_arrays(run.folder / ARCHIVE, content)


def interstellar_label(name: str) -> str:
    """The paper's name of an interstellar model."""
    for kind, names in (("training", TRAINING), ("testing", TESTING)):
        if name in names:
            return f"{kind} {'ABC'[names.index(name)]}"
    return name


def parameters(run: Run, images: Simulations, free: bool = False) -> dict[str, Array]:
    """What images were drawn with (n,), by the names of the parameters that vary."""
    return dict(zip(run.images.sky_of(run.images.testing[0], free).varied, images.theta.T, strict=True))


def extremes(run: Run, images: Simulations) -> list[int]:
    """The image with the least f_src, and that with the most among those with many bright sources (α > 0)."""
    drawn = parameters(run, images)
    f_src, alpha = drawn["f_src"], drawn["alpha"]
    return [int(np.argmin(f_src)), int(np.argmax(np.where(alpha > 0, f_src, -1.0)))]


def _packed(kind: str, run: Run, sets: Mapping[str, Simulations], free: bool = False) -> dict[str, Any]:
    content: dict[str, Any] = {kind: np.array([interstellar_label(name) for name in sets])}
    for k, images in enumerate(sets.values()):
        predicted = predict(run, images.counts)
        drawn = parameters(run, images, free)
        content[f"{kind}_{k}_names"], content[f"{kind}_{k}_theta"] = np.array(list(drawn)), images.theta
        content[f"{kind}_{k}_predicted"] = np.stack([predicted[name] for name in PREDICTIONS])
    return content


def _unpacked(kind: str, stored: Mapping[str, Any]) -> tuple[HeldOut, ...]:
    return tuple(
        HeldOut(
            str(name),
            dict(zip(stored[f"{kind}_{k}_names"].tolist(), stored[f"{kind}_{k}_theta"].T, strict=True)),
            dict(zip(PREDICTIONS, stored[f"{kind}_{k}_predicted"], strict=True)),
        )
        for k, name in enumerate(stored[kind])
    )


def _pictures(run: Run) -> dict[str, Array]:
    """The pair, and its parts' expected counts."""
    model, held = run.images.model(run.images.testing[0]), run.images.test(run.images.testing[0])
    chosen, image = extremes(run, held), model.region.image
    return {
        "pair": image(held.counts[chosen].sum(axis=1)),
        "pair_theta": held.theta[chosen],
        "background": image(model.background_mean.sum(axis=0)),
        "smooth": image(model.image_model().templates[-1].sum(axis=0)),
        "extent": _extent(model.region.geometry),
    }


def _layers(run: Run) -> dict[str, Any]:
    """What the network of the full image makes of the pair."""
    held, network = run.images.test(run.images.testing[0]), run.network("full", ShareEstimator)
    counts = held.counts[extremes(run, held)]
    answers = activations(network, counts)
    content = {f"layer_{k}": layer[:, _liveliest(layer)] for k, layer in enumerate(answers)}
    numbers = np.array([layer.shape[1] for layer in answers])
    return {"inputs": network.picture(counts).sum(axis=1), "n_filters": numbers, **content}


def _liveliest(layer: Array) -> NDArray[np.int64]:
    """Filters, of answers (n_image, n_filter, n_row, n_col), whose answer varies most; :data:`N_FILTER` at most."""
    return np.argsort(-within(layer).std(axis=(0, 2, 3)), kind="stable")[:N_FILTER]


def within(images: Array) -> Array:
    """Images (..., n_row, n_col) without their outermost pixels, where convolutions see the edge; small ones whole."""
    return images[..., 1:-1, 1:-1] if min(images.shape[-2:]) >= 6 else images


def _extent(geometry: ImageGeometry) -> Array:
    half = geometry.pixel_size / 2
    lon, lat = geometry.native_lon, geometry.native_lat
    return np.array([lon[0] + half, lon[-1] - half, lat[0] - half, lat[-1] + half])

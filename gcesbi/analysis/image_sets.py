"""Images of a run: which interstellar models they are of, who learns from them, and where they lie.

Every interstellar model has two stores, ``NAME-fixed`` of images with the sky's own slope, and ``NAME-free`` of those
with a free slope, for the joint posterior. In the store of a training model the first `n_validation` images are held
out. All images of a testing model are. Where networks learn from mixtures of the training models, the store of mixtures
holds as many images as all those of the training models would, its first ones are held out, and the training models'
own images are held out altogether.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gcesbi.analysis.sections import MIXED, background_name
from gcesbi.analysis.settings import RunSettings
from gcesbi.errors import InputError
from gcesbi.estimators.images import joint_fingerprint
from gcesbi.simulation import Simulations, SimulationStore, SkyModel
from gcesbi.simulation.image_composition import image_composition
from gcesbi.simulation.image_settings import ImageSky
from gcesbi.simulation.image_simulator import ImageSimulator
from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.simulation.sky_settings import INTERSTELLAR
from gcesbi.simulation.statement import make_settings

__all__ = ["ImageSets"]


@dataclass(frozen=True)
class ImageSets:
    """Images of a run, by interstellar model.

    Parameters
    ----------
    folder : Path
        Of the stores.
    settings : RunSettings
        Of a sky of images.
    """

    folder: Path
    settings: RunSettings

    @classmethod
    def of(cls, settings: RunSettings) -> Self:
        """Those of settings alone, of which nothing lies anywhere yet."""
        return cls(Path(), settings)

    @property
    def training(self) -> tuple[str, ...]:
        """Interstellar models that networks learn from."""
        return tuple(map(background_name, self.settings.interstellar.training))

    @property
    def testing(self) -> tuple[str, ...]:
        """Interstellar models that networks never see."""
        return tuple(map(background_name, self.settings.interstellar.testing))

    @property
    def learning(self) -> tuple[str, ...]:
        """Stores that networks learn from: the training models', or that of their mixtures."""
        return (MIXED,) if self.settings.interstellar.mix else self.training

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all stores."""
        return (*self.training, *self.testing, *((MIXED,) if self.settings.interstellar.mix else ()))

    @property
    def sky(self) -> ImageSky:
        """The sky that all have in common."""
        return self.settings.sky_of_images

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is taken for granted of fluxes, in sentences: bands, and an excess beside a map of one's own."""
        sky, told = self.sky, []
        seen = self.settings.observation.read()
        low, high = sky.energy_edges[0], sky.energy_edges[-1]
        if seen is not None and (ratio := sky.flux_ratio(seen.energy_edges)) != 1.0:
            told.append(
                f"Fluxes of sources are stated for {low:g} to {high:g} GeV, and converted by the excess' spectrum "
                f"to {seen.energy_edges[0]:.4g} to {seen.energy_edges[-1]:.4g} GeV: times {ratio:.3g}, "
                f"{sky.flux_low * ratio:.2g} to {sky.flux_threshold * ratio:.2g} photons / cm² / s."
            )
        chosen = self.settings.interstellar
        maps = [background_name(each) for each in (*chosen.training, *chosen.testing) if each not in INTERSTELLAR]
        if chosen.fitted:
            told.append(
                f"The excess' slope, {sky.gamma[0]:.3f}, its flux and the background's norms are those of a fit."
            )
        elif maps and sky.flux is None and sky.cross_section is None:
            told.append(
                f"No excess was fitted beside {', '.join(maps)}: it has that of {sky.interstellar}; "
                "sky.flux states another."
            )
        return tuple(told)

    @property
    def known_slope(self) -> float | None:
        """The sky's own slope, if it is fixed and inside the range of the joint posterior."""
        (low, high), (gamma, end) = self.settings.joint.gamma, self.sky.gamma
        return gamma if gamma == end and low < gamma < high else None

    def sky_of(self, name: str, free: bool = False) -> ImageSky:
        """The sky of an interstellar model, with the free slope of the joint posterior or that of :attr:`sky`.

        :data:`MIXED` names the mixture of the training models, where networks learn from one.

        Raises
        ------
        InputError
            If the model is none of the run's.
        """
        chosen = self.settings.interstellar
        known: dict[str, tuple[str, ...]] = {
            background_name(each): (each,) for each in (*chosen.training, *chosen.testing)
        }
        known |= {MIXED: chosen.training} if chosen.mix else {}
        values: dict[str, Any] = self.sky.model_dump()
        given, *mixed = known[self._known(name)]
        values |= {"interstellar": given} if given in INTERSTELLAR else {"interstellar_map": given}
        if mixed:
            values |= {"mixed": tuple(mixed), "scatter": chosen.scatter, "flux_scatter": chosen.flux_scatter}
        if name in chosen.fitted:
            values |= {"cross_section": None, **chosen.fitted[name].model_dump()}
        return make_settings(ImageSky, values | ({"gamma": self.settings.joint.gamma} if free else {}))

    @cached_property
    def _models(self) -> dict[tuple[str, bool], ImageSkyModel]:
        return {}

    def model(self, name: str, free: bool = False) -> ImageSkyModel:
        """Model of an interstellar model's images: with region, energies, exposure and PSF of the observation, if any.

        It is built at the first call.
        """
        if (name, free) not in self._models:
            sky, seen = self.sky_of(name, free), self.settings.observation.read()
            self._models[name, free] = ImageSkyModel.build(sky, seen)
        return self._models[name, free]

    def composed(self, name: str, free: bool = False) -> SkyModel:
        """That model as a composition, for all that is done with maps: see :func:`image_composition`.

        Raises
        ------
        InputError
            If the run is one for a real image, whose instrument a composition would have to name.
        """
        if self.settings.observation.folder is not None:
            raise InputError(
                f"observation: must not be given for a composition, got {self.settings.observation.folder!r}"
            )
        return SkyModel.build(image_composition(self.model(name, free)))

    def simulator(self, name: str, free: bool = False) -> ImageSimulator:
        """Simulator of that model."""
        return ImageSimulator(self.model(name, free))

    # -- stores ---------------------------------------------------------------------------------------------------

    def n_images(self, free: bool = False) -> dict[str, int]:
        """How many images every store is to hold."""
        wanted = self.settings.simulation
        shared = len(self.training) // len(self.learning)
        learnt = dict.fromkeys(self.learning, shared * (wanted.n_validation + wanted.n_train))
        own = {} if free or not self.settings.interstellar.mix else dict.fromkeys(self.training, wanted.n_validation)
        return {**learnt, **own, **dict.fromkeys(self.testing, wanted.n_test)}

    def seed(self, name: str, free: bool = False) -> int:
        """Seed of a store's images: each its own, by the run's."""
        place = self.names.index(name)
        sequence = np.random.SeedSequence(self.settings.seed, spawn_key=(place, int(free)))
        return int(sequence.generate_state(1)[0])

    def place(self, name: str, free: bool = False) -> Path:
        """Folder of a store."""
        return self.folder / f"{name}-{'free' if free else 'fixed'}"

    def new_store(self, name: str, free: bool = False, write: bool = True) -> SimulationStore:
        """The store of an interstellar model's images, to be filled."""
        simulator, seed = self.simulator(name, free), self.seed(name, free)
        return SimulationStore.create(self.place(name, free), simulator, seed, write=write)

    def store(self, name: str, free: bool = False) -> SimulationStore:
        """The store of an interstellar model's images that are there.

        Raises
        ------
        InputError
            If there are none.
        """
        return SimulationStore.open(self.place(self._known(name), free))

    def learnt(self, free: bool = False) -> Simulations:
        """Images that networks learn from, of all training models or of their mixtures."""
        wanted, shared = self.settings.simulation, len(self.training) // len(self.learning)
        start, end = shared * wanted.n_validation, shared * (wanted.n_validation + wanted.n_train)
        return Simulations.concatenate([self.store(name, free).read(start, end) for name in self.learning])

    def validation(self, name: str | None = None, free: bool = False) -> Simulations:
        """Held-out images of a training model, or of all that networks learn from together.

        Raises
        ------
        InputError
            If the model is no training model, or images are missing.
        """
        n = self.settings.simulation.n_validation
        if name is not None:
            return self.store(self._known(name, self.training, " for validation"), free).read(0, n)
        n *= len(self.training) // len(self.learning)
        return Simulations.concatenate([self.store(each, free).read(0, n) for each in self.learning])

    def test(self, name: str, free: bool = False) -> Simulations:
        """Images of a testing model.

        Raises
        ------
        InputError
            If the model is no testing model, or images are missing.
        """
        return self.store(self._known(name, self.testing, " for a test"), free).read(0, self.settings.simulation.n_test)

    def f_src(self, simulations: Simulations) -> NDArray[np.float64]:
        """True shares of sources (n,)."""
        return simulations.theta[:, self.sky.varied.index("f_src")]

    def fingerprint(self, free: bool = False) -> str:
        """Of all models that networks learn from."""
        return joint_fingerprint(self.store(name, free).fingerprint for name in self.learning)

    def stored(self, free: bool = False) -> bool:
        """Whether the images that networks learn from are there."""
        return all((self.place(name, free) / "store.json").is_file() for name in self.learning)

    def _known(self, name: str, among: tuple[str, ...] | None = None, why: str = "") -> str:
        known = self.names if among is None else among
        if name not in known:
            raise InputError(f"interstellar: must be one of {', '.join(known)}{why}, got {name!r}")
        return name

"""The sections of a run's settings that no lower room defines: typed, checked at construction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gcesbi.baselines import Ensemble, ImportanceSampling, ModelPriors, NestedSampling, NptfPriors, Nuts
from gcesbi.baselines.nptf.priors import PriorChoice
from gcesbi.baselines.samplers.target import Sampler
from gcesbi.errors import InputError
from gcesbi.estimators.neural_posterior_quantities import check_names
from gcesbi.io import read_observation
from gcesbi.simulation.image_settings import TESTING, TRAINING
from gcesbi.simulation.sky_settings import INTERSTELLAR
from gcesbi.sky import Observation

__all__ = [
    "MIXED",
    "FittedSettings",
    "InterstellarSettings",
    "JointSettings",
    "NeuralPosteriorSettings",
    "NptfSettings",
    "ObservationSettings",
    "Section",
    "SimulationSettings",
    "SpectraSettings",
    "background_name",
]

Range = tuple[float, float]

MIXED = "mixed"
"""Name of the images whose interstellar emission is a mixture of the training models'."""


def background_name(interstellar: str) -> str:
    """Short name of an interstellar model: its own, or that of its file without endings."""
    return interstellar if interstellar in INTERSTELLAR else Path(interstellar).name.split(".")[0]


class Section(BaseModel):
    """A part of the settings: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulationSettings(Section):
    """How many maps, or images of every interstellar model, are drawn. Those held out come first in their store."""

    n_train: int = Field(10_240, ge=64, description="of images: for each training model")
    n_validation: int = Field(1_024, ge=100, description="images held out of each training model; of maps: none")
    n_test: int = Field(512, ge=100, description="maps held out; images of a testing model, 1024 by default")
    n_calibration: int = Field(0, description="fresh maps that recalibrate trained networks on maps; none by default")
    store: str | None = Field(None, description="folder or URL (s3://...) of the maps; by default the run folder's own")

    @field_validator("n_calibration")
    @classmethod
    def _enough(cls, value: int) -> int:
        if value != 0 and value < 200:
            raise InputError(f"simulation.n_calibration: must be 0 or at least 200, got {value}")
        return value


class SpectraSettings(Section):
    """What the errors of the spectra network know of each other: see :mod:`gcesbi.estimators.spectra`."""

    covariance: Literal["diagonal", "full", "low_rank"] = "diagonal"
    rank: int = Field(8, ge=1, description="of the low-rank part, if the covariance has one")


class NeuralPosteriorSettings(Section):
    """A neural posterior of sbi's beside the networks: see :mod:`gcesbi.estimators.neural_posterior`.

    What is trained by name, ``gcesbi train RUN --only npe`` or ``fmpe``, has these sizes and quantities too.
    """

    kind: Literal["none", "npe", "fmpe"] = Field(
        "none", description="trained with the networks: a spline flow (npe), by flow matching (fmpe), or none"
    )
    quantities: tuple[str, ...] = Field(
        ("flux_fraction", "scd_mean", "scd_width"),
        description="named quantities, and parameters of the sky by their names, as halo_gamma",
    )
    hidden: int = Field(64, ge=1, description="width of the density estimator's networks")
    n_layer: int = Field(5, ge=1, description="spline transforms, or layers of the velocity's network")

    def check(self, parameters: Sequence[str]) -> None:
        """Raise InputError unless every quantity is known of a sky with these parameters."""
        check_names(self.quantities, parameters)


class NptfSettings(Section):
    """How the non-Poissonian template fit is sampled, and with which priors: see :mod:`gcesbi.baselines`."""

    priors: Literal["literature", "model"] = Field(
        "literature", description="literature: broken power laws; model: the networks' own prior, skew normals"
    )
    energies: Literal["sum", "bands", "joint"] = Field(
        "sum", description="their sum, one likelihood for each, or one of vectors of counts in which spectra float"
    )
    sampler: Literal["nested", "ensemble", "nuts", "importance"] = Field(
        "nested", description="nuts and importance, by the gradient, for joint fits of more than small maps"
    )
    max_seconds: float | None = Field(None, gt=0, description="when these are over, keep what there is")
    n_walkers: int = Field(64, ge=36, multiple_of=2, description="of the ensemble; more where a fit needs them")
    n_steps: int = Field(1_500, ge=20, le=10**6, description="of the ensemble")
    n_live: int = Field(NestedSampling.n_live, ge=20, le=10**5, description="live points of nested sampling")
    n_eff: int = Field(
        NestedSampling.n_eff, ge=20, le=10**7, description="effective posterior points wanted of nested sampling"
    )
    n_samples: int = Field(Nuts.n_samples, ge=4, le=10**6, description="of each of four chains of nuts")

    @model_validator(mode="before")
    @classmethod
    def _without_tempering(cls, values: Any) -> Any:
        """Stored runs of version 0.1.0 name the settings of a third sampler; nested sampling took its place."""
        if not isinstance(values, Mapping):
            return values
        kept = {key: value for key, value in values.items() if key not in ("n_particles", "n_islands", "n_moves")}
        return kept | ({"sampler": "nested"} if kept.get("sampler") == "tempering" else {})

    def prior(self) -> PriorChoice:
        """Priors of the fit."""
        return ModelPriors() if self.priors == "model" else NptfPriors()

    def sampling(self, n_dim: int = 0) -> Sampler:
        """Sampler of a fit of `n_dim` parameters, for which an ensemble has enough walkers."""
        if self.sampler == "nested":
            return NestedSampling(n_live=self.n_live, n_eff=self.n_eff)
        if self.sampler == "nuts":
            return Nuts(n_samples=self.n_samples)
        if self.sampler == "importance":
            return ImportanceSampling()
        return Ensemble(n_walkers=max(self.n_walkers, 2 * n_dim + 2), n_steps=self.n_steps)


class FittedSettings(Section):
    """What a fit found beside an interstellar model."""

    flux: float = Field(gt=0, description="of the excess in the image, photons / cm² / s over the sky's energies")
    norms: dict[str, float] = Field({}, description="of the background's parts: sky.norms")


class InterstellarSettings(Section):
    """Interstellar models, by name (:class:`gcesbi.simulation.image_settings.ImageSky`) or as FITS cubes."""

    training: tuple[str, ...] = Field(TRAINING, min_length=1, description="networks learn from images of these")
    testing: tuple[str, ...] = Field(TESTING, min_length=1, description="networks never see images of these")
    mix: bool = Field(False, description="networks learn from mixtures of the training models, drawn anew every time")
    scatter: float = Field(0.0, ge=0, le=2, description="of ln norms of the mixtures' parts: sky.scatter")
    flux_scatter: float = Field(0.0, ge=0, le=2, description="of ln flux of the excess beside them: sky.flux_scatter")
    fitted: dict[str, FittedSettings] = Field(
        {}, description="by model: brightness of the excess and norms, in place of the sky's"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [background_name(each) for each in (*self.training, *self.testing)]
        if len(set(names)) < len(names):
            raise InputError(f"interstellar: training and testing must be distinct models, got {', '.join(names)}")
        if MIXED in names:
            raise InputError(f"interstellar: {MIXED!r} is the name of mixtures, no model may have it")
        for name in self.fitted:
            if name not in names:
                raise InputError(f"interstellar.fitted: must be of {', '.join(names)}, got {name!r}")
        if self.mix and self.fitted:
            raise InputError("interstellar.mix: must be false where every model has a fit of its own")
        for name in ("scatter", "flux_scatter"):
            if getattr(self, name) > 0 and not self.mix:
                raise InputError(f"interstellar.{name}: is of mixtures, interstellar.mix must be true, got it false")
        if self.mix and len(self.training) < 2:
            raise InputError(f"interstellar.mix: needs two training models at least, got {self.training[0]}")
        return self


class JointSettings(Section):
    """The joint posterior of all parameters, whose images have a free slope."""

    gamma: Range = Field((1.0, 1.3), description="range of the halo's inner slope")
    hidden: int = Field(32, ge=1, description="width of the flow's networks")
    n_layer: int = Field(4, ge=1, description="spline transforms of the flow")
    light: bool = Field(True, description="show it smooth light too: gcesbi.simulation.light_scores")
    max_maps: int | None = Field(None, ge=1, description="images presented; by default as many as to other networks")
    schedule: Literal["one-cycle", "two-step"] = Field("one-cycle", description="of the learning rate")


class ObservationSettings(Section):
    """A folder of real images: counts cubes ``ccube_NN.fits`` with ``psf_NN.fits``, one NN for each event type.

    The exposure is that of ``expcube_NN.fits`` (``gtexpcube2``), or without one that at the centre, of ``psf_NN.fits``.
    """

    folder: str | None = Field(None, description="no real images without one")
    component: str = Field("01", description="NN: which event type")
    radius: float = Field(4.8, gt=0, description="pixels within it of the Galactic Centre are kept, degrees")
    energy_range: Range = Field((3.98, 19.96), description="energy bins within it are kept, GeV")

    def read(self) -> Observation | None:
        """The observation, if there is one.

        Raises
        ------
        InputError
            If a file is missing or breaks a rule; the message names it.
        """
        if self.folder is None:
            return None
        counts, psf, cube = (
            Path(self.folder) / f"{kind}_{self.component}.fits" for kind in ("ccube", "psf", "expcube")
        )
        how: dict[str, Any] = {"energy_range": self.energy_range, "event_type": self.component}
        seen = read_observation(counts, self.radius, None, exposure=psf, **how)
        if not cube.is_file():
            return seen
        return replace(seen, exposure=read_observation(counts, self.radius, None, exposure=cube, **how).exposure)

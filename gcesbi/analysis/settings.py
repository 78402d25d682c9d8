"""Settings of a run: typed, checked at construction, read from a TOML preset.

Presets ship with the package (``test``, ``quick``, ``default``, ``paper``) or are a user's own TOML files. A preset
names only what it changes; everything else has the default stated here or in the class that uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gcesbi.analysis.presets import apply_changes, names_in, read_preset
from gcesbi.baselines import Ensemble, ModelPriors, NestedSampling, NptfPriors
from gcesbi.baselines.nptf.priors import PriorChoice
from gcesbi.baselines.samplers.target import Sampler
from gcesbi.errors import InputError
from gcesbi.estimators import NetworkSettings, TrainingSettings
from gcesbi.estimators.neural_posterior_quantities import check_names
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky, check_keys, make_settings

__all__ = [
    "NeuralPosteriorSettings",
    "NptfSettings",
    "RunSettings",
    "SimulationSettings",
    "SpectraSettings",
    "load_settings",
    "preset_names",
]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulationSettings(_Settings):
    """How many maps are drawn. The first `n_test` are held out; training never sees them."""

    n_train: int = Field(10_240, ge=64)
    n_test: int = Field(512, ge=100)
    store: str | None = Field(None, description="folder or URL (s3://...) of the maps; by default the run folder's own")


class SpectraSettings(_Settings):
    """What the errors of the spectra network know of each other: see :mod:`gcesbi.estimators.spectra`."""

    covariance: Literal["diagonal", "full", "low_rank"] = "diagonal"
    rank: int = Field(8, ge=1, description="of the low-rank part, if the covariance has one")


class NeuralPosteriorSettings(_Settings):
    """A neural posterior of sbi's beside the networks: see :mod:`gcesbi.estimators.neural_posterior`.

    What is trained by name, ``gcesbi train RUN --only npe`` or ``fmpe``, has these sizes and quantities too.
    """

    kind: Literal["none", "npe", "fmpe"] = Field(
        "none", description="trained with the networks: a spline flow (npe), by flow matching (fmpe), or none"
    )
    quantities: tuple[str, ...] = ("flux_fraction", "scd_mean", "scd_width")
    hidden: int = Field(64, ge=1, description="width of the density estimator's networks")
    n_layer: int = Field(5, ge=1, description="spline transforms, or layers of the velocity's network")

    @field_validator("quantities")
    @classmethod
    def _check_quantities(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_names(names)
        return names


class NptfSettings(_Settings):
    """How the non-Poissonian template fit is sampled, and with which priors: see :mod:`gcesbi.baselines`."""

    priors: Literal["literature", "model"] = Field(
        "literature", description="literature: broken power laws; model: the networks' own prior, skew normals"
    )
    sampler: Literal["nested", "ensemble"] = "nested"
    max_seconds: float | None = Field(None, gt=0, description="when these are over, keep what there is")
    n_walkers: int = Field(64, ge=36, multiple_of=2, description="of the ensemble")
    n_steps: int = Field(1_500, ge=20, description="of the ensemble")
    n_live: int = Field(1_000, ge=20, description="live points of nested sampling")
    n_eff: int = Field(4_000, ge=20, description="effective posterior points wanted of nested sampling")

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

    def sampling(self) -> Sampler:
        """Sampler of the fit."""
        if self.sampler == "nested":
            return NestedSampling(n_live=self.n_live, n_eff=self.n_eff)
        return Ensemble(n_walkers=self.n_walkers, n_steps=self.n_steps)


class RunSettings(_Settings):
    """All that decides what a run computes."""

    seed: int = Field(1, ge=0)
    sky: Annotated[InnerGalaxySky | FolderSky, Field(discriminator="kind")] = Field(default_factory=InnerGalaxySky)
    simulation: SimulationSettings = SimulationSettings()
    network: NetworkSettings = Field(default_factory=NetworkSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    spectra: SpectraSettings = SpectraSettings()
    neural_posterior: NeuralPosteriorSettings = NeuralPosteriorSettings()
    nptf: NptfSettings = NptfSettings()


def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with the package."""
    return names_in("maps")


def load_settings(
    preset: str = "quick",
    changes: Iterable[str] = (),
    seed: int | None = None,
    sky: Mapping[str, Any] | None = None,
) -> RunSettings:
    """Settings of a preset, with changes.

    Parameters
    ----------
    preset : str
        Name of a preset, or path of a TOML file.
    changes : iterable of str
        Each ``"section.key=value"``, the value as TOML writes it.
    seed : int, optional
        In place of the preset's.
    sky : mapping, optional
        In place of the preset's sky.

    Raises
    ------
    InputError
        If the preset, a key (the nearest valid one is named) or a value is not valid.
    """
    values = read_preset(preset, "maps")
    if sky is not None:
        values["sky"] = dict(sky)
    apply_changes(values, changes, seed)
    values.setdefault("sky", {}).setdefault("kind", "inner-galaxy")
    kinds = {"inner-galaxy": InnerGalaxySky, "folder": FolderSky}
    if values["sky"]["kind"] not in kinds:
        raise InputError(f"sky.kind: must be one of {', '.join(kinds)}, got {values['sky']['kind']!r}")
    check_keys(kinds[values["sky"]["kind"]], values["sky"], "sky.")
    for section in ("simulation", "network", "training", "spectra", "neural_posterior", "nptf"):
        check_keys(RunSettings.model_fields[section].annotation, values.get(section, {}), f"{section}.")
    return make_settings(RunSettings, values)

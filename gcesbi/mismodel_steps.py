"""Steps of a run beyond its own model: the gate, other skies, injected populations, an exactly Poisson excess.

Every step draws from a stream of its own, so that no map was seen in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines import PoissonFit
from gcesbi.errors import InputError
from gcesbi.evaluation import Evaluation, evaluate_networks, poisson_fractions, true_cdf
from gcesbi.mismodelling import MapGate, fitted_means
from gcesbi.run import Run
from gcesbi.simulation import Simulations, Simulator, SkyModel
from gcesbi.simulation.skies import INTERSTELLAR, FolderSky, SkySettings
from gcesbi.sky import Observation
from gcesbi.steps import load_networks
from gcesbi.validation import Comparison, Estimate, gaussian_quantiles
from gcesbi.validation.misspecification import GateVerdict, area_under_curve

__all__ = [
    "GATE_MAPS",
    "Injection",
    "MismodelResult",
    "calibrate_gate",
    "compare_runs",
    "inject",
    "judge",
    "mismodel",
    "poisson_excess",
    "stored_gate",
    "variations",
]

GATE_MAPS = 3072
"""Fresh maps on which a gate is calibrated."""

_GATE_STREAM, _VARIED_STREAM, _INJECT_STREAM, _SMOOTH_STREAM = (2**31 + k for k in (11, 12, 13, 14))
Array = NDArray[np.float64]


def _seed(run: Run, stream: int, *further: int) -> int:
    return int(np.random.SeedSequence(run.settings.seed, spawn_key=(stream, *further)).generate_state(1)[0])


# -- the gate -------------------------------------------------------------------------------------------------------


def calibrate_gate(
    run: Run, n_maps: int = GATE_MAPS, false_alarm: float = 0.01, workers: int = 1, progress: bool = False
) -> MapGate:
    """Draw fresh maps of the run's model, calibrate the gate on them and store it in the run folder.

    Parameters
    ----------
    run : Run
        With trained networks.
    n_maps : int
        At least 1,200; a false-alarm rate f needs some 30 / f of them.
    false_alarm : float
        Rate at which maps of the model are turned away.
    """
    if n_maps < 1200:
        raise InputError(f"n_maps: a gate needs at least 1200 maps, got {n_maps}")
    networks = load_networks(run)
    maps = run.simulator.sample(n_maps, _seed(run, _GATE_STREAM), workers, progress)
    gate = MapGate.fit(run.model, *networks, maps.counts, false_alarm)
    gate.save(run.folder / "gate.npz")
    return gate


def stored_gate(run: Run) -> MapGate | None:
    """The run's gate; None if there is none, or if it was made for other weights."""
    path = run.folder / "gate.npz"
    if not path.is_file():
        return None
    try:
        return MapGate.load(path, run.model, *load_networks(run))
    except InputError:
        return None


def judge(run: Run, observation: Observation, workers: int = 1) -> GateVerdict:
    """Whether the run's model could have produced an observation; the gate is calibrated at the first call and kept."""
    gate = stored_gate(run) or calibrate_gate(run, workers=workers)
    return gate.verdict(observation.counts)


# -- other skies ----------------------------------------------------------------------------------------------------


def variations(sky: SkySettings) -> dict[str, SkySettings]:
    """Skies that differ from a run's in one belief: interstellar emission, thick disk (1 kpc), NFW of slope 1."""
    if isinstance(sky, FolderSky):
        changes: dict[str, dict[str, Any]] = {
            f"interstellar model {name}": {"diffuse": name} for name in ("O", "A", "F") if name != sky.diffuse
        }
        changes |= {"thick disk": {"disk": "z1p0"}, "NFW of slope 1": {"nfw": "g1p0"}}
        if sky.diffuse == "p6v11":
            changes = {name: change for name, change in changes.items() if "diffuse" not in change}
    else:
        keys = ("cosmic_rays", "halo_height", "spin_temperature")
        changes = {f"interstellar {name}": dict(zip(keys, meant, strict=True)) for name, meant in INTERSTELLAR.items()}
        changes |= {"thick disk": {"disk_height": 1.0}, "NFW of slope 1": {"gamma": 1.0}}
    found = {name: type(sky)(**{**sky.model_dump(), **change}) for name, change in changes.items()}
    return {name: varied for name, varied in found.items() if varied != sky}


@dataclass(frozen=True, eq=False)
class MismodelResult:
    """A trained run on maps of other skies.

    Parameters
    ----------
    evaluations : dict of str to Evaluation
        By sky; "nominal" first.
    area : dict of str to Estimate
        Probability that a map of the sky looks stranger to the gate than one of the nominal sky: ½ is blind, 1 sees
        all.
    detected : dict of str to float
        Share of maps that the gate turns away.
    named : dict of str to dict of str to float
        Area for each statistic alone.
    n_maps : int
    counts : float
        Median counts of the maps; of the observation where its brightness was asked for.
    """

    evaluations: dict[str, Evaluation]
    area: dict[str, Estimate]
    detected: dict[str, float]
    named: dict[str, dict[str, float]]
    n_maps: int
    counts: float

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {
            "n_maps": self.n_maps,
            "counts": self.counts,
            "skies": {
                name: {
                    **found.to_dict(),
                    "area_under_curve": vars(self.area[name]),
                    "turned_away": self.detected[name],
                    "area_by_statistic": self.named[name],
                }
                for name, found in self.evaluations.items()
            },
        }


def mismodel(
    run: Run,
    skies: Mapping[str, SkySettings] | None = None,
    n_maps: int = 512,
    *,
    observation: Observation | None = None,
    workers: int = 1,
    progress: bool = False,
) -> MismodelResult:
    """Judge a trained run, and its gate, on maps of other skies.

    Parameters
    ----------
    run : Run
    skies : mapping of str to SkySettings, optional
        :func:`variations` of the run's sky by default.
    n_maps : int
        Of each sky.
    observation : Observation, optional
        Take maps of its brightness: the `n_maps` nearest in counts among four times as many.
    """
    chosen = dict(variations(run.settings.sky) if skies is None else skies)
    gate = stored_gate(run) or calibrate_gate(run, workers=workers, progress=progress)
    networks = load_networks(run)
    wanted = None if observation is None else int(observation.counts.sum())
    evaluations, z = {}, {}
    counts = []
    for k, (name, sky) in enumerate([("nominal", None), *chosen.items()]):
        model = run.model if sky is None else _same_region(sky.build(), run.model)
        maps = _of_brightness(Simulator(model), n_maps, wanted, _seed(run, _VARIED_STREAM, k), workers, progress)
        evaluations[name] = evaluate_networks(run.model, maps, *networks, details=False, seed=run.settings.seed)
        z[name] = gate.z(maps.counts)
        counts.append(np.median(maps.counts.sum(axis=(1, 2), dtype=np.int64)))
    score = {name: gate.gate.largest_score(values) for name, values in z.items()}
    limit = np.quantile(gate.gate.largest, 1 - gate.gate.false_alarm)
    sided = {name: np.where(gate.gate.two_sided, np.abs(values), values) for name, values in z.items()}
    return MismodelResult(
        evaluations,
        {name: area_under_curve(score["nominal"], values) for name, values in score.items()},
        {name: float(np.mean(values > limit)) for name, values in score.items()},
        {
            name: {
                str(statistic): area_under_curve(sided["nominal"][:, i], values[:, i]).value
                for i, statistic in enumerate(gate.gate.names)
            }
            for name, values in sided.items()
        },
        n_maps,
        float(counts[0]),
    )


def _same_region(model: SkyModel, nominal: SkyModel) -> SkyModel:
    return model if model.region == nominal.region else model.with_region(nominal.region)


def _of_brightness(
    simulator: Simulator, n: int, wanted: int | None, seed: int, workers: int, progress: bool
) -> Simulations:
    maps = simulator.sample(n if wanted is None else 4 * n, seed, workers, progress)
    if wanted is None:
        return maps
    off = np.abs(np.log(np.maximum(maps.counts.sum(axis=(1, 2), dtype=np.int64), 1) / max(wanted, 1)))
    return maps[np.sort(np.argsort(off, kind="stable")[:n])]


# -- two runs on the same maps --------------------------------------------------------------------------------------


def compare_runs(run: Run, other: Run, names: tuple[str, str] = ("first", "second")) -> dict[str, Comparison]:
    """Two trained runs of one sky on the same held-out maps, by quantity; for instance the energy-independent twin.

    Raises
    ------
    InputError
        If the two were trained on maps of different models.
    """
    if run.model.fingerprint != other.model.fingerprint:
        raise InputError(
            f"other: must be a run of model {run.model.fingerprint}, is one of {other.model.fingerprint}; "
            "networks are compared on the same maps"
        )
    n = min(run.settings.simulation.n_test, other.settings.simulation.n_test)
    maps = run.store.read(0, n)
    taus = np.arange(1, 80) / 80
    answers = []
    for each in (run, other):
        spectra, source_counts = load_networks(each)
        total = spectra.predict_total(maps.counts)
        answers.append((gaussian_quantiles(*total, taus), source_counts.quantiles(maps.counts, taus)))
    flux = maps.flux.sum(axis=-1)
    share, cdfs = flux / flux.sum(axis=1, keepdims=True), true_cdf(maps.scd)
    model, seed = run.model, run.settings.seed
    found = {
        f"flux fraction of {name}": Comparison.from_quantiles(
            share[:, i], answers[0][0][:, :, i], answers[1][0][:, :, i], taus, names, seed=seed
        )
        for i, name in enumerate(model.names)
    }
    for j, name in enumerate(model.point_sources):
        one, two = (answer[1][:, :, j] for answer in answers)
        found[f"source counts of {name}"] = Comparison.from_quantiles(
            cdfs[:, j], one, two, taus, names, cdf=True, seed=seed
        )
    return found


# -- injected populations -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Injection:
    """A simulated population added to an observation, for a grid of fluxes.

    Parameters
    ----------
    template : str
    injected : array (n_flux, n_repeat), photons / cm² / s
        Flux of the sources that were drawn.
    recovered : dict of str to array (n_flux, n_repeat, 3)
        By method: 16 %, 50 % and 84 % quantiles of the template's flux.
    before : dict of str to float
        Each method's median on the observation alone.
    cdf : array (n_flux, n_repeat, n_bin)
        Predicted median CDF of the template's source counts.
    injected_cdf : array (n_flux, n_repeat, n_bin)
        Of the injected sources alone.
    """

    template: str
    injected: Array
    recovered: dict[str, Array]
    before: dict[str, float]
    cdf: Array
    injected_cdf: Array

    def slope(self, method: str) -> Estimate:
        """Flux recovered per flux injected, by least squares through the flux before; 1 if all is recovered."""
        x = self.injected.ravel()
        y = (self.recovered[method][..., 1] - self.before[method]).ravel()
        slope = float(x @ y / (x @ x))
        rest = y - slope * x
        error = 1.96 * float(np.sqrt(rest @ rest / max(len(x) - 1, 1) / (x @ x)))
        return Estimate(slope, slope - error, slope + error)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        return {
            "template": self.template,
            "injected": self.injected.tolist(),
            "recovered": {name: values.tolist() for name, values in self.recovered.items()},
            "before": self.before,
            "slope": {name: vars(self.slope(name)) for name in self.recovered},
            "cdf": self.cdf.tolist(),
            "injected_cdf": self.injected_cdf.tolist(),
        }


def inject(
    run: Run,
    observation: Observation,
    fluxes: Sequence[float],
    *,
    template: str = "gce",
    xi: float = -10.0,
    omega2: float = 0.1,
    a: float = 0.0,
    n_repeat: int = 5,
) -> Injection:
    """Add a population of known source counts and flux to an observation and see what each method makes of it.

    Parameters
    ----------
    run : Run
    observation : Observation
        Real or mock; in the region of the run's networks.
    fluxes : sequence of float, photons / cm² / s
        Mean flux of the population inside the region.
    template : str
        Where its sources lie.
    xi, omega2, a : float
        Of the skew normal dN/dlog₁₀F. Its spectrum is the middle of the prior.
    n_repeat : int
        Populations drawn for each flux.
    """
    model = run.model
    if template not in model.point_sources:
        raise InputError(f"template: must be one of {', '.join(model.point_sources)}, got {template!r}")
    grid = np.asarray(fluxes, dtype=np.float64)
    if grid.ndim != 1 or grid.size == 0 or np.any(grid <= 0) or n_repeat < 1:
        raise InputError(
            f"fluxes: must be numbers above zero, with n_repeat at least 1, got {grid.tolist()}, {n_repeat}"
        )
    if observation.counts.shape != model.exposure.shape:
        raise InputError(
            f"observation: must have counts of shape {model.exposure.shape}, has {observation.counts.shape}"
        )
    theta = np.repeat(_population_alone(model, template, xi, omega2, a, grid), n_repeat, axis=0)
    drawn = run.simulator.draw(theta, np.random.default_rng(_seed(run, _INJECT_STREAM)))
    maps = np.concatenate([observation.counts[None], observation.counts + drawn.counts.astype(np.int64)])
    row, j = model.names.index(template), model.point_sources.index(template)
    spectra, source_counts = load_networks(run)
    total = np.sum(maps / model.exposure, axis=(1, 2))
    mean, std = (values[:, row] for values in spectra.predict_total(maps))
    methods = {"networks": _three(mean, std) * total[:, None], "Poisson fit": _poisson_flux(maps, model, row)}
    shape = (len(grid), n_repeat)
    curves = source_counts.quantiles(maps, [0.5])[0, 1:, j]
    return Injection(
        template,
        drawn.flux[:, row].sum(axis=-1).reshape(shape),
        {name: values[1:].reshape(*shape, 3) for name, values in methods.items()},
        {name: float(values[0, 1]) for name, values in methods.items()},
        curves.reshape(*shape, -1),
        true_cdf(drawn.scd[:, j]).reshape(*shape, -1),
    )


def _three(mean: Array, std: Array) -> Array:
    return np.clip(mean[:, None] + std[:, None] * np.array([-0.9945, 0.0, 0.9945]), 0, 1)


def _poisson_flux(maps: NDArray[np.integer], model: SkyModel, row: int) -> Array:
    """Quantiles (n, 3) of a template's flux by Poisson fits, Gaussian, energy bins independent."""
    share, error = (values[:, row] for values in poisson_fractions(maps, model))
    flux = np.sum(maps / model.exposure, axis=2)
    total, width = np.sum(share * flux, axis=1), np.sqrt(np.sum((error * flux) ** 2, axis=1))
    return np.maximum(total[:, None] + width[:, None] * np.array([-0.9945, 0.0, 0.9945]), 0)


def _population_alone(model: SkyModel, template: str, xi: float, omega2: float, a: float, flux: Array) -> Array:
    """Parameters (n, n_parameter) of a sky that holds one population of a template and nothing else."""
    prior = model.prior()
    theta = np.tile(prior.mean.numpy().astype(np.float64), (len(flux), 1))
    for i, name in enumerate(prior.names):
        if name.endswith(("_norm", "_flux", "_poisson_share")):
            theta[:, i] = 0.0
    first = template if f"{template}_xi" in prior.names else f"{template}1"
    for key, value in (("xi", xi), ("omega2", omega2), ("a", a), ("flux", flux)):
        theta[:, prior.names.index(f"{first}_{key}")] = value
    return theta


def poisson_excess(run: Run, observation: Observation, n_maps: int = 100) -> Array:
    """Median over maps of every predicted CDF quantile where all emission is exactly Poisson.

    Maps are drawn from the best Poisson fit to the observation, the excess and the disk as smooth as its other
    templates.

    Returns
    -------
    array (n_tau, n_point_source, n_bin)
        At :data:`gcesbi.evaluation.TAUS`.
    """
    from gcesbi.evaluation import TAUS

    if n_maps < 1:
        raise InputError(f"n_maps: must be at least 1, got {n_maps}")
    PoissonFit(run.model, observation)  # checks that the observation is one of the model
    mean = fitted_means(observation.counts[None], run.model)[0]
    maps = np.random.default_rng(_seed(run, _SMOOTH_STREAM)).poisson(mean, (n_maps, *mean.shape))
    _, source_counts = load_networks(run)
    return np.median(source_counts.quantiles(maps, TAUS), axis=1)

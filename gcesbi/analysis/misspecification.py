"""Steps of a run beyond its own model: the gate, and other skies.

Every step draws by a seed of its own, so that no map was seen in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.infer import load_networks
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.errors import InputError
from gcesbi.evaluation.compare import compare_networks
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.evaluation.misspecification import MisspecificationTest
from gcesbi.evaluation.misspecified_maps import MisspecificationResult
from gcesbi.evaluation.networks import evaluate_networks
from gcesbi.evaluation.score_tests import other_skies
from gcesbi.simulation import Simulations, Simulator, SkyModel
from gcesbi.simulation.sky_settings import INTERSTELLAR, FolderSky, InnerGalaxySky
from gcesbi.sky import Observation
from gcesbi.validation import Comparison
from gcesbi.validation.misspecification import GateVerdict, area_under_curve

__all__ = ["GATE_MAPS", "calibrate_gate", "compare_runs", "judge", "mismodel", "stored_gate", "variations"]

GATE_MAPS = 3072
"""Fresh maps on which a gate is calibrated."""

_TWINS = ("networks", "twin")


# -- the gate -------------------------------------------------------------------------------------------------------


def calibrate_gate(
    run: RunFolder, n_maps: int = GATE_MAPS, false_alarm: float = 0.01, workers: int = 1, progress: bool = False
) -> MisspecificationTest:
    """Draw fresh maps of the run's model, calibrate the gate on them and store it in the run folder.

    The gate looks for the run's :func:`variations` by name, beside all that is strange.

    Parameters
    ----------
    run : RunFolder
        With trained networks.
    n_maps : int
        At least 1,200; a false-alarm rate f needs some 30 / f of them.
    false_alarm : float
        Rate at which maps of the model are turned away.
    """
    if n_maps < 1200:
        raise InputError(f"n_maps: a gate needs at least 1200 maps, got {n_maps}")
    networks = load_networks(run)
    maps = run.simulator.sample(n_maps, purpose_seed(run, Purpose.misspecification), workers, progress)
    gate = MisspecificationTest.fit(run.model, *networks, maps.counts, false_alarm, other_skies(run.model, _built(run)))
    gate.save(run.folder / "gate.npz")
    return gate


def stored_gate(run: RunFolder) -> MisspecificationTest | None:
    """The run's gate; None if there is none, or if it was made for other weights."""
    path = run.folder / "gate.npz"
    if not path.is_file():
        return None
    try:
        return MisspecificationTest.load(path, run.model, *load_networks(run))
    except InputError:
        return None


def judge(run: RunFolder, observation: Observation, workers: int = 1) -> GateVerdict:
    """Whether the run's model could have produced an observation; the gate is calibrated at the first call and kept."""
    gate = stored_gate(run) or calibrate_gate(run, workers=workers)
    return gate.verdict(observation.counts)


# -- other skies ----------------------------------------------------------------------------------------------------


def variations(sky: InnerGalaxySky | FolderSky) -> dict[str, InnerGalaxySky | FolderSky]:
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


def _built(run: RunFolder, skies: Mapping[str, InnerGalaxySky | FolderSky] | None = None) -> dict[str, SkyModel]:
    """Models of other skies in the run's region, its :func:`variations` by default."""
    chosen = variations(run.settings.sky_of_maps) if skies is None else skies
    return {name: _same_region(SkyModel.build(sky), run.model) for name, sky in chosen.items()}


def _same_region(model: SkyModel, nominal: SkyModel) -> SkyModel:
    return model if model.region == nominal.region else model.with_region(nominal.region)


def mismodel(
    run: RunFolder,
    skies: Mapping[str, InnerGalaxySky | FolderSky] | None = None,
    n_maps: int = 512,
    *,
    observation: Observation | None = None,
    twin: RunFolder | None = None,
    workers: int = 1,
    progress: bool = False,
) -> MisspecificationResult:
    """Judge a trained run, and its gate, on maps of other skies.

    Parameters
    ----------
    run : RunFolder
    skies : mapping of str to InnerGalaxySky | FolderSky, optional
        :func:`variations` of the run's sky by default.
    n_maps : int
        Of each sky.
    observation : Observation, optional
        Draw maps as bright as it, template by template (:func:`gcesbi.evaluation.matched_maps.at_composition`), not
        from all over the prior.
    twin : RunFolder, optional
        A run of the same sky with other networks, compared with the first on the same maps.
    """
    others = _built(run, skies)
    gate = stored_gate(run) or calibrate_gate(run, workers=workers, progress=progress)
    networks = load_networks(run)
    second = None if twin is None else load_networks(twin)
    evaluations, z, counts, twins = {}, {}, [], {}
    for k, (name, model) in enumerate([("nominal", run.model), *others.items()]):
        maps = _maps_of(model, run, n_maps, k, observation, workers, progress)
        evaluations[name] = evaluate_networks(run.model, maps, *networks, details=False, seed=run.settings.seed)
        z[name] = gate.z(maps.counts)
        counts.append(np.median(maps.counts.sum(axis=(1, 2), dtype=np.int64)))
        if second is not None:
            twins[name] = compare_networks(run.model, maps, networks, second, _TWINS, run.settings.seed)
    score = {name: gate.gate.largest_score(values) for name, values in z.items()}
    limit = np.quantile(gate.gate.largest, 1 - gate.gate.false_alarm)
    sided = {name: np.where(gate.gate.two_sided, np.abs(values), values) for name, values in z.items()}
    return MisspecificationResult(
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
        None if observation is None else gate.verdict(observation.counts),
        twins,
    )


def _maps_of(
    model: SkyModel, run: RunFolder, n: int, k: int, observation: Observation | None, workers: int, progress: bool
) -> Simulations:
    """Maps of the k-th sky: of its prior, or as bright as an observation."""
    if observation is None:
        return Simulator(model).sample(n, purpose_seed(run, Purpose.varied, k), workers, progress)
    rng = np.random.default_rng(purpose_seed(run, Purpose.composed, k))
    return Simulator(model).draw(at_composition(model, run.model, observation, n, rng), rng)


def compare_runs(
    run: RunFolder, other: RunFolder, names: tuple[str, str] = ("first", "second")
) -> dict[str, Comparison]:
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
    maps = run.store.read(0, min(run.settings.simulation.n_test, other.settings.simulation.n_test))
    return compare_networks(run.model, maps, load_networks(run), load_networks(other), names, run.settings.seed)

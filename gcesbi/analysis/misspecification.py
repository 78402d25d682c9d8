"""Networks of a run, and its gate, on misspecified maps; seeds are their own: no map was seen in training."""

import numpy as np

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.gate import calibrate_gate, stored_gate
from gcesbi.analysis.infer import load_networks
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.analysis.variations import Skies, models_to_try
from gcesbi.evaluation.compare import compare_networks
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.evaluation.misspecified_maps import MisspecificationResult
from gcesbi.evaluation.networks import evaluate_networks
from gcesbi.simulation import Simulations, Simulator, SkyModel
from gcesbi.sky import Observation
from gcesbi.validation.misspecification import area_under_curve

__all__ = ["evaluate_misspecified"]

_TWINS = ("networks", "twin")


def evaluate_misspecified(
    run: RunFolder,
    skies: Skies | None = None,
    n_maps: int = 512,
    *,
    observation: Observation | None = None,
    twin: RunFolder | None = None,
    workers: int = 1,
    progress: bool = False,
) -> MisspecificationResult:
    """Judge a trained run, and its gate, on misspecified maps.

    Parameters
    ----------
    run : RunFolder
    skies : mapping of str to settings, optional
        :func:`variations` of the run's sky by default.
    n_maps : int
        Of each sky.
    observation : Observation, optional
        Draw maps as bright as it, template by template (:func:`gcesbi.evaluation.matched_maps.at_composition`), not
        from all over the prior.
    twin : RunFolder, optional
        A run of the same sky with other networks, compared with the first on the same maps.
    """
    others = models_to_try(run, skies)
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

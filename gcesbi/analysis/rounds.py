"""Posteriors for one map in rounds: what the networks have learnt of it tells where to look closer.

After each round the prior is cut to the box that holds the posterior's middle 99.9 % of the norms of smooth emission
and of the shapes of templates; maps are drawn from what is left, and the networks train on, from the weights of the
round before. Within the box the prior keeps its form, so that the posterior changes only outside of it (truncated
proposals: Miller et al. 2021, arXiv:2107.01214; Deistler et al. 2022, arXiv:2210.04815). Populations of point sources
keep their priors. Every round is a run of its own, in ``rounds/1``, ``rounds/2``, ... where answers about the map are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.infer import infer
from gcesbi.analysis.simulate import simulate
from gcesbi.analysis.train import train
from gcesbi.errors import InputError
from gcesbi.posterior import Posterior
from gcesbi.simulation import SkyModel
from gcesbi.simulation.marginals import Marginal, Scaled
from gcesbi.sky import Observation

__all__ = ["BOX", "Round", "infer_in_rounds", "posterior_box"]

Box = dict[str, tuple[float, float]]

BOX = 0.999
"""Mass of a parameter's posterior that the box holds."""
_LEVELS = ((1 - BOX) / 2, (1 + BOX) / 2)
_SETTLED = 0.1
_SHARE = 8


@dataclass(frozen=True, eq=False)
class Round:
    """One round.

    Parameters
    ----------
    number : int
        0 are the networks as they were.
    run : RunFolder
        Its networks.
    posterior : Posterior
    box : dict of str to (low, high)
        To what the prior is cut; empty in round 0.
    share : float
        Mass of the whole prior inside the box.
    moved : float
        Largest shift of a median of fluxes and shapes against the round before, in half-widths of its 68 % interval.
    note : str
        Why there is no further round, if there is none.
    """

    number: int
    run: RunFolder
    posterior: Posterior
    box: Box
    share: float = 1.0
    moved: float = np.nan
    note: str = ""

    def __str__(self) -> str:
        told = f"round {self.number}: " + (f"{self.share:.2g} of the prior" if self.number else "the whole prior")
        moved = "" if np.isnan(self.moved) else f"; medians moved by up to {self.moved:.2f} of their errors"
        return told + moved + (f"; {self.note}" if self.note else "")


def posterior_box(model: SkyModel, posterior: Posterior) -> Box:
    """What the middle 99.9 % of a posterior leave of the priors of norms of smooth emission, and of shapes.

    Parameters
    ----------
    model : SkyModel
    posterior : Posterior
        Of fluxes ("flux"), spectra where there are several energies, and the model's shapes, where it has them.

    Raises
    ------
    InputError
        If nothing is left of a prior: the map lies outside.
    """
    found: Box = {}
    flux = posterior.quantiles("flux", _LEVELS)
    spectra = (
        posterior.quantiles("spectrum_fraction", [0.5])[0] if model.n_energy > 1 else np.ones((len(model.names), 1))
    )
    for t, template in enumerate(model.diffuse):
        shares = spectra[t] / spectra[t].sum()
        per_flux = (shares / model.smooth_flux[model.map_rows[t]]).sum(axis=1)
        found[f"{template.name}_norm"] = (flux[0, t] * per_flux.min(), flux[1, t] * per_flux.max())
    for name in model.parameters.shapes:
        if name in posterior.names:
            low, high = posterior.quantiles(name, _LEVELS)
            found[name] = (float(np.ravel(low)[0]), float(np.ravel(high)[0]))
    prior = _prior(model)
    return {name: _left(name, prior[name].range, ends) for name, ends in found.items() if name in prior}


def infer_in_rounds(
    run: RunFolder,
    observation: Observation,
    rounds: int,
    *,
    progress: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> list[Round]:
    """Ask a run's networks about a map, and train them on maps like it.

    Parameters
    ----------
    run : RunFolder
        Of a composed sky, or of settings that stand for one; its networks are trained.
    observation : Observation
    rounds : int
        At most; fewer where the posterior no longer moves, or nothing is left of the prior. Each draws an eighth of
        the run's training maps, and sees an eighth of the maps that its networks saw.
    progress : bool
        Show progress bars.
    told : callable
        Is given a line on each round when it is over.

    Returns
    -------
    list of Round
        From round 0 on; the last one holds the answer.

    Raises
    ------
    InputError
        If `rounds` is less than 1, the networks are not trained, or the map is not one for them.
    """
    if rounds < 1:
        raise InputError(f"rounds: must be at least 1, got {rounds}")
    if run.settings.of_images or run.model.resolved is not None or run.model.known_shapes:
        raise InputError("rounds: are for skies of maps whose energies are not summed")
    done = [Round(0, run, infer(run, observation), {})]
    told(str(done[0]))
    folder = run.about(observation).folder / "rounds"
    for number in range(1, rounds + 1):
        last = done[-1]
        try:
            box = posterior_box(last.run.model, last.posterior)
        except InputError as error:
            done[-1] = replace(last, note=f"kept, as {error}")
            told(str(done[-1]))
            break
        closer = _begin(run, folder / str(number), number, box)
        simulate(closer, progress=progress, backend="threads")
        train(closer, progress=progress, start=last.run)
        posterior = infer(closer, observation)
        moved = _moved(run.model, last.posterior, posterior)
        settled = moved < _SETTLED
        note = "it no longer moves" if settled else ""
        done.append(Round(number, closer, posterior, box, _mass(run.model, box), moved, note))
        told(str(done[-1]))
        if settled:
            break
    return done


def _begin(run: RunFolder, folder: Path, number: int, box: Box) -> RunFolder:
    """The run of a round, made or gone on with."""
    settings = run.settings
    simulation = settings.simulation.model_copy(
        update={"n_train": max(64, settings.simulation.n_train // _SHARE), "store": None}
    )
    training = settings.training.shorter(1 / _SHARE)
    sky = run.model.composition.replace(truncations=_as_stated(run.model, box))
    seed = int(np.random.SeedSequence(settings.seed, spawn_key=(number,)).generate_state(1)[0])
    changed = {"sky": sky, "seed": seed, "simulation": simulation, "training": training}
    closer = settings.model_copy(update=changed)
    return RunFolder.begin(folder, closer, SkyModel.build(sky, run.model.maps).like(run.model))


def _as_stated(model: SkyModel, box: Box) -> Box:
    """The box at the exposure that the sky states, where the model has another."""
    factors = {f"{t.name}_norm": t.norm.factor for t in model.diffuse if isinstance(t.norm, Scaled)}
    return {name: (low / factors.get(name, 1.0), high / factors.get(name, 1.0)) for name, (low, high) in box.items()}


def _mass(model: SkyModel, box: Box) -> float:
    """Of a model's prior, inside a box."""
    prior = _prior(model)
    return float(np.prod([np.diff(prior[name].cdf(np.array(ends)))[0] for name, ends in box.items()]))


def _left(name: str, prior: tuple[float, float], ends: tuple[float, float]) -> tuple[float, float]:
    low, high = max(prior[0], float(ends[0])), min(prior[1], float(ends[1]))
    if not low < high:
        raise InputError(f"nothing is left of the prior of {name}, {prior[0]:g} to {prior[1]:g}: the map lies outside")
    return low, high


def _moved(model: SkyModel, before: Posterior, after: Posterior) -> float:
    """Largest shift of a median of fluxes and shapes, in half-widths of the 68 % interval before."""
    largest = 0.0
    for name in ("flux", *model.parameters.shapes):
        if name in before.names and name in after.names:
            low, middle, high = before.quantiles(name, [0.16, 0.5, 0.84])
            shift = np.abs(after.quantiles(name, [0.5])[0] - middle)
            width = (high - low) / 2
            largest = max(largest, float(np.max(np.divide(shift, width, out=np.zeros_like(shift), where=width > 0))))
    return largest


def _prior(model: SkyModel) -> dict[str, Marginal]:
    prior = model.prior()
    return dict(zip(prior.names, prior.marginals, strict=True))

"""Adaptive fits to many maps of one model: what a proof on mocks needs.

Norms and modes of every map are found from where those of the maps' mean lie, with the curvature there as the first
one; norms are those with the modes marginalised. They are free above zero unless told otherwise; amplitudes with a
prior are at its mean, or given.

Maps of a *mixture* are templates of their own in such a fit. They share one log-field, and draws from the posterior are
weighted so that the prior is flat in the mixture's flux and in the shares: by F^(1 - K) of the flux F of K maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.poisson.adaptive import AdaptiveOptimum, AdaptiveProblem
from gcesbi.baselines.poisson.modulated import adaptive_problem, held_amplitudes
from gcesbi.baselines.poisson.norm_posteriors import PoissonPosterior
from gcesbi.baselines.poisson.optimum import Optimum
from gcesbi.baselines.poisson.priors import Fixed, NormPrior
from gcesbi.errors import InputError
from gcesbi.sky.observation import check_counts

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["AdaptiveFits", "fit_adaptive_maps"]

Array = NDArray[np.float64]

_PER_DRAW = 4  # draws of which one is chosen by its weight


@dataclass(frozen=True, eq=False)
class AdaptiveFits:
    """Adaptive fits to n maps.

    Parameters
    ----------
    model : SkyModel
    problem : AdaptiveProblem
        Of the maps' mean.
    optima : tuple of Optimum
        Norms of every map, those of the first energy bin first, with information that counts the modes'.
    logs : array (n, n_field, n_energy, n_pix), float32
        The best g of every log-field.
    mixtures : tuple of tuples of int
        Templates that are mixed.
    """

    model: SkyModel
    problem: AdaptiveProblem
    optima: tuple[Optimum, ...]
    logs: NDArray[np.float32]
    mixtures: tuple[tuple[int, ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Templates."""
        return self.model.names

    @property
    def norms(self) -> Array:
        """Best norms, (n, n_template, n_energy)."""
        return self._by_bin(np.stack([each.norms for each in self.optima]))

    @property
    def errors(self) -> Array:
        """Their errors, log-fields marginalised, bounds ignored, (n, n_template, n_energy)."""
        variance = np.stack([np.diag(self.problem.covariance(each)) for each in self.optima])
        return self._by_bin(np.sqrt(variance))

    @property
    def flux(self) -> Array:
        """Best fluxes in the region, (n, n_template), photons / cm² / s."""
        return np.asarray((self.norms * self.model.flux_per_norm).sum(axis=2))

    @property
    def converged(self) -> NDArray[np.bool_]:
        """Whether each fit meets the Karush-Kuhn-Tucker conditions, (n,)."""
        return np.array([each.converged for each in self.optima])

    def _by_bin(self, norms: Array) -> Array:
        return norms.reshape(len(norms), self.model.n_energy, -1).swapaxes(1, 2)

    def samples(self, i: int, n: int = 2000, seed: int = 0) -> dict[str, Array]:
        """Draws from the posterior of map `i`: flux (n, n_template), flux_fraction, spectrum_fraction."""
        posterior = PoissonPosterior(self.model.coordinates, (self.problem,), (self.optima[i],), self._quantities)
        if not self.mixtures:
            return posterior.sample(n, seed)
        drawn = posterior.sample(_PER_DRAW * n, seed)
        powers = [(1 - len(rows)) * np.log(drawn["flux"][:, rows].sum(axis=1)) for rows in self.mixtures]
        weight = np.exp(np.sum(powers, axis=0) - np.max(np.sum(powers, axis=0)))
        chosen = np.random.default_rng([seed, 1]).choice(len(weight), n, p=weight / weight.sum())
        return {name: values[chosen] for name, values in drawn.items()}

    def flux_quantiles(self, levels: ArrayLike, n: int = 2000, seed: int = 0) -> Array:
        """Quantiles of the templates' fluxes, (n_level, n_map, n_template), from `n` draws for each map."""
        drawn = [self.samples(i, n, seed + i)["flux"] for i in range(len(self.optima))]
        return np.stack([np.quantile(each, np.asarray(levels), axis=0) for each in drawn], axis=1)

    def _quantities(self, norms: Array) -> dict[str, Array]:
        flux = norms * self.model.flux_per_norm
        total = flux.sum(axis=2)
        return {
            "flux": total,
            "flux_fraction": total / total.sum(axis=1, keepdims=True),
            "spectrum_fraction": flux / flux.sum(axis=1, keepdims=True),
        }


def fit_adaptive_maps(
    counts: ArrayLike,
    model: SkyModel,
    priors: Mapping[str, NormPrior | Fixed] | None = None,
    amplitudes: Mapping[str, float] | None = None,
    mixtures: Sequence[Sequence[str]] = (),
    workers: int = 1,
) -> AdaptiveFits:
    """Adaptive fits of a model to maps (n, n_energy, n_pix) of its region.

    Parameters
    ----------
    counts : array (n, n_energy, n_pix)
    model : SkyModel
        With log-fields, and templates that do not float.
    priors : mapping of str to NormPrior or Fixed, optional
        By template.
    amplitudes : mapping of str to float, optional
        Amplitudes of log-fields, by the names of their parameters.
    mixtures : sequence of sequences of str
        Templates that are mixed. They share the log-fields of the first.
    workers : int
        Processes.

    Raises
    ------
    InputError
        If maps are of another shape, the model has no log-field or templates that float, or an amplitude, a prior or
        a template of a mixture is of no name, or log-fields are those of some templates of a mixture.
    """
    maps = check_counts(counts)
    templates = np.asarray(model.templates, dtype=np.float64)
    if maps.ndim != 3 or maps.shape[1:] != templates.shape[1:] or not len(maps):
        raise InputError(
            f"counts: must have shape (n, {templates.shape[1]}, {templates.shape[2]}), n > 0, got {maps.shape}"
        )
    if not model.modulated:
        raise InputError("model: no template has a log-field; use fit_maps")
    if model.shapes:
        raise InputError(f"model: templates must not float, got {', '.join(model.shapes)}")
    for name in priors or {}:
        if name not in model.names:
            raise InputError(f"priors: templates are {', '.join(model.names)}, got {name!r}")
    _check_mixtures(model, mixtures)
    each = [(priors or {}).get(name, NormPrior()).arrays(model.n_energy) for name in model.names]
    known = np.array(each).transpose(1, 2, 0)
    told = held_amplitudes(model, amplitudes or {})
    mean = np.rint(maps.mean(axis=0)).astype(np.int64)
    problem = adaptive_problem(mean, templates, known, model, told, mixtures)
    start = problem.maximise()
    parts = np.array_split(maps, min(max(workers, 1), len(maps)))
    done = Parallel(n_jobs=len(parts))(delayed(_fit)(problem, part, start) for part in parts)
    optima = [optimum for part, _ in done for optimum in part]
    rows = tuple(tuple(model.names.index(name) for name in group) for group in mixtures)
    return AdaptiveFits(model, problem, tuple(optima), np.concatenate([logs for _, logs in done]), rows)


def _check_mixtures(model: SkyModel, mixtures: Sequence[Sequence[str]]) -> None:
    modulated = {model.names[i] for i in model.modulated}
    named = [name for group in mixtures for name in group]
    for name in named:
        if name not in model.names or named.count(name) > 1:
            raise InputError(f"mixtures: must be of {', '.join(model.names)}, each once, got {name!r}")
    for group in mixtures:
        if 0 < len(modulated.intersection(group)) < len(group):
            raise InputError(f"mixtures: all of {', '.join(group)} must have log-fields, or none")


def _fit(
    problem: AdaptiveProblem, maps: NDArray[np.int64], start: AdaptiveOptimum
) -> tuple[list[Optimum], NDArray[np.float32]]:
    """Optima, without what is large in them, and log-fields of some maps."""
    optima, logs = [], []
    for counts in maps:
        own = replace(problem, counts=counts)
        found = own.marginalise(own.maximise(start.point, near=start))
        optima.append(found.of_norms)
        logs.append(problem.logs(found.latent).astype(np.float32))
    return optima, np.stack(logs)

"""Log-fields of a model's smooth templates, as modes of an adaptive fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_array, hstack

from gcesbi.baselines.poisson.adaptive import AdaptiveOptimum, AdaptiveProblem
from gcesbi.baselines.poisson.likelihood import check_covered, check_templates
from gcesbi.baselines.poisson.modes import ModeBasis, Modes
from gcesbi.baselines.poisson.norm_posteriors import truncated_gaussian
from gcesbi.baselines.poisson.optimum import PoissonProblem, Problem
from gcesbi.baselines.poisson.priors import Fixed, NormPrior
from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Fixed as FixedNumber
from gcesbi.simulation.prior import Parameter
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = [
    "LogFields",
    "ModelLikelihood",
    "adaptive_problem",
    "amplitude_parameters",
    "best_amplitudes",
    "held_amplitudes",
    "template_modes",
]

Array = NDArray[np.float64]

_EDGE = 1e-3  # of a prior's quantiles, left out at either end
_TOLERANCE = 0.02  # in quantiles, and in the logarithm of the evidence


@dataclass(frozen=True, eq=False)
class ModelLikelihood:
    """Likelihoods of a model's templates, with what is known of norms and amplitudes.

    Parameters
    ----------
    model : SkyModel
    observation : Observation
    names : tuple of str
        Templates, the model's first.
    priors : mapping of str to NormPrior or Fixed
        By template; norms without one are free above zero.
    amplitudes : mapping of str to float
        Of log-fields, that are held.
    """

    model: SkyModel
    observation: Observation
    names: tuple[str, ...]
    priors: Mapping[str, NormPrior | Fixed]
    amplitudes: Mapping[str, float]

    def check(self, templates: Array) -> None:
        """Raise InputError unless names are known and these templates can be told apart; see `PoissonFit`."""
        for name, prior in self.priors.items():
            if name not in self.names:
                raise InputError(f"priors: templates are {', '.join(self.names)}, got {name!r}")
            if not isinstance(prior, (NormPrior, Fixed)):
                raise InputError(f"priors: {name!r} must be a NormPrior or Fixed, got {prior!r}")
        self.held  # noqa: B018 - checks amplitudes
        for e, problem in enumerate(self.plain(templates)):
            where = f"templates (energy bin {e})"
            check_templates(problem.templates, self.names, where, problem.varied & np.isinf(problem.width))
            check_covered(problem.counts, problem.templates[problem.bounds[:, 1] > 0], where)

    @cached_property
    def _known(self) -> Array:
        """Lowest and highest norm, centre and width of its prior, (4, n_energy, n_template)."""
        known = [self.priors.get(name, NormPrior()).arrays(self.observation.n_energy) for name in self.names]
        return np.array(known).transpose(1, 2, 0)

    @property
    def held(self) -> dict[str, float]:
        """Every amplitude: as given, its number, or the mean of its prior."""
        return held_amplitudes(self.model, self.amplitudes)

    @property
    def free(self) -> tuple[Parameter, ...]:
        """Amplitudes that have a prior and are not held."""
        every = amplitude_parameters(self.model)
        return tuple(p for p in every if p.name not in self.amplitudes and not isinstance(p.marginal, FixedNumber))

    def plain(self, templates: Array) -> tuple[PoissonProblem, ...]:
        """The likelihood of every energy bin without log-fields, of templates (n_template, n_energy, n_pix)."""
        low, high, centre, width = self._known
        bounds = np.stack([low, high], axis=-1)
        return tuple(
            PoissonProblem(counts, np.ascontiguousarray(templates[:, e]), bounds[e], centre[e], width[e])
            for e, counts in enumerate(self.observation.counts)
        )

    def problems(self, templates: Array) -> tuple[Problem, ...]:
        """The same with log-fields, of all energy bins at once, where there are any."""
        return (self.adaptive(templates, {}),) if self.model.modulated else self.plain(templates)

    def adaptive(self, templates: Array, amplitudes: Mapping[str, float]) -> AdaptiveProblem:
        """The likelihood with log-fields, of some amplitudes beside those that are held."""
        told = held_amplitudes(self.model, {**self.amplitudes, **amplitudes})
        return adaptive_problem(self.observation.counts, templates, self._known, self.model, told)

    def best_amplitudes(self, templates: Array) -> dict[str, float]:
        """Those that are held, and the others where the evidence is highest."""
        found = best_amplitudes(lambda told: self.adaptive(templates, told), self.free)
        return {**self.amplitudes, **found}


@dataclass(frozen=True, eq=False)
class LogFields:
    """Log-fields of a fit.

    Parameters
    ----------
    names : tuple of str
        Templates.
    problem : AdaptiveProblem
    optimum : AdaptiveOptimum
    information : array (n_norm, n_norm), optional
        Of the norms, that counts the shapes', where some are fitted.
    """

    names: tuple[str, ...]
    problem: AdaptiveProblem
    optimum: AdaptiveOptimum
    information: Array | None = None

    @classmethod
    def of(cls, names: tuple[str, ...], problem: object, optimum: object, information: Array | None) -> LogFields:
        """Log-fields of a problem; InputError if it has none."""
        if not isinstance(problem, AdaptiveProblem) or not isinstance(optimum, AdaptiveOptimum):
            raise InputError("model: no template has a log-field")
        return cls(names, problem, optimum, information)

    @cached_property
    def marginal(self) -> AdaptiveOptimum:
        """The maximum over norms with log-fields marginalised, about which the posterior is expanded."""
        found = self.problem.marginalise(self.optimum)
        return found if self.information is None else replace(found, information=self.information)

    @property
    def best(self) -> dict[str, Array]:
        """The best g (n_energy, n_pix) of every template that has one: it shines as T exp(g) / Z."""
        pairs = zip(self.problem.modes, self.problem.logs(self.optimum.latent), strict=True)
        return {self.names[row]: logs for modes, logs in pairs for row in modes.rows}

    @property
    def templates(self) -> Array:
        """All templates for norm 1 at the best log-fields, (n_template, n_energy, n_pix)."""
        return self.problem.modulated(self.optimum.latent)

    @property
    def log_evidence(self) -> float:
        """Laplace's, norms flat or under their Gaussian priors, shapes held."""
        return self.problem.log_evidence(self.optimum)

    def sample_means(self, n: int, seed: int = 0) -> Array:
        """Expected counts (n, n_energy, n_pix) of draws from the joint posterior of norms and log-fields."""
        rng = np.random.default_rng(seed)
        norms = truncated_gaussian(self.marginal, self.problem.bounds, n, rng)
        latent = self.problem.draw_latent(self.marginal, norms, rng)
        by_bin = norms.reshape(n, len(self.problem.counts), -1)
        drawn = zip(by_bin, latent, strict=True)
        return np.stack([np.einsum("et,tep->ep", a, self.problem.modulated(z)) for a, z in drawn])


def amplitude_parameters(model: SkyModel) -> tuple[Parameter, ...]:
    """Amplitudes of a model's log-fields, those that are numbers as well, in its order."""
    return tuple(
        Parameter(f"{template.name}_{each.label}_sigma", each.amplitude, "", "")
        for template in (model.diffuse[i] for i in model.modulated)
        for each in template.modulations
    )


def held_amplitudes(model: SkyModel, given: Mapping[str, float]) -> dict[str, float]:
    """Every amplitude of a model: as given, its number, or the mean of its prior.

    Raises
    ------
    InputError
        If a given one is of no log-field of the model, or negative.
    """
    known = {each.name: each.marginal for each in amplitude_parameters(model)}
    for name, value in given.items():
        if name not in known:
            raise InputError(f"amplitudes: must be among {', '.join(known) or 'none'}, got {name!r}")
        if not 0 <= value < np.inf:
            raise InputError(f"amplitudes: {name} must be finite and not negative, got {value}")
    return {name: float(given.get(name, marginal.moments[0])) for name, marginal in known.items()}


def best_amplitudes(
    problem: Callable[[Mapping[str, float]], AdaptiveProblem], free: Sequence[Parameter]
) -> dict[str, float]:
    """Amplitudes within their priors where Laplace's evidence is highest (empirical Bayes), by Nelder-Mead's method.

    The search is in the priors' quantiles, from their middle.

    Parameters
    ----------
    problem : callable
        The fit with some amplitudes by name.
    free : sequence of Parameter
        Amplitudes that are sought.
    """
    point: Array | None = None

    def at(u: Array) -> dict[str, float]:
        inside = np.clip(u, _EDGE, 1 - _EDGE)
        return {
            each.name: float(each.marginal.from_uniform(v)[0]) for each, v in zip(free, inside[:, None], strict=True)
        }

    def negative(u: Array) -> float:
        nonlocal point
        made = problem(at(u))
        optimum = made.maximise(point)
        point = optimum.point
        return -made.log_evidence(optimum)

    n = len(free)
    simplex = np.full((n + 1, n), 0.5)
    simplex[1:] += np.diag(np.full(n, -0.3))
    options = {"initial_simplex": simplex, "fatol": _TOLERANCE, "xatol": _TOLERANCE, "maxfev": 40 * n}
    found = minimize(negative, simplex[0], method="Nelder-Mead", bounds=[(0.0, 1.0)] * n, options=options)
    return at(found.x)


def template_modes(
    model: SkyModel, amplitudes: Mapping[str, float], mixtures: Sequence[Sequence[str]] = ()
) -> tuple[Modes, ...]:
    """Modes of every template with log-fields, times their amplitudes by name; the first's for all of a mixture."""
    groups = {group[0]: tuple(model.names.index(name) for name in group) for group in mixtures}
    led = {name for group in mixtures for name in group[1:]}
    found = []
    for i in model.modulated:
        template = model.diffuse[i]
        if template.name in led:
            continue
        parts = [
            (amplitudes[f"{template.name}_{each.label}_sigma"] * each.basis, each.per_energy)
            for each in template.modulations
        ]
        found.append(Modes(groups.get(template.name, (i,)), _bases(parts, model.n_energy)))
    return tuple(found)


def _bases(parts: list[tuple[csr_array, bool]], n_energy: int) -> tuple[ModeBasis, ...]:
    """Bases in every energy bin of (modes, whether each bin has its own): one for all bins where all is shared."""
    own = any(per_energy for _, per_energy in parts) and n_energy > 1

    @cache
    def basis(e: int) -> ModeBasis:
        columns: list[csr_array] = []
        for modes, per_energy in parts:
            n = n_energy if per_energy else 1
            columns += [modes if not per_energy or k == e else csr_array(modes.shape) for k in range(n)]
        return ModeBasis(csr_array(hstack(columns, format="csr")))

    return tuple(basis(e if own else 0) for e in range(n_energy))


def adaptive_problem(
    counts: NDArray[np.int64],
    templates: Array,
    known: Array,
    model: SkyModel,
    amplitudes: Mapping[str, float],
    mixtures: Sequence[Sequence[str]] = (),
) -> AdaptiveProblem:
    """The adaptive fit of a model's templates.

    Parameters
    ----------
    counts : array (n_energy, n_pix)
    templates : array (n_template, n_energy, n_pix)
    known : array (4, n_energy, n_template)
        Lowest and highest norm, centre and width of its Gaussian prior.
    model : SkyModel
    amplitudes : mapping of str to float
        Of every log-field.
    mixtures : sequence of sequences of str
        Templates that have log-fields in common.
    """
    low, high, centre, width = known.reshape(4, -1)
    modes = template_modes(model, amplitudes, mixtures)
    return AdaptiveProblem(
        counts, templates, np.stack([low, high], axis=-1), centre, width, modes, 1 / np.asarray(model.exposure)
    )

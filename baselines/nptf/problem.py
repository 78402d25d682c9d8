"""Parameters and likelihood of a non-Poissonian template fit: all of it but the sampling.

What the parameters stand for is told in :mod:`gcesbi.baselines.nptf.fit`, what several energy bins mean in
:mod:`gcesbi.baselines.nptf.sky`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from joblib import cpu_count
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.nptf.likelihood import NptfLikelihood, VectorGradient
from gcesbi.baselines.nptf.parameters import NptfParameters
from gcesbi.baselines.nptf.priors import NptfPriors, PriorChoice
from gcesbi.baselines.nptf.psf_correction import PsfCorrection
from gcesbi.baselines.nptf.scd_family import BoundFamily
from gcesbi.baselines.nptf.sky import MapBasis, NptfSky
from gcesbi.baselines.samplers.target import Target
from gcesbi.errors import InputError
from gcesbi.simulation.prior import Prior
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.baselines.samplers.block_move import BlockMove
    from gcesbi.simulation.model import SkyModel

__all__ = ["MOST_COUNTS", "NptfProblem"]

FloatArray = NDArray[np.float64]

MOST_COUNTS = 2**16
"""Photons of a pixel, energies summed, above which one evaluation of the likelihood takes several seconds."""
_EDGE = 1e-12  # closest that a uniform number comes to 0 or 1, where a prior may have no end


@dataclass(frozen=True, eq=False)
class NptfProblem:
    """Likelihood of `model`'s parameters given `observation`, point sources included.

    Parameters
    ----------
    model : SkyModel
    observation : Observation
        Of the model's region and energies.
    priors : NptfPriors, ShapePriors or ModelPriors
        Priors, and with them the family of source-count distributions.
    point_sources : sequence of str, optional
        Templates that shine through point sources; all point-source templates of the model by default.
    smooth : sequence of str, optional
        Templates that shine smoothly; by default what the priors say.
    n_exposure : int
        Groups of pixels of like exposure in which sources give their own counts; 1, customary, takes the mean
        exposure everywhere. :meth:`exposure_error` says what that costs.
    workers : int, optional
        Threads for batches of parameter vectors; all cores by default.
    energies : "sum", "bands" or "joint"
        What several energy bins mean: their sum; one likelihood for each, with a common source-count distribution (see
        :mod:`gcesbi.baselines.nptf.sky` for what these neglect); or one of vectors of counts, in which the spectra of
        all templates float as the model's prior says (:mod:`gcesbi.baselines.nptf.joint`).
    coarse_above : int
        Pixels of more photons are used by their number alone, in a joint fit: see
        :mod:`gcesbi.baselines.nptf.energy_map`.
    psf : PsfCorrection, optional
        In place of that of the model's PSF, for all templates: to compare with codes that have another table.

    Raises
    ------
    InputError
        If names are unknown, the observation does not fit the model, or templates have log-fields.
    """

    model: SkyModel
    observation: Observation
    priors: PriorChoice = field(default_factory=NptfPriors)
    point_sources: Sequence[str] | None = None
    smooth: Sequence[str] | None = None
    n_exposure: int = 1
    workers: int | None = None
    energies: Literal["sum", "bands", "joint"] = "sum"
    coarse_above: int = 200
    psf: PsfCorrection | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model.for_observation(self.observation))
        _check_brightness(self.observation)
        known = self.model.point_sources
        sources = tuple(known if self.point_sources is None else self.point_sources)
        _check_names("point_sources", sources, known)
        if not sources:
            raise InputError("point_sources: must name at least one template; use PoissonFit for none")
        object.__setattr__(self, "point_sources", sources)
        smooth = self.priors.smooth(self.sky) if self.smooth is None else tuple(self.smooth)
        _check_names("smooth", smooth, self.model.names)
        object.__setattr__(self, "smooth", smooth)
        self.parameters  # noqa: B018 - checks model, observation and priors against each other

    @cached_property
    def sky(self) -> NptfSky:
        """Maps of the model and the observation."""
        sources = tuple(self.point_sources or ())
        return NptfSky(self.model, self.observation, sources, self.n_exposure, self.energies == "bands", self.psf)

    @property
    def likelihood(self) -> NptfLikelihood:
        """Likelihood of the summed map, or of all bands."""
        return self.sky.likelihood

    # -- parameters ----------------------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> NptfParameters:
        """What the parameters stand for."""
        return self.priors.parameters(self.sky, tuple(self.smooth or ()))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return self.parameters.names

    @property
    def prior(self) -> Prior:
        """Prior of the parameters."""
        return self.parameters.prior

    @cached_property
    def bounds(self) -> FloatArray:
        """Lower and upper end of every parameter's prior, (n_dim, 2), infinite where there is none."""
        with np.errstate(divide="ignore"):
            return self.prior.from_uniform(np.array([[0.0], [1.0]]).repeat(len(self.names), axis=1)).T

    # -- likelihood ----------------------------------------------------------------------------------------------

    @cached_property
    def _families(self) -> tuple[BoundFamily, ...]:
        views = dict(zip(self.sky.point_sources, self.likelihood.views, strict=True))
        bound = {
            key: key[1].bind(views[key[0]]) for key in {(p.template, p.family) for p in self.parameters.populations}
        }
        return tuple(bound[p.template, p.family] for p in self.parameters.populations)

    def family_of(self, population: int) -> BoundFamily:
        """Source-count distributions of a population, as the instrument sees them."""
        return self._families[population]

    @cached_property
    def _smooth_bases(self) -> tuple[MapBasis, ...]:
        return tuple(self.parameters.bases[name] for name in self.parameters.smooth_templates)

    @cached_property
    def _lanes(self) -> FloatArray:
        n_cell = self.sky.maps.shape[1]
        return self.likelihood.lanes(np.concatenate([np.zeros((0, n_cell)), *(b.maps for b in self._smooth_bases)]))

    @cached_property
    def _source_lanes(self) -> dict[int, FloatArray]:
        """Maps of point-source templates that float, (n_basis, n_block, LANES), by their place."""
        return {
            j: self.likelihood.lanes(maps)
            for j, (name, maps) in enumerate(zip(self.sky.point_sources, self.sky.source_maps, strict=True))
            if self.parameters.bases[name].names
        }

    @cached_property
    def _floats(self) -> bool:
        return any(basis.names for basis in self.parameters.bases.values())

    def vectors(self, theta: FloatArray) -> FloatArray:
        """X of parameter vectors (n, n_dim): (n, n_group, n_ps, n_row)."""
        likelihood, parameters = self.likelihood, self.parameters
        out = np.zeros((len(theta), likelihood.n_group, likelihood.n_ps, likelihood.n_row))
        unit = np.zeros((len(theta), likelihood.n_group, likelihood.n_row))
        norms = parameters.source_norms(theta)
        for p, population in enumerate(parameters.populations):
            self.family_of(p).unit_vectors(parameters.shapes(theta, p), unit)
            out[:, :, self.sky.point_sources.index(population.template)] += norms[:, p, None, None] * unit
        return out

    def _smooth_coefficients(self, theta: FloatArray) -> FloatArray:
        """What multiplies the smooth maps (n, n_map): norm times share."""
        parameters, norms = self.parameters, self.parameters.smooth_norms(theta)
        each = [norms[:, [t]] * parameters.map_shares(theta, n) for t, n in enumerate(parameters.smooth_templates)]
        return np.concatenate([np.zeros((len(theta), 0)), *each], axis=1)

    def log_likelihood(self, theta: ArrayLike) -> FloatArray:
        """Log-likelihoods (...) of parameter vectors (..., n_dim) within the prior, on all cores."""
        values = np.asarray(theta, dtype=np.float64)
        if values.shape[-1] != len(self.names) or values.ndim > 2:
            raise InputError(f"theta: must have shape (n, {len(self.names)}), got {values.shape}")
        rows = np.atleast_2d(values)
        coefficients = self._smooth_coefficients(rows)
        if self._floats:
            result = self._evaluate_floating(rows, coefficients)
        else:
            result = self.likelihood.evaluate_many(
                coefficients, self._lanes, lambda part: self.vectors(rows[part]), self.workers
            )
        return result.reshape(values.shape[:-1])

    def _evaluate_floating(self, theta: FloatArray, coefficients: FloatArray) -> FloatArray:
        """Log-likelihoods (n,), templates combined anew for each vector."""
        shares = {j: self.parameters.map_shares(theta, self.sky.point_sources[j]) for j in self._source_lanes}
        lanes, source_lanes, likelihood = self._lanes, self._source_lanes, self.likelihood
        self._families  # noqa: B018 - bound before threads ask

        def one(i: int) -> float:
            templates = likelihood.blocks.templates.copy()
            for j, maps in source_lanes.items():
                templates[:, j] = _combined(shares[j][i], maps)
            here = replace(likelihood, blocks=replace(likelihood.blocks, templates=templates))
            mean = _combined(coefficients[i], lanes)[None]
            return float(here.evaluate_many(np.ones((1, 1)), mean, lambda _: self.vectors(theta[i : i + 1]), 1)[0])

        with ThreadPoolExecutor(min(self.workers or cpu_count(), max(len(theta), 1))) as pool:
            return np.array(list(pool.map(one, range(len(theta)))))

    def log_likelihood_gradient(self, theta: ArrayLike) -> tuple[float, FloatArray]:
        """Log-likelihood and its gradient (n_dim,) at one parameter vector (n_dim,), in closed form."""
        value, gradient, _ = self.gradient_by_mean(np.asarray(theta, dtype=np.float64), {})
        return value, gradient

    def gradient_by_mean(
        self, values: FloatArray, maps: Mapping[str, FloatArray]
    ) -> tuple[float, FloatArray, FloatArray]:
        """Log-likelihood, its gradient (n_dim,), and that by the smooth mean of every cell (n_cell,).

        At one parameter vector (n_dim,), where `maps` (n_basis, n_cell) stand in for those of smooth templates by name.
        """
        parameters = self.parameters
        rows, n = values[None], self.likelihood.blocks.max_count + 1
        shares = {name: parameters.map_shares(rows, name)[0] for name in parameters.bases}
        vectors, smooth = self.vectors(rows)[0], parameters.smooth_norms(rows)[0]
        mean = np.zeros(self.sky.maps.shape[1])
        for norm, name in zip(smooth, parameters.smooth_templates, strict=True):
            mean += norm * _combined(shares[name], maps.get(name, parameters.bases[name].maps))
        found, slopes, by_share = self._vector_gradient(values, mean, vectors, shares)
        norms, by_source, by_shape = parameters.source_norms(rows)[0], [], []
        for p, population in enumerate(parameters.populations):
            unit = self.family_of(p).unit_gradient(parameters.shapes(rows, p)[0])
            slope = slopes[:, self.sky.point_sources.index(population.template), :n]
            by_unit = np.einsum("gm,gsm->s", slope, unit)
            by_source.append(by_unit[0])
            by_shape.append(norms[p] * by_unit[1:])
        by_smooth = np.zeros(len(smooth))
        for t, (norm, name) in enumerate(zip(smooth, parameters.smooth_templates, strict=True)):
            by_map = maps.get(name, parameters.bases[name].maps) @ found.by_mean
            by_smooth[t] = shares[name] @ by_map
            if name in by_share:
                by_share[name] = by_share[name] + norm * by_map
        gradient = parameters.pull_back(values, by_smooth, np.array(by_source), by_shape, by_share)
        return found.value, gradient, found.by_mean

    def _vector_gradient(
        self, theta: FloatArray, mean: FloatArray, vectors: FloatArray, shares: dict[str, FloatArray]
    ) -> tuple[VectorGradient, FloatArray, dict[str, FloatArray]]:
        """The likelihood's gradient; its derivatives by X (n_group, n_ps, n_row), and by shares of maps that float.

        A template that floats enters as those of its maps that have a share, or whose share begins to rise.
        """
        likelihood, sources = self.likelihood, self.sky.point_sources
        by_share = {name: np.zeros(len(shares[name])) for name, b in self.parameters.bases.items() if b.names}
        if not self._source_lanes:
            found = likelihood.vector_gradient(mean, vectors)
            return found, found.by_vectors, by_share
        used = [
            self.parameters.used_maps(theta, name) if j in self._source_lanes else np.zeros(1, dtype=np.int64)
            for j, name in enumerate(sources)
        ]
        own = likelihood.blocks.templates
        maps = [
            self._source_lanes[j][used[j]] if j in self._source_lanes else own[None, :, j] for j in range(len(sources))
        ]
        place = np.repeat(np.arange(len(sources)), [len(rows) for rows in used])
        share = np.concatenate([shares[name][rows] for name, rows in zip(sources, used, strict=True)])
        blocks = replace(likelihood.blocks, templates=np.ascontiguousarray(np.concatenate(maps).transpose(1, 0, 2)))
        each = np.ascontiguousarray(vectors[:, place] * share[:, None])
        found = replace(likelihood, blocks=blocks).vector_gradient(mean, each)
        slopes = np.zeros_like(vectors)
        for k, j in enumerate(place.tolist()):
            slopes[:, j] += share[k] * found.by_vectors[:, k]
        by_coefficient = np.einsum("gkm,gkm->k", found.by_vectors, vectors[:, place])
        for j, name in enumerate(sources):
            if name in by_share:
                by_share[name][used[j]] += by_coefficient[place == j]
        return found, slopes, by_share

    def exposure_error(self, theta: ArrayLike, n_exposure: int = 32) -> float:
        """Error of ln L at one parameter vector (n_dim,) made by this fit's number of exposure groups.

        It is ln L as it stands less ln L with `n_exposure` groups, whose own error is smaller by their number.
        """
        finer = replace(self, n_exposure=n_exposure)
        return float(self.log_likelihood(theta)) - float(finer.log_likelihood(theta))

    # -- sampling ------------------------------------------------------------------------------------------------

    def log_likelihood_in_cube(self, u: FloatArray) -> FloatArray:
        """Log-likelihoods (n,) at points (n, n_dim) of the unit cube, in which the prior is flat."""
        return self.log_likelihood(self.from_cube(u))

    def from_cube(self, u: ArrayLike) -> FloatArray:
        """Parameters (..., n_dim) at points of the unit cube (..., n_dim)."""
        return self.prior.from_uniform(within(u))

    @cached_property
    def _moves(self) -> BlockMove:
        """Moves in the unit cube: norms together, each shape with and without them, single shape parameters, all."""
        from gcesbi.baselines.samplers.block_move import BlockMove

        parameters, columns = self.parameters, self.parameters.columns
        populations = parameters.populations
        firsts = columns([population.norm for population in populations])
        norms = np.array([*columns([place for _, place in (*parameters.smooth, *parameters.shares)]), *firsts], int)
        shapes = [np.array(columns(population.shape), int) for population in populations]
        partners = dict(parameters.smooth)
        pairs = [np.array(columns([partners[p.template], p.norm])) for p in populations if p.template in partners]
        pairs += [np.array(pair) for pair in pairwise(firsts)]
        singles = [np.array([i]) for shape in shapes for i in shape]
        both = [np.concatenate([norms, shape]) for shape in shapes]
        order = list(parameters.marginals)
        floating = [np.array(columns([order.index(n) for n in b.names])) for b in parameters.bases.values() if b.names]
        singles += [np.array([i]) for each in floating for i in each]
        both += [np.concatenate([norms, each]) for each in floating]
        everything = [np.arange(len(self.names))]
        walls = np.array([[0.0, 1.0]]).repeat(len(self.names), axis=0)
        blocks = [norms] * 3 + shapes + both + pairs + singles + everything
        return BlockMove([block for block in blocks if len(block)], walls)

    def _gradient_in_cube(self, u: FloatArray) -> tuple[float, FloatArray]:
        theta = self.from_cube(u)
        value, gradient = self.log_likelihood_gradient(theta)
        return value, self.to_cube_slope(theta, gradient)

    def to_cube_slope(self, theta: FloatArray, gradient: FloatArray) -> FloatArray:
        """Derivatives in the unit cube of those by parameters, both (n_dim,), at a parameter vector (n_dim,)."""
        return np.asarray(gradient * np.exp(-self.prior.log_densities(theta)))

    @property
    def target(self) -> Target:
        """The likelihood over the unit cube, for any sampler."""
        return Target(self.names, self.log_likelihood_in_cube, self._moves, self._gradient_in_cube)


def within(u: ArrayLike) -> FloatArray:
    """Points of the unit cube, a little off its walls."""
    return np.clip(u, _EDGE, 1 - _EDGE)


def _combined(shares: FloatArray, maps: FloatArray) -> FloatArray:
    """Sum of maps (n, ...) by their shares (n,)."""
    used = np.flatnonzero(shares)
    return np.asarray(np.tensordot(shares[used], maps[used], 1))


def _check_names(argument: str, chosen: Sequence[str], allowed: Sequence[str]) -> None:
    for name in chosen:
        if name not in allowed:
            raise InputError(f"{argument}: must be among {', '.join(allowed)}, got {name!r}")


def _check_brightness(observation: Observation) -> None:
    """Raise InputError where one pixel alone would take the likelihood seconds each time."""
    counts = observation.counts.sum(axis=0)
    brightest = int(np.argmax(counts))
    if counts[brightest] > MOST_COUNTS:
        raise InputError(
            f"observation: pixel {observation.region.pixels[brightest]} holds {counts[brightest]} photons, and the "
            f"NPTF takes up to {MOST_COUNTS} (its cost grows with their square); mask it, or take smaller pixels"
        )

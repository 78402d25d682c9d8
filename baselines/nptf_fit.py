r"""Non-Poissonian template fit of a sky model: priors, parameters and posterior.

Every template may shine smoothly (Poisson), and point-source templates through sources with a broken power law of
expected counts S as well. Parameters, in this order: ``<name>_norm`` of every smooth template; then for every
point-source template ``<name>_ps_norm``, ``<name>_n1 ..`` and ``<name>_S1 ..``. Norms, smooth or of point sources,
are mean
expected counts per pixel over the normalisation disc, as everywhere in the library: a flat prior on the norm is flat
in total flux.

S is counted at the region's mean exposure E, so a source of S counts has the flux F = S / E.

**Several energy bins.** The likelihood is that of the map summed over energies. Spectra are held at those of the
Poisson fit:
templates are summed with the fit's norms as weights, the PSF is mixed with the template's expected counts as weights
and E is the mean with its
fluxes as weights. What is neglected: all spectral information on the counts (norms of similar shape are told apart by
morphology and statistics alone), the error of the spectra, and that a source's photons of different energies spread
differently (the mixed
PSF is that of the average photon). ``spectrum_fraction`` is therefore not among the posterior's quantities.

The posterior of the excess as point sources and as smooth emission is strongly anti-correlated: a population below
one photon per source is
indistinguishable from smooth emission, by definition. Their sum (``flux_fraction``) is what is measured best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.baselines.count_integrals import mean_counts
from gcesbi.baselines.nptf import NptfLikelihood
from gcesbi.baselines.poisson import PoissonFit, PoissonFitResult
from gcesbi.baselines.psf_correction import psf_correction
from gcesbi.baselines.sampling import BlockMove, Chain, Convergence, run_emcee, temper
from gcesbi.errors import InputError
from gcesbi.physics.broken_power_law import BrokenPowerLaw
from gcesbi.posterior import SamplePosterior
from gcesbi.sky.observation import Observation

if TYPE_CHECKING:
    from gcesbi.simulation.model import SkyModel

__all__ = ["NPTF", "NptfPosterior", "NptfPriors"]

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class NptfPriors:
    """Uniform priors of the NPTF.

    Parameters
    ----------
    indices : tuple of (low, high)
        n_1 .. n_(b+1), bright to dim; n_1 above 2 and the last below 2, or the flux diverges.
    breaks : tuple of (low, high), expected counts at the mean exposure
        S_1 .. S_b, bright to dim, ranges that do not overlap; a break for each index but one.
    norms : mapping of parameter name to (low, high)
        Ranges of ``<name>_norm`` and ``<name>_ps_norm``. Where none is given, from 0 to twice what the Poisson fit's
        norm plus
        five of its errors would be: wide against the likelihood, but chosen with the data at hand.

    Raises
    ------
    InputError
        If a lower end is not below the upper, or a range allows a source-count distribution that diverges or is out
        of order.
    """

    indices: tuple[Range, ...] = ((10.0, 20.0), (1.1, 1.99), (-10.0, 0.99))
    breaks: tuple[Range, ...] = ((5.0, 50.0), (0.1, 4.99))
    norms: Mapping[str, Range] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.breaks) < 1 or len(self.indices) != len(self.breaks) + 1:
            raise InputError(
                f"priors: need one index more than breaks, "
                f"at least one break, got {len(self.indices)} and {len(self.breaks)}"
            )
        named = {f"n{i + 1}": r for i, r in enumerate(self.indices)} | {
            f"S{i + 1}": r for i, r in enumerate(self.breaks)
        }
        for name, (low, high) in (named | dict(self.norms)).items():
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InputError(f"priors: {name}: lower must be below upper, got [{low}, {high}]")
        if self.indices[0][0] <= 2:
            raise InputError(f"priors: n1 must stay above 2, or the flux diverges, got {list(self.indices[0])}")
        if self.indices[-1][1] >= 2:
            raise InputError(f"priors: the last index must stay below 2, or the flux diverges, got {self.indices[-1]}")
        edges = [edge for low, high in reversed(self.breaks) for edge in (low, high)]
        if edges[0] <= 0 or edges != sorted(edges):
            raise InputError(
                f"priors: ranges of breaks must be positive, descend, not overlap, got {list(self.breaks)}"
            )
        if any(low < 0 for low, _ in self.norms.values()):
            raise InputError("priors: norms must not be negative")

    @property
    def n_break(self) -> int:
        """Number of breaks."""
        return len(self.breaks)


class NptfPosterior(SamplePosterior):
    """Posterior of an NPTF, with its chain and what to think of it.

    ``log_evidence`` is the tempering's estimate of ln Z (good to a few tenths, not a nested sampler's figure).

    Besides the quantities of every posterior it holds the fit's own parameters by name, and ``poisson_flux_fraction``
    and
    ``point_source_flux_fraction`` (n_sample, n_point_source_template): the smooth and the point-source share of the
    point-source templates in the region's flux.
    """

    def __init__(
        self, nptf: NPTF, chain: Chain, samples: Mapping[str, NDArray[np.float64]], log_evidence: float
    ) -> None:
        super().__init__("NPTF", nptf.model.coordinates, samples)
        self.chain = chain
        self.log_evidence = log_evidence
        self.best_log_likelihood = float(chain.log_probability.max() - nptf.log_prior(chain.best))

    @property
    def convergence(self) -> Convergence:
        """Diagnostics of the chain."""
        return self.chain.convergence

    @property
    def converged(self) -> bool:
        """Whether nothing speaks against convergence; ``convergence.problems`` lists what does."""
        return self.chain.convergence.converged

    @property
    def degeneracy(self) -> NDArray[np.float64]:
        """Correlation of the smooth and the point-source share of each template, (n_ps,); NaN if one is absent."""
        smooth, sources = self.samples["poisson_flux_fraction"], self.samples["point_source_flux_fraction"]
        both = (smooth.std(axis=0) > 0) & (sources.std(axis=0) > 0)
        return np.array([np.corrcoef(smooth[:, j], sources[:, j])[0, 1] if ok else np.nan for j, ok in enumerate(both)])


@dataclass(frozen=True, eq=False)
class NPTF:
    """Non-Poissonian template fit of `model` to `observation`.

    Parameters
    ----------
    model : SkyModel
    observation : Observation
        Of the model's region and energies.
    priors : NptfPriors
    point_sources : sequence of str, optional
        Templates that shine through point sources; all point-source templates of the model by default.
    smooth : sequence of str, optional
        Templates that shine smoothly; by default all but the disk (``"disk"``), as is customary: what it would add to
        the diffuse templates is
        not told apart from them.
    n_exposure : int
        Groups of pixels of like exposure in which sources give their own counts; 1, customary, takes the mean
        exposure everywhere.
    workers : int, optional
        Threads for batches of parameter vectors; all cores by default.

    Raises
    ------
    InputError
        If names are unknown, or the observation does not fit the model.
    """

    model: SkyModel
    observation: Observation
    priors: NptfPriors = NptfPriors()
    point_sources: Sequence[str] | None = None
    smooth: Sequence[str] | None = None
    n_exposure: int = 1
    workers: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model.for_observation(self.observation))
        names = tuple(self.model.names)
        sources = tuple(self.model.point_sources if self.point_sources is None else self.point_sources)
        smooth = tuple([n for n in names if n != "disk"] if self.smooth is None else self.smooth)
        for argument, chosen, allowed in (
            ("point_sources", sources, self.model.point_sources),
            ("smooth", smooth, names),
        ):
            for name in chosen:
                if name not in allowed:
                    raise InputError(f"{argument}: must be among {', '.join(allowed)}, got {name!r}")
        if not sources:
            raise InputError("point_sources: must name at least one template; use PoissonFit for none")
        object.__setattr__(self, "point_sources", sources)
        object.__setattr__(self, "smooth", smooth)
        unknown = set(self.priors.norms) - set(self.names)
        if unknown:
            raise InputError(f"priors: norms are {', '.join(self._norm_names)}, got {', '.join(sorted(unknown))}")
        self._fit  # noqa: B018 - checks model and observation against each other

    # -- what the data and the Poisson fit fix -------------------------------------------------------------------

    @cached_property
    def _fit(self) -> PoissonFitResult:
        return PoissonFit(self.model, self.observation).run()

    @cached_property
    def _spectrum(self) -> NDArray[np.float64]:
        """Share of every template's norm in each energy bin (n_template, n_energy), from the Poisson fit.

        A template that the fit leaves without flux takes the spectrum of all counts.
        """
        norms = np.maximum(self._fit.spectrum, 0.0)
        total = norms.sum(axis=1, keepdims=True)
        overall = self.observation.counts.sum(axis=1) / max(self.observation.counts.sum(), 1)
        return np.where(total > 0, norms / np.where(total > 0, total, 1.0), overall)

    def _rows(self, names: Sequence[str] | None) -> list[int]:
        return [self.model.names.index(name) for name in names or ()]

    @cached_property
    def _maps(self) -> NDArray[np.float64]:
        """Expected counts per pixel for a summed norm of 1, all energies together, (n_template, n_pix)."""
        return np.einsum("te,tep->tp", self._spectrum, self.model.templates)

    @cached_property
    def _flux_per_norm(self) -> NDArray[np.float64]:
        """Flux in the region for a summed norm of 1, (n_template,), photons / cm² / s."""
        return np.sum(self._spectrum * self.model.flux_per_norm, axis=1)

    @cached_property
    def _exposure(self) -> NDArray[np.float64]:
        """Exposure of every pixel to the photons of each point-source template, (n_ps, n_pix), cm² s."""
        rows = self._rows(self.point_sources)
        weights = self._spectrum[rows] * self.model.flux_per_norm[rows]
        return weights / weights.sum(axis=1, keepdims=True) @ self.model.exposure

    @cached_property
    def mean_exposure(self) -> NDArray[np.float64]:
        """Mean exposure of the region to each point-source template, (n_ps,), cm² s: S counts are F = S / exposure."""
        return self._exposure.mean(axis=1)

    @cached_property
    def likelihood(self) -> NptfLikelihood:
        """Likelihood of the map summed over energies."""
        rows = self._rows(self.point_sources)
        ratio = self._exposure / self.mean_exposure[:, None]
        tables = [psf_correction(self.model.psf, self.model.region, self._count_shares(row)) for row in rows]
        return NptfLikelihood.build(
            self.observation.counts.sum(axis=0),
            self._maps[rows] / ratio,
            np.stack([table.f for table in tables]),
            np.stack([table.df_rho for table in tables]),
            ratio.mean(axis=0),
            self.n_exposure,
        )

    def _count_shares(self, row: int) -> NDArray[np.float64]:
        """Share of a template's expected counts in each energy bin, (n_energy,)."""
        counts = self._spectrum[row] * self.model.templates[row].sum(axis=1)
        return counts / counts.sum()

    # -- parameters ----------------------------------------------------------------------------------------------

    @property
    def _norm_names(self) -> tuple[str, ...]:
        sources, smooth = self.point_sources or (), self.smooth or ()
        return (*(f"{name}_norm" for name in smooth), *(f"{name}_ps_norm" for name in sources))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        shape = [f"n{i + 1}" for i in range(self.priors.n_break + 1)] + [
            f"S{i + 1}" for i in range(self.priors.n_break)
        ]
        sources = [f"{name}_{what}" for name in self.point_sources or () for what in ("ps_norm", *shape)]
        return (*(f"{name}_norm" for name in self.smooth or ()), *sources)

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """Lower and upper end of every parameter's uniform prior, (n_dim, 2)."""
        shape = (*self.priors.indices, *self.priors.breaks)
        ranges = [self._norm_range(f"{name}_norm", name) for name in self.smooth or ()]
        for name in self.point_sources or ():
            ranges += [self._norm_range(f"{name}_ps_norm", name), *shape]
        return np.array(ranges)

    def _norm_range(self, parameter: str, template: str) -> Range:
        row = self.model.names.index(template)
        best, variance = 0.0, 0.0
        for optimum, covariance in zip(self._fit.optima, np.atleast_3d(self._fit.covariance.T).T, strict=True):
            best += float(optimum.norms[row])
            variance += float(covariance[row, row])
        width = math.sqrt(variance) if math.isfinite(variance) else float(self.observation.counts.mean())
        return self.priors.norms.get(parameter, (0.0, 2.0 * (best + 5.0 * width)))

    def log_prior(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Log of the prior's density (...), for parameter vectors (..., n_dim)."""
        values = np.asarray(theta, dtype=np.float64)
        low, high = self.bounds.T
        inside = np.all((values >= low) & (values <= high), axis=-1)
        return np.where(inside, -np.log(high - low).sum(), -np.inf)

    def sample_prior(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw `n` parameter vectors (n, n_dim) from the prior."""
        low, high = self.bounds.T
        return low + (high - low) * rng.random((n, len(low)))

    def _ps_norms(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Norms of the point sources (n, n_ps)."""
        return theta[:, len(self.smooth or ()) :: 2 * self.priors.n_break + 2]

    @staticmethod
    def _unit(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean counts ∫ S dN/dS dS for A = 1, (n,), of [any, n.., S..] (n, 2 n_break + 2)."""
        unit = np.ascontiguousarray(shapes).copy()
        unit[:, 0] = 1.0
        return mean_counts(unit)

    def _split(self, theta: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smooth norms (n, n_smooth) and [A, n.., S..] of every point-source template (n, n_ps, 2 n_break + 2)."""
        n_smooth = len(self.smooth or ())
        shapes = theta[:, n_smooth:].reshape(len(theta), len(self.point_sources or ()), -1).copy()
        shapes[..., 0] /= self._unit(shapes.reshape(-1, shapes.shape[-1])).reshape(shapes.shape[:2])
        return theta[:, :n_smooth], shapes

    # -- likelihood ----------------------------------------------------------------------------------------------

    @cached_property
    def _lanes(self) -> NDArray[np.float64]:
        return self.likelihood.lanes(self._maps[self._rows(self.smooth)])

    def log_likelihood(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Log-likelihoods (...) of parameter vectors (..., n_dim) within the prior, on all cores."""
        values = np.asarray(theta, dtype=np.float64)
        if values.shape[-1] != len(self.names) or values.ndim > 2:
            raise InputError(f"theta: must have shape (n, {len(self.names)}), got {values.shape}")
        norms, shapes = self._split(np.atleast_2d(values))
        lengths = np.full(shapes.shape[1], shapes.shape[2], dtype=np.int64)
        result = self.likelihood.evaluate_many(norms, self._lanes, shapes, lengths, self.workers)
        return result.reshape(values.shape[:-1])

    def log_probability(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log of prior times likelihood (n,), -inf outside the prior."""
        result = self.log_prior(theta)
        inside = np.isfinite(result)
        if inside.any():
            result[inside] += self.log_likelihood(theta[inside])
        return np.where(np.isnan(result), -np.inf, result)

    def log_likelihood_gradient(self, theta: ArrayLike) -> tuple[float, NDArray[np.float64]]:
        """Log-likelihood and its gradient (n_dim,) at one parameter vector (n_dim,), in closed form."""
        values = np.asarray(theta, dtype=np.float64)
        norms, shapes = self._split(values[None])
        smooth = self._maps[self._rows(self.smooth)]
        result = self.likelihood.gradient(norms[0] @ smooth, list(shapes[0]))
        parts = [smooth @ result.by_mean]
        for shape, norm, slope in zip(shapes[0], self._ps_norms(values[None])[0], result.by_theta, strict=True):
            chain = slope - slope[0] * shape[0] * _log_unit_gradient(shape)  # A = norm / unit(n, S)
            chain[0] = slope[0] * shape[0] / norm if norm > 0 else slope[0] / self._unit(shape[None])[0]
            parts.append(chain)
        return result.value, np.concatenate(parts)

    # -- sampling ------------------------------------------------------------------------------------------------

    @cached_property
    def moves(self) -> BlockMove:
        """Ensemble moves: norms together, each shape with and without them, single shape parameters, and all."""
        n_smooth, width = len(self.smooth or ()), 2 * self.priors.n_break + 2
        firsts = range(n_smooth, len(self.names), width)
        norms = np.array([*range(n_smooth), *firsts])
        shapes = [np.arange(first + 1, first + width) for first in firsts]
        pairs = [np.array([i, first]) for first, i in zip(firsts, self._smooth_partners, strict=True) if i >= 0]
        singles = [np.array([i]) for shape in shapes for i in shape]
        both = [np.concatenate([norms, shape]) for shape in shapes]
        return BlockMove([norms] * 3 + shapes + both + pairs + singles + [np.arange(len(self.names))], self.bounds)

    @property
    def _smooth_partners(self) -> list[int]:
        """Column of each point-source template's smooth norm, -1 if it has none."""
        smooth = list(self.smooth or ())
        return [smooth.index(name) if name in smooth else -1 for name in self.point_sources or ()]

    def run(
        self,
        n_walkers: int | None = None,
        n_steps: int = 1000,
        seed: int = 0,
        n_particles: int = 400,
        burn_in: float = 0.2,
        n_sample: int = 4000,
        progress: bool = True,
    ) -> NptfPosterior:
        """Sample the posterior with emcee.

        Parameters
        ----------
        n_walkers : int, optional
            Four times the number of parameters by default.
        n_steps : int
            Steps of every walker, burn-in included.
        seed : int
            Same seed, same samples, whatever the number of workers.
        n_particles : int
            Particles that are tempered from the prior; the walkers start from some of them. Even, not fewer than
            walkers.
        burn_in : float
            Share of the steps that is dropped.
        n_sample : int
            Samples of the chain that are kept in the posterior, at equal steps.
        progress : bool
            Whether to show a progress bar.
        """
        walkers = 4 * len(self.names) if n_walkers is None else n_walkers
        if n_particles % 2 or n_particles < walkers:
            raise InputError(f"n_particles: must be even and at least n_walkers = {walkers}, got {n_particles}")
        rng = np.random.default_rng(seed)
        drawn = self.sample_prior(n_particles, rng)
        tempered = temper(self.log_likelihood, drawn, self.moves, seed, progress=progress)
        start = tempered.theta[rng.choice(n_particles, walkers, replace=False)]
        chain = run_emcee(self.log_probability, start, n_steps, seed, self.names, burn_in, progress, self.moves)
        flat = chain.flat
        kept = flat[np.linspace(0, len(flat) - 1, min(n_sample, len(flat))).astype(np.int64)]
        return NptfPosterior(self, chain, self.quantities(kept), tempered.log_evidence)

    # -- what is concluded ---------------------------------------------------------------------------------------

    def quantities(self, theta: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Named quantities (n, ...) of parameter vectors (n, n_dim)."""
        smooth_rows, source_rows = self._rows(self.smooth), self._rows(self.point_sources)
        n_smooth = len(smooth_rows)
        _, shapes = self._split(theta)
        smooth = np.zeros((len(theta), len(self.model.names)))
        sources = np.zeros_like(smooth)
        smooth[:, smooth_rows] = theta[:, :n_smooth] * self._flux_per_norm[smooth_rows]
        sources[:, source_rows] = self._ps_norms(theta) * self._flux_per_norm[source_rows]
        flux = smooth + sources
        total = flux.sum(axis=1, keepdims=True)
        ps = self._rows(self.model.point_sources)
        pdf = self._histograms(shapes)
        centres = 10.0 ** np.asarray(self.model.coordinates.flux_bin)
        result = {
            "flux_fraction": flux / total,
            "flux": flux,
            "scd_cdf": np.cumsum(pdf, axis=-1),
            "n_sources": sources[:, ps] * np.sum(pdf / centres, axis=-1),
            "poisson_flux_fraction": smooth[:, ps] / total,
            "point_source_flux_fraction": sources[:, ps] / total,
        }
        return result | {name: theta[:, i] for i, name in enumerate(self.names)}

    def _histograms(self, shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Expected SCD histograms (n, n_point_source, n_bin); in the dimmest bin where there are no point sources."""
        edges = 10.0 ** np.asarray(self.model.scd_edges)
        pdf = np.zeros((len(shapes), len(self.model.point_sources), len(edges) - 1))
        pdf[..., 0] = 1.0
        n_break = self.priors.n_break
        for j, name in enumerate(self.point_sources or ()):
            at = self.model.point_sources.index(name)
            for i, theta in enumerate(shapes[:, j]):
                scd = BrokenPowerLaw(1.0, tuple(theta[1 : n_break + 2]), tuple(theta[n_break + 2 :]))
                pdf[i, at] = scd.histogram(edges * self.mean_exposure[j])
        return pdf


def _log_unit_gradient(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivative of ln ∫ S dN/dS dS, A held at 1, by [A, n.., S..]; the first entry is 0 (complex step)."""
    steps = np.tile(shape.astype(np.complex128), (shape.size, 1))
    steps[:, 0] = 1.0
    steps += 1e-100j * np.eye(shape.size)
    value = mean_counts(steps)
    gradient = value.imag / value.real * 1e100
    gradient[0] = 0.0
    return gradient

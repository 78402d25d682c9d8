r"""Poisson fit of all energy bins at once, with the spectral families that a model's components state.

Template t has the norm A_t (mean expected counts per pixel, summed over energies) and a spectrum with parameters φ_t;
its norm in bin e is

.. math:: A_{te} = A_t c_{te}, \quad c_{te} = \frac{s_e(\phi_t) / f_{te}}{\sum_{e'} s_{e'}(\phi_t) / f_{te'}},

with s_e the spectrum's share of flux and f_te the flux for norm 1, as in :mod:`gcesbi.simulation.parameters`. ln L is
concave in A; spectral parameters, and those of floating templates' shapes, are outer ones
(:mod:`gcesbi.baselines.poisson.outer`). A spectrum that is smooth leaves the parameters of a skew normal degenerate:
they may end anywhere in their range with the spectrum itself well determined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from gcesbi.baselines.poisson.fit import PoissonFit, PoissonFitResult
from gcesbi.baselines.poisson.optimum import Optimum, PoissonProblem, Problem
from gcesbi.baselines.poisson.outer import OuterLikelihood, OuterMaximum
from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Fixed
from gcesbi.simulation.prior import Parameter

__all__ = ["SpectralFit", "SpectralFitResult"]

Array = NDArray[np.float64]

_STEP = 1e-5  # of a parameter's range, for differences of shares


@dataclass(frozen=True, eq=False)
class SpectralFit:
    """Fit of norms, spectra and shapes of a model's components to all energy bins.

    Parameters
    ----------
    fit : PoissonFit
        Model, observation, and shapes that are held; two energy bins or more, without priors or extra templates.

    Raises
    ------
    InputError
        If there is one energy bin, or the fit has priors, extra templates or log-fields.
    """

    fit: PoissonFit

    def __post_init__(self) -> None:
        if self.fit.observation.n_energy < 2:
            raise InputError("spectra: need two energy bins at least, the observation has one")
        if self.fit.model.modulated:
            raise InputError(
                "model: log-fields are not fitted here; hold their amplitudes at 0, or fit bins by themselves"
            )
        if self.fit.priors or self.fit.extra:
            raise InputError("fit: must be without priors of single bins and without extra templates")

    @cached_property
    def outer(self) -> tuple[Parameter, ...]:
        """Shape parameters that are fitted, then those of spectra."""
        return (*self.fit.sky.fitted, *(each for _, each in self._spectral() if not isinstance(each.marginal, Fixed)))

    def _spectral(self) -> Iterator[tuple[int, Parameter]]:
        """Row of its template, and parameter or constant, of all spectra."""
        parameters = self.fit.model.parameters
        slots = {slot.name: slot for slot in parameters.slots}
        for row, template in enumerate(parameters.templates):
            for key in template.spectrum.marginals(parameters.energy_edges):
                yield row, slots[f"{template.name}_spectrum_{key}"]

    def _shares(self, row: int, values: Mapping[str, float]) -> Array:
        """Share of flux of a template in each energy bin, (n_energy,)."""
        own = [
            each.marginal.value if isinstance(each.marginal, Fixed) else values[each.name]
            for at, each in self._spectral()
            if at == row
        ]
        spectrum = self.fit.model.parameters.templates[row].spectrum
        return np.asarray(spectrum.shares(self.fit.observation.energy_edges, np.array([own]))[0])

    def at(self, values: Array) -> tuple[Array, Array, Array]:
        """Templates (n_template, n_energy, n_pix), and their c and f (n_template, n_energy), at values (n_outer,)."""
        templates = self.fit.sky.at(values[: len(self.fit.sky.fitted)])
        flux = (templates / self.fit.observation.exposure).sum(axis=-1)
        named = dict(zip((each.name for each in self.outer), values.tolist(), strict=True))
        raw = np.stack([self._shares(row, named) for row in range(len(templates))]) / flux
        return templates, raw / raw.sum(axis=1, keepdims=True), flux

    def slopes(self, values: Array) -> list[tuple[int, Array, Array]]:
        """Row of the template that an outer parameter changes, derivatives of c (n_energy,) and T (n_energy, n_pix)."""
        _, fraction, flux = self.at(values)
        found = []
        for row, moved in self.fit.sky.slopes(values[: len(self.fit.sky.fitted)]):
            rate = -(moved / self.fit.observation.exposure).sum(axis=-1) / flux[row]
            found.append((row, fraction[row] * (rate - fraction[row] @ rate), moved))
        names = [each.name for each in self.outer]
        for row, each in self._spectral():
            if each.name in names:
                i = names.index(each.name)
                ends = self._ends(i, float(values[i]))
                pair = []
                for end in ends:
                    named = dict(zip(names, values.tolist(), strict=True)) | {each.name: end}
                    raw = self._shares(row, named) / flux[row]
                    pair.append(raw / raw.sum())
                found.append((row, (pair[1] - pair[0]) / (ends[1] - ends[0]), np.zeros_like(self.fit.sky.maps[row])))
        return found

    def _ends(self, i: int, value: float) -> tuple[float, float]:
        """Two values of an outer parameter about one, within its range."""
        low, high = self.likelihood.ranges[i]
        step = _STEP * min(high - low, 1.0)
        return max(value - step, low), min(value + step, high)

    @cached_property
    def likelihood(self) -> OuterLikelihood:
        """Maximum of ln L over norms, as a function of the outer parameters."""
        counts = self.fit.observation.counts
        n = len(self.fit.names)
        free, flat = np.tile([0.0, np.inf], (n, 1)), np.zeros(n)

        def likelihoods(values: Array) -> tuple[PoissonProblem, ...]:
            templates, fraction, _ = self.at(values)
            whole = np.ascontiguousarray((fraction[:, :, None] * templates).reshape(n, -1))
            return (PoissonProblem(counts.ravel(), whole, free, flat, np.full(n, np.inf)),)

        def mean_slopes(values: Array, problems: tuple[Problem, ...], optima: tuple[Optimum, ...]) -> tuple[Array, ...]:
            templates, fraction, _ = self.at(values)
            moved = [
                optima[0].norms[row] * (by_c[:, None] * templates[row] + fraction[row][:, None] * by_t).ravel()
                for row, by_c, by_t in self.slopes(values)
            ]
            return (np.stack(moved) if moved else np.zeros((0, counts.size)),)

        return OuterLikelihood(self.outer, likelihoods, mean_slopes)

    def run(self) -> SpectralFitResult:
        """Fit."""
        return SpectralFitResult(self, self.likelihood.maximise(), self.fit.run())


@dataclass(frozen=True, eq=False)
class SpectralFitResult:
    """Best spectra of the stated families.

    Parameters
    ----------
    spectral : SpectralFit
        What was fitted.
    joint : OuterMaximum
    free : PoissonFitResult
        The fit of the same templates to every bin by itself.
    """

    spectral: SpectralFit
    joint: OuterMaximum
    free: PoissonFitResult

    @property
    def names(self) -> tuple[str, ...]:
        """Templates."""
        return self.spectral.fit.names

    @property
    def norms(self) -> Array:
        """Mean expected counts per pixel, summed over energies, (n_template,)."""
        return self.joint.point.optima[0].norms

    @property
    def parameters(self) -> dict[str, float]:
        """Best shapes and spectral parameters, by name."""
        return dict(zip(self.joint.likelihood.names, self.joint.values.tolist(), strict=True))

    @property
    def covariance(self) -> Array:
        """Of the norms, then of :attr:`parameters`: see :attr:`OuterPoint.covariance`."""
        return self.joint.point.covariance

    @property
    def errors(self) -> Array:
        """Square root of the variances of norms, then parameters."""
        return np.sqrt(np.diagonal(self.covariance))

    def interval(self, name: str, level: float = 0.6827) -> tuple[float, float]:
        """Ends of the profile-likelihood interval of a parameter."""
        return self.joint.interval(name, level)

    @cached_property
    def spectrum(self) -> Array:
        """Norms by energy bin, (n_template, n_energy)."""
        return self.norms[:, None] * self.spectral.at(self.joint.values)[1]

    @cached_property
    def flux(self) -> Array:
        """In the region, (n_template, n_energy), photons / cm² / s."""
        return self.spectrum * self.spectral.at(self.joint.values)[2]

    @cached_property
    def flux_errors(self) -> Array:
        """Errors of :attr:`flux`, linearised, shapes held, (n_template, n_energy)."""
        _, fraction, flux = self.spectral.at(self.joint.values)
        n, finite = len(self.names), np.where(np.isfinite(self.covariance), self.covariance, 0.0)
        slopes = np.zeros((*fraction.shape, len(finite)))
        slopes[np.arange(n), :, np.arange(n)] = fraction
        for k, (row, by_c, _) in enumerate(self.spectral.slopes(self.joint.values)):
            slopes[row, :, n + k] = self.norms[row] * by_c
        return np.sqrt(np.einsum("tei,ij,tej->te", slopes, finite, slopes)) * flux

    @property
    def log_likelihood(self) -> float:
        """With ln k!."""
        return self.joint.point.log_likelihood

    @property
    def test_statistic(self) -> float:
        """2 (ln L of free bins - ln L of these spectra)."""
        return 2 * (self.free.log_likelihood - self.log_likelihood)

    @property
    def p_value(self) -> float:
        """Of that ratio, by χ² with as many degrees of freedom as parameters were saved; bounds ignored."""
        saved = self.spectrum.size + len(self.spectral.fit.sky.fitted) - len(self.norms) - len(self.joint.values)
        return float(gammaincc(saved / 2, max(self.test_statistic, 0.0) / 2))

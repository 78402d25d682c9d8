r"""Priors of the NPTF, in the conventions in use. A prior knows the family of source-count distributions it is of.

- :class:`NptfPriors`: broken power laws of expected counts S, uniform in indices and breaks as in the NPTF literature
  (Lee, Lisanti & Safdi 2015, arXiv:1412.6099; Mishra-Sharma, Rodd & Safdi 2017, arXiv:1612.03173), with the
  brightness in one of three ways: mean counts per pixel, total flux (each flat in total flux, apart from the shape),
  or log₁₀A, A the density dN/dS at the brightest break. A prior flat in log₁₀A, the literature's, gives steep or
  bright distributions less or more flux than others: total flux and shape are tied.
- :class:`ShapePriors`: the same with any family, the shape's prior given parameter by parameter.
- :class:`ModelPriors`: the sky model's own prior, that from which simulations and networks learn: norms of diffuse
  templates, F_tot and shape of every population, of whatever family, and what floats in templates. Posteriors of
  likelihood and networks then answer the same question.

What floats in a fitted template is a parameter with the model's prior, whichever convention is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Protocol

from gcesbi.baselines.nptf.parameters import Brightness, NptfParameters, SourcePopulation
from gcesbi.baselines.nptf.power_law_family import PowerLaws
from gcesbi.baselines.nptf.scd_family import BrokenPowerLaws, ScdFamily
from gcesbi.baselines.nptf.skew_normal_family import SkewNormals
from gcesbi.baselines.nptf.sky import MapBasis, NptfSky
from gcesbi.errors import InputError
from gcesbi.simulation.marginals import Marginal, Uniform
from gcesbi.simulation.population_families import (
    BrokenPowerLawPopulation,
    Population,
    PowerLawPopulation,
    SkewNormalPopulation,
)

__all__ = ["ModelPriors", "NptfPriors", "PriorChoice", "ShapePriors", "source_family"]

Range = tuple[float, float]

_SUFFIX: Mapping[str, str] = {"counts": "ps_norm", "flux": "ps_flux", "amplitude": "ps_log10A"}
_LOG_AMPLITUDE = (-6.0, 1.0)


class PriorChoice(Protocol):
    """What :class:`gcesbi.baselines.NPTF` asks of priors."""

    def smooth(self, sky: NptfSky) -> tuple[str, ...]:
        """Templates that shine smoothly unless told otherwise."""

    def parameters(self, sky: NptfSky, smooth: tuple[str, ...]) -> NptfParameters:
        """Parameters for a sky with the point sources of `sky` and these smooth templates."""


@dataclass(frozen=True, kw_only=True)
class NptfPriors:
    """Uniform priors of broken power laws.

    Parameters
    ----------
    indices : tuple of (low, high)
        n_1 .. n_(b+1), bright to dim; n_1 above 2 and the last below 2, or the flux diverges.
    breaks : tuple of (low, high), expected counts at the mean exposure
        S_1 .. S_b, bright to dim, ranges that do not overlap; a break for each index but one.
    norms : mapping of parameter name to (low, high)
        Ranges of ``<name>_norm`` and of ``<name>_ps_norm``, ``<name>_ps_flux`` or ``<name>_ps_log10A``. Where none is
        given, from 0 to twice what the Poisson fit's norm plus five of its errors would be: wide against the
        likelihood, but chosen with the data at hand; of log₁₀A, from -6 to 1.
    brightness : "counts", "flux" or "amplitude"
        What sets a population's brightness: its mean counts per pixel, total flux in the region (photons / cm² / s),
        or log₁₀A.

    Raises
    ------
    InputError
        If a lower end is not below the upper, or a range allows a source-count distribution that diverges or is out
        of order.
    """

    indices: tuple[Range, ...] = ((10.0, 20.0), (1.1, 1.99), (-10.0, 0.99))
    breaks: tuple[Range, ...] = ((5.0, 50.0), (0.1, 4.99))
    norms: Mapping[str, Range] = field(default_factory=dict)
    brightness: Brightness = "counts"

    def __post_init__(self) -> None:
        if len(self.breaks) < 1 or len(self.indices) != len(self.breaks) + 1:
            raise InputError(
                f"priors: need one index more than breaks, "
                f"at least one break, got {len(self.indices)} and {len(self.breaks)}"
            )
        _check_ranges(self._shape_ranges | dict(self.norms))
        if self.indices[0][0] <= 2:
            raise InputError(f"priors: n1 must stay above 2, or the flux diverges, got {list(self.indices[0])}")
        if self.indices[-1][1] >= 2:
            raise InputError(f"priors: the last index must stay below 2, or the flux diverges, got {self.indices[-1]}")
        edges = [edge for low, high in reversed(self.breaks) for edge in (low, high)]
        if edges[0] <= 0 or edges != sorted(edges):
            raise InputError(
                f"priors: ranges of breaks must be positive, descend, not overlap, got {list(self.breaks)}"
            )
        _check_norms(self.norms, self.brightness)

    @property
    def n_break(self) -> int:
        """Number of breaks."""
        return len(self.breaks)

    @property
    def _shape_ranges(self) -> dict[str, Range]:
        names = BrokenPowerLaws(self.n_break).names
        return dict(zip(names, (*self.indices, *self.breaks), strict=True))

    def smooth(self, sky: NptfSky) -> tuple[str, ...]:
        """Those that are smooth by nature, and the subject."""
        return _smooth_or_subject(sky)

    def parameters(self, sky: NptfSky, smooth: tuple[str, ...]) -> NptfParameters:
        """Norms of smooth templates; brightness and shape of each point-source template; what floats in templates."""
        shape = {name: Uniform(*ends) for name, ends in self._shape_ranges.items()}
        return _parameters(sky, smooth, BrokenPowerLaws(self.n_break), shape, self.norms, self.brightness)


@dataclass(frozen=True, kw_only=True)
class ShapePriors:
    """Priors of any family, the same for every point-source template.

    Parameters
    ----------
    scd : ScdFamily
    shape : mapping of str to Marginal
        Prior of each shape parameter of the family.
    norms : mapping of parameter name to (low, high)
        As for :class:`NptfPriors`.
    brightness : "counts" or "flux"
    """

    scd: ScdFamily
    shape: Mapping[str, Marginal]
    norms: Mapping[str, Range] = field(default_factory=dict)
    brightness: Brightness = "counts"

    def __post_init__(self) -> None:
        if set(self.shape) != set(self.scd.names):
            raise InputError(f"shape: needs a prior for each of {', '.join(self.scd.names)}, got {sorted(self.shape)}")
        if self.brightness == "amplitude":
            raise InputError("brightness: 'amplitude' is that of a broken power law, must be 'counts' or 'flux'")
        _check_ranges(self.norms)
        _check_norms(self.norms, self.brightness)

    def smooth(self, sky: NptfSky) -> tuple[str, ...]:
        """Those that are smooth by nature, and the subject."""
        return _smooth_or_subject(sky)

    def parameters(self, sky: NptfSky, smooth: tuple[str, ...]) -> NptfParameters:
        """Norms of smooth templates; brightness and shape of each point-source template; what floats in templates."""
        shape = {name: self.shape[name] for name in self.scd.names}
        return _parameters(sky, smooth, self.scd, shape, self.norms, self.brightness)


@dataclass(frozen=True)
class ModelPriors:
    """The sky model's own prior, without spectra: the marginals that simulations are drawn from, under their names.

    The likelihood then has the simulator's own source-count distributions (with the model's cut, as many populations as
    the model has, each of its family), shapes of templates, and parameters with the meaning they have there. Smooth are
    the diffuse templates and catalogues, and the Poisson share of templates that have one.
    """

    def smooth(self, sky: NptfSky) -> tuple[str, ...]:
        """Diffuse templates."""
        return tuple(template.name for template in sky.model.diffuse)

    def parameters(self, sky: NptfSky, smooth: tuple[str, ...]) -> NptfParameters:
        """Parameters of ``model.prior()`` that belong to the templates fitted, in its order, and its constants.

        Raises
        ------
        InputError
            If a smooth template has no norm in the model's prior.
        """
        known = {slot.name: slot.marginal for slot in sky.model.parameters.slots}
        for name in smooth:
            if f"{name}_norm" not in known:
                raise InputError(f"smooth: the model's prior has no {name}_norm; smooth templates must be diffuse ones")
        wanted = [f"{name}_norm" for name in smooth]
        fitted = [each for each in sky.model.point_source_templates if each.name in sky.point_sources]
        populations = []
        for template in fitted:
            for label, population in zip(template.labels, template.populations, strict=True):
                first = len(wanted)
                wanted += [f"{label}_{key}" for key in population.marginals()]
                family = source_family(population, sky.model.flux_cut)
                last = len(wanted) - 1
                populations.append(SourcePopulation(template.name, family, last, tuple(range(first, last)), "flux"))
        shared = [template.name for template in fitted if template.poisson_share is not None]
        shares = tuple((name, len(wanted) + i) for i, name in enumerate(shared))
        wanted += [f"{name}_poisson_share" for name in shared]
        marginals = {name: known[name] for name in wanted}
        places = tuple((name, i) for i, name in enumerate(smooth))
        bases = _bases(sky, smooth)
        return NptfParameters(marginals | _shapes(sky, bases), places, tuple(populations), bases, shares)


@singledispatch
def source_family(population: Population, cut: float) -> ScdFamily:
    """The NPTF's own form of a model's family of source-count distributions, cut at 10^`cut`.

    Raises
    ------
    InputError
        If it has none.
    """
    raise InputError(f"priors: the NPTF knows no source-count distribution of {type(population).__name__}")


@source_family.register
def _(population: SkewNormalPopulation, cut: float) -> ScdFamily:
    return SkewNormals(cut)


@source_family.register
def _(population: BrokenPowerLawPopulation, cut: float) -> ScdFamily:
    return PowerLaws(len(population.breaks), cut, population.low)


@source_family.register
def _(population: PowerLawPopulation, cut: float) -> ScdFamily:
    return PowerLaws(0, min(population.threshold, cut), population.low, falling=False)


def _bases(sky: NptfSky, smooth: tuple[str, ...]) -> dict[str, MapBasis]:
    """Maps of all templates that are fitted, by name, in the model's order."""
    names = [name for name in sky.model.names if name in smooth or name in sky.point_sources]
    return {name: sky.bases[row] for name, row in zip(names, sky.rows(tuple(names)), strict=True)}


def _shapes(sky: NptfSky, bases: Mapping[str, MapBasis]) -> dict[str, Marginal]:
    """Priors of all that floats in templates."""
    known = {slot.name: slot.marginal for slot in sky.model.parameters.slots}
    return {name: known[name] for basis in bases.values() for name in basis.names}


def _smooth_or_subject(sky: NptfSky) -> tuple[str, ...]:
    """Of point sources, the subject alone may be smooth too, as is customary: a smooth disk looks like the gas."""
    model = sky.model
    return tuple(name for name in model.names if name not in model.point_sources or name == model.subject)


def _parameters(
    sky: NptfSky,
    smooth: tuple[str, ...],
    family: ScdFamily,
    shape: Mapping[str, Marginal],
    norms: Mapping[str, Range],
    brightness: Brightness,
) -> NptfParameters:
    suffix = _SUFFIX[brightness]
    known = (*(f"{name}_norm" for name in smooth), *(f"{name}_{suffix}" for name in sky.point_sources))
    unknown = set(norms) - set(known)
    if unknown:
        raise InputError(f"priors: norms are {', '.join(known)}, got {', '.join(sorted(unknown))}")
    marginals: dict[str, Marginal] = {
        f"{name}_norm": Uniform(*norms.get(f"{name}_norm", _norm_range(sky, name))) for name in smooth
    }
    populations = []
    for name in sky.point_sources:
        first = len(marginals)
        per_norm = float(sky.flux_per_norm[sky.model.names.index(name)]) if brightness == "flux" else 1.0
        default = _norm_range(sky, name, per_norm) if brightness != "amplitude" else _LOG_AMPLITUDE
        marginals[f"{name}_{suffix}"] = Uniform(*norms.get(f"{name}_{suffix}", default))
        marginals |= {f"{name}_{key}": marginal for key, marginal in shape.items()}
        columns = tuple(range(first + 1, first + 1 + len(shape)))
        populations.append(SourcePopulation(name, family, first, columns, brightness))
    places = tuple((name, i) for i, name in enumerate(smooth))
    bases = _bases(sky, smooth)
    return NptfParameters(marginals | _shapes(sky, bases), places, tuple(populations), bases)


def _norm_range(sky: NptfSky, template: str, scale: float = 1.0) -> Range:
    """From 0 to twice the Poisson fit's norm plus five of its errors, times `scale`."""
    row = sky.model.names.index(template)
    best = float(sky.fit.spectrum[row].sum())
    variance = float(sky.fit.covariances[:, row, row].sum())
    width = math.sqrt(variance) if math.isfinite(variance) else float(sky.observation.counts.mean())
    return 0.0, 2.0 * (best + 5.0 * width) * scale


def _check_ranges(ranges: Mapping[str, Range]) -> None:
    for name, (low, high) in ranges.items():
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"priors: {name}: lower must be below upper, got [{low}, {high}]")


def _check_norms(norms: Mapping[str, Range], brightness: str) -> None:
    if brightness not in _SUFFIX:
        raise InputError(f"brightness: must be one of {', '.join(_SUFFIX)}, got {brightness!r}")
    if any(low < 0 for name, (low, _) in norms.items() if not name.endswith("log10A")):
        raise InputError("priors: norms must not be negative")

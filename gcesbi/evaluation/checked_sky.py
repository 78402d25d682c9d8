"""Whether a map and a sky fit each other, check by check, before anything is simulated or trained."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gcesbi.baselines.poisson.many_maps import fitted_means, fitted_norms
from gcesbi.evaluation.residuals import FIT_STATISTICS, fit_statistics
from gcesbi.simulation import Simulator, SkyModel
from gcesbi.simulation.matching import SAME_EXPOSURE
from gcesbi.sky import Observation

__all__ = ["Check", "check_sky"]

_N_MAP = 256
_RANGE = (0.005, 0.995)
_FAR = 3.0  # an exposure so many times the sky's, or its share, is taken for a mistake


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it fits, and what was found."""

    name: str
    good: bool
    told: str

    def __str__(self) -> str:
        return f"{'fits' if self.good else 'DOES NOT FIT'}  {self.name}: {self.told}"


def check_sky(model: SkyModel, observation: Observation, n_maps: int = _N_MAP, seed: int = 0) -> tuple[Check, ...]:
    """Check a map against a sky; what cannot be looked at because an earlier check failed is left out.

    Parameters
    ----------
    model : SkyModel
    observation : Observation
    n_maps : int
        Maps drawn from the prior, whose range of counts and of residuals the map's is compared with.
    seed : int
    """
    checks = [_frame(model, observation), _energies(model, observation)]
    if not all(each.good for each in checks):
        return tuple(checks)
    shared = np.intersect1d(model.region.pixels, observation.region.pixels)
    told = f"{len(shared):,} of the sky's {model.region.n_pix:,} were observed"
    checks.append(Check("pixels", len(shared) > 0, told))
    if not len(shared):
        return tuple(checks)
    region = replace(observation.region, pixels=shared)  # type: ignore[type-var]
    seen, own = observation.cut(region), model.with_region(region)
    checks.append(_exposure(own, seen))
    own = own.for_observation(seen)
    maps = Simulator(own).sample(n_maps, seed).counts
    checks.append(_within("counts", seen.counts.sum(), maps.sum(axis=(1, 2), dtype=np.int64), "{:,.0f} photons"))
    deviance = list(FIT_STATISTICS).index("deviance of the Poisson fit")
    drawn, found = (fit_statistics(each, own)[:, deviance] for each in (maps, seen.counts[None]))
    checks.append(_within("residuals", found[0], drawn, "deviance {:.3g} of the best Poisson fit"))
    drawn, found = (_likeness(each, own) for each in (maps, seen.counts[None]))
    checks.append(_within("order", found[0], drawn, "correlation {:.3f} with the best Poisson fit"))
    return tuple(checks)


def _likeness(maps: NDArray[np.integer], model: SkyModel) -> NDArray[np.float64]:
    """Correlation (n,) of maps (n, n_energy, n_pix), over pixels, with their best fits: about 0 in a wrong order."""
    means = fitted_means(fitted_norms(maps, model), model)
    seen, best = (np.sqrt(each.sum(axis=1)) for each in (maps, means))
    seen, best = (each - each.mean(axis=1, keepdims=True) for each in (seen, best))
    scale = np.sqrt(np.sum(seen**2, axis=1) * np.sum(best**2, axis=1))
    return np.divide(np.sum(seen * best, axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)


def _frame(model: SkyModel, observation: Observation) -> Check:
    same = type(model.region) is type(observation.region) and model.region.frame == observation.region.frame
    where, own = (f"{type(each).__name__} {each.frame}" for each in (observation.region, model.region))
    told = f"Galactic, {own}" if same else f"the map is on {where}, the sky on {own}"
    return Check("frame", same, told)


def _energies(model: SkyModel, observation: Observation) -> Check:
    seen, own = observation.energy_edges, model.energy_edges
    same = seen.shape == own.shape and bool(np.allclose(seen, own, rtol=1e-6))
    told = f"{len(own) - 1} bins, {own[0]:.4g} to {own[-1]:.4g} GeV"
    edges = ", ".join(f"{each:.4g}" for each in seen)
    return Check("energies", same, told if same else f"the map has {len(seen) - 1} bins with edges {edges}, not {told}")


def _exposure(model: SkyModel, seen: Observation) -> Check:
    ratio = seen.exposure / model.exposure
    told = f"{ratio.min():.3g} to {ratio.max():.3g} of the sky's"
    if np.max(np.abs(ratio - 1)) <= SAME_EXPOSURE:
        return Check("exposure", True, told)
    if not 1 / _FAR < np.median(ratio) < _FAR:
        return Check("exposure", False, f"{told}; is its unit cm² s?")
    return Check("exposure", True, f"{told}: the map's is taken; networks must be simulated with --observation")


def _within(name: str, value: float, drawn: NDArray[np.floating | np.integer], form: str) -> Check:
    low, high = np.quantile(drawn, _RANGE)
    share = float(np.mean(drawn < value))
    told = f"{form.format(value)}; of {len(drawn)} maps of the prior {share:.0%} have less"
    width = high - low
    return Check(
        name, bool(low - 0.05 * width <= value <= high + 0.05 * width), f"{told}, 99 % {low:.4g} to {high:.4g}"
    )

"""A composed sky at a glance: how many photons each component is expected to give, and a few maps drawn from its prior.

Expectations are those of the parameters' mean, which for skewed priors is no typical map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi.simulation import Simulations, Simulator, SkyModel
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.expected import expected_quantities

__all__ = ["DescribedSky", "describe_sky"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DescribedSky:
    """What a sky is, and what it draws.

    Parameters
    ----------
    model : SkyModel
    counts : array (n_template,)
        Expected photons in the region at the prior's mean.
    flux_fraction : array (n_template,)
    mocks : Simulations
        Maps drawn from the prior.
    modulations : dict of str to array (n_pix,)
        Of smooth components with log-fields, one that is drawn: expected counts over those of the template.
    """

    model: SkyModel
    counts: Array
    flux_fraction: Array
    mocks: Simulations
    modulations: dict[str, Array]

    @property
    def composition(self) -> Composition:
        """What is stated."""
        return self.model.composition

    @property
    def components(self) -> tuple[tuple[str, str, str, str, str], ...]:
        """Name, kind, template, spectrum and nuisances of every component, in words."""
        return tuple(
            (each.name, each.kind, _template(each), _spectrum(each), _nuisances(each)) for each in _stated(self.model)
        )

    @property
    def pictures(self) -> Array:
        """Expected counts of every template for norm 1, all energies together, (n_template, n_pix)."""
        return np.asarray(self.model.templates.sum(axis=1))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps as plain numbers."""
        return {
            "fingerprint": self.model.fingerprint,
            "subject": self.model.subject,
            "names": list(self.model.names),
            "counts": self.counts.tolist(),
            "flux_fraction": self.flux_fraction.tolist(),
            "prior": [
                {"name": each.name, "unit": each.unit, "prior": repr(each.marginal), "meaning": each.meaning}
                for each in self.model.prior().parameters
            ],
        }


def describe_sky(model: SkyModel, n_mock: int = 3, seed: int = 0) -> DescribedSky:
    """Describe a sky; `n_mock` maps are drawn from its prior."""
    theta = np.array([[marginal.moments[0] for marginal in model.prior().marginals]])
    fine = model if model.resolved is None else model.resolved
    flux = expected_quantities(fine, theta)["flux"][0]
    spectra = fine.emission(theta).spectra[0]
    per_flux = fine.templates.sum(axis=-1) / fine.flux_per_norm
    counts = np.sum(flux[:, None] * spectra * per_flux, axis=1)
    total = flux.sum()
    share = flux / total if total > 0 else np.zeros_like(flux)
    return DescribedSky(model, counts, share, Simulator(model).sample(n_mock, seed), _modulations(fine, theta, seed))


def _modulations(model: SkyModel, theta: Array, seed: int) -> dict[str, Array]:
    """Counts under log-fields over those without, all energies together, one draw of each component."""
    emission, rng, found = model.emission(theta), np.random.default_rng(seed), {}
    for i in model.modulated:
        rows = model.map_rows[i]
        plain = np.einsum("me,mep->p", emission.norms[0, rows], model.smooth_templates[rows])
        drawn = model.modulated_template(i, emission, rng)[0].sum(axis=0)
        found[model.names[i]] = np.divide(drawn, plain, out=np.ones_like(plain), where=plain > 0)
    return found


def _stated(model: SkyModel) -> Sequence[Any]:
    """Components in the order of the templates."""
    known = {each.name: each for each in model.composition.components}
    return [known[name] for name in model.names]


def _template(component: Any) -> str:
    told = getattr(component, "template", None)
    return str(component.file) if told is None else _words(told)


def _spectrum(component: Any) -> str:
    told = getattr(component, "spectrum", None)
    return "of the catalogue" if told is None else str(told.family)


def _nuisances(component: Any) -> str:
    return "; ".join(
        f"{each.kind} ({', '.join(f'{name} {value!r}' for name, value in dict(each).items() if name != 'kind')})"
        for each in getattr(component, "nuisances", ())
    )


def _words(told: Any) -> str:
    if hasattr(told, "mixture"):
        return f"mixture of {', '.join(_words(part) for part in told.mixture)}"
    if hasattr(told, "formula"):
        given = ", ".join(f"{name} {value!r}" for name, value in told.parameters.items())
        return f"{told.formula} ({given})" if given else str(told.formula)
    return f"map {told.file}" if told.file is not None else f"array {np.shape(told.values)}"

"""gcesbi infers whether the Galactic Centre excess is dark matter or a crowd of faint point sources.

Simulation-based inference with classical-likelihood baselines: one sky model drives simulator, networks, Poisson
template fit and non-Poissonian template fit, and one validation package judges them all.

Names are imported when they are first used, so that ``import gcesbi`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcesbi import baselines, estimators, plots, validation
    from gcesbi.analysis.run import Run
    from gcesbi.analysis.settings import load_settings
    from gcesbi.cli.quickstart import quickstart
    from gcesbi.errors import InputError
    from gcesbi.estimators import FmpeEstimator, NpeEstimator, SourceCountEstimator, SpectralEstimator, load_estimator
    from gcesbi.io import data, read_observation, write_observation
    from gcesbi.posterior import Posterior
    from gcesbi.simulation import (
        Catalogue,
        Formula,
        GaussianField,
        Harmonics,
        Map,
        Mixture,
        PointSources,
        Prior,
        Simulations,
        SimulationStore,
        Simulator,
        SkyModel,
        Smooth,
    )
    from gcesbi.sky import Observation, Region

__version__ = version("gcesbi")

_MODULES = {
    "baselines": "baselines",
    "data": "io.data",
    "estimators": "estimators",
    "plots": "plots",
    "validation": "validation",
}
_HOMES = {
    "analysis.run": ("Run",),
    "analysis.settings": ("load_settings",),
    "cli.quickstart": ("quickstart",),
    "errors": ("InputError",),
    "estimators": ("FmpeEstimator", "NpeEstimator", "SourceCountEstimator", "SpectralEstimator", "load_estimator"),
    "io": ("read_observation", "write_observation"),
    "posterior": ("Posterior",),
    "simulation": (
        "Catalogue",
        "Formula",
        "GaussianField",
        "Harmonics",
        "Map",
        "Mixture",
        "PointSources",
        "Prior",
        "SimulationStore",
        "Simulations",
        "Simulator",
        "SkyModel",
        "Smooth",
    ),
    "sky": ("Observation", "Region"),
}

__all__ = [
    "Catalogue",
    "FmpeEstimator",
    "Formula",
    "GaussianField",
    "Harmonics",
    "InputError",
    "Map",
    "Mixture",
    "NpeEstimator",
    "Observation",
    "PointSources",
    "Posterior",
    "Prior",
    "Region",
    "Run",
    "SimulationStore",
    "Simulations",
    "Simulator",
    "SkyModel",
    "Smooth",
    "SourceCountEstimator",
    "SpectralEstimator",
    "__version__",
    "baselines",
    "data",
    "estimators",
    "load_estimator",
    "load_settings",
    "plots",
    "quickstart",
    "read_observation",
    "validation",
    "write_observation",
]


def __getattr__(name: str) -> Any:
    """A public name, from the module that holds it."""
    if name in _MODULES:
        return import_module(f"gcesbi.{_MODULES[name]}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"gcesbi.{home}"), name)
    raise AttributeError(f"module 'gcesbi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

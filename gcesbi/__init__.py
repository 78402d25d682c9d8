"""gcesbi infers whether the Galactic Centre excess is dark matter or a crowd of faint point sources.

Simulation-based inference with classical-likelihood baselines: one sky model drives simulator, networks, Poisson
template fit and non-Poissonian template fit, and one validation package judges them all.
"""

from importlib.metadata import version

from gcesbi.errors import InputError
from gcesbi.io import read_observation, write_observation
from gcesbi.simulation import Simulations, SimulationStore, Simulator, SkyModel
from gcesbi.sky import Observation, Region

__version__ = version("gcesbi")

__all__ = [
    "InputError",
    "Observation",
    "Region",
    "SimulationStore",
    "Simulations",
    "Simulator",
    "SkyModel",
    "__version__",
    "read_observation",
    "write_observation",
]

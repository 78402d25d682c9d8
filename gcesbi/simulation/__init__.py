"""What could be seen: the sky model and what it is composed of, its prior, its simulator and simulated maps."""

from gcesbi.simulation.components import Catalogue, PointSources, Smooth
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.nuisances import GaussianField, Harmonics
from gcesbi.simulation.prior import Prior
from gcesbi.simulation.rebuild import simulator_for
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import Simulator
from gcesbi.simulation.store import SimulationStore
from gcesbi.simulation.template_statements import Formula, Map, Mixture

__all__ = [
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
    "simulator_for",
]

"""What could be seen: the sky model, its prior, its simulator and simulated maps."""

from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.prior import Prior
from gcesbi.simulation.rebuild import simulator_for
from gcesbi.simulation.simulations import Simulations
from gcesbi.simulation.simulator import Simulator
from gcesbi.simulation.store import SimulationStore

__all__ = ["Prior", "SimulationStore", "Simulations", "Simulator", "SkyModel", "simulator_for"]

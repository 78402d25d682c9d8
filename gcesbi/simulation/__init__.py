"""What could be seen: the sky model, its prior, its simulator and simulated maps."""

from gcesbi.simulation.simulations import Simulations

__all__ = ["Simulations"]

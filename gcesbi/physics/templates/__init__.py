"""Templates: the shape on the sky of everything that shines, one file each, computed from a physical model."""

from gcesbi.physics.templates.disk import Disk
from gcesbi.physics.templates.nfw import NFW

__all__ = ["NFW", "Disk"]

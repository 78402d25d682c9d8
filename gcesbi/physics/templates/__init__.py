"""Templates: the shape on the sky of everything that shines, one file each, computed from a physical model.

Each is a frozen dataclass with ``map(nside, pixels=None)``: the intensity, in units of its own, averaged over NESTED
HEALPix pixels; finite and not negative everywhere; without the point-spread function or the exposure.
"""

from gcesbi.physics.templates.bubbles import Bubbles, Lobe
from gcesbi.physics.templates.disk import Disk
from gcesbi.physics.templates.interstellar import InverseCompton, PionDecay
from gcesbi.physics.templates.isotropic import Isotropic
from gcesbi.physics.templates.nfw import NFW
from gcesbi.physics.templates.template import Template

__all__ = ["NFW", "Bubbles", "Disk", "InverseCompton", "Isotropic", "Lobe", "PionDecay", "Template"]

r"""Smooth light of an image in a few numbers that know the halo's slope, whatever the interstellar emission.

With u = √(k + 3/8), whose noise has variance 1/4 in every pixel, and ⟨u⟩ its mean, a small change of the excess moves
⟨u⟩ by D_j = ∂⟨u⟩/∂p_j: a change of its brightness, or of γ at one of three slopes. What the interstellar emission may
do beside that is taken for noise of covariance

    C = 1/4 + Σ_k V_k V_k^T + Σ_b B_b B_b^T,

V_k the differences of the known interstellar models from their mean and the norm of that, and of every part where parts
have norms of their own, B_b the interstellar emission within bumps some degrees wide, by a few per cent. The numbers
are the scores D_j^T C⁻¹ u: all that linear functions of u say of the excess, where the emission is wrong in no way that
C does not know. A network sees them beside a picture of contrasts, which has lost the smooth light.

That is the generalised least squares of a Gaussian likelihood, with counts over the expected background as residuals:
(k − μ)/μ for small deviations is 2 (u − ⟨u⟩)/⟨u⟩.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from gcesbi.simulation.image_sky_model import ImageSkyModel
from gcesbi.sky.image import angular_distance

__all__ = ["light_scores"]

Array = NDArray[np.float64]

BUMP = 2.0
"""Correlation length of the interstellar emission's unknown part, degrees."""
SCATTER = 0.05
"""Its standard deviation, relatively."""
NORM = 0.3
"""Standard deviation of the interstellar emission's norm."""
_SPACING = 1.5  # degrees between bumps


def light_scores(models: Sequence[ImageSkyModel]) -> Array:
    """Weights (n_score, n_energy, n_pix) of √(k + 3/8): brightness of the excess, and γ at three slopes.

    Parameters
    ----------
    models : sequence of ImageSkyModel
        Of one region and range of γ; they differ in their interstellar emission.
    """
    model, shape = models[0], models[0].exposure.shape
    emission = np.concatenate([each.interstellar_templates.sum(axis=0) for each in models])
    parts = [part for each in models if len(each.interstellar_templates) > 1 for part in each.interstellar_templates]
    mean = np.mean(emission, axis=0)
    halos = np.mean([each.halo_templates for each in models], axis=0)
    root = np.sqrt(mean + model.background_templates[1:].sum(axis=0) + halos.mean(axis=0) + 0.375)
    own = mean / (2 * root)
    bumps = np.exp(-np.square(_distances(model) / BUMP))
    strength = SCATTER / np.sqrt(np.mean(np.sum(bumps**2, axis=0)))
    unknown = [NORM * own, *((each - mean) / (2 * root) for each in emission if len(emission) > 1)]
    unknown += [NORM * each / (2 * root) for part in parts for each in part]
    columns = np.stack([*unknown, *(strength * own * bump for bump in bumps)]).reshape(-1, root.size)
    wanted = np.stack([halos.mean(axis=0), *_slopes(model.gammas, halos)]).reshape(-1, root.size) / (2 * root.ravel())
    inner = cho_factor(np.eye(len(columns)) + 4 * columns @ columns.T)
    scores = 4 * (wanted - (4 * cho_solve(inner, columns @ wanted.T)).T @ columns)
    return scores.reshape(-1, *shape)


def _slopes(gammas: Array, halos: Array) -> list[Array]:
    """Derivatives of the halo by γ (n_energy, n_pix), in three parts of its range; none where it has no range."""
    if len(gammas) < 2:
        return []
    ends = np.unique(np.linspace(0, len(gammas) - 1, 4).round().astype(int))
    return [(halos[b] - halos[a]) / (gammas[b] - gammas[a]) for a, b in pairwise(ends)]


def _distances(model: ImageSkyModel) -> Array:
    """Distances (n_bump, n_pix), degrees, of pixels from bumps on a grid over the image and a little beyond."""
    geometry, glon, glat = model.region.geometry, *model.region.glon_glat()
    reach = [np.abs(each).max() + BUMP for each in (geometry.native_lon, geometry.native_lat)]
    lon, lat = (np.arange(-end, end + _SPACING, _SPACING) for end in reach)
    at = [geometry.to_galactic(x, y) for y in lat for x in lon]
    return np.stack([angular_distance(glon, glat, (float(x), float(y))) for x, y in at])

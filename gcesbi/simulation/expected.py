"""What parameters mean: the fluxes, SCDs and numbers of sources that are expected for θ, before anything is drawn.

They turn posterior samples of θ into the quantities that other methods state, and label maps where a model asks for it.
They are expectations, as a likelihood's are; labels that count the sources drawn scatter about them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.physics.scd import SkewNormalScd, n_sources, pdf_to_cdf
from gcesbi.physics.skew_normal import SMALLEST_OMEGA2
from gcesbi.simulation.model import Emission, SkyModel

__all__ = ["expected_quantities", "expected_sources"]


def expected_quantities(model: SkyModel, theta: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Expected ``flux``, ``flux_fraction``, ``scd_cdf`` and ``n_sources`` (n, *axes) of parameters (n, n_parameter).

    The emission of point sources that is exactly Poisson, where the model has such a share, counts in the dimmest bin.
    """
    if model.resolved is not None:
        return expected_quantities(model.resolved, theta)
    emission, n_diffuse = model.emission(theta), len(model.diffuse)
    binned, _ = expected_sources(model, emission, n_node=1001)
    binned[:, :, 0] += emission.poisson
    smooth = (emission.norms[:, :n_diffuse] * model.flux_per_norm[:n_diffuse]).sum(axis=-1)
    sources = binned.sum(axis=-1)
    flux = np.concatenate([smooth, sources], axis=1)
    share = np.divide(binned, sources[..., None], out=np.zeros_like(binned), where=sources[..., None] > 0)
    share[sources == 0, 0] = 1.0
    return {
        "flux": flux,
        "flux_fraction": flux / flux.sum(axis=1, keepdims=True),
        "scd_cdf": np.minimum(pdf_to_cdf(share), 1.0),
        "n_sources": n_sources(share, sources, model.bins),
    }


def expected_sources(
    model: SkyModel, emission: Emission, n_node: int = 4001
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean flux in every flux bin (n, n_point_source, n_bin), and mean number of sources (n, n_point_source).

    `n_node` is that of :class:`gcesbi.physics.scd.SkewNormalScd`.
    """
    owner = [j for j, each in enumerate(model.point_source_templates) for _ in each.populations]
    flux_in_bins = np.zeros((len(emission.populations), len(model.point_sources), len(model.bins)))
    number = np.zeros(flux_in_bins.shape[:2])
    for i, populations in enumerate(emission.populations):
        for j, (xi, omega2, a, flux) in zip(owner, populations, strict=True):
            scd = SkewNormalScd(xi, max(omega2, SMALLEST_OMEGA2), a, flux, model.flux_cut, n_node)
            flux_in_bins[i, j] += flux * scd.histogram(model.bins)
            number[i, j] += scd.n_sources
    return flux_in_bins, number

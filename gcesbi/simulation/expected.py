"""What parameters mean: the fluxes, SCDs and numbers of sources that are expected for θ, before anything is drawn.

They turn posterior samples of θ into the quantities that other methods state, and label maps where a model asks for it.
They are expectations, as a likelihood's are; labels that count the sources drawn scatter about them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gcesbi.physics.scd import n_sources, pdf_to_cdf
from gcesbi.simulation.model import SkyModel
from gcesbi.simulation.parameters import Emission

__all__ = ["expected_quantities", "expected_sources"]


def expected_quantities(model: SkyModel, theta: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Expected ``flux``, ``flux_fraction``, ``scd_cdf`` and ``n_sources`` (n, *axes) of parameters (n, n_parameter).

    The emission of point sources that is exactly Poisson, where the model has such a share, counts in the dimmest bin.
    """
    if model.resolved is not None:
        return expected_quantities(model.resolved, theta)
    emission = model.emission(theta)
    binned, _ = expected_sources(model, emission, n_node=1001)
    binned[:, :, 0] += emission.poisson
    sources = binned.sum(axis=-1)
    flux = model.flux(emission, sources).sum(axis=-1)
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
    flux_in_bins = np.zeros((len(emission.poisson), len(model.point_sources), len(model.bins)))
    number = np.zeros(flux_in_bins.shape[:2])
    for drawn in emission.populations:
        for i, (shape, flux) in enumerate(zip(drawn.shape, drawn.flux, strict=True)):
            scd = drawn.family.scd(shape, flux, model.flux_cut, n_node)
            flux_in_bins[i, drawn.template] += flux * scd.histogram(model.bins)
            number[i, drawn.template] += scd.n_sources
    return flux_in_bins, number

"""Two sets of networks on the same maps, for instance one that sees the counts summed over energies.

What differs is the networks and nothing else (List et al. 2025, 2507.17804, Figs. S14 and S15).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from gcesbi.estimators import SourceCountEstimator, SpectralEstimator
from gcesbi.evaluation.predictions import TAUS
from gcesbi.physics.scd import true_cdf
from gcesbi.simulation import Simulations, SkyModel
from gcesbi.validation import Comparison

__all__ = ["Networks", "compare_networks"]

Networks = tuple[SpectralEstimator, SourceCountEstimator]


def compare_networks(
    model: SkyModel, maps: Simulations, first: Networks, second: Networks, names: tuple[str, str], seed: int = 0
) -> dict[str, Comparison]:
    """Two sets of networks on the same maps, by quantity: flux fractions of all templates, and source counts.

    Parameters
    ----------
    model : SkyModel
        Of the networks; the maps may be another's.
    maps : Simulations
    first, second : (SpectralEstimator, SourceCountEstimator)
    names : (str, str)
    seed : int
        Of the resampled maps.
    """
    (shares, curves), (other_shares, other_curves) = (_answers(each, maps) for each in (first, second))
    flux = maps.flux.sum(axis=-1)
    truth, cdfs = flux / flux.sum(axis=1, keepdims=True), true_cdf(maps.scd)
    one, two = names
    found = {
        f"flux fraction of {name}": Comparison.of(
            truth[:, i], {one: shares[:, :, i], two: other_shares[:, :, i]}, TAUS, seed=seed
        )
        for i, name in enumerate(model.names)
    }
    return found | {
        f"source counts of {name}": Comparison.of(
            cdfs[:, j], {one: curves[:, :, j], two: other_curves[:, :, j]}, TAUS, cdf=True, seed=seed
        )
        for j, name in enumerate(model.point_sources)
    }


def _answers(networks: Networks, maps: Simulations) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantile curves of flux fractions (n_tau, n, n_template) and CDFs (n_tau, n, n_point_source, n_bin)."""
    spectra, source_counts = networks
    mean, std = spectra.predict_total(maps.counts)
    scores = np.stack([asked(ndtri(TAUS)) for asked in spectra.score_maps[1]], axis=-1)
    return mean + std * scores[:, None], source_counts.quantiles(maps.counts, TAUS)

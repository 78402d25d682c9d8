"""What :mod:`gcesbi.estimators.poisson_fraction` learns from: maps of known Poisson share, as median SCDs.

Maps are drawn from the model's variation with a Poisson share (``docs/science/model.md``), whose parameter is uniform
in [0, 1]. Each is shown to the trained source-count network and forgotten: only its median SCD and its share are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from gcesbi.errors import InputError
from gcesbi.estimators.source_counts import SourceCountEstimator
from gcesbi.simulation import Simulations, Simulator, SkyModel

__all__ = ["PoissonShares", "ask_of_shares", "draw_poisson_shares", "poisson_share"]


@dataclass(frozen=True)
class PoissonShares:
    """Median SCDs of a template as CDFs (n, n_bin), and its Poisson shares (n,)."""

    cdf: NDArray[np.float64]
    share: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.share)

    def __getitem__(self, rows: slice) -> PoissonShares:
        return PoissonShares(self.cdf[rows], self.share[rows])


def poisson_share(model: SkyModel, drawn: Simulations) -> NDArray[np.float64]:
    """Poisson flux of the subject, over its whole flux in the map: (n,), in [0, 1]."""
    place = model.point_sources.index(model.subject) if model.subject in model.point_sources else -1
    if place not in model.poissonian:
        raise InputError("model: its subject has no Poisson share; see SkyModel.with_poisson_share")
    row = model.names.index(model.point_sources[place])
    poisson, flux = model.emission(drawn.theta).poisson[:, place], drawn.flux[:, row].sum(axis=1)
    return np.clip(np.divide(poisson, flux, out=np.ones_like(flux), where=flux > 0), 0, 1)


def draw_poisson_shares(
    simulator: Simulator,
    source_counts: SourceCountEstimator,
    n: int,
    seed: int = 0,
    workers: int = 1,
    progress: bool = False,
) -> PoissonShares:
    """Draw `n` maps and ask the source-count network about each.

    Parameters
    ----------
    simulator : Simulator
        Of a model with a Poisson share.
    source_counts : SourceCountEstimator
        Trained on the same sky.
    n, seed, workers, progress
        See :meth:`gcesbi.Simulator.sample`.
    """
    simulator.prepare()
    with tqdm(total=n, desc="maps of known Poisson share", unit="map", disable=not progress) as bar:
        return ask_of_shares(simulator.model, source_counts, simulator.shards(n, seed, workers), bar.update)


def ask_of_shares(
    model: SkyModel,
    source_counts: SourceCountEstimator,
    parts: Iterable[Simulations],
    tell: Callable[[int], object] = lambda _: None,
) -> PoissonShares:
    """Ask the source-count network about maps of a model with a Poisson share, part by part; `tell` hears how many."""
    template = list(source_counts.names).index(model.subject)
    cdf, share = [], []
    for part in parts:
        cdf.append(source_counts.stated(part.counts, 0.5)[0, :, template])
        share.append(poisson_share(model, part))
        tell(len(part))
    return PoissonShares(np.concatenate(cdf), np.concatenate(share))

"""What networks say of mock skies whose excess is ever brighter, and how far twins disagree all over the prior.

A number of the paper that ours does not reproduce may be due to the networks or to the sky. Both are asked here: the
mock's composition is drawn again and again with the location ξ of the excess' source counts moved up, and the same
networks answer. One that cannot tell bright from dim answers alike to all; one that can says so of the bright ones.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from gcesbi.analysis.run import Run
from gcesbi.estimators import SourceCountEstimator, load_poisson_fraction
from gcesbi.io.files import write_arrays
from gcesbi.simulation import Simulations, SkyModel
from paper.graph import Step
from paper.library import FOLDER
from paper.list2025.mock import Composition, theta

__all__ = ["SHIFTS", "brighter", "moved"]

SHIFTS = (0.0, 0.5, 1.0, 1.5)
"""Of ξ of the excess, dex."""


def brighter(composition: Composition, n_maps: int, seed: int) -> Step:
    """Ask about `n_maps` mocks at each of :data:`SHIFTS`, and about the held-out maps; runs of one sky draw the same.

    Writes ``brighter.npz``: ``shifts`` (n_shift,), ``truth`` and ``median`` (n_shift, n_maps, n_bin), the excess' true
    CDF and the median that the network gives it, ``excluded`` (n_shift, n_maps), the Poisson share excluded at 95 %,
    and ``held_out`` (n_test, n_bin), medians on held-out maps.
    """

    def do(run: Run) -> None:
        network = run.network(SourceCountEstimator.kind, SourceCountEstimator)
        share = load_poisson_fraction(run.weights("poisson_fraction"), network)
        row = run.model.point_sources.index("gce")
        drawn = [_draw(run, moved(composition, shift), n_maps, [seed, k]) for k, shift in enumerate(SHIFTS)]
        held_out = run.store.read(0, run.settings.simulation.n_test)
        medians = [network.quantiles(maps.counts, [0.5])[0, :, row] for maps in (*drawn, held_out)]
        arrays: dict[str, Any] = {
            "shifts": SHIFTS,
            "truth": [np.cumsum(maps.scd[:, row], axis=1) for maps in drawn],
            "median": medians[:-1],
            "excluded": [share.excluded(median) for median in medians[:-1]],
            "held_out": medians[-1],
        }
        write_arrays(run.folder / FOLDER / "brighter.npz", arrays)

    options = {"n_maps": n_maps, "seed": seed, "shifts": list(SHIFTS), "composition": composition.plain()}
    return Step(name="brighter", do=do, options=options)


def moved(composition: Composition, shift: float) -> Composition:
    """The composition with the excess' sources brighter by `shift` dex, and fewer."""
    counts = composition.excess_counts
    return replace(composition, excess_counts=replace(counts, xi=counts.xi + shift))


def _draw(run: Run, composition: Composition, n_maps: int, seed: list[int]) -> Simulations:
    model: SkyModel = run.model
    parameters = np.repeat(theta(model, composition)[None], n_maps, axis=0)
    return run.simulator.draw(parameters, np.random.default_rng(seed))

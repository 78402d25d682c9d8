"""Why the one-bin networks exclude less Poisson emission than those of List et al. (2021, arXiv:2107.09070).

They exclude 34 % of the excess on this very map, at 95 % confidence, with ξ ≥ −12 and a million maps. Each run here
differs from another in one thing: the number of training maps, or, trained on from the same weights, the lower end of
ξ, or labels of the parameters in place of the sources drawn. In each the network of the Poisson share learns twice:
from maps of all fluxes of the prior, and from maps as bright as the real one. All look at nside 128, Model O and the
real map, and at mocks as bright as it whose Poisson share is known. A command that goes on where it was stopped,

    python -m paper --paper reasons --scale default
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gcesbi.analysis.run import Run
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.analysis.settings import load_settings
from gcesbi.estimators import PoissonFraction, SourceCountEstimator, load_poisson_fraction
from gcesbi.estimators.poisson_fraction_maps import ask_of_shares
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.io.files import write_arrays
from gcesbi.simulation import Simulator
from paper import library
from paper.graph import Paper, Plan, Scale, step
from paper.list2025.runs import SIZES
from paper.quoted import markdown_table
from paper.view import RunView

__all__ = ["REASONS", "SHARES", "at_flux_of_map", "known_shares"]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Poisson shares of the excess of the mocks."""
LEARNT = {"known_shares": "of the prior", "at_flux_of_map": "of the real map"}
"""Files of a run, and the fluxes that the network of the share learnt from."""
_EPOCHS = 3
_PART = 1024


@dataclass(frozen=True)
class Variant:
    """One run: how many maps it learns from, what is said of it, whose weights it goes on with, and what is changed."""

    n_train: int
    about: str
    start: str | None = None
    changes: tuple[str, ...] = ()

    def settings(self, n: int) -> tuple[str, ...]:
        """What differs from the preset with `n` maps; a training that goes on does so at a quarter of the rate."""
        sizes = (f"simulation.n_train={n}", f"training.max_maps={_EPOCHS * n}", "training.head_maps=0")
        slower = () if self.start is None else ("training.learning_rate=5e-4",)
        return (*sizes, *slower, *self.changes)


VARIANTS = {
    "maps_65k": Variant(65_536, "from nothing"),
    "maps_262k": Variant(262_144, "from nothing, four times as many maps"),
    "maps_524k": Variant(524_288, "from nothing, eight times as many maps"),
    "longer": Variant(65_536, "`maps_262k` trained on, nothing else changed", "maps_262k"),
    "xi": Variant(65_536, "`maps_262k` trained on with ξ ≥ −12", "maps_262k", ("sky.gce_xi_low=-12.0",)),
    "expected": Variant(
        65_536, "`maps_262k` trained on with labels of the parameters", "maps_262k", ("sky.expected_labels=true",)
    ),
}


def plans(scale: Scale, data: Path, folder: Path) -> tuple[Plan, ...]:
    """A run for each variant; the scales ``test`` and ``quick`` divide the number of maps."""
    by = {"test": 1024, "quick": 64}.get(scale, 1)
    nside, n_mock = (16, 40) if scale == "test" else (128, 200)
    sky = {"kind": "folder", "path": str(data.resolve()), "diffuse": "O", "mask": "3fgl", "nside": nside}
    own = tuple(each for each in SIZES[scale].changes if each.startswith("network.")) if scale == "test" else ()
    learnt, each_share = SIZES[scale].poisson_fraction, n_mock // len(SHARES)

    def plan(name: str, variant: Variant) -> Plan:
        start = None if variant.start is None else folder / variant.start
        steps = (
            library.simulate(),
            *library.train((SourceCountEstimator.kind,), start),
            library.observe_folder(data),
            library.poisson_fraction(learnt),
            known_shares(each_share),
            at_flux_of_map(learnt, each_share),
        )
        changes = variant.settings(max(256, variant.n_train // by))
        settings = load_settings("test" if scale == "test" else "default", (*changes, *own), sky=sky)
        about = f"real 573-week map, Model O, {variant.about}"
        needs = () if variant.start is None else (variant.start,)
        return library.library_plan(name, about, settings, steps, needs=needs, data=data)

    return tuple(plan(*each) for each in VARIANTS.items())


# -- steps ----------------------------------------------------------------------------------------------------------


@step("known-shares")
def known_shares(run: Run, n_maps: int) -> None:
    """Ask about the observation, and about `n_maps` mocks of each of :data:`SHARES`, as bright as it.

    Writes ``known_shares.npz``: ``shares`` (n_share,), ``excluded`` (n_share, n_maps), ``observed`` (1,).
    """
    judge = load_poisson_fraction(run.weights("poisson_fraction"), _source_counts(run))
    _ask(run, judge, n_maps, "known_shares")


@step("at-flux-of-map")
def at_flux_of_map(run: Run, n_learnt: int, n_maps: int) -> None:
    """The same by a network of the share that learns from `n_learnt` maps as bright as the observation.

    Writes ``at_flux_of_map.npz``, as :func:`known_shares` does.
    """
    network, model = _source_counts(run), run.model.with_poisson_share()
    rng = np.random.default_rng(purpose_seed(run, Purpose.poisson_fraction, 1))
    theta = at_composition(model, run.model, run.observation(), n_learnt, rng)
    simulator = Simulator(model)
    parts = (simulator.draw(theta[first : first + _PART], rng) for first in range(0, n_learnt, _PART))
    learnt = ask_of_shares(model, network, parts)
    judge = PoissonFraction(run.model.bins.centres, model.subject, seed=run.settings.seed)
    judge.fit(learnt.cdf, learnt.share, seed=run.settings.seed)
    _ask(run, judge, n_maps, "at_flux_of_map")


def _source_counts(run: Run) -> SourceCountEstimator:
    return run.network(SourceCountEstimator.kind, SourceCountEstimator)


def _ask(run: Run, judge: PoissonFraction, n_maps: int, file: str) -> None:
    model, seen = run.model.with_poisson_share(), run.observation()
    rng = np.random.default_rng(purpose_seed(run, Purpose.composed, 1))
    theta = at_composition(model, run.model, seen, n_maps * len(SHARES), rng)
    theta[:, model.prior().names.index(f"{model.subject}_poisson_share")] = np.repeat(SHARES, n_maps)
    maps = Simulator(model).draw(theta, rng).counts
    row = run.model.point_sources.index(judge.name)
    median = _source_counts(run).stated(np.concatenate([maps, seen.counts[None]]), [0.5])[0, :, row]
    *mocks, observed = judge.excluded(median)
    arrays = {"shares": np.array(SHARES), "excluded": np.reshape(mocks, (-1, n_maps)), "observed": np.array([observed])}
    write_arrays(run.folder / library.FOLDER / f"{file}.npz", arrays)


# -- the table ------------------------------------------------------------------------------------------------------


def results(folders: Mapping[str, Path], scale: Scale) -> str:
    """What each variant excludes on the map, and on mocks of known share: medians over them, 68 % in brackets."""
    columns = ("run", "maps", "share learnt at fluxes", "real map", *(f"mocks, share {share:g}" for share in SHARES))
    rows = []
    for name, folder in folders.items():
        view = RunView.open(folder)
        about = f"`{name}`: {VARIANTS[name].about}"
        for file, learnt in LEARNT.items():
            found = view.arrays(file)
            low, middle, high = 100 * np.quantile(found["excluded"], (0.16, 0.5, 0.84), axis=1)
            mocks = (f"{m:.1f} % ({a:.1f}–{b:.1f})" for m, a, b in zip(middle, low, high, strict=True))
            n_train = f"{view.settings['simulation']['n_train']:,}"
            rows.append((about, n_train, learnt, f"{100 * found['observed'][0]:.1f} %", *mocks))
    missing = [name for name in VARIANTS if name not in folders]
    told = f"\nNot made: {', '.join(missing)}.\n" if missing else ""
    title = f"# Poisson share of the excess that is excluded at 95 %, scale {scale!r}\n\nList et al. (2021): 34 %.\n\n"
    return title + markdown_table(columns, rows) + "\n" + told


REASONS = Paper(
    name="reasons",
    title="The excluded Poisson share of List et al. (2021)",
    figures={},
    plans=plans,
    results=results,
    beside=tuple(VARIANTS),
)

"""Why the one-bin networks exclude less Poisson emission than those of List et al. (2021, arXiv:2107.09070).

They exclude 34 % of the excess on this very map, at 95 % confidence, with ξ ≥ −12 and a million maps. Each run here
differs from the first in one thing: the number of training maps, the lower end of ξ, or labels of the parameters in
place of the sources drawn. All look at nside 128, Model O and the real map, and at mocks as bright as it whose Poisson
share is known. Days of training: a command that goes on where it was stopped,

    python -m paper --paper reasons --scale default
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gcesbi.analysis.run import Run
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.analysis.settings import load_settings
from gcesbi.estimators import SourceCountEstimator, load_poisson_fraction
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.io.files import write_arrays
from gcesbi.simulation import Simulator
from paper import library
from paper.graph import Paper, Plan, Scale, Step
from paper.list2025.runs import LEARN, SIZES
from paper.quoted import markdown_table
from paper.view import RunView

__all__ = ["REASONS", "SHARES", "known_shares"]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Poisson shares of the excess of the mocks."""
_VARIANTS: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "maps_65k": (65_536, "as before", ()),
    "maps_262k": (262_144, "four times as many maps", ()),
    "maps_524k": (524_288, "eight times as many maps", ()),
    "xi_262k": (262_144, "ξ ≥ −12", ("sky.gce_xi_low=-12.0",)),
    "expected_262k": (262_144, "labels of the parameters", ("sky.expected_labels=true",)),
}
_EPOCHS = 3


def plans(scale: Scale, data: Path, folder: Path) -> tuple[Plan, ...]:
    """A run for each variant; the scales ``test`` and ``quick`` divide the number of maps."""
    by = {"test": 1024, "quick": 64}.get(scale, 1)
    nside, n_mock = (16, 40) if scale == "test" else (128, 200)
    sky = {"kind": "folder", "path": str(data.resolve()), "diffuse": "O", "mask": "3fgl", "nside": nside}
    own = tuple(each for each in SIZES[scale].changes if each.startswith("network.")) if scale == "test" else ()

    def plan(name: str, n_train: int, about: str, changes: tuple[str, ...]) -> Plan:
        n = max(256, n_train // by)
        sizes = (f"simulation.n_train={n}", f"training.max_maps={_EPOCHS * n}", "training.head_maps=0")
        steps = (
            *LEARN,
            library.observe_folder(data),
            library.poisson_fraction(SIZES[scale].poisson_fraction),
            library.infer(),
            known_shares(n_mock // len(SHARES)),
        )
        preset = "test" if scale == "test" else "default"
        settings = load_settings(preset, (*sizes, *own, *changes), sky=sky)
        return library.library_plan(name, f"real 573-week map, Model O, {about}", settings, steps, data=data)

    return tuple(plan(name, *told) for name, told in _VARIANTS.items())


def known_shares(n_maps: int) -> Step:
    """Ask about `n_maps` mocks of each of :data:`SHARES`, as bright as the observation.

    Writes ``known_shares.npz``: ``shares`` (n_share,), ``excluded`` (n_share, n_maps).
    """

    def do(run: Run) -> None:
        network = run.network(SourceCountEstimator.kind, SourceCountEstimator)
        judge = load_poisson_fraction(run.weights("poisson_fraction"), network)
        model = run.model.with_poisson_share()
        rng = np.random.default_rng(purpose_seed(run, Purpose.composed, 1))
        theta = at_composition(model, run.model, run.observation(), n_maps * len(SHARES), rng)
        theta[:, model.prior().names.index(f"{model.subject}_poisson_share")] = np.repeat(SHARES, n_maps)
        maps = Simulator(model).draw(theta, rng)
        row = run.model.point_sources.index(judge.name)
        median = network.stated(maps.counts, [0.5])[0, :, row]
        excluded = judge.excluded(median).reshape(len(SHARES), n_maps)
        write_arrays(
            run.folder / library.FOLDER / "known_shares.npz", {"shares": np.array(SHARES), "excluded": excluded}
        )

    return Step(name="known-shares", do=do, options={"n_maps": n_maps, "shares": list(SHARES)})


def results(folders: Mapping[str, Path], scale: Scale) -> str:
    """What each variant excludes on the map, and on mocks of known share: medians over them."""
    columns = ("run", "maps", "real map", *(f"mocks, Poisson share {share:g}" for share in SHARES))
    rows = []
    for name, folder in folders.items():
        view = RunView.open(folder)
        real = view.answer().more["poisson_share"]["excluded_95"]
        mocks = np.median(view.arrays("known_shares")["excluded"], axis=1)
        about = f"`{name}`: {_VARIANTS[name][1]}"
        cells = (f"{100 * value:.1f} %" for value in (real, *mocks))
        rows.append((about, f"{view.settings['simulation']['n_train']:,}", *cells))
    missing = [name for name in _VARIANTS if name not in folders]
    told = f"\nNot made: {', '.join(missing)}.\n" if missing else ""
    title = f"# Poisson share of the excess that is excluded at 95 %, scale {scale!r}\n\nList et al. (2021): 34 %.\n\n"
    return title + markdown_table(columns, rows) + "\n" + told


REASONS = Paper(
    name="reasons",
    title="The excluded Poisson share of List et al. (2021)",
    figures={},
    plans=plans,
    results=results,
    beside=tuple(_VARIANTS),
)

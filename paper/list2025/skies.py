"""Maps of other skies than the networks were trained for, judged with energies and without: Figs. S12 to S15.

Models O, A and F are the maps of a data folder. Networks that were trained on the built-in sky meet them as its two
interstellar templates, each with a spectrum of the prior; the folder's Model O, which is neither the built-in model
nor A or F, tells what of the change is due to the exchange itself. Networks of a folder's Model O meet A and F.
"""

from collections.abc import Sequence
from pathlib import Path

from gcesbi.analysis.infer import load_networks
from gcesbi.analysis.run import Run
from gcesbi.analysis.seeds import Purpose, purpose_seed
from gcesbi.analysis.variations import Sky, variations
from gcesbi.evaluation.networks import evaluate_networks
from gcesbi.io.files import write_arrays
from gcesbi.simulation import Simulations, Simulator, SkyModel
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.sky_settings import FolderSky, InnerGalaxySky
from gcesbi.simulation.template_statements import Map
from paper.graph import Plan, Step
from paper.library import FOLDER, evaluation_arrays
from paper.view import Array, read_arrays

__all__ = ["NOMINAL", "PAIRED", "SKIES", "maps_of", "other_sky", "skies_plan", "stored_skies"]

NOMINAL = "nominal"
SKIES = (NOMINAL, "Model O", "Model A", "Model F", "thick disk", "NFW of slope 1")
PAIRED = (NOMINAL, "Model A")
"""Skies whose maps the networks without energies are asked about too."""
WITH, WITHOUT = "with", "without"


def other_sky(sky: Sky, name: str, data: Path) -> Sky | None:
    """One of :data:`SKIES`, for networks of `sky`; None if it is `sky` itself."""
    letter = name.removeprefix("Model ")
    if name == NOMINAL or (isinstance(sky, FolderSky) and letter == sky.diffuse):
        return None
    if letter == name:
        return variations(sky)[name]
    if isinstance(sky, FolderSky):
        return variations(sky)[f"interstellar model {letter}"]
    assert isinstance(sky, InnerGalaxySky)
    return _with_maps(sky.composition(), data, letter)


def _with_maps(sky: Composition, data: Path, letter: str) -> Composition:
    """A sky whose two interstellar templates are maps of a folder."""

    for name in ("pi", "ic"):
        file = str(data / f"template_{letter}{name}.npy")
        sky = sky.change(name, template=Map(file=file, order="ring", quantity="counts", smoothed=True))
    return sky


def maps_of(run: Run, name: str, data: Path, n_maps: int) -> Simulations:
    """Fresh maps of a sky of :data:`SKIES`, in the region of a run."""
    sky = other_sky(run.settings.sky_of_maps, name, data)
    model = run.model if sky is None else SkyModel.build(sky).like(run.model)
    return Simulator(model).sample(n_maps, purpose_seed(run, Purpose.varied, SKIES.index(name)))


def skies_plan(data: Path, runs: Path, n_maps: int, names: Sequence[str] = SKIES) -> Plan:
    """The networks of the runs ``ten`` and ``summed`` on `n_maps` maps of every sky, a step each.

    Leaves ``<sky>.npz``: ``with/...`` and, of :data:`PAIRED`, ``without/...`` as
    :func:`paper.library.evaluation_arrays` names them.
    """
    return Plan(
        name="skies",
        about="maps of other skies, by the networks of `ten` and `summed`",
        settings={"n_maps": n_maps},
        begin=_begin,
        steps=tuple(_step(name, data, runs, n_maps) for name in names),
        needs=("ten", "summed"),
        data=data,
    )


def _begin(folder: Path) -> Path:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    return folder


def _step(name: str, data: Path, runs: Path, n_maps: int) -> Step:
    def do(folder: Path) -> None:
        run = Run.open(runs / "ten")
        maps = maps_of(run, name, data, n_maps)
        arrays: dict[str, Array] = {}
        for key, other in {WITH: "ten", WITHOUT: "summed"}.items():
            if key == WITH or name in PAIRED:
                networks = load_networks(Run.open(runs / other))
                found = evaluate_networks(run.model, maps, *networks, details=False, seed=run.settings.seed)
                arrays |= {f"{key}/{what}": values for what, values in evaluation_arrays(found).items()}
        write_arrays(folder / FOLDER / f"{_file(name)}.npz", arrays)

    return Step(name=_file(name), do=do, options={"sky": name})


def stored_skies(folder: Path, names: Sequence[str] = SKIES) -> dict[str, dict[str, Array]]:
    """What the steps left, by sky; the nominal one first."""
    there = [name for name in names if (folder / FOLDER / f"{_file(name)}.npz").is_file() or name in PAIRED]
    return {name: read_arrays(folder, _file(name)) for name in there}


def _file(name: str) -> str:
    return name.lower().replace(" ", "-")

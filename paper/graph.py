"""What a paper needs: figures, the runs they are drawn from, the steps and settings of every run.

A run is a folder. ``plan.json`` in it says with what it is made, ``steps/<name>.json`` that a step is done, and what it
cost: that of its last call alone where it was resumed (a left ``steps/<name>.begun`` tells). A step that is done is
not done again; one that was interrupted is called again, and goes on where the library can go on.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any, Literal, Protocol

from matplotlib.figure import Figure

from gcesbi.errors import InputError
from gcesbi.estimators.files import differences
from gcesbi.io.files import write_text
from paper.origin import origin

__all__ = ["SCALES", "FigureScript", "Paper", "Plan", "Scale", "Step", "check", "make", "step", "write_json"]

Scale = Literal["test", "quick", "default", "paper"]
TOLD = 3
"""Differences of settings that an error names."""
SCALES: tuple[Scale, ...] = ("test", "quick", "default", "paper")


@dataclass(frozen=True, kw_only=True)
class Step:
    """A part of a run.

    Parameters
    ----------
    name : str
        File name under ``steps/``.
    do : callable
        Gets what the plan's `begin` returned.
    options : mapping
        Plain numbers, beside the run's settings, that decide the result.
    """

    name: str
    do: Callable[[Any], object]
    options: Mapping[str, Any] = field(default_factory=dict)


def step(name: str) -> Callable[[Callable[..., object]], Callable[..., Step]]:
    """Turn a function of a run and of options into one of the options alone, which gives the step."""

    def decorated(do: Callable[..., object]) -> Callable[..., Step]:
        @wraps(do)
        def made(*given: Any, **named: Any) -> Step:
            known = signature(do).bind(None, *given, **named)
            known.apply_defaults()
            options = dict([*known.arguments.items()][1:])
            return Step(name=name, do=partial(do, **options), options=options)

        return made

    return decorated


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that figures need.

    Parameters
    ----------
    name : str
        Of its folder.
    about : str
        What was looked at: begins its entry in captions.
    settings : mapping
        JSON-ready; all that decides the run, but for the options of steps.
    begin : callable
        Makes or opens the folder; what it returns is handed to every step.
    steps : tuple of Step
    needs : tuple of str
        Runs that must be finished before.
    data : Path, optional
        Folder without which the run cannot be made.
    completed : callable
        Gives settings that an earlier version stored the defaults of those that it did not have.
    """

    name: str
    about: str
    settings: Mapping[str, Any]
    begin: Callable[[Path], Any]
    steps: tuple[Step, ...]
    needs: tuple[str, ...] = ()
    data: Path | None = None
    completed: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict

    @property
    def law(self) -> dict[str, Any]:
        """All that decides the run, as it is stored."""
        steps = {step.name: dict(step.options) for step in self.steps}
        return json.loads(json.dumps({"settings": dict(self.settings), "steps": steps}))


class FigureScript(Protocol):
    """A module that draws one figure; these three names are what it declares."""

    NEEDS: tuple[str, ...]
    CAPTION: str
    draw: Callable[..., Figure]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper's figures and runs.

    Parameters
    ----------
    name, title : str
    figures : mapping of str to module
        By number; each has `NEEDS`, names of runs, `CAPTION`, and `draw`, called with their folders.
    plans : callable
        Runs, in an order in which they can be made, given scale, data folder and the folder of all runs.
    results : callable, optional
        Markdown from the folders of all runs that are finished.
    beside : tuple of str
        Runs that are made for it alone, where a scale has them.
    """

    name: str
    title: str
    figures: Mapping[str, FigureScript]
    plans: Callable[[Scale, Path, Path], tuple[Plan, ...]]
    results: Callable[[Mapping[str, Path], Scale], str] | None = None
    beside: tuple[str, ...] = ()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Store a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def check(plan: Plan, folder: Path) -> None:
    """Raise InputError unless `folder` holds the finished run of `plan`."""
    if not (folder / "plan.json").is_file():
        raise InputError(f"run {plan.name}: not made yet (no plan.json in {str(folder)!r})")
    _check_law(plan, folder)
    for step in plan.steps:
        if not _mark(folder, step).is_file():
            raise InputError(f"run {plan.name}: unfinished, step {step.name!r} is missing in {str(folder)!r}")


def make(plan: Plan, folder: Path, tell: Callable[[str], None] = lambda _: None) -> None:
    """Make a run, or what is missing of it.

    Raises
    ------
    InputError
        If its data folder is missing, or the folder holds a run of other settings; names what differs.
    """
    if (folder / "plan.json").is_file():
        _check_law(plan, folder)
    missing = [step for step in plan.steps if not _mark(folder, step).is_file()]
    if not missing:
        return
    if plan.data is not None and not plan.data.is_dir():
        raise InputError(f"run {plan.name}: needs the data folder {str(plan.data)!r}, which is not there")
    handle = plan.begin(folder)
    write_json(folder / "plan.json", {**plan.law, "about": plan.about, "version": version("gcesbi"), **origin()})
    for step in missing:
        begun = _mark(folder, step).with_suffix(".begun")
        resumed = begun.is_file()
        begun.parent.mkdir(exist_ok=True)
        begun.touch()
        wall, processor = time.perf_counter(), time.process_time()
        step.do(handle)
        spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - processor}
        write_json(_mark(folder, step), {"options": dict(step.options), **spent, "resumed": resumed})
        begun.unlink()
        tell(f"{plan.name}: {step.name}, {spent['seconds']:.0f} s")


def _check_law(plan: Plan, folder: Path) -> None:
    try:
        stored = json.loads((folder / "plan.json").read_bytes())
        known = {"settings": plan.completed(stored["settings"]), "steps": stored["steps"]}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"run {plan.name}: {folder / 'plan.json'} is damaged ({error})") from None
    if unlike := differences(known, plan.law):
        more = [f"and {len(unlike) - TOLD} more"] if len(unlike) > TOLD else []
        raise InputError(f"run {plan.name}: {str(folder)!r} was made otherwise; {'; '.join([*unlike[:TOLD], *more])}")


def _mark(folder: Path, step: Step) -> Path:
    return folder / "steps" / f"{step.name}.json"

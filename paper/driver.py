"""Make the runs that figures need, draw the figures, write their captions; go on where one thing fails."""

import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gcesbi.errors import InputError
from gcesbi.io.files import write_text
from paper.graph import FigureScript, Paper, Plan, Scale, check, make
from paper.style import save, styled

__all__ = ["Outcome", "caption", "draw_paper", "wanted_runs"]

Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What was drawn, and what is missing and why."""

    drawn: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def wanted_runs(paper: Paper, plans: Iterable[Plan], figures: Iterable[str], beside: Iterable[str] = ()) -> list[Plan]:
    """Plans of the runs that these figures are drawn from, of others, and of those that they need, in order."""
    by_name = {plan.name: plan for plan in plans}
    wanted: set[str] = set()

    def add(name: str) -> None:
        wanted.add(name)
        for each in by_name[name].needs:
            add(each)

    for label in figures:
        for name in paper.figures[label].NEEDS:
            add(name)
    for name in by_name.keys() & set(beside):
        add(name)
    return [plan for plan in by_name.values() if plan.name in wanted]


def draw_paper(
    paper: Paper,
    scale: Scale,
    out: Path,
    data: Path,
    *,
    only: Iterable[str] | None = None,
    make_runs: bool = True,
    tell: Tell = lambda _: None,
) -> Outcome:
    """Make runs and draw figures of a paper; what fails costs one line, not the rest.

    Parameters
    ----------
    paper : Paper
    scale : str
    out : Path
        Runs lie in ``out/runs/<paper>``, figures in ``out/figures/<paper>``.
    data : Path
        Folder of the real maps; needed by runs on them alone.
    only : iterable of str, optional
        Numbers of figures; all by default.
    make_runs : bool
        Otherwise figures are drawn from the runs that are there.
    tell : callable
        Gets a line for everything that is done or fails.

    Raises
    ------
    InputError
        If a number of a figure is unknown.
    """
    labels = list(paper.figures) if only is None else list(dict.fromkeys(only))
    for label in labels:
        if label not in paper.figures:
            raise InputError(f"only: figures of {paper.name} are {', '.join(paper.figures)}, got {label!r}")
    runs = out / "runs" / paper.name
    plans = {plan.name: plan for plan in paper.plans(scale, data, runs)}
    errors = out / "errors" / paper.name
    if make_runs:
        beside = paper.beside if only is None else ()
        _make_all(wanted_runs(paper, plans.values(), labels, beside), runs, errors, tell)
    outcome, figures = Outcome(), out / "figures" / paper.name
    for label in labels:
        draw = partial(_draw, paper, label, plans, runs, figures, scale)
        if wrong := _attempt(draw, errors / f"figure_{label.lower()}.txt"):
            outcome.missing[label] = wrong
            tell(f"figure {label} is missing: {wrong}")
        else:
            outcome.drawn.append(label)
    if paper.results is not None and only is None:
        finished = {name: runs / name for name, plan in plans.items() if _is_finished(plan, runs / name)}
        path = out / f"RESULTS-{paper.name}.md"
        wrong = _attempt(partial(_tell_results, paper.results, finished, scale, path), errors / "results.txt")
        if wrong:
            outcome.missing["results"] = wrong
        tell(f"results are missing: {wrong}" if wrong else f"results: {path}")
    return outcome


def _make_all(plans: Iterable[Plan], runs: Path, errors: Path, tell: Tell) -> None:
    failed: set[str] = set()
    for plan in plans:
        if lacking := failed.intersection(plan.needs):
            wrong: str | None = f"it needs {', '.join(sorted(lacking))}"
        else:
            wrong = _attempt(partial(make, plan, runs / plan.name, tell), errors / f"run_{plan.name}.txt")
        if wrong:
            tell(f"run {plan.name} is missing: {wrong.removeprefix(f'run {plan.name}: ')}")
            failed.add(plan.name)


def _attempt(do: Callable[[], object], report: Path) -> str | None:
    """Do a piece of work; None, or what went wrong as one line, what nobody foresaw with its traceback in `report`."""
    report.unlink(missing_ok=True)
    try:
        do()
    except (InputError, OSError) as error:
        return _one_line(error)
    except Exception as error:  # a step of one run or figure: the others must still be made
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(traceback.format_exc(), encoding="utf-8")
        return f"{type(error).__name__}: {_one_line(error)} ({report})"
    return None


def _tell_results(
    results: Callable[[Mapping[str, Path], Scale], str], finished: Mapping[str, Path], scale: Scale, path: Path
) -> None:
    write_text(path, results(finished, scale))


def _draw(paper: Paper, label: str, plans: Mapping[str, Plan], runs: Path, figures: Path, scale: Scale) -> None:
    script = paper.figures[label]
    for name in script.NEEDS:
        check(plans[name], runs / name)
    folders = [runs / name for name in script.NEEDS]
    stem = figures / f"figure_{label.lower()}"
    with styled():
        save(script.draw(*folders), stem)
    write_text(stem.with_suffix(".txt"), caption(paper, label, script, scale, folders))


def caption(paper: Paper, label: str, script: FigureScript, scale: Scale, folders: Iterable[Path]) -> str:
    """What a figure shows, after which figure of which paper, on which data, at what scale, from which runs."""
    lines = [f"Figure {label} of {paper.title}, redrawn at scale {scale!r}.", "", script.CAPTION, ""]
    entries = [_entry(folder) for folder in folders]
    lines += entries or ["Drawn from no run."]
    return "\n".join(lines) + "\n"


def _entry(folder: Path) -> str:
    plan = json.loads((folder / "plan.json").read_bytes())
    settings: Mapping[str, Any] = plan["settings"]
    facts = [f"seed {settings['seed']}"] if "seed" in settings else []
    sky, maps = settings.get("sky", {}), settings.get("simulation", {})
    facts += [f"{key} {sky[key]}" for key in ("nside", "n_energy", "weeks", "diffuse", "mask") if key in sky]
    facts += [f"{maps['n_train']} training and {maps['n_test']} held-out maps"] if "n_train" in maps else []
    code = f"gcesbi {plan['version']}, commit {plan.get('commit', 'unknown')}"
    return f"- run {folder.name}: {plan['about']}; {', '.join(facts)}; {code}; {folder}"


def _is_finished(plan: Plan, folder: Path) -> bool:
    try:
        check(plan, folder)
    except InputError:
        return False
    return True


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())

"""Command: draw the figures from a run of ``gcesbi images`` that is there, wherever it lies.

``python -m paper.caron2018 RUN --out DIR`` fits templates and asks the networks where that is not done, and draws.
``python -m paper --paper caron2018`` makes the run too.

Exit status: 0 if every figure was drawn, 1 if some are missing, 2 if there is no such run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from gcesbi.analysis.fit import TEMPLATE_FITS, fit_images
from gcesbi.analysis.run import Run
from gcesbi.cli.console import Terminal
from gcesbi.errors import InputError
from gcesbi.io.files import write_text
from paper.caron2018 import PAPER
from paper.caron2018.collect import collect
from paper.caron2018.tables import results
from paper.style import save, styled

__all__ = ["draw", "main", "tell"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments; return the exit status."""
    given = _parser().parse_args(arguments)
    out, err = (Terminal(stderr=stderr, soft_wrap=True, highlight=False) for stderr in (False, True))
    try:
        run = Run.open(given.run)
        run.images.sky  # noqa: B018 - refuses a run on maps
    except InputError as error:
        err.print(f"error: {error}")
        return 2
    work: dict[str, Callable[[], object]] = {} if given.draw_only else _preparations(run)
    work |= {f"figure {label}": partial(draw, run, label, given.out) for label in given.only or PAPER.figures}
    work |= {} if given.only else {"tables": partial(tell, run, given.out)}
    failed = [name for name, do in work.items() if not _done(name, do, err)]
    out.print(f"figures in {given.out}" + (f"; missing: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def draw(run: Run, label: str, out: Path) -> None:
    """Draw one figure as ``figure_N.pdf`` and ``.png``, with its caption beside it."""
    script, stem = PAPER.figures[label], out / f"figure_{label}"
    with styled():
        save(script.draw(run.folder), stem)
    text = f"Figure {label} of {PAPER.title}, redrawn.\n\n{script.CAPTION}\n\n{_about(run)}\n"
    write_text(stem.with_suffix(".txt"), text)


def tell(run: Run, out: Path) -> None:
    """Write the tables as ``RESULTS.md``."""
    write_text(out / "RESULTS.md", results({"images": run.folder}))


def _preparations(run: Run) -> dict[str, Callable[[], object]]:
    fits = {} if (run.folder / TEMPLATE_FITS).is_file() else {"template fits": partial(fit_images, run)}
    return {**fits, "answers of the networks": partial(collect, run)}


def _done(name: str, do: Callable[[], object], err: Terminal) -> bool:
    """Whether a piece of work succeeded; one line if not."""
    try:
        do()
    except (InputError, OSError) as error:
        err.print(f"{name} is missing: {' '.join(str(error).split())}")
        return False
    return True


def _about(run: Run) -> str:
    sky, maps, training = run.images.sky, run.settings.simulation, ", ".join(run.images.training)
    sources = "no catalogue sources" if sky.catalogue is None else f"catalogue {Path(sky.catalogue).name}"
    return (
        f"- run {run.folder}: simulated images of {sky.shape[0]} x {sky.shape[1]} pixels of {sky.pixel_size:g} deg, "
        f"{sky.energy_edges[0]:g} to {sky.energy_edges[-1]:g} GeV, {sky.weeks:g} weeks, {sources}; "
        f"seed {run.settings.seed}; "
        f"{maps.n_train} training and {maps.n_validation} validation images for each of {training}"
        f"{', which are mixed' if run.settings.interstellar.mix else ''}, "
        f"{maps.n_test} of each of {', '.join(run.images.testing)}; gcesbi {version('gcesbi')}"
    )


def _parser() -> argparse.ArgumentParser:
    about = f"Draw the figures of {PAPER.title}."
    parser = argparse.ArgumentParser(prog="python -m paper.caron2018", description=about)
    parser.add_argument("run", type=Path, help="folder of a run of `gcesbi images`")
    parser.add_argument("--out", type=Path, default=Path("figures") / PAPER.name, help="folder of the figures")
    parser.add_argument("--only", nargs="+", metavar="FIGURE", choices=list(PAPER.figures), help="these figures alone")
    parser.add_argument("--draw-only", action="store_true", help="fit no template and ask no network")
    return parser


if __name__ == "__main__":
    sys.exit(main())

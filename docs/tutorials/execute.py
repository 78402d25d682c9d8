"""Run tutorials and keep their output: ``python docs/tutorials/execute.py [name ...]``, all of them without names."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with the output that it gives now, run in `folder`; raises CellExecutionError where a cell does."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # tqdm would like widgets
            cell.outputs = [each for each in cell.outputs if "TqdmWarning" not in each.get("text", "")]
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def main(names: list[str]) -> None:
    """Run each in an empty folder, and write it back."""
    for path in [FOLDER / f"{name}.ipynb" for name in names] or sorted(FOLDER.glob("*.ipynb")):
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, Path(folder)), path)
        print(f"{path.stem}: {time.perf_counter() - start:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])

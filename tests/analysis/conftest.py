"""A whole run on tiny images, made once by the code of ``docs/howto/images.md``."""

import re
from pathlib import Path

import pytest

from gcesbi.analysis.run import Run

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/howto/images.md"


@pytest.fixture(scope="session")
def images_run(tmp_path_factory):
    """The run that the documents' example makes."""
    text = DOCUMENT.read_text()
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "images-test" in block]
    folder = tmp_path_factory.mktemp("images") / "run"
    exec(compile(code.replace("runs/images-test", str(folder)), str(DOCUMENT), "exec"), {})
    return Run.open(folder)

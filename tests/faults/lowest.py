"""Constraints that pin what pyproject.toml declares to its lowest versions, for `make test-lowest`.

torch keeps the one version of constraints.txt, for which there is a build without CUDA.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def lowest():
    """Lines ``name==version`` of all that is required, extras as well."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    found = dict(re.match(r"([\w.-]+)>=([\w.]+)", each).groups() for each in required if not each.startswith("gcesbi["))
    (torch,) = re.findall(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    return sorted(f"{name}=={version}" for name, version in (found | {"torch": torch}).items())


if __name__ == "__main__":
    print(*lowest(), sep="\n")  # noqa: T201

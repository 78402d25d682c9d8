"""What `make test-lowest` installs is what pyproject.toml declares; `packaging` comes with pytest."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]


def test_the_lowest_versions_are_those_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [Requirement(each) for each in (*project["dependencies"], *extras["dask"], *extras["nuts"])]
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    installed = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    for each in declared:
        (least,) = (version.version for version in each.specifier if version.operator == ">=")
        pinned, least = Version(installed[each.name]), Version(least)
        assert pinned == least or (each.name == "torch" and pinned.release[:2] == least.release[:2]), each

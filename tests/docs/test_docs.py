"""What the documents say runs: README's code, examples in docstrings, links to files."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import gcesbi.baselines
import gcesbi.validation
from gcesbi.simulation.composition_files import read_toml

CHECKOUT = Path(__file__).resolve().parents[2]
README = (CHECKOUT / "README.md").read_text()
PACKAGES = (gcesbi, gcesbi.baselines, gcesbi.validation)
MODULES = sorted(m.name for p in PACKAGES for m in pkgutil.walk_packages(p.__path__, f"{p.__name__}."))


def test_the_readmes_code_runs_and_is_short(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    exec(compile(code, "README.md", "exec"), {})
    told = capsys.readouterr().out
    assert "(200, 4, " in told
    assert "TS of the excess:" in told


def test_the_sky_of_the_documents_is_one(tmp_path):
    (text,) = re.findall(r"```toml\n(.*?)```", (CHECKOUT / "docs/howto/skies.md").read_text(), flags=re.DOTALL)
    (tmp_path / "sky.toml").write_text(text)
    sky = read_toml(tmp_path / "sky.toml")
    assert [each.name for each in sky.components] == ["gas", "halo", "thin"]
    assert list(sky.varied()) == ["thick disk"]


def test_the_composed_sky_is_the_same_in_python_and_toml(tmp_path):
    text, told = (CHECKOUT / "docs/howto/composition.md").read_text(), {}
    (code,), (toml,) = (re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL) for kind in ("python", "toml"))
    exec(compile(code, "composition.md", "exec"), told)
    (tmp_path / "sky.toml").write_text(toml)
    assert gcesbi.SkyModel.from_toml(tmp_path / "sky.toml").fingerprint == told["model"].fingerprint
    assert {"centre_gamma", "centre_weight"} == set(told["model"].parameters.shapes)
    assert told["model"].composition.change("gas", norm=(0, 30)).components[0].norm.range == (0, 30)


def test_nuisances_are_the_same_in_python_and_toml(tmp_path):
    text, told = (CHECKOUT / "docs/howto/nuisances.md").read_text(), {}
    (code,), (toml,) = (re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL) for kind in ("python", "toml"))
    exec(compile(code, "nuisances.md", "exec"), told)
    (tmp_path / "sky.toml").write_text(toml)
    assert read_toml(tmp_path / "sky.toml") == told["model"].composition
    assert told["model"].prior().names[-1] == "gas_field_sigma"


@pytest.mark.parametrize(
    "document",
    [
        *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
        *(str(p.relative_to(CHECKOUT)) for end in ("md", "ipynb") for p in sorted(CHECKOUT.glob(f"docs/**/*.{end}"))),
    ],
)
def test_links_lead_to_files(document):
    path = CHECKOUT / document
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_every_command_of_the_readme_exists():
    makefile = (CHECKOUT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", README + (CHECKOUT / "CONTRIBUTING.md").read_text()):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_modules_are_found():
    assert {"gcesbi.validation.coverage", "gcesbi.baselines.nptf.likelihood", "gcesbi.simulation.kernels"} <= set(
        MODULES
    )


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run_and_names_are_declared(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0
    for exported in getattr(module, "__all__", []):
        assert hasattr(module, exported), exported


def test_the_citation_is_of_this_version_and_of_the_papers_in_the_readme():
    yaml = pytest.importorskip("yaml")
    cited = yaml.safe_load((CHECKOUT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert str(cited["version"]) == gcesbi.__version__
    numbers = {each["value"].removeprefix("arXiv:") for paper in cited["references"] for each in paper["identifiers"]}
    assert numbers <= set(re.findall(r"\d{4}\.\d{5}", README))
    assert {"2507.17804", "1708.06706"} <= numbers

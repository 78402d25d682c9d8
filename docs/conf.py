"""The site, built by Sphinx: ``make docs``. Pages of the reference are written from the package at every build."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import isclass, ismodule, isroutine
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

import gcesbi

project = "gcesbi"
author = project_copyright = "The gcesbi developers"
release = version = gcesbi.__version__

extensions = [
    "myst_nb",  # pages in Markdown, tutorials as notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
if "quick" not in tags:  # noqa: F821, Sphinx gives it; pages of source take as long as all others
    extensions.append("sphinx.ext.viewcode")
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(abc|collections|enum|lightning|numpy|pydantic|rich|sbi|sklearn|torch|typing|typer|types)\..*"),
    ("py:class", r".*\._\w+|lambda"),  # validators in types of fields
]

html_theme = "furo"
html_title = "gcesbi"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_search_summary = False  # a summary is fetched from its page, which browsers refuse where pages lie on disk
html_math_renderer = "mathml"  # browsers draw it, and nothing is fetched

nb_execution_mode = "off"  # notebooks keep their output; tests/docs/test_tutorials.py runs them and compares
myst_heading_anchors = 4

default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand, with shapes and units, in the docstrings
autosummary_generate = False
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_param = False
napoleon_use_rtype = False

COLON = "\ue000"
REFERENCE = Path(__file__).parent / "reference"
ROOMS = (
    *("errors", "sky", "posterior", "physics", "networks", "validation", "plots", "io", "simulation", "baselines"),
    *("estimators", "evaluation", "analysis", "report", "cli"),
)
MODULE = "{title}\n{line}\n\n.. automodule:: {name}\n   :members:\n   :exclude-members: {excluded}\n{more}\n{below}"


def write_reference(app: Sphinx) -> None:
    """A page for every package, and for modules beside them, in ``docs/reference/modules``, where they are not kept."""
    (REFERENCE / "modules").mkdir(exist_ok=True)
    for room in ROOMS:
        for name in [f"gcesbi.{room}", *packages(f"gcesbi.{room}")]:
            page, text = REFERENCE / "modules" / f"{name}.rst", page_of(name)
            if not page.is_file() or page.read_text(encoding="utf-8") != text:
                page.write_text(text, encoding="utf-8")


def packages(name: str) -> Iterator[str]:
    """Names of the packages below a package."""
    for each in pkgutil.iter_modules(getattr(import_module(name), "__path__", ())):
        if each.ispkg:
            yield f"{name}.{each.name}"
            yield from packages(f"{name}.{each.name}")


def page_of(name: str) -> str:
    """What the reference says of a package: what it offers, its packages, and its modules one after another."""
    parts = list(pkgutil.iter_modules(getattr(import_module(name), "__path__", ())))
    if not parts:
        return section_of(name, "=")
    offered = [each for each in getattr(import_module(name), "__all__", ()) if home(name, each) != name]
    table = ".. autosummary::\n\n" + "".join(f"   ~{home(name, each)}.{each}\n" for each in offered)
    tree = ".. toctree::\n   :maxdepth: 1\n\n" + "".join(f"   {name}.{each.name}\n" for each in parts if each.ispkg)
    modules = [section_of(f"{name}.{each.name}", "-") for each in parts if not each.ispkg]
    return "\n".join([section_of(name, "=", f".. py:currentmodule:: None\n\n{table}\n{tree}"), *modules])


def section_of(name: str, underline: str, below: str = "") -> str:
    """Docstrings of one module, under its name; `below` follows them."""
    module, title = import_module(name), name.removeprefix("gcesbi.")
    own = [each for each in getattr(module, "__all__", ()) if home(name, each) == name]
    values = [each for each in own if is_data(getattr(module, each))]
    told = ModuleAnalyzer.for_module(name).find_attr_docs() if values else {}
    constants = (f".. py:data:: {each}\n\n   {escaped(' '.join(told.get(('', each), ())))}\n" for each in values)
    return MODULE.format(
        title=title,
        line=underline * len(title),
        name=name,
        excluded=", ".join(values),
        more="   :ignore-module-all:\n" if hasattr(module, "__path__") else "",
        below="\n".join([*constants, below]),
    )


def is_data(value: object) -> bool:
    """Whether a name stands for a value or an alias of a type: no class, function, compiled function or module."""
    return not (isclass(value) or isroutine(value) or ismodule(value) or hasattr(value, "py_func"))


def home(package: str, name: str) -> str:
    """The module in which a class or function that a package offers is defined."""
    value = getattr(import_module(package), name)
    found = str(getattr(value, "__module__", package))
    return found if found.startswith("gcesbi.") and not is_data(value) and not ismodule(value) else package


def skip_sklearn(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
    """Leave out what scikit-learn's base class adds to a class by itself."""
    return skip or bool(re.fullmatch(r"set_\w+_request", name))


def hide_colon(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Let no property's first sentence be split at its colon, as napoleon would, into a type and a text."""
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(": ", f"{COLON} ")


def escape(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape every line of a docstring."""
    lines[:] = [escaped(line.replace(COLON, ":")) for line in lines]


def escaped(line: str) -> str:
    """Let |b| be an absolute value and (n, *axes) a shape: no substitution, no emphasis of reStructuredText."""
    if re.search(r"\\[a-zA-Z]", line):  # a formula
        return line
    parts = re.split(r"(`+[^`]*`+)", line)
    parts[::2] = [re.sub(r"\||(?<=[(, ])\*(?=[^*()]*\))", r"\\\g<0>", part) for part in parts[::2]]
    return "".join(parts)


def find_home(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Where a name is documented that is referred to in short, or by a package that offers it."""
    objects, target = env.domains.python_domain.objects, str(node["reftarget"]).removeprefix("gcesbi.")
    found = [name for name in objects if name.endswith(f".{target.rsplit('.', 1)[-1]}")]
    fitting = [name for name in found if name.endswith(f".{target}")] or (found if "." in target else [])
    if node.get("refdomain") != "py" or not fitting:
        return content if node.get("reftype") == "data" else None  # a constant of a module need not be public
    entry = objects[max(fitting, key=lambda name: (-objects[name].aliased, name.count("."), name))]
    where = app.builder.get_relative_uri(str(node["refdoc"]), entry.docname)
    return nodes.reference("", "", content, internal=True, refuri=f"{where}#{entry.node_id}")


def formula(tex: str) -> str:
    """The formula without what docutils does not know."""
    return re.sub(r"\\[bB]igg?(?![a-zA-Z])", "", tex).replace(r"\dots", r"\ldots")


def visit_math(translator: Any, node: nodes.Element) -> None:
    """Formulas as MathML."""
    block = isinstance(node, nodes.math_block)
    mathml = tex2mathml(formula(node.astext()), as_block=block)
    translator.body.append(f'<div class="math">{mathml}</div>' if block else mathml)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """What this file adds to Sphinx."""
    app.connect("builder-inited", write_reference)
    app.connect("autodoc-skip-member", skip_sklearn)
    app.connect("autodoc-process-docstring", hide_colon, priority=400)
    app.connect("autodoc-process-docstring", escape)
    app.connect("missing-reference", find_home)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))

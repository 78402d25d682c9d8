"""The floors of the house: what may import what. Imports inside functions and for type checkers count as well."""

import ast
from functools import cache
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDERS = {"gcesbi": "gcesbi", "baselines": "gcesbi.baselines", "validation": "gcesbi.validation"}
FLOORS = (
    ("errors",),
    ("sky", "posterior"),
    ("physics", "networks", "validation", "plots"),
    ("io",),
    ("simulation",),
    ("baselines", "estimators"),
    ("evaluation",),
    ("analysis", "report"),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FAN_OUT = 12


@cache
def modules():
    """Syntax tree and whether it is a package, of every module by name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((CHECKOUT / folder).rglob("*.py")):
            parts = (package, *path.relative_to(CHECKOUT / folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text()), parts[-1] == "__init__"
    return found


@cache
def imports(name):
    """Modules of the library that a module names in any import."""
    tree, is_package = modules()[name]
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            inner = [f"{source}.{alias.name}" for alias in node.names]
            named |= {each if each in modules() else source for each in inner}
    return (named & modules().keys()) - {name}


def room(name):
    return [*name.split("."), "__init__"][1]


def reachable(name):
    seen, left = set(), [name]
    while left:
        new = imports(left.pop()) - seen
        seen |= new
        left += new
    return seen


def test_rooms_import_downwards_only():
    wrong = {
        f"{name} -> {used}"
        for name in modules()
        for used in imports(name)
        if room(name) not in (room(used), "__init__") and FLOOR.get(room(used), len(FLOORS)) >= FLOOR[room(name)]
    }
    assert not wrong, "\n".join(sorted(wrong))


def test_no_module_imports_itself_in_a_circle():
    assert not [name for name in modules() if name in reachable(name)]


def test_no_module_imports_too_many():
    fan = {name: len(imports(name)) for name, (_, is_package) in modules().items() if not is_package}
    assert not {name: n for name, n in fan.items() if n > FAN_OUT}


def test_nothing_lies_loose_and_nothing_imports_what_stands_on_top():
    loose = {path.name for path in (CHECKOUT / "gcesbi").iterdir() if path.is_file()}
    assert loose == {"__init__.py", "errors.py", "posterior.py", "py.typed"}
    for name, (tree, _) in modules().items():
        named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {each for each in named if each.split(".")[0] in ("paper", "benchmarks", "tests")}, name


def test_a_module_defines_the_names_that_it_declares():
    for name, (tree, is_package) in modules().items():
        scope = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
        stores = [each for node in scope for each in ast.walk(node) if isinstance(each, ast.Name)]
        stored = {each.id for each in stores if isinstance(each.ctx, ast.Store)}
        stored |= {node.name for node in scope if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        for node in scope if not is_package else ():
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                assert set(ast.literal_eval(node.value)) <= stored, name


def test_no_code_knows_the_name_of_a_component():
    """Users name what shines; the presets' names stand in the presets alone, docstrings apart.

    ``"disk"`` names a formula and an argument of ``SkyModel.from_folder`` too.
    """
    from gcesbi.simulation.sky_settings import NORM_RANGES

    named = {"gce", "disk", *NORM_RANGES}
    known = {("gcesbi.simulation.template_statements", "disk"), ("gcesbi.simulation.model", "disk")}
    found = {
        (name, node.value)
        for name, (tree, _) in modules().items()
        if room(name) in ("simulation", "estimators", "baselines", "validation", "plots", "report")
        if name != "gcesbi.simulation.sky_settings" and ".image_" not in name
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in named
    }
    assert found == known

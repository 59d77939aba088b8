"""How the package is kept: names that mean one thing, folders that a reader can survey, no circles."""

import ast
import itertools
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "gpubench"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES})
MOST_MODULES = 20

# To be renamed or divided. An entry that is not needed any more fails these tests: only take away from here.
SHARED_CLASS_NAMES: set[str] = set()
LARGE_FOLDERS: dict[str, int] = {}


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture(scope="module")
def modules() -> dict[str, ast.Module]:
    return {_module(path): ast.parse(path.read_text(), str(path)) for path in FILES}


def _imports(module: str, modules: dict[str, ast.Module]) -> set[str]:
    """The modules of the package that a module imports: at its top, inside a function, or for type checking alone."""
    imported = set()
    for node in ast.walk(modules[module]):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= {name if name in modules else node.module for name in names}
    return (imported & modules.keys()) - {module}


def _circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import each other, or none. Takes away what imports nothing that is left, over and over."""
    left = dict(edges)
    while done := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in done}
    return sorted(left)


def _stem(name: str) -> tuple[str, ...]:
    """The words of a name without their grammatical endings: `launch`, `launches` and `launching` are one."""
    words = name.strip("_").split("_")
    return tuple(re.sub(r"(?<=...)(ations?|ings?|e?[drs]|ers|e|y|ies)$", "", word) for word in words)


def test_no_module_imports_itself_through_others(modules):
    assert _circle({module: _imports(module, modules) for module in modules}) == []


def test_a_circle_is_found():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


def test_no_folder_holds_more_modules_than_a_reader_can_survey():
    sizes = {str(folder.relative_to(ROOT)): len(list(folder.glob("[!_]*.py"))) for folder in FOLDERS}
    assert {folder: size for folder, size in sizes.items() if size > MOST_MODULES} == LARGE_FOLDERS


def test_a_class_name_means_one_thing_in_the_whole_package(modules):
    classes = [node.name for tree in modules.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    assert {name for name, count in Counter(classes).items() if count > 1} == SHARED_CLASS_NAMES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_no_two_names_of_a_folder_differ_only_in_grammar(folder):
    by_stem = defaultdict(set)
    for path in itertools.chain(folder.glob("[!_]*.py"), (inner for inner in FOLDERS if inner.parent == folder)):
        by_stem[_stem(path.stem)].add(path.stem)
    assert [names for names in by_stem.values() if len(names) > 1] == []


def test_names_that_differ_only_in_grammar_are_found():
    assert len({_stem(name) for name in ("compare", "comparing", "compared", "compares")}) == 1
    assert len({_stem(name) for name in ("check_run", "checks_run", "checking_runs")}) == 1
    assert len({_stem(name) for name in ("run", "rounds", "plan", "rules", "roofline")}) == 5


def test_the_formatter_has_every_line():
    """A comment that skips formatting would say that the line length is not believed."""
    mark = "# fmt: " + "skip"
    files = [path for folder in ("gpubench", "tests", "scripts") for path in (ROOT / folder).rglob("*.py")]
    assert [str(path.relative_to(ROOT)) for path in files if mark in path.read_text()] == []


def test_a_finding_code_has_one_entry():
    """Two entries of one code would be one meaning for both."""
    codes = re.findall(r'^    \("(GB\d{3})", "', (PACKAGE / "core" / "findings.py").read_text(), re.MULTILINE)
    assert [code for code, number in Counter(codes).items() if number > 1] == []

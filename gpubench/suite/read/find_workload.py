"""Whether a suite's workloads can be found here, without importing any: that would run their code, and load torch."""

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from gpubench.core.did_you_mean import near
from gpubench.suite.model.workload_names import find_file, is_users, modules_beside

_LARGEST = 2**20
_MOST_NAMED = 8


def why_missing(name: str, search_path: Sequence[str]) -> tuple[str, str]:
    """Why there is no workload of this name, and a suggestion. Both empty if there is one, or if it is not known.

    `search_path` holds the folders beside the suite file, which come before the Python path.
    """
    if not is_users(name):  # checked with the other values of a setting
        return "", ""
    module, _, attribute = name.rpartition(":")
    if module.endswith(".py"):
        file = find_file(module, search_path)
        if file is None:
            there = sorted(each.stem for each in Path(module).parent.glob("*.py"))
            return f"there is no file {module!r}", near(Path(module).stem, there).replace("'?", ".py'?")
        names = names_in(file)
    else:
        found = spec_of(module, search_path)
        if found is None:
            said = f"there is no module {module!r} beside the suite file or on the Python path"
            return said, near(module, modules_beside(search_path))
        names = names_in(Path(found.origin or ""))
    first = attribute.partition(".")[0]
    if names is None or first in names:
        return "", ""
    what = "file" if module.endswith(".py") else "module"
    own = offered(names)
    said = f"it has {', '.join(own[:_MOST_NAMED])}" if own else "it defines nothing"
    return f"the {what} {module!r} has no {first!r}", near(first, own) or said


def spec_of(module: str, search_path: Sequence[str]) -> ModuleSpec | None:
    """The module as import would find it, but without running the packages above it."""
    top, *parts = module.split(".")
    try:
        spec = PathFinder.find_spec(top, [*search_path, ""]) or find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module without a file is imported under this name
        return None
    full = top
    for part in parts:
        folders = None if spec is None else spec.submodule_search_locations
        if folders is None:
            return None
        full = f"{full}.{part}"
        spec = _within(full, part, list(folders))
    return spec


def _within(full: str, part: str, folders: list[str]) -> ModuleSpec | None:
    finders = (finder.find_spec for finder in sys.meta_path)
    try:
        return next((found for find in finders if (found := find(full, folders)) is not None), None)
    except KeyError:  # a folder without __init__.py, whose parent would have to be imported
        return PathFinder.find_spec(part, folders)


def names_in(path: Path) -> dict[str, str] | None:
    """The names that the source of a module binds at its top, in order, each with its kind: `class`, `def`, `value` or
    `import`. None if it has no source, or binds names that cannot be read.
    """
    if path.suffix != ".py" or not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # the worker reports what is wrong with it
        return None
    names = dict(_bound(tree.body, "value" if path.name == "__init__.py" else "import"))
    dynamic = {"*", "__getattr__"} & names.keys()
    called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return None if dynamic or called & {"globals", "setattr", "exec", "vars"} else names


def _bound(body: Sequence[ast.stmt], from_others: str) -> Iterator[tuple[str, str]]:
    """`from_others`: the kind given to names imported from other modules, which a package may offer as its own."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            yield statement.name, "class"
            continue
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name, "def"
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id, "value"
            elif isinstance(node, ast.Import | ast.ImportFrom):
                kind = from_others if isinstance(node, ast.ImportFrom) else "import"
                yield from (((each.asname or each.name).partition(".")[0], kind) for each in node.names)
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield node.name, "class" if isinstance(node, ast.ClassDef) else "def"


def offered(names: Mapping[str, str]) -> list[str]:
    """The names in a module that may be a model: its own classes, functions and values, in this order."""
    public = {name: kind for name, kind in names.items() if not name.startswith("_")}
    own = {name: kind for name, kind in public.items() if kind != "value" or not name.isupper()}
    return [name for wanted in ("class", "def", "value") for name, kind in own.items() if kind == wanted]

"""Whether a suite's workloads can be found here, without importing any: that would run their code, and load torch."""

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

from gpubench.core.did_you_mean import near
from gpubench.suite.model.workload_names import find_file, is_users, modules_beside

_LARGEST = 2**20
_MOST_NAMED = 8


def why_missing(name: str, search_path: Sequence[str]) -> tuple[str, str]:
    """Why there is no workload of this name, and a suggestion. Both empty if there is one, or nothing can be said.

    `search_path` holds the folders beside the suite file, which come before the Python path.
    """
    if not is_users(name):  # checked with the other values of a setting
        return "", ""
    module, _, attribute = name.rpartition(":")
    if module.endswith(".py"):
        file = find_file(module, search_path)
        if file is None:
            there = [each.name for each in Path(module).parent.glob("*.py")]
            return f"there is no file {module!r}", near(Path(module).name, sorted(there))
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
    return f"the {what} {module!r} has no {first!r}", near(first, names) or _offer(names)


def _offer(names: Iterable[str]) -> str:
    public = sorted(name for name in names if not name.startswith("_"))
    return f"it has {', '.join(public[:_MOST_NAMED])}" if public else "it defines nothing"


def spec_of(module: str, search_path: Sequence[str]) -> ModuleSpec | None:
    """As import would find it, but packages above it are not run."""
    top, *parts = module.split(".")
    try:
        spec = PathFinder.find_spec(top, [*search_path, "."]) or find_spec(top)
    except (ImportError, ValueError):  # ValueError: a name that is already imported from no file
        return None
    full = top
    for part in parts:
        folders = None if spec is None else spec.submodule_search_locations
        if folders is None:
            return None
        full = f"{full}.{part}"
        finders = (finder.find_spec for finder in sys.meta_path)
        spec = next((found for find in finders if (found := find(full, list(folders))) is not None), None)
    return spec


def names_in(path: Path) -> set[str] | None:
    """The names that the source of a module binds at its top. None if it has no source, or binds names that cannot be
    read.
    """
    if path.suffix != ".py" or not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # the worker says what is wrong with it
        return None
    names = set(_bound(tree.body))
    dynamic = {"*", "__getattr__"} & names
    called = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return None if dynamic or called & {"globals", "setattr", "exec", "vars"} else names


def _bound(body: Sequence[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement.name
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
            elif isinstance(node, ast.alias):
                yield (node.asname or node.name).partition(".")[0]
            elif isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield node.name

"""Finds a workload by its name in a suite."""

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.suite.model.workload_names import (
    BUILT_IN,
    BY_NAME,
    EXAMPLES,
    LIBRARIES,
    OPERATORS,
    TASKS,
    find_file,
    missing_extra,
    modules_beside,
)
from gpubench.worker.workloads.base import Missing, Phases, Workload


def resolve(
    name: str,
    search_path: Sequence[str] = (),
    *,
    params: Mapping[str, Any] = MappingProxyType({}),
    phases: Phases | None = None,
    download: bool = False,
) -> Workload:
    """A new instance of the workload called `name`; nothing is built yet.

    `name` is a built-in name (`workload_names`: `cnn`, `torchvision:<model>`, `hf:<architecture>@<task>`,
    `operators:<operator>`, ...), `module:Name`, or `file.py:Name`. Modules are imported from the Python path or the
    folders of `search_path` (those beside the suite file); files are looked up there and in the working folder.

    `Name` is a class with `build`, an nn.Module (class or instance), or a function that returns a module or a workload
    and gets `params` as keyword arguments. `phases` and `download` are set on workloads that have attributes of these
    names.

    UsageError with the nearest names if nothing is found. Errors raised by the module itself are not caught.
    """
    workload: Any = _make(name, search_path, params)
    if phases is not None and hasattr(workload, "phases"):
        workload.phases = phases
    if hasattr(workload, "download"):
        workload.download = download
    found: Workload = workload
    return found


def _make(name: str, search_path: Sequence[str], params: Mapping[str, Any]) -> Any:
    module, colon, attribute = name.rpartition(":")
    if not colon:
        return _built_in(name)
    if module in LIBRARIES:
        missing = missing_extra(name)
        if missing is not None:
            raise Missing(missing)
        file = find_file(attribute.partition("@")[0], search_path) if ".json" in attribute else None
        if file is not None:
            attribute = f"{file}{''.join(attribute.partition('@')[1:])}"
        return _made_by(LIBRARIES[module].made_by, attribute)
    if module in BY_NAME:
        if attribute not in BY_NAME[module]:
            what, known = "task" if module in TASKS else module.removesuffix("s"), BY_NAME[module]
            hint = _hint(near(attribute, known).replace("'", f"'{module}:", 1))
            raise UsageError(
                f"There is no {what} {attribute!r}.", hint=hint or f"{module.title()}: {', '.join(known)}."
            )
        if module in TASKS:
            return _made_by(TASKS[module][attribute])
        if module == "operators":
            return _made_by(OPERATORS[attribute])
        from gpubench.worker.workloads.operators.collectives import Collective

        return Collective(attribute)
    target = _attribute(_imported(module, search_path), attribute, name)
    return _users(target, name, params)


def _users(target: Any, name: str, params: Mapping[str, Any]) -> Any:
    """Wraps what the user's name refers to in a workload."""
    from torch import nn

    from gpubench.worker.workloads.users_module import UsersModule, called

    if isinstance(target, nn.Module) or (inspect.isclass(target) and issubclass(target, nn.Module)):
        return UsersModule(name, target)
    if not callable(target):
        what = (
            f"the module {target.__name__}" if inspect.ismodule(target) else f"a value of type {type(target).__name__}"
        )
        raise UsageError(f"{name} is {what}.", hint=_WHAT_TO_NAME)
    if inspect.isclass(target):
        if not callable(getattr(target, "build", None)):
            raise UsageError(f"{name} is a class without `build(self, case, device)`.", hint=_WHAT_TO_NAME)
        return called(name, target, {})
    made = called(name, target, params)
    if isinstance(made, nn.Module):
        return UsersModule(name, target)
    if not callable(getattr(made, "build", None)):
        got = "nothing" if made is None else f"a value of type {type(made).__name__}"
        raise UsageError(f"{name} returned {got}, not a module.", hint=_WHAT_TO_NAME)
    return made


_WHAT_TO_NAME = (
    "Name an nn.Module class or instance, a function that returns one, or a class with `build(self, case, device)`."
)


def _imported(module: str, search_path: Sequence[str]) -> Any:
    """Imports a module or file. UsageError if there is none, or if importing it ends the process."""
    try:
        if not module.endswith(".py"):
            return _import(module, search_path)
        file = find_file(module, search_path)
        if file is None:
            raise UsageError(f"There is no file {module}.")
        return _import(file.stem, (str(file.parent),))
    except SystemExit as ended:
        raise UsageError(
            f"{module} ended the process while it was imported: sys.exit({ended.code!r}).",
            hint='Put what it runs below `if __name__ == "__main__":`.',
        ) from ended


def _built_in(name: str) -> Workload:
    if name in BUILT_IN:
        return _made_by(BUILT_IN[name].made_by)
    from gpubench.worker.workloads.torchvision_cnn import model_names

    meant = near(name, [*BUILT_IN, *model_names()])
    if not any(repr(each) in meant for each in BUILT_IN):
        meant = meant.replace("'", "'torchvision:", 1)
    names = f"Workloads: {', '.join(EXAMPLES[:-1])}, or `module:Name` for your own."
    raise UsageError(f"There is no workload {name!r}.", hint=_hint(meant) or names)


def _hint(meant: str) -> str:
    """The nearest names as a sentence; empty if there are none."""
    return f"D{meant[1:]}" if meant else ""


def _made_by(target: str, *arguments: str) -> Workload:
    module, _, attribute = target.partition(":")
    found: Workload = getattr(importlib.import_module(module), attribute)(*arguments)
    return found


def _import(module: str, search_path: Sequence[str]) -> Any:
    """Imports the module beside the suite if there is one, else from the Python path or the working folder.

    Folders beside the suite stay on the path for the suite's other files: after the standard library, so that they may
    reuse its names, and before installed packages. A module whose name is already taken is imported under another name.
    """
    _extend_path(search_path)
    importlib.invalidate_caches()
    name = module.partition(".")[0]
    try:
        for folder in map(Path, search_path):
            files = [each for each in (folder / name / "__init__.py", folder / f"{name}.py") if each.is_file()]
            if files and _is_taken(name, files[0]):
                _import_as(f"_beside_the_suite_{name}", files[0])
                return importlib.import_module(f"_beside_the_suite_{module}")
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise
        where = ", ".join([*map(str, search_path), "the Python path"])
        hint = _hint(near(module, modules_beside(search_path))) or "Put its file beside the suite file, or install it."
        raise UsageError(f"The module {module!r} was not found (looked in {where}).", hint=hint) from error


def _extend_path(search_path: Sequence[str]) -> None:
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    standard = [each for each in sys.path if each in places or each.endswith((".zip", "lib-dynload"))]
    beside = [str(folder) for folder in search_path if str(folder) not in sys.path]
    sys.path[:] = [*standard, *beside, *(each for each in sys.path if each not in standard)]
    with contextlib.suppress(FileNotFoundError):  # the working folder was removed
        if not os.environ.get("PYTHONSAFEPATH") and os.getcwd() not in sys.path:  # noqa: PTH109 - as sys.path has it
            sys.path.append(os.getcwd())  # noqa: PTH109


def _is_taken(name: str, file: Path) -> bool:
    """Whether importing `name` would give a file other than `file`."""
    where = getattr(sys.modules.get(name), "__file__", None)
    if where is None:
        return name in sys.stdlib_module_names
    return Path(where).resolve() != file.resolve()


def _import_as(name: str, file: Path) -> None:
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[name])
    except BaseException:
        del sys.modules[name]
        raise


def _attribute(module: Any, attribute: str, name: str) -> Any:
    found = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            own = (key for key, value in vars(found).items() if getattr(value, "__module__", "") == module.__name__)
            classes = [key for key in own if inspect.isclass(getattr(found, key))]
            hint = _hint(near(part, classes)) or f"Its classes: {', '.join(classes) or 'none'}."
            raise UsageError(f"{name}: the module {module.__name__!r} has no {attribute!r}.", hint=hint)
        found = getattr(found, part)
    return found

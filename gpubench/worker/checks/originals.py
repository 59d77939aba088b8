"""Whether what runs is what was meant: no function was replaced, and the code comes from the arm's own revision."""

import builtins
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.protocol.loaded_files import module_files
from gpubench.worker.accelerator import functions_of_gpus

_CLOCKS = ("perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "process_time_ns")
_BUILTINS = ("abs", "all", "any", "isinstance", "len", "max", "min", "range", "round", "sorted", "sum", "type", "zip")
_TORCH = ("inference_mode", "is_inference_mode_enabled", "is_autocast_enabled", "isfinite", "get_num_threads")
_KINDS = (FunctionType, BuiltinFunctionType, ModuleType, type)
_OWN = "gpubench."
_NAMED = 3


INSTALLED = "installed.json"
"""A file in environments of `runner.arms.install_revision`: the commit, the modules it installs, and its repository."""


class Originals:
    """Fingerprints of clocks, waits and gpubench's own functions, taken before any code of a workload runs.

    Notices a function that is replaced, gets other code, or is hidden by a name in a module that calls it; not one that
    is put back before `replaced` is called. Takes a few milliseconds.
    """

    def __init__(self) -> None:
        self._known = dict(_functions())
        self._told = False

    def replaced(self) -> list[str]:
        """Names of the replaced functions, in order."""
        now = dict(_functions())
        hidden = {name for name in now.keys() - self._known.keys() if name.rpartition(".")[2] in vars(builtins)}
        return sorted({name for name, what in self._known.items() if now.get(name, what) != what} | hidden)

    def findings(self) -> list[Finding]:
        """GB319 if a function was replaced; reported once."""
        names = [] if self._told else self.replaced()
        if not names:
            return []
        self._told = True
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        message = f"Replaced while the case ran: {', '.join(names[:_NAMED])}{more}."
        return [finding("GB319", message, names=names[:100])]


def _functions() -> Iterator[tuple[str, Any]]:
    """Name and identity of every function."""
    for module, names in ((time, _CLOCKS), (gc, ("collect", "disable", "enable")), (builtins, _BUILTINS)):
        yield from _members(module.__name__, vars(module), names)
    if (torch := sys.modules.get("torch")) is not None:
        yield from _members("torch", vars(torch), _TORCH)
        for name, owner, of_gpus in functions_of_gpus(torch):
            yield from _members(name, vars(owner), of_gpus)
    for name, own in [*sys.modules.items()]:
        if name.startswith(_OWN) and ".workloads." not in name:
            yield f"sys.modules[{name}]", id(own)
            yield from _members(name, vars(own))


def _members(owner: str, values: dict[str, Any], names: tuple[str, ...] | None = None) -> Iterator[tuple[str, Any]]:
    for name, value in [*values.items()]:
        if (names is None or name in names) and isinstance(value, _KINDS):
            yield f"{owner}.{name}", (id(value), id(getattr(value, "__code__", None)))
            if isinstance(value, type) and value.__module__ == owner:
                yield from _members(f"{owner}.{name}", dict(vars(value)))


def not_of_the_revision(search_path: Sequence[str] = (), prefix: str = sys.prefix) -> str | None:
    """A module that was loaded from elsewhere; None if there is none, or the environment was not made for a revision.

    Modules on `search_path`, beside the suite, are workloads and may lie in the repository's working tree.
    """
    try:
        installed = json.loads((Path(prefix) / INSTALLED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    names, root = set(installed["modules"]), installed.get("root")
    allowed = tuple(_folder(each) for each in (prefix, *search_path, *(p for p in sys.path if "site-packages" in p)))
    for name, path in module_files():
        real = os.path.realpath(path)
        strange = name.partition(".")[0] in names and not real.startswith(_folder(prefix))
        if strange or (root is not None and real.startswith(_folder(root)) and not real.startswith(allowed)):
            return f"{name} was loaded from {path}, not from the revision {installed.get('commit', '')[:12]}"
    return None


def _folder(path: str) -> str:
    return os.path.realpath(path) + os.sep

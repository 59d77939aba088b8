"""What other packages add through Python entry points, which are read only when nothing built in matches.

    [project.entry-points."gpubench.metrics"]
    my-metrics = "my_package.metrics:METRICS"

A package that cannot be loaded, or adds something invalid, is named in a warning and left out: a report of stored
figures must not fail because of it.
"""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar

METRICS_GROUP = "gpubench.metrics"
FINDINGS_GROUP = "gpubench.findings"
SECTIONS_GROUP = "gpubench.sections"
TELEMETRY_GROUP = "gpubench.telemetry"


class ExtensionWarning(UserWarning):
    """An extension was left out. The message names its distribution and entry point."""


class Extension(NamedTuple):
    """`value` is the object that the entry point names; `source` names its package in messages."""

    source: str
    value: Any

    def left_out(self, why: object) -> None:
        warnings.warn(f"{self.source} was left out: {why}", ExtensionWarning, stacklevel=3)


@cache
def extensions(group: str) -> tuple[Extension, ...]:
    """Everything installed in a group, in the order of distributions and names; read once per process."""
    from importlib.metadata import entry_points

    found = []
    for entry in sorted(entry_points(group=group), key=lambda each: (each.dist.name if each.dist else "", each.name)):
        source = f"{entry.name!r} of {entry.dist.name if entry.dist else 'an unknown package'} ({group})"
        try:
            found.append(Extension(source, entry.load()))
        except Exception as error:  # noqa: BLE001 - another package's module may raise anything
            Extension(source, None).left_out(f"{type(error).__name__}: {error}")
    return tuple(found)


Spec = TypeVar("Spec")


class Registry(Mapping[str, Spec]):
    """Built-in entries, then those of a group of entry points. An entry point names one entry, or a tuple or list.

    `problem` says why an added entry under this name is invalid; None if it is fine. An entry whose name is taken is
    left out.
    """

    def __init__(
        self,
        group: str,
        kind: type[Spec],
        built_in: Mapping[str, Spec],
        name_of: Callable[[Spec], str],
        problem: Callable[[Spec], str | None],
    ) -> None:
        self.built_in = built_in
        self._group, self._kind, self._name_of, self._problem = group, kind, name_of, problem

    @cached_property
    def added(self) -> Mapping[str, Spec]:
        """What other packages add, by name."""
        found: dict[str, Spec] = {}
        for extension in extensions(self._group):
            value = extension.value  # A spec is a tuple itself.
            several = isinstance(value, tuple | list) and not isinstance(value, self._kind)
            for spec in value if several else (value,):
                if not isinstance(spec, self._kind):
                    extension.left_out(f"expected a {self._kind.__name__}, got {spec!r}")
                elif (name := self._name_of(spec)) in self.built_in or name in found:
                    extension.left_out(f"{name!r} exists already")
                elif (why := self._problem(spec)) is not None:
                    extension.left_out(why)
                else:
                    found[name] = spec
        return found

    def known(self, names: Collection[str]) -> list[str]:
        """Those of `names` that have an entry, in the registry's order."""
        own = [name for name in self.built_in if name in names]
        return own if len(own) == len(names) else own + [name for name in self.added if name in names]

    def __getitem__(self, name: str) -> Spec:
        return self.built_in[name] if name in self.built_in else self.added[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        yield from self.added

    def __len__(self) -> int:
        return len(self.built_in) + len(self.added)

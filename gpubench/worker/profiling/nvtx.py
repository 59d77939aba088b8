"""NVTX ranges for external profilers, in the domain `gpubench`.

Push/pop, from the outside in: `suite:<name>`, `case:<label>`, `warmup` or `steady`, `step` (payload: its index), and
the phases of a step: `data` `h2d` `forward` `loss` `backward` `optimizer`. `capture` is a start/end range: the trigger
of `nsys profile --capture-range=nvtx`.

Attributes are made once, so pushing a range costs some 40 ns without a tool and 350 under nsys. If no tool accepts the
domain, every range is one shared context that does nothing, and steps are not wrapped.
"""

import os
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal

from gpubench.protocol.profile_job import CAPTURE, DOMAIN, PHASES

State = Literal["off", "on", "forced", "refused"]

INJECTION = "NVTX_INJECTION64_PATH"

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.:=-]+")


def clean(text: str) -> str:
    """`text` with only characters that every tool's filters accept; others become `_`."""
    return _NOT_ALLOWED.sub("_", text).strip("_") or "_"


class _Nothing:
    """A range without a profiler; cheaper to enter than `contextlib.nullcontext`."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        return None


_NOTHING: AbstractContextManager[None] = _Nothing()


class _Range:
    """A prebuilt range; a generator-based context would cost ten times as much."""

    __slots__ = ("_attributes", "_pop", "_push")

    def __init__(self, domain: Any, attributes: Any) -> None:
        self._push, self._pop, self._attributes = domain.push_range, domain.pop_range, attributes

    def __enter__(self) -> None:
        self._push(self._attributes)

    def __exit__(self, *_: object) -> None:
        self._pop()


class _ProcessRange:
    """A prebuilt start/end range: open in the whole process, for every thread. Cannot be entered twice at once."""

    __slots__ = ("_attributes", "_domain", "_started")

    def __init__(self, domain: Any, attributes: Any) -> None:
        self._domain, self._attributes = domain, attributes
        self._started: Any = None

    def __enter__(self) -> None:
        self._started = self._domain.start_range(self._attributes)

    def __exit__(self, *_: object) -> None:
        self._domain.end_range(self._started)


class _Ranges(dict[str, AbstractContextManager[None]]):
    """Ranges by name, each made on first use."""

    def __init__(self, make: Callable[[str], AbstractContextManager[None]]) -> None:
        super().__init__({name: make(name) for name in PHASES})
        self._make = make

    def __missing__(self, name: str) -> AbstractContextManager[None]:
        made = self[name] = self._make(clean(name))
        return made


class Emitter:
    """`state`: `off` (no tool listens), `on`, `forced` (the tool refused the newer extension, but plain ranges are
    emitted) or `refused` (that failed too). Runs of different states are not compared.
    """

    def __init__(self, domain: Any, state: State) -> None:
        self.state = state
        self._domain = domain if state in ("on", "forced") else None
        self.phase: Callable[[str], AbstractContextManager[None]] = _Ranges(self._range).__getitem__
        """Implements `workloads.base.Phases`; names other than the six become ranges on first use."""

    def named(self, name: str) -> AbstractContextManager[None]:
        """A range of this name around the code inside."""
        return self._range(clean(name))

    def steps(self, step: Callable[[], object], first: int = 0) -> Callable[[], object]:
        """`step` inside a `step` range whose payload counts from `first`; `step` itself without a profiler."""
        domain = self._domain
        if domain is None:
            return step
        attributes = domain.get_event_attributes(message="step", payload=first)
        push, pop, index = domain.push_range, domain.pop_range, first

        def ranged() -> object:
            nonlocal index
            attributes.payload = index
            index += 1
            push(attributes)
            try:
                return step()
            finally:
                pop()

        return ranged

    def capture(self) -> AbstractContextManager[None]:
        """The start/end range that opens a profiler's capture, which misses ranges that are already open."""
        return self.across_threads(CAPTURE)

    def across_threads(self, name: str) -> AbstractContextManager[None]:
        """A start/end range of this name, around the work of all threads, including autograd's."""
        if self._domain is None:
            return _NOTHING
        return _ProcessRange(self._domain, self._domain.get_event_attributes(message=clean(name)))

    def _range(self, name: str) -> AbstractContextManager[None]:
        if self._domain is None:
            return _NOTHING
        return _Range(self._domain, self._domain.get_event_attributes(message=name))


def open_emitter(environ: Mapping[str, str] = os.environ) -> Emitter:
    """The emitter of this process. Never raises: an incompatible profiler does not stop a measurement."""
    try:
        import nvtx
    except ImportError:
        return Emitter(None, "off")
    domain = nvtx.get_domain(DOMAIN) if nvtx.enabled() else None
    if domain is not None and type(domain).__name__ != "DummyDomain":
        return Emitter(domain, "on")
    if not nvtx.enabled() or not environ.get(INJECTION):
        return Emitter(None, "off")
    forced = _force_domain()
    return Emitter(forced, "refused" if forced is None else "forced")


def _force_domain() -> Any | None:
    """A real domain although `nvtx` sees no tool, or None if its private parts have changed.

    nvtx 0.2.12 and newer ask the tool for an extension that nsys of 2022 and 2023 refuses, and then emit nothing,
    silently; these tools take the plain ranges used here.
    """
    try:
        from nvtx._lib.lib import Domain, DomainHandle

        domain = object.__new__(Domain)
        domain.handle = DomainHandle(DOMAIN)
        domain.__init__(DOMAIN)
        domain.get_event_attributes(message="step", payload=0)
    except Exception:  # noqa: BLE001 - private names of a library may have changed; the state says so
        return None
    return domain

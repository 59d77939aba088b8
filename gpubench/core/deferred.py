"""Results that stand for unfinished work: timing the call that returns one measures nothing."""

import functools
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from typing import Any

HINT = "Finish it inside: `asyncio.run(...)` for a coroutine, `list(...)` for a generator, `.result()` for a future."

_LOOKED_AT = 100


def deferred(result: Any, depth: int = 2) -> str | None:
    """The unfinished work in `result` or in the items of a container (`a coroutine`); None if it is finished."""
    kind = type(result).__name__
    if inspect.iscoroutine(result):
        result.close()  # or Python warns that it was never awaited
        return "a coroutine"
    if inspect.isawaitable(result):
        return f"an awaitable ({kind})"
    if isinstance(result, (Iterator, AsyncIterator)):
        return "a generator" if kind in ("generator", "async_generator") else f"an iterator ({kind})"
    if inspect.isroutine(result) or isinstance(result, functools.partial):
        return "a function"
    if hasattr(type(result), "add_done_callback") or all(hasattr(type(result), name) for name in ("ready", "get")):
        return f"a future ({kind})"
    parts = result.values() if isinstance(result, Mapping) else result if isinstance(result, (list, tuple, set)) else ()
    inside = (deferred(part, depth - 1) for part in islice(parts, _LOOKED_AT)) if depth else ()
    return next((found for found in inside if found is not None), None)


def makes_deferred(function: Any) -> str | None:
    """The unfinished work that every call of `function` returns; None if its type alone does not say."""
    while isinstance(function, functools.partial):
        function = function.func
    own = inspect.isroutine(function) or inspect.isclass(function) or not callable(function)
    call = function if own else type(function).__call__
    if inspect.iscoroutinefunction(call):
        return "a coroutine"
    return "a generator" if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call) else None

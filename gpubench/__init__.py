"""gpubench: GPU benchmarking and profiling whose numbers can be trusted.

    run = gpubench.run_suite("cnn-smoke")         # or load_run("@last")
    table = run.frame()                           # one row per case and metric
    gpubench.compare(gpubench.load_run("@last~1"), run)

Names are loaded when they are first used: `import gpubench` costs nothing.
"""

from typing import TYPE_CHECKING, Any

from gpubench.core.version import __version__

if TYPE_CHECKING:
    from gpubench import telemetry
    from gpubench.api import Workload, compare, load_run, load_suite, run_suite

__all__ = ["Workload", "__version__", "compare", "load_run", "load_suite", "run_suite", "telemetry"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    if name == "telemetry":
        return importlib.import_module("gpubench.telemetry")
    return getattr(importlib.import_module("gpubench.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

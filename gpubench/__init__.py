"""gpubench: GPU benchmarking and profiling with numbers you can trust.

    run = gpubench.run_suite("cnn-smoke")         # or load_run("@last")
    table = run.frame()                           # one row per case and metric
    gpubench.compare(gpubench.load_run("@last~1"), run)

Names are loaded when they are first used: `import gpubench` costs nothing.
"""

from typing import TYPE_CHECKING, Any

from gpubench.core import lazy_names
from gpubench.core.version import __version__

if TYPE_CHECKING:
    from gpubench import telemetry
    from gpubench.analysis.verdict.interleaved_rounds import SequentialComparison, compare_rounds
    from gpubench.analysis.verdict.judge_settings import CompareSettings
    from gpubench.api import compare, load_run, load_suite, run_suite
    from gpubench.worker.workloads.base import Health, ParityProbe, Unsupported, Workload
    from gpubench.worker.workloads.classifier.classifier import Classifier
    from gpubench.worker.workloads.supervised.examples import DataSplits, Examples
    from gpubench.worker.workloads.supervised.scores import Contents, Score
    from gpubench.worker.workloads.supervised.supervised import Supervised

_NAMES = {
    "gpubench.analysis.verdict.interleaved_rounds": ("SequentialComparison", "compare_rounds"),
    "gpubench.analysis.verdict.judge_settings": ("CompareSettings",),
    "gpubench.api": ("compare", "load_run", "load_suite", "run_suite"),
    "gpubench.worker.workloads.base": ("Health", "ParityProbe", "Unsupported", "Workload"),
    "gpubench.worker.workloads.classifier.classifier": ("Classifier",),
    "gpubench.worker.workloads.supervised.examples": ("DataSplits", "Examples"),
    "gpubench.worker.workloads.supervised.scores": ("Contents", "Score"),
    "gpubench.worker.workloads.supervised.supervised": ("Supervised",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = ["Classifier", "CompareSettings", "Contents", "DataSplits", "Examples", "Health", "ParityProbe", "Score"]
__all__ += [
    "SequentialComparison",
    "Supervised",
    "Unsupported",
    "Workload",
    "__version__",
    "compare",
    "compare_rounds",
    "load_run",
    "load_suite",
    "run_suite",
]
__all__ += ["telemetry"]


_get = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name == "telemetry":
        import importlib

        return importlib.import_module("gpubench.telemetry")
    return _get(name)


def __dir__() -> list[str]:
    return sorted(__all__)

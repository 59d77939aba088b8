"""What a worker host imports before it forks, so that jobs need not.

It is chosen for the cases of a run, since a host starts in every round, and torch's compiler and torchvision take
about a second each besides torch itself.
"""

import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from gpubench.suite.model.case import Case, Strategy
from gpubench.suite.model.suite import Suite
from gpubench.suite.model.workload_names import find_file, is_users
from gpubench.suite.read.find_workload import spec_of

ALWAYS = (
    "torch",
    "numpy",
    "numpy.ma",
    "nvtx",
    "gpubench.stats.stopping_rule",
    "gpubench.stats.step_series",
    "gpubench.worker.measure_case",
    "gpubench.worker.ab.blocks",
    "gpubench.worker.quality.train_case",
    "gpubench.worker.workloads.cnn",
    "gpubench.worker.workloads.users_module",
    "torch.utils.flop_counter",
    "torch.optim.adam",
    "torch.optim.adamw",
    "torch.optim.sgd",
)
COMPILER = ("torch._dynamo",)
"""Torch imports it for the first optimizer and for operator counting, even if nothing is compiled."""
TORCHVISION = ("torchvision", "gpubench.worker.workloads.torchvision_cnn")
TRANSFORMERS = ("transformers", "transformers.modeling_utils")
TIMM = ("timm",)
RANKS = (
    "gpubench.worker.ranks.agent",
    "gpubench.worker.ranks.together",
    *(f"gpubench.worker.ranks.strategies.{name}" for name in get_args(Strategy)),
)
EVERYTHING = (*ALWAYS, *COMPILER, *TORCHVISION, *RANKS)


def host_modules(suite: Suite, cases: Iterable[Case], search_path: Sequence[str] = ()) -> tuple[str, ...]:
    """What `cases` need besides `ALWAYS`. `search_path`: the folders in which users' workloads are looked for first."""
    cases = tuple(cases)
    libraries = {name for workload in {case.workload for case in cases} for name in _libraries(workload, search_path)}
    data = {case.data for case in cases} | ({suite.quality.data} if suite.quality is not None else set())
    groups = {
        COMPILER: "torch" in libraries,
        TRANSFORMERS: "hf" in libraries and find_spec("transformers") is not None,
        TIMM: "timm" in libraries and find_spec("timm") is not None,
        TORCHVISION: any(name.startswith("torchvision") for name in libraries)
        or bool(data & {"mnist", "fashion-mnist", "cifar10"}),
        RANKS: any(case.world_size > 1 for case in cases),
    }
    return tuple(name for names, wanted in groups.items() if wanted for name in names)


def _libraries(workload: str, search_path: Sequence[str]) -> set[str]:
    """Which of torch and torchvision the workload uses. For a user's: those that its file names, or both if it is not
    one file.
    """
    module = workload.rpartition(":")[0]
    if not is_users(workload):
        return {"torch", module}
    file = find_file(module, search_path) if module.endswith(".py") else _file_of(module, search_path)
    if file is None or file.suffix != ".py" or not file.is_file():
        return {"torch", "torchvision"}
    return set(re.findall(r"\b(?:torch|torchvision)\b", file.read_text(encoding="utf-8", errors="replace")))


def _file_of(module: str, search_path: Sequence[str]) -> Path | None:
    found = spec_of(module, search_path)
    return None if found is None or found.submodule_search_locations is not None else Path(found.origin or "")

"""torch.compile, and what it did: time, graph breaks, recompilations."""

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from gpubench.suite.model.case import Compile

USES_CUDA_GRAPHS: frozenset[Compile] = frozenset({"reduce-overhead", "max-autotune"})

MOST_VARIANTS = 64
"""Variants of one model's code per process: arms that share the code, and their checks, compile it once each."""


class CompileStats(NamedTuple):
    """Totals of this process. `compile_s`: wall time inside the compiler, forward and backward; `num_graphs`: graphs
    compiled for the first time; `recompilations`: compilations of code that was already compiled once.
    """

    compile_s: float
    num_graphs: int
    graph_breaks: int
    recompilations: int

    def since(self, earlier: "CompileStats") -> "CompileStats":
        return CompileStats._make(now - before for now, before in zip(self, earlier, strict=True))

    def plus(self, other: "CompileStats") -> "CompileStats":
        return CompileStats._make(mine + its for mine, its in zip(self, other, strict=True))


def compile_model(model: torch.nn.Module, mode: Compile, device_type: str) -> Callable[[Any], Any]:
    """`model` compiled for static shapes, or unchanged with `off`. Compilation happens in the first step."""
    if mode == "off":
        return model
    # By default, torch runs the ninth variant of some code uncompiled and only logs that. Here the limit is higher, and
    # exceeding it is an error, so that a compiled case is really compiled.
    config = torch._dynamo.config  # noqa: SLF001 - torch documents these settings under this name
    config.recompile_limit = max(config.recompile_limit, MOST_VARIANTS)
    config.fail_on_recompile_limit_hit = True
    compiled: Callable[[Any], Any] = torch.compile(model, mode=mode, dynamic=False)
    if mode not in USES_CUDA_GRAPHS or device_type != "cuda":
        return compiled

    begin_step: Callable[[], None] = torch.compiler.cudagraph_mark_step_begin

    def call(samples: Any) -> Any:
        begin_step()  # graphs may reuse the memory of the last step's outputs
        return compiled(samples)

    return call


CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
TRITON_CACHE_VARIABLE = "TRITON_CACHE_DIR"


@contextmanager
def cold_caches(mode: Compile, scratch: str | None = None) -> Iterator[None]:
    """Inside, torch and Triton compile from scratch: their caches are empty folders.

    Otherwise they would reuse what earlier processes compiled and tuned: with a warm cache the reference CNN compiles
    in a tenth of the time. A cache folder that the user set in the environment is kept.
    """
    before = {name: os.environ.get(name) for name in (CACHE_VARIABLE, TRITON_CACHE_VARIABLE)}
    if mode == "off" or not _is_default(before[CACHE_VARIABLE]):
        yield
        return
    with TemporaryDirectory(prefix="gpubench-compile-", dir=scratch, ignore_cleanup_errors=True) as folder:
        os.environ[CACHE_VARIABLE] = folder
        if _is_default(before[TRITON_CACHE_VARIABLE]):
            os.environ[TRITON_CACHE_VARIABLE] = str(Path(folder, "triton"))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _is_default(folder: str | None) -> bool:
    """Whether the user left the folder alone: torch sets the variable when it is imported, and Triton's when it first
    compiles a kernel.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    return folder is None or Path(folder).is_relative_to(default_cache_dir())


def graphs_made() -> int:
    """Graphs that torch.compile has handed to its compiler in this process; 0 if it is switched off or all code opted
    out.
    """
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])


def compile_stats() -> CompileStats:
    """Reads torch's record of its last 64 compilations. A backward compiled later counts as time only."""
    from torch._dynamo import utils

    compile_s, num_graphs, recompilations = 0.0, 0, 0
    for metric in utils.get_compilation_metrics():
        if (duration_us := getattr(metric, "duration_us", None)) is not None:
            compile_s += duration_us * 1e-6
        if metric.compile_id is None or metric.entire_frame_compile_time_s is None:
            continue
        again = metric.compile_id.rpartition("/")[2].partition("_")[0] != "0"
        recompilations += again
        num_graphs += not again
    return CompileStats(compile_s, num_graphs, sum(utils.counters["graph_break"].values()), recompilations)


def no_compiler(device_type: str) -> str | None:
    """Why torch.compile cannot work here, or None. Inductor needs a C++ compiler on the CPU, Triton a C compiler."""
    tools = ("g++", "clang++", "c++") if device_type == "cpu" else ("gcc", "clang", "cc")
    if not any(shutil.which(tool) for tool in tools):
        return f"torch.compile needs a compiler and none of {', '.join(tools)} is on the PATH"
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        return f"torch.compile needs Python's headers, and {header} does not exist"
    if device_type == "cuda" and find_spec("triton") is None:
        return "torch.compile on CUDA needs the `triton` package, which this torch came without"
    return None

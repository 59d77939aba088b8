"""Finds nsys and ncu, asks once what they support, and builds their command lines."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpubench.core.errors import UsageError
from gpubench.protocol.profile_job import CAPTURE, DOMAIN

ToolName = Literal["nsys", "ncu"]

_VARIABLES: dict[ToolName, str] = {"nsys": "GPUBENCH_NSYS", "ncu": "GPUBENCH_NCU"}
_PRODUCTS: dict[ToolName, str] = {"nsys": "Nsight Systems", "ncu": "Nsight Compute"}
_FOLDERS: dict[ToolName, tuple[str, ...]] = {
    "nsys": (
        "/usr/local/cuda/bin",
        "/usr/local/cuda-*/bin",
        "/opt/nvidia/nsight-systems/*/bin",
        "/opt/nvidia/nsight-systems-cli/*/bin",
        "/opt/nvidia/nsight-systems/*/target-linux-*",
    ),
    "ncu": ("/usr/local/cuda/bin", "/usr/local/cuda-*/bin", "/opt/nvidia/nsight-compute/*"),
}
_NEEDED = ("--trace", "--sample", "--cpuctxsw", "--capture-range", "--capture-range-end", "--nvtx-capture", "--output")
_OPTION = re.compile(r"^\s*(?:\(\w+\)\s*)?(?:-\w,\s*)?(--[a-z][a-z0-9-]*)", re.MULTILINE)
_HELP_TIMEOUT_S = 60.0

_NCU_METRICS = (
    "gpu__time_duration.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "sm__inst_executed_pipe_tensor.sum",
    "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "launch__registers_per_thread",
)
NCU_LAUNCHES = 2000
"""Most kernels that ncu replays, each once per group of counters. A training step of ResNet-50 has some 600, and a step
cut short would lack its optimizer.
"""


C_LOCALE = {"LC_ALL": "C"}
"""Set for the tools, because other locales group digits and translate the messages read here."""


class ToolAbsentError(UsageError):
    """A requested profiler was not found, or lacks an option that is needed."""


@dataclass(frozen=True)
class Tool:
    name: ToolName
    path: Path


def find_tool(
    name: ToolName,
    given: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folders: Sequence[str] | None = None,
) -> Tool:
    """`--nsys`, then `$GPUBENCH_NSYS`, then PATH, then the folders of CUDA and Nsight, newest version first.

    If a place is named, only that place is tried. ToolAbsentError lists the places searched.
    """
    environ = os.environ if environ is None else environ
    variable = _VARIABLES[name]
    for label, path in ((f"--{name}", given), (f"${variable}", environ.get(variable))):
        if not path:
            continue
        candidate = Path(path).expanduser()
        if candidate.is_dir():
            candidate /= name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return Tool(name, candidate.absolute())
        raise ToolAbsentError(
            f"{label} names {path}, which is no program that can be run.",
            hint=f"Name {name} itself, or the folder that holds it.",
        )
    found = shutil.which(name, path=environ.get("PATH", ""))
    if found:
        return Tool(name, Path(found))
    homes = (f"{environ[home]}/bin" for home in ("CUDA_HOME", "CUDA_PATH") if environ.get(home))
    patterns = (*(_FOLDERS[name] if folders is None else folders), *homes)
    for pattern in patterns:
        root = Path(pattern).anchor
        matches = Path(root).glob(str(Path(pattern).relative_to(root)))
        for folder in sorted(matches, key=lambda each: list(map(int, re.findall(r"\d+", str(each)))), reverse=True):
            if os.access(folder / name, os.X_OK) and (folder / name).is_file():
                return Tool(name, folder / name)
    raise ToolAbsentError(
        f"{name} ({_PRODUCTS[name]}) was not found. Looked at --{name}, ${variable}, PATH, {', '.join(patterns)}.",
        hint=f"Install {_PRODUCTS[name]}, name it with --{name} PATH, or profile with `--tool torch`.",
    )


def probe_nsys(tool: Tool, environ: Mapping[str, str]) -> frozenset[str]:
    """Long options of this nsys, from `nsys profile --help`. ToolAbsentError if a needed one is missing."""
    try:
        done = subprocess.run(
            [str(tool.path), "profile", "--help"],
            capture_output=True,
            text=True,
            errors="replace",
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            timeout=_HELP_TIMEOUT_S,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolAbsentError(
            f"{tool.path} could not be asked for its options: {error}.", hint="Name another with --nsys PATH."
        ) from error
    text = done.stdout + done.stderr
    options = frozenset(_OPTION.findall(text))
    missing = [option for option in _NEEDED if option not in options]
    if missing:
        last = " ".join(text.split())[-200:] or "nothing"
        raise ToolAbsentError(
            f"{tool.path} is too old, or not Nsight Systems: `nsys profile --help` does not list {', '.join(missing)} "
            f"(it said: {last}).",
            hint="Install Nsight Systems 2023 or newer, or profile with `--tool torch`.",
        )
    return options


def nsys_command(
    tool: Tool, options: frozenset[str], output: Path, program: Sequence[str], *, cuda_graphs: bool = False
) -> list[str]:
    """`nsys profile` around `program`, collecting only while the range `capture` of domain `gpubench` is open.

    `output` is the report without its suffix. CPU sampling is always off, because it hangs older versions if the kernel
    forbids it.
    """
    wanted = [
        "--trace=cuda,nvtx",
        "--sample=none",
        "--cpuctxsw=none",
        "--capture-range=nvtx",
        f"--nvtx-capture={CAPTURE}@{DOMAIN}",
        "--capture-range-end=stop",
        *(["--cuda-graph-trace=node"] if cuda_graphs else []),
        "--kill=none",
        "--wait=primary",
        "--force-overwrite=true",
        f"--output={output}",
    ]
    return [str(tool.path), "profile", *(each for each in wanted if each.partition("=")[0] in options), *program]


def export_command(tool: Tool, report: Path, output: Path) -> list[str]:
    return [str(tool.path), "export", "--type", "sqlite", "--force-overwrite=true", f"--output={output}", str(report)]


def text_command(tool: Tool, report: Path, output: Path) -> list[str]:
    """Prints everything in an nsys report, including its list of processes."""
    return [str(tool.path), "export", "--type", "text", "--force-overwrite=true", f"--output={output}", str(report)]


def ncu_command(tool: Tool, output: Path, program: Sequence[str]) -> list[str]:
    """`ncu` around `program`, reading counters of kernels launched while `capture` is open. Clocks stay as they are."""
    return [
        str(tool.path),
        "--nvtx",
        "--nvtx-include",
        f"{DOMAIN}@{CAPTURE}",
        "--target-processes",
        "all",
        "--launch-count",
        str(NCU_LAUNCHES),
        "--clock-control",
        "none",
        "--metrics",
        ",".join(_NCU_METRICS),
        "-f",
        "-o",
        str(output),
        *program,
    ]


def ncu_csv_command(tool: Tool, report: Path) -> list[str]:
    """Prints the counters in a report as CSV, one row per kernel."""
    return [str(tool.path), "--import", str(report), "--csv", "--page", "raw", "--print-units", "base"]

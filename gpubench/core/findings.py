"""Findings: everything that spoils or explains a number.

A `FindingSpec` says once what a code means and what to do; a `Finding` is one occurrence with its numbers. Codes never
change their meaning once released.

    GB1xx run       worker, process and scheduling
    GB2xx measuring timing, warm-up, convergence
    GB3xx checks    settings, parity, accuracy, work done
    GB4xx machine   telemetry, power, clocks, other processes
    GB5xx profile   traces
    GB6xx judging   comparisons and gates
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field

from gpubench.core.extensions import FINDINGS_GROUP, Registry
from gpubench.core.stored_model import Frozen


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Effect(StrEnum):
    """What a finding does to the standing of the number it is attached to."""

    NONE = "none"
    WEAKENS = "weakens"
    INVALIDATES = "invalidates"


class Validity(StrEnum):
    """VALID may win a headline; SUSPECT is shown with its reason; INVALID is never ranked."""

    VALID = "valid"
    SUSPECT = "suspect"
    INVALID = "invalid"


class FindingSpec(NamedTuple):
    """The catalogue's entry of a code. `mark` is the few letters shown in a table's note column."""

    code: str
    name: str
    severity: Severity
    effect: Effect
    mark: str
    meaning: str
    remedy: str


class Finding(Frozen):
    """One occurrence. `message` says what was seen with its numbers, `hint` what to do about it here."""

    code: str
    severity: Severity
    effect: Effect
    message: str
    hint: str = ""
    data: dict[str, Any] = Field(default_factory=dict)


def validity(findings: Iterable[Finding]) -> Validity:
    """The validity of a figure with these findings."""
    effects = {finding.effect for finding in findings}
    if Effect.INVALIDATES in effects:
        return Validity.INVALID
    return Validity.SUSPECT if Effect.WEAKENS in effects else Validity.VALID


_INFO, _WARNING, _ERROR = Severity
_NONE, _WEAKENS, _INVALIDATES = Effect

_CATALOGUE = {
    # GB1xx: worker, process and scheduling.
    ("GB101", "no-fork", _INFO, _NONE, "fresh"): (
        "The case ran in a fresh process instead of one forked from a prepared host.",
        "Nothing to do: the figure is as good, the run just takes longer.",
    ),
    ("GB102", "teardown", _WARNING, _NONE, "teardown"): (
        "The measurement was complete, but the process did not exit cleanly afterwards (signal, hang or error status).",
        "Check the case's stderr in the run folder: a crash at exit often points to a broken driver or extension.",
    ),
    ("GB103", "worker-output", _INFO, _NONE, "output"): (
        "The workload wrote to stdout or stderr. The text is in the case's folder.",
        "Remove prints from the step: they take time.",
    ),
    ("GB104", "interrupted", _WARNING, _WEAKENS, "short"): (
        "Ctrl-C or the time budget ended the measurement early. The steps measured so far are kept.",
        "Use `--resume` to measure what is missing.",
    ),
    ("GB105", "budget", _INFO, _NONE, "budget"): (
        "The time budget ran out before all cases and repeats were measured.",
        "Raise `--budget`, or `--resume` the run.",
    ),
    ("GB106", "not-in-blocks", _INFO, _NONE, "launches"): (
        "The arms could not alternate in one process and were measured in separate launches.",
        "Nothing to do: the verdict is as good, but takes more rounds. The message says why.",
    ),
    ("GB107", "carry-over", _INFO, _NONE, "carry-over"): (
        "Sharing one process changed an arm's speed (the arm before it left something behind), so launches were used.",
        "Nothing to do: the affected blocks are not used. `--interleave launch` skips the attempt.",
    ),
    ("GB108", "instrumented", _WARNING, _WEAKENS, "instrumented"): (
        "A tracer, profiler or debugger was active during the measurement.",
        "Turn it off (coverage, tracemalloc, a debugger, anomaly detection): the message names it.",
    ),
    # GB2xx: timing, warm-up, convergence.
    ("GB201", "clock-mismatch", _ERROR, _INVALIDATES, "clock!"): (
        "The host's clock and the device's clock disagree about the length of the measured block.",
        (
            "Check for a broken driver or a virtual machine without a stable clock (`gpubench doctor`). Do not quote "
            "this figure."
        ),
    ),
    ("GB202", "not-steady", _WARNING, _WEAKENS, "drifts"): (
        "Step time was still drifting during the measured window.",
        "Measure longer (`measure.max_time`), or look for heating, throttling or a workload that grows.",
    ),
    ("GB203", "not-converged", _WARNING, _WEAKENS, "wide"): (
        "`max_time` ran out before the median was as precise as `target_rel_ci` asks.",
        "Raise `measure.max_time`, loosen `measure.target_rel_ci`, or quiet the machine.",
    ),
    ("GB204", "outliers", _INFO, _NONE, "outliers"): (
        "Some steps took much longer than the median. None was dropped.",
        "The median is hardly affected. If slow steps matter to you, look at p99 and sustained throughput.",
    ),
    ("GB205", "pre-empted", _WARNING, _WEAKENS, "pre-empted"): (
        "Other programs took CPU time from the measurement: the process had to wait for a core.",
        "Stop other programs, or pin the run to idle cores.",
    ),
    ("GB206", "few-launches", _WARNING, _WEAKENS, "n=1"): (
        "With fewer than two launches, the spread between processes is unknown, so there is no interval.",
        "Run with at least `--repeats 3`.",
    ),
    ("GB207", "grouped-steps", _INFO, _NONE, "grouped"): (
        "Steps shorter than 1 ms were timed in groups, so percentiles describe groups.",
        "Nothing to do, but quote the median rather than the tail.",
    ),
    ("GB208", "few-steps", _WARNING, _WEAKENS, "few steps"): (
        "Too few steps were measured to give the median an interval.",
        "Raise `measure.max_time`, or use a smaller batch.",
    ),
    ("GB209", "launch-bound", _INFO, _NONE, "launch-bound"): (
        "The device waited for the host to launch work. A faster GPU would not help much.",
        "Use CUDA graphs, `compile`, a fused optimizer, or a larger batch.",
    ),
    ("GB210", "input-bound", _INFO, _NONE, "input-bound"): (
        "Steps waited for input data.",
        "Use more loader workers, pinned memory, or data resident on the device.",
    ),
    ("GB211", "launches-differ", _INFO, _NONE, "launches differ"): (
        "Launches differ from each other far more than the steps within one launch.",
        "The interval already accounts for this. More `--repeats` make it narrower.",
    ),
    ("GB212", "two-levels", _INFO, _NONE, "two levels"): (
        "Launches of the case fall into two groups with nothing in between: processes have two modes.",
        "Both are real. Look for what differs between processes: memory layout, algorithms, the CPU they ran on.",
    ),
    ("GB213", "page-faults", _INFO, _NONE, "page faults"): (
        "Each step gives memory back to the system and fetches it anew, which takes CPU time.",
        (
            "Freed memory is kept, unless the environment has variables for the allocator (`MALLOC_*`, "
            "`GLIBC_TUNABLES`): unset them. Otherwise reuse large buffers across steps."
        ),
    ),
    ("GB214", "straggler", _WARNING, _NONE, "straggler"): (
        "One rank takes longer for its own part of a step than the others, which wait for it.",
        "Measure its device alone (`-s world_size=1 -s device=cuda:N`), and look at its clocks, temperature and link.",
    ),
    ("GB215", "above-ceiling", _WARNING, _NONE, "above peak"): (
        "The case did more FLOP/s than its device's measured ceiling: the ceiling is too low, or FLOPs are miscounted.",
        "Measure the ceilings again (`gpubench run roofline`), then check the case's `flops_per_sample`.",
    ),
    ("GB216", "slow-clock", _ERROR, _INVALIDATES, "clock!"): (
        "The worker's clock runs slower than the clock of the process that started it.",
        "Check for a library that replaces the clock (libfaketime), and whether the workload changes how time is read.",
    ),
    ("GB217", "above-memory-roof", _WARNING, _NONE, "above roof"): (
        "More bytes/s passed through memory than the measured ceilings allow, though no operators are fused.",
        "Measure the ceilings again (`gpubench run roofline`), then check the case's `bytes_per_sample`.",
    ),
    ("GB218", "fewer-threads", _INFO, _NONE, "fewer threads"): (
        "A training run had fewer threads than asked for (busy CPU): its scores stand, its times do not.",
        "Stop other programs, or ask for that many threads (`cpu_threads`).",
    ),
    # GB3xx: settings, parity, accuracy, work done.
    ("GB301", "settings-mismatch", _ERROR, _INVALIDATES, "settings!"): (
        "A setting did not take effect: what was read back is not what was asked for.",
        "An environment variable, the workload or an old torch overrides it. The message names the setting.",
    ),
    ("GB302", "not-finite", _ERROR, _INVALIDATES, "NaN"): (
        "The loss or the output was NaN or infinite during the measured steps.",
        "Lower the learning rate, or use a precision with more range.",
    ),
    ("GB303", "parameters-unmoved", _ERROR, _INVALIDATES, "no update"): (
        "Training steps did not change the parameters, so nothing was trained.",
        "Check that the optimizer has the model's parameters and that the scaler does not skip every step.",
    ),
    ("GB304", "scaler-skips", _WARNING, _INVALIDATES, "skips"): (
        "GradScaler skipped more than 1 % of the timed optimizer steps.",
        "Skipped steps make a case look too fast. Measure longer so that the scale settles, or start at a lower scale.",
    ),
    ("GB305", "parity-failed", _ERROR, _INVALIDATES, "parity!"): (
        "The output on a fixed batch is further from the fp64 reference than this precision can explain.",
        "Check the effective settings: a kernel, a layout or the compiled graph computes something else.",
    ),
    ("GB306", "unverified", _INFO, _NONE, "unverified"): (
        "The workload has no reference output, so its correctness was not checked.",
        "Add a `parity` method to the workload to verify precision and layout.",
    ),
    ("GB307", "accuracy-drop", _WARNING, _WEAKENS, "accuracy"): (
        "Training at this precision lost more of its test score than the suite allows.",
        "Do not train at this precision, or tune its learning rate and loss scale.",
    ),
    ("GB308", "work-differs", _ERROR, _INVALIDATES, "work!"): (
        "The case did a different amount of work than its reference (samples, shapes or FLOPs).",
        "Check the workload: figures for different amounts of work cannot be compared.",
    ),
    ("GB309", "recompiled", _WARNING, _WEAKENS, "recompiled"): (
        "torch.compile compiled again during the measured steps.",
        "Make shapes static, or warm up every shape before measuring.",
    ),
    ("GB310", "graph-breaks", _INFO, _NONE, "graph breaks"): (
        "torch.compile split the model into more than one graph.",
        "Set `TORCH_LOGS=graph_breaks` to see which lines break the graph.",
    ),
    ("GB311", "not-seen", _INFO, _NONE, "not seen"): (
        "The watched steps did not show whether a setting took effect.",
        "Let the workload report it: `compute_dtype` in `probe()` for the precision, or `samples_per_step(case)`.",
    ),
    ("GB312", "partial-batches", _WARNING, _WEAKENS, "partial"): (
        "Some batches of the DataLoader were not full. Throughput counts the samples they held.",
        "Pass `drop_last=True` to the DataLoader: full and partial batches do not take the same time.",
    ),
    ("GB313", "ranks-differ", _ERROR, _INVALIDATES, "ranks!"): (
        "Several ranks together computed a different loss or gradient from one process on the same batch.",
        "Look at what the model keeps between steps or draws at random, and at hooks on its parameters.",
    ),
    ("GB314", "flops-of-one-batch", _INFO, _NONE, "one batch"): (
        "The model reads values while it runs, so its FLOPs depend on the data. They were counted on one batch.",
        "Do not compare FLOPs per sample of such a model between data sets.",
    ),
    ("GB315", "work-goes-on", _ERROR, _INVALIDATES, "goes on!"): (
        "Threads or processes of the case kept running long after its last step, so steps did not wait for their work.",
        "Wait inside the step for what it starts (`join`, `result()`), or end what does not belong to it.",
    ),
    ("GB316", "steps-changed", _ERROR, _INVALIDATES, "changed!"): (
        "Unwatched steps after the measured ones did less work than the watched steps before them.",
        "Let every step do the same work, whether or not anything watches it.",
    ),
    ("GB317", "output-differs", _ERROR, _INVALIDATES, "output!"): (
        "Outputs of measured steps are not what the model computes for their inputs.",
        "Look for results that are kept between steps, for batches that are cut, and for inputs recognised by address.",
    ),
    ("GB318", "faster-than-physics", _ERROR, _INVALIDATES, "too fast!"): (
        "The case claims more arithmetic per second than any device of this size can do.",
        "Check `flops_per_sample` and `samples_per_step`, and that steps compute what they return.",
    ),
    ("GB319", "functions-replaced", _ERROR, _INVALIDATES, "replaced!"): (
        "Functions that the measurement relies on (clocks, waits, gpubench's own) were replaced while the case ran.",
        "Leave them alone: the message names them. A library that patches torch or `time` must not do so here.",
    ),
    ("GB320", "compiles-itself", _INFO, _NONE, "compiles itself"): (
        "The workload used torch.compile by itself, although the case says `compile: off`.",
        "To compare the model with and without torch.compile, pass it uncompiled and set `compile`.",
    ),
    # GB4xx: telemetry, power, clocks, other processes. Effects are on the case's figures. A finding on energy alone
    # leaves throughput alone: the record's telemetry marks it (`energy_valid` false, with the reason), and gates on
    # energy leave such figures out.
    ("GB401", "telemetry-unavailable", _INFO, _NONE, "no telemetry"): (
        "Power, clocks and temperature could not be read.",
        "Install the NVIDIA driver and nvidia-ml-py, or run with access to the device.",
    ),
    ("GB402", "power-capped", _INFO, _NONE, "power cap"): (
        "The card reached its power limit and lowered its clocks. This is normal under heavy load.",
        "Quote the power limit with the figure, and compare only with runs at the same limit.",
    ),
    ("GB403", "throttled", _WARNING, _WEAKENS, "throttled"): (
        "The driver lowered the clocks because of heat, or to match another card (sync boost).",
        "Improve cooling, let the card cool down between runs, or lock the clocks below the point where it throttles.",
    ),
    ("GB404", "hardware-slowdown", _ERROR, _INVALIDATES, "hw slowdown"): (
        "The hardware cut the clocks in an emergency (critical heat, or the board's power brake).",
        (
            "Check cooling, power cables and power supply; `nvidia-smi -q -d PERFORMANCE` shows the reason. Do not "
            "quote this figure."
        ),
    ),
    ("GB405", "clocks-not-locked", _INFO, _NONE, "clocks free"): (
        "The SM clock changed during the window, because it is not locked.",
        "Nothing to do for throughput. For the steadiest comparisons, lock it (`nvidia-smi -lgc MHZ`, as root).",
    ),
    ("GB406", "clock-drift", _WARNING, _WEAKENS, "clock drift"): (
        "The SM clock changed by more than 2 % between the start and the end of the window.",
        "Warm the card up for longer, or lock its clocks. Steps in this window ran at different speeds.",
    ),
    ("GB407", "other-process", _WARNING, _WEAKENS, "shared GPU"): (
        "Another process had a compute context on this GPU while the case ran.",
        "Stop it, or choose another GPU with CUDA_VISIBLE_DEVICES.",
    ),
    ("GB408", "power-limit-lowered", _WARNING, _NONE, "low limit"): (
        "The power limit is below this card's default. Figures hold for this limit, not for the card.",
        "Restore it (`nvidia-smi -pl WATTS`, as root), or quote the limit with the figure.",
    ),
    ("GB409", "power-limit-changed", _WARNING, _WEAKENS, "limit moved"): (
        "The power limit changed while the case ran.",
        "Find out what changes it (a job prologue, a power manager) and measure again.",
    ),
    ("GB410", "energy-window-short", _INFO, _NONE, "short J"): (
        "The measured window is too short for a valid energy figure on this card.",
        "Raise `measure.min_window` (or `measure.min_time`). The value is kept, but gates ignore it.",
    ),
    ("GB411", "energy-disagrees", _WARNING, _NONE, "J suspect"): (
        "Two ways of measuring the same energy disagree by more than 3 %.",
        "Do not quote this energy figure. `gpubench doctor` checks whether the card's counter can be trusted.",
    ),
    ("GB412", "counter-reset", _WARNING, _NONE, "J reset"): (
        "An energy counter went backwards during the window. Energy comes from power readings instead, or is absent.",
        "A suspend, a driver reload or a GPU reset can cause this. Find out which, and measure again.",
    ),
    ("GB413", "gpu-lost", _ERROR, _INVALIDATES, "GPU lost"): (
        "The driver lost the GPU while the case ran.",
        "Check `dmesg` for Xid messages (79: fell off the bus), power and seating. Most cases need a power cycle.",
    ),
    ("GB414", "power-aliasing", _WARNING, _NONE, "J aliased"): (
        "Energy comes from a power sensor that samples only part of the time. With a periodic load it can be far off.",
        "Do not quote this energy figure. Cards with an energy counter (Volta and newer) do not have this problem.",
    ),
    ("GB415", "device-unmatched", _WARNING, _NONE, "which GPU?"): (
        "It is not certain which card CUDA uses, so no telemetry was read.",
        "Check CUDA_VISIBLE_DEVICES and, in a container, the driver's libraries; `gpubench doctor` lists the cards.",
    ),
    ("GB416", "parent-shared", _INFO, _NONE, "MIG"): (
        "The case ran on a MIG slice, but power, energy and clocks are for the whole card.",
        "Throughput is for the slice. Do not compare energy.",
    ),
    ("GB417", "readings-missing", _INFO, _NONE, "gaps"): (
        "Some telemetry readings are missing, because calls to the driver failed or were slow.",
        "`gpubench show RUN:CASE` lists what is missing. The usual cause is a busy or faulty driver.",
    ),
    ("GB418", "ecc-errors", _ERROR, _WEAKENS, "ECC"): (
        "The card reported uncorrected memory errors while the case ran.",
        "Check the card (`nvidia-smi -q -d ECC,ROW_REMAPPER`), reset it, and measure again.",
    ),
    ("GB419", "module-counter", _INFO, _NONE, "module J"): (
        "The card shares a module with a CPU (a superchip), and its energy counter may cover the whole module.",
        "Energy comes from the GPU's power readings if there are any. `gpubench show RUN:CASE` names the scope.",
    ),
    # GB5xx: traces. None of them touches a measured figure: a profile explains numbers, it never makes one.
    ("GB501", "no-device-work", _WARNING, _NONE, "no GPU rows"): (
        "The program called CUDA, but the trace has no GPU work.",
        (
            "The profiler could not collect it: check that it is not older than the driver, that no other tool traces "
            "the same process, and that the container may use the GPU's counters."
        ),
    ),
    ("GB502", "perturbed", _WARNING, _NONE, "perturbed"): (
        "A profiled step takes more than 1.15 times as long as a measured one.",
        "Trust counts and shares of GPU time, but not host times or gaps.",
    ),
    ("GB503", "unattributed", _INFO, _NONE, "unattributed"): (
        "More than 1 % of the GPU time was launched outside any phase.",
        "The phase figures leave it out. It was launched by code between the phases of a step.",
    ),
    ("GB504", "pageable-copies", _WARNING, _NONE, "pageable"): (
        "Data was copied to or from pageable host memory, which is slower than pinned memory and makes the host wait.",
        "Pin the memory (`data_path: pinned`, or DataLoader's `pin_memory=True`) and copy with `non_blocking=True`.",
    ),
    ("GB505", "gpu-waits-for-launches", _INFO, _NONE, "launch-bound"): (
        "The GPU was idle because the host had not launched its next work yet.",
        "Launch less often or more cheaply: CUDA graphs (`cuda_graph`), `compile`, a fused optimizer, a larger batch.",
    ),
    ("GB506", "gpu-waits-for-input", _INFO, _NONE, "input-bound"): (
        "The GPU was idle while the host fetched the next batch.",
        "Use more loader workers, pinned memory, or data resident on the device.",
    ),
    ("GB507", "no-steps", _INFO, _NONE, "no steps"): (
        "The trace has no ranges that mark steps, so there are no figures per step or phase.",
        "Name the range of a step with `--step NAME`, or profile with `gpubench profile SUITE`.",
    ),
    ("GB508", "opaque-graphs", _INFO, _NONE, "graphs"): (
        "CUDA graphs were traced as a whole: the kernels inside are not counted.",
        "Trace their nodes: nsys profile --cuda-graph-trace=node.",
    ),
    ("GB509", "no-tensor-cores", _WARNING, _NONE, "no tensor cores"): (
        "Convolutions and matrix products took much of the GPU time, but tensor-core kernels took hardly any of it.",
        (
            "Check that the precision took effect, that channels and sizes are multiples of 8, and that the layout is "
            "channels_last."
        ),
    ),
    ("GB510", "layout-conversions", _WARNING, _NONE, "layout"): (
        "Kernels that only convert memory layouts took more than 5 % of the kernel time.",
        "Keep model and images in one layout: `memory_format: channels_last` for convolutions on tensor cores.",
    ),
    ("GB511", "steps-differ", _WARNING, _NONE, "steps"): (
        "The trace has a different number of steps than asked for.",
        "The capture was cut short or began late; see the log next to the trace.",
    ),
    ("GB512", "unlinked-work", _INFO, _NONE, "unlinked"): (
        "Device work whose launch is not in the trace cannot be assigned to a phase.",
        "It was launched before the capture began, or by a process that was not traced.",
    ),
    ("GB513", "several-processes", _INFO, _NONE, "several processes"): (
        "Several processes in the trace have steps; the figures describe one process per device.",
        "To see another one: `gpubench profile read FILE --process PID`.",
    ),
    ("GB514", "rows-left-out", _WARNING, _NONE, "rows left out"): (
        "The trace has rows that were not understood; no figure includes them.",
        "If they are GPU work, shares and idle time are wrong: capture again, with another version of the profiler.",
    ),
    ("GB515", "work-missing", _WARNING, _NONE, "work missing"): (
        "More than 1 % of the launches have no GPU work in the trace, so what looks idle may be work that was lost.",
        "Capture fewer steps, or start the capture earlier; do not trust the idle time.",
    ),
    ("GB516", "trace-doubtful", _WARNING, _NONE, "doubtful"): (
        "The profiler stored a warning or an error in the trace, or its rows are ambiguous.",
        "If records were lost, the figures lack them: capture fewer steps.",
    ),
    ("GB517", "steps-cut-off", _INFO, _NONE, "steps cut off"): (
        "The capture ended inside a step, so the step does not count.",
        "Nothing to do if there are others: figures per step are those of whole steps.",
    ),
    ("GB518", "copies-are-the-limit", _INFO, _NONE, "copy-bound"): (
        "Copies with no kernel running took more time than kernels did.",
        "Copy less, keep data and weights on the device, or copy from pinned memory on another stream, under kernels.",
    ),
    ("GB519", "empty-capture", _WARNING, _NONE, "empty capture"): (
        "The capture is empty: it holds no range, no CUDA call and no GPU work.",
        "It missed the program's work: check its range, and for child processes add `--trace-fork-before-exec=true`.",
    ),
    ("GB520", "shared-gpu", _INFO, _NONE, "shared GPU"): (
        "Other processes worked on the GPU during the steps; busy and idle time cover all of them.",
        "To see another one: `gpubench profile read FILE --process PID`. For one alone, run nothing else on the GPU.",
    ),
    # GB6xx: judging.
    ("GB601", "contest-differs", _WARNING, _NONE, "contest differs"): (
        "Taking turns in one process, two cases compare differently than their launches do, beyond both intervals.",
        "Believe the contest for which is faster, the launches for how fast. The message says what was different.",
    ),
    ("GB602", "twins-differ", _WARNING, _NONE, "twins differ"): (
        "In a contest, two copies of one case differ: the machine's own error is larger than the intervals say.",
        "Quiet the machine, or give the contest more time (`-s contest.budget=5m`); doubt ratios of that size.",
    ),
}
"""Code, name, severity, effect and mark of each, with its meaning and its remedy."""

UNFIT = frozenset({"GB401", "GB403", "GB404", "GB406", "GB407", "GB408", "GB409", "GB413", "GB415", "GB418"})
"""Codes that make a machine unfit under `--strict` (exit 4): the GPU is not in the state a user expects to measure, or
its state could not be checked.
"""


def unfit(codes: Iterable[str]) -> tuple[str, ...]:
    """Those of `codes` that `--strict` refuses, in order."""
    return tuple(sorted(UNFIT.intersection(codes)))


def _problem(spec: FindingSpec) -> str | None:
    if spec.code.startswith("GB"):
        return f"{spec.code}: codes that begin with GB are gpubench's own"
    named = re.fullmatch(r"[A-Z]{2,8}\d{3}", spec.code)
    return None if named else f"{spec.code!r} is not a code: use two to eight capitals and three digits"


_BUILT_IN = {head[0]: FindingSpec(*head, *text) for head, text in _CATALOGUE.items()}
FINDINGS = Registry(FINDINGS_GROUP, FindingSpec, _BUILT_IN, lambda spec: spec.code, _problem)
"""Every finding by code, those of other packages last."""


def finding(code: str, message: str, *, hint: str | None = None, **data: Any) -> Finding:
    """An occurrence of `code`, with its numbers in `data`. KeyError for an unknown code."""
    spec = FINDINGS[code]
    hint = spec.remedy if hint is None else hint
    return Finding(code=code, severity=spec.severity, effect=spec.effect, message=message, hint=hint, data=data)

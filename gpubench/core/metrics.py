"""The metric registry: one entry drives validation, tables, comparisons and the documentation."""

import re
from typing import Literal, NamedTuple

from gpubench.core.extensions import METRICS_GROUP, Registry

Better = Literal["higher", "lower"]
Scale = Literal["ratio", "difference"]
Summarise = Literal["geometric", "mean", "max", "median"]


SESOI = 0.03
"""Default smallest effect of interest, as a relative change."""


class MetricSpec(NamedTuple):
    """A measured quantity.

    `summarise` says how launches become one figure: `geometric` (mean of logs, for times and rates), `mean`, `max` or
    `median`. `scale` says how two figures are compared: by their ratio, or by their difference (accuracies, shares).
    `tolerance`: a smaller change (relative, for differences absolute) is not reported even when it is certain.
    `display_unit` and `display_factor` turn the stored SI value into the printed one.
    """

    name: str
    unit: str
    title: str
    better: Better | None
    meaning: str
    summarise: Summarise = "geometric"
    scale: Scale = "ratio"
    tolerance: float = 0.0
    display_unit: str | None = None
    display_factor: float = 1.0
    group: str = "time"

    def never_worse_by(self, limit: float) -> bool:
        """Whether no figure can break this limit: a metric that should be high falls by 100 % at most."""
        return self.scale == "ratio" and self.better == "higher" and limit >= 1


def _time(name: str, title: str, meaning: str) -> MetricSpec:
    return MetricSpec(name, "s", title, "lower", meaning, display_unit="ms", display_factor=1e3)


def _memory(name: str, title: str, meaning: str, tolerance: float = 0.001) -> MetricSpec:
    return MetricSpec(name, "bytes", title, "lower", meaning, "max", "ratio", tolerance, "GiB", 2.0**-30, "memory")


def _cold(name: str, title: str, meaning: str) -> MetricSpec:
    return MetricSpec(name, "s", title, "lower", meaning, summarise="median", group="cold")


def _share(
    name: str, title: str, better: Better | None, meaning: str, *, tolerance: float = 0.0, group: str = "time"
) -> MetricSpec:
    return MetricSpec(name, "1", title, better, meaning, "mean", "difference", tolerance, "%", 100.0, group)


def _count(name: str, title: str, meaning: str, summarise: Summarise, group: str) -> MetricSpec:
    """The fewer the better, down to none: counts are compared by their difference."""
    return MetricSpec(name, "1", title, "lower", meaning, summarise, "difference", group=group)


def _energy(
    name: str, unit: str, title: str, better: Better, meaning: str, *, summarise: Summarise = "geometric"
) -> MetricSpec:
    return MetricSpec(name, unit, title, better, meaning, summarise, group="energy")


def _bandwidth(name: str, meaning: str) -> MetricSpec:
    title = f"{name} GB/s"
    return MetricSpec(name, "B/s", title, "higher", meaning, display_unit="GB/s", display_factor=1e-9, group="ranks")


_SPECS = (
    _time("step_time_s", "step ms", "Median over the steady steps of boundary-to-boundary step time."),
    MetricSpec("throughput", "samples/s", "samples/s", "higher", "Samples per step over median step time."),
    MetricSpec(
        "sustained_throughput",
        "samples/s",
        "sustained samples/s",
        "higher",
        "Samples of all steady steps over their total time; includes rare slow steps.",
    ),
    MetricSpec(
        "token_throughput",
        "tokens/s",
        "tokens/s",
        "higher",
        "Non-padding tokens per step over median step time.",
    ),
    MetricSpec("audio_throughput", "s/s", "audio s/s", "higher", "Seconds of audio per step, over median step time."),
    _share("padding_share", "padding", "lower", "Share of a batch's elements that are padding.", tolerance=0.01),
    _time("latency_s", "latency ms", "Median time of one synchronised request (latency timing only)."),
    _time("step_time_p50_s", "p50 ms", "Median of step time within launches."),
    _time("step_time_p90_s", "p90 ms", "90th percentile of step time; needs an effective sample of 29."),
    _time("step_time_p95_s", "p95 ms", "95th percentile of step time; needs an effective sample of 59."),
    _time("step_time_p99_s", "p99 ms", "99th percentile of step time; needs an effective sample of 299."),
    _time("latency_p50_s", "latency p50 ms", "Median of request latency."),
    _time("latency_p90_s", "latency p90 ms", "90th percentile of request latency."),
    _time("latency_p95_s", "latency p95 ms", "95th percentile of request latency."),
    _time("latency_p99_s", "latency p99 ms", "99th percentile of request latency."),
    _time("latency_floor_s", "floor ms", "Latency of an empty request: the synchronisation itself."),
    _time("host_enqueue_s", "enqueue ms", "Median time the host needed to launch the work of one step."),
    _time("input_wait_s", "input ms", "Median time a step waited for its input data."),
    _share("input_wait_share", "input wait", "lower", "Share of step time spent waiting for input.", tolerance=0.01),
    _share(
        "device_idle_share",
        "idle",
        "lower",
        "Share of the measured window in which the device had no work.",
        tolerance=0.01,
    ),
    _share("cpu_time_share", "CPU/wall %", None, "CPU time of the process over wall time of the steps."),
    _memory(
        "peak_memory_allocated_bytes",
        "mem GiB",
        "Peak of live tensor memory (torch allocator) in warm-up and steady steps.",
    ),
    _memory("peak_memory_reserved_bytes", "reserved GiB", "Peak of memory the torch allocator took from the driver."),
    MetricSpec(
        "model_bytes",
        "bytes",
        "model MiB",
        "lower",
        "Bytes of the model's parameters and buffers as they are held: compressed ones at their compressed size.",
        summarise="max",
        tolerance=0.001,
        display_unit="MiB",
        display_factor=2.0**-20,
        group="memory",
    ),
    _memory("process_memory_bytes", "process GiB", "Device memory held by the process as the driver reports it.", 0.01),
    _memory("device_memory_used_bytes", "device GiB", "Device memory in use by every process.", 0.01),
    _memory(
        "peak_rss_bytes",
        "RSS GiB",
        "Peak resident set of the worker above its baseline before the workload was built.",
        0.05,
    ),
    _count(
        "allocator_retries",
        "retries",
        "Times the torch allocator flushed its cache to satisfy a request.",
        "max",
        "memory",
    ),
    MetricSpec(
        "largest_batch",
        "1",
        "largest batch",
        "higher",
        "Largest batch whose real step fits into memory, leaving headroom.",
        summarise="median",
        group="memory",
    ),
    MetricSpec(
        "memory_per_sample_bytes",
        "bytes",
        "MiB/sample",
        "lower",
        "Slope of peak memory against batch, over the tried batches.",
        summarise="median",
        display_unit="MiB",
        display_factor=2.0**-20,
        group="memory",
    ),
    MetricSpec(
        "memory_fixed_bytes",
        "bytes",
        "fixed GiB",
        "lower",
        "Peak memory at batch 0 by the same line: what does not grow.",
        summarise="median",
        display_unit="GiB",
        display_factor=2.0**-30,
        group="memory",
    ),
    _cold("cuda_context_s", "CUDA context s", "Time to create the CUDA context."),
    _cold("build_s", "build s", "Time to build model, optimizer and data."),
    _cold("first_step_s", "first step s", "Time of the first step."),
    _cold("compile_s", "compile s", "Time torch.compile spent before the first compiled step was over."),
    _cold("time_to_steady_s", "to steady s", "Time from the first step to the first steady step."),
    _count("warmup_steps", "warm-up steps", "Steps before the series was steady.", "median", "cold"),
    _count("graph_breaks", "graph breaks", "Graph breaks of torch.compile.", "max", "cold"),
    _count("recompilations", "recompilations", "Compilations after the first one.", "max", "cold"),
    MetricSpec(
        "flops_per_sample",
        "FLOP",
        "GFLOP/sample",
        None,
        "Floating-point operations per sample as FlopCounterMode counts.",
        summarise="median",
        display_unit="GFLOP",
        display_factor=1e-9,
        group="efficiency",
    ),
    MetricSpec(
        "achieved_flops",
        "FLOP/s",
        "TFLOP/s",
        "higher",
        "FLOPs per step over median step time.",
        display_unit="TFLOP/s",
        display_factor=1e-12,
        group="efficiency",
    ),
    MetricSpec(
        "burst_flops",
        "FLOP/s",
        "burst TFLOP/s",
        None,
        "FLOP/s of the fastest 10 ms after a rest of a second, before the power limit lowers the clocks; measured for "
        "products and convolutions alone.",
        display_unit="TFLOP/s",
        display_factor=1e-12,
        group="efficiency",
    ),
    _share(
        "mfu",
        "MFU",
        "higher",
        "Achieved FLOP/s over the peak measured on this device at this precision.",
        tolerance=0.01,
        group="efficiency",
    ),
    MetricSpec(
        "bytes_per_sample",
        "B",
        "MB/sample",
        None,
        "Bytes that the operators of one sample read and write, none fused and nothing left in a cache.",
        summarise="median",
        display_unit="MB",
        display_factor=1e-06,
        group="efficiency",
    ),
    _share(
        "bytes_read_share",
        "read",
        None,
        "Share of `bytes_per_sample` that operators read; they write the rest.",
        group="efficiency",
    ),
    MetricSpec(
        "streamed_bytes_per_sample",
        "B",
        "MB/sample streamed",
        None,
        "Fewest bytes of a sample that must pass through memory if no operators are fused: what each of them reads and "
        "writes beyond what the last cache holds.",
        summarise="median",
        display_unit="MB",
        display_factor=1e-06,
        group="efficiency",
    ),
    MetricSpec(
        "operators_per_step",
        "1",
        "operators",
        None,
        "Operators that do work in a step's forward and backward, each at least one launch; not the optimizer's.",
        summarise="median",
        scale="difference",
        group="efficiency",
    ),
    MetricSpec(
        "achieved_bandwidth",
        "B/s",
        "GB/s",
        "higher",
        "Bytes per step over median step time.",
        display_unit="GB/s",
        display_factor=1e-9,
        group="efficiency",
    ),
    _bandwidth("algbw", "Bytes of a collective's message over its time, as nccl-tests defines it."),
    _bandwidth(
        "busbw",
        "algbw times what a link carries per byte of the message, as nccl-tests defines it: all_reduce 2(n-1)/n, "
        "all_gather, reduce_scatter and all_to_all (n-1)/n, broadcast and send_recv 1.",
    ),
    _share(
        "scaling_efficiency",
        "efficiency %",
        "higher",
        "Samples/s of all ranks over the number of ranks times that of one process, in the same rounds.",
        tolerance=0.01,
        group="ranks",
    ),
    _time(
        "own_time_s", "own ms", "Longest time over ranks from a step's start until a rank's last gradients are ready."
    ),
    _time(
        "exposed_communication_s",
        "exposed ms",
        "Time from a rank's last gradients until those of all ranks are summed, on the rank that waits least.",
    ),
    _share(
        "communication_share",
        "comm %",
        "lower",
        "Share of a step in which gradients are exchanged, hidden or not, on the rank that waits least.",
        tolerance=0.01,
        group="ranks",
    ),
    _share(
        "rank_skew",
        "skew %",
        "lower",
        "How much longer the slowest rank's own time is than the median of the others.",
        tolerance=0.01,
        group="ranks",
    ),
    _count(
        "scaler_skipped_steps",
        "skipped",
        "Optimizer steps that GradScaler skipped in the timed steps.",
        "max",
        "checks",
    ),
    MetricSpec(
        "parity_logits_rel_error",
        "1",
        "logits error",
        "lower",
        "Relative L2 error of the logits against fp64.",
        summarise="max",
        group="checks",
    ),
    MetricSpec(
        "parity_loss_rel_error",
        "1",
        "loss error",
        "lower",
        "Relative error of the loss against fp64.",
        summarise="max",
        group="checks",
    ),
    MetricSpec(
        "parity_gradient_rel_error",
        "1",
        "gradient error",
        "lower",
        "Relative L2 error of the gradient against fp64.",
        summarise="max",
        group="checks",
    ),
    *(
        MetricSpec(
            f"ranks_{what}_rel_error",
            "1",
            f"ranks' {what} error",
            "lower",
            f"Relative L2 error of the {what} of all ranks together against one process on the same batch.",
            summarise="max",
            group="checks",
        )
        for what in ("loss", "gradient")
    ),
    _share("accuracy", "accuracy", "higher", "Share of the test split classified correctly.", group="quality"),
    _share(
        "precision_macro",
        "precision",
        "higher",
        "Precision on the test split, macro average over classes.",
        group="quality",
    ),
    _share(
        "recall_macro", "recall", "higher", "Recall on the test split, macro average over classes.", group="quality"
    ),
    *(
        _share(name, title, "higher", meaning, group="quality")._replace(display_unit="points")
        for name, title, meaning in (
            ("bleu", "BLEU", "BLEU of the test split's translations (sacrebleu)."),
            ("chrf", "chrF", "chrF of the test split's translations (sacrebleu)."),
        )
    ),
    *(
        _share(name, title, "lower" if name in ("wer", "cer", "eer") else "higher", meaning, group="quality")
        for name, title, meaning in (
            ("wer", "WER", "Word error rate on the test split: words to insert, delete or replace over words said."),
            ("cer", "CER", "Character error rate on the test split."),
            ("map", "mAP", "Mean average precision on the test split, over IoU 0.5 to 0.95 as COCO defines it."),
            ("map50", "mAP50", "Mean average precision on the test split at IoU 0.5."),
            ("miou", "mIoU", "Mean over classes of intersection over union, on the test split."),
            ("noisy_accuracy", "accuracy at 5 dB", "Accuracy on the test split in noise 5 dB below the speech."),
            ("eer", "EER", "Equal error rate of verification on the test split."),
        )
    ),
    MetricSpec(
        "final_loss",
        "1",
        "final loss",
        "lower",
        "Mean training loss of the last epoch.",
        summarise="mean",
        group="quality",
    ),
    MetricSpec(
        "time_to_accuracy_s",
        "s",
        "to target s",
        "lower",
        "Training time until the target score was first reached.",
        group="quality",
    ),
    MetricSpec(
        "steps_to_accuracy",
        "1",
        "steps to target",
        "lower",
        "Optimizer steps until the target score was first reached.",
        summarise="mean",
        group="quality",
    ),
    MetricSpec(
        "energy_to_accuracy_j",
        "J",
        "to target J",
        "lower",
        "Energy of training until the target score was first reached, validation between epochs included.",
        group="quality",
    ),
    _energy("energy_j", "J", "energy J", "lower", "Energy of the measured window."),
    _energy("energy_per_sample_j", "J/sample", "J/sample", "lower", "Energy of the measured window over its samples."),
    _energy("samples_per_j", "samples/J", "samples/J", "higher", "Samples of the measured window over its energy."),
    MetricSpec(
        "money_per_sample",
        "money/sample",
        "money/M",
        None,
        "The price of the machine's time while it processes a million samples, in the currency of `--price`.",
        display_factor=1e6,
        group="money",
    ),
    MetricSpec(
        "samples_per_money",
        "samples/money",
        "M per money",
        None,
        "Millions of samples for one unit of money: throughput over the machine's price (`--price`).",
        display_factor=1e-6,
        group="money",
    ),
    _energy(
        "energy_above_idle_j", "J", "above idle J", "lower", "Energy of the window less idle power times its length."
    ),
    _energy("mean_power_w", "W", "W", "lower", "Energy of the window over its length."),
    _energy("peak_power_w", "W", "peak W", "lower", "Highest power reading in the window.", summarise="max"),
    _energy("cpu_energy_j", "J", "CPU J", "lower", "CPU package energy of the window (RAPL)."),
    MetricSpec("sm_clock_mhz", "MHz", "SM MHz", None, "Mean SM clock in the window.", summarise="mean", group="state"),
    MetricSpec(
        "burst_sm_clock_mhz",
        "MHz",
        "burst SM MHz",
        None,
        "Highest SM clock read during the burst.",
        summarise="mean",
        group="state",
    ),
    MetricSpec(
        "burst_power_w", "W", "burst W", None, "Highest power read during the burst.", summarise="mean", group="state"
    ),
    MetricSpec(
        "memory_clock_mhz",
        "MHz",
        "memory MHz",
        None,
        "Mean memory clock in the window.",
        summarise="mean",
        group="state",
    ),
    MetricSpec(
        "temperature_c",
        "C",
        "temp C",
        None,
        "Highest GPU temperature in the window.",
        summarise="max",
        scale="difference",
        group="state",
    ),
    _share(
        "throttle_share",
        "throttled",
        "lower",
        "Share of the window in which clocks were throttled.",
        tolerance=0.01,
        group="state",
    ),
    _share("utilization", "utilization", None, "NVML's share of time in which a kernel ran; not MFU.", group="state"),
    *(
        _share(f"{part}_activity", f"{title} active", None, meaning, group="state")
        for part, title, meaning in (
            ("sm", "SM", "Mean share of SMs that were busy (GPM counters, Hopper and newer)."),
            ("tensor", "tensor", "Mean share of time the tensor cores were busy (GPM counters, Hopper and newer)."),
            ("dram", "DRAM", "Mean share of peak DRAM bandwidth in use (GPM counters, Hopper and newer)."),
        )
    ),
    MetricSpec(
        "isolation_s",
        "s",
        "isolation s",
        None,
        "Time from asking for the case's process to its first message.",
        summarise="median",
        group="cold",
    ),
)


def _problem(spec: MetricSpec) -> str | None:
    named = re.fullmatch(r"[a-z][a-z0-9_]*", spec.name)
    return None if named else f"{spec.name!r} is not a metric name: use lower-case letters, digits and `_`"


METRICS = Registry(METRICS_GROUP, MetricSpec, {spec.name: spec for spec in _SPECS}, lambda spec: spec.name, _problem)
"""Every metric by name, those of other packages last."""

"""An invented run of a whole matrix of settings, of any size, for charts, reports and their speed. No number in it was
measured.
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from fakes.runs import ENVIRONMENT, FakeRun, Invented, a_quality, absent, an_oom, effective, metrics, series

from gpubench.core.findings import finding
from gpubench.core.records import Parity, Quality, Status, Window
from gpubench.report.view.samples import LaunchSamples, Samples
from gpubench.suite.model.case import Case

GPU_SPEED = {"fp32": 1.0, "tf32": 1.55, "amp-fp16": 2.45, "amp-bf16": 2.6, "fp16": 2.7, "bf16": 2.75}
CPU_SPEED = {"fp32": 1.0, "amp-bf16": 0.62}
POWER_W = {"fp32": 575.0, "tf32": 640.0, "amp-fp16": 655.0, "amp-bf16": 662.0, "fp16": 640.0, "bf16": 644.0}
CEILING = {"fp32": 51e12, "tf32": 378e12, "amp-fp16": 733e12, "amp-bf16": 745e12}
FLOPS_PER_SAMPLE = {"train": 2.1e8, "infer": 0.7e8}


def matrix_run(
    *,
    batches: Sequence[int] = (64, 256, 1024),
    modes: Sequence[str] = ("train", "infer"),
    seeds: Sequence[int] = (0,),
    repeats: int = 3,
    speed: Mapping[str, float] | float = 1.0,
    noise: float = 0.003,
    oom_from: int = 1 << 20,
    seed: int = 7,
    quality: bool = True,
    **changes: Any,
) -> FakeRun:
    """GPU and CPU cases over precision, batch, layout and cuDNN autotuning. `speed` multiplies the GPU's throughput, of
    every precision or of each; `seeds` repeats the whole matrix, for a run of thousands. Of batches from `oom_from` on
    fp32 runs out of memory.
    """
    made = Invented(repeats, noise=random.Random(seed))
    for mode, batch, start in itertools.product(modes, batches, seeds):
        same = {"mode": mode, "data": "digits", "batch_size": batch, "seed": start}
        for precision in CPU_SPEED:
            _case(made, noise * 4, {**same, "device": "cpu", "precision": precision}, 1.0)
        for precision, layout, tuned in itertools.product(
            ("fp32", "tf32", "amp-fp16", "amp-bf16"), ("contiguous", "channels_last"), (False, True)
        ):
            settings = {
                **same,
                "device": "cuda",
                "precision": precision,
                "memory_format": layout,
                "cudnn_benchmark": tuned,
            }
            factor = speed if isinstance(speed, float) else speed.get(precision, 1.0)
            if precision == "fp32" and batch >= oom_from and mode == "train":
                reason = "out of memory in warmup: 12.0 GiB requested, 3.1 GiB free"
                made.ended(_label(settings), Status.OOM, reason, failure=an_oom(), **settings)
            else:
                _case(made, noise, settings, factor)
    if quality:
        for device, precision in (
            ("cpu", "fp32"),
            ("cuda", "fp32"),
            ("cuda", "tf32"),
            ("cuda", "amp-fp16"),
            ("cuda", "amp-bf16"),
        ):
            planned = made.plan(
                f"quality {device} {precision}",
                kind="quality",
                mode="train",
                data="digits",
                device=device,
                precision=precision,
            )
            for repeat in range(1, repeats + 1):
                made.add(planned, repeat, quality=_curves(made.noise, repeat))
    return made.run(**{"environment": ENVIRONMENT, **changes})


def _label(settings: Mapping[str, Any]) -> str:
    case = Case(**settings)
    tuned = "bench" if case.cudnn_benchmark else "heur."
    parts = [case.mode, case.device, case.precision, f"b{case.batch_size}"]
    return " ".join(
        [*parts, *([case.layout, tuned] if case.device != "cpu" else []), *([f"s{case.seed}"] if case.seed else [])]
    )


def _case(made: Invented, noise: float, settings: dict[str, Any], factor: float) -> None:
    case = Case(**settings)
    rate = throughput(case) * factor
    planned = made.plan(_label(settings), **settings)
    found = []
    if case.device == "cuda" and case.precision == "amp-fp16" and case.batch_size >= 1024:
        found.append(finding("GB202", "Step time drifted by +2.1 % [1.4, 2.8] over the window."))
    for repeat in range(1, made.repeats + 1):
        step_s = case.batch_size / (rate * math.exp(made.noise.gauss(0, noise)))
        made.add(
            planned,
            repeat,
            effective=effective(case),
            window=Window(start_s=100.0, end_s=103.5, num_steps=400, num_samples=400 * case.batch_size),
            series=series(case, step_s),
            metrics=metrics(case, step_s) | _extra(case, step_s),
            absent=absent(case),
            findings=tuple(found),
            telemetry=_telemetry(case),
            samples=f"samples/{planned.index:04d}-{repeat}.npz",
            parity=Parity(
                passed=True,
                logits_rel_error=3e-7,
                loss_rel_error=2e-8,
                gradient_rel_error=4e-7,
                logits_limit=0.015,
                loss_limit=1e-3,
                num_samples=8,
            )
            if repeat == 1
            else None,
        )


def throughput(case: Case) -> float:
    """Samples/s of the invented machine: rises with the batch and levels off."""
    more = 3.0 if case.mode == "infer" else 1.0
    if case.device == "cpu":
        return 2_900.0 * CPU_SPEED[case.precision] * more * (1 + 0.1 * math.log2(case.batch_size / 64))
    full = 110_000.0 * GPU_SPEED[case.precision] * more
    layout = 1.0 if case.memory_format == "contiguous" else 0.93 if case.precision == "fp32" else 1.22
    return full * layout * (1.08 if case.cudnn_benchmark else 1.0) * case.batch_size / (case.batch_size + 300)


def _extra(case: Case, step_s: float) -> dict[str, float | None]:
    extra: dict[str, float | None] = {"flops_per_sample": FLOPS_PER_SAMPLE[case.mode]}
    if case.device == "cpu":
        return extra
    busy = case.batch_size / (case.batch_size + 300)
    power = 120 + (POWER_W[case.precision] - 120) * busy
    size = 4.0e6 if case.precision == "fp32" else 2.4e6 if case.precision.startswith("amp") else 3.9e6
    return extra | {
        "mean_power_w": power,
        "energy_per_sample_j": power * step_s / case.batch_size,
        "throttle_share": 0.2 * busy,
        "peak_memory_allocated_bytes": 3e8 + size * case.batch_size,
        "peak_memory_reserved_bytes": 5e8 + 1.2 * size * case.batch_size,
        "utilization": 0.9,
        "tensor_activity": 0.4 if case.precision != "fp32" else 0.0,
        "input_wait_share": 0.01,
        "device_idle_share": 0.05,
    }


def _telemetry(case: Case) -> dict[str, Any]:
    if case.device == "cpu":
        return {"mode": "sampled", "available": False, "reason": "the case ran on the CPU"}
    return {
        "mode": "sampled",
        "available": True,
        "energy_source": "counter_ticks",
        "energy_valid": True,
        "energy_uncertainty_pct": 1.4,
        "memory_total_bytes": 80 * 2**30,
        "power_limit_w": 700.0,
        "sm_clock_min_mhz": 1695.0,
        "sm_clock_max_mhz": 1980.0,
        "throttle_share_by_reason": {"power_cap": 0.2, "sw_thermal": 0.0},
        "coverage": 1.0,
        "num_readings": 70,
    }


def _curves(noise: random.Random, repeat: int) -> Quality:
    found = a_quality(0.974 + noise.gauss(0, 0.002)).model_dump()
    epochs = range(8)
    found["loss_per_epoch"] = tuple(1.9 * math.exp(-0.5 * epoch) * math.exp(noise.gauss(0, 0.05)) for epoch in epochs)
    found["validation_score_per_epoch"] = tuple(
        0.974 - 0.5 * math.exp(-0.9 * epoch) + noise.gauss(0, 0.003) for epoch in epochs
    )
    return Quality.model_validate(found | {"seed": repeat})


def samples_of(run: FakeRun, indices: Sequence[int], *, num_steps: int = 400) -> Samples:
    """Step times and readings of the launches of some cases: a slow step now and then, and a power cap in the middle."""
    noise = random.Random(11)
    found: dict[int, list[LaunchSamples]] = {}
    for record in run.records:
        if record.case_index in indices and record.series is not None:
            times = [record.series.median_s * math.exp(noise.gauss(0, 0.004)) for _ in range(num_steps)]
            times[50::97] = [3 * value for value in times[50::97]]
            on_gpu = record.effective is not None and record.effective.device == "cuda"
            found.setdefault(record.case_index, []).append(
                LaunchSamples(record.repeat, tuple(times), 1, _readings(noise) if on_gpu else {}, 3.5)
            )
    return found


def _readings(noise: random.Random) -> dict[str, list[float]]:
    at = [-0.05 + 0.05 * number for number in range(72)]
    capped = [1.0 < time < 2.2 for time in at]
    return {
        "fast_time_s": at,
        "reasons": [4.0 if held else 0.0 for held in capped],
        "sm_clock_mhz": [1755.0 if held else 1980.0 for held in capped],
        "power_instant_w": [(699.0 if held else 655.0) + noise.gauss(0, 4) for held in capped],
        "slow_time_s": [0.0, 1.0, 2.0, 3.0],
        "temperature_c": [52.0, 55.0, 58.0, 59.0],
    }

"""An invented run of a GPU machine, for screens and reports. Every number in it is made up; none was measured."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.records import ContestRecord, Effective, Failure, Parity, Quality, Record, Series, Status, Window
from gpubench.store.run_info import PlannedCase, RunInfo
from gpubench.suite.model.case import Case

FAKE_GPU = "NVIDIA Imaginary 80GB"
RUN_NAME = "20261123-1602-cnn-7f3a"
NO_DRIVER = "no NVIDIA driver"

ENVIRONMENT: dict[str, Any] = {
    "schema": 1,
    "hostname": "fake-host",
    "anonymous": False,
    "system": {
        "os": "Linux",
        "kernel": "6.1.0",
        "distribution": "Debian GNU/Linux 12",
        "container": None,
        "virtual": False,
        "memory_bytes": 64 * 2**30,
    },
    "cpu": {
        "model": "Imaginary CPU",
        "num_threads": 8,
        "num_threads_usable": 8,
        "governor": "performance",
        "flags": ["avx2", "fma"],
    },
    "python": {"version": "3.12.1"},
    "packages": {"gpubench": "0.1.0", "torch": "2.13.0", "torchvision": "0.28.0", "numpy": "2.1.0"},
    "worker": {"torch": "2.13.0", "cuda": "13.0", "cudnn": "91500"},
    "git": {"commit": "0123456789abcdef", "dirty": False, "branch": "main"},
    "variables": {"OMP_NUM_THREADS": "8"},
    "driver": {"driver": "580.95.05", "cuda_driver": "13.0"},
    "gpus": [
        {
            "name": FAKE_GPU,
            "uuid": "GPU-fake",
            "memory_total_bytes": 80 * 2**30,
            "power_limit_w": 700.0,
            "sm_clock_max_mhz": 1980.0,
        }
    ],
    "absent": {},
}

NO_GPU_ENVIRONMENT = {**ENVIRONMENT, "driver": None, "gpus": [], "absent": {"driver": NO_DRIVER, "gpus": NO_DRIVER}}


@dataclass(frozen=True)
class FakeRun:
    info: RunInfo
    records: tuple[Record, ...]
    dropped: tuple[str, ...] = ()
    contests: tuple[ContestRecord, ...] = ()


@dataclass
class Invented:
    """Collects cases with invented figures; `run()` is what the store would load."""

    repeats: int = 3
    planned: list[PlannedCase] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    noise: random.Random = field(default_factory=lambda: random.Random(1))

    def plan(
        self, label: str, *, kind: str = "measure", skip: tuple[Status, str] | None = None, **settings: Any
    ) -> PlannedCase:
        case = Case(**settings)
        status, reason = skip or (None, None)
        planned = PlannedCase(
            index=len(self.planned) + 1,
            kind=kind,
            case_id=case.case_id,
            label=label,
            settings=case.settings,
            skip_status=status,
            skip_reason=reason,
        )
        self.planned.append(planned)
        return planned

    def add(self, planned: PlannedCase, repeat: int, status: Status = Status.OK, **fields: Any) -> Record:
        record = Record(
            kind=planned.kind,
            case_index=planned.index,
            case_id=planned.case_id,
            label=planned.label,
            repeat=repeat,
            status=status,
            started_unix_s=1.8e9 + len(self.records),
            wall_s=4.2,
            isolation="fork",
            **fields,
        )
        self.records.append(record)
        return record

    def measured(
        self,
        label: str,
        rate: float,
        *,
        spread: float = 0.002,
        findings: Sequence[Finding] = (),
        parity: bool | None = True,
        extra: Mapping[str, float] | None = None,
        **settings: Any,
    ) -> PlannedCase:
        planned = self.plan(label, **settings)
        case = Case(**planned.settings)
        for repeat in range(1, self.repeats + 1):
            step_s = case.batch_size / (rate * math.exp(self.noise.gauss(0, spread)))
            self.add(
                planned,
                repeat,
                effective=effective(case),
                window=Window(start_s=10.0, end_s=12.5, num_steps=200, num_samples=200 * case.batch_size),
                series=series(case, step_s),
                metrics={**metrics(case, step_s), **(extra or {})},
                absent=absent(case),
                parity=a_parity(case, passed=parity) if parity is not None and repeat == 1 else None,
                findings=tuple(findings),
            )
        return planned

    def ended(
        self, label: str, status: Status, reason: str, *, failure: Failure | None = None, **settings: Any
    ) -> PlannedCase:
        planned = self.plan(label, **settings)
        for repeat in range(1, self.repeats + 1):
            self.add(planned, repeat, status, reason=reason, failure=failure)
        return planned

    def trained(self, label: str, accuracy: float, **settings: Any) -> PlannedCase:
        planned = self.plan(label, kind="quality", mode="train", data="digits", **settings)
        self.add(planned, 1, quality=a_quality(accuracy))
        return planned

    def run(self, *, environment: Mapping[str, Any] = ENVIRONMENT, **changes: Any) -> FakeRun:
        fields = {
            "run": RUN_NAME,
            "suite_name": "cnn",
            "suite_digest": "0" * 16,
            "suite_path": "suites/cnn.yaml",
            "created": "2026-11-23T16:02:00Z",
            "suite": {
                "schema": 1,
                "name": "cnn",
                "description": "An invented run: no number in it was measured.",
                "baseline": {"device": "cpu", "precision": "fp32"},
                "measure": {"repeats": self.repeats},
            },
            "argv": ("gpubench", "run", "suites/cnn.yaml"),
            "seed": 1234,
            "repeats": self.repeats,
            "versions": {"gpubench": "0.1.0"},
            "environment": dict(environment),
            "cases": tuple(self.planned),
        }
        return FakeRun(RunInfo(**{**fields, **changes}), tuple(self.records))


def invented_run(repeats: int = 3, **changes: Any) -> FakeRun:
    """CPU and GPU cases with everything that can happen to one."""
    made = Invented(repeats)
    same = {"mode": "train", "data": "digits", "optimizer": "adam"}
    gpu = {**same, "device": "cuda", "memory_format": "channels_last"}
    made.measured("cpu fp32 b64", 2_894.0, spread=0.01, device="cpu", precision="fp32", batch_size=64, **same)
    made.measured("cpu fp32 b256", 3_312.0, spread=0.01, device="cpu", precision="fp32", batch_size=256, **same)
    made.measured(
        "cpu amp-bf16 b64",
        3_905.0,
        spread=0.01,
        device="cpu",
        precision="amp-bf16",
        batch_size=64,
        findings=[finding("GB202", "Step time drifted by +2.1 % [1.4, 2.8] over the window.")],
        **same,
    )
    made.measured("cuda fp32 b256", 61_200.0, precision="fp32", batch_size=256, **gpu)
    made.measured("cuda fp32 b1024", 84_410.0, precision="fp32", batch_size=1024, **gpu)
    made.measured("cuda tf32 b1024", 139_500.0, precision="tf32", batch_size=1024, **gpu)
    made.measured(
        "cuda amp-bf16 b256",
        190_200.0,
        precision="amp-bf16",
        batch_size=256,
        findings=[finding("GB204", "11 of 1 204 steps took more than twice the median.")],
        **gpu,
    )
    made.measured("cuda amp-bf16 b1024", 289_400.0, spread=0.003, precision="amp-bf16", batch_size=1024, **gpu)
    made.measured(
        "cuda amp-fp16 b1024",
        301_900.0,
        parity=False,
        precision="amp-fp16",
        batch_size=1024,
        findings=[finding("GB305", "Logits differ by 0.12 from fp64; 0.015 is the limit of amp-fp16.")],
        **gpu,
    )
    made.ended(
        "cuda fp32 b16384",
        Status.OOM,
        "out of memory in warmup: 12.0 GiB requested, 3.1 GiB free",
        failure=an_oom(),
        precision="fp32",
        batch_size=16384,
        **gpu,
    )
    made.plan(
        "cuda fp32 b32768", skip=(Status.SKIPPED, "larger than an OOM"), precision="fp32", batch_size=32768, **gpu
    )
    made.ended(
        "cuda tf32 b256",
        Status.FAILED,
        "RuntimeError: CUDA error: an illegal memory access was encountered",
        failure=Failure(
            phase="measuring",
            error="RuntimeError",
            message="CUDA error: an illegal memory access was encountered",
            exit_code=1,
            log="cases/12/1.log",
        ),
        precision="tf32",
        batch_size=256,
        **gpu,
    )
    made.ended(
        "cpu tf32 b64", Status.UNSUPPORTED, "a CPU has no TF32", device="cpu", precision="tf32", batch_size=64, **same
    )
    for device, precision, accuracy in (
        ("cpu", "fp32", 0.974),
        ("cuda", "fp32", 0.974),
        ("cuda", "amp-bf16", 0.970),
        ("cuda", "tf32", 0.937),
    ):
        made.trained(f"quality {device} {precision}", accuracy, device=device, precision=precision)
    return made.run(**changes)


def cpu_run(repeats: int = 2, **changes: Any) -> FakeRun:
    """What a machine without a GPU gives: CPU figures, and GPU cases skipped."""
    made = Invented(repeats)
    for precision, rate in (("fp32", 2_894.0), ("amp-bf16", 1_641.0)):
        made.measured(
            f"cpu {precision}", rate, spread=0.02, device="cpu", precision=precision, data="digits", batch_size=64
        )
    for precision in ("fp32", "tf32", "amp-fp16", "amp-bf16"):
        made.plan(
            f"cuda {precision}",
            skip=(Status.SKIPPED, f"no CUDA device: {NO_DRIVER}"),
            device="cuda",
            precision=precision,
            data="digits",
            batch_size=64,
        )
    return made.run(environment=NO_GPU_ENVIRONMENT, **changes)


def in_turns(
    run: FakeRun, *, rounds: int = 4, noise: float = 0.004, faster: Mapping[int, float] | None = None, seed: int = 3
) -> FakeRun:
    """The run with a contest per mode and device, in which its measured cases compare as in launches.

    `noise`: how much processes differ, as a share; `faster`: cases that taking turns makes so many times as fast.
    """
    chance, by_place = random.Random(seed), dict[tuple[Any, ...], dict[int, float]]()
    for record in run.records:
        if record.kind == "measure" and record.status is Status.OK and record.series is not None:
            case = Case(**next(each.settings for each in run.info.cases if each.index == record.case_index))
            speed = (1 if case.timing == "latency" else case.batch_size) / record.series.median_s
            place = by_place.setdefault((case.workload, case.mode, case.device, case.timing), {})
            place.setdefault(record.case_index, math.log(speed * (faster or {}).get(record.case_index, 1.0)))
    contests = [
        ContestRecord(
            cases=tuple(speeds),
            label=" ".join(map(str, place)),
            round=number,
            status=Status.OK,
            wall_s=3.0,
            num_turns=100,
            log_speeds={case: speed + chance.gauss(0, noise) for case, speed in speeds.items()},
            twin=next(iter(speeds.values())) + chance.gauss(0, noise),
        )
        for place, speeds in by_place.items()
        if len(speeds) > 1
        for number in range(1, rounds + 1)
    ]
    return replace(run, contests=tuple(contests))


def effective(case: Case) -> Effective:
    math_mode = "tf32" if case.precision == "tf32" else "ieee"
    return Effective(
        precision=case.precision,
        math={"cuda.matmul": math_mode, "cudnn.conv": math_mode},
        memory_format=case.memory_format,
        cudnn_enabled=True,
        cudnn_benchmark=case.cudnn_benchmark,
        cudnn_deterministic=False,
        training=case.mode == "train",
        batch_size=case.batch_size,
        device=case.device,
        seed=case.seed,
        compute_dtype="float32",
        device_name=FAKE_GPU if case.device_type == "cuda" else "Imaginary CPU",
    )


def series(case: Case, step_s: float) -> Series:
    return Series(
        clock="cuda_event" if case.device_type == "cuda" else "perf_counter",
        timing=case.timing,
        num_total=240,
        num_warmup=20,
        num_steady=220,
        tau=1.6,
        n_effective=137.5,
        median_s=step_s,
        low_s=step_s * 0.997,
        high_s=step_s * 1.003,
        bound="gpu" if case.device_type == "cuda" else "cpu",
    )


def metrics(case: Case, step_s: float) -> dict[str, float | None]:
    rate = case.batch_size / step_s
    timed: dict[str, float | None] = {"step_time_s": step_s, "throughput": rate}
    if case.timing == "latency":
        timed = {"latency_s": step_s, "latency_p50_s": step_s, "latency_p99_s": step_s * 1.4, "latency_floor_s": 12e-6}
    timed |= {
        "step_time_p50_s": step_s,
        "step_time_p90_s": step_s * 1.02,
        "step_time_p95_s": step_s * 1.05,
        "step_time_p99_s": None,
        "sustained_throughput": rate * 0.99,
        "first_step_s": 0.31,
        "build_s": 0.12,
        "warmup_steps": 20.0,
        "isolation_s": 0.06,
    }
    if case.device_type == "cpu":
        return timed | {
            "peak_rss_bytes": 2.0e8 + 1e5 * case.batch_size,
            "energy_per_sample_j": None,
            "mean_power_w": None,
        }
    return timed | {
        "peak_memory_allocated_bytes": 4.0e6 * case.batch_size,
        "peak_memory_reserved_bytes": 5.0e6 * case.batch_size,
        "mean_power_w": 612.0,
        "energy_per_sample_j": 612.0 / rate,
        "sm_clock_mhz": 1755.0,
        "temperature_c": 61.0,
    }


def absent(case: Case) -> dict[str, str]:
    few = {"step_time_p99_s": "needs an effective sample of 299, has 138"}
    return (
        few if case.device_type == "cuda" else few | dict.fromkeys(("energy_per_sample_j", "mean_power_w"), NO_DRIVER)
    )


def a_parity(case: Case, *, passed: bool) -> Parity:
    return Parity(
        passed=passed,
        logits_rel_error=3.1e-7 if passed else 0.12,
        loss_rel_error=2.0e-8,
        gradient_rel_error=4.4e-7,
        logits_limit=0.015 if case.precision.startswith("amp") else 2e-5,
        loss_limit=1e-4,
        num_samples=8,
    )


def a_quality(accuracy: float) -> Quality:
    return Quality(
        seed=0,
        epochs=8,
        learning_rate=1e-3,
        loss_per_epoch=(1.9, 0.6, 0.2, 0.1),
        score_name="accuracy",
        score=accuracy,
        score_better="higher",
        accuracy=accuracy,
        precision_macro=accuracy - 0.001,
        recall_macro=accuracy - 0.002,
        final_loss=0.1,
        target_accuracy=0.95,
        time_to_accuracy_s=1.4,
        steps_to_accuracy=60,
        training_time_s=3.0,
        num_train=1257,
        num_validation=270,
        num_test=270,
    )


def an_oom() -> Failure:
    return Failure(
        phase="warmup",
        error="OutOfMemoryError",
        message="CUDA out of memory",
        requested_bytes=12 * 2**30,
        free_bytes=int(3.1 * 2**30),
        total_bytes=80 * 2**30,
        allocated_bytes=70 * 2**30,
        reserved_bytes=76 * 2**30,
        log="cases/10/1.log",
    )

"""Invented runs of operators and models, for ceilings, rooflines and waterfalls. Every number in them is made up."""

from collections.abc import Mapping, Sequence
from typing import Any

from fakes.runs import ENVIRONMENT, FakeRun, Invented, a_parity, effective, metrics, series

from gpubench.core.findings import Finding
from gpubench.core.records import Record, Status, Window
from gpubench.store.run_info import PlannedCase
from gpubench.suite.cases.labels import label_cases
from gpubench.suite.model.case import Case

UUID = "GPU-fake"
H100 = "NVIDIA H100 80GB HBM3"
GPU_ENVIRONMENT: dict[str, Any] = {
    **ENVIRONMENT,
    "gpus": [{"name": H100, "uuid": UUID, "power_limit_w": 700.0}],
    "driver": {"driver": "580.95.05"},
    "cpu": {"model": "Imaginary CPU"},
}


class Ceiled(Invented):
    """`case(rate, ...)` adds a measured case whose device is known; `rate` in samples/s, one launch per value. `capped`:
    the share of the window in which the power limit held the clocks down.
    """

    def case(
        self,
        *rates: float,
        findings: Sequence[Finding] = (),
        passed: bool | None = True,
        threads: int | None = None,
        uuid: str | None = UUID,
        extra: Mapping[str, float | None] | None = None,
        capped: float | None = None,
        **settings: Any,
    ) -> PlannedCase:
        case = Case(**settings)
        planned = self.plan(label_cases([case])[0], **settings)
        where = (
            {"cpu_threads": threads or 2} if case.device_type == "cpu" else {"device_uuid": uuid, "device_name": H100}
        )
        for repeat, rate in enumerate(rates, start=1):
            step_s = case.samples_per_step / rate
            self.add(
                planned,
                repeat,
                effective=effective(case).model_copy(update=where),
                series=series(case, step_s),
                window=Window(start_s=1.0, end_s=3.0, num_steps=100, num_samples=100 * case.samples_per_step),
                metrics={**metrics(case, step_s), **(extra or {})},
                findings=tuple(findings),
                telemetry=None if capped is None else {"throttle_share_by_reason": {"power_cap": capped}},
                parity=None if passed is None else a_parity(case, passed=passed),
            )
        return planned

    def matmul(
        self,
        tflops: float,
        *more: float,
        precision: str = "bf16",
        shape: str = "4096",
        burst: float | None = None,
        capped: float | None = None,
        **fields: Any,
    ) -> PlannedCase:
        """A product of which one is `2 * 4096^3` operations; `burst` in TFLOP/s."""
        flops = 2.0 * 4096**3
        rates = [value * 1e12 / flops for value in (tflops, *more)]
        settings = {"workload": "operators:matmul", "mode": "infer", "device": "cuda", "batch_size": 1, **fields}
        extra: dict[str, float | None] = {"flops_per_sample": flops, "bytes_per_sample": 3.0 * 4096**2 * 2}
        if burst is not None:
            extra |= {"burst_flops": burst * 1e12, "burst_sm_clock_mhz": 1980.0, "burst_power_w": 690.0}
            extra |= {"sm_clock_mhz": 1755.0, "mean_power_w": 699.0}
        return self.case(*rates, precision=precision, shape=shape, extra=extra, capped=capped, **settings)

    def copy(self, gb_per_s: float, data_path: str = "resident", *, num: int = 1, **fields: Any) -> PlannedCase:
        moved = 2.0 * 2**28
        settings = {"workload": "operators:copy", "mode": "infer", "device": "cuda", "batch_size": 1, **fields}
        rates = [gb_per_s * 1e9 / moved] * num
        return self.case(*rates, extra={"bytes_per_sample": moved}, data_path=data_path, **settings)

    def stream(self, operator: str, gb_per_s: float, *, num: int = 1, **fields: Any) -> PlannedCase:
        """`read`, `write` or `triad`."""
        moved = 2.0**28
        settings = {"mode": "infer", "device": "cuda", "batch_size": 1, **fields}
        rates = [gb_per_s * 1e9 / moved] * num
        return self.case(*rates, extra={"bytes_per_sample": moved}, workload=f"operators:{operator}", **settings)

    def launches(self, per_s: float, *, num: int = 1, **fields: Any) -> PlannedCase:
        settings = {"workload": "operators:launch", "mode": "infer", "device": "cuda", "batch_size": 1000, **fields}
        return self.case(*([per_s] * num), **settings)

    def model(
        self,
        *rates: float,
        flops: float = 24.3e9,
        moved: float = 0.4e9,
        operators: float = 400.0,
        read: float | None = None,
        streamed: float | None = None,
        **settings: Any,
    ) -> PlannedCase:
        extra = {"flops_per_sample": flops, "bytes_per_sample": moved, "operators_per_step": operators}
        extra |= {"bytes_read_share": read, "streamed_bytes_per_sample": streamed}
        return self.case(*rates, extra=extra, **{"workload": "torchvision:resnet50", "device": "cuda", **settings})

    def run(self, *, environment: Mapping[str, Any] = GPU_ENVIRONMENT, **changes: Any) -> FakeRun:
        return super().run(environment=environment, **changes)

    def path_run(self, path: list[dict[str, Any]], defaults: Mapping[str, Any], **changes: Any) -> FakeRun:
        """The run of a suite with this path."""
        suite = {"schema": 1, "name": "steps", "defaults": dict(defaults), "path": path}
        return self.run(suite=suite, suite_name="steps", **changes)

    def drop(self, planned: PlannedCase, status: Status, reason: str) -> None:
        """The case ended another way in every launch."""
        kept: list[Record] = []
        for record in self.records:
            if record.case_index == planned.index:
                record = record.model_copy(update={"status": status, "reason": reason, "metrics": {}})
            kept.append(record)
        self.records = kept

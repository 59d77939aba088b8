"""An invented `profile.json`."""

from collections.abc import Sequence
from pathlib import Path

from gpubench.profile.figures.summary_model import DeviceSummary, KernelSummary, ProfileSummary


def write_profile(
    path: Path,
    *,
    kernels_per_step: float = 40.0,
    names: Sequence[str] = ("gemm",),
    idle: float = 0.1,
    tensor_core_share: float = 0.5,
) -> None:
    kernels = tuple(
        KernelSummary(
            **{"class": "gemm"}, name=name, tensor_core="yes", count=10, per_step=1.0, total_ns=100, share=0.5
        )
        for name in names
    )
    device = DeviceSummary(
        device=0,
        name="fake",
        window_ns=1000,
        busy_ns=900,
        idle=idle,
        idle_reasons=None,
        bound="gpu",
        bound_statement="",
        largest_gap_ns=1,
        streams=1,
        steps=10,
        kernels=400,
        kernels_per_step=kernels_per_step,
        kernel_ns=900,
        tensor_core_share=tensor_core_share,
        tensor_core_unknown_share=0.0,
        copies={},
        memsets=0,
        graphs=0,
        phases=(),
        unattributed_ns=0,
        unattributed_share=0.0,
        classes=(),
        top_kernels=kernels,
        num_kernel_names=len(kernels),
    )
    summary = ProfileSummary(
        tool="torch", source="trace.json.gz", window="steps", steps=10, step_time_ns=1000.0, devices=(device,)
    )
    path.parent.mkdir(parents=True)
    path.write_text(summary.model_dump_json(by_alias=True), encoding="utf-8")

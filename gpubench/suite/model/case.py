"""One point of a suite."""

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from gpubench.suite.model.precisions import PRECISIONS

CaseId = NewType("CaseId", str)

if TYPE_CHECKING:
    Precision = str
else:
    Precision = Literal[tuple(PRECISIONS)]
Mode = Literal["train", "infer"]
MemoryFormat = Literal["contiguous", "channels_last"]
Compile = Literal["off", "default", "reduce-overhead", "max-autotune"]
DataPath = Literal["resident", "pinned", "pageable", "loader"]
Optimizer = Literal["sgd", "adam", "adamw"]
Timing = Literal["throughput", "latency"]
BatchSize = Annotated[int, Field(ge=1, le=2**24)] | Literal["max"]

_LAYOUT_NAMES = {"nchw": "contiguous", "nhwc": "channels_last"}
_DEVICE = r"^(cpu|cuda(:\d+)?)$"
_WORKLOAD = r"^[A-Za-z_][\w.]*(:[A-Za-z_][\w.]*)?$"
_SHAPE = r"^([1-9]\d*(x[1-9]\d*){0,4}|[1-9]\d*(KiB|MiB|GiB))$"


def _layout(value: Any) -> Any:
    return _LAYOUT_NAMES.get(value.lower(), value) if isinstance(value, str) else value


class Case(BaseModel):
    """The settings of one point: what is asked for. What took effect is `Effective` in the record."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workload: str = Field(
        "cnn",
        pattern=_WORKLOAD,
        description="`cnn`, `torchvision:<model>`, `operators:<operator>`, or `module:Class` for your own.",
    )
    mode: Mode = Field(
        "train",
        description="`train`: zero_grad, transfer, forward, loss, backward, optimizer, scaler. `infer`: eval mode, no gradients.",
    )
    device: str = Field("cpu", pattern=_DEVICE, description="`cpu`, `cuda` or `cuda:N` (CUDA's own numbering).")
    precision: Precision = Field(
        "fp32",
        description="`fp32` is strict IEEE with TF32 off everywhere; `amp-*` is autocast; `fp16` and `bf16` hold the weights in that type.",
    )
    batch_size: BatchSize = Field(
        64,
        description="Samples per step (per micro-step with `accumulate`). `max`: the largest whose real step fits into memory.",
    )
    shape: str | None = Field(
        None,
        pattern=_SHAPE,
        description="Sizes of an operator: matmul `MxNxK`, conv2d `channels x pixels x filters x kernel`, copy `256MiB`.",
    )
    memory_format: Annotated[MemoryFormat, BeforeValidator(_layout)] = Field(
        "contiguous", description="`contiguous` (NCHW) or `channels_last` (NHWC)."
    )
    cudnn_enabled: bool = Field(True, description="Use cuDNN at all.")
    cudnn_benchmark: bool = Field(False, description="Let cuDNN time its algorithms and take the fastest.")
    cudnn_deterministic: bool = Field(False, description="Only deterministic algorithms.")
    compile: Compile = Field("off", description="torch.compile mode; compile time is reported apart from throughput.")
    cuda_graph: bool = Field(False, description="Capture the step in a CUDA graph and replay it.")
    data: str = Field(
        "synthetic",
        pattern=r"^(synthetic|digits|mnist|fashion-mnist|cifar10)$",
        description="`synthetic`, `digits`, `mnist`, `fashion-mnist` or `cifar10`.",
    )
    data_root: str | None = Field(None, description="Folder with the torchvision data sets.")
    data_path: DataPath = Field(
        "resident",
        description="Where a step's input comes from: already on the device, pinned or pageable host memory, or a DataLoader.",
    )
    num_workers: int = Field(0, ge=0, le=256, description="DataLoader worker processes (`data_path: loader`).")
    image_size: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="Height and width in pixels; None takes the workload's own (cnn 28, torchvision 224).",
    )
    num_classes: int | None = Field(
        None,
        ge=2,
        le=10**6,
        description="None takes the data's own (synthetic: 10, torchvision models 1000).",
    )
    optimizer: Optimizer = Field("sgd", description="`sgd` (momentum 0.9), `adam` or `adamw`.")
    fused: bool = Field(False, description="The optimizer's fused implementation.")
    learning_rate: float = Field(
        1e-3,
        gt=0,
        le=100,
        description="Of the measured training steps; the quality stage has its own.",
    )
    accumulate: int = Field(1, ge=1, le=4096, description="Micro-steps per optimizer step (gradient accumulation).")
    timing: Timing = Field(
        "throughput",
        description="`throughput`: no synchronisation inside the loop. `latency`: one synchronised request at a time (infer only).",
    )
    cpu_threads: int | None = Field(None, ge=1, le=4096, description="Intra-op threads; None leaves torch's default.")
    seed: int = Field(0, ge=0, lt=2**63, description="Of weights, data and shuffling.")
    env: dict[str, str] = Field(
        default_factory=dict,
        description="Environment variables of the worker; a case that sets any gets its own host.",
    )
    python: str | None = Field(None, description="Another interpreter for the worker (two torch versions in one run).")

    @field_validator("batch_size", mode="wrap")
    @classmethod
    def _one_message_for_a_batch(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError("must be a whole number from 1 to 16777216, or `max`") from None

    @field_validator("shape", mode="before")
    @classmethod
    def _shape_may_be_a_number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("compile", mode="before")
    @classmethod
    def _compile_may_be_a_boolean(cls, value: Any) -> Any:
        return {False: "off", True: "default"}.get(value, value) if isinstance(value, bool) else value

    @field_validator("env", mode="before")
    @classmethod
    def _env_values_are_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        texts = {}
        for name, entry in value.items():
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                raise ValueError(f"not a name of an environment variable: {name!r}")
            if isinstance(entry, bool) or not isinstance(entry, str | int | float):
                raise ValueError(f"the value of {name} must be text or a number (quote it)")
            texts[name] = str(entry)
        return texts

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by name, JSON types only."""
        return self.model_dump(mode="json")

    @cached_property
    def case_id(self) -> CaseId:
        """Ten hex digits of the settings that differ from their defaults.

        Stable over runs, machines and releases that only add settings.
        """
        given = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(given, sort_keys=True, separators=(",", ":"))
        return CaseId(hashlib.sha256(text.encode()).hexdigest()[:10])

    @property
    def device_type(self) -> str:
        return self.device.partition(":")[0]

    @property
    def layout(self) -> str:
        """The usual short name: NCHW or NHWC."""
        return "NHWC" if self.memory_format == "channels_last" else "NCHW"

    @property
    def batch(self) -> int:
        """`batch_size` as a number. ValueError for `max`, which the worker makes a number before it builds anything."""
        if self.batch_size == "max":
            raise ValueError("the largest batch is known only where the case runs")
        return self.batch_size

    @property
    def samples_per_step(self) -> int:
        """Samples of one optimizer step (or one inference batch), before a workload says otherwise. ValueError for
        `max`.
        """
        return self.batch * (self.accumulate if self.mode == "train" else 1)

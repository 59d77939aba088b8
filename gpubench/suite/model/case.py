"""One point of a suite."""

import hashlib
import json
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, NewType

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from gpubench.core.secrets import masked
from gpubench.suite.model.input_shape import parse_inputs
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.suite.model.setting_spec import SettingSpec, always, either, named
from gpubench.suite.model.workload_names import EXAMPLES

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
Strategy = Literal["ddp", "fsdp2", "tp", "pp"]
Scaling = Literal["weak", "strong"]
Backend = Literal["auto", "gloo", "nccl"]
Framework = Literal["loop", "lightning", "tensorflow"]
Compress = Literal["none", "int8-weight", "int8-dynamic", "prune-50", "sparse-2to4"]
Loss = Literal["cross-entropy", "mse", "output"]
Param = bool | int | float | str
BatchSize = Annotated[int, Field(ge=1, le=2**24)] | Literal["max"]

_IMAGES = ("digits", "mnist", "fashion-mnist", "cifar10")
_OF_TASKS = ("digit-scenes", "spoken-commands", "spoken-digits", "seen-and-spoken", "catalogues")
_DATA = ("synthetic", *_IMAGES, *_OF_TASKS)
_DEVICE = r"^(cpu|cuda(:\d+)?)$"
_FIRST = r"[A-Za-z_\u00aa-\uffdc]"
"""Begins a name in Python; spelled so that Python, pydantic and JSON Schema, where `\\w` is ASCII, read it alike."""
_NAME = rf"{_FIRST}[\w.\u00aa-\uffdc]*"
_WORKLOAD = (
    rf"^({_NAME}(:{_NAME})?|[^:\x00-\x1f]+\.py:{_NAME}"
    r"|(hf|timm|torchvision-\w+):[^:\x00-\x1f]+)$"
)
_SHAPE = r"^([1-9]\d*(x[1-9]\d*){0,4}|[1-9]\d*(KiB|MiB|GiB))$"

knob = partial(SettingSpec, in_process=True, read_back=always, effect=True)
"""A setting that may make a step faster, can be switched in a process, and is read back."""


def _layout_name(value: str) -> str:
    return "NHWC" if value == "channels_last" else "NCHW"


def _variables(env: dict[str, str], separator: str) -> str:
    return separator.join(f"{name}={masked(name, value)}" for name, value in sorted(env.items()))


def _params(params: dict[str, Param], separator: str) -> str:
    return separator.join(f"{name}={value}" for name, value in sorted(params.items()))


def _trains(case: "Case") -> bool:
    return case.mode == "train"


_LAYOUT = knob(
    "layout",
    label=_layout_name,
    cell=_layout_name,
    if_differs="refused",
    aliases={"NCHW": "contiguous", "NHWC": "channels_last"},
    synonyms=("layout",),
    cause="Something between the input and the convolutions changes the layout (a reshape or a permute, or "
    "a model that ignores channels_last).",
)


class Case(BaseModel):
    """The settings of one point: what is asked for. What took effect is `Effective` in the record.

    A setting is one field: its type, default and help, and a `SettingSpec` from which all tables derive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    workload: Annotated[str, SettingSpec("workload", accuracy=True, words=EXAMPLES)] = Field(
        "cnn",
        pattern=_WORKLOAD,
        description="`cnn`, `torchvision:<model>` and other names of `gpubench list workloads`, or your own as "
        "`module:Name` or `file.py:Name`: an nn.Module class, a function that returns a module, or a class with "
        "`build`.",
    )
    mode: Annotated[Mode, SettingSpec("mode", meant={"training": "train", "inference": "infer", "eval": "infer"})] = (
        Field(
            "train",
            description="`train`: zero_grad, transfer, forward, loss, backward, optimizer, scaler. "
            "`infer`: eval mode, no gradients.",
        )
    )
    device: Annotated[
        str,
        SettingSpec(
            "device",
            read_back=lambda case: case.device != "cuda",
            effect=True,
            accuracy=True,
            words=("auto", "cpu", "cuda"),
            meant={"gpu": "cuda"},
        ),
    ] = Field(
        "cpu",
        pattern=_DEVICE,
        description="`cpu`, `cuda` or `cuda:N` (CUDA's own numbering). In a suite `auto` is the GPU where this machine "
        "has one, else the CPU.",
    )
    precision: Annotated[
        Precision,
        knob(
            "precision",
            if_differs="refused",
            accuracy=True,
            meant={word: spec.name for spec in PRECISIONS.values() for word in spec.synonyms},
        ),
    ] = Field(
        "fp32",
        description="`fp32` is strict IEEE with TF32 off everywhere; `amp-*` is autocast; `fp16` and `bf16` hold the "
        "weights in that type; `fp8` is for `operators:matmul` alone.",
    )
    batch_size: Annotated[
        BatchSize, knob("batch", label=lambda value: f"b{value}", if_differs="refused", synonyms=("batch",))
    ] = Field(
        64,
        description="Samples per step (per micro-step with `accumulate`). `max`: the largest whose real step fits into "
        "memory.",
    )
    shape: Annotated[str | None, SettingSpec("shape", in_process=True)] = Field(
        None,
        pattern=_SHAPE,
        description="Sizes of an operator: matmul `MxNxK`, conv2d `channels x pixels x filters x kernel`, "
        "copy `256MiB`; of a collective the bytes of its message.",
    )
    memory_format: Annotated[MemoryFormat, _LAYOUT] = Field(
        "contiguous", description="`contiguous` (NCHW) or `channels_last` (NHWC)."
    )
    cudnn_enabled: Annotated[bool, knob("cuDNN on", label=either("cudnn", "no-cudnn"), quiet=True)] = Field(
        True, description="Use cuDNN at all."
    )
    cudnn_benchmark: Annotated[bool, knob("cuDNN", label=either("bench", "heur."), cell=either("bench", "heur."))] = (
        Field(False, description="Let cuDNN time its algorithms and take the fastest.")
    )
    cudnn_deterministic: Annotated[bool, knob("determ.", label=either("determ.", "any-algo"), quiet=True)] = Field(
        False, description="Only deterministic algorithms."
    )
    compile: Annotated[
        Compile,
        knob(
            "compile",
            label=named("compile"),
            quiet=True,
            if_differs="refused",
            cause="torch.compile made no graph. TORCH_COMPILE_DISABLE in the environment, a stance of `force_eager` or "
            "`torch.compiler.disable` switch it off; a workload of your own must call torch.compile.",
        ),
    ] = Field("off", description="torch.compile mode; compile time is reported apart from throughput.")
    cuda_graph: Annotated[bool, knob("graph", label=either("graph", "no-graph"), quiet=True, if_differs="refused")] = (
        Field(False, description="Capture the step in a CUDA graph and replay it.")
    )
    data: Annotated[str, SettingSpec("data", accuracy=True, words=_DATA)] = Field(
        "synthetic",
        pattern=rf"^({'|'.join(_DATA)})$",
        description="`synthetic`; images: `digits`, `mnist`, `fashion-mnist` or `cifar10`; or what a task learns from.",
    )
    data_root: Annotated[str | None, SettingSpec("data root", label=named("root"), quiet=True, accuracy=True)] = Field(
        None, description="Folder with the torchvision data sets."
    )
    data_path: Annotated[DataPath, knob("input", if_differs="refused")] = Field(
        "resident",
        description="Where a step's input comes from: already on the device, pinned or pageable host memory, or a "
        "DataLoader.",
    )
    num_workers: Annotated[
        int,
        SettingSpec(
            "workers",
            label=lambda value: f"w{value}",
            quiet=True,
            read_back=lambda case: case.data_path == "loader",
            effect=True,
            synonyms=("workers",),
        ),
    ] = Field(0, ge=0, le=256, description="DataLoader worker processes (`data_path: loader`).")
    image_size: Annotated[
        int | None,
        SettingSpec(
            "image",
            label=lambda value: "own-px" if value is None else f"{value}px",
            in_process=True,
            effect=True,
            accuracy=True,
        ),
    ] = Field(
        None,
        ge=1,
        le=4096,
        description="Height and width in pixels; None takes the workload's own (cnn 28, torchvision 224).",
    )
    num_classes: Annotated[int | None, SettingSpec("classes", label=named("classes"), quiet=True, in_process=True)] = (
        Field(None, ge=2, le=10**6, description="None takes the data's own (synthetic: 10, torchvision models 1000).")
    )
    input: Annotated[
        str | None, SettingSpec("sample", label=named("input"), quiet=True, in_process=True, accuracy=True)
    ] = Field(
        None,
        description="Shape of one sample for your own module: `3x224x224`, `int30000:128` for 128 integers below "
        "30000, `bool:128`. Several inputs are joined by `+`, in the order of `forward` or as `NAME=SHAPE`.",
    )
    loss: Annotated[
        Loss | None, SettingSpec("loss", label=named("loss"), quiet=True, in_process=True, accuracy=True)
    ] = Field(
        None,
        description="Of your own module: `cross-entropy` or `mse` with random targets, or `output` where it returns "
        "its loss. None chooses by the shape of its output.",
    )
    params: Annotated[
        dict[str, Param],
        SettingSpec(
            "params",
            label=lambda value: _params(value, ",") or "params=none",
            cell=lambda value: _params(value, " ") or "-",
            quiet=True,
            in_process=True,
            accuracy=True,
        ),
    ] = Field(
        default_factory=dict,
        description="Free settings of your own workload: arguments of a module or function, `case.params` in `build`. "
        "`params.NAME` is an axis like any setting.",
    )
    optimizer: Annotated[Optimizer, knob("optimizer", read_back=_trains, if_differs="refused")] = Field(
        "sgd", description="`sgd` (momentum 0.9), `adam` or `adamw`."
    )
    fused: Annotated[bool, knob("fused", label=either("fused", "unfused"), quiet=True, read_back=_trains)] = Field(
        False, description="The optimizer's fused implementation."
    )
    learning_rate: Annotated[
        float, SettingSpec("lr", label=lambda value: f"lr={value:g}", in_process=True, synonyms=("lr",))
    ] = Field(1e-3, gt=0, le=100, description="Of the measured training steps; the quality stage has its own.")
    accumulate: Annotated[
        int, SettingSpec("accumulate", label=lambda value: f"acc{value}", quiet=True, in_process=True, effect=True)
    ] = Field(1, ge=1, le=4096, description="Micro-steps per optimizer step (gradient accumulation).")
    framework: Annotated[
        Framework,
        knob(
            "framework",
            quiet=True,
            read_back=lambda case: case.framework != "loop",
            if_differs="refused",
            cause="A workload of your own that is no model of gpubench's makes its own loop.",
        ),
    ] = Field(
        "loop",
        description="What runs the training step: gpubench's plain `loop`, the Trainer of `lightning`, or "
        "`tensorflow` (the reference CNN alone, on a CPU, in an interpreter that has it).",
    )
    compress: Annotated[
        Compress,
        knob(
            "compress",
            label=lambda value: "plain" if value == "none" else str(value),
            quiet=True,
            if_differs="refused",
            accuracy=True,
            cause="The model has no layer that can be compressed so, or a workload of your own builds its own model.",
        ),
    ] = Field(
        "none",
        description="How the model is made smaller before it runs: `int8-weight`, `int8-dynamic` (linear layers, by "
        "torchao), `prune-50` (the smaller half of each layer's weights becomes 0) or `sparse-2to4` (two of every "
        "four, with CUDA's kernels for it). Inference only; the quality stage trains the model first.",
    )
    timing: Annotated[Timing, SettingSpec("timing")] = Field(
        "throughput",
        description="`throughput`: no synchronisation inside the loop. `latency`: one synchronised request at a time "
        "(infer only).",
    )
    cpu_threads: Annotated[
        int | None,
        SettingSpec(
            "threads",
            label=named("threads"),
            quiet=True,
            read_back=lambda case: case.cpu_threads is not None,
            effect=True,
            synonyms=("threads",),
            cause="The workload or a library changed the number of threads (`torch.set_num_threads`, OMP_NUM_THREADS).",
        ),
    ] = Field(None, ge=1, le=4096, description="Intra-op threads; None leaves torch's default.")
    world_size: Annotated[
        int, SettingSpec("ranks", label=lambda value: f"x{value}", quiet=True, synonyms=("ranks", "nproc"))
    ] = Field(
        1,
        ge=1,
        le=4096,
        description="Processes (ranks) that measure the case together, each with a device: `cuda:N` is that of the "
        "first. On a CPU the ranks share its threads.",
    )
    strategy: Annotated[Strategy, SettingSpec("strategy")] = Field(
        "ddp",
        description="How the ranks train one model. `ddp`: each has all of it and its own batch. `fsdp2`: each has its "
        "own batch and a part of every parameter. `tp`: each has a part of every linear layer. `pp`: each has some "
        "layers.",
    )
    scaling: Annotated[Scaling, SettingSpec("scaling")] = Field(
        "weak", description="`weak`: `batch_size` is that of each rank. `strong`: that of all ranks together."
    )
    micro_batches: Annotated[
        int | None, SettingSpec("micro", label=named("micro"), quiet=True, synonyms=("microbatches", "chunks"))
    ] = Field(
        None,
        ge=1,
        le=4096,
        description="Parts in which a batch goes through the ranks with `strategy: pp`; None takes four for each rank.",
    )
    backend: Annotated[Backend, SettingSpec("backend")] = Field(
        "auto",
        description="What carries messages between ranks: `nccl` or `gloo`. `auto`: nccl on CUDA, gloo on a CPU.",
    )
    seed: Annotated[
        int,
        SettingSpec(
            "seed",
            label=lambda value: f"seed{value}",
            read_back=always,
            if_differs="ignored",
            accuracy=True,
            cause="The workload seeds torch itself; use `case.seed`.",
        ),
    ] = Field(0, ge=0, lt=2**63, description="Of weights, data and shuffling.")
    env: Annotated[
        dict[str, str],
        SettingSpec(
            "env",
            label=lambda value: _variables(value, ",") or "env=default",
            cell=lambda value: _variables(value, " ") or "-",
            quiet=True,
            accuracy=True,
        ),
    ] = Field(
        default_factory=dict,
        description="Environment variables of the worker, as they are written (`3.10` stays 3.10). "
        "A case that sets any gets its own host.",
    )
    python: Annotated[str | None, SettingSpec("python", label=named("python"), quiet=True, accuracy=True)] = Field(
        None, description="Another interpreter for the worker (two torch versions in one run)."
    )

    @field_validator("memory_format", mode="before")
    @classmethod
    def _layout_may_be_an_alias(cls, value: Any) -> Any:
        return _LAYOUT.resolve(value)

    @field_validator("batch_size", mode="wrap")
    @classmethod
    def _one_message_for_a_batch(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError("must be a whole number from 1 to 16777216, or `max`") from None

    @field_validator("shape", "input", mode="before")
    @classmethod
    def _shape_may_be_a_number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("input", mode="after")
    @classmethod
    def _input_is_a_shape(cls, value: str | None) -> str | None:
        if value is not None:
            parse_inputs(value)
        return value

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
            if "\0" in str(entry):
                raise ValueError(f"the value of {name} contains a NUL, which no environment variable can")
            texts[name] = str(entry)
        return texts

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by name, JSON types only."""
        return self.model_dump(mode="json")

    @cached_property
    def case_id(self) -> CaseId:
        """Ten hex digits of the settings that differ from their defaults.

        Stable across runs, machines and releases that only add settings.
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
        return _layout_name(self.memory_format)

    @property
    def batch(self) -> int:
        """`batch_size` as a number. ValueError for `max`, which the worker replaces before building anything."""
        if self.batch_size == "max":
            raise ValueError("the largest batch is known only where the case runs")
        return self.batch_size

    @property
    def is_collective(self) -> bool:
        """Whether it measures messages between ranks: `batch_size` is then a number of calls."""
        return self.workload.startswith("collectives:")

    @property
    def splits_model(self) -> bool:
        """Whether each rank has a part of the model, so that all of them work on one batch."""
        return self.strategy in ("tp", "pp") and not self.is_collective

    @property
    def carrier(self) -> Literal["gloo", "nccl"]:
        """The backend that `auto` stands for."""
        if self.backend == "auto":
            return "nccl" if self.device_type == "cuda" else "gloo"
        return self.backend

    @property
    def samples_per_step(self) -> int:
        """Per optimizer step or inference batch, unless the workload says otherwise. ValueError for `max`."""
        return self.batch * (self.accumulate if self.mode == "train" else 1)


SPECS: dict[str, SettingSpec] = {
    name: next(each for each in info.metadata if isinstance(each, SettingSpec))
    for name, info in Case.model_fields.items()
}
"""Every setting by name, in the order of the fields."""

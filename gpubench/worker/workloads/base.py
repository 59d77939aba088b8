"""The interface of a workload."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

from gpubench.suite.model.case import Case

Step = Callable[[], object]
"""Does one step: one optimizer step (with all its micro-steps) in `train`, one batch in `infer`."""


@runtime_checkable
class Workload(Protocol):
    """The minimum of a workload: `build` returns a callable that does one step.

    A workload is constructed without arguments, in the process that will run it. Everything else is optional and looked
    up by name. What is missing is reported as absent and never stops a measurement:

    * `samples_per_step(case) -> int`: if it is not `case.samples_per_step`;
    * `flops_per_sample(case) -> float`: if the model is not a `Supervised`'s;
    * `bytes_per_sample(case) -> float`: what the operators of one sample read and write, under the same condition;
    * `parity(case, device) -> ParityProbe | str`: the same computation on a fixed batch, at the case's precision and in
      fp64, or why there is none; needs no built step and may be called after `close`;
    * `quality(job, device) -> Quality`: a whole training run on real data;
    * `probe() -> dict`: facts about the built step, under the names of `Effective` (dtypes, layout, training flag,
      optimizer); called before the first and after the last measured step;
    * `reset_health()`: called once before the first measured step, so that `health` counts only the steps after it;
    * `health() -> Health | dict`: accumulated on the device and read after the last step: `finite`, `parameters_moved`,
      `scaler_skipped_steps`, `optimizer_steps`;
    * `metrics() -> dict[str, float | None]`: its own figures, read after the last measured step, None for what this
      launch could not measure; each name is a metric that a package registers (docs/extending.md);
    * `findings() -> Iterable[Finding]`: what the reader should know about these figures, read with them;
    * `input_waits_s: list[float] | None`: host time each step since `reset_health` waited for its input, in seconds,
      appended by the step itself (None: a step never waits);
    * `device_waits_s: list[float] | None`: the same of waits for the device itself, such as a GradScaler's;
    * `renew_inputs()`: called between steps, gives inputs that steps use again other values in the same memory;
    * `sample_output()`: called between blocks of measured steps, keeps some of the last output; `last_output(step)`:
      runs one more step after the last and keeps what it needs; `check_outputs(device) -> OutputCheck | None`: what was
      kept against a fresh model, called after `close`;
    * `close()`: ends loader processes and frees memory.

    `workloads.optional_facts` reads these from any workload, with or without them.
    """

    def build(self, case: Case, device: Any) -> Step: ...


class Phases(Protocol):
    """Opens a named phase of a step for profilers; costs nothing if no profiler listens.

    To show its phases, a workload uses its `phases` attribute, which is set before `build`.
    """

    def __call__(self, name: str, /) -> AbstractContextManager[None]: ...


@dataclass(frozen=True)
class ParityProbe:
    """Outputs of one fixed batch as CPU fp64 tensors: logits NC, loss scalar (None if the output has none; it may have
    the dtype in which it was computed), gradient flattened (None for `infer`).

    `again_NC`: the logits of a second pass over the same batch. They differ if the model draws random numbers, which is
    not an error.
    """

    logits_NC: Any
    loss: Any | None
    gradient: Any | None
    reference_logits_NC: Any
    reference_loss: Any | None
    reference_gradient: Any | None
    num_samples: int
    again_NC: Any | None = None


@dataclass(frozen=True)
class OutputCheck:
    """`error`: relative L2 distance between outputs of measured steps and those of a fresh model. `change`: how far the
    fresh model's outputs move when it is called again, or with half of the rows.
    """

    error: float
    change: float
    num_samples: int


class Unsupported(Exception):  # noqa: N818 - it is a result, not an error
    """The device, the torch build or the workload cannot do what the case asks. The message is the reason shown."""


class Missing(Unsupported):
    """A program, package or data set is not installed, so the case is skipped. The message ends in the one command that
    installs it.
    """


def need(extra: str, *modules: str) -> None:
    """Missing, unless all these modules of one of gpubench's extras are installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise Missing(f"{' and '.join(missing)} {verb} not installed: pip install 'gpubench[{extra}]'")


@dataclass
class Health:
    """What the measured steps did to the model, accumulated on the device."""

    finite: bool = True
    parameters_moved: bool | None = None
    scaler_skipped_steps: int | None = None
    optimizer_steps: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)

"""The suite file's models. `gpubench.suite.load` reads one; `gpubench.suite.cases.expand` makes its cases."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from gpubench.core.units import parse_duration, parse_fraction

MAX_CASES = 10_000

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[\d.]"}]}),
]
Fraction = Annotated[
    float,
    BeforeValidator(parse_fraction),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[\d.]"}]}),
]


class SuiteModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class RepeatRange(SuiteModel):
    """The least and the most launches per case."""

    min: int = Field(ge=3, le=1000, description="Fewer than three launches give no useful interval.")
    max: int = Field(ge=3, le=1000)


AUTO_REPEATS = RepeatRange(min=3, max=12)


def _no_boolean(value: Any) -> Any:
    """Pydantic takes `true` for the number 1."""
    if isinstance(value, bool):
        raise ValueError(f"expected a whole number, got {str(value).lower()}")
    return value


def _one_message_for_repeats(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    _no_boolean(value)
    try:
        found = handler(value)
    except ValidationError:
        raise ValueError("must be a whole number from 1 to 1000, `auto`, or {min: 3, max: 12} (min from 3)") from None
    if isinstance(found, RepeatRange) and found.min > found.max:
        raise ValueError(f"min is {found.min}, more than max ({found.max})")
    return found


Repeats = Annotated[
    Annotated[int, Field(ge=1, le=1000)] | Literal["auto"] | RepeatRange, WrapValidator(_one_message_for_repeats)
]


class Measure(SuiteModel):
    """How long and how often each case is measured. Durations in seconds, `target_rel_ci` a fraction."""

    target_rel_ci: Fraction = Field(
        0.01, gt=0, lt=1, description="Stop when the half-width of the median's interval is at most this share of it."
    )
    min_time: Duration = Field(2.0, ge=0, le=86400, description="Measure at least this long after warm-up.")
    max_time: Duration = Field(
        20.0,
        gt=0,
        le=86400,
        description="Measure at most this long, warm-up included, the first step (which may compile) not.",
    )
    min_window: Duration | None = Field(
        None, ge=0, le=86400, description="Least window for a valid energy figure; None lets the device decide."
    )
    min_steps: int = Field(
        50, ge=5, le=10**7, description="First look at the series; fewer only if `max_time` comes first."
    )
    max_steps: int = Field(100_000, ge=5, le=10**7, description="Measure at most this many steps.")
    repeats: Repeats = Field(
        3,
        description="Launches per case, each in its own process. `{min: 3, max: 12}`, or `auto` (3 to 12): until the "
        "half-width of the quoted interval is at most `target_rel_ci`.",
    )
    timeout: Duration = Field(
        300.0,
        gt=0,
        le=7 * 86400,
        description="A launch that takes longer is ended: status `timeout`. Time that it waited for a busy CPU does "
        "not count.",
    )
    telemetry: Literal["off", "boundary", "sampled"] = Field(
        "sampled",
        description="Power, clocks and energy: `sampled` while steps run, `boundary` reads counters before and after "
        "only, `off`.",
    )
    parity: bool = Field(True, description="Check each case's output against fp64 on a fixed batch, once per case.")

    @property
    def repeat_range(self) -> RepeatRange | None:
        """The range in which the data decide; None for a fixed number of launches."""
        if isinstance(self.repeats, int):
            return None
        return AUTO_REPEATS if self.repeats == "auto" else self.repeats

    @property
    def least_repeats(self) -> int:
        return self.repeats if isinstance(self.repeats, int) else (self.repeat_range or AUTO_REPEATS).min

    @property
    def most_repeats(self) -> int:
        return self.repeats if isinstance(self.repeats, int) else (self.repeat_range or AUTO_REPEATS).max


class QualitySettings(SuiteModel):
    """Quality runs: whole trainings on real data, per device and precision of the suite's training cases."""

    epochs: int = Field(8, ge=1, le=10_000, description="Passes over the training split.")
    data: str | None = Field(None, description="None takes the cases' own; synthetic data has no score.")
    batch_size: int = Field(64, ge=1, description="Samples per step of the quality runs, whatever is measured.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="Of the quality runs.")
    learning_rate: Annotated[
        tuple[Annotated[float, Field(gt=0, le=100)], ...],
        BeforeValidator(lambda v: v if isinstance(v, list | tuple) else [v]),
    ] = Field((1e-3,), min_length=1, description="One, or a list to choose from on the validation split.")
    seeds: int = Field(1, ge=1, le=100, description="Training runs per device and precision.")
    reference: dict[str, Any] = Field(
        default_factory=lambda: {"precision": "fp32"}, description="What the score is compared with."
    )
    max_accuracy_drop: Fraction = Field(
        0.01,
        ge=0,
        le=1,
        description="A precision whose test score (accuracy, mIoU, WER, ...) is worse by more is never called best.",
    )
    target_accuracy: Fraction | None = Field(
        None, gt=0, le=1, description="Validation score to which time and steps are reported."
    )


class ContestSettings(SuiteModel):
    """Cases taking turns, after their launches."""

    budget: Duration = Field(
        90.0, gt=0, le=7 * 86400, description="Time limit of one contest, for all its processes together."
    )


class ClusterSettings(SuiteModel):
    """The machines of a run with several."""

    engine: Literal["local", "slurm", "mpi", "ray", "env"] = Field(
        "local",
        description="What starts gpubench on the nodes: `slurm` (srun), `mpi` (mpirun), `ray`, `env` (pods that all "
        "run the same command); `local` starts all on this machine.",
    )
    nodes: int | None = Field(
        None, ge=1, le=10_000, description="How many; None where the engine knows it (a Slurm allocation, pods)."
    )
    ranks_per_node: int | None = Field(
        None, ge=1, le=1024, description="At most this many ranks of a case on a node; None: one per CUDA device."
    )
    interface: str | None = Field(
        None,
        max_length=255,
        description="Network interface, or address of this machine, on which the nodes connect; None: that of its "
        "host name (`local`: the loopback interface).",
    )
    port: int = Field(0, ge=0, le=65535, description="Port on which nodes connect; 0 takes a free one.")
    wait: Duration = Field(60.0, gt=0, le=86400, description="How long the nodes may take to connect.")
    options: list[str] = Field(default_factory=list, description="Further options for srun or mpirun.")


class FleetSettings(SuiteModel):
    """Measures every case on every card of the cluster, and names the slow cards."""

    slower_than: Fraction = Field(0.01, gt=0, lt=1, description="Cards at least this much slower are named.")
    fdr: Fraction = Field(0.05, gt=0, lt=1, description="Highest expected share of healthy cards among those named.")
    retest_rounds: int = Field(
        8, ge=3, le=1000, description="Launches in which a suspect is measured again, with a healthy card."
    )


class When(SuiteModel):
    """Settings that follow an axis: cases that match `if` get `set`."""

    condition: dict[str, Any] = Field(
        alias="if", description="Settings a case must have; a list means any of its values."
    )
    settings: dict[str, Any] = Field(alias="set", description="Settings it then gets, unless it gives them itself.")


class Gate(SuiteModel):
    """A limit that `gpubench check` applies to every case that matches `where`."""

    metric: str = Field(description="A metric of `gpubench list metrics`, or `status`.")
    max_regression: Fraction | None = Field(
        None, ge=0, description="How much worse it may get, as a share (for shares: in points)."
    )
    no_new: tuple[Literal["oom", "failed", "timeout", "unsupported", "invalid"], ...] | None = Field(
        None, description="With `metric: status`: outcomes that no case may newly have."
    )
    where: dict[str, Any] = Field(
        default_factory=dict, description="Cases it covers; all of them without it. A list means any of its values."
    )


class Suite(SuiteModel):
    """A suite as written, with its overrides applied."""

    schema_number: Annotated[Literal[1], BeforeValidator(_no_boolean)] = Field(
        alias="schema", description="Version of this format."
    )
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Part of the names of its runs: letters, digits, `.`, `-`, `_`.",
    )
    description: str = Field("", max_length=2000, description="One line for `gpubench list`.")
    requires: Literal["cuda"] | None = Field(
        None, description="Cases on a machine without this device are skipped with the reason."
    )
    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Settings of every case that does not say otherwise."
    )
    matrix: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Axes: a case for every combination of their values, the last axis changing fastest. "
        "`{pow2: [5, 10]}` stands for 32, 64, ... 1024.",
    )
    exclude: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Drops combinations that match every setting of an entry; a list means any of its values.",
    )
    path: list[dict[str, Any]] = Field(
        default_factory=list,
        description="Changes from `defaults`, one on top of another: a case for the base, for each stage, and for each "
        "change alone. The report says what each of them buys.",
    )
    include: list[dict[str, Any]] = Field(
        default_factory=list, description="Adds whole cases (over `defaults`); it never changes or excludes one."
    )
    when: list[When] = Field(
        default_factory=list, description="Settings that depend on others, rule by rule; never an axis."
    )
    baseline: dict[str, Any] = Field(default_factory=dict, description="Cases that speed-ups are stated against.")
    measure: Measure = Field(default_factory=Measure, description="How long and how often each case is measured.")
    quality: QualitySettings | None = Field(
        None, description="Quality runs: trains on real data and tests the model; `off`, or left out, for none."
    )
    contest: ContestSettings | None = Field(
        default_factory=ContestSettings,
        description="Lets cases of one mode and device take turns in one process after their launches, which decides "
        "effects and ranking; `off` for none.",
    )
    cluster: ClusterSettings | None = Field(
        None, description="Several machines; `off`, or left out, for this one alone. `docs/scaling.md` explains it."
    )
    fleet: FleetSettings | None = Field(
        None, description="Measures each card alone and names the slow ones. `docs/scaling.md` explains it."
    )
    gates: list[Gate] = Field(default_factory=list, description="Limits that `gpubench check` applies.")

"""What `gpubench tune` tries: the suite of a target with an axis for each setting that may make it faster here."""

from collections.abc import Sequence
from typing import Any

from gpubench.core.cpus import usable_cpus
from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.suite.cases.labels import varying
from gpubench.suite.load import LoadedSuite, load_suite
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.suite.target import is_target

_TUNED_BATCHES = 4
_TUNED_BATCHES_GPU = 7
_WORKERS = (0, 1, 2, 4, 8)

AXES = (
    "precision",
    "memory_format",
    "cudnn_benchmark",
    "compile",
    "cuda_graph",
    "data_path",
    "num_workers",
    "fused",
    "batch_size",
    "cpu_threads",
)
"""The settings that may be tuned; the others change what is computed."""


def tuned_suite(source: str, overrides: Sequence[str] = (), axes: Sequence[str] = ()) -> LoadedSuite:
    """The suite whose cases are the grid of settings to try, starting point first.

    A target gets every axis that applies on its device, a suite file has its own. `axes` limits the grid to these
    settings, and adds them to a suite that does not vary them; `overrides` give values, or fix one. UsageError if there
    is nothing to choose between, or if cases differ in a setting that is not tuned.
    """
    for name in axes:
        if name not in AXES:
            suggestion = near(name, AXES)
            hint = (suggestion[:1].upper() + suggestion[1:] + " ") if suggestion else ""
            raise UsageError(f"{name!r} is not a setting to tune.", hint=f"{hint}Settings: {', '.join(AXES)}.")
    loaded = load_suite(source, overrides)
    if not loaded.cases:
        raise UsageError(f"suite {loaded.suite.name} has no cases.")
    first = loaded.cases[0]
    given = {each.partition("=")[0] for each in overrides} | {*varying(loaded.cases)}
    wanted = axes or (own_values(first) if is_target(source) else ())
    more = {name: own_values(first).get(name) for name in wanted if name not in given}
    inapplicable = [name for name, values in more.items() if values is None]
    if inapplicable:
        raise UsageError(f"{inapplicable[0]} has nothing to choose between on {first.device} in {first.mode}.")
    fixed = [f"{name}={_text([getattr(first, name)])}" for name in varying(loaded.cases) if axes and name not in axes]
    axis_texts = [f"{name}={_text(values)}" for name, values in more.items() if values]
    loaded = load_suite(source, [*overrides, *fixed, *axis_texts])
    differ = varying(loaded.cases)
    wrong = [name for name in differ if name not in AXES]
    if wrong:
        values = ", ".join(dict.fromkeys(str(getattr(case, wrong[0])) for case in loaded.cases))
        raise UsageError(
            f"The cases differ in {wrong[0]} ({values}), which is not a setting to choose.",
            hint=f"Keep one: -s {wrong[0]}={getattr(first, wrong[0])}.",
        )
    if not differ:
        raise UsageError(
            "There are no settings to try: every setting has one value.",
            hint=f"Give one of them several, such as -s precision=fp32,amp-bf16, or name it: --axis {AXES[0]}.",
        )
    if any(case.batch_size == "max" for case in loaded.cases):
        raise UsageError("batch_size: max cannot be tuned.", hint="Name sizes: -s batch_size=64,128,256.")
    return loaded


def own_values(case: Case) -> dict[str, list[Any]]:
    """The values to try for a case like this one, by setting; the case's own value comes first."""
    on_gpu, trains = case.device_type == "cuda", case.mode == "train"
    precisions = [
        name
        for name, spec in PRECISIONS.items()
        if not spec.products_only and (on_gpu or (spec.math != "tf32" and spec.compute != "float16"))
    ]
    found: dict[str, list[Any]] = {
        "precision": [name for name in precisions if not trains or PRECISIONS[name].weights == "float32"],
        "memory_format": ["contiguous", "channels_last"],
        "compile": ["off", "default"],
    }
    if on_gpu:
        found["cudnn_benchmark"] = found["cuda_graph"] = [False, True]
        if trains:
            found["fused"] = [False, True]
        if case.data_path != "loader":
            found["data_path"] = ["pageable", "pinned"]
    elif (usable := usable_cpus() or 1) > 1:
        found["cpu_threads"] = list(dict.fromkeys([usable, max(1, usable // 2), 1]))
    if case.data_path == "loader":
        found["num_workers"] = [number for number in _WORKERS if number <= (usable_cpus() or 1)]
    if isinstance(case.batch_size, int):
        found["batch_size"] = [
            case.batch_size * 2**at for at in range(_TUNED_BATCHES_GPU if on_gpu else _TUNED_BATCHES)
        ]
    return {
        name: list(dict.fromkeys([own, *values] if (own := getattr(case, name)) in values else values))
        for name, values in found.items()
    }


def _text(values: Sequence[Any]) -> str:
    said = {True: "true", False: "false", None: "null"}
    return ",".join(said[value] if isinstance(value, bool) or value is None else str(value) for value in values)

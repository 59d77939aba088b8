"""`docs/suite-reference.md`, generated from the models so that it stays up to date."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gpubench.core.units import format_bytes
from gpubench.suite.load import MAX_BYTES
from gpubench.suite.model.case import Case
from gpubench.suite.model.settings import choices, is_number, is_switch
from gpubench.suite.model.suite import (
    MAX_CASES,
    ClusterSettings,
    ContestSettings,
    FleetSettings,
    Gate,
    Measure,
    QualitySettings,
    Suite,
    When,
)

_HEAD = """# Suite files

A suite file says which settings to try and how to measure them. `gpubench validate FILE` checks one and counts its
cases; `schemas/suite-1.json` lets an editor complete it. The shipped ones are in `suites/`.

```yaml
schema: 1
name: example
defaults: {workload: cnn, data: digits}
matrix:
  device: [cpu, cuda]
  precision: [fp32, tf32, amp-bf16]
  batch_size: {pow2: [5, 10]}
exclude:
  - {device: cpu, precision: tf32}
when:
  - {if: {device: cuda}, set: {memory_format: channels_last}}
measure: {min_time: 2s, repeats: 3}
```

This page is made from the models by `make schemas`; do not edit it.
"""

_RULES = f"""
## How cases are made

1. Every combination of the values in `matrix` is a case: `defaults`, then the axes, then each rule of `when` whose `if`
   matches the settings so far. A rule never changes an axis.
2. `exclude` drops combinations that match every setting of an entry. It looks at the finished combination, including
   what `when` has set. An entry that drops nothing is reported.
3. `path` adds the base (`defaults` alone), each of its changes on top of the previous ones, and each change alone, with
   the rules of `when` for settings that they do not give.
4. `include` adds whole cases: `defaults`, the entry, and the rules of `when` for settings that the entry does not give.
   Cases of `path` and `include` are never excluded.
5. A case that exists already is measured once, and reported where `include` repeats it.

A suite has at most {MAX_CASES:,} combinations, stages of a path and included cases, counted before `exclude`. A file is
UTF-8 text of at most {format_bytes(MAX_BYTES)} and plain YAML: no tags, no merge keys. Only `true` and `false` are
booleans (as in YAML 1.2), so `off`, `on`, `yes` and `no` are words; for a yes-or-no setting they mean on or off.

Where settings are matched (`exclude`, `if`, `baseline`, `reference`, `where`) a list means any of its values, and
`device: cuda` fits every CUDA device, `cuda:1` only that one. `env` fits if the variables given have these values.

`env` and `python` are settings like any other, also as axes: each distinct pair gets its own worker processes.

```yaml
matrix:
  env: [{{}}, {{NVIDIA_TF32_OVERRIDE: "0"}}]
  python: [null, .venv-nightly/bin/python]
```
"""

_CONTEST = """\
After their launches, the cases of one mode and device take turns in short blocks, in at least three processes: effects,
ratios and the ranking come from there ([method](method.md)). `contest: off` leaves that out.
"""

_COMMAND_LINE = """
## On the command line

`-s NAME=VALUE,...` replaces a part of the file before it is checked. One value of a setting becomes its default, or the
only value of its axis; several make an axis. `when` no longer sets a setting given like this.

| option | does |
|---|---|
| `-s batch_size=64,128` | makes or replaces an axis |
| `-s batch_size='{pow2: [5, 8]}'` | the same with powers of two |
| `-s device=cuda` | a default, or the only value of the axis |
| `-s measure.repeats=5` | a key of `measure`, `quality`, `contest`, `cluster` or `fleet` |
| `-s quality=off` | no quality runs |
| `-s contest=off` | no contest |

`-k EXPRESSION` keeps the cases it is true for:

| expression | keeps cases |
|---|---|
| `precision=amp-bf16 and batch_size>=64` | with both |
| `precision=fp32,tf32` or `precision in (fp32, tf32)` | with either value |
| `not (device=cpu or mode=infer)` | with neither |
| `cudnn_benchmark` | where a yes-or-no setting is on |
| `workload~resnet` | whose workload contains it (`!~`: does not) |
| `env.NVIDIA_TF32_OVERRIDE=0` | by an environment variable |

Operators are `=` `!=` `<` `<=` `>` `>=` `~` `!~`; `not` binds closest, then `and`, then `or`. Values that contain
spaces or operators need quotes.

`--case ID` keeps one case, by its id, the beginning of it (four characters or more) or its label, and may be repeated.
An id is made of the settings that differ from their defaults: it is the same on every machine, and `-s` changes it.
Quality runs start only if you name them: `--case 'quality ID'`.
"""


def suite_reference() -> str:
    """The whole page."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield _HEAD
    yield "## Sections\n"
    yield from _table(Suite)
    yield _RULES
    yield "## Settings of a case\n"
    yield "For `defaults`, the axes of `matrix`, and wherever settings are matched or set.\n"
    yield "| setting | values | default | meaning |"
    yield "|---|---|---|---|"
    for name, info in Case.model_fields.items():
        yield f"| `{name}` | {_values(name)} | {_default(info)} | {info.description} |"
    yield "\n## `measure`\n"
    yield "Durations: `500ms`, `2s`, `5m`, `1h30m`, or a number of seconds. Shares: `1%`, `1pp` or `0.01`.\n"
    yield from _table(Measure)
    yield "\n## `quality`\n"
    yield from _table(QualitySettings)
    yield "\n## `contest`\n"
    yield _CONTEST
    yield from _table(ContestSettings)
    yield "\n## `cluster`\n"
    yield "Several machines ([scaling](scaling.md)); `gpubench run --engine` overrides the engine.\n"
    yield from _table(ClusterSettings)
    yield "\n## `fleet`\n"
    yield "Slow cards ([scaling](scaling.md#a-fleet)); `fleet: {}` takes the defaults.\n"
    yield from _table(FleetSettings)
    yield "\n## `when`\n"
    yield from _table(When)
    yield "\n## `gates`\n"
    yield from _table(Gate)
    yield _COMMAND_LINE.rstrip() + "\n"


def _table(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    for name, info in model.model_fields.items():
        yield f"| `{info.alias or name}` | {_default(info)} | {info.description} |"


def _values(name: str) -> str:
    words = ", ".join(f"`{word}`" for word in choices(name))
    if is_switch(name):
        return "`true`, `false`"
    if is_number(name):
        return f"number, {words}" if words else "number"
    return words if words and name not in ("workload", "device") else "`NAME: text`" if name == "env" else "text"


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value: Any = info.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else list(value)
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value)}`"

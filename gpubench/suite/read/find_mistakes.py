"""Every mistake of a suite at once: in its form, its settings, its gates."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from pydantic import BaseModel, ValidationError

from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.units import format_percent, parse_fraction
from gpubench.suite.cases.expand import count_combinations, path_settings, too_many
from gpubench.suite.model.mistake_messages import near_word, said_of, shown
from gpubench.suite.model.settings import SETTINGS, BadValue, check_workload, normal
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
from gpubench.suite.read.problems import Path, Problem, error, path_text
from gpubench.suite.read.yaml_document import YamlList, YamlMapping, existing, find, key_mark, plain, value_mark

_MODELS: dict[str, type[BaseModel]] = {
    "measure": Measure,
    "quality": QualitySettings,
    "contest": ContestSettings,
    "cluster": ClusterSettings,
    "fleet": FleetSettings,
    "when": When,
    "gates": Gate,
}
_PLAIN_SECTIONS = (("defaults",), ("baseline",), ("quality", "reference"))
_PATTERN_LISTS = (("exclude",), ("path",), ("include",))
_MOST_POW2 = 24


def check(root: YamlMapping) -> tuple[Suite | None, tuple[Problem, ...]]:
    """The suite in the tree (None if it has a mistake), and the mistakes."""
    checker = _Checker(root)
    suite = checker.whole()
    return (None if checker.problems else suite), tuple(checker.problems)


class _Checker:
    def __init__(self, root: YamlMapping) -> None:
        self._root = root
        self._data: dict[str, Any] = plain(root)
        self.problems: list[Problem] = []

    def whole(self) -> Suite | None:
        off = {name for name in ("quality", "contest", "cluster", "fleet") if self._data.get(name) == "off"}
        self._data |= dict.fromkeys(off)
        # `exclude:` with nothing after it is the same as no `exclude`.
        for name in [
            name for name, value in self._data.items() if value is None and name not in ("quality", "contest")
        ]:
            if name in Suite.model_fields and not Suite.model_fields[name].is_required():
                del self._data[name]
        for name, values in self._axes().items():
            if isinstance(values, dict) and list(values) == ["pow2"]:
                self._axes()[name] = self._powers(("matrix", name, "pow2"), values["pow2"])
            elif isinstance(values, dict) and name == "params":
                self._axes()[name] = self._combined(values)
        suite = None
        try:
            suite = Suite.model_validate(self._data)
        except ValidationError as found:
            for each in found.errors(include_url=False):
                self._say_model(each)
        self._check_settings()
        self._check_rules()
        self._check_gates()
        self._refuse_booleans()
        if suite is not None and not self.problems:
            self._check_whole(suite)
        return suite

    def _powers(self, path: Path, ends: Any) -> list[int]:
        """`{pow2: [5, 10]}` becomes 32, 64, ... 1024."""
        whole = isinstance(ends, list) and len(ends) == 2 and all(type(each) is int for each in ends)
        if whole and 0 <= ends[0] <= ends[1] <= _MOST_POW2:
            return [2**exponent for exponent in range(ends[0], ends[1] + 1)]
        self._say(path, f"expected two exponents, as in [5, 10] (from 0, at most {_MOST_POW2})")
        return []

    def _combined(self, lists: dict[str, Any]) -> list[dict[str, Any]]:
        """`params: {width: [64, 128], depth: [2]}` becomes its combinations, each with the parameters of `defaults`."""
        for name, values in lists.items():
            if not isinstance(values, list) or not values:
                self._say(("matrix", "params", name), "expected a list of values, as in [64, 128]")
                return []
        defaults = (self._data.get("defaults") or {}).get("params")
        common = defaults if isinstance(defaults, dict) else {}
        return [common | dict(zip(lists, values, strict=True)) for values in product(*lists.values())]

    def _say_model(self, found: Any) -> None:
        path, kind = tuple(found["loc"]), found["type"]
        if kind == "extra_forbidden":
            return self._unknown_key(path, _keys_of(path))
        if kind == "missing":
            parent = existing(self._root, path)
            return self._say(path, f"`{path[-1]}` is missing", mark_path=parent)
        written = find(self._root, path)
        message, suggestion = said_of(found if written is None else {**found, "input": plain(written)})
        if path[-1:] == ("name",) and kind == "string_pattern_mismatch":
            suggestion = "a name has letters, digits, dots, dashes and underscores only"
        if path == ("schema",):
            message, suggestion = f"there is no schema {shown(found['input'])}", "this gpubench reads schema 1"
        return self._say(existing(self._root, path) or path, message, suggestion)

    def _check_settings(self) -> None:
        for path in _PLAIN_SECTIONS:
            self._check_section(path, lists=path != ("defaults",))
        for path in _PATTERN_LISTS:
            for index, _ in enumerate(self._elements(path)):
                self._check_section((*path, index), lists=path == ("exclude",))
        for index, entry in enumerate(self._elements(("exclude",))):
            if entry == {}:
                self._say(("exclude", index), "an entry without settings would exclude everything")
        for name, values in self._axes().items():
            if name not in SETTINGS:
                self._unknown_key(("matrix", name), SETTINGS)
                continue
            for index, value in enumerate(values if isinstance(values, list) else ()):
                self._check_value(("matrix", name, index), name, value)

    def _check_rules(self) -> None:
        axes = self._axes()
        for index, _ in enumerate(self._elements(("when",))):
            self._check_section(("when", index, "if"), lists=True)
            self._check_section(("when", index, "set"), lists=False)
            changed = find(self._root, ("when", index, "set"))
            for name in changed.entries if isinstance(changed, YamlMapping) else ():
                if name in axes:
                    path = ("when", index, "set", name)
                    self._say_key(path, f"`{name}` is an axis of the matrix, which no rule can change")

    def _check_section(self, path: Path, *, lists: bool) -> None:
        """Names and values of settings; `lists`: a list means any of its values."""
        section = find(self._root, path)
        for name, entry in section.entries.items() if isinstance(section, YamlMapping) else ():
            if name not in SETTINGS:
                self._unknown_key((*path, name), SETTINGS)
            elif lists and isinstance(entry.node, YamlList):
                if not entry.node.elements:
                    self._say((*path, name), "a list of no values matches nothing")
                for index, value in enumerate(plain(entry.node)):
                    self._check_value((*path, name, index), name, value)
            else:
                self._check_value((*path, name), name, plain(entry.node))

    def _check_value(self, path: Path, name: str, value: Any) -> None:
        try:
            held = normal(name, value)
            if name == "workload":
                check_workload(held)
        except BadValue as bad:
            self._say(existing(self._root, path), bad.message, bad.suggestion)

    def _check_gates(self) -> None:
        for index, gate in enumerate(self._elements(("gates",))):
            if not isinstance(gate, dict):
                continue
            self._check_section(("gates", index, "where"), lists=True)
            metric = gate.get("metric")
            if isinstance(metric, str):
                self._check_gate(("gates", index), metric, gate)

    def _check_gate(self, path: Path, metric: str, gate: Mapping[str, Any]) -> None:
        if metric == "status":
            if not gate.get("no_new"):
                self._say(path, "a gate on `status` says what must not be new", "add no_new: [oom, failed]")
            return
        spec = METRICS.get(metric)
        if spec is None or spec.better is None:
            known = [name for name, each in METRICS.items() if each.better is not None]
            what = "is not a metric" if spec is None else "has no better or worse direction"
            self._say((*path, "metric"), f"{metric!r} {what}", near_word(metric, [*known, "status"]))
        elif gate.get("max_regression") is None:
            self._say(path, f"a gate on `{metric}` needs its limit", "add max_regression: 3%")
        else:
            self._check_limit((*path, "max_regression"), gate["max_regression"], spec)

    def _check_limit(self, path: Path, written: Any, metric: MetricSpec) -> None:
        """A figure can fall by 100 % of itself at most: `3`, meant as 3 %, would be a gate that nothing breaks."""
        if not isinstance(written, str | int | float):
            return
        try:
            limit = parse_fraction(written)
        except ValueError:
            # The model has reported it already.
            return
        if metric.never_worse_by(limit):
            shown = format_percent(limit)
            said = f"a limit of {shown} can never be broken: {metric.name} cannot fall by more than 100%"
            self._say(path, said, "3% is three per cent")

    def _refuse_booleans(self) -> None:
        """Pydantic would take `true` for the number 1."""
        for section in ("measure", "quality"):
            values = self._data.get(section)
            for name, value in values.items() if isinstance(values, dict) else ():
                known = _MODELS[section].model_fields.get(name)
                if isinstance(value, bool) and known is not None and known.annotation is int:
                    self._say((section, name), f"expected a whole number, got {shown(value)}")

    def _check_whole(self, suite: Suite) -> None:
        asked = count_combinations(suite) + len(path_settings(suite.path)) + len(suite.include)
        if asked > MAX_CASES:
            self._say_key(("matrix",), too_many(asked))
        measure, given = suite.measure, self._data.get("measure") or {}
        for least, most, unit, above, below in (
            ("min_time", "max_time", " s", "longer", "shorter"),
            ("min_steps", "max_steps", "", "more", "less"),
        ):
            low, high = getattr(measure, least), getattr(measure, most)
            if low > high and least in given:
                self._say(("measure", least), f"{low:g}{unit} is {above} than {most} ({high:g}{unit})")
            elif low > high:
                self._say(("measure", most), f"{high:g}{unit} is {below} than {least} ({low:g}{unit} by default)")
        if suite.fleet is not None:
            self._check_fleet(suite)
        if suite.quality is None:
            return
        if suite.quality.data is not None:
            self._check_value(("quality", "data"), "data", suite.quality.data)
        data = suite.quality.data or suite.defaults.get("data", "synthetic")
        varies = suite.quality.data is None and "data" in suite.matrix
        if data == "synthetic" and not varies:
            at = ("quality", "data") if suite.quality.data else ("quality",)
            self._say_key(at, "synthetic data has no score to train to", "add data: digits")

    def _check_fleet(self, suite: Suite) -> None:
        """Each card measures by itself, as the only CUDA device that its process sees."""
        given = [
            suite.defaults,
            *suite.include,
            *({name: each} for name in suite.matrix for each in suite.matrix[name]),
        ]
        if any(settings.get("world_size", 1) != 1 for settings in given):
            self._say_key(("fleet",), "in a fleet each card measures alone: leave `world_size` out")
        if any(":" in str(settings.get("device", "")) for settings in given):
            self._say_key(("fleet",), "a fleet is measured on every card: write `device: cuda`")
        if suite.quality is not None:
            self._say_key(("fleet",), "a fleet has no accuracy runs: leave `quality` out")

    def _axes(self) -> dict[str, Any]:
        matrix = self._data.get("matrix")
        return matrix if isinstance(matrix, dict) else {}

    def _elements(self, path: Path) -> list[Any]:
        node = find(self._root, path)
        return plain(node) if isinstance(node, YamlList) else []

    def _unknown_key(self, path: Path, known: Sequence[str]) -> None:
        self._say_key(path, "unknown key", near_word(str(path[-1]), known))

    def _say_key(self, path: Path, message: str, suggestion: str = "") -> None:
        self.problems.append(error(path_text(path), message, key_mark(self._root, path), suggestion))

    def _say(self, path: Path, message: str, suggestion: str = "", *, mark_path: Path | None = None) -> None:
        mark = value_mark(self._root, path if mark_path is None else mark_path)
        self.problems.append(error(path_text(path), message, mark, suggestion))


def _keys_of(path: Path) -> tuple[str, ...]:
    """The keys allowed at the end of `path`, as written in the file."""
    model = _MODELS.get(str(path[0]), Suite) if len(path) > 1 else Suite
    return tuple(info.alias or name for name, info in model.model_fields.items())

"""`-s NAME=VALUE,...`: a setting, an axis or a key of a section, replaced before the suite is checked."""

from collections.abc import Sequence

from gpubench.suite.model.mistake_messages import near_word
from gpubench.suite.model.settings import SETTINGS
from gpubench.suite.model.suite import ClusterSettings, ContestSettings, FleetSettings, Measure, QualitySettings
from gpubench.suite.read.problems import Mark, Problem, SourceText, error
from gpubench.suite.read.yaml_document import BadText, YamlEntry, YamlList, YamlMapping, YamlNode, YamlScalar, read_yaml

_SECTIONS = {
    "measure": tuple(Measure.model_fields),
    "quality": tuple(QualitySettings.model_fields),
    "contest": tuple(ContestSettings.model_fields),
    "cluster": tuple(ClusterSettings.model_fields),
    "fleet": tuple(FleetSettings.model_fields),
}


def apply_overrides(root: YamlMapping, texts: Sequence[str]) -> tuple[YamlMapping, list[Problem]]:
    """The suite with `texts` applied in order, and the mistakes in them.

    `params.NAME` is a setting too. One value of a setting becomes its default, or the only value of its axis; several
    make an axis. A setting given here is no longer changed by any `when` or by the `path`. `quality=off`,
    `cluster=off` and `fleet=off` drop the section, `contest=off` switches it off.
    """
    problems: list[Problem] = []
    for text in texts:
        try:
            root = _apply(root, text)
        except BadText as bad:
            problems.append(bad.problem)
    return root, problems


def _apply(root: YamlMapping, text: str) -> YamlMapping:
    source = SourceText(f"-s {text}", (text,), option=True)
    name, equals, values = text.partition("=")
    key = Mark(source, 0, 0, len(name))
    if not equals:
        raise BadText(error("", "expected NAME=VALUE", Mark(source, 0, len(text))))
    given = _values(name, values, source)
    section, dot, field = name.partition(".")
    if name in SETTINGS:
        return _set(root, name, key, given)
    if dot and section in _SECTIONS:
        # Several values become a list; one of these keys (the learning rates) takes one.
        return _set_in(root, section, field, key, given[0] if len(given) == 1 else YamlList(given[0].mark, given))
    if section == "params" and field:
        return _set_param(root, field, key, given)
    if name in ("quality", "cluster", "fleet") and len(given) == 1 and _is_off(given[0]):
        return root.without(name)
    if name == "contest" and len(given) == 1 and _is_off(given[0]):
        return root.with_entry("contest", YamlEntry(key, YamlScalar(given[0].mark, "off")))
    in_sections = [f"{section}.{each}" for section, fields in _SECTIONS.items() for each in fields]
    raise BadText(
        error(
            "",
            f"there is no setting {name!r}",
            key,
            near_word(name, [*SETTINGS, *in_sections, "quality=off", "contest=off", "cluster=off", "fleet=off"]),
        )
    )


def _values(name: str, text: str, source: SourceText) -> list[YamlNode]:
    """The values between commas, read as the elements of a YAML list, with its quotes and brackets."""
    column = len(name) + 1
    node, problems = read_yaml(f"{' ' * len(name)}[{text}]", source, (name,))
    if problems:
        raise BadText(problems[0])
    if not isinstance(node, YamlList):
        raise BadText(error("", "this is not a list of values", Mark(source, 0, column, len(text))))
    if not node.elements:
        raise BadText(error("", "expected a value", Mark(source, 0, column)))
    (first, *rest) = node.elements
    return first.elements if isinstance(first, YamlList) and first.elements and not rest else node.elements


def _set(root: YamlMapping, name: str, key: Mark, given: list[YamlNode]) -> YamlMapping:
    root = _without_changes(root, name)
    matrix = root.get("matrix")
    is_axis = isinstance(matrix, YamlMapping) and name in matrix.entries
    spread = len(given) == 1 and isinstance(given[0], YamlMapping) and list(given[0].entries) == ["pow2"]
    if is_axis or spread or len(given) > 1:
        return _set_in(root, "matrix", name, key, given[0] if spread else YamlList(given[0].mark, given))
    return _set_in(root, "defaults", name, key, given[0])


def _set_param(root: YamlMapping, name: str, key: Mark, given: list[YamlNode]) -> YamlMapping:
    """One value goes to `defaults`, unless the parameter has an axis; several make an axis."""
    matrix = root.get("matrix")
    axes = matrix.get("params") if isinstance(matrix, YamlMapping) else None
    if isinstance(axes, YamlList):
        raise BadText(error("", "the suite lists whole `params` as an axis: write it as params: {NAME: [...]}", key))
    is_axis = isinstance(axes, YamlMapping) and name in axes.entries
    section = "matrix" if is_axis or len(given) > 1 else "defaults"
    there = root.get(section)
    params = there.get("params") if isinstance(there, YamlMapping) else None
    value = YamlList(given[0].mark, given) if section == "matrix" else given[0]
    entry = YamlEntry(key, value)
    changed = params.with_entry(name, entry) if isinstance(params, YamlMapping) else YamlMapping(key, {name: entry})
    return _set_in(root, section, "params", key, changed)


def _set_in(root: YamlMapping, section: str, name: str, key: Mark, value: YamlNode) -> YamlMapping:
    there = root.get(section)
    if there is None or _is_off(there):
        there = YamlMapping(key)
    if not isinstance(there, YamlMapping):
        return root  # The section itself is a mistake, and reported as such.
    place = root.entries[section].key_mark if section in root.entries else key
    return root.with_entry(section, YamlEntry(place, there.with_entry(name, YamlEntry(key, value))))


def _without_changes(root: YamlMapping, name: str) -> YamlMapping:
    """The suite without rules and stages that set `name`; a stage that changes nothing else is dropped."""
    rules, path = root.get("when"), root.get("path")
    if isinstance(rules, YamlList):
        kept = YamlList(rules.mark, [_rule_without(rule, name) for rule in rules.elements])
        root = root.with_entry("when", YamlEntry(root.entries["when"].key_mark, kept))
    if isinstance(path, YamlList):
        stages = [each.without(name) if isinstance(each, YamlMapping) else each for each in path.elements]
        kept = YamlList(path.mark, [each for each in stages if not isinstance(each, YamlMapping) or each.entries])
        root = root.with_entry("path", YamlEntry(root.entries["path"].key_mark, kept))
    return root


def _rule_without(rule: YamlNode, name: str) -> YamlNode:
    settings = rule.get("set") if isinstance(rule, YamlMapping) else None
    if isinstance(rule, YamlMapping) and isinstance(settings, YamlMapping):
        return rule.with_entry("set", YamlEntry(rule.entries["set"].key_mark, settings.without(name)))
    return rule


def _is_off(node: YamlNode) -> bool:
    return isinstance(node, YamlScalar) and str(node.value).lower() in ("off", "none", "null", "false")

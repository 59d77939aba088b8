"""`-s NAME=VALUE,...`: a setting, an axis or a key of a section, replaced before the suite is checked."""

from collections.abc import Sequence

from gpubench.suite.model.settings import SETTINGS
from gpubench.suite.model.suite import Measure, Quality
from gpubench.suite.model.synonyms import near_word
from gpubench.suite.read.problems import Mark, Problem, Source, error
from gpubench.suite.read.yaml_document import BadText, Entry, Items, Mapping, Node, Scalar, read_yaml

_SECTIONS = {"measure": tuple(Measure.model_fields), "quality": tuple(Quality.model_fields)}
_OFF = ("off", "none", "null", "false")


def apply_overrides(root: Mapping, texts: Sequence[str]) -> tuple[Mapping, list[Problem]]:
    """The suite with each of `texts` applied, in their order, and what is wrong with them.

    One value of a setting becomes its default, or the only value of its axis; several make an axis. A setting given
    here is no longer set by any `when`, nor changed on the `path`. `quality=off` drops the section.
    """
    problems: list[Problem] = []
    for text in texts:
        try:
            root = _apply(root, text)
        except BadText as bad:
            problems.append(bad.problem)
    return root, problems


def _apply(root: Mapping, text: str) -> Mapping:
    source = Source(f"-s {text}", (text,), option=True)
    name, equals, values = text.partition("=")
    key = Mark(source, 0, 0, len(name))
    if not equals:
        raise BadText(error("", "expected NAME=VALUE", Mark(source, 0, len(text))))
    given = _values(values, source, len(name) + 1)
    section, dot, field = name.partition(".")
    if name in SETTINGS:
        return _set(root, name, key, given)
    if dot and section in _SECTIONS:
        return _set_in_section(root, section, field, key, given)
    if name == "quality" and len(given) == 1 and isinstance(given[0], Scalar) and _is_off(given[0]):
        return root.without("quality")
    known = (
        *SETTINGS,
        *(f"{section}.{each}" for section, fields in _SECTIONS.items() for each in fields),
        "quality=off",
    )
    raise BadText(error("", f"there is no setting {name!r}", key, near_word(name, known)))


def _values(text: str, source: Source, column: int) -> list[Node]:
    """The values between commas, read as the elements of a YAML list: quotes and brackets mean what they mean there."""
    node, problems = read_yaml(f"{' ' * (column - 1)}[{text}]", source)
    if problems:
        raise BadText(problems[0])
    if not isinstance(node, Items):
        raise BadText(error("", "this is not a list of values", Mark(source, 0, column, len(text))))
    if not node.elements:
        raise BadText(error("", "expected a value", Mark(source, 0, column)))
    (first, *rest) = node.elements
    return first.elements if isinstance(first, Items) and first.elements and not rest else node.elements


def _set(root: Mapping, name: str, key: Mark, given: list[Node]) -> Mapping:
    root = _without_path(_without_when(root, name), name)
    matrix = root.get("matrix")
    is_axis = isinstance(matrix, Mapping) and name in matrix.entries
    spread = len(given) == 1 and isinstance(given[0], Mapping) and list(given[0].entries) == ["pow2"]
    if is_axis or spread or len(given) > 1:
        return _set_in(root, "matrix", name, key, given[0] if spread else Items(given[0].mark, given))
    return _set_in(root, "defaults", name, key, given[0])


def _set_in_section(root: Mapping, section: str, field: str, key: Mark, given: list[Node]) -> Mapping:
    """Several values become a list, which one of these keys (the learning rates) takes."""
    return _set_in(root, section, field, key, given[0] if len(given) == 1 else Items(given[0].mark, given))


def _set_in(root: Mapping, section: str, name: str, key: Mark, value: Node) -> Mapping:
    there = root.get(section)
    if there is None or (isinstance(there, Scalar) and (there.value is None or _is_off(there))):
        there = Mapping(key)
    if not isinstance(there, Mapping):
        return root  # what the file says there is a mistake of its own, and is reported as such
    place = root.entries[section].key_mark if section in root.entries else key
    return root.with_entry(section, Entry(place, there.with_entry(name, Entry(key, value))))


def _without_when(root: Mapping, name: str) -> Mapping:
    rules = root.get("when")
    if not isinstance(rules, Items):
        return root
    kept = Items(rules.mark, [_rule_without(rule, name) for rule in rules.elements], rules.size)
    return root.with_entry("when", Entry(root.entries["when"].key_mark, kept))


def _without_path(root: Mapping, name: str) -> Mapping:
    """The path without changes of this setting; a stage of which nothing is left goes."""
    path = root.get("path")
    if not isinstance(path, Items):
        return root
    stages = [each.without(name) if isinstance(each, Mapping) else each for each in path.elements]
    kept = [each for each in stages if not isinstance(each, Mapping) or each.entries]
    return root.with_entry("path", Entry(root.entries["path"].key_mark, Items(path.mark, kept, path.size)))


def _rule_without(rule: Node, name: str) -> Node:
    settings = rule.get("set") if isinstance(rule, Mapping) else None
    if isinstance(rule, Mapping) and isinstance(settings, Mapping) and name in settings.entries:
        return rule.with_entry("set", Entry(rule.entries["set"].key_mark, settings.without(name)))
    return rule


def _is_off(node: Scalar) -> bool:
    return str(node.value).lower() in _OFF

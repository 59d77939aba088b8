import pytest
import yaml

from gpubench.suite.read import yaml_document
from gpubench.suite.read.problems import SourceText
from gpubench.suite.read.yaml_document import BadText, YamlList, YamlMapping, plain, read_yaml


def read(text):
    node, problems = read_yaml(text, SourceText.of_text("file", text))
    assert not problems
    return node


@pytest.fixture(params=["C", "Python"], autouse=True)
def parser(request, monkeypatch):
    """Both of PyYAML's parsers: where it was built without libyaml there is only the second."""
    if request.param == "C" and not hasattr(yaml, "CSafeLoader"):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_document, "_PARSER", yaml.CSafeLoader if request.param == "C" else yaml.SafeLoader)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("on", "on"),
        ("no", "no"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("64", 64),
        ("-3", -3),
        ("0x10", 16),
        ("0o17", 15),
        ("010", 10),
        ("1e-3", 1e-3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("'64'", "64"),
        ('"true"', "true"),
        ("!!str 64", "64"),
        ("cuda:0", "cuda:0"),
        ("torchvision:resnet50", "torchvision:resnet50"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_values_follow_yaml_1_2(text, value):
    found = plain(read(f"key: {text}"))["key"]
    assert found == value
    assert type(found) is type(value)


def test_every_key_and_value_knows_its_place():
    root = read("first: 1\nmatrix:\n  precision: [fp32,\n    amp-bf16]\n")
    assert isinstance(root, YamlMapping)
    matrix = root.entries["matrix"]
    assert (matrix.key_mark.line, matrix.key_mark.column, matrix.key_mark.length) == (1, 0, 6)
    assert isinstance(matrix.node, YamlMapping)
    precisions = matrix.node.get("precision")
    assert isinstance(precisions, YamlList)
    last = precisions.elements[1].mark
    assert (last.line, last.column, last.length) == (3, 4, 8)


def test_columns_count_characters_not_bytes():
    root = read("schlüssel: [äö, x]")
    assert isinstance(root, YamlMapping)
    items = root.get("schlüssel")
    assert isinstance(items, YamlList)
    assert items.elements[1].mark.column == 16


def test_an_alias_stands_for_its_anchor():
    assert plain(read("a: &a [1, 2]\nb: *a\n")) == {"a": [1, 2], "b": [1, 2]}


def test_duplicate_keys_are_all_reported_with_their_path_and_the_first_value_stays():
    text = "a: 1\nm:\n  x: 1\n  x: 2\na: 2\n"
    node, problems = read_yaml(text, SourceText.of_text("file", text))
    assert [(each.path, each.message) for each in problems] == [
        ("m.x", "duplicate key, first given in line 3"),
        ("a", "duplicate key, first given in line 1"),
    ]
    assert plain(node) == {"a": 1, "m": {"x": 1}}


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
                for old, new in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "more than 50,000 values",
        ),
        ("m: &m {mode: *m}", "contains itself"),
        ("m: *nowhere", "&nowhere is not defined above"),
        ("m: " + "[" * 100_000, "nest"),
        ("m: " + "{a: " * 50_000, "nested deeper than 20 levels"),
        ("m: [" + "1," * 60_000 + "]", "more than 50,000 values"),
        ("a: \0", "U+0000"),
        ("a: \x1b[31m", "U+001B"),
        ("\x7fELF", "U+007F"),
        ("a:\n\tb: 1", "a tab cannot indent YAML"),
        ("a: [1", "not YAML"),
        ("a: b: c", "not YAML"),
        ("a: 1\n---\nb: 2", "one document"),
        ("a: !!python/object/apply:os.system [ls]", "the tag !!python/object/apply:os.system"),
        ("a: !!binary aGk=", "the tag !!binary"),
        ("a: !!int 3", "the tag !!int"),
        ("a: &d {x: 1}\nb: {<<: *d}", "merge keys"),
        ("{a: b}: c", "a key must be a word"),
        ("[a]: c", "a key must be a word"),
    ],
)
def test_hostile_text_is_refused_with_its_place(text, said):
    with pytest.raises(BadText) as caught:
        read(text)
    assert said in caught.value.problem.message
    assert caught.value.problem.mark.line < text.count("\n") + 1

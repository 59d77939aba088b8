"""The common JUnit schema (that of Jenkins and of Apache Ant, which GitLab and others read), as rules."""

import re
import xml.etree.ElementTree as ET

_COUNT = re.compile(r"\d+")
_TIME = re.compile(r"\d+(\.\d+)?")
_TEXT = re.compile(r".*", re.DOTALL)
_NAME = re.compile(r".+", re.DOTALL)

# Element: (children allowed, attributes required, attributes allowed besides)
_RULES = {
    "testsuites": (
        {"testsuite"},
        {},
        {
            "name": _TEXT,
            "time": _TIME,
            "tests": _COUNT,
            "failures": _COUNT,
            "errors": _COUNT,
            "disabled": _COUNT,
            "skipped": _COUNT,
        },
    ),
    "testsuite": (
        {"properties", "testcase", "system-out", "system-err"},
        {"name": _NAME, "tests": _COUNT},
        {
            "failures": _COUNT,
            "errors": _COUNT,
            "skipped": _COUNT,
            "disabled": _COUNT,
            "time": _TIME,
            "timestamp": _TEXT,
            "hostname": _TEXT,
            "id": _TEXT,
            "package": _TEXT,
        },
    ),
    "testcase": (
        {"skipped", "error", "failure", "system-out", "system-err"},
        {"name": _NAME, "classname": _NAME},
        {"time": _TIME, "assertions": _COUNT, "status": _TEXT, "file": _TEXT},
    ),
    "failure": (set(), {}, {"message": _TEXT, "type": _TEXT}),
    "error": (set(), {}, {"message": _TEXT, "type": _TEXT}),
    "skipped": (set(), {}, {"message": _TEXT}),
    "system-out": (set(), {}, {}),
    "system-err": (set(), {}, {}),
}


def validate_junit(text: str) -> ET.Element:
    """The root of a document that keeps the schema, and whose counts are those of its parts; AssertionError otherwise."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    root = ET.fromstring(text.encode())
    assert root.tag == "testsuites"
    _check(root)
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "")) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name, "0")) == sum(case.find(tag) is not None for case in cases)
    for name in ("tests", "failures", "errors", "skipped"):
        assert int(root.get(name, "0")) == sum(int(suite.get(name, "0")) for suite in root)
    return root


def _check(element: ET.Element) -> None:
    children, required, allowed = _RULES[element.tag]
    for name, pattern in required.items():
        assert pattern.fullmatch(element.get(name, "")), f"{element.tag} needs {name}"
    for name, value in element.attrib.items():
        assert name in required or name in allowed, f"{element.tag} has no attribute {name}"
        assert {**required, **allowed}[name].fullmatch(value), f"{element.tag} {name}={value!r}"
    for child in element:
        assert child.tag in children, f"{child.tag} may not stand in {element.tag}"
        _check(child)
    if element.tag == "testcase":
        assert sum(child.tag in ("failure", "error", "skipped") for child in element) <= 1

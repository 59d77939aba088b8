"""One class name has one meaning in the whole package."""

import ast
from collections import defaultdict
from pathlib import Path

import gpubench


def test_no_two_public_classes_share_a_name():
    package = Path(gpubench.__file__).parent
    homes = defaultdict(list)
    for file in package.rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(file.relative_to(package)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}

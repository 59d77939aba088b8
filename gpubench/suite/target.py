"""`gpubench run TARGET`: a workload where a suite could be named, as the shortest suite that measures it."""

import json
import re
from pathlib import Path
from typing import NoReturn

from gpubench.core.errors import UsageError
from gpubench.suite.model.workload_names import LIBRARIES
from gpubench.suite.read.find_workload import names_in, offered, why_missing

_LONGEST_NAME = 64
_MOST_NAMED = 4

_SUITE = """schema: 1
name: {name}
description: {workload} alone, as named on the command line.
defaults: {{workload: {quoted}, device: auto, batch_size: 32}}
measure: {{target_rel_ci: 2%, min_time: 1s, max_time: 10s}}
"""


_NOT_CODE = {
    ".ipynb": (
        "{file} is a notebook, which cannot be imported.",
        "Write the model's cell to a file (`%%writefile mymodel.py` in its first line), and name it as mymodel.py:Net.",
    ),
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".pkl"),
        (
            "{file} holds weights, not the code of a model.",
            "Name the class, or a function that makes the model and loads them: mymodel.py:make.",
        ),
    ),
    **dict.fromkeys(
        (".sh", ".exe"),
        ("{file} is a program, not a model or a suite.", "`gpubench stat -- ./{file}` measures a program."),
    ),
}
"""By suffix: other files that people name in place of a suite or target, and what to do instead."""


def is_target(source: str) -> bool:
    """Whether `source` names a workload: `torchvision:resnet18`, `module:Name`, `file.py:Name` or `file.py`.

    A name alone is that of a suite.
    """
    return source.endswith(".py") or (":" in source and not Path(source).is_file())


def target_suite(source: str) -> str:
    """The suite of a target, as text. UsageError, with what there is, if it names nothing."""
    file, colon, name = source.rpartition(":")
    refuse_other_kinds(file or source)
    if not colon or not name:
        _refuse_file_alone(file or source)
    if not file or ":" in file:
        raise UsageError(
            f"{source!r} is not a target.", hint="A target is FILE.py:NAME, MODULE:NAME or torchvision:NAME."
        )
    missing, suggestion = why_missing(source, ())
    if missing:
        raise UsageError(f"{_capital(missing)}.", hint=_capital(suggestion))
    return _SUITE.format(name=_slug(name), workload=source, quoted=json.dumps(source, ensure_ascii=False))


def refuse_other_kinds(file: str) -> None:
    """UsageError for a notebook, weights or a program, by its suffix."""
    said, hint = _NOT_CODE.get(Path(file).suffix.lower(), ("", ""))
    if said:
        raise UsageError(said.format(file=file), hint=hint.format(file=file))


def refuse_without_name(source: str) -> None:
    """UsageError for a folder, and for a module without the name of an object in it."""
    path, module = Path(source), Path(*source.split("."))
    if all((path / name).is_file() for name in ("run.json", "records.jsonl")):
        raise UsageError(
            f"{source} is a stored run, and a suite or a target is needed here.",
            hint=f"`gpubench show {source}` shows it.",
        )
    if path.is_dir():
        raise UsageError(f"{source} is a folder.", hint=f"A target names one object: {_example_in(path)}.")
    if module.with_suffix(".py").is_file() and "/" not in source:
        _refuse_alone(source, module.with_suffix(".py"), "module")


def _example_in(folder: Path) -> str:
    package = folder / "__init__.py"
    if offered(names_in(package) or {}):
        return _examples(".".join(folder.parts), package)
    files = sorted(folder.glob("*.py"))
    file = next((each for each in files if "class" in (names_in(each) or {}).values()), folder / "model.py")
    return _examples(str(file), file) or f"{file}:Name"


def _refuse_file_alone(file: str) -> NoReturn:
    if file in LIBRARIES:
        raise UsageError(f"`{file}:` names no model.", hint=f"For example {file}:{LIBRARIES[file].example}.")
    refuse_without_name(file)
    if not Path(file).is_file():
        raise UsageError(f"There is no file {file}.", hint="A target in a file is path/to/file.py:Name.")
    _refuse_alone(file, Path(file), "file")


def _refuse_alone(name: str, file: Path, kind: str) -> NoReturn:
    examples = _examples(name, file)
    raise UsageError(
        f"{name} is a {kind}; a target names one object in it.",
        hint=f"For example {examples}." if examples else "It defines no class or function.",
    )


def _examples(name: str, file: Path) -> str:
    """Targets in a file: its classes, or else its functions, or else its values. Empty if it has none."""
    names = names_in(file) or {}
    own = offered(names)
    own = [each for each in own if names[each] == names[own[0]]][:_MOST_NAMED]
    return ", ".join(f"{name}:{each}" for each in own)


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST_NAME].strip("-._") or "target"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

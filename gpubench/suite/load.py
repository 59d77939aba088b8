"""Reads a suite: a file or shipped name, with overrides, checks and cases."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.core.units import format_bytes
from gpubench.suite.cases.expand import Expansion, expand, quality_cases
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Suite
from gpubench.suite.read.find_mistakes import check
from gpubench.suite.read.find_workload import why_missing
from gpubench.suite.read.overrides import apply_overrides
from gpubench.suite.read.problems import Mark, Problem, SourceText, error, in_order, path_text, suite_error
from gpubench.suite.read.shipped import shipped_suites
from gpubench.suite.read.suspicious_settings import oddities
from gpubench.suite.read.yaml_document import (
    BadText,
    YamlEntry,
    YamlList,
    YamlMapping,
    YamlNode,
    YamlScalar,
    paths_of,
    read_yaml,
    value_mark,
)
from gpubench.suite.target import is_target, refuse_other_kinds, refuse_without_name, target_suite

MAX_BYTES = 256 * 1024


_GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of NVIDIA's driver, of AMD's, and of either under WSL."""
_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclass(frozen=True)
class LoadedSuite:
    """`cases` are those to measure, in the suite's order; `quality_cases` the quality runs.

    `text` is the content of the file at `path`, or the suite made for a `target` named instead of a file. `digest`
    covers what is measured: the suite with its `overrides`, without its description. Comments and the order of keys do
    not change it, the order of axes does.
    """

    suite: Suite
    cases: tuple[Case, ...]
    path: Path | None
    text: str
    digest: str
    warnings: tuple[Problem, ...] = ()
    quality_cases: tuple[Case, ...] = ()
    overrides: tuple[str, ...] = ()
    target: str | None = None
    expansion: Expansion = field(kw_only=True)

    def __repr__(self) -> str:
        return f"<LoadedSuite {self.suite.name}: {len(self.cases)} cases, {self.source}>"

    @property
    def source(self) -> str:
        """The suite's name on a command line."""
        return str(self.path or self.target or self.suite.name)

    @property
    def beside(self) -> tuple[str, ...]:
        """The folder beside the suite file, where workloads are looked for first."""
        return beside(self.path)


def beside(suite: Path | None) -> tuple[str, ...]:
    """The folder of a suite file; empty for a suite from text. A link is followed, as Python does for a script."""
    return () if suite is None else (str(suite.resolve().parent),)


def load_suite(source: str | Path, overrides: Sequence[str] = ()) -> LoadedSuite:
    """The suite in a file, the shipped one of that name, or that of a target, with `overrides` (`batch_size=64,128`).

    A target is a workload: `torchvision:resnet18`, `module:Name`, `file.py:Name`. SuiteError with every mistake and its
    place; UsageError if there is no such file or target, or it cannot be read.
    """
    if is_target(str(source)):
        return replace(parse_suite(target_suite(str(source)), overrides), target=str(source))
    path = find_suite(source)
    return parse_suite(read_text(path), overrides, path=path)


def parse_suite(text: str, overrides: Sequence[str] = (), *, path: Path | None = None) -> LoadedSuite:
    """The same from text; `path` names it in messages. SuiteError."""
    source = SourceText.of_text("<suite>" if path is None else str(path), text)
    try:
        root, problems = read_yaml(text, source)
    except BadText as bad:
        raise suite_error([bad.problem]) from bad
    if not isinstance(root, YamlMapping):
        said = "the file is empty" if not text.strip() else "a suite file is a mapping: `schema: 1`, `name: ...`, ..."
        raise suite_error([error("", said, root.mark)])
    root, wrong = apply_overrides(root, overrides)
    root = with_device(root, auto_device())
    suite, mistakes = check(root)
    problems = [*problems, *wrong, *mistakes]
    if problems or suite is None:
        raise suite_error(problems)
    expansion = expand(suite)
    trained = quality_cases(suite, expansion.cases)
    return LoadedSuite(
        suite=suite,
        cases=expansion.cases,
        path=path,
        text=text,
        digest=digest_of(suite),
        warnings=oddities(suite, expansion, trained, root, narrowed=bool(overrides)),
        quality_cases=trained,
        overrides=tuple(overrides),
        expansion=expansion,
    )


def missing_workloads(
    loaded: LoadedSuite, unusable: Mapping[str, tuple[str, str]] = MappingProxyType({})
) -> tuple[Problem, ...]:
    """Workloads that cannot be found here, each with its place in the file, and those known to be `unusable` (by name:
    what is wrong, and what to do). A case with its own `python` is not checked, as that may find them.
    """
    root, _ = read_yaml(loaded.text, SourceText.of_text(loaded.source, loaded.text))
    assert isinstance(root, YamlMapping), "it was loaded from it"
    root, _ = apply_overrides(root, loaded.overrides)
    found = []
    for name in dict.fromkeys(case.workload for case in loaded.cases if case.python is None):
        said, suggestion = unusable.get(name) or why_missing(name, loaded.beside)
        if said:
            place = next(paths_of(root, name), ())
            found.append(error(path_text(place), said, value_mark(root, place), suggestion))
    return in_order(found)


def digest_of(suite: Suite) -> str:
    """16 hex digits of what the suite measures. Stable across releases that only add keys with a default."""
    content = suite.model_dump(
        mode="json", by_alias=True, exclude={"description", "contest", "cluster"}, exclude_defaults=True
    )
    content["matrix"] = list(suite.matrix.items())
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_suite(source: str | Path) -> Path:
    """The file that `source` names: a path, or the name of a shipped suite. UsageError with the nearest names."""
    path = Path(source)
    if path.is_file():
        refuse_other_kinds(str(source))
        return path
    shipped = shipped_suites()
    name = str(source)
    if name in shipped:
        return shipped[name]
    refuse_other_kinds(name)
    refuse_without_name(name)
    if path.exists():
        raise UsageError(f"{name} is not a file.", hint="Name a suite file, or a suite that ships with gpubench.")
    suggestion = near(path.stem, shipped)
    raise UsageError(
        f"There is no suite {name!r}: no such file, and none of that name ships with gpubench."
        + (f" {suggestion[:1].upper()}{suggestion[1:]}" if suggestion else ""),
        hint=f"Shipped: {', '.join(shipped)}." if shipped else "",
    )


def read_text(path: Path) -> str:
    """UTF-8 text of at most MAX_BYTES. SuiteError, or UsageError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror or problem}.") from problem
    nowhere = Mark(SourceText(str(path)))
    if len(content) > MAX_BYTES:
        raise suite_error([error("", f"larger than {format_bytes(MAX_BYTES)}, so it is not a suite file", nowhere)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start)
        mark = Mark(SourceText(str(path)), line, problem.start - content.rfind(b"\n", 0, problem.start) - 1)
        raise suite_error([error("", f"not UTF-8 text (byte 0x{content[problem.start]:02x})", mark)]) from problem


def auto_device(dev: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> str:
    """`cuda` or `cpu`, without asking torch, so in a millisecond. If torch cannot use the GPU, the case says why."""
    if any(environ.get(name, "0").strip() in ("", "-1") for name in _HIDING):
        return "cpu"
    return "cuda" if any(next(dev.glob(pattern), None) for pattern in _GPU_FILES) else "cpu"


def with_device(root: YamlMapping, device: str) -> YamlMapping:
    """The suite with `device` wherever it says `device: auto`."""
    return YamlMapping(root.mark, {name: _replaced(name, entry, device) for name, entry in root.entries.items()})


def _replaced(name: str, entry: YamlEntry, device: str) -> YamlEntry:
    return YamlEntry(entry.key_mark, _chosen(entry.node, device, is_device=name == "device"))


def _chosen(node: YamlNode, device: str, *, is_device: bool) -> YamlNode:
    if isinstance(node, YamlMapping):
        return with_device(node, device)
    if isinstance(node, YamlList):
        return YamlList(node.mark, [_chosen(each, device, is_device=is_device) for each in node.elements])
    return YamlScalar(node.mark, device) if is_device and node.value == "auto" else node

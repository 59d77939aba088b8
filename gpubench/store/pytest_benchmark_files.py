"""JSON files that pytest-benchmark writes (`--benchmark-json`, `--benchmark-save`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from gpubench.core.errors import StoreError, UsageError
from gpubench.store.atomic_files import store_error

_HOW = "Write one with: pytest --benchmark-json=FILE"


@dataclass(frozen=True)
class PytestTest:
    """One test. Times in seconds; `data` holds every round where the file has them, `stats` what was made of them."""

    name: str
    fullname: str
    group: str | None
    params: Mapping[str, Any]
    stats: Mapping[str, Any]
    data: tuple[float, ...]
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class PytestFile:
    """One run of pytest. `created` is its own time stamp (ISO 8601), `machine` and `commit` what it says of those."""

    path: Path
    created: str
    machine: Mapping[str, Any]
    commit: Mapping[str, Any]
    tests: tuple[PytestTest, ...]


def read_pytest_file(path: Path) -> PytestFile:
    """UsageError where there is no such file or it is not one of pytest-benchmark's, StoreError where it cannot be
    read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", hint=_HOW) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    try:
        document = from_json(content)
        return _file(path, document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not a JSON file of pytest-benchmark: {error}", hint=_HOW) from error


def _file(path: Path, document: Any) -> PytestFile:
    if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
        raise ValueError("it has no list of benchmarks")
    tests = tuple(_test(entry) for entry in document["benchmarks"])
    return PytestFile(
        path,
        str(document.get("datetime") or ""),
        document.get("machine_info") or {},
        document.get("commit_info") or {},
        tests,
    )


def _test(entry: Mapping[str, Any]) -> PytestTest:
    stats = dict(entry["stats"])
    data = tuple(float(value) for value in stats.pop("data", None) or ())
    return PytestTest(
        str(entry["name"]),
        str(entry.get("fullname") or entry["name"]),
        entry.get("group"),
        entry.get("params") or {},
        stats,
        data,
        entry.get("extra_info") or {},
    )

"""JSON files that pytest-benchmark writes (`--benchmark-json`, `--benchmark-save`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpubench.core.errors import StoreError, UsageError
from gpubench.store.atomic_files import read_regular, store_error
from gpubench.store.parse_json import parse_json

_HOW = "Write one with: pytest --benchmark-json=FILE"


@dataclass(frozen=True)
class PytestTest:
    """One test. Times in seconds; `data` holds every round if the file has them, `stats` their statistics."""

    name: str
    fullname: str
    group: str | None
    params: Mapping[str, Any]
    stats: Mapping[str, Any]
    data: tuple[float, ...]
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class PytestFile:
    """One run of pytest. `created` is an ISO 8601 time in UTC, empty if unknown; `machine` and `commit` are what it
    recorded.
    """

    path: Path
    created: str
    machine: Mapping[str, Any]
    commit: Mapping[str, Any]
    tests: tuple[PytestTest, ...]


def read_pytest_file(path: Path) -> PytestFile:
    """UsageError if there is no such file, StoreError if it cannot be read or is not from pytest-benchmark."""
    try:
        document: Any = parse_json(read_regular(path), finite=False)
        if not isinstance(document, dict) or not isinstance(document.get("benchmarks"), list):
            raise ValueError("it has no list of benchmarks")  # noqa: TRY301 - one message for all that is wrong with it
        return PytestFile(
            path,
            _in_utc(document.get("datetime")),
            _object(document, "machine_info"),
            _object(document, "commit_info"),
            _tests(document["benchmarks"]),
        )
    except FileNotFoundError:
        raise UsageError(f"there is no file {path}", hint=_HOW) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not a JSON file of pytest-benchmark: {error}", hint=_HOW) from error


def _in_utc(stamp: object) -> str:
    """A time that sorts as text; without an offset it is in UTC, as pytest-benchmark writes it. Empty if it is none."""
    try:
        found = datetime.fromisoformat(str(stamp))
    except ValueError:
        return ""
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def _tests(entries: Sequence[Mapping[str, Any]]) -> tuple[PytestTest, ...]:
    tests = tuple(_test(entry) for entry in entries)
    twice = [name for name, times in Counter(test.fullname for test in tests).items() if times > 1]
    if twice:
        raise ValueError(f"it has {twice[0]} twice")
    return tests


def _test(entry: Mapping[str, Any]) -> PytestTest:
    stats = dict(entry["stats"] or {})  # a failed test has none
    return PytestTest(
        name=str(entry["name"]),
        fullname=str(entry.get("fullname") or entry["name"]),
        group=entry.get("group"),
        params=_object(entry, "params"),
        data=tuple(_number(value) for value in stats.pop("data", None) or ()),
        stats=stats,
        extra=_object(entry, "extra_info"),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no time")
    return float(value)


def _object(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{key} is not an object")
    return value

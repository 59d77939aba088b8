"""Hand-made JSON files of pytest-benchmark."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def write_pytest_json(
    path: Path,
    tests: Mapping[str, Sequence[float]],
    *,
    created: str = "2026-11-24T10:00:00+00:00",
    data: bool = True,
    cpu: str = "Imaginary CPU",
    node: str = "ci-1",
    extra: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """`tests` maps a test's full name to its rounds in seconds; without `data` only the statistics are kept."""
    benchmarks = []
    for fullname, rounds in tests.items():
        ordered = sorted(rounds)
        half, quarter = ordered[len(ordered) // 2], len(ordered) // 4
        stats: dict[str, Any] = {
            "min": ordered[0],
            "max": ordered[-1],
            "mean": sum(ordered) / len(ordered),
            "median": half,
            "rounds": len(ordered),
            "iqr": ordered[-1 - quarter] - ordered[quarter],
            "iterations": 1,
        }
        if data:
            stats["data"] = list(rounds)
        benchmarks.append(
            {
                "group": None,
                "name": fullname.partition("::")[2],
                "fullname": fullname,
                "params": None,
                "param": None,
                "extra_info": dict((extra or {}).get(fullname, {})),
                "options": {},
                "stats": stats,
            }
        )
    document = {
        "machine_info": {
            "node": node,
            "system": "Linux",
            "python_version": "3.12.1",
            "cpu": {"brand_raw": cpu, "count": 8},
        },
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "benchmarks": benchmarks,
        "datetime": created,
        "version": "5.2.0",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def steady(level: float, num: int = 40, spread: float = 0.002) -> list[float]:
    """Rounds around `level` that go up and down without a pattern that lasts."""
    return [level * (1 + spread * ((number * 7919) % 11 - 5) / 5) for number in range(num)]

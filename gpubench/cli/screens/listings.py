"""The lists of `gpubench list`: entries as plain data, and the columns of their tables."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpubench.core.did_you_mean import near_aside
from gpubench.core.errors import StoreError, UsageError
from gpubench.core.findings import FINDINGS
from gpubench.core.metrics import METRICS
from gpubench.report.model.report_model import Cell, Column, Fact, Line, Row, Table, code, line
from gpubench.store.run_info import RunHead
from gpubench.store.run_names import list_heads
from gpubench.store.run_reader import count_ends, load_head
from gpubench.suite.model.workload_names import BUILT_IN, FAMILIES

_MOST_NAMED = 12


@dataclass(frozen=True)
class Listing:
    """`entries` are printed by `--json`; `columns` are the keys shown in a table, the name first."""

    kind: str
    columns: tuple[Column, ...]
    entries: tuple[dict[str, Any], ...]
    notes: tuple[Line, ...] = ()
    when_empty: tuple[Line, ...] = ()

    def only(self, name: str) -> "Listing":
        """The entry of that name (or code, or tag), in any case. UsageError with a suggestion if there is none."""
        key = self.columns[0].key
        names = [{str(entry.get(other) or "").lower() for other in (key, "name", "tag")} for entry in self.entries]
        found = tuple(entry for entry, known in zip(self.entries, names, strict=True) if name.lower() in known)
        if found:
            return replace(self, entries=found)

        keys = [str(entry[key]) for entry in self.entries]
        # The nearest code or date means something else; entries with this beginning are more likely meant.
        begin = [known for known in keys if known.lower().startswith(name.lower())]
        listed = ", ".join(begin[:_MOST_NAMED]) + (" and more" if len(begin) > _MOST_NAMED else "")
        meant = f"; {listed} {'begin' if len(begin) > 1 else 'begins'} with it" if begin else near_aside(name, keys)
        raise UsageError(
            f"there is no {self.kind} named {name!r}{meant}",
            hint=f"`gpubench list {self.kind}s` lists them.",
        )

    def table(self) -> Table:
        rows = [Row(tuple(Cell(_text(entry.get(each.key))) for each in self.columns)) for entry in self.entries]
        return Table(self.kind, self.columns, tuple(rows))

    def facts(self, entry: Mapping[str, Any]) -> tuple[Fact, ...]:
        """Everything about one entry."""
        return tuple(Fact(key.replace("_", " "), line(_text(value))) for key, value in entry.items() if _text(value))


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number} {name}" for name, number in value.items())
    return "" if value is None else str(value)


def findings() -> Listing:
    """Every finding code: what it means, what it does to a figure, what to do."""
    entries = tuple(
        {
            "code": spec.code,
            "name": spec.name,
            "severity": spec.severity.value,
            "effect": spec.effect.value,
            "mark": spec.mark,
            "meaning": spec.meaning,
            "remedy": spec.remedy,
        }
        for spec in sorted(FINDINGS.values())
    )
    columns = (
        Column("code", "code", "left"),
        Column("name", "name", "left"),
        Column("severity", "severity", "left", priority=2),
        Column("effect", "figure", "left", priority=1),
        Column("mark", "in tables", "left", priority=3),
        Column("meaning", "meaning", "left", flexible=True),
    )
    notes = (
        line("figure: what the finding does to the figure it is attached to."),
        line(code("gpubench list findings GB204"), " says what to do."),
    )
    return Listing("finding", columns, entries, notes)


def metrics() -> Listing:
    """Every metric of the registry."""
    entries = tuple(
        {
            "name": spec.name,
            "unit": spec.unit,
            "shown_as": spec.title,
            "better": spec.better,
            "group": spec.group,
            "over_launches": spec.summarise,
            "compared_by": spec.scale,
            "tolerance": spec.tolerance or None,
            "meaning": spec.meaning,
        }
        for spec in METRICS.values()
    )
    columns = (
        Column("name", "name", "left"),
        Column("unit", "unit", "left", priority=2),
        Column("shown_as", "shown as", "left", priority=4),
        Column("better", "better", "left", priority=3),
        Column("over_launches", "over launches", "left", priority=5),
        Column("meaning", "meaning", "left", flexible=True),
    )
    return Listing("metric", columns, entries)


def suites() -> Listing:
    """Suites that ship with the package, with the cases each expands to."""
    from gpubench.suite.load import load_suite  # imported here, because other lists do not need it
    from gpubench.suite.read.shipped import shipped_suites

    entries = []
    for name, path in sorted(shipped_suites().items()):
        loaded = load_suite(path)
        entries.append(
            {
                "name": name,
                "cases": len(loaded.cases),
                "accuracy_runs": len(loaded.quality_cases),
                "description": loaded.suite.description,
                "path": str(path),
            }
        )
    columns = (
        Column("name", "suite", "left"),
        Column("cases", "cases", priority=1),
        Column("accuracy_runs", "quality runs", priority=2),
        Column("description", "what it answers", "left", flexible=True),
    )
    validate = code("gpubench validate NAME --cases")
    note = line(code("gpubench run NAME"), " runs one, ", validate, " lists its cases; any file works too.")
    return Listing("suite", columns, tuple(entries), (note,))


def workloads() -> Listing:
    """What `workload:` may name, without torchvision's models, whose list would need torch."""
    what = {name: workload.what for name, workload in BUILT_IN.items()} | FAMILIES
    entries = tuple({"name": name, "what": text} for name, text in what.items())
    columns = (Column("name", "workload", "left"), Column("what", "what a step is", "left", flexible=True))
    return Listing("workload", columns, entries)


def runs(store: Path) -> Listing:
    """Stored runs, the newest first."""
    columns = (
        Column("run", "run", "left"),
        Column("tag", "tag", "left", priority=2),
        Column("suite", "suite", "left"),
        Column("created", "created", "left", priority=3),
        Column("cases", "cases"),
        Column("accuracy_runs", "quality runs", priority=2),
        Column("ended", "launches", "left", priority=1),
    )
    empty = (line(f"No runs in {store}. ", code("gpubench run cnn-smoke"), " makes one."),)
    entries = tuple(_run_entry(folder, head) for folder, head in list_heads(store))
    return Listing("run", columns, entries, (), empty)


def _run_entry(folder: Path, head: RunHead | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"run": folder.name, "tag": None, "suite": "", "created": ""}
    entry |= {"cases": None, "accuracy_runs": None}
    try:
        head = load_head(folder) if head is None else head
        trained = sum(case.kind == "quality" for case in head.cases)
        entry |= {"tag": head.tag, "suite": head.suite_name, "created": head.created}
        entry |= {"cases": len(head.cases) - trained, "accuracy_runs": trained}
        entry["ended"] = dict(count_ends(folder))
    except StoreError as error:
        entry["ended"] = f"unreadable: {error}"
    return {**entry, "folder": str(folder)}

"""The tables of an SQLite file that `nsys export` made, whatever its version.

Tables exist only if they have rows, and columns differ between versions, so both are looked up before they are queried.
A value that should be an integer and is not counts as unknown.
"""

import re
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from gpubench.profile.traces.trace import TraceError

_TEXTS = frozenset(("name", "value", "text"))
_WHOLE_NUMBER = (
    "CASE typeof({0}) WHEN 'integer' THEN {0} WHEN 'blob' THEN NULL "
    "ELSE CASE WHEN CAST({0} AS INTEGER) = {0} THEN CAST({0} AS INTEGER) END END"
)
"""SQL for a column's value as an integer, also from text or a decimal number; else NULL."""
_VERSIONED = re.compile(r"_V(\d+)$")
MAGIC = b"SQLite format 3\0"
"""What the file begins with."""
_HEAD = struct.Struct(">16sH6xII60xI")
"""The first 96 bytes of the file: magic, page size (1: 65536), change counter, number of pages, and the change counter
for which that number is valid.
"""

EXPORT_AGAIN = "Export the report again: nsys export --type sqlite --force-overwrite=true REPORT.nsys-rep"


def check_whole(path: Path) -> None:
    """SQLite notices that a file is truncated only when it needs a missing page."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
    if len(head) == _HEAD.size:
        _, page, changes, pages, holds_for = _HEAD.unpack(head)
        expected, found = pages * (page if page > 1 else 1 << 16), path.stat().st_size
        if changes == holds_for and found < expected:
            raise TraceError(f"{path} is cut off: it has {found} of {expected} bytes.", hint=EXPORT_AGAIN)
    for suffix in ("-wal", "-journal"):
        beside = path.with_name(f"{path.name}{suffix}")
        if beside.exists() and beside.stat().st_size:
            raise TraceError(
                f"{path} is unfinished: {beside.name} next to it holds what was not yet written into it.",
                hint=EXPORT_AGAIN,
            )


class NsysTables:
    """The columns of each table (`names`), and their rows. Knows which tables were read."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.text_factory = lambda text: text.decode(errors="replace")  # names may be any bytes
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        self.names = {
            name: frozenset(row[1] for row in connection.execute(f'PRAGMA table_info("{name}")'))
            for (name,) in names
            if '"' not in name
        }
        self._read: set[str] = set()

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of `table` in these columns, None for a column it lacks; nothing if there is no such table.

        Some versions call a table `NAME_V2`: the newest of those with rows counts where the documented name has none.
        """
        named = sorted(
            (each for each in self.names if base_name(each) == table), key=lambda each: (each != table, -_version(each))
        )
        for each in named:
            have = self.names[each]
            wanted = ", ".join(_column(column) if column in have else "NULL" for column in columns)
            rows = self._connection.execute(f'SELECT {wanted} FROM "{each}"')  # noqa: S608 - names looked up in the schema
            first = rows.fetchone()
            if first is not None:
                self._read.add(each)
                return chain((first,), rows)
        return iter(())

    def unread(self) -> list[str]:
        """The tables that `rows` gave nothing of."""
        return [name for name in self.names if name not in self._read]

    def num_rows(self, table: str) -> int:
        ((count,),) = self._connection.execute(f'SELECT COUNT(*) FROM "{table}"')  # noqa: S608 - from the schema
        return int(count)


def as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)


def _column(name: str) -> str:
    return f'"{name}"' if name in _TEXTS else _WHOLE_NUMBER.format(f'"{name}"')


def base_name(table: str) -> str:
    return _VERSIONED.sub("", table)


def _version(table: str) -> int:
    found = _VERSIONED.search(table)
    return int(found[1]) if found else 0

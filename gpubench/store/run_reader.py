"""Reading a run folder."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from pydantic import ValidationError

from gpubench.core.errors import StoreError
from gpubench.core.records import RECORD_SCHEMA, ContestRecord, Record, Status
from gpubench.core.secrets import mask_text
from gpubench.core.stored_model import share_names
from gpubench.core.units import format_bytes
from gpubench.store.atomic_files import inside, open_regular, read_end, read_regular, store_error
from gpubench.store.migrate import ONLY_QUALITY_CHANGED_SINCE, NewerSchema, migrate_contest, migrate_record, migrate_run
from gpubench.store.parse_json import parse_json
from gpubench.store.run_info import RUN_SCHEMA, RunHead, RunInfo
from gpubench.store.sample_files import read_samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUN_NAME = "run.json"
RECORDS_NAME = "records.jsonl"
CONTESTS_NAME = "contests.jsonl"
_MOST_RECORDS_BYTES = 4 * 2**30
_Entry = TypeVar("_Entry", Record, ContestRecord)
_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_BEGINNING = re.compile(
    rb'\{"schema":'
    + b"(?:%s)" % b"|".join(b"%d" % number for number in range(1, RECORD_SCHEMA + 1))
    + rb',"kind":"\w+","case_index":(?P<case>\d+),"case_id":"\w*","label":'
    + _TEXT
    + rb',"arm":(?P<arm>null|'
    + _TEXT
    + rb'),"repeat":(?P<repeat>\d+),"status":"(?P<status>'
    + "|".join(Status).encode()
    + rb')",'
)
"""The beginning of a line as `RunWriter` stores it."""
_BARE_NAN = re.compile(rb"[:,\[]\s*-?(NaN|Infinity)")
MOST_LINE_BYTES = 8 * 2**20
_ANOTHER = "`gpubench list runs` shows the stored runs; --store DIR sets their folder."


@dataclass(frozen=True)
class Run:
    """A stored run. `records` are in stored order; `dropped` says which lines could not be read, and why.

    `contests`: processes in which cases took turns; empty for a run from before contests existed.
    """

    info: RunInfo
    records: tuple[Record, ...]
    folder: Path
    dropped: tuple[str, ...] = ()
    contests: tuple[ContestRecord, ...] = ()

    def samples(self, record: Record) -> "dict[str, NDArray[np.float64]]":
        """The series of a launch by name, times in seconds; empty if none were stored. StoreError if damaged."""
        return {} if record.samples is None else read_samples(self.folder, record.samples)


def load_run(folder: Path) -> Run:
    """The run in `folder`. StoreError if there is none, or this gpubench cannot read it.

    Lines of `records.jsonl` that cannot be read, and an incomplete last line, are left out and named in `dropped`.
    """
    info = load_info(folder)
    records, dropped = [], []
    before: dict[int, Record] = {}
    last = None
    for entry in _read_records(folder / RECORDS_NAME):
        if isinstance(entry, str):
            dropped.append(entry)
        else:
            _share_parts(entry, before.get(entry.case_index, last))
            before[entry.case_index] = last = entry
            records.append(entry)
    contests = []
    for each in _read_contests(folder / CONTESTS_NAME):
        if isinstance(each, str):
            dropped.append(each)
        else:
            contests.append(each)
    return Run(info, tuple(records), folder, tuple(dropped), tuple(contests))


_ALIKE = ("case_id", "label", "effective", "window", "absent", "telemetry", "parity")
_MODELS = ("effective", "window", "series", "parity")


def _share_parts(record: Record, before: Record | None) -> None:
    """Lets `record` share equal parts with an earlier launch, of its case or else the one before. Such copies were two
    thirds of the memory of tens of thousands of records.
    """
    parts, shared = record.__dict__, {} if before is None else before.__dict__
    for name in _ALIKE if shared else ():
        if parts[name] == shared[name]:
            parts[name] = shared[name]
    share_names(record)
    for name in _MODELS:
        if parts[name] is not None and parts[name] is not shared.get(name):
            share_names(parts[name])


def load_head(folder: Path) -> RunHead:
    """The part of a run that a list shows; its cases are counted, not built. StoreError as for `load_run`."""
    with suppress(OSError, StoreError, ValidationError):
        head = RunHead.model_validate_json(read_regular(folder / RUN_NAME))
        if head.schema_number == RUN_SCHEMA:
            return head
    return RunHead.model_validate(load_info(folder), from_attributes=True)


def count_ends(folder: Path) -> Counter[str]:
    """How many launches ended in each way, by the last record per launch; reads only the beginning of each line.
    StoreError if they cannot be read.
    """
    try:
        return _ends_in(folder / RECORDS_NAME)
    except FileNotFoundError:
        return Counter()
    except OSError as error:
        raise store_error("read", folder / RECORDS_NAME, error) from error


def _ends_in(path: Path) -> Counter[str]:
    ends: dict[Any, bytes] = {}
    with open_regular(path, _MOST_RECORDS_BYTES) as file:
        while line := file.readline(MOST_LINE_BYTES):
            found = _BEGINNING.match(line)
            if found and line.endswith(b"}\n"):
                ends[found.group("case", "arm", "repeat")] = found["status"]
            elif line.endswith(b"\n"):
                with suppress(ValueError):
                    record = parse_record(line)
                    arm = b"null" if record.arm is None else json.dumps(record.arm).encode()
                    ends[b"%d" % record.case_index, arm, b"%d" % record.repeat] = record.status.encode()
    return Counter({status.decode(): number for status, number in Counter(ends.values()).items()})


def load_info(folder: Path) -> RunInfo:
    """The head of a run, `run.json`, without its records. StoreError as for `load_run`."""
    path = folder / RUN_NAME
    try:
        content = read_regular(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if not folder.exists():
            raise StoreError(f"there is no folder {folder}", hint=_ANOTHER) from None
        if not folder.is_dir():
            raise StoreError(f"{folder} is not a folder", hint="A run is a folder that contains run.json.") from None
        raise StoreError(f"{folder} is not a run: it contains no {RUN_NAME}", hint=_ANOTHER) from None
    except OSError as error:
        raise store_error("read", path, error) from error
    try:
        info = RunInfo.model_validate(migrate_run(_object(content)))
    except NewerSchema as error:
        raise StoreError(f"{folder} was {error}", hint=error.hint) from error
    except ValueError as error:
        raise StoreError(f"{path} does not describe a run: {_first(error)}", hint=_ANOTHER) from error
    for planned in info.cases:
        share_names(planned)
    return info


def read_log(folder: Path, log: str, most_bytes: int = 20_000) -> str:
    """The end of a log that a record names, without secrets; empty unless it is a regular file of the run."""
    try:
        text, whole = read_end(inside(folder, log), most_bytes)
    except (OSError, StoreError):
        return ""
    return mask_text(text if whole else f"[...]\n{text}")


def _read_records(path: Path) -> Iterator[Record | str]:
    """Records, and a sentence for each line that cannot be read."""
    try:
        with open_regular(path, _MOST_RECORDS_BYTES) as file:
            yield from _parsed_lines(file, path, parse_record)
    except FileNotFoundError:
        yield f"{RECORDS_NAME} is missing: no launch of this run can be read"
    except OSError as error:
        raise store_error("read", path, error) from error


def _read_contests(path: Path) -> Iterator[ContestRecord | str]:
    try:
        with open_regular(path, _MOST_RECORDS_BYTES) as file:
            yield from _parsed_lines(
                file, path, lambda line: ContestRecord.model_validate(migrate_contest(_object(line)))
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise store_error("read", path, error) from error


def _parsed_lines(file: BinaryIO, path: Path, parse: Callable[[bytes], _Entry]) -> Iterator[_Entry | str]:
    number, rest = 0, b""
    while line := file.readline(MOST_LINE_BYTES):
        number += 1
        if not line.endswith(b"\n") and len(line) == MOST_LINE_BYTES:
            while (part := file.readline(MOST_LINE_BYTES)) and not part.endswith(b"\n"):
                pass
            most = format_bytes(MOST_LINE_BYTES)
            yield f"line {number} of {path.name} is longer than {most} and was left out"
            continue
        if not line.endswith(b"\n"):
            rest = line
        elif line.strip():
            try:
                yield parse(line)
            except NewerSchema as error:
                raise StoreError(f"line {number} of {path} was {error}", hint=error.hint) from error
            except ValueError as error:
                size = len(line) - 1
                yield f"line {number} of {path.name} ({size} bytes) cannot be read and was left out: {_first(error)}"
    if rest:
        yield (
            f"the last line of {path.name} ({len(rest)} bytes) was cut short, by a crash or a full disk: "
            "its launch is missing, and --resume measures it again"
        )


def parse_record(line: bytes) -> Record:
    """The record of one line, of any schema number. NewerSchema, or ValueError if it is not a record."""
    if (b"NaN" in line or b"Infinity" in line) and _BARE_NAN.search(line):
        _object(line)  # ValueError unless inside a string
    try:
        record = Record.model_validate_json(line)
    except ValidationError:
        return Record.model_validate(migrate_record(_object(line)))
    if record.schema_number == RECORD_SCHEMA and b'"schema"' in line:
        return record
    if record.schema_number in ONLY_QUALITY_CHANGED_SINCE and record.quality is None:
        return record.model_copy(update={"schema_number": RECORD_SCHEMA})
    return Record.model_validate(migrate_record(_object(line)))


def _object(content: bytes) -> dict[str, Any]:
    if not content.strip():
        raise ValueError("it is empty")
    try:
        document = parse_json(content)
    except ValueError as error:
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def _first(error: ValueError) -> str:
    """The reason in one line."""
    if not isinstance(error, ValidationError):
        return str(error).partition("\n")[0]
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]

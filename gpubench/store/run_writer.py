"""Writes a run folder: finished launches stay readable, whatever ends the run."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic_core import from_json, to_json

from gpubench.core.anonymity import anonymous
from gpubench.core.errors import StoreError
from gpubench.core.records import ContestRecord, Record
from gpubench.core.secrets import hide_secrets
from gpubench.store.atomic_files import PROBE_NAME, check_room, inside, store_error, write_atomically
from gpubench.store.journal import Journal
from gpubench.store.lock import LOCK_NAME, FolderLock
from gpubench.store.run_info import RunInfo
from gpubench.store.run_reader import CONTESTS_NAME, RECORDS_NAME, RUN_NAME, load_info
from gpubench.store.sample_files import write_samples

CASES_FOLDER = "cases"
_PARTIAL_HEAD = f".{RUN_NAME}.tmp"
_OURS = {LOCK_NAME, PROBE_NAME, _PARTIAL_HEAD}
"""Files that a run killed before writing its head may leave: such a folder counts as empty."""

_Stored = TypeVar("_Stored", Record, ContestRecord)


class RunWriter:
    """The one writer of a run folder, from `create` or `resume` to `close`. Every method may raise StoreError."""

    def __init__(self, folder: Path, info: RunInfo, lock: FolderLock, records: Journal) -> None:
        self.folder = folder
        self._info = info
        self._lock = lock
        self._records = records
        self._contests: Journal | None = None

    @classmethod
    def create(cls, folder: Path, info: RunInfo, undo: ExitStack | None = None) -> "RunWriter":
        """Make the folder and its head. StoreError, leaving nothing behind, if the run could not be stored there.

        The folder must be empty or not exist, be writable, have room on its disk, and not be held by another process.
        `undo` gets what removes it again, step by step, so that a signal at any moment leaves nothing behind; its owner
        calls `pop_all` once there is something to keep.
        """
        with ExitStack() as own:
            steps = own if undo is None else undo
            if _make(folder):
                steps.callback(_remove_if_empty, folder)
            lock = FolderLock.acquire(folder)
            steps.callback(lock.release)
            _check_empty(folder)
            check_room(folder)
            steps.callback(_empty, folder)
            records = Journal(folder / RECORDS_NAME)
            steps.callback(records.close)
            writer = cls(folder, info, lock, records)
            writer.update_info(info)
            own.pop_all()
        return writer

    @classmethod
    def resume(cls, folder: Path) -> "RunWriter":
        """Continue a stored run. An incomplete last record is removed before new ones are appended."""
        info = load_info(folder)
        with ExitStack() as undo:
            lock = FolderLock.acquire(folder)
            undo.callback(lock.release)
            check_room(folder)
            records = Journal(folder / RECORDS_NAME)
            undo.pop_all()
        return cls(folder, info, lock, records)

    @property
    def info(self) -> RunInfo:
        """The head as it is stored."""
        return self._info

    def update_info(self, info: RunInfo) -> None:
        """Replace `run.json`, whole or not at all."""
        content = to_json(hide_secrets(from_json(info.model_dump_json(by_alias=True))), indent=1) + b"\n"
        write_atomically(self.folder / RUN_NAME, content, partial=self.folder / _PARTIAL_HEAD)
        self._info = info

    def append(self, record: Record) -> Record:
        """Store one launch durably, and return it as stored: without secrets, and anonymous in an anonymous run.

        A failure leaves earlier records untouched.
        """
        return self._append(record, self._records)

    def append_contest(self, record: ContestRecord) -> ContestRecord:
        """Store one process of a contest, like `append`."""
        if self._contests is None:
            self._contests = Journal(self.folder / CONTESTS_NAME)
        return self._append(record, self._contests)

    def _append(self, record: _Stored, journal: Journal) -> _Stored:
        given = from_json(record.model_dump_json(by_alias=True))
        stored = hide_secrets(anonymous(given) if self._info.is_anonymous else given)
        journal.append(to_json(stored))
        return record if stored == given else type(record).model_validate(stored)

    def write_samples(self, name: str, arrays: Mapping[str, Sequence[float | None]]) -> str:
        """Store the series of a launch under `samples/` and return the path for `Record.samples`. None becomes NaN."""
        return write_samples(self.folder, name, arrays)

    def case_folder(self, index: int) -> Path:
        """`cases/<index>/`, made if need be: logs, memory snapshots and traces of a case."""
        path = inside(self.folder, f"{CASES_FOLDER}/{index}")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error("make", path, error) from error
        return path

    def log_path(self, index: int, repeat: int, arm: str | None = None) -> Path:
        """Absolute path of a launch's output: `cases/12/1.log`, with an arm `cases/12/base-1.log`."""
        prefix = "" if arm is None else re.sub(r"[^A-Za-z0-9_-]", "_", arm) + "-"
        relative = self.case_folder(index).relative_to(self.folder) / f"{prefix}{repeat}.log"
        return self.folder.resolve() / inside(self.folder, relative).relative_to(self.folder)

    def relative(self, path: Path) -> str:
        """A path relative to the run folder, as in records."""
        return path.relative_to(self.folder).as_posix()

    def close(self) -> None:
        """Release the folder. Closing again is harmless."""
        self._records.close()
        if self._contests is not None:
            self._contests.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _make(folder: Path) -> bool:
    """Makes the folder; False if it existed."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        if folder.is_dir():
            return False
        raise StoreError(f"{folder} is not a folder", hint="Choose another place with --out DIR.") from None
    except OSError as error:
        raise store_error("make the folder", folder, error) from error
    return True


def _check_empty(folder: Path) -> None:
    try:
        names = {entry.name for entry in os.scandir(folder)} - _OURS
    except OSError as error:
        raise store_error("read", folder, error) from error
    if RUN_NAME in names:
        raise StoreError(
            f"{folder} already contains a run", hint="`--resume RUN` continues it; --out DIR chooses another folder."
        )
    # The head is written after the (still empty) records: empty records without a head come from a killed start.
    if names == {RECORDS_NAME} and (folder / RECORDS_NAME).stat().st_size == 0:
        return
    if names:
        raise StoreError(f"{folder} is not empty", hint="A run needs an empty folder: choose another with --out DIR.")


def _empty(folder: Path) -> None:
    """Removes what a run has written, but for the lock: `FolderLock` removes that."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != LOCK_NAME:
                Path(entry).unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()

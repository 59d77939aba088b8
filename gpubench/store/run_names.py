"""Names of runs: folder, unique prefix, tag, `@last`, `@last~2`; and `run:case`."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gpubench.core.did_you_mean import near
from gpubench.core.errors import StoreError, UsageError
from gpubench.store.atomic_files import store_error
from gpubench.store.run_info import RunHead
from gpubench.store.run_reader import RUN_NAME, load_head

_LAST = re.compile(r"@last(?:~(\d{1,9}))?")
_MOST_NAMED = 6

Named = tuple[str, str | None]
"""A run's name and its tag."""


@dataclass(frozen=True)
class _Head:
    folder: Path
    age: tuple[float, float]
    """Start and, for runs of the same second, the time its head was written; seconds since the epoch."""
    head: RunHead | None
    """None if damaged."""

    @property
    def tag(self) -> str | None:
        return None if self.head is None else self.head.tag


def new_run_name(suite_name: str, now: datetime, store: Path | None = None) -> str:
    """`20261123-1602-cnn-7f3a`: date and time as `now` gives them, the suite, four random hex digits.

    With `store`, a name that does not exist there.
    """
    while True:
        name = f"{now:%Y%m%d-%H%M}-{suite_name}-{secrets.token_hex(2)}"
        if store is None or not (store / name).exists():
            return name


def list_runs(store: Path) -> list[Path]:
    """The run folders of a store, the most recently started first. A missing store has none."""
    return [head.folder for head in _heads(store)]


def list_heads(store: Path) -> list[tuple[Path, RunHead | None]]:
    """The same, each with its head; None for a damaged head."""
    return [(head.folder, head.head) for head in _heads(store)]


def resolve_run(reference: str | Path, store: Path) -> Path:
    """The folder of the run that `reference` names. UsageError, with candidates, if there is none or several.

    In this order: `@last` and `@last~N`; a path to a run folder or a file in one; a folder of the store; a tag; the
    beginning of a folder's name.
    """
    text = str(reference)
    for path in (Path(text), store / text):
        folder = _run_folder(path) if text and not text.startswith("@") else None
        if folder is not None:
            return folder
    heads = _heads(store)
    return heads[position_of(text, [(head.folder.name, head.tag) for head in heads], store)].folder


def position_of(text: str, known: Sequence[Named], place: Path | str) -> int:
    """The position of the run that `text` names among those `known`, the most recently started first: `@last` and
    `@last~N`; a tag; the beginning of a name. UsageError, with candidates, if there is none or several in `place`, a
    folder or the name of a database.
    """
    if text.startswith("@"):
        return _by_age(text, known, place)
    ways = (
        [at for at, (_, tag) in enumerate(known) if tag == text],
        [at for at, (name, _) in enumerate(known) if name == text],
        [at for at, (name, _) in enumerate(known) if text and name.startswith(text)],
    )
    found = next(filter(None, ways), [])
    if len(found) == 1:
        return found[0]
    if not found:
        raise _none(text, known, place)
    named = "\n".join(f"  {_called(known[at])}" for at in found[:_MOST_NAMED])
    more = f"\n  ... and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    raise UsageError(f"{text!r} matches {len(found)} runs:\n{named}{more}", hint="Type more of its name.")


def _called(run: Named) -> str:
    name, tag = run
    return name if tag is None else f"{name} (tag {tag})"


def split_case(text: str) -> tuple[str, str | None]:
    """Run and case of `run:case`; the case is None if only a run is named.

    Paths and labels may hold colons too: a path that exists is a run, then the longest beginning that is the path of a
    run folder, then the part before the first colon. UsageError for an empty side.
    """
    if ":" not in text or _exists(Path(text)):
        return text, None
    parts = text.split(":")
    ways = [(":".join(parts[:n]), ":".join(parts[n:])) for n in range(1, len(parts))]
    run, case = next((way for way in reversed(ways) if way[0] and _run_folder(Path(way[0]))), ways[0])
    if not run or not case:
        raise UsageError(
            f"{text!r} does not name a {'case' if run else 'run'}",
            hint="Write RUN:CASE, for example @last:12, or RUN alone.",
        )
    return run, case


def _by_age(text: str, known: Sequence[Named], place: Path | str) -> int:
    match = _LAST.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} does not name a run", hint="@last is the last run, @last~2 the one two before it.")
    back = int(match[1] or 0)
    if back < len(known):
        return back
    if not known:
        raise _none(text, known, place)
    count = "1 run" if len(known) == 1 else f"{len(known)} runs"
    oldest = "@last" if len(known) == 1 else f"@last~{len(known) - 1}"
    raise UsageError(f"{text} goes too far back: {place} contains {count}", hint=f"{oldest} is the oldest.")


def _heads(store: Path) -> list[_Head]:
    try:
        folders = [path for path in store.iterdir() if _holds_run(path)]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise StoreError(f"{store} is not a folder", hint="--store DIR sets the folder of runs.") from None
    except OSError as error:
        raise store_error("read", store, error) from error
    return sorted(map(_head, folders), key=lambda head: (head.age, head.folder.name), reverse=True)


def _head(folder: Path) -> _Head:
    """A run with a damaged head is listed too, by the age of its file."""
    try:
        written = (folder / RUN_NAME).stat().st_mtime
    except OSError:
        written = 0.0
    try:
        head = load_head(folder)
        moment = datetime.fromisoformat(head.created)
        created = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except StoreError:
        return _Head(folder, (written, written), None)
    except (ValueError, OverflowError):
        created = written
    return _Head(folder, (created, written), head)


def _run_folder(path: Path) -> Path | None:
    """The run folder that `path` is, or lies in."""
    if _holds_run(path):
        return path
    return path.parent if _exists(path) and not path.is_dir() and _holds_run(path.parent) else None


def _holds_run(folder: Path) -> bool:
    return _exists(folder / RUN_NAME)


def _exists(path: Path) -> bool:
    """False also for text that cannot be a path: too long, not permitted, a zero byte."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _none(text: str, known: Sequence[Named], place: Path | str) -> UsageError:
    if not known:
        hint = "`gpubench run cnn-smoke` makes one; --store DIR sets the folder of runs."
        hint = hint if isinstance(place, Path) else "`gpubench db sync` puts stored runs into it."
        return UsageError(f"no run is called {text!r}: {place} contains no runs", hint=hint)
    meant = near(text, [word for run in known for word in run if word])
    if meant:
        return UsageError(f"no run in {place} is called {text!r}", hint=f"D{meant[1:]}")
    every = " `gpubench list runs` shows all." if isinstance(place, Path) else ""
    newest = ", ".join(map(_called, known[:3]))
    return UsageError(f"no run in {place} is called {text!r}", hint=f"The newest: {newest}.{every}")

"""Folders of files that gpubench writes again and again, next to files of others."""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from gpubench.core.errors import StoreError, UsageError
from gpubench.store.atomic_files import replace_file

_MOST_LISTED_BYTES = 2**20


@dataclass(frozen=True)
class ListedFiles:
    """`name`: the file in the folder that lists those written, one per line. `ending` matches the end of their names.
    `what` they are part of, and the `hint` if they cannot be written.
    """

    name: str
    ending: str
    what: str
    hint: str

    def written_in(self, folder: Path) -> set[str] | None:
        """Names of the files written there earlier; None without a list."""
        listed = folder / self.name
        if not listed.is_file() or listed.is_symlink() or listed.stat().st_size > _MOST_LISTED_BYTES:
            return None
        pattern = re.compile(rf"^[\w.-]+\.(?:{self.ending})$", re.MULTILINE | re.ASCII)
        return set(pattern.findall(listed.read_text(encoding="utf-8", errors="replace")))

    def write(self, folder: Path, names: Collection[str], files: Iterable[tuple[str, str]], *, force: bool) -> None:
        """Writes files (name, text), all of `names`, and a list of them. Removes only files in an earlier list that are
        not written any more. UsageError if a file exists that is in no list, unless `force`; StoreError if one cannot
        be written.
        """
        listed = folder / self.name
        try:
            if folder.is_symlink():
                raise StoreError(
                    f"{folder} is a link, and gpubench does not write {self.what} through links",
                    hint=f"Remove it. {self.hint}",
                )
            folder.mkdir(exist_ok=True) if names or folder.exists() else None
            known = self.written_in(folder)
            ours = known or set()
            foreign = [] if force else [name for name in names if name not in ours and os.path.lexists(folder / name)]
            if foreign:
                raise UsageError(
                    f"{folder / foreign[0]} exists and was not written by {self.what}",
                    hint="Add --force to overwrite it.",
                )
            # The list is written first, so that all later files are known to be ours, however this ends.
            if names or known is not None:
                write_whole(listed, "".join(f"{name}\n" for name in sorted({*names, *ours})), self.hint)
            for name, text in files:
                write_whole(folder / name, text, self.hint)
            gone = ours - set(names)
            for name in gone:
                (folder / name).unlink(missing_ok=True)
            if gone:
                write_whole(listed, "".join(f"{name}\n" for name in sorted(names)), self.hint)
        except OSError as error:
            raise _cannot(folder, error, self.hint) from error


def write_whole(path: Path, text: str, hint: str) -> None:
    """Writes the file whole or not at all. A link at `path` is replaced, never followed. StoreError with the `hint`."""
    try:
        replace_file(path, text.encode(), mode=0o666)
    except OSError as error:
        raise _cannot(path, error, hint) from error


def _cannot(path: Path, error: OSError, hint: str) -> StoreError:
    return StoreError(f"cannot write {path}: {error.strerror}", hint=hint)

"""A git revision of the package under test: which commit it is, those between two, and its files.

Neither the working tree nor git's state is touched.
"""

import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gpubench.core.did_you_mean import near
from gpubench.core.errors import UsageError
from gpubench.machine.installed_software import git_environment
from gpubench.store.bisection_file import Commit

_PROJECT_FILES = ("pyproject.toml", "setup.py")


@dataclass(frozen=True)
class Revision:
    """`shown` is its name as given, `project` the package's folder inside the repository's `root` (`.`, `x/y`)."""

    shown: str
    commit: str
    root: Path
    project: str

    def __str__(self) -> str:
        return f"{self.shown} ({self.commit[:12]})"


def find_revision(text: str, *, shown: str | None = None, folder: Path | None = None) -> Revision:
    """The commit that `text` names in the repository of `folder` (the current one). UsageError if there is none."""
    here = folder or Path.cwd()
    top = _git(here, "rev-parse", "--show-toplevel")
    if top is None:
        raise UsageError(
            f"{here} is not in a git repository that git can read: {_git_error(here)}",
            hint="Run it inside the repository of the package under test.",
        )
    root = Path(top)
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")
    if commit is None:
        refs = "refs/heads", "refs/tags", "refs/remotes"
        names = (_git(root, "for-each-ref", "--format=%(refname:short)", *refs) or "").split()
        meant = near(text, names)
        hint = meant[:1].upper() + meant[1:] if meant else "`git log --oneline` and `git branch -a` list revisions."
        if _git(root, "rev-parse", "--is-shallow-repository") == "true":
            hint = (
                f"This clone is shallow. Fetch the revision: git fetch --depth 1 origin {text} (then git=FETCH_HEAD)."
            )
        raise UsageError(f"there is no git revision {text!r}", hint=hint)
    prefix = (_git(here, "rev-parse", "--show-prefix") or "").rstrip("/")
    for project in dict.fromkeys((prefix, "")):
        files = [f"{commit}:{project}/{name}" if project else f"{commit}:{name}" for name in _PROJECT_FILES]
        if any(_git(root, "cat-file", "-e", file) is not None for file in files):
            return Revision(shown or text, commit, root, project or ".")
    raise UsageError(
        f"revision {text} contains no package: there is no pyproject.toml or setup.py in {root.name}",
        hint="`git=` installs the package of the current repository; run it in the package's folder.",
    )


def commits_between(good: Revision, bad: Revision) -> list[Commit]:
    """The commits after `good` up to `bad`, oldest first, along first parents: a merge counts as one commit.

    UsageError unless `good` is an ancestor of `bad`.
    """
    if _git(good.root, "merge-base", "--is-ancestor", good.commit, bad.commit) is None or good.commit == bad.commit:
        raise UsageError(
            f"{good} is not an ancestor of {bad}",
            hint="--good names the older revision. For two branches, take `git merge-base` of both as the good one.",
        )
    found = _commits(good.root, "--first-parent", "--reverse", f"{good.commit}..{bad.commit}")
    if not found or found[-1].commit != bad.commit:
        raise UsageError(f"git lists no commits from {good} to {bad}")
    return found


def commit_of(revision: Revision) -> Commit:
    """The commit as git describes it."""
    (found,) = _commits(revision.root, "-1", revision.commit)
    return found


def _commits(root: Path, *arguments: str) -> list[Commit]:
    told = _git(root, "log", "-z", "--format=%H%x00%cs%x00%an%x00%s", *arguments, "--") or ""
    fields = iter(told.split("\0"))  # a subject may be empty, or have any character but NUL and the end of a line
    return [
        Commit(commit=commit, date=date, author=author, subject=subject)
        for commit, date, author, subject in zip(fields, fields, fields, fields, strict=False)
    ]


def check_out(revision: Revision, target: Path) -> None:
    """Every file of the commit, as a checkout has it: `git archive` would leave out what is marked `export-ignore`, and
    the submodules. UsageError if this clone lacks a submodule's commit: without it the package would be another one.
    """
    _check_out(revision, revision.root, revision.commit, target)


def _check_out(revision: Revision, repository: Path, commit: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="gpubench-index-") as scratch:
        environ = git_environment() | {"GIT_INDEX_FILE": f"{scratch}/index"}
        for arguments in (["read-tree", commit], ["checkout-index", "--all", "--force", f"--prefix={target}{os.sep}"]):
            command = ["git", "-C", str(repository), *arguments]
            done = subprocess.run(command, capture_output=True, check=False, env=environ)
            if done.returncode != 0:
                why = done.stderr.decode(errors="replace").strip()
                raise UsageError(f"revision {revision} cannot be exported: {why}")
    for entry in (_git(repository, "ls-tree", "-r", "-z", "--full-tree", commit) or "").split("\0"):
        kind, _, place = entry.partition("\t")
        if not kind.startswith("160000 "):
            continue
        inner, needed = repository / place, kind.split()[2]
        if not (inner / ".git").exists() or _git(inner, "cat-file", "-e", f"{needed}^{{commit}}") is None:
            raise UsageError(
                f"revision {revision} needs commit {needed[:12]} of its submodule {place}, which this clone lacks",
                hint=f"git submodule update --init {shlex.quote(place)}, or fetch that commit in {inner}.",
            )
        _check_out(revision, inner, needed, target / place)


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of git without its newline; None if it fails. UsageError without git."""
    done = _ran_git(folder, *arguments)
    return done.stdout.strip() if done.returncode == 0 else None


def _git_error(folder: Path) -> str:
    """Why git cannot read a repository there: another user may own it."""
    lines = _ran_git(folder, "rev-parse", "--show-toplevel").stderr.splitlines()
    return lines[0].removeprefix("fatal: ") if lines else "it says nothing"


def _ran_git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=git_environment())
    except FileNotFoundError:
        raise UsageError("git is not installed", hint="An arm with `git=` needs it.") from None

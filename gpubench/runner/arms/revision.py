"""A git revision of the package under test, installed into its own virtual environment.

Neither the working tree nor git's state is touched: the revision is exported (`git archive`) into a temporary folder
and installed from there. The environment sees every package of the interpreter it was made from, so that torch is
neither downloaded nor copied. Only the package under test comes from the revision, even if that interpreter has it in
development mode. Environments are kept, one per commit and interpreter.
"""

import ast
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gpubench.core.did_you_mean import near
from gpubench.core.errors import StoreError, UsageError
from gpubench.machine.installed_software import git_environment
from gpubench.machine.machine_cache import folder as cache_folder
from gpubench.runner.arms import base_packages, interpreters
from gpubench.runner.arms.interpreters import Interpreter
from gpubench.store.atomic_files import tidy_log
from gpubench.store.bisection_file import Commit
from gpubench.suite.model.workload_names import first_on_the_path

INSTALLED = "installed.json"
_BASE = "_gpubench_base"
_PIP_KEPT = frozenset(
    [
        "index-url",
        "extra-index-url",
        "find-links",
        "no-index",
        "trusted-host",
        "cert",
        "client-cert",
        "proxy",
        "timeout",
        "default-timeout",
        "retries",
        "keyring-provider",
        "cache-dir",
        "no-cache-dir",
        "constraint",
        "prefer-binary",
    ]
)
"""pip settings that say where packages come from. Others (user, target, prefix, root) might install them elsewhere."""

_PROJECT_FILES = ("pyproject.toml", "setup.py")
_TIMEOUT_S = 1800.0
_MODULES = """\
import json, sys, importlib.metadata as metadata
here = sys.argv[1]
names = set()
for each in metadata.distributions(path=[here]):
    for file in each.files or ():
        first = file.parts[0]
        if first.endswith((".dist-info", ".egg-info", ".pth")) or first in ("..", "__pycache__"):
            continue
        names.add(first.split(".")[0])
print(json.dumps(sorted(names)))
"""


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
    lines = (_git(root, "log", "--format=%H%x09%cs%x09%an%x09%s", *arguments, "--") or "").splitlines()
    parts = [line.split("\t", 3) for line in lines]
    return [Commit(commit=commit, date=date, author=author, subject=subject) for commit, date, author, subject in parts]


def install(revision: Revision, python: str | None = None, say: Callable[[str], None] = lambda _: None) -> str:
    """The interpreter of an environment with the revision installed, made from `python`, by default this one.

    An existing environment is reused. UsageError, naming the log, if it cannot be made.
    """
    base = interpreters.ask(python)
    folder = cache_folder(part="arms") / _name(revision, base)
    program = folder / "bin" / "python"
    with _locked(folder):
        if not (folder / INSTALLED).exists():
            say(f"installing {revision} of {revision.root.name} for Python {base.version}")
            shutil.rmtree(folder, ignore_errors=True)
            _make(revision, base, folder)
    modules = json.loads((folder / INSTALLED).read_text(encoding="utf-8"))["modules"]
    if not modules:
        raise UsageError(
            f"revision {revision} installed no module into {folder}",
            hint=f"The output of pip is in {_beside(folder, 'log')}.",
        )
    if "gpubench" in modules:
        raise UsageError(
            "gpubench itself cannot be an arm: the workers of both arms run the gpubench that compares them"
        )
    return str(program)


def check_not_shadowed(python: str, folders: Sequence[str]) -> None:
    """UsageError if a folder first on the workers' path holds a module that the revision installs."""
    record = Path(python).parent.parent / INSTALLED
    if not record.exists():
        return
    for module in json.loads(record.read_text(encoding="utf-8"))["modules"]:
        for folder in map(Path, first_on_the_path(folders)):
            if (folder / module).is_dir() or (folder / f"{module}.py").exists():
                raise UsageError(
                    f"{module} is in {folder}, which comes first on the workers' path: "
                    "it would be measured instead of every revision",
                    hint="Move the suite and the workloads it names into another folder, and unset PYTHONPATH.",
                )


def _name(revision: Revision, base: Interpreter) -> str:
    place = [3, str(revision.root), revision.project]
    identity = json.dumps([*place, base.python, base.version, base.prefix, base.folders])
    return f"{revision.root.name}-{revision.commit[:12]}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _make(revision: Revision, base: Interpreter, folder: Path) -> None:
    log = _beside(folder, "log")
    pip_version = subprocess.run([base.python, "-P", "-m", "pip", "--version"], capture_output=True, check=False)
    has_pip = pip_version.returncode == 0
    bare = ["--without-pip"] if has_pip else []
    _run(
        [base.python, "-P", "-m", "venv", *bare, str(folder)],
        log,
        f"{base.python} cannot make a virtual environment",
    )
    program = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    root, prefix = (f"{os.path.realpath(each)}{os.sep}" for each in (revision.root, base.prefix))
    outside = (prefix, f"{os.path.realpath(folder)}{os.sep}")
    shutil.copy(base_packages.__file__, packages / f"{_BASE}.py")
    start = f"import {_BASE}; {_BASE}.add({root!r}, {outside!r}, {base.folders!r})\n"
    (packages / f"{_BASE}.pth").write_text(start, encoding="utf-8")
    pip = [base.python, "-P", "-m", "pip", "--python", str(program)] if has_pip else [str(program), "-P", "-m", "pip"]
    with tempfile.TemporaryDirectory(prefix="gpubench-arm-") as source:
        _export(revision, Path(source))
        command = [
            *pip,
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--no-warn-script-location",
            f"{source}/{revision.project}",
        ]
        environ = _pip_environment(pip) | {"SETUPTOOLS_SCM_PRETEND_VERSION": f"0+g{revision.commit[:12]}"}
        _run(command, log, f"revision {revision} cannot be installed", environ)  # an export has no tags
    done = subprocess.run([str(program), "-c", _MODULES, str(packages)], capture_output=True, text=True, check=True)
    modules = [name for name in json.loads(done.stdout) if name != _BASE]
    content = {"commit": revision.commit, "modules": modules, "root": str(revision.root)}
    (folder / INSTALLED).write_text(json.dumps(content), encoding="utf-8")


def _export(revision: Revision, target: Path) -> None:
    _check_out(revision, revision.root, revision.commit, target)


def _check_out(revision: Revision, repository: Path, commit: str, target: Path) -> None:
    """Every file of a commit, as a checkout has it: `git archive` would leave out what is marked `export-ignore`, and
    the submodules. UsageError if this clone lacks a submodule's commit: without it the package would be another one.
    """
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


def _pip_environment(pip: Sequence[str]) -> dict[str, str]:
    """The environment for pip with only those of its settings that name package sources, so that it installs where
    told.
    """
    asked = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False).stdout
    kept = {}
    for name, value in re.findall(r"^[\w:]+\.([\w-]+)=(.*)$", asked, re.MULTILINE):
        if name in _PIP_KEPT:
            kept[f"PIP_{name.upper().replace('-', '_')}"] = " ".join(str(ast.literal_eval(value)).split())
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return clean | kept | {"PIP_CONFIG_FILE": os.devnull}


def _run(command: Sequence[str], log: Path, failed: str, environ: Mapping[str, str] = os.environ) -> None:
    """Runs a command. UsageError with `failed` and what went wrong."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environ,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise UsageError(
                f"{failed}: not finished within {_TIMEOUT_S / 60:.0f} minutes", hint=f"Its output is in {log}."
            ) from None
        finally:
            with suppress(OSError, StoreError):
                tidy_log(log)  # the address of an index may contain its password
    if done.returncode != 0:
        written = log.read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [line.strip() for line in written if line.strip()]
        last = _cause(lines) or "it says nothing"
        raise UsageError(f"{failed}: {last}", hint=f"Its whole output is in {log}.")


def _cause(lines: Sequence[str]) -> str | None:
    """The line of pip's output that says why: the last one of the failed program, before pip's own."""
    ends = [at for at, line in enumerate(lines) if line.startswith("[end of output]")]
    if ends and ends[-1] > 0 and "lines of output]" not in lines[ends[-1] - 1]:
        return lines[ends[-1] - 1]
    errors = [line for line in lines if line.lower().startswith("error") and "subprocess-exited" not in line]
    return (errors or [*lines])[-1] if lines else None


def _beside(folder: Path, kind: str) -> Path:
    """A file beside an environment's folder; both names may contain dots."""
    return folder.with_name(f"{folder.name}.{kind}")


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


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time make an environment; the next finds it made. UsageError if the cache cannot be
    written.
    """
    path = _beside(folder, "lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot be written: {error.strerror or error}",
            hint="Set XDG_CACHE_HOME to a folder that can be written.",
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

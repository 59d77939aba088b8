"""A git revision of the package under test, installed into its own virtual environment.

The environment sees every package of the interpreter it was made from, so that torch is neither downloaded nor copied.
Only the package under test comes from the revision, even if that interpreter has it in development mode. Environments
are kept, one per commit and interpreter.
"""

import ast
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gpubench.core.errors import StoreError, UsageError
from gpubench.machine.machine_cache import folder as cache_folder
from gpubench.runner.arms import base_packages, interpreters
from gpubench.runner.arms.interpreters import Interpreter
from gpubench.runner.arms.revision import Revision, check_out
from gpubench.store.atomic_files import tidy_log
from gpubench.suite.model.workload_names import first_on_the_path

INSTALLED = "installed.json"
_BASE = "_gpubench_base"
_PIP_KEPT = frozenset(
    (
        *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert"),
        *("proxy", "timeout", "default-timeout", "retries", "keyring-provider", "cache-dir", "no-cache-dir"),
        *("constraint", "prefer-binary"),
    )
)
"""pip settings that say where packages come from. Others (user, target, prefix, root) might install them elsewhere."""

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
    _run([base.python, "-P", "-m", "venv", *bare, str(folder)], log, f"{base.python} cannot make a virtual environment")
    program = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    root, prefix = (f"{os.path.realpath(each)}{os.sep}" for each in (revision.root, base.prefix))
    outside = (prefix, f"{os.path.realpath(folder)}{os.sep}")
    shutil.copy(base_packages.__file__, packages / f"{_BASE}.py")
    start = f"import {_BASE}; {_BASE}.add({root!r}, {outside!r}, {base.folders!r})\n"
    (packages / f"{_BASE}.pth").write_text(start, encoding="utf-8")
    pip = [base.python, "-P", "-m", "pip", "--python", str(program)] if has_pip else [str(program), "-P", "-m", "pip"]
    with tempfile.TemporaryDirectory(prefix="gpubench-arm-") as source:
        check_out(revision, Path(source))
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

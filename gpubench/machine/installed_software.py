"""Packages, interpreter, and the git checkout a run was started in."""

import os
import platform
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

from gpubench.core.version import __version__

PACKAGES = (
    *("gpubench", "torch", "torchvision", "triton", "numpy", "scipy", "pandas", "pydantic"),
    *("nvidia-ml-py", "nvtx", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas-cu12"),
    *("nvidia-cublas", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime", "nvidia-nccl-cu12"),
    *("nvidia-nccl-cu13", "scikit-learn"),
)
"""Distributions whose version may change a figure."""


_OF_A_HOOK = frozenset(
    (
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"),
        *("GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_SHALLOW_FILE"),
        *("GIT_GRAFT_FILE", "GIT_NAMESPACE"),
    )
)
"""Variables of `git rev-parse --local-env-vars` that name another repository than the folder's."""


def packages() -> dict[str, str | None]:
    """Installed versions from the packages' metadata (nothing is imported); None if not installed."""
    versions = {name: installed(name) for name in PACKAGES}
    # A checkout that was not installed has no metadata.
    versions["gpubench"] = versions["gpubench"] or __version__
    return versions


def installed(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def python() -> dict[str, Any]:
    """The interpreter of this process; a worker's may differ, see the case's settings."""
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "compiler": platform.python_compiler(),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "debug": hasattr(sys, "gettotalrefcount"),
    }


def git(folder: Path | None = None, *, timeout_s: float = 5.0) -> dict[str, Any]:
    """`commit`, `dirty` (tracked files changed) and `branch` of the checkout at `folder` (the working folder).

    If there is none, or git is missing or takes longer than `timeout_s` seconds, all are None and `reason` says why.
    """
    try:
        commit = _git(["rev-parse", "HEAD"], folder, timeout_s)
        status = _git(["status", "--porcelain", "--untracked-files=no"], folder, timeout_s)
        branch = _git(["rev-parse", "--abbrev-ref", "HEAD"], folder, timeout_s)
        return {"commit": commit, "dirty": bool(status), "branch": branch, "reason": None}
    except FileNotFoundError:
        reason = "git is not installed"
    except subprocess.TimeoutExpired:
        reason = f"git did not answer within {timeout_s:g} s"
    except subprocess.CalledProcessError as error:
        reason = (error.stderr or "").strip().splitlines()[0] if error.stderr else "git failed"
    return {"commit": None, "dirty": None, "branch": None, "reason": reason}


def git_environment() -> dict[str, str]:
    """The environment without the variables that git sets for hooks, so that the folder decides on the repository."""
    return {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}


def _git(arguments: list[str], folder: Path | None, timeout_s: float) -> str:
    # No lock, pager or prompt: this must never disturb other work in the same checkout.
    command = ["git", "--no-optional-locks", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
        stdin=subprocess.DEVNULL,
        env=git_environment(),
    )
    return done.stdout.strip()

"""Suites that come with the package."""

from pathlib import Path


def shipped_suites() -> dict[str, Path]:
    """Suite files by name: those inside an installed package, or the repository's own in a checkout."""
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"), key=lambda path: path.stem)}


def _folder() -> Path:
    package = Path(__file__).resolve().parents[2]
    installed = package / "_suites"
    return installed if installed.is_dir() else package.parent / "suites"

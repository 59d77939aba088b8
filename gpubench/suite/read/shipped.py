"""Suites that come with the package."""

from pathlib import Path


def shipped_suites() -> dict[str, Path]:
    """Suite files by name: those inside an installed package, or the repository's own in a checkout."""
    package = Path(__file__).resolve().parents[2]
    folder = package / "_suites" if (package / "_suites").is_dir() else package.parent / "suites"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}

"""The package of docs/extending.md as if pip had installed it: its modules, and a `*.dist-info` with entry points."""

import re
import tomllib
from pathlib import Path

DOC = Path(__file__).parents[2] / "docs" / "extending.md"


def install(folder: Path) -> Path:
    """Writes the page's package into `folder`, which then belongs on the Python path."""
    text = DOC.read_text(encoding="utf-8")
    for name, source in re.findall(r"```python\n# (\S+)\n(.*?)```", text, flags=re.DOTALL):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source, encoding="utf-8")
    (declared,) = re.findall(r"```toml\n(.*?)```", text, flags=re.DOTALL)
    project = tomllib.loads(declared)["project"]
    add_distribution(folder, project["name"], project["entry-points"])
    return folder


def add_distribution(folder: Path, name: str, entry_points: dict[str, dict[str, str]]) -> None:
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    sections = (
        f"[{group}]\n" + "".join(f"{key} = {target}\n" for key, target in entries.items())
        for group, entries in entry_points.items()
    )
    (info / "entry_points.txt").write_text("\n".join(sections), encoding="utf-8")

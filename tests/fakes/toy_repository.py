"""A git repository with a package under test, whose build needs nothing but Python."""

import os
import subprocess
from pathlib import Path

_PYPROJECT = """\
[project]
name = "toy"
version = "1.0"

[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""

_BACKEND = '''\
"""A build backend: the wheel is the package and its metadata."""
import zipfile
from pathlib import Path

_INFO = "toy-1.0.dist-info"

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "toy-1.0-py3-none-any.whl"
    files = {str(path): path.read_text() for path in Path("toy").rglob("*.py")}
    files[f"{_INFO}/METADATA"] = "Metadata-Version: 2.1\\nName: toy\\nVersion: 1.0\\n"
    files[f"{_INFO}/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: backend\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = "".join(f"{file},,\\n" for file in [*files, f"{_INFO}/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for file, text in {**files, f"{_INFO}/RECORD": record}.items():
            wheel.writestr(file, text)
    return name
'''

_WORKLOAD = '''\
import time
import toy

class Toy:
    """A step of the package under test."""

    def build(self, case, device):
        return toy.step
'''


class ToyRepository:
    """`commit` makes a revision whose step sleeps so long; the suite beside it measures that step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "toy"
        self.package.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(_PYPROJECT)
        (folder / "backend.py").write_text(_BACKEND)
        self.bench = folder / "bench"
        self.bench.mkdir()
        (self.bench / "toybench.py").write_text(_WORKLOAD)
        self.git("init", "--quiet", "--initial-branch", "main")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=Toy", "-c", "user.email=toy@example.invalid", "-c", "commit.gpgsign=false")
        environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.folder, env=environ, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, step_s: float) -> str:
        self.write(step_s)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"a step of {step_s} s")
        return self.git("rev-parse", "HEAD")

    def write(self, step_s: float) -> None:
        """Changes the working tree alone."""
        (self.package / "__init__.py").write_text(
            f"import time\n\nSTEP_S = {step_s}\n\n\ndef step():\n    time.sleep(STEP_S)\n"
        )

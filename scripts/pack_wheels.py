"""Packs what gpubench and its tests need on a machine without network that has torch already, and proves that it works.

    pip list --format=freeze > have.txt                               # there
    python scripts/pack_wheels.py --have have.txt --python python3.12 # here, with an interpreter of the version there

Here a virtual environment is given the packages of `have.txt` that gpubench needs (lines of `name==version`, or of
`name` for any version); what pip would still have to install is packed as wheels; they are installed beside that
environment, as they will be there, every module of theirs is imported, pip looks for conflicts, and gpubench starts.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS_NEED = ("pytest", "pytest-timeout", "hypothesis", "jsonschema")
"""Of the extra `test`: what tests of a GPU need."""


class WrongInputError(Exception):
    """What to do about it is in the message."""


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_have(text: str) -> dict[str, str | None]:
    """Name -> version (None: any) of each line. WrongInputError for a line that is neither."""
    have: dict[str, str | None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        found = re.fullmatch(r"([A-Za-z0-9][\w.-]*)(?:==([\w.!+-]+))?", content)
        if found is None:
            raise WrongInputError(f"line {number} is neither `name` nor `name==version`: {content}")
        have[normal(found[1])] = found[2] and found[2].partition("+")[0]
    return have


def requirements(pyproject: Path = ROOT / "pyproject.toml") -> list[str]:
    project = tomllib.loads(pyproject.read_text())["project"]
    wanted = {normal(name) for name in TESTS_NEED}
    tests = [
        line for line in project["optional-dependencies"]["test"] if normal(re.split(r"[<>=~! ]", line)[0]) in wanted
    ]
    return [*project["dependencies"], *tests]


def split(needed: Mapping[str, str], have: Mapping[str, str | None]) -> tuple[dict[str, str], dict[str, str]]:
    """Of name -> version: what is there, and what has to be packed."""
    there = {name: version for name, version in needed.items() if name in have}
    return there, {name: version for name, version in needed.items() if name not in have}


_OLD_TAGS = {"1": (2, 5), "2010": (2, 12), "2014": (2, 17)}


def check_libraries(wheels: Iterable[str], glibc: str) -> None:
    """WrongInputError if a wheel, by its file name, asks for a later C library than `glibc` ("2.28")."""
    there = tuple(int(part) for part in glibc.split("."))
    late = []
    for wheel in wheels:
        asked = [(int(major), int(minor)) for major, minor in re.findall(r"manylinux_(\d+)_(\d+)_", wheel)]
        asked += [_OLD_TAGS[each] for each in re.findall(r"manylinux(1|2010|2014)_", wheel)]
        if asked and min(asked) > there:
            late.append(wheel)
    if late:
        raise WrongInputError(f"for a later C library than {glibc}: {', '.join(late)}")


def _run(*command: str | Path, **environ: str) -> str:
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, env=environ or None, check=False
    )
    if done.returncode != 0:
        raise WrongInputError(f"{' '.join(map(str, command))}\n{(done.stderr or done.stdout).strip()[-3000:]}")
    return done.stdout


def resolved(python: Path, have: Mapping[str, str | None], folder: Path) -> dict[str, str]:
    """Name -> version of everything that gpubench and its tests need, beside what is there."""
    pins = folder / "pins.txt"
    pins.write_text("".join(f"{name}=={version}\n" for name, version in have.items() if version))
    report = folder / "report.json"
    options = ("--dry-run", "--ignore-installed", "--quiet", "--only-binary=:all:")
    _run(python, "-m", "pip", "install", *options, "--report", report, "-c", pins, *requirements())
    found = json.loads(report.read_text())["install"]
    return {normal(each["metadata"]["name"]): each["metadata"]["version"] for each in found}


_IMPORT_ALL = """
import importlib, sys
from importlib.metadata import distributions

site, names = sys.argv[1], set()
for file in (file for each in distributions(path=[site]) for file in each.files or ()):
    top, *rest = file.parts
    name = top if rest == ["__init__.py"] else top.split(".")[0] if not rest and file.suffix in (".py", ".so") else ""
    if name.isidentifier() and not name.startswith("_"):
        names.add(name)
for name in sorted(names):
    assert importlib.import_module(name).__file__.startswith(site), f"{name} came from elsewhere"
print(len(names), "modules")
"""


def prove(python: Path, wheels: Path, site: Path) -> str:
    """Installs the wheels beside the environment of `python` and uses them; says what was seen."""
    _run(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--target",
        site,
        *sorted(wheels.glob("*.whl")),
    )
    environ = {"PYTHONPATH": f"{site}:{ROOT}", "PATH": "/usr/bin:/bin"}
    seen = _run(python, "-W", "ignore", "-c", _IMPORT_ALL, site, **environ).strip()
    _run(python, "-m", "pip", "check", **environ)
    return f"{seen} imported; {_run(python, '-m', 'gpubench', '--version', **environ).strip()}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--have", type=Path, required=True, help="what `pip list --format=freeze` says there")
    parser.add_argument("--python", default=sys.executable, help="an interpreter of the version that is there")
    parser.add_argument("--out", type=Path, default=ROOT / "wheels", help="folder for the wheels")
    parser.add_argument("--venv", type=Path, help="keep the environment here, for another time")
    parser.add_argument("--glibc", default="2.28", help="C library there, or an earlier one (2.28)")
    options = parser.parse_args(arguments)
    try:
        have = read_have(options.have.read_text())
        with tempfile.TemporaryDirectory(prefix="pack-wheels-") as temporary:
            folder = Path(temporary)
            home = options.venv or folder / "venv"
            python = home / "bin" / "python"
            if not python.exists():
                _run(options.python, "-m", "venv", home)
            there, missing = split(resolved(python, have, folder), have)
            print(f"there: {', '.join(sorted(there))}", f"packed: {', '.join(sorted(missing))}", sep="\n", flush=True)
            exact = [f"{name}=={version}" for name, version in there.items()]
            _run(python, "-m", "pip", "install", "--quiet", "--no-deps", *exact)
            options.out.mkdir(parents=True, exist_ok=True)
            for old in options.out.glob("*.whl"):
                old.unlink()
            exact = [f"{name}=={version}" for name, version in missing.items()]
            _run(
                python,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                "-d",
                options.out,
                *exact,
            )
            wheels = sorted(options.out.glob("*.whl"))
            check_libraries([wheel.name for wheel in wheels], options.glibc)
            seen = prove(python, options.out, folder / "site")
    except (WrongInputError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = sum(wheel.stat().st_size for wheel in wheels) / 2**20
    print(f"{len(wheels)} wheels, {size:.0f} MiB, in {options.out}: {seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What installs gpubench besides pip: the Dockerfile and conda's environment name what exists."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)


def test_the_image_is_pinned_and_runs_as_an_ordinary_user():
    kinds = [kind for kind, _ in STEPS]
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-base-ubuntu\d+\.\d+", dict(STEPS)["FROM"])
    assert int(dict(STEPS)["USER"]) > 1000
    assert kinds.index("USER") < kinds.index("COPY")


@pytest.mark.parametrize("target", re.findall(r"(?:RUN |gpubench |`)make ([^\s`]+)", DOCKERFILE))
def test_the_image_makes_what_the_makefile_can(target):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)


def test_the_image_runs_the_main_suite():
    assert dict(STEPS)["CMD"] == '["make", "run"]'


def test_conda_installs_the_checkout_with_a_python_that_it_supports():
    made = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python = next(each for each in made["dependencies"] if str(each).startswith("python="))
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.removeprefix("python=").split("."))) >= tuple(map(int, least.split(".")))
    assert {"pip": ["."]} in made["dependencies"]

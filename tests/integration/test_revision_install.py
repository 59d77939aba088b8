import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from fakes.toy_repository import ToyRepository

from gpubench.core.errors import UsageError
from gpubench.machine import installed_software
from gpubench.runner.arms import base_packages
from gpubench.runner.arms.install_revision import (
    INSTALLED,
    _beside,
    _cause,
    _pip_environment,
    check_not_shadowed,
    install,
)
from gpubench.runner.arms.revision import check_out, find_revision


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    repository = ToyRepository(tmp_path_factory.mktemp("git") / "toyrepo")
    repository.first = repository.commit(0.001)
    repository.git("tag", "v1")
    repository.second = repository.commit(0.002)
    return repository


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(folder))
    yield folder
    patch.undo()


@pytest.fixture(scope="module")
def first(toy, cache):
    said = []
    return install(find_revision("v1", folder=toy.folder), say=said.append), said


def run(python, code, cwd="/"):
    return subprocess.run([python, "-c", code], cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def test_a_revision_is_found_by_branch_tag_or_hash(toy):
    assert find_revision("v1", folder=toy.folder).commit == toy.first
    assert find_revision("main", folder=toy.bench).commit == toy.second
    assert find_revision(toy.first[:8], folder=toy.folder).commit == toy.first
    assert str(find_revision("v1", folder=toy.folder)) == f"v1 ({toy.first[:12]})"


def test_a_revision_that_is_not_there_says_what_was_meant(toy):
    with pytest.raises(UsageError, match="there is no git revision 'mian'") as caught:
        find_revision("mian", folder=toy.folder)
    assert caught.value.hint == "Did you mean 'main'?"
    with pytest.raises(UsageError, match="there is no git revision '--help'"):
        find_revision("--help", folder=toy.folder)


def test_a_repository_that_git_does_not_trust_is_told_from_none(toy, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    with pytest.raises(UsageError, match="dubious ownership"):
        find_revision("main", folder=toy.folder)


def test_a_folder_without_a_repository_or_a_package_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not in a git repository"):
        find_revision("main", folder=tmp_path)
    repository = ToyRepository(tmp_path / "bare")
    (repository.folder / "pyproject.toml").unlink()
    repository.commit(0.001)
    with pytest.raises(UsageError, match="contains no package"):
        find_revision("main", folder=repository.folder)


def test_the_revision_is_installed_whatever_the_working_tree_holds(toy, first):
    toy.write(0.009)
    python, said = first
    assert said == [f"installing v1 ({toy.first[:12]}) of toyrepo for Python {sys.version.split()[0]}"]
    assert run(python, "import toy; print(toy.STEP_S)") == "0.001"
    assert toy.git("status", "--porcelain") == "M toy/__init__.py"
    toy.git("checkout", "--quiet", "--", ".")


def _with_submodule(folder):
    """A package whose `toy/inner` is a submodule, with a file that `git archive` would leave out."""
    inner = ToyRepository(folder / "inner")
    needed = inner.commit(0.003)
    whole = ToyRepository(folder / "whole")
    whole.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner.folder.as_uri(), "toy/inner")
    (whole.folder / ".gitattributes").write_text("toy/table.py export-ignore\n")
    (whole.package / "table.py").write_text("SIZE = 7\n")
    whole.commit(0.001)
    return whole, needed


def test_a_revision_has_its_submodules_and_what_archives_leave_out(tmp_path):
    whole, _ = _with_submodule(tmp_path)
    (whole.package / "inner" / "toy" / "__init__.py").write_text("STEP_S = 0.009\n")  # the working tree alone
    revision = find_revision("main", folder=whole.folder)
    check_out(revision, tmp_path / "out")
    assert "STEP_S = 0.003" in (tmp_path / "out" / "toy" / "inner" / "toy" / "__init__.py").read_text()
    assert (tmp_path / "out" / "toy" / "table.py").read_text() == "SIZE = 7\n"
    assert not (tmp_path / "out" / ".git").exists()


def test_a_submodule_that_this_clone_lacks_is_named(tmp_path):
    """Measured without it, a package that can do without would be another one."""
    whole, needed = _with_submodule(tmp_path)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(whole.folder), str(clone)], check=True)
    with pytest.raises(UsageError, match=rf"needs commit {needed[:12]} of its submodule toy/inner") as refused:
        check_out(find_revision("main", folder=clone), tmp_path / "out")
    assert "git submodule update --init toy/inner" in refused.value.hint


def test_the_environment_sees_the_packages_of_its_base(first):
    python, _ = first
    where = run(python, "import numpy, sys; print(numpy.__file__); print(sys.prefix)").splitlines()
    assert not where[0].startswith(where[1])
    assert Path(where[1]) == Path(python).parent.parent


def test_settings_of_pip_send_a_revision_nowhere_else(toy, tmp_path, monkeypatch):
    """Each of them alone would make pip refuse, or install elsewhere."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config" / "pip").mkdir(parents=True)
    (tmp_path / "config" / "pip" / "pip.conf").write_text(f"[install]\ntarget = {tmp_path}/elsewhere\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PIP_USER", "1")
    for name in ("PIP_TARGET", "PIP_PREFIX"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    python = install(find_revision("v1", folder=toy.folder))
    where = run(python, "import toy; print(toy.__file__, toy.STEP_S)")
    assert where == f"{Path(python).parents[1]}/lib/python3.{sys.version_info[1]}/site-packages/toy/__init__.py 0.001"
    assert not (tmp_path / "elsewhere").exists()


# pip is not imported to find out: setuptools would leave distutils to Python in all of this process from then on,
# and then cannot replace it when torch's compiler asks.
@pytest.mark.skipif(not list(metadata.distributions(name="pip")), reason="an environment that uv made has no pip")
def test_where_packages_come_from_is_kept_of_pips_settings(tmp_path, monkeypatch):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("[global]\nindex-url = https://mirror.example/simple\nuser = true\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    environ = _pip_environment([sys.executable, "-m", "pip"])
    assert environ["PIP_INDEX_URL"] == "https://mirror.example/simple"
    assert environ["PIP_CONFIG_FILE"] == "/dev/null"
    assert not {"PIP_USER", "PIP_TARGET"} & environ.keys()


@pytest.mark.parametrize("kind", ["path", "finder"])
def test_a_base_in_development_mode_adds_nothing_of_the_working_tree(toy, tmp_path, kind):
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "other.pth").write_text(f"{tmp_path}\n")
    lines = {"path": str(toy.folder), "finder": "import __editable___toy_finder; __editable___toy_finder.install()"}
    (site / "toy.pth").write_text(lines[kind] + "\n")
    finder = (
        f"import sys\nMAPPING = {{'toy': '{toy.folder}/toy'}}\ndef install():\n    sys.path.append('{toy.folder}')\n"
    )
    (site / "__editable___toy_finder.py").write_text(finder)
    start = f"import runpy; runpy.run_path({base_packages.__file__!r})['add']({str(toy.folder)!r} + '/', (), ({str(site)!r},))"
    path = run(sys.executable, f"{start}; import sys; print(sys.path)")
    assert str(site) in path
    assert f"'{tmp_path}'" in path
    assert str(toy.folder) not in path


def test_an_environment_inside_the_repository_is_used(tmp_path):
    site = tmp_path / "venv" / "site-packages"
    site.mkdir(parents=True)
    (site / "own.pth").write_text(f"{tmp_path}/venv\n{tmp_path}/src\n")
    start = f"import runpy; add = runpy.run_path({base_packages.__file__!r})['add']"
    outside = (f"{tmp_path}/venv/",)
    path = run(
        sys.executable, f"{start}; add('{tmp_path}/', {outside!r}, ({str(site)!r},)); import sys; print(sys.path)"
    )
    assert str(site) in path
    assert f"{tmp_path}/src" not in path


def test_a_hook_of_another_repository_does_not_change_what_is_meant(toy, tmp_path, monkeypatch):
    head = toy.git("rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert find_revision("v1", folder=toy.folder).commit == toy.first
    assert installed_software.git(toy.folder)["commit"] == head


def test_environments_whose_names_have_dots_do_not_share_a_lock():
    assert _beside(Path("/c/toy-1.0-abc"), "lock") != _beside(Path("/c/toy-1.1-abc"), "lock")


def test_the_cause_is_the_programs_last_line_and_not_pips():
    said = [
        "error: subprocess-exited-with-error",
        "[3 lines of output]",
        "Traceback (most recent call last):",
        "RuntimeError: no wheel today",
        "[end of output]",
        "note: This error originates from a subprocess, and is likely not a problem with pip.",
        "ERROR: Failed building wheel for toy",
        "ERROR: Failed to build installable wheels for some pyproject.toml based projects",
    ]
    assert _cause(said) == "RuntimeError: no wheel today"
    assert _cause(said[:1] + said[6:7]) == "ERROR: Failed building wheel for toy"
    assert _cause([]) is None


def test_an_environment_is_made_once_per_commit(toy, first):
    said = []
    assert install(find_revision(toy.first, folder=toy.folder), say=said.append) == first[0]
    assert said == []


def test_one_that_was_cut_short_is_made_again(toy, cache, monkeypatch):
    revision = find_revision("main", folder=toy.folder)
    made = []

    def make(_revision, _base, folder):
        assert not folder.exists()
        (folder / "bin").mkdir(parents=True)
        made.append(folder)
        if len(made) == 1:
            raise KeyboardInterrupt
        (folder / INSTALLED).write_text('{"modules": ["toy"]}')

    monkeypatch.setattr("gpubench.runner.arms.install_revision._make", make)
    with pytest.raises(KeyboardInterrupt):
        install(revision)
    assert install(revision) == install(revision) == str(made[0] / "bin" / "python")
    assert len(made) == 2


def test_the_package_that_compares_cannot_be_an_arm(toy, cache, monkeypatch):
    def make(_revision, _base, folder):
        folder.mkdir(parents=True)
        (folder / INSTALLED).write_text('{"modules": ["gpubench"]}')

    monkeypatch.setattr("gpubench.runner.arms.install_revision._make", make)
    revision = find_revision(toy.commit(0.004), folder=toy.folder)
    toy.git("reset", "--quiet", "--hard", toy.second)
    with pytest.raises(UsageError, match="gpubench itself cannot be an arm"):
        install(revision)


def test_a_package_that_cannot_be_built_says_why_and_where_its_log_is(toy, cache):
    (toy.folder / "backend.py").write_text("def build_wheel(*_):\n    raise RuntimeError('no wheel today')\n")
    revision = find_revision(toy.commit(0.003), folder=toy.folder)
    toy.git("reset", "--quiet", "--hard", toy.second)
    with pytest.raises(UsageError, match=r"cannot be installed: .*no wheel today") as caught:
        install(revision)
    log = Path(caught.value.hint.removeprefix("Its whole output is in ").rstrip("."))
    assert "no wheel today" in log.read_text()


def test_a_package_that_comes_first_on_the_path_would_be_measured_in_its_place(toy, first, monkeypatch):
    python, _ = first
    check_not_shadowed(python, [str(toy.bench)])
    with pytest.raises(UsageError, match="it would be measured instead of every revision"):
        check_not_shadowed(python, [str(toy.folder)])
    check_not_shadowed(sys.executable, [str(toy.folder)])
    monkeypatch.setenv("PYTHONPATH", str(toy.folder))
    with pytest.raises(UsageError, match="comes first on the workers' path"):
        check_not_shadowed(python, [])

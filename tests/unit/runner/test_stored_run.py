import json

import pytest

from gpubench.core.errors import UsageError
from gpubench.protocol.loaded_files import file_digest, package_digest
from gpubench.runner import stored_run
from gpubench.runner.stored_run import check_files, check_own, check_planned, check_unchanged, origin_of, place_of
from gpubench.store.run_info import ArmInfo, PlannedCase, RunInfo
from gpubench.store.run_reader import load_info
from gpubench.store.run_writer import RunWriter
from gpubench.suite.model.case import Case

HERE = {
    "cpu": {"model": "C", "num_threads_usable": 8},
    "worker": {"torch": "2.12", "python": "3.11.7"},
    "gpus": [{"name": "H"}],
    "variables": {},
    "git": {"commit": "aaaa"},
}
PREFIX = "/venv"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "suite.yaml").write_text("schema: 1\n")
    (folder / "mine.py").write_text("STEP = 1\n")
    return folder


def run_info(project, case=None, **fields):
    case = case or Case(workload="mine:Net")
    planned = PlannedCase(index=1, case_id=case.case_id, label="a", settings=case.settings)
    path = project / "mine.py"
    return RunInfo(
        run="r",
        suite_name="s",
        suite={},
        suite_digest="d",
        created="2026-01-01T00:00:00Z",
        **{
            "suite_path": "suite.yaml",
            "working_folder": str(project),
            "cases": (planned,),
            "environment": HERE,
            "interpreter": PREFIX,
            "workload_files": {str(path): file_digest(path)},
            **fields,
        },
    )


def test_the_code_of_a_run_is_found_from_any_folder(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = place_of(run_info(project))
    assert (place.folder, place.search_path) == (project, (str(project),))
    assert place_of(run_info(project, suite_path="/shipped/cnn.yaml", case=Case())).folder == project


def test_code_that_is_not_there_is_named(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"{tmp_path}/suite.yaml does not exist"):
        place_of(run_info(project, working_folder=None))
    with pytest.raises(UsageError, match="/no/such does not exist"):
        place_of(run_info(project, working_folder="/no/such"))
    assert place_of(run_info(project, working_folder="/no/such", case=Case())).folder is None


def changed(**fields):
    return json.loads(json.dumps({**HERE, **fields}))


@pytest.mark.parametrize(
    ("here", "prefix", "said"),
    [
        (changed(git={"commit": "bbbb"}), PREFIX, "git.commit: aaaa then, bbbb now"),
        (changed(variables={"OMP_NUM_THREADS": "1"}), PREFIX, "variables.OMP_NUM_THREADS: None then, 1 now"),
        (changed(system={"cpu_quota": 0.5}), PREFIX, "system.cpu_quota: None then, 0.5 now"),
        (changed(cpu={"model": "C", "num_threads_usable": 1}), PREFIX, "cpu.num_threads_usable: 8 then, 1 now"),
        (changed(worker={"torch": "2.13", "python": "3.11.7"}), PREFIX, "worker.torch: 2.12 then, 2.13 now"),
        (changed(gpus=[]), PREFIX, "gpu0.name: H then, None now"),
        (HERE, "/other", "interpreter: /venv then, /other now"),
    ],
)
def test_another_state_is_refused_unless_forced(project, here, prefix, said):
    with pytest.raises(UsageError, match="was made in a different state") as caught:
        check_unchanged(run_info(project), here, prefix, force=False)
    assert said in str(caught.value)
    assert "--force" in caught.value.hint
    assert check_unchanged(run_info(project), here, prefix, force=True) == (said,)


def test_a_commit_that_changes_no_measured_file_is_said_and_not_refused(project):
    here = changed(git={"commit": "bbbb"})
    said = "git.commit: aaaa then, bbbb now; the measured code is the same"
    info = run_info(project, package_digest=package_digest())
    assert check_unchanged(info, here, PREFIX, force=False) == (said,)
    assert check_unchanged(
        run_info(project, case=Case(), workload_files={}, package_digest=package_digest()), here, PREFIX, force=False
    ) == (said,)


@pytest.mark.parametrize(
    "known", [{"package_digest": "0" * 16}, {"package_digest": package_digest(), "workload_files": {}}]
)
def test_a_commit_is_refused_where_the_measured_code_is_not_known_to_be_the_same(project, known):
    with pytest.raises(UsageError, match=r"git\.commit: aaaa then, bbbb now"):
        check_unchanged(run_info(project, **known), changed(git={"commit": "bbbb"}), PREFIX, force=False)


def test_a_commit_that_changes_a_measured_file_is_refused(project):
    info = run_info(project, package_digest=package_digest())
    (project / "mine.py").write_text("STEP = 2\n")
    with pytest.raises(UsageError, match=r"mine.py was changed; git.commit: aaaa then, bbbb now"):
        check_unchanged(info, changed(git={"commit": "bbbb"}), PREFIX, force=False)


def test_the_same_state_is_not_refused(project):
    assert check_unchanged(run_info(project), HERE, PREFIX, force=False) == ()
    assert check_unchanged(run_info(project, interpreter=None), HERE, "/other", force=False) == ()


def test_changed_or_missing_source_is_refused_unless_forced(project):
    info = run_info(project)
    (project / "mine.py").write_text("STEP = 2\n")
    with pytest.raises(UsageError, match=r"mine.py was changed"):
        check_unchanged(info, HERE, PREFIX, force=False)
    (project / "mine.py").unlink()
    with pytest.raises(UsageError, match=r"measured different code: .*mine.py no longer exists"):
        check_files(info, force=False)
    check_files(info, force=True)


def test_changed_data_is_refused_as_changed_source_is(project):
    (project / "labels.txt").write_text("a b")
    info = run_info(project, workload_files={str(project / "labels.txt"): file_digest(project / "labels.txt")})
    check_files(info, force=False)
    (project / "labels.txt").write_text("a c")
    with pytest.raises(UsageError, match=r"labels.txt was changed"):
        check_files(info, force=False)


@pytest.mark.parametrize("name", ["helper.py", "helper/__init__.py"])
def test_a_module_added_since_that_hides_one_of_the_run_is_refused(project, tmp_path, monkeypatch, name):
    info = run_info(project, imported=("helper", "numpy"))
    check_files(info, force=False)
    for folder in (project, tmp_path / "on-the-path"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).touch()
        with pytest.raises(UsageError, match=f"{name} is new, and hides the helper that the run used"):
            check_files(info, force=False)
        (folder / name).unlink()
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "on-the-path"))


def test_another_folder_on_the_path_with_the_module_of_the_run_is_refused(project, tmp_path, monkeypatch):
    for folder in ("a/mine", "b/mine", "b/util"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").touch()
    files = [tmp_path / "a/mine/__init__.py", tmp_path / "a/mine/util.py"]
    files[1].touch()
    info = run_info(project, workload_files={str(file): file_digest(file) for file in files})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "a"))
    (project / "mine.py").unlink()
    check_files(info, force=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "b"))
    with pytest.raises(UsageError, match=r"b/mine/__init__\.py is new, and hides the mine that") as caught:
        check_files(info, force=False)
    assert "util" not in str(caught.value)


def test_the_workloads_of_a_linked_suite_are_beside_the_file_itself(project, tmp_path):
    (tmp_path / "link.yaml").symlink_to(project / "suite.yaml")
    info = run_info(project, suite_path=str(tmp_path / "link.yaml"))
    assert place_of(info).search_path == (str(project),)


def test_a_run_of_ones_own_may_start_what_it_names(project):
    case = Case(workload="mine:Net", python="/other/python", env={"A": "1"})
    info = run_info(project, case, arms=(ArmInfo(name="base", given={"git": "main"}),))
    with pytest.raises(UsageError, match="was not made by you on this machine") as caught:
        check_own(info, trust=False)
    for said in ("the interpreter /other/python", "the variable A", "the workload mine:Net", "the arm base with git"):
        assert said in str(caught.value)
    assert "--trust" in caught.value.hint
    check_own(info, trust=True)
    check_own(info.model_copy(update={"origin": origin_of(info)}), trust=False)


def test_a_run_stored_without_its_secrets_is_still_ones_own(project, tmp_path):
    info = run_info(project, Case(workload="mine:Net", env={"API_KEY": "planted"}))
    RunWriter.create(tmp_path / "run", info.model_copy(update={"origin": origin_of(info)})).close()
    stored = load_info(tmp_path / "run")
    assert stored.cases[0].settings["env"] == {"API_KEY": "(withheld)"}
    check_own(stored, trust=False)


def test_a_run_that_was_altered_is_not_ones_own(project):
    info = run_info(project)
    info = info.model_copy(update={"origin": origin_of(info)})
    check_own(info, trust=False)
    for altered in ({"working_folder": "/evil"}, {"arms": (ArmInfo(name="x", given={"python": "/evil"}),)}):
        with pytest.raises(UsageError, match="was not made by you on this machine"):
            check_own(info.model_copy(update=altered), trust=False)


def test_a_run_that_names_nothing_needs_no_trust(project):
    check_own(run_info(project, Case(workload="torchvision:resnet18")), trust=False)


def test_without_a_cache_folder_no_run_is_known_as_ones_own(project, monkeypatch):
    monkeypatch.setattr(stored_run.machine_cache, "folder", lambda part: project / "mine.py" / part)
    assert origin_of(run_info(project)) is None


def test_a_run_ended_before_its_plan_says_so(project):
    with pytest.raises(UsageError, match="stopped before it was planned") as caught:
        check_planned(run_info(project, cases=(), environment={}), project)
    assert "gpubench run suite.yaml" in caught.value.hint
    check_planned(run_info(project), project)

"""From a case to a command line and, with programs that play nsys and the worker, to every way a capture ends."""

import json
import os
from pathlib import Path

import pytest
from fakes import traces

from gpubench.core.errors import UsageError
from gpubench.core.secrets import WITHHELD
from gpubench.profile.capture import capture_case
from gpubench.profile.capture.hide_processes import Hiding
from gpubench.profile.capture.profiler_tools import ToolAbsentError
from gpubench.profile.capture.run_tool import SessionError
from gpubench.profile.figures.summary_model import StartEnvironment
from gpubench.protocol import start_module
from gpubench.protocol.profile_job import ProfileJob
from gpubench.suite.model.case import Case

HELP = """--trace= --sample= --cpuctxsw= --capture-range= --capture-range-end= --nvtx-capture= --kill= --wait=
--force-overwrite= --output= --cuda-graph-trace="""
ENVIRON = {"PATH": os.environ["PATH"]}


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def nsys(folder: Path, profile: str, export: str = "exit 1") -> Path:
    options = "\\n".join(HELP.split())
    body = f"""case "$1 $2" in "profile --help") printf -- '{options}\\n'; exit 0;; esac
for each; do case "$each" in --output=*) out="${{each#--output=}}";; esac; done
if [ "$1" = export ]; then {export}; exit 0; fi
{profile}"""
    return script(folder / "nsys", body)


def worker(folder: Path, **result) -> Path:
    """Plays the interpreter that runs the worker: leaves a result next to the job it is given last."""
    document = json.dumps({"status": "ok", "steps": 2, "emitter": "on", "step_time_before_s": 0.001, **result})
    return script(
        folder / "python", f'for last; do :; done; cat > "$(dirname "$last")/worker.json" <<\'END\'\n{document}\nEND'
    )


def job(folder: Path, **case) -> ProfileJob:
    settings = {"device": "cuda", **case}
    return ProfileJob(tool="torch", case=Case(**settings), suite="s", label="l", steps=2, folder=folder / "out")


def test_auto_takes_nsys_for_cuda_and_torch_for_the_cpu(tmp_path: Path):
    tool = str(nsys(tmp_path, ""))
    assert capture_case.plan(job(tmp_path), "auto", nsys=tool, environ=ENVIRON).job.tool == "nsys"
    assert capture_case.plan(job(tmp_path, device="cpu"), "auto", nsys=tool, environ=ENVIRON).job.tool == "torch"


def test_auto_takes_torch_where_there_is_no_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(capture_case.profiler_tools._FOLDERS, "nsys", ())
    assert capture_case.plan(job(tmp_path), "auto", environ={"PATH": str(tmp_path)}).job.tool == "torch"
    with pytest.raises(ToolAbsentError):
        capture_case.plan(job(tmp_path), "nsys", environ={"PATH": str(tmp_path)})


def test_a_plan_writes_nothing(tmp_path: Path):
    made = capture_case.plan(job(tmp_path), "nsys", nsys=str(nsys(tmp_path, "")), environ=ENVIRON)
    assert not made.folder.exists()
    assert made.command[-5:] == (
        *made.command[-5:-4],
        "-u",
        "-m",
        "gpubench.worker.profiling.profiled_steps",
        str(made.folder / "job.json"),
    )
    assert f"--output={made.folder / 'profile'}" in made.command


@pytest.mark.parametrize(
    ("settings", "traced"), [({}, False), ({"cuda_graph": True}, True), ({"compile": "reduce-overhead"}, True)]
)
def test_graph_nodes_are_traced_where_the_case_uses_cuda_graphs(settings, traced, tmp_path: Path):
    made = capture_case.plan(job(tmp_path, **settings), "nsys", nsys=str(nsys(tmp_path, "")), environ=ENVIRON)
    assert ("--cuda-graph-trace=node" in made.command) is traced


def test_ncu_takes_one_step_and_only_on_cuda(tmp_path: Path):
    tool = script(tmp_path / "ncu", "exit 0")
    made = capture_case.plan(job(tmp_path), "ncu", ncu=str(tool), environ=ENVIRON)
    assert made.job.steps == 1
    assert made.command[:4] == (str(tool), "--nvtx", "--nvtx-include", "gpubench@capture")
    with pytest.raises(UsageError, match="runs on the CPU"):
        capture_case.plan(job(tmp_path, device="cpu"), "ncu", ncu=str(tool), environ=ENVIRON)


def test_a_profiler_inside_a_profiler_is_refused(tmp_path: Path):
    with pytest.raises(SessionError, match="NSYS_PROFILING_SESSION_ID is set"):
        capture_case.plan(job(tmp_path), "torch", environ={**ENVIRON, "NSYS_PROFILING_SESSION_ID": "1"})


def test_secrets_leave_the_environment_and_what_the_case_sets_stays(tmp_path: Path):
    made = capture_case.plan(job(tmp_path, env={"FLAG": "1"}), "torch", environ={**ENVIRON, "HF_TOKEN": "x"})
    assert made.withheld == {"HF_TOKEN": "x"}
    assert made.environ == {**ENVIRON, "FLAG": "1", **start_module.environment(environ=ENVIRON)}


def test_tools_print_numbers_as_they_are_read_unless_the_case_sets_the_locale(tmp_path: Path):
    """Other locales group digits and translate messages."""
    ncu = str(script(tmp_path / "ncu", "exit 0"))
    german = {**ENVIRON, "LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"}
    assert capture_case.plan(job(tmp_path), "ncu", ncu=ncu, environ=german).environ["LC_ALL"] == "C"
    own = job(tmp_path, env={"LC_ALL": "fr_FR.UTF-8"})
    assert capture_case.plan(own, "ncu", ncu=ncu, environ=german).environ["LC_ALL"] == "fr_FR.UTF-8"
    assert capture_case.plan(job(tmp_path), "torch", environ=german).environ["LC_ALL"] == "de_DE.UTF-8"


def test_a_tool_gets_the_cases_own_secret_and_not_what_stands_for_it(tmp_path: Path):
    stored = job(tmp_path, env={"HF_TOKEN": WITHHELD})
    ncu = str(script(tmp_path / "ncu", "exit 0"))
    made = capture_case.plan(stored, "ncu", ncu=ncu, environ={**ENVIRON, "HF_TOKEN": "the-value"})
    assert made.environ["HF_TOKEN"] == "the-value"


@pytest.mark.parametrize("tool", ["torch", "ncu"])
def test_only_nsys_needs_other_processes_hidden(tool, tmp_path: Path):
    ncu = script(tmp_path / "ncu", "exit 0")
    assert capture_case.plan(job(tmp_path), tool, ncu=str(ncu), environ=ENVIRON).hiding == Hiding()


def capture_with(tmp_path: Path, tool: Path, **result):
    made = capture_case.plan(
        job(tmp_path, python=str(worker(tmp_path, **result))), "nsys", nsys=str(tool), environ=ENVIRON
    )
    return capture_case.run(made, timeout_s=60)


RUN_PROGRAM = 'while [ "${1%/python}" = "$1" ]; do shift; done; "$@"'


def test_a_capture_that_works_ends_in_a_summary_with_the_perturbation(tmp_path: Path, stored: Path):
    tool = nsys(tmp_path, WORKS, exporting(stored, 'echo clean > "$out"'))
    captured = capture_with(tmp_path, tool)
    assert captured.trace == tmp_path / "out" / "profile.nsys-rep"
    assert captured.summary.steps == 2
    assert captured.summary.source == str(captured.trace)
    assert captured.summary.perturbation.ratio == pytest.approx(1.005)
    assert captured.summary.case["device"] == "cuda"


def test_the_failure_of_the_case_explains_more_than_the_tools(tmp_path: Path):
    tool = nsys(tmp_path, RUN_PROGRAM)
    with pytest.raises(SessionError, match=r"could not be profiled \(oom\): CUDA out of memory"):
        capture_with(tmp_path, tool, status="oom", reason="CUDA out of memory")


@pytest.mark.parametrize("state", ["off", "refused"])
def test_ranges_that_the_tool_did_not_take_are_named_as_the_cause(state, tmp_path: Path):
    with pytest.raises(SessionError, match=f"nsys did not take the ranges of the program \\(they were {state}\\)"):
        capture_with(tmp_path, nsys(tmp_path, RUN_PROGRAM), emitter=state)


def test_a_report_that_never_came_although_the_case_ran_is_an_error(tmp_path: Path):
    with pytest.raises(SessionError, match="never opened"):
        capture_with(tmp_path, nsys(tmp_path, RUN_PROGRAM))


WORKS = f'{RUN_PROGRAM}; echo report > "$out.nsys-rep"'


def exporting(stored: Path, text: str) -> str:
    """An export that hands out a stored database and, asked for text, a shell command's output."""
    return f'case "$3" in sqlite) cp {stored} "$out";; text) {text};; esac'


def run_with(tmp_path: Path, tool: Path):
    made = capture_case.plan(job(tmp_path, python=str(worker(tmp_path))), "nsys", nsys=str(tool), environ=ENVIRON)
    return made, capture_case.run(made, timeout_s=60)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    return traces.write_sqlite(traces.two_steps(), tmp_path / "stored.sqlite")


def test_tidying_keeps_the_report_or_not(tmp_path: Path, stored: Path):
    made, captured = run_with(tmp_path, nsys(tmp_path, WORKS, exporting(stored, 'echo clean > "$out"')))
    capture_case.tidy(made, captured, keep_trace=True)
    assert names(made.folder) == ["profile.log", "profile.nsys-rep"]
    capture_case.tidy(made, captured, keep_trace=False)
    assert names(made.folder) == ["profile.log"]


def test_a_variable_let_through_by_name_stays_and_is_recorded(tmp_path: Path, stored: Path):
    environ = {**ENVIRON, "HF_TOKEN": "let-through", "MY_KEY": "withheld-value"}
    shown = 'echo "data: \\"HF_TOKEN=$HF_TOKEN\\\\000MY_KEY=$MY_KEY\\"" > "$out"'
    made = capture_case.plan(
        job(tmp_path, python=str(worker(tmp_path))),
        "nsys",
        nsys=str(nsys(tmp_path, WORKS, exporting(stored, shown))),
        environ=environ,
        pass_env=["HF_TOKEN"],
    )
    assert made.environ["HF_TOKEN"] == "let-through"
    captured = capture_case.run(made, timeout_s=60)
    assert captured.trace == made.folder / "profile.nsys-rep"
    assert captured.summary.environment == StartEnvironment(
        withheld=("MY_KEY",), passed=("HF_TOKEN",), others_hidden_by=made.hiding.way
    )
    assert "let-through" not in captured.summary.model_dump_json()


def test_a_variable_that_is_not_set_cannot_be_let_through(tmp_path: Path):
    with pytest.raises(UsageError, match="--pass-env HF_TOKEN: there is no such variable"):
        capture_case.plan(job(tmp_path), "torch", environ=ENVIRON, pass_env=["HF_TOKEN"])


def test_a_plan_shows_no_values_of_the_environment(tmp_path: Path):
    made = capture_case.plan(job(tmp_path), "torch", environ={**ENVIRON, "HF_TOKEN": "abcdefgh", "A": "ijklmnop"})
    assert "abcdefgh" not in repr(made)
    assert "ijklmnop" not in repr(made)


def test_a_report_that_cannot_be_searched_for_secrets_is_not_kept(tmp_path: Path, stored: Path):
    made, captured = run_with(tmp_path, nsys(tmp_path, WORKS, exporting(stored, "exit 1")))
    assert captured.trace is None
    assert "The report was not kept, as it could not be searched" in captured.note
    capture_case.tidy(made, captured, keep_trace=True)
    assert names(made.folder) == ["profile.log"]


def test_a_report_that_holds_a_secret_is_not_kept_nor_are_its_tables(tmp_path: Path, stored: Path):
    shown = 'echo \'data: "A=1\\\\000OTHER_TOKEN=of-another-process"\' > "$out"'
    made, captured = run_with(tmp_path, nsys(tmp_path, WORKS, exporting(stored, shown)))
    assert captured.trace is None
    assert not (made.folder / "profile.nsys-rep").exists()
    assert not (made.folder / "profile.sqlite").exists()
    assert "it holds the values of OTHER_TOKEN" in captured.note


def test_where_nothing_hides_other_processes_a_clean_report_is_kept_with_a_warning(
    tmp_path: Path, stored: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(capture_case, "hide_processes", lambda environ: Hiding())
    _, captured = run_with(tmp_path, nsys(tmp_path, WORKS, exporting(stored, 'echo clean > "$out"')))
    assert captured.trace is not None
    assert "nsys could see other processes here" in captured.note
    assert captured.summary.environment.others_hidden_by is None


def test_what_was_captured_before_is_not_taken_for_a_new_report(tmp_path: Path):
    tool = nsys(tmp_path, RUN_PROGRAM)
    made = capture_case.plan(job(tmp_path, python=str(worker(tmp_path))), "nsys", nsys=str(tool), environ=ENVIRON)
    made.folder.mkdir()
    for name in ("profile.nsys-rep", "profile.log", "job.json"):
        (made.folder / name).write_text("of yesterday")
    with pytest.raises(SessionError, match="never opened"):
        capture_case.run(made, timeout_s=60)
    assert names(made.folder) == ["profile.log"]


@pytest.mark.parametrize("name", ["notes.txt", "profile.json", "job.json"])
def test_a_folder_with_other_files_is_refused_and_by_force_keeps_what_a_profile_does_not_write(name, tmp_path: Path):
    made = capture_case.plan(
        job(tmp_path, python=str(worker(tmp_path))), "nsys", nsys=str(nsys(tmp_path, RUN_PROGRAM)), environ=ENVIRON
    )
    made.folder.mkdir()
    (made.folder / name).write_text("mine")
    with pytest.raises(UsageError, match=f"contains other files: {name}"):
        capture_case.run(made, timeout_s=60)
    assert (made.folder / name).read_text() == "mine"
    with pytest.raises(SessionError):
        capture_case.run(made, timeout_s=60, force=True)
    assert names(made.folder) == sorted({"profile.log"} | ({name} & {"notes.txt"}))


def test_nothing_is_written_through_a_link(tmp_path: Path, stored: Path):
    made = capture_case.plan(
        job(tmp_path, python=str(worker(tmp_path))),
        "nsys",
        nsys=str(nsys(tmp_path, WORKS, exporting(stored, 'echo clean > "$out"'))),
        environ=ENVIRON,
    )
    made.folder.mkdir()
    theirs = tmp_path / "theirs"
    theirs.write_text("keep me")
    for name in (capture_case._LOG, *capture_case._OURS):
        (made.folder / name).symlink_to(theirs)
    capture_case.run(made, timeout_s=60)
    assert theirs.read_text() == "keep me"
    assert not (made.folder / "profile.nsys-rep").is_symlink()


def test_the_secret_of_a_case_reaches_the_program_and_no_file(tmp_path: Path, stored: Path):
    body = f'echo "the key is $MY_KEY"; stat -c %a {tmp_path}/out/job.json > {tmp_path}/mode; {WORKS}'
    made = capture_case.plan(
        job(tmp_path, python=str(worker(tmp_path)), env={"MY_KEY": "open-sesame-7"}),
        "nsys",
        nsys=str(nsys(tmp_path, body, exporting(stored, 'echo clean > "$out"'))),
        environ=ENVIRON,
    )
    assert made.environ["MY_KEY"] == "open-sesame-7"
    captured = capture_case.run(made, timeout_s=60)
    assert (tmp_path / "mode").read_text() == "600\n"
    assert captured.summary.case["env"] == {"MY_KEY": WITHHELD}
    assert (made.folder / "profile.log").read_text().startswith(f"the key is {WITHHELD}")
    assert not any("open-sesame-7" in path.read_text(errors="replace") for path in made.folder.iterdir())


def test_a_report_that_holds_a_secret_of_the_case_is_kept_only_where_it_was_let_through(tmp_path: Path, stored: Path):
    shown = 'echo "data: \\"MY_KEY=$MY_KEY\\"" > "$out"'
    tool = str(nsys(tmp_path, WORKS, exporting(stored, shown)))
    asked = job(tmp_path, python=str(worker(tmp_path)), env={"MY_KEY": "open-sesame-7"})
    made = capture_case.plan(asked, "nsys", nsys=tool, environ=ENVIRON)
    assert "it holds the values of MY_KEY" in capture_case.run(made, timeout_s=60).note
    made = capture_case.plan(asked, "nsys", nsys=tool, environ=ENVIRON, pass_env=["MY_KEY"])
    assert capture_case.run(made, timeout_s=60).trace is not None


def test_a_capture_that_fails_leaves_no_collected_data(tmp_path: Path):
    """It may hold the environment of other processes, and was not searched."""
    with pytest.raises(SessionError, match="did not find its importer"):
        capture_with(tmp_path, nsys(tmp_path, f'{RUN_PROGRAM}; echo raw > "$out.qdstrm"'))
    assert "profile.qdstrm" not in names(tmp_path / "out")


def test_the_tools_temporary_files_are_gone_afterwards(tmp_path: Path, stored: Path):
    body = f'echo raw > "$TMPDIR/raw"; echo "$TMPDIR" > {tmp_path}/where; {WORKS}'
    run_with(tmp_path, nsys(tmp_path, body, exporting(stored, 'echo clean > "$out"')))
    assert not Path((tmp_path / "where").read_text().strip()).exists()

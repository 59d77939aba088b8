"""`gpubench stat`: what it prints, where, and how it ends."""

import json
import random
import subprocess
import sys

import pytest

from gpubench.analysis.summary.program_figures import DeviceFigures, ProgramFigures, summarise_program
from gpubench.cli import own_variables
from gpubench.cli.main import main
from gpubench.cli.measured_program import as_document, measure_programs
from gpubench.cli.screens.program_screen import program_lines, verdict_line

GIB = 2**30


def figures(wall_s=2.0, exit_status=0, interrupted=False, devices=None, **metrics):
    own = {
        "wall_s": wall_s,
        "user_s": 3.0,
        "system_s": 0.5,
        "cpus": 3.5 / wall_s,
        "peak_memory_bytes": 2 * GIB,
        "largest_process_bytes": GIB,
        "num_processes": 3,
        "cpu_energy_j": None,
    }
    absent = {"cpu_energy_j": "RAPL needs root"}
    return ProgramFigures({**own, **metrics}, absent, devices or {}, exit_status, 0, interrupted)


def card(energy_j=600.0, *, valid=True, reason=None):
    metrics = {
        "energy_j": energy_j,
        "mean_power_w": 300.0,
        "peak_power_w": 410.0,
        "device_memory_used_bytes": 10 * GIB,
        "process_memory_bytes": 9 * GIB,
        "utilization": 0.93,
        "sm_clock_mhz": 1785.0,
        "throttle_share": 0.12,
    }
    detail = {
        "energy_valid": valid,
        "energy_invalid_reason": reason,
        "energy_uncertainty_pct": 0.8,
        "sm_clock_min_mhz": 1410,
        "sm_clock_max_mhz": 1980,
        "throttle_share_by_reason": {"power_cap": 0.12, "sw_thermal": 0.0},
    }
    return DeviceFigures("NVIDIA H200", metrics, {}, detail)


def test_figures_of_a_run_are_a_line_each():
    lines = program_lines(["./train", "--epochs", "1"], [figures(devices={"GPU-1": card()})], "")
    assert lines == [
        "./train --epochs 1",
        "",
        "  wall time        2.000 s",
        "  CPU time         3.000 s user, 500.0 ms system (1.75 CPUs busy)",
        "  peak memory      2.0 GiB in 3 processes, the largest 1.0 GiB",
        "",
        "  NVIDIA H200 GPU-1",
        "    energy           600.0 J (readings: ±0.8%)",
        "    power            300.0 W mean, 410.0 W peak",
        "    memory           10.0 GiB in use at most, 9.0 GiB more than before the program",
        "    utilization      93.0%",
        "    SM clock         1785 MHz mean (1410 to 1980)",
        "    throttled        12.0% of the time (power limit)",
        "",
        "  note: no CPU energy: RAPL needs root",
    ]


def test_peak_memory_is_shown_where_that_of_the_largest_process_is_not_known():
    lines = program_lines(["a"], [figures(largest_process_bytes=None)], "")
    assert "  peak memory      2.0 GiB in 3 processes" in lines


def test_energy_that_is_not_valid_is_an_indication():
    doubtful = card(valid=False, reason="the window of 2 s is shorter than 3 s")
    lines = program_lines(["a"], [figures(devices={"GPU-1": doubtful})], "")
    assert "    energy           600.0 J, an indication only: the window of 2 s is shorter than 3 s" in lines


def test_three_runs_have_an_interval_and_two_have_none():
    two, three = (summarise_program([figures(wall_s) for wall_s in walls]) for walls in ((2.0, 2.1), (2.0, 2.1, 2.2)))
    assert two.metrics["wall_s"].low is None
    assert three.metrics["wall_s"].low < 2.0 < three.metrics["wall_s"].high
    assert three.metrics["peak_memory_bytes"].value == 2 * GIB


def test_a_metric_that_one_run_lacks_has_no_figure():
    found = summarise_program([figures(), figures(peak_memory_bytes=None)])
    assert "peak_memory_bytes" not in found.metrics
    assert found.absent["peak_memory_bytes"] == "one of the runs has no value"


def scripted(walls, **later):
    """A `measure` whose commands take what `walls` says, by name; `later` replaces a run by its number."""
    taken = []

    def measure(words):
        taken.append(words[0])
        replaced = later.get(f"run_{len(taken)}")
        return replaced or figures(walls[words[0]])

    measure.taken = taken
    return measure


def test_two_commands_run_in_turn_until_a_verdict():
    measure = scripted({"new": 1.0, "old": 1.2})
    found = measure_programs(measure, ["new"], ["old"], runs=None, warmup=1, order=random.Random(1))
    assert found.comparison.verdict == "faster"
    assert len(found.runs) == len(found.reference_runs) == found.comparison.rounds == 5
    rounds = [set(measure.taken[at : at + 2]) for at in range(0, len(measure.taken), 2)]
    assert rounds == [{"new", "old"}] * 6  # one of them to warm up
    assert measure.taken[::2] != [measure.taken[0]] * 7
    line = verdict_line(["new"], ["old"], found.comparison)
    assert line == "new takes 16.7% less time than old (-16.7% to -16.7%): faster after 5 rounds"


def test_equal_commands_are_the_same_within_the_smallest_change():
    found = measure_programs(scripted({"a": 1.0, "b": 1.0}), ["a"], ["b"], runs=None, sesoi=0.05)
    assert "same within 5.0% after 5 rounds" in verdict_line(["a"], ["b"], found.comparison)


def test_few_rounds_give_no_verdict():
    found = measure_programs(scripted({"a": 1.0, "b": 2.0}), ["a"], ["b"], runs=2)
    assert found.comparison.verdict == "unclear"
    assert len(found.runs) == 2


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ({"exit_status": 3}, "run 2 of 5 ended with status 3: nothing was run after it"),
        ({"exit_status": 130, "interrupted": True}, "run 2 of 5 interrupted: nothing was run after it"),
    ],
)
def test_a_failed_or_interrupted_run_ends_it_and_keeps_what_is_known(ending, said):
    found = measure_programs(scripted({"a": 1.0}, run_2=figures(**ending)), ["a"], None, runs=5)
    assert len(found.runs) == 1
    assert found.stopped == said
    assert found.exit_status == ending["exit_status"]


def test_a_single_run_that_failed_still_has_its_figures():
    found = measure_programs(scripted({"a": 1.0}, run_1=figures(exit_status=3)), ["a"], None, runs=None)
    assert (len(found.runs), found.stopped, found.exit_status) == (1, "", 3)
    assert program_lines(["a"], found.runs, "")[0] == "a (exit status 3)"


def test_failed_runs_that_are_ignored_are_counted():
    runs = [figures(exit_status=status) for status in (0, 7, 0, 9, 7)]
    assert program_lines(["a"], runs, "")[0] == "a (5 runs, 3 with exit status 7 and 9)"


def test_failures_may_be_ignored_but_stay_the_status():
    found = measure_programs(
        scripted({"a": 1.0}, run_1=figures(exit_status=3)), ["a"], None, runs=3, ignore_failure=True
    )
    assert (len(found.runs), found.exit_status) == (3, 3)


def test_json_has_every_run_and_withholds_secrets():
    found = measure_programs(scripted({"a": 1.0, "b": 1.2}), ["a", "--token", "s3cr3t"], ["b"], runs=None)
    document = as_document(found, "no NVIDIA driver")
    assert "s3cr3t" not in json.dumps(document)
    ours, theirs = document["commands"]
    assert len(ours["runs"]) == len(theirs["runs"]) == 5
    assert ours["metrics"]["wall_s"]["value"] == pytest.approx(1.0)
    assert document["verdict"]["verdict"] == "faster"
    assert document["no_device"] == "no NVIDIA driver"
    assert "s3cr3t" not in "\n".join(program_lines(["a", "--token", "s3cr3t"], found.runs, ""))


def gpubench(*arguments, **streams):
    command = [sys.executable, "-m", "gpubench", "stat", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **streams)


def test_the_streams_and_the_status_of_the_program_pass_through(tmp_path):
    done = gpubench("-o", str(tmp_path / "figures.txt"), "sh", "-c", "echo out; echo err >&2; exit 4")
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "err\n")
    assert "wall time" in (tmp_path / "figures.txt").read_text()


def test_every_run_reads_a_file_from_its_start_and_a_pipe_that_is_spent_is_told(tmp_path):
    (tmp_path / "given").write_text("skipped\nread\n")
    with (tmp_path / "given").open("rb", buffering=0) as given:
        given.readline()
        done = gpubench("-r", "3", "cat", stdin=given)
    assert (done.stdout, "standard input" in done.stderr) == ("read\n" * 3, False)
    piped = gpubench("-r", "2", "cat", input="read\n")
    assert piped.stdout == "read\n"
    assert "note: standard input was a pipe, so only the first run that read it got its content" in piped.stderr
    assert "standard input" not in gpubench("-r", "2", "true", input="read\n").stderr


def test_a_link_is_replaced_and_what_it_pointed_to_stays(tmp_path):
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "figures.txt").symlink_to("theirs")
    assert main(["stat", "-q", "-o", str(tmp_path / "figures.txt"), "true"]) == 0
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert "wall time" in (tmp_path / "figures.txt").read_text()


def test_the_program_ran_but_its_figures_cannot_be_written(capfd):
    assert main(["stat", "-o", "/dev/full", "sh", "-c", "echo ran"]) == 125
    out, err = capfd.readouterr()
    assert out == "ran\n"
    assert err.startswith("error: the program ran, but gpubench cannot write /dev/full: no space left on device\n")


def test_json_is_alone_on_stdout():
    done = gpubench("--json", "--", "echo", "hi")
    assert json.loads(done.stdout)["commands"][0]["command"] == ["echo", "hi"]
    assert done.stderr == "hi\n"


def test_options_after_the_command_are_its_own(capfd):
    assert main(["stat", "-q", "sh", "-c", "exit $#", "-r", "5", "--json"]) == 2
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "missing argument"),
        (["--sesoi", "3%", "true"], 2, "add the other command with --against"),
        (["--against", "'", "true"], 2, "No closing quotation"),
        (["--against", " ", "true"], 2, "names no command"),
        (["-r", "0", "true"], 2, "--runs"),
        (["-o", "/dev/null/file", "true"], 2, "cannot make /dev/null: file exists"),
        (["-o", "/", "true"], 2, "cannot write /: is a directory"),
        (["--device", "0", "true"], 2, "--device: "),
        (["--against", "no-such-program", "true"], 127, "there is no program 'no-such-program'"),
        (["make -j8"], 127, "Write its arguments as words."),
    ],
)
def test_mistakes_are_named_before_anything_runs(capfd, arguments, status, said):
    assert main(["stat", *arguments]) == status
    assert said in capfd.readouterr().err


def test_the_program_does_not_get_variables_that_gpubench_set(monkeypatch):
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)
    monkeypatch.setattr(own_variables, "_set", set())
    own_variables.set_own_variables()
    assert "PYDANTIC_DISABLE_PLUGINS" not in own_variables.users_environment()
    monkeypatch.setattr(own_variables, "_set", set())
    own_variables.set_own_variables()  # the user's own stays
    assert own_variables.users_environment()["PYDANTIC_DISABLE_PLUGINS"] == "__all__"


@pytest.mark.parametrize("options", [["--json"], []])
def test_no_secret_of_a_command_line_is_shown(options, monkeypatch, capfd):
    monkeypatch.setenv("MY_TOKEN", "planted-in-env-1")
    given = ["--api-key", "planted", "Authorization: Bearer planted-too", "planted-in-env-1"]
    assert main(["stat", *options, "--", sys.executable, "-c", "", *given]) == 0
    assert "planted" not in "".join(capfd.readouterr())

import json
import math
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from fakes.gate_runs import ENVIRONMENT, STEADY, HandMade, two_arms
from fakes.junit_schema import validate_junit
from fakes.pytest_json import steady, write_pytest_json

from gpubench.cli.gate import remeasure as confirm
from gpubench.cli.main import main
from gpubench.core.findings import finding
from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

ROOT = Path(__file__).parents[3]
NOISY = (1.0, 1.3, 0.8, 1.2, 0.7, 1.1, 0.9, 1.25, 0.75, 1.05)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A working folder of its own, outside CI."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(capsys, *arguments):
    status = main(["check", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def arms(head=900.0, factors=STEADY, *, lost=None, name="arms", suite=None, **fields):
    made = two_arms(suite=suite or {})
    made.measured(1000.0, factors, head=head, batch_size=64, **fields)
    made.measured(1000.0, head=1000.0, batch_size=128)
    if lost is not None:
        planned = made.plan(batch_size=256)
        made.launches(planned, 1000.0, arm="base")
        made.ended(planned, lost, "the reason", arm="head")
    return made.write(Path("reports"), name)


def stored(name, rate=1000.0, *, lost=None, environment=ENVIRONMENT, memory=1.0, findings=(), **settings):
    made = HandMade(environment=environment)
    planned = made.plan(device="cuda", batch_size=64, **settings)
    made.launches(planned, rate, findings=findings, extra={"peak_memory_allocated_bytes": memory * 2**30})
    if lost is not None:
        made.ended(made.plan(device="cuda", batch_size=128), lost, "the reason")
    return made.write(Path("reports"), name, created=f"2026-11-23T16:0{len(list(Path('reports').glob('*')))}:00Z")


def one_case(lost, reason="the reason", *, before=None, **settings):
    """Arms with one case that is as before, and one that the second arm ended so (`before`: how the first one did)."""
    made = two_arms()
    made.measured(1000.0, head=1000.0, batch_size=64)
    planned = made.plan(batch_size=256, **settings)
    if before is None:
        made.launches(planned, 1000.0, arm="base")
    else:
        made.ended(planned, before, "an old reason", arm="base")
    made.ended(planned, lost, reason, arm="head")
    made.write(Path("reports"), "arms")


def crashed_in_part(factors=STEADY):
    """Arms of which the second crashed in its first two launches of ten, and the reasons of those."""
    made = two_arms()
    planned = made.measured(1000.0, factors, head=1000.0, batch_size=64)
    made.records = [record for record in made.records if record.arm == "base" or record.repeat > 2]
    for repeat, reason in ((1, "segmentation fault"), (2, "another reason")):
        crash = {"repeat": repeat, "status": Status.FAILED, "reason": reason}
        like = next(record for record in made.records if record.arm == "head" and record.case_index == planned.index)
        made.records.append(like.model_copy(update={**crash, "metrics": {}, "series": None, "effective": None}))
    made.write(Path("reports"), "arms")


def wrong_output(*, findings=()):
    made = two_arms()
    planned = made.plan(batch_size=64)
    made.launches(planned, 1000.0, arm="base")
    made.launches(planned, 5000.0, arm="head", parity=False, findings=findings)
    made.write(Path("reports"), "arms")


class TestExitStatus:
    def test_0_where_every_gate_is_kept(self, capsys):
        arms(1000.0)
        status, out, _ = check(capsys)
        assert status == 0
        assert "PASS: 2 gates kept." in out

    def test_1_where_a_gate_failed(self, capsys):
        arms(900.0)
        status, out, _ = check(capsys)
        assert status == 1
        assert "FAIL: 1 gate of 2 failed, in 1 case." in out
        assert "the whole interval is beyond the limit" in out

    def test_unclear_is_never_1(self, capsys):
        arms(900.0, NOISY)
        status, out, _ = check(capsys)
        assert status == 0
        assert "unclear in 1" in out
        assert "was unclear in some cases; this is not a failure" in out

    @pytest.mark.parametrize("num", [1, 2, 4])
    def test_too_few_rounds_are_unclear_however_large_the_change(self, capsys, num):
        arms(100.0, STEADY[:num])
        status, out, _ = check(capsys, "--gate", "throughput=3%")
        assert status == 0
        assert "unclear in 1" in out

    def test_a_speed_up_and_a_change_within_the_limit_are_0(self, capsys):
        arms(2000.0, name="up")
        assert check(capsys, "up")[0] == 0
        arms(900.0, name="within")
        assert check(capsys, "within", "--gate", "throughput=15%")[0] == 0

    @pytest.mark.parametrize("lost", [Status.FAILED, Status.TIMEOUT])
    def test_3_where_a_case_crashed_and_no_gate_says_so(self, capsys, lost):
        arms(1000.0, lost=lost)
        status, out, _ = check(capsys, "--gate", "throughput=3%")
        assert status == 3
        assert "No gate failed, but cases did" in out

    @pytest.mark.parametrize("gates", [(), ("--gate", "throughput=3%")])
    @pytest.mark.parametrize("side", ["base", "head"])
    def test_3_where_every_launch_of_an_arm_crashed_and_no_gate_says_so(self, capsys, side, gates):
        made = two_arms()
        planned = made.plan(batch_size=64)
        made.ended(planned, Status.FAILED, "segmentation fault", arm=side)
        made.launches(planned, 1000.0, arm="base" if side == "head" else "head")
        made.write(Path("reports"), "arms")
        status, out, _ = check(capsys, *gates)
        by_default_statuses_count = side == "head" and not gates
        assert status == (1 if by_default_statuses_count else 3)
        said = f"NOT JUDGED: every launch of {side} crashed: segmentation fault."
        assert (said in out) is not by_default_statuses_count

    def test_2_where_every_launch_of_the_stored_run_it_is_compared_with_crashed(self, capsys):
        for name, ended in (("before", True), ("after", False)):
            made = HandMade()
            planned = made.plan(batch_size=64)
            made.ended(planned, Status.FAILED, "boom") if ended else made.launches(planned, 1000.0)
            made.write(Path("reports"), name)
        status, out, _ = check(capsys, "after", "--against", "before")
        assert status == 2
        assert "NOT JUDGED: every launch of before crashed: boom." in out
        assert check(capsys, "after", "--against", "before", "--on-unclear", "pass")[0] == 0

    def test_3_where_some_launches_of_a_case_crashed_although_others_did_not(self, capsys):
        made = two_arms()
        planned = made.measured(1000.0, head=1000.0, batch_size=64)
        made.ended(planned, Status.FAILED, "segmentation fault", arm="head")
        made.write(Path("reports"), "arms")
        status, out, _ = check(capsys, "arms")
        assert status == 3
        assert "No gate failed, but cases did" in out

    def test_1_where_a_gate_on_status_says_so(self, capsys):
        arms(1000.0, lost=Status.FAILED)
        assert check(capsys)[0] == 1

    def test_a_new_oom_fails_the_usual_gates(self, capsys):
        arms(1000.0, lost=Status.OOM)
        status, out, _ = check(capsys)
        assert status == 1
        assert "now OOM" in out

    def test_4_where_the_machine_was_unfit_and_strict_asks(self, capsys):
        stored("a")
        stored("b", findings=[finding("GB407", "Another process had a compute context.")])
        status, _, err = check(capsys, "b", "--against", "a", "--strict")
        assert status == 4
        assert "GB407" in err
        assert check(capsys, "b", "--against", "a")[0] == 0

    def test_the_program_exits_with_it(self):
        arms(900.0)
        done = subprocess.run(
            [sys.executable, "-m", "gpubench", "check", "arms"],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")


class TestRefusals:
    def test_no_run(self, capsys):
        status, _, err = check(capsys)
        assert status == 2
        assert "no run is called '@last'" in err

    def test_no_baseline(self, capsys):
        stored("a")
        status, _, err = check(capsys)
        assert status == 2
        assert "there is no baseline suites/baselines/nvidia-imaginary-80gb/fake.json" in err
        assert "--update` makes one" in err

    def test_another_card(self, capsys):
        stored("a")
        stored("b", environment={**ENVIRONMENT, "gpus": [{**ENVIRONMENT["gpus"][0], "name": "NVIDIA Other"}]})
        status, _, err = check(capsys, "b", "--against", "a")
        assert status == 2
        assert "cannot be compared: GPU 0 name" in err
        assert check(capsys, "b", "--against", "a", "--force")[0] == 0

    def test_no_case_in_common(self, capsys):
        stored("a")
        stored("b", optimizer="adam")
        status, _, err = check(capsys, "b", "--against", "a", "--force")
        assert status == 2
        assert "no case in common" in err

    def test_a_gate_that_meets_nothing(self, capsys):
        arms()
        for more in ((), ("--gate", "throughput=20%")):
            status, _, err = check(capsys, "--gate", "energy_per_sample_j=5%", *more)
            assert status == 2
            assert "nothing to judge, no case of head has energy_per_sample_j on both sides" in err

    def test_a_run_that_measured_nothing(self, capsys):
        stored("base")
        made = HandMade(environment=ENVIRONMENT)
        made.plan(device="cuda", batch_size=64)
        made.write(Path("reports"), "empty")
        for gates in ((), ("--gate", "status=failed,oom")):
            assert check(capsys, "empty", "--against", "base", *gates)[0] == 2
        status, _, err = check(capsys, "empty", "--update")
        assert (status, "measured nothing" in err) == (2, True)

    @pytest.mark.parametrize("kept", [("--update",), ("--accept", "the first one")])
    def test_a_run_without_a_valid_figure_is_no_first_baseline(self, capsys, kept):
        stored("wrong", findings=[finding("GB301", "tf32 was asked for, fp32 was used")])
        status, _, err = check(capsys, "wrong", *kept)
        assert (status, "no figure of run wrong is valid" in err) == (2, True)
        assert not Path("suites").exists()

    @pytest.mark.parametrize("gate", ["status", "throughput"])
    def test_passing_without_a_gate_on_speed_says_so(self, capsys, gate):
        rule = {"no_new": ["oom"]} if gate == "status" else {"max_regression": "70%"}
        arms(390.0, suite={"gates": [{"metric": gate, **rule}]})
        _, out, _ = check(capsys)
        assert "PASS: 1 gate kept." in out
        assert ("Speed was not judged: no gate is on it (--gate throughput=3%)." in out) is (gate == "status")

    def test_a_gate_of_the_suite_without_data_is_counted(self, capsys):
        gates = [{"metric": metric, "max_regression": "3%"} for metric in ("throughput", "energy_per_sample_j")]
        arms(1000.0, suite={"gates": gates})
        assert "PASS: 1 gate kept. No data: 1 gate." in check(capsys)[1]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--gate", "throughput"], "not a gate"),
            (["--gate", "thruput=3%"], "not a metric that can get worse"),
            (["--gate", "thruput=3%"], "Did you mean 'throughput'?"),
            (["--gate", "memory=3%"], "Did you mean 'peak_memory_allocated_bytes'?"),
            (["--gate", "status=falied"], "Did you mean 'failed'?"),
            (["--gate", "throughput=3%@batch_sizes=64"], "there is no setting 'batch_sizes'"),
            (
                ["--gate", "peak_rss_bytes=3%", "--gate", "throughput=9%@batch_size=65"],
                "@ batch_size=65: there is no such case",
            ),
            (["--against", "other"], "'other' is not an arm of run arms"),
            (["--arm", "other"], "has no arm 'other'"),
            (["--accept", " "], "--accept needs a reason"),
            (["--accept", "x", "--update"], "exclude each other"),
            (["--update"], "has arms, which are compared with each other"),
            (["--confirm", "0"], "0 is not in the range"),
            (["--confirm", "4"], "4 fresh rounds cannot confirm a failure of throughput"),
            (["--gate", "throughput=3"], "a limit of 300% can never be broken"),
            (["--sesoi", "0"], "must be above 0"),
            (["arms", "arms"], "give one run to check"),
            (["--against", "base", "--against", "base"], "--against may be given once"),
        ],
    )
    def test_wrong_use_is_2_with_a_sentence(self, capsys, arguments, said):
        arms()
        status, out, err = check(capsys, *arguments)
        assert (status, out) == (2, "")
        assert said in err.lower() if said.islower() else said in err

    def test_three_arms_need_a_choice(self, capsys):
        made = two_arms()
        made.arms = ("base", "head", "other")
        planned = made.plan()
        for arm in made.arms:
            made.launches(planned, 1000.0, arm=arm)
        made.write(Path("reports"), "arms")
        status, _, err = check(capsys)
        assert status == 2
        assert "several arms to check: head, other" in err
        assert check(capsys, "--arm", "other")[0] == 0

    def test_a_file_that_cannot_be_written(self, capsys):
        arms()
        Path("file").write_text("")
        for option in ("--junit", "--output"):
            status, _, err = check(capsys, "no-such-run", option, "file/x.xml")
            assert (status, "cannot make file" in err) == (2, True), "told before anything is read or measured"


class TestRules:
    def test_gates_of_the_suite_count(self, capsys):
        arms(900.0, suite={"gates": [{"metric": "throughput", "max_regression": "20%"}]})
        status, out, _ = check(capsys)
        assert status == 0
        assert "these stand in" not in out

    def test_a_gate_of_the_command_line_goes_before_the_suites(self, capsys):
        arms(900.0, suite={"gates": [{"metric": "throughput", "max_regression": "20%"}]})
        assert check(capsys, "--gate", "throughput=5%")[0] == 1

    def test_single_cases_may_have_a_limit_of_their_own(self, capsys):
        arms(900.0)
        assert check(capsys, "--gate", "throughput=3%", "--gate", "throughput=20%@batch_size=64")[0] == 0
        assert check(capsys, "--gate", "throughput=3%", "--gate", "throughput=20%@batch_size=128")[0] == 1

    @pytest.mark.parametrize("order", [1, -1])
    def test_an_exception_that_meets_no_case_is_refused(self, capsys, order):
        arms(900.0)
        gates = (["--gate", "throughput=3%"], ["--gate", "throughput=20%@batch_size=65"])[::order]
        status, _, err = check(capsys, *gates[0], *gates[1])
        assert status == 2
        assert "@ batch_size=65: there is no such case" in err

    def test_a_gate_that_later_ones_replace_everywhere_says_so(self, capsys):
        arms(1000.0, suite={"gates": [{"metric": "throughput", "max_regression": "20%"}]})
        status, out, _ = check(capsys, "--gate", "throughput=5%")
        assert (status, "later gates decide" in out) == (0, True)

    def test_what_stands_in_is_said(self, capsys):
        arms(1000.0)
        assert "No gate was declared" in check(capsys)[1]

    def test_memory_is_judged_between_stored_runs(self, capsys):
        stored("a", memory=1.0)
        stored("b", memory=1.1)
        status, out, _ = check(capsys, "b", "--against", "a")
        assert status == 1
        assert "peak memory allocated" in out

    def test_speed_between_stored_runs_fails_only_when_asked(self, capsys):
        stored("a", 1000.0)
        stored("b", 800.0)
        status, out, _ = check(capsys, "b", "--against", "a")
        assert status == 0
        assert "Runs made at different times cannot fail a speed gate" in out
        assert check(capsys, "b", "--against", "a", "--allow-unpaired")[0] == 1

    @pytest.mark.parametrize(
        ("source", "looks"),
        [
            ("arms", "gpubench compare arms -v, gpubench show arms:CASE"),
            ("run", "gpubench compare a b -v, gpubench show b:CASE"),
            ("baseline", "To look: gpubench show b:CASE"),
        ],
    )
    def test_what_is_to_be_typed_next_is_a_command_that_works(self, capsys, source, looks):
        if source == "arms":
            arms(900.0)
            _, out, _ = check(capsys)
        else:
            stored("a")
            check(capsys, "a", "--update")
            stored("b", memory=1.1)
            _, out, _ = check(capsys, "b", *(["--against", "a"] if source == "run" else []))
        assert looks in out
        if source != "baseline":
            command = looks.partition(",")[0].split()[1:]
            assert main(command) == 0

    def test_cases_that_the_run_left_out_are_named(self, capsys):
        stored("a")
        made = HandMade(environment=ENVIRONMENT)
        for batch_size in (64, 256):
            made.measured(1000.0, device="cuda", batch_size=batch_size)
        made.write(Path("reports"), "more", created="2026-11-22T10:00:00Z")
        status, out, _ = check(capsys, "a", "--against", "more", "--gate", "throughput=3%")
        assert status == 0
        assert "1 case of more was not measured: cuda 256" in out

    def test_a_run_that_lost_all_launches_of_a_case_does_not_pass_unless_asked(self, capsys, monkeypatch):
        made = two_arms()
        made.measured(1000.0, head=1000.0, batch_size=64)
        made.plan(batch_size=128)
        made.write(Path("reports"), "cut")
        status, out, _ = check(capsys, "cut")
        assert status == 2
        assert "NOT JUDGED: 1 case not measured. No gate failed in the others." in out
        assert "gpubench run --resume cut" in out
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        _, _, err = check(capsys, "cut", "--junit", "junit.xml")
        assert "::error title=gpubench%3A check::NOT JUDGED: 1 case not measured." in err
        assert validate_junit(Path("junit.xml").read_text()).get("errors") == "1"
        assert not json.loads(Path("reports/cut/gate.json").read_text())["passed"]
        for how, passes in (("pass", True), ("warn", True), ("fail", False)):
            status, _, err = check(capsys, "cut", "--on-unclear", how, "--junit", "junit.xml")
            errors = validate_junit(Path("junit.xml").read_text()).get("errors")
            assert (status == 0, "::error" not in err, errors == "0") == (passes, passes, passes)

    def test_a_case_that_the_reference_lost_does_not_pass(self, capsys):
        for name, lost in (("a", False), ("cut", True)):
            made = HandMade(environment=ENVIRONMENT)
            made.measured(1000.0, device="cuda", batch_size=64)
            if lost:
                made.plan(device="cuda", batch_size=128)
            else:
                made.measured(1000.0, device="cuda", batch_size=128)
            made.write(Path("reports"), name)
        status, out, _ = check(capsys, "a", "--against", "cut", "--gate", "throughput=3%")
        assert status == 2
        assert "NOT JUDGED: 1 case not measured." in out

    @pytest.mark.parametrize("arm", ["base", "head"])
    def test_a_case_that_only_one_arm_measured_does_not_pass(self, capsys, arm):
        made = two_arms()
        made.measured(1000.0, head=1000.0, batch_size=64)
        made.launches(made.plan(batch_size=128), 1000.0, arm=arm)
        made.write(Path("reports"), "half")
        assert check(capsys, "half")[0] == 2

    def test_a_case_of_the_baseline_that_the_run_did_not_reach_does_not_pass_or_become_the_baseline(self, capsys):
        stored("a")
        check(capsys, "a", "--update")
        baseline = next(Path("suites/baselines").rglob("*.json"))
        kept = baseline.read_bytes()
        made = HandMade(environment=ENVIRONMENT)
        planned = [made.plan(device="cuda", batch_size=size) for size in (64, 128)]
        made.launches(planned[1], 1000.0, extra={"peak_memory_allocated_bytes": 2**30})
        made.write(Path("reports"), "later", created="2026-11-25T10:00:00Z")
        assert check(capsys, "later", "--update", "--gate", "status=oom")[0] == 2
        assert baseline.read_bytes() == kept

    def test_cases_that_neither_arm_can_run_here_do_not_stop_a_check(self, capsys):
        made = two_arms()
        made.measured(1000.0, head=1000.0, batch_size=64)
        planned = made.plan(batch_size=128, device="cuda")
        made.planned[-1] = planned.model_copy(update={"skip_status": Status.SKIPPED, "skip_reason": "no NVIDIA driver"})
        made.write(Path("reports"), "cpu")
        assert check(capsys, "cpu")[0] == 0


class TestConfirm:
    def remeasured(self, monkeypatch, head, factors=STEADY):
        """`--confirm` without a machine: the fresh rounds are another hand-made run."""
        asked = []

        def remeasure(run, compared, *, allow_unpaired, force):
            def again(changes, rounds):
                asked.append(([change.label for change in changes], rounds))
                fresh = load_run(arms(head, factors, name="fresh"))
                return confirm.fresh_comparison(run, fresh, compared, allow_unpaired=allow_unpaired)

            return again

        monkeypatch.setattr(confirm, "remeasure", remeasure)
        return asked

    def test_a_failure_that_fresh_rounds_repeat_is_1(self, capsys, monkeypatch):
        asked = self.remeasured(monkeypatch, 900.0)
        arms(900.0)
        status, out, _ = check(capsys, "arms", "--confirm", "8")
        assert status == 1
        assert asked == [(["64"], 8)]
        assert "confirmed in 8 fresh rounds" in out

    def test_one_that_they_do_not_is_0(self, capsys, monkeypatch):
        self.remeasured(monkeypatch, 1000.0)
        arms(900.0)
        status, out, _ = check(capsys, "arms", "--confirm", "8")
        assert status == 0
        assert "64: throughput was beyond 3.0% and kept it in 8 fresh rounds" in out

    def test_where_they_cannot_tell_their_own_reason_is_said(self, capsys, monkeypatch):
        self.remeasured(monkeypatch, 900.0, NOISY)
        arms(900.0)
        status, out, _ = check(capsys, "arms", "--confirm", "8")
        assert status == 0
        assert "unclear in 1" in out
        unclear = out[out.index("\nUnclear") :]
        assert "throughput: 1 case, not significant, and a change of 3.0% is not ruled out" in unclear

    def test_a_case_that_gives_no_figure_again_says_so(self, capsys, monkeypatch):
        def remeasure(run, compared, *, allow_unpaired, force):
            def again(changes, rounds):
                made = two_arms()
                planned = made.plan(batch_size=64)
                made.launches(planned, 1000.0, arm="base")
                made.ended(planned, Status.OOM, "out of memory", arm="head")
                fresh = load_run(made.write(Path("reports"), "fresh"))
                return confirm.fresh_comparison(run, fresh, compared, allow_unpaired=allow_unpaired)

            return again

        monkeypatch.setattr(confirm, "remeasure", remeasure)
        arms(900.0)
        status, out, _ = check(capsys, "arms", "--confirm", "8")
        assert status == 1
        assert "fail, 1 case, not measured again" in out
        assert "the fresh rounds gave no figure that could clear it" in " ".join(out.split())

    def test_nothing_is_measured_where_nothing_failed(self, capsys, monkeypatch):
        asked = self.remeasured(monkeypatch, 1000.0)
        arms(1000.0)
        assert check(capsys, "arms", "--confirm", "8")[0] == 0
        assert asked == []

    def test_how_the_arms_stand_is_shown_and_settles_nothing(self, monkeypatch):
        from contextlib import nullcontext

        from gpubench.analysis.compare.compare_sides import compare_sides
        from gpubench.analysis.compare.run_sides import arm_sides
        from gpubench.runner.run import RunOutcome

        made = two_arms(suite={"defaults": {"batch_size": 64}})
        made.measured(1000.0, head=900.0, batch_size=64)
        run = load_run(made.write(Path("reports"), "arms"))
        reference, (other,) = arm_sides(run)
        compared = compare_sides(reference, other, ("throughput",))
        shown, answers = [], []

        def start(_request, _progress, decisions):
            fresh = load_run(arms(900.0, name="fresh"))
            case = fresh.info.cases[0]
            answers.append(
                decisions.settled(case, tuple(each for each in fresh.records if each.case_index == case.index))
            )
            return RunOutcome(fresh.folder, fresh.info, interrupted=False)

        monkeypatch.setattr(confirm, "open_progress", lambda *, verdicts: nullcontext(shown.append(verdicts)))
        monkeypatch.setattr(confirm, "start", start)
        confirm.remeasure(run, compared, allow_unpaired=False)(compared.changes, 8)
        assert answers == [False]
        (standing,) = shown[0].of(run.info.cases[0])
        assert str(standing).startswith("head vs base throughput -10.")

    def test_fresh_rounds_of_another_machine_are_refused(self):
        from fakes.gate_runs import NO_GPU_ENVIRONMENT

        from gpubench.analysis.compare.compare_sides import compare_sides
        from gpubench.analysis.compare.run_sides import arm_sides
        from gpubench.core.errors import UsageError

        run = load_run(arms())
        reference, (other,) = arm_sides(run)
        made = two_arms(environment={**NO_GPU_ENVIRONMENT, "cpu": {"model": "Another"}})
        made.measured(1000.0, head=900.0, batch_size=64)
        fresh = load_run(made.write(Path("reports"), "fresh"))
        compared = compare_sides(reference, other, ("throughput",))
        # Arms of two runs: their machines must agree all the same.
        with pytest.raises(UsageError, match="cannot be compared"):
            confirm.fresh_comparison(run, fresh, compared, allow_unpaired=False)

    def test_what_is_asked_of_the_runner_are_the_failing_cases_with_their_arms(self):
        from gpubench.analysis.compare.compare_sides import compare_sides
        from gpubench.analysis.compare.run_sides import arm_sides

        made = two_arms(
            suite={
                "matrix": {"batch_size": [64, 128]},
                "measure": {"repeats": 24},
                "quality": {"epochs": 1},
                "defaults": {"data": "digits"},
            },
            given={"head": {"env.OMP_NUM_THREADS": "1", "set.cudnn_benchmark": "true"}},
        )
        for batch_size in (64, 128):
            made.measured(1000.0, head=900.0, batch_size=batch_size, data="digits")
        run = load_run(made.write(Path("reports"), "arms"))
        reference, (other,) = arm_sides(run)
        changes = [
            change for change in compare_sides(reference, other).changes if change.measured.settings["batch_size"] == 64
        ]
        request = confirm.request_for(run, changes, 9, force=True)
        assert [case.batch_size for case in request.loaded.cases] == [64]
        assert (request.loaded.suite.measure.repeats, request.loaded.suite.quality) == (9, None)
        assert request.out == run.folder / "confirm-1"
        base, head = request.arms
        assert (base.name, base.python, dict(base.env), dict(base.settings)) == ("base", None, {}, {})
        assert (dict(head.env), dict(head.settings)) == ({"OMP_NUM_THREADS": "1"}, {"cudnn_benchmark": True})


class TestEnds:
    """A case that did not end well is named with its reason wherever the outcome is told, whatever the gates cover."""

    SPEED = ("--gate", "throughput=3%")

    def everywhere(self, capsys, monkeypatch, *arguments):
        """(exit status, the screen, the job summary, annotations, tests of JUnit that are no gate's)"""
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        status, out, err = check(capsys, "arms", "--junit", "junit.xml", *arguments)
        root = validate_junit(Path("junit.xml").read_text())
        ends = [each for each in root.findall("testsuite") if each.get("name") == "cases that did not end well"]
        return status, out, Path("summary.md").read_text(), err, [test[0] for suite in ends for test in suite]

    def test_launches_that_crashed_are_counted_with_the_reason_of_the_first(self, capsys, monkeypatch):
        crashed_in_part()
        status, out, summary, err, (error,) = self.everywhere(capsys, monkeypatch)
        said = "2 of 10 launches crashed: segmentation fault"
        assert status == 3
        assert f"-  64    crashed in part  {said}" in out
        assert f"| 64 | crashed in part | {said} |" in summary
        assert err == f"::error title=gpubench%3A did not end well::64: crashed in part: {said}\n"
        assert (error.tag, error.get("type"), error.get("message")) == ("error", "failed", said)

    @pytest.mark.parametrize(
        ("lost", "word"),
        [
            (Status.OOM, "now OOM"),
            (Status.FAILED, "now fails"),
            (Status.TIMEOUT, "now times out"),
            (Status.UNSUPPORTED, "now unsupported"),
        ],
    )
    def test_a_case_that_ends_otherwise_is_named_where_no_gate_covers_it(self, capsys, monkeypatch, lost, word):
        one_case(lost)
        crashed = lost in (Status.FAILED, Status.TIMEOUT)
        status, out, summary, err, (junit,) = self.everywhere(capsys, monkeypatch, *self.SPEED)
        assert status == (0 if lost is Status.UNSUPPORTED else 3)
        assert f"-  256   {word}" in out
        assert "the reason" in out
        assert f"| 256 | {word} | the reason |" in summary
        level = "error" if crashed else "warning"
        assert err == f"::{level} title=gpubench%3A did not end well::256: {word}: the reason\n"
        assert junit.tag == ("error" if crashed else "skipped")
        assert "the reason" in junit.get("message")

    @pytest.mark.parametrize(("before", "word"), [(Status.FAILED, "still fails"), (Status.OOM, "now fails")])
    def test_a_crash_is_named_whatever_became_of_the_case_before(self, capsys, before, word):
        one_case(Status.FAILED, before=before)
        status, out, _ = check(capsys, *self.SPEED)
        assert status == 3
        assert f"256   {word}" in out

    def test_what_ends_as_it_did_is_no_news(self, capsys):
        one_case(Status.OOM, before=Status.OOM)
        status, out, _ = check(capsys, *self.SPEED)
        assert (status, "Did not end well" in out) == (0, False)

    def test_what_a_gate_on_statuses_names_is_not_named_again(self, capsys):
        one_case(Status.OOM)
        status, out, _ = check(capsys)
        assert status == 1
        assert out.count("the reason") == 1
        assert "Did not end well" not in out

    def test_beside_a_failed_gate_a_crash_is_a_warning(self, capsys, monkeypatch):
        arms(900.0, lost=Status.FAILED)
        status, _, _, err, _ = self.everywhere(capsys, monkeypatch, *self.SPEED)
        assert status == 1
        assert [line.partition(" ")[0] for line in err.splitlines()] == ["::error", "::warning"]

    def test_a_crash_is_an_error_although_the_failure_of_its_gate_was_accepted(self, capsys, monkeypatch):
        one_case(Status.FAILED)
        status, _, _, err, _ = self.everywhere(capsys, monkeypatch, "--accept", "known")
        assert status == 3
        assert [line.partition(" ")[0] for line in err.splitlines()] == ["::error", "::warning"]

    @pytest.mark.parametrize("gates", [(), SPEED])
    def test_an_output_that_became_wrong_is_now_invalid_with_its_reason(self, capsys, monkeypatch, gates):
        wrong_output()
        status, out, summary, err, _ = self.everywhere(capsys, monkeypatch, *gates)
        assert status == (3 if gates else 1)
        for said in (out, summary, err, Path("junit.xml").read_text()):
            assert "now INVALID" in said
            assert "its output is wrong" in said
            assert "measured" not in said

    def test_a_finding_that_makes_it_invalid_is_the_reason(self, capsys):
        wrong_output(findings=[finding("GB302", "The loss is not finite.")])
        _, out, _ = check(capsys)
        assert "The loss is not finite (GB302)" in out


class TestBaseline:
    PATH = Path("suites/baselines/nvidia-imaginary-80gb/fake.json")

    def test_another_machine_of_that_name_has_a_baseline_of_its_own(self, capsys):
        stored("a")
        check(capsys, "--update")
        newer = {**ENVIRONMENT, "driver": {**ENVIRONMENT["driver"], "driver": "600.2"}}
        stored("b", memory=2.0, environment=newer)
        status, _, err = check(capsys)
        assert (status, "driver: " in err and "600.2" in err) == (2, True)
        assert check(capsys, "--update")[0] == 0
        assert self.PATH in Path("suites/baselines").glob("*/fake.json")
        assert len(list(Path("suites/baselines").glob("*/fake.json"))) == 2
        assert check(capsys)[0] == 0
        assert check(capsys, "a")[0] == 0

    def test_update_makes_the_first_one_and_the_next_check_uses_it(self, capsys):
        stored("a")
        status, out, _ = check(capsys, "--update")
        assert (status, self.PATH.exists()) == (0, True)
        assert f"Baseline written: {self.PATH}" in out
        status, out, _ = check(capsys)
        assert status == 0
        assert "against baseline of a" in out

    def test_update_keeps_what_passed_and_not_what_failed(self, capsys):
        stored("a")
        check(capsys, "a", "--update")
        stored("b", memory=2.0)
        status, out, _ = check(capsys, "b", "--update")
        assert status == 1
        assert "gpubench check b --accept 'REASON'" in out
        assert json.loads(self.PATH.read_text())["history"][-1]["run"] == "a"
        stored("c")
        assert check(capsys, "c", "--update")[0] == 0
        assert [entry["reason"] for entry in json.loads(self.PATH.read_text())["history"]] == [
            "the first baseline",
            "the check passed",
        ]

    def test_update_does_not_follow_a_slow_down_that_stored_runs_cannot_judge(self, capsys):
        stored("a")
        check(capsys, "a", "--update")
        stored("b", 700.0)
        status, out, err = check(capsys, "b", "--update")
        assert status == 0
        assert "Baseline written" not in out
        assert "the baseline is unchanged: throughput may be beyond the limit" in err
        assert json.loads(self.PATH.read_text())["history"][-1]["run"] == "a"
        stored("c", 1300.0)
        assert "Baseline written" in check(capsys, "c", "--update")[1]
        assert check(capsys, "b", "--accept", "slower on purpose")[0] == 0
        assert json.loads(self.PATH.read_text())["history"][-1]["run"] == "b"

    def test_accept_makes_the_run_the_baseline_with_its_reason(self, capsys):
        stored("a")
        check(capsys, "a", "--update")
        stored("b", memory=2.0)
        status, out, _ = check(capsys, "b", "--accept", "larger cache")
        assert status == 0
        assert "FAIL: 1 gate of 3 failed, in 1 case. Accepted." in out
        assert json.loads(self.PATH.read_text())["history"][-1]["reason"] == "larger cache"
        assert check(capsys, "b")[0] == 0

    def test_arms_may_be_accepted_and_no_baseline_is_kept(self, capsys):
        arms(900.0)
        status, out, _ = check(capsys, "--accept", "known")
        assert status == 0
        assert "Accepted" in out
        assert not Path("suites").exists()
        assert json.loads(Path("reports/arms/gate.json").read_text())["accepted"] == "known"

    def test_a_reason_keeps_the_secrets_of_the_environment(self, capsys, monkeypatch):
        monkeypatch.setenv("DB_PASSWORD", "correcthorse99battery")
        arms(900.0)
        status, out, err = check(capsys, "--accept", "because of correcthorse99battery")
        assert status == 0
        assert "correcthorse99battery" not in out + err + Path("reports/arms/gate.json").read_text()

    def test_a_baseline_file_may_be_named(self, capsys):
        stored("a")
        check(capsys, "a", "--update")
        stored("b")
        assert check(capsys, "b", "--against", str(self.PATH))[0] == 0

    def test_a_first_baseline_of_a_run_with_crashes_is_status_3(self, capsys):
        stored("a", lost=Status.FAILED)
        assert check(capsys, "--update")[0] == 3

    def test_a_first_baseline_is_json_too(self, capsys):
        stored("a")
        _, out, _ = check(capsys, "--update", "--json")
        assert json.loads(out) == {"schema": 1, "status": 0, "baseline_written": str(self.PATH)}


class TestOutputs:
    def test_gate_json_lies_in_the_run_folder_and_is_what_json_prints(self, capsys):
        arms(900.0, lost=Status.OOM)
        _, out, err = check(capsys, "--json")
        document = json.loads(out)
        assert (document["passed"], document["status"], err) == (False, 1, "")
        assert json.loads(Path("reports/arms/gate.json").read_text()) == document
        speed = next(gate for gate in document["gates"] if gate["metric"] == "throughput")
        assert (speed["outcome"], speed["max_regression"], speed["num_cases"]) == ("fail", 0.03, 2)
        assert speed["failures"][0]["label"] == "64"

    @pytest.mark.parametrize("how", ["arms", "stored", "confirmed"])
    def test_gate_json_has_the_form_that_is_published(self, capsys, monkeypatch, how):
        schema = json.loads((ROOT / "schemas" / "gate-1.json").read_text())
        if how == "stored":
            stored("a")
            stored("b", lost=Status.OOM)
            check(capsys, "b", "--against", "a", "-o", "gate.json")
        else:
            if how == "confirmed":
                TestConfirm().remeasured(monkeypatch, 900.0)
            arms(900.0, lost=Status.OOM)
            check(capsys, "arms", "-o", "gate.json", *(["--confirm", "8"] if how == "confirmed" else []))
        jsonschema.validate(json.loads(Path("gate.json").read_text()), schema)

    def test_another_place_for_gate_json(self, capsys):
        arms(1000.0)
        check(capsys, "-o", "out/gate.json")
        assert json.loads(Path("out/gate.json").read_text())["passed"] is True
        assert not Path("reports/arms/gate.json").exists()

    def test_junit_is_valid_and_counts_what_failed(self, capsys):
        arms(900.0, lost=Status.FAILED)
        check(capsys, "--junit", "out/junit.xml")
        root = validate_junit(Path("out/junit.xml").read_text())
        assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
            "tests": "7",
            "failures": "2",
            "errors": "1",
            "skipped": "1",
        }
        failure = root.find("testsuite/testcase/failure")
        assert failure.get("message") == "-10.0% (-10.2, -9.8), limit 3.0%"

    def test_junit_of_what_is_unclear_passes_with_a_note(self, capsys):
        arms(900.0, NOISY)
        check(capsys, "--junit", "junit.xml")
        root = validate_junit(Path("junit.xml").read_text())
        assert root.get("failures") == "0"
        assert any("unclear" in (each.text or "") for each in root.iter("system-out"))

    def test_the_job_summary_is_appended_as_markdown(self, capsys, monkeypatch):
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        Path("summary.md").write_text("before\n")
        arms(900.0)
        check(capsys)
        text = Path("summary.md").read_text()
        assert text.startswith("before\n# Check of head against base")
        assert "| - | throughput | 3.0% |" in text.replace("\\-", "-")

    def test_failures_are_annotated_on_stderr(self, capsys, monkeypatch):
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        arms(900.0)
        _, out, err = check(capsys)
        assert err.startswith("::error title=gpubench%3A throughput::64: -10.0%25 (-10.2, -9.8), limit 3.0%25; ")
        assert "::error" not in out

    def test_no_more_annotations_than_github_shows(self, capsys, monkeypatch):
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        made = two_arms()
        for batch_size in range(1, 31):
            made.measured(1000.0, head=900.0, batch_size=batch_size)
        made.write(Path("reports"), "arms")
        _, _, err = check(capsys)
        assert err.count("::error") == 10
        assert "21 more failures" in err

    @pytest.mark.parametrize("width", [60, 80, 100, 160])
    @pytest.mark.parametrize("gates", [(), ("--gate", "throughput=3%", "--gate", "peak_rss_bytes=3%")])
    def test_no_number_is_cut_or_wrapped_at_any_width(self, capsys, monkeypatch, width, gates):
        monkeypatch.setenv("COLUMNS", str(width))
        settings = {"mode": "train", "precision": "bf16", "memory_format": "channels_last"}
        made = two_arms()
        made.measured(1000.0, head=900.0, batch_size=64, **settings)
        for batch_size, lost in ((256, Status.OOM), (512, Status.TIMEOUT)):
            planned = made.plan(batch_size=batch_size, **settings)
            made.launches(planned, 1000.0, arm="base")
            made.ended(planned, lost, "wanted 2.0 GiB, 1.1 GiB free of 79.3 GiB" * 2, arm="head")
        made.write(Path("reports"), "arms")
        _, out, _ = check(capsys, *gates)
        assert [line for line in out.splitlines() if len(line) > width] == []
        gate, case = (line for line in out.splitlines() if "-10.0%" in line)
        assert "-10.0% (-10.2, -9.8)" in gate
        assert "-10.0% (-10.2, -9.8)" in case
        assert "…" not in out
        for said in ("limit 3.0%" if width < 100 else "3.0%", "fail, 1", "now OOM", "now times out"):
            assert said in " ".join(out.split())

    def test_hostile_names_come_out_inert_everywhere(self, capsys, monkeypatch):
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
        made = two_arms()
        planned = made.plan()
        hostile = planned.model_copy(update={"label": "\x1b[31m<script>\n::error::x\u202e"})
        made.planned[0] = hostile
        made.launches(hostile, 1000.0, arm="base")
        made.launches(hostile, 900.0, arm="head")
        made.write(Path("reports"), "arms")
        _, out, err = check(capsys, "--junit", "junit.xml")
        root = validate_junit(Path("junit.xml").read_text())
        assert "script" in root.find("testsuite/testcase").get("name")
        for text in (out, err, Path("summary.md").read_text()):
            assert "\x1b" not in text
            assert "\u202e" not in text
        assert err.count("\n") == 1
        assert "<script>" not in Path("summary.md").read_text().replace("\\<script>", "")


def of_fixture(**fields):
    """What gpubench's fixture leaves in `extra_info`."""
    return {"gpubench": fields}


class TestPytestBenchmark:
    FORM = ("--format", "pytest-benchmark")
    SORT, PLUS = "tests/test_a.py::test_sort", "tests/test_a.py::test_plus"

    def write(self, name, sort, plus=0.001, minute=0, **options):
        tests = {self.SORT: steady(sort), self.PLUS: steady(plus)}
        created = f"2026-11-24T10:{minute:02d}:00+00:00"
        return str(write_pytest_json(Path(name), tests, created=created, **options))

    def rounds(self, factor, num=6):
        for number in range(num):
            self.write(f"base/{number}.json", 0.010 * (1 + 0.001 * (number % 3)), minute=2 * number)
            self.write(f"head/{number}.json", 0.010 * factor * (1 + 0.001 * (number % 2)), minute=2 * number + 1)

    def test_files_that_alternate_fail_on_a_regression(self, capsys):
        self.rounds(1.1)
        status, out, _ = check(capsys, "head", "--against", "base", *self.FORM)
        assert status == 1
        assert "test_sort" in out
        assert "interleaved launches, paired by round" in out

    def test_and_pass_without_one(self, capsys):
        self.rounds(1.0)
        status, out, _ = check(capsys, "head/*.json", "--against", "base/*.json", *self.FORM)
        assert status == 0
        assert "PASS" in out

    def test_one_file_a_side_fails_only_when_asked(self, capsys):
        base, head = self.write("base.json", 0.010), self.write("head.json", 0.012, minute=1)
        status, out, _ = check(capsys, head, "--against", base, *self.FORM)
        assert status == 2
        assert "NOT JUDGED" in out
        assert "one launch a side says nothing about how much launches differ" in out
        for given, meant in (("pass", 0), ("warn", 0), ("fail", 1)):
            status, out, err = check(capsys, head, "--against", base, *self.FORM, "--on-unclear", given)
            assert (status, "warning: not decided everywhere" in err) == (meant, given == "warn")
        status, out, _ = check(capsys, head, "--against", base, *self.FORM, "--allow-unpaired")
        assert status == 1
        assert "one process a side" in out

    def test_limits_per_test_by_pattern(self, capsys):
        self.rounds(1.1)
        gates = ("--gate", "step_time_s=5%", "--gate", "step_time_s=20%@test_sort*")
        assert check(capsys, "head", "--against", "base", *self.FORM, *gates)[0] == 0
        assert check(capsys, "head", "--against", "base", *self.FORM, *gates[:2])[0] == 1

    def test_a_name_as_printed_names_that_test_and_no_other(self, capsys):
        names = ("test_attention[fp16-8]", "test_attention[f-8]", "test_norm[shape0]")
        for side, factor in (("base", 1.0), ("head", 1.2)):
            for r in range(10):
                tests = {f"t.py::{n}": [0.01 * (factor if n == names[0] else 1.0) * (1 + r / 1e5)] * 5 for n in names}
                minute = f"{2 * r + (side == 'head'):02d}"
                write_pytest_json(Path(side) / f"{r}.json", tests, created=f"2026-11-24T10:{minute}:00+00:00")
        general = ("head", "--against", "base", *self.FORM, "--gate", "step_time_s=30%", "--gate")
        for named in (names[0], f"t.py::{names[0]}", "test_attention[fp*]"):
            assert check(capsys, *general, f"step_time_s=5%@{named}")[0] == 1, named
        assert check(capsys, *general, "step_time_s=5%@test_attention[f-8]")[0] == 0
        status, _, err = check(capsys, *general, "step_time_s=5%@test_attention[fp16-9]")
        assert (status, "Did you mean 'test_attention[fp16-8]'?" in err) == (2, True)

    def test_a_folder_with_brackets_in_its_name_is_no_pattern(self, capsys):
        self.rounds(1.1)
        Path("base").rename("base[1]")
        assert check(capsys, "head", "--against", "base[1]/*.json", *self.FORM)[0] == 1

    def test_limits_that_a_test_declares_go_before_the_rest(self, capsys):
        extra = {self.SORT: {"gpubench": {"limits": {"step_time_s": 0.3}}}}
        base = self.write("base.json", 0.010)
        head = self.write("head.json", 0.012, minute=1, extra=extra)
        arguments = (head, "--against", base, *self.FORM, "--allow-unpaired", "--gate", "step_time_s=5%")
        status, out, _ = check(capsys, *arguments)
        assert status == 0
        assert "test_sort (its own limit)" in out

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "needs files on both sides"),
            (("head.json",), "needs files on both sides"),
            (("none.json", "--against", "base.json"), "there is no file none.json"),
            (("none-*.json", "--against", "base.json"), "no file matches none-*.json"),
            (("empty", "--against", "base.json"), "empty contains no JSON files"),
            (("head.json", "--against", "base.json", "--confirm", "3"), "--confirm cannot be combined with"),
            (
                ("head.json", "--against", "base.json", "--strict"),
                "--strict cannot be combined with --format pytest-benchmark",
            ),
            (("head.json", "--against", "base.json", "--update"), "--update cannot be combined with"),
        ],
    )
    def test_wrong_use_is_2(self, capsys, arguments, said):
        Path("empty").mkdir()
        self.write("base.json", 0.01)
        self.write("head.json", 0.01)
        status, _, err = check(capsys, *arguments, *self.FORM)
        assert status == 2
        assert said in err

    @pytest.mark.parametrize("stats", [None, {"median": math.nan}, {"median": 0.0}], ids=["none", "nan", "zero"])
    def test_a_test_whose_times_are_gone_is_not_passed(self, capsys, stats):
        for r in range(6):
            for minute, side in enumerate(("base", "head")):
                path = Path(side) / f"{r}.json"
                created = f"2026-11-24T10:{2 * r + minute:02d}:00+00:00"
                write_pytest_json(path, {"t.py::test_a": steady(0.01), "t.py::test_b": steady(0.01)}, created=created)
                if side == "head":
                    document = json.loads(path.read_text())
                    document["benchmarks"][1]["stats"] = stats
                    path.write_text(json.dumps(document))
        status, out, _ = check(capsys, "head", "--against", "base", *self.FORM)
        assert (status, "1 case was not measured: " in out) == (2, True)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda test: test["stats"].update(data=[True, True]), "true is no time"),
            (lambda test: test.update(extra_info=of_fixture(limits={"step_time_s": math.nan})), "a limit of nan"),
            (lambda test: test.update(extra_info=of_fixture(limits={"step_time_s": True})), "a limit of True"),
            (lambda test: test.update(extra_info=of_fixture(limits={"step_time_s": -0.1})), "a limit of -0.1"),
            (lambda test: test.update(extra_info=of_fixture(metrics={"peak_memory_allocated_bytes": -1})), "has -1 as"),
        ],
        ids=["a time that is true", "no limit", "a true limit", "a negative limit", "negative memory"],
    )
    def test_figures_that_are_none_are_refused_by_name(self, capsys, change, said):
        self.write("base.json", 0.01)
        self.write("head.json", 0.01)
        document = json.loads(Path("head.json").read_text())
        change(document["benchmarks"][0])
        Path("head.json").write_text(json.dumps(document))
        status, _, err = check(capsys, "head.json", "--against", "base.json", *self.FORM)
        assert (status, said in err) == (2, True), err

    def test_a_test_that_a_file_has_twice_is_refused(self, capsys):
        self.write("base.json", 0.01)
        self.write("head.json", 0.01)
        document = json.loads(Path("head.json").read_text())
        document["benchmarks"] *= 2
        Path("head.json").write_text(json.dumps(document))
        status, _, err = check(capsys, "head.json", "--against", "base.json", *self.FORM)
        assert (status, "test_sort twice" in err) == (2, True)

    def test_what_is_refused_speaks_of_tests_and_files(self, capsys):
        self.write("base.json", 0.01)
        write_pytest_json(Path("head.json"), {"other.py::test_sort": steady(0.01)})
        _, _, err = check(capsys, "head.json", "--against", "base.json", *self.FORM)
        assert "no two tests with the same name" in err
        assert "run both from the same folder" in err
        self.write("head.json", 0.01, cpu="Another CPU")
        _, _, err = check(capsys, "head.json", "--against", "base.json", *self.FORM)
        assert "Measure both in turn on one machine; --force" in err

    def test_junit_and_gate_json_are_written_where_asked(self, capsys):
        self.rounds(1.1)
        check(capsys, "head", "--against", "base", *self.FORM, "--junit", "j.xml", "-o", "gate.json")
        assert validate_junit(Path("j.xml").read_text()).get("failures") == "1"
        assert json.loads(Path("gate.json").read_text())["candidate"]["source"] == "pytest-benchmark"

"""The runner on scripted hosts: no process, no torch, and a clock that only the script moves."""

from collections import Counter
from pathlib import Path

import pytest
from fakes.scripted_host import DONE, SERIES, Lab, Wait, blocks, fails, hangs, loses_its_host, measures

from gpubench.core.errors import StoreError
from gpubench.core.findings import finding
from gpubench.core.records import Effective, Status
from gpubench.protocol.messages import Result, SelfCheck
from gpubench.runner.arms.arm import Arm
from gpubench.runner.contest import free_cpus
from gpubench.runner.events import CaseFinished, RoundFinished
from gpubench.runner.launch.job_pipe import Garbage
from gpubench.runner.schedule import UntilKnown
from gpubench.store.run_reader import load_run
from gpubench.suite.model.case import Case

SMALL, LARGE, OTHER = Case(batch_size=64), Case(batch_size=128), Case(batch_size=64, precision="tf32")
ARMS = (Arm("base"), Arm("head", settings={"fused": True}))


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "run")


def statuses(records):
    return [record.status.value for record in records]


def codes(record):
    return [entry.code for entry in record.findings]


# Rounds


def test_each_round_launches_every_case_once(lab):
    lab.run([SMALL, LARGE, OTHER], repeats=3)
    rounds = [lab.launched[at : at + 3] for at in (0, 3, 6)]
    for number, launches in enumerate(rounds, start=1):
        assert sorted(launches) == [(1, number, None), (2, number, None), (3, number, None)]


def test_the_seed_decides_the_order_of_the_cases(tmp_path):
    cases = [Case(batch_size=number) for number in range(1, 9)]
    orders = []
    for at, seed in enumerate((1, 1, 2)):
        lab = Lab(tmp_path / str(at))
        lab.run(cases, repeats=2, seed=seed)
        orders.append(lab.launched)
    assert orders[0] == orders[1] != orders[2]
    first, second = ([index for index, repeat, _ in orders[0] if repeat == number] for number in (1, 2))
    assert first != second


def test_each_round_gets_a_new_host_and_its_cases_share_it(lab):
    lab.run([SMALL, LARGE], repeats=3)
    assert [len(host.jobs) for host in lab.hosts] == [2, 2, 2]
    assert not any(host.is_alive for host in lab.hosts)


def test_cases_with_another_environment_get_another_host(lab):
    lab.run([SMALL, Case(batch_size=64, env={"A": "1"})], repeats=1)
    assert len({host.key for host in lab.hosts}) == 2


def test_parity_is_checked_in_the_first_launch_alone(lab):
    lab.run([SMALL], repeats=3)
    assert [job.parity for job in lab.jobs] == [True, False, False]


def test_a_case_is_reported_finished_after_its_last_launch(lab):
    lab.run([SMALL, LARGE], repeats=2)
    finished = lab.told(CaseFinished)
    assert [len(event.records) for event in finished] == [2, 2]
    assert [event.num_cases_done for event in finished] == [1, 2]
    assert finished[-1].elapsed_s == pytest.approx(8.0)
    assert finished[-1].remaining_s == pytest.approx(0.0)


def test_the_same_largest_batch_is_measured_in_every_launch(lab):
    found = DONE.model_copy(update={"effective": Effective(precision="fp32", batch_size=512)})
    lab.script = lambda _: measures(result=found)
    lab.run([Case(batch_size="max")], repeats=3)
    assert [job.largest_batch for job in lab.jobs] == [None, 512, 512]


@pytest.mark.parametrize("busy", [True, False])
def test_a_training_beside_other_programs_has_the_free_threads_and_no_time(lab, monkeypatch, busy):
    monkeypatch.setattr(free_cpus, "LOOK_S", 0.0)
    monkeypatch.setattr(free_cpus, "usable_cpus", lambda: 2)
    waited = DONE.model_copy(update={"findings": (finding("GB205", "waited"),) if busy else ()})
    scored = DONE.model_copy(update={"metrics": {"accuracy": 0.9, "time_to_accuracy_s": 3.0}})
    lab.script = lambda job: measures(result=waited if job.kind == "measure" else scored)
    asked = Case(batch_size=64, cpu_threads=2)
    *_, free, chosen = lab.run([SMALL], repeats=1, trained=[SMALL, asked])
    assert sorted(job.case.cpu_threads or 0 for job in lab.jobs if job.kind == "quality") == (
        [1, 2] if busy else [0, 2]
    )
    by_index = {record.case_index: record for record in (free, chosen)}
    assert by_index[3].metrics["time_to_accuracy_s"] == 3.0
    assert by_index[2].metrics["accuracy"] == 0.9
    assert by_index[2].metrics["time_to_accuracy_s"] == (None if busy else 3.0)
    assert codes(by_index[2]) == (["GB218"] if busy else [])
    assert ("1 of its threads" in by_index[2].absent.get("time_to_accuracy_s", "")) == busy


# Ends that are, and are not, tried again


@pytest.mark.parametrize("status", ["oom", "unsupported"])
def test_an_end_that_would_repeat_is_not_tried_again(lab, status):
    lab.script = lambda _: fails(status)
    assert statuses(lab.run([SMALL], repeats=3)) == [status]


def test_a_failed_launch_leaves_the_others_of_its_case_to_do(lab):
    lab.script = lambda job: fails() if job.repeat == 1 else measures()
    assert statuses(lab.run([SMALL], repeats=3)) == ["failed", "ok", "ok"]


def test_larger_batches_are_skipped_after_an_oom(lab):
    lab.script = lambda job: fails("oom") if job.case.batch_size == 64 else measures()
    records = lab.run([SMALL, LARGE], repeats=2)
    assert [(record.case_index, record.status.value) for record in records] == [(1, "oom"), (2, "skipped")]
    assert records[1].reason == "larger than an OOM (batch 64)"


def test_a_launch_whose_host_dies_is_done_again_on_a_new_host(lab):
    tries = Counter()

    def script(job):
        tries[job.repeat] += 1
        return loses_its_host() if (job.repeat, tries[job.repeat]) == (2, 1) else measures()

    lab.script = script
    assert statuses(lab.run([SMALL], repeats=3)) == ["ok", "ok", "ok"]
    assert [host.killed for host in lab.hosts] == [False, True, False, False]
    assert lab.notices == ["worker host 1 ended (SIGKILL) during 'b64-fp32'"]


def test_a_launch_whose_host_dies_twice_fails_and_the_run_goes_on(lab):
    lab.script = lambda job: loses_its_host() if job.case.batch_size == 64 else measures()
    records = lab.run([SMALL, LARGE], repeats=1)
    by_case = {record.case_index: record for record in records}
    assert by_case[1].reason == "worker host 1 ended (SIGKILL) while the case was in measuring"
    assert by_case[2].status is Status.OK
    assert len([job for job in lab.jobs if job.case.batch_size == 64]) == 2


def test_a_host_that_died_between_launches_is_replaced(lab):
    def script(job):
        return [*measures()[:-1], lab.hosts[-1].end, 0] if job.job == 1 else measures()

    lab.script = script
    assert statuses(lab.run([SMALL, LARGE], repeats=1)) == ["ok", "ok"]
    assert len(lab.hosts) == 2


def test_a_host_that_cannot_be_started_is_a_failed_record(lab):
    lab.no_host = "cannot start /no/such/python"
    (record,) = lab.run([SMALL], repeats=1)
    assert (record.status, record.reason) == (Status.FAILED, "cannot start /no/such/python")
    assert record.failure.phase == "starting"
    assert not (lab.folder / "cases" / "1").exists()


# Timeouts


def test_a_launch_past_its_timeout_is_killed_and_not_tried_again(lab):
    lab.script = lambda _: hangs()
    records = lab.run([SMALL], repeats=3, timeout_s=60)
    assert [(record.status.value, record.wall_s) for record in records] == [("timeout", pytest.approx(60))]
    assert records[0].reason == "no result within 1m 00s (it was in measuring)"
    assert lab.killed == [1]


def test_the_timeout_does_not_count_time_without_a_cpu(lab):
    lab.delayed_share, lab.script = 0.5, lambda _: measures(100.0)
    assert statuses(lab.run([SMALL], repeats=1, timeout_s=60)) == ["ok"]


def test_a_launch_that_hangs_on_a_busy_machine_is_killed_in_the_end(lab):
    lab.delayed_share, lab.script = 0.5, lambda _: hangs()
    (record,) = lab.run([SMALL], repeats=1, timeout_s=60)
    assert record.wall_s == pytest.approx(120, abs=2)
    assert record.reason.endswith("of waiting for a CPU (it was in measuring)")


def test_a_child_that_outlives_its_result_is_killed_and_its_figures_stay(lab):
    lab.script = lambda _: [*measures(0.0)[:-1], Wait(1e6)]
    (record,) = lab.run([SMALL], repeats=1)
    assert record.status is Status.OK
    assert codes(record) == ["GB102"]
    assert record.wall_s == pytest.approx(10.0)


def test_a_host_that_does_not_report_a_killed_child_is_replaced(lab):
    lab.script, lab.unkillable = (lambda _: hangs()), True
    (record,) = lab.run([SMALL], repeats=1, timeout_s=60)
    assert record.status is Status.TIMEOUT
    assert record.wall_s == pytest.approx(75.0)
    assert [host.killed for host in lab.hosts] == [True, True]


def test_a_child_that_talks_nonsense_is_killed(lab):
    lab.script = lambda _: [Garbage("Invalid JSON"), DONE, Wait(1e6)]
    (record,) = lab.run([SMALL], repeats=1)
    assert record.reason == "the worker sent what cannot be a message: Invalid JSON"
    assert lab.killed == [1]


@pytest.mark.parametrize(
    "forged",
    [
        Result(),
        Result(interrupted=True),
        DONE.model_copy(update={"series": SERIES.model_copy(update={"low_s": 0.02, "high_s": 0.01})}),
    ],
    ids=["empty", "interrupted", "low-above-high"],
)
def test_a_result_that_cannot_be_true_is_a_failed_record(lab, forged):
    lab.script = lambda job: [forged, 0] if job.case.batch_size == 64 else measures()
    records = lab.run([SMALL, LARGE], repeats=1)
    assert {record.case_index: record.status.value for record in records} == {1: "failed", 2: "ok"}


def test_blocks_without_every_arm_fall_back_to_launches(lab):
    lab.script = lambda job: measures(1.0, Result(arms=(DONE,))) if job.kind == "blocks" else measures()
    records = lab.run([SMALL], repeats=1, arms=ARMS, levels={1: "block"})
    assert [(record.arm, codes(record)) for record in records] == [("base", ["GB106"]), ("head", ["GB106"])]


def test_what_a_child_started_is_ended_when_its_host_is_lost(lab):
    lab.script = lambda job: loses_its_host() if job.job == 1 else measures()
    lab.run([SMALL], repeats=1)
    assert lab.killed == [1]


def test_what_a_child_leaves_in_its_scratch_folder_is_removed(lab):
    made = []

    def script(job):
        made.append(Path(job.scratch))
        (made[-1] / "kernel.so").write_bytes(b"x")
        return loses_its_host()

    lab.script = script
    lab.run([SMALL], repeats=1)
    assert len(made) == 2
    assert not any(folder.exists() for folder in made)


@pytest.mark.parametrize("target", ["records.jsonl", "../elsewhere"])
def test_no_log_is_written_through_a_link(lab, target):
    lab.run([SMALL], repeats=1)
    (lab.folder.parent / "elsewhere").write_text("mine")
    before = (lab.folder / target).read_bytes()
    log = lab.folder / "cases" / "1" / "2.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.symlink_to(lab.folder / target)
    with pytest.raises(StoreError):
        lab.run([SMALL], repeats=2)
    assert (lab.folder / target).read_bytes() == before


def test_the_head_of_a_run_keeps_what_its_workloads_were_loaded_from(lab):
    digests = iter(["1", "1", "2"])
    lab.script = lambda _: measures(result=DONE.model_copy(update={"files": {"/x/mine.py": next(digests)}}))
    records = lab.run([SMALL], repeats=3)
    assert load_run(lab.folder).info.workload_files == {"/x/mine.py": "1"}
    assert records[0].workload_digest == records[1].workload_digest != records[2].workload_digest
    assert lab.notices == ["/x/mine.py was changed during the run"]


# Budget


def test_a_used_up_budget_stops_the_running_launch_and_names_what_is_left(lab):
    lab.script = lambda _: measures(10.0)
    records = lab.run([SMALL, LARGE], repeats=2, budget_s=25)
    assert statuses(records) == ["ok", "ok", "ok", "skipped"]
    assert codes(records[2]) == ["GB104"]
    assert records[2].wall_s == pytest.approx(5.0)
    assert codes(records[3]) == ["GB105"]
    assert lab.notices[-1] == "the time budget was used up: 2 launches were left out"


def test_a_budget_may_rather_measure_some_cases_whole(lab):
    lab.script = lambda _: measures(10.0)
    records = lab.run([SMALL, LARGE], repeats=2, budget_s=25, at_once=1)
    assert [(record.case_index, record.repeat) for record in records] == [(1, 1), (1, 2), (2, 1)]
    assert codes(records[2]) == ["GB104"]
    again = lab.run([SMALL, LARGE], repeats=2, at_once=1)
    assert [(record.case_index, record.repeat) for record in again[3:]] == [(2, 1), (2, 2)]


def test_a_budget_that_suffices_leaves_nothing_out(lab):
    assert statuses(lab.run([SMALL, LARGE], repeats=2, budget_s=100)) == ["ok"] * 4
    assert lab.notices == []


# Interruption


def test_ctrl_c_ends_the_step_stores_it_and_begins_no_other(lab):
    lab.script = lambda _: [Wait(3), lab.ctrl_c, Wait(100)]
    records = lab.run([SMALL, LARGE], repeats=3)
    assert statuses(records) == ["ok"]
    assert codes(records[0]) == ["GB104"]
    assert lab.stopped == [1]
    assert lab.notices == ["stopping: the running step is finished and stored"]
    assert not lab.hosts[0].killed


def test_a_second_ctrl_c_kills_and_stores_nothing_of_the_launch(lab):
    lab.deaf = True
    lab.script = lambda _: [Wait(3), lab.ctrl_c, Wait(1), lab.ctrl_c, Wait(100)]
    assert lab.run([SMALL], repeats=3) == ()
    assert lab.killed == [1]
    assert lab.hosts[0].killed
    assert lab.clock() == pytest.approx(1004.0)


def test_ctrl_c_before_the_first_step_stores_nothing(lab):
    nothing = Result(absent={"step_time_s": "it was ended before its first step was done"}, interrupted=True)
    lab.script = lambda _: [lab.ctrl_c, nothing, 0]
    lab.deaf = True
    assert lab.run([SMALL], repeats=2) == ()


def test_a_host_lost_while_stopping_is_not_replaced(lab):
    lab.deaf = True
    lab.script = lambda _: [lab.ctrl_c, *loses_its_host()]
    lab.run([SMALL], repeats=2)
    assert len(lab.hosts) == 1


# Resuming


@pytest.mark.parametrize(
    "script",
    [measures, lambda: fails("failed"), lambda: fails("oom"), hangs, loses_its_host],
    ids=["ok", "failed", "oom", "timeout", "host-lost"],
)
def test_a_recorded_end_is_not_measured_again(lab, script):
    lab.script = lambda _: script()
    before = lab.run([SMALL], repeats=2)
    lab.script = lambda _: measures()
    assert lab.run([SMALL], repeats=2) == before
    assert lab.launched == []


def test_a_resumed_run_measures_what_was_interrupted_and_what_is_missing(lab):
    lab.script = lambda job: [Wait(3), lab.ctrl_c, Wait(100)] if job.repeat == 2 else measures()
    lab.run([SMALL], repeats=3)
    lab.script = lambda _: measures()
    records = lab.run([SMALL], repeats=3)
    assert lab.launched == [(1, 2, None), (1, 3, None)]
    assert [(record.repeat, codes(record)) for record in records] == [(1, []), (2, ["GB104"]), (2, []), (3, [])]


def test_a_resumed_run_measures_what_the_budget_left_out(lab):
    lab.script = lambda _: measures(10.0)
    lab.run([SMALL], repeats=4, budget_s=21)
    lab.run([SMALL], repeats=4)
    assert lab.launched == [(1, 3, None), (1, 4, None)]


def test_a_run_killed_between_records_resumes_with_the_next(lab):
    def power_cut():
        raise KeyboardInterrupt

    lab.script = lambda job: [power_cut] if job.repeat == 2 else measures()
    with pytest.raises(KeyboardInterrupt):
        lab.run([SMALL], repeats=3)
    assert not any(host.is_alive for host in lab.hosts)
    lab.script = lambda _: measures()
    lab.run([SMALL], repeats=3)
    assert lab.launched == [(1, 2, None), (1, 3, None)]


# Arms


def test_arms_take_turns_at_being_first(lab):
    lab.run([SMALL], repeats=6, arms=ARMS, levels={1: "launch"})
    rounds = [tuple(arm for _, number, arm in lab.launched if number == repeat) for repeat in range(1, 7)]
    assert Counter(order[0] for order in rounds) == {"base": 3, "head": 3}
    assert all(set(order) == {"base", "head"} for order in rounds)
    assert {job.case.fused for job in lab.jobs} == {False, True}


def test_a_settled_case_gets_no_more_rounds(lab):
    lab.run(
        [SMALL, LARGE],
        repeats=8,
        arms=ARMS,
        levels={1: "launch", 2: "launch"},
        settled=lambda case, records: case.index == 1 and len(records) == 4,
    )
    assert Counter(index for index, _, _ in lab.launched) == {1: 4, 2: 16}
    assert [event.number for event in lab.told(RoundFinished) if event.case.index == 1] == [1, 2]


def test_an_arm_that_ends_for_good_ends_its_case(lab):
    lab.script = lambda job: fails("unsupported") if job.case.fused else measures()
    lab.run([SMALL], repeats=8, arms=ARMS, levels={1: "launch"})
    assert len(lab.launched) == 2


def test_arms_in_blocks_share_a_process_and_each_gets_a_record(lab):
    lab.script = blocks
    records = lab.run([SMALL], repeats=2, arms=ARMS, levels={1: "block"})
    assert [(record.repeat, record.arm) for record in records] == [(1, "base"), (1, "head"), (2, "base"), (2, "head")]
    assert [job.kind for job in lab.jobs] == ["blocks", "blocks"]
    assert [job.twin for job in lab.jobs] == [True, False]
    assert {record.block_log_ratio for record in records if record.arm == "head"} == {0.0}


def test_blocks_that_fail_fall_back_to_launches(lab):
    lab.script = lambda job: fails("oom") if job.kind == "blocks" else measures()
    records = lab.run([SMALL], repeats=2, arms=ARMS, levels={1: "block"})
    assert [job.kind for job in lab.jobs] == ["blocks", *["measure"] * 4]
    assert all(codes(record) == ["GB106"] for record in records)


def test_a_suspicious_self_check_is_repeated_and_then_believed(lab):
    check = SelfCheck(twin=0.05, low=0.04, high=0.06)
    lab.script = lambda job: blocks(job, self_check=check) if job.kind == "blocks" else measures()
    records = lab.run([SMALL], repeats=2, arms=ARMS, levels={1: "block"})
    assert [job.kind for job in lab.jobs] == ["blocks", "blocks", *["measure"] * 4]
    assert all(codes(record) == ["GB107"] for record in records)


def test_a_suspicion_that_does_not_show_again_is_dropped(lab):
    check = SelfCheck(twin=0.05, low=0.04, high=0.06)
    lab.script = lambda job: blocks(job, **({"self_check": check} if job.job == 1 else {}))
    records = lab.run([SMALL], repeats=2, arms=ARMS, levels={1: "block"})
    assert [job.kind for job in lab.jobs] == ["blocks"] * 3
    assert statuses(records) == ["ok"] * 4


def test_a_resumed_run_remembers_that_blocks_fell_back(lab):
    lab.script = lambda job: fails("oom") if job.kind == "blocks" else measures()
    lab.run([SMALL], repeats=1, arms=ARMS, levels={1: "block"})
    lab.run([SMALL], repeats=2, arms=ARMS, levels={1: "block"})
    assert [job.kind for job in lab.jobs] == ["measure", "measure"]


# As many launches as a case needs


def launched_times(lab, index):
    return sum(case == index for case, _repeat, _arm in lab.launched)


def varying(by_repeat):
    """Launches of which those of batch 128 differ from each other."""

    def script(job):
        factor = by_repeat(job.repeat) if job.case == LARGE else 1.0
        return measures(2.0, DONE.model_copy(update={"series": SERIES.model_copy(update={"median_s": 0.01 * factor})}))

    return script


def test_a_case_whose_launches_agree_gets_the_least_and_one_whose_differ_the_most(lab):
    lab.script = varying(lambda repeat: 1 + 0.1 * (repeat % 2))
    lab.run([SMALL, LARGE], repeats=6, until=UntilKnown(3, 0.05))
    assert (launched_times(lab, 1), launched_times(lab, 2)) == (3, 6)
    assert [event.case.index for event in lab.told(CaseFinished)] == [1, 2]


def test_a_case_that_always_fails_gets_the_least(lab):
    lab.script = lambda job: fails() if job.case == LARGE else measures()
    lab.run([SMALL, LARGE], repeats=6, until=UntilKnown(3, 0.05))
    assert launched_times(lab, 2) == 3


def test_a_case_that_is_known_well_enough_is_not_measured_again_when_a_run_goes_on(lab):
    lab.run([SMALL], repeats=6, until=UntilKnown(3, 0.05))
    lab.run([SMALL], repeats=6, until=UntilKnown(3, 0.05))
    assert lab.launched == []

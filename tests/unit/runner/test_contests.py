"""Contests on scripted hosts: which cases take turns, in how many processes, and what is stored."""

import math

import pytest
from fakes.scripted_host import DONE, Lab, fails, measures, takes_turns

from gpubench.analysis.insight.paired_ratios import still_wanted
from gpubench.core.findings import finding
from gpubench.core.records import Status
from gpubench.machine.host_facts import HostCpuTime
from gpubench.runner.arms.arm import Arm
from gpubench.runner.contest import free_cpus
from gpubench.runner.contest.groups import contest_groups, parts_of
from gpubench.runner.events import ContestFinished, ContestStarted
from gpubench.store.run_info import PlannedCase
from gpubench.store.run_reader import CONTESTS_NAME, load_run
from gpubench.suite.model.case import Case

A, B, C = Case(batch_size=64), Case(batch_size=128), Case(batch_size=64, precision="amp-bf16")


def planned(*cases):
    return tuple(
        PlannedCase(index=at, case_id=case.case_id, label=str(at), settings=case.settings)
        for at, case in enumerate(cases, start=1)
    )


def contested(speeds, **told):
    """A script whose contests find these speeds by case index, and whose launches all succeed."""
    named = {str(index): speed for index, speed in speeds.items()}
    return lambda job: takes_turns(job, named, **told) if job.kind == "contest" else measures()


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path / "run", script=contested({2: 1.5, 3: 0.8}))


def jobs(lab):
    return [job for job in lab.jobs if job.kind == "contest"]


def test_after_their_launches_cases_take_turns_in_three_processes_with_a_twin_of_the_first(lab):
    lab.run([A, B, C], contest_s=90)
    assert [job.kind for job in lab.jobs] == ["measure"] * 9 + ["contest"] * 3
    assert [[arm.name for arm in job.arms] for job in jobs(lab)] == [["1", "2", "3"]] * 3
    assert all(job.twin and not job.parity for job in jobs(lab))
    assert len({host.pid for host in lab.hosts for job in host.jobs if job.kind == "contest"}) == 3
    assert len({job.order for job in jobs(lab)}) == 3


def test_each_process_is_stored_and_read_back(lab):
    lab.run([A, B, C], contest_s=90)
    stored = load_run(lab.folder).contests
    assert [(each.cases, each.round, each.status) for each in stored] == [
        ((1, 2, 3), number, Status.OK) for number in (1, 2, 3)
    ]
    assert stored[0].log_speeds == pytest.approx({1: 0.0, 2: math.log(1.5), 3: math.log(0.8)})
    assert stored[0].twin == 0.0
    assert len(lab.told(ContestStarted)) == len(lab.told(ContestFinished)) == 3


def test_without_a_contest_nothing_of_one_is_stored(lab):
    lab.run([A, B, C])
    assert not jobs(lab)
    assert not (lab.folder / CONTESTS_NAME).exists()
    assert load_run(lab.folder).contests == ()


def test_arms_take_turns_themselves(lab):
    lab.run([A, B], contest_s=90, arms=(Arm("base"), Arm("head", settings={"fused": True})))
    assert not jobs(lab)


def test_a_case_whose_output_is_wrong_takes_no_part(lab):
    wrong = DONE.model_copy(update={"findings": (finding("GB305", "wrong"),)})
    script = contested({})
    lab.script = lambda job: measures(2.0, wrong) if job.kind == "measure" and job.case == C else script(job)
    lab.run([A, B, C], contest_s=90)
    assert [[arm.name for arm in job.arms] for job in jobs(lab)] == [["1", "2"]] * 3


def test_more_rounds_are_held_while_they_are_wanted_and_only_of_the_cases_that_need_them(lab):
    lab.run(
        [A, B, C], contest_s=900, still_wanted=lambda _cases, _launches, records: {3} if len(records) < 5 else set()
    )
    assert [each.cases for each in load_run(lab.folder).contests] == [(1, 2, 3)] * 3 + [(1, 3)] * 2


def test_the_budget_ends_a_contest_that_would_go_on(lab):
    lab.run([A, B, C], contest_s=35, still_wanted=lambda cases, _launches, _records: {case.index for case in cases})
    assert len(jobs(lab)) == 5  # of 8 s each: the sixth would begin after 40


def test_a_contest_that_is_far_too_slow_ends_before_its_least_rounds(lab):
    lab.run([A, B, C], contest_s=3)
    assert len(jobs(lab)) == 1


def test_a_contest_goes_on_where_it_was_interrupted(lab):
    script = lab.script
    lab.script = lambda job: [lab.ctrl_c, *script(job)] if job.kind == "contest" and job.repeat == 2 else script(job)
    lab.run([A, B, C], contest_s=90)
    assert [each.round for each in load_run(lab.folder).contests] == [1]
    lab.script = script
    lab.run([A, B, C], contest_s=90)
    assert [job.repeat for job in jobs(lab)] == [2, 3]
    assert [each.round for each in load_run(lab.folder).contests] == [1, 2, 3]


def test_a_process_that_fails_ends_its_contest_and_not_the_run(lab):
    lab.script = lambda job: fails() if job.kind == "contest" else measures()
    lab.run([A, B, C], contest_s=90)
    (record,) = load_run(lab.folder).contests
    assert (record.status, record.log_speeds) == (Status.FAILED, {})
    assert "train on cpu" in lab.notices[-1]


def test_parts_are_halved_where_memory_does_not_suffice(lab):
    script = lab.script
    lab.script = lambda job: fails("oom", "out of memory") if len(job.arms) > 2 else script(job)
    lab.run([A, B, C], contest_s=900)
    stored = load_run(lab.folder).contests
    assert (stored[0].status, stored[0].cases) == (Status.OOM, (1, 2, 3))
    assert {each.cases for each in stored[1:]} == {(1, 2), (1, 3)}


def test_cases_that_cannot_share_a_process_are_in_no_contest_together():
    cases = planned(
        A,
        B,
        Case(batch_size=64, mode="infer"),
        Case(batch_size=64, device="cuda"),
        Case(batch_size=128, device="cuda"),
        Case(batch_size=64, device="cuda", cudnn_benchmark=True),
        Case(batch_size=128, device="cuda", cudnn_benchmark=True),
        Case(batch_size=64, data_path="loader"),
    )
    found = [tuple(case.index for case in group.cases) for group in contest_groups(cases)]
    assert found == [(1, 2), (4, 5), (6, 7)]


def test_many_cases_have_parts_that_share_the_first_and_keep_neighbours_together():
    cases = planned(
        *(Case(precision=precision, batch_size=batch) for precision in ("fp32", "amp-bf16") for batch in range(1, 8))
    )
    (group,) = contest_groups(cases)
    parts = [[case.index for case in part] for part in parts_of(group, cases, {}, None)]
    assert all(part[0] == 1 for part in parts)
    assert max(map(len, parts)) == 8
    assert sorted(index for part in parts for index in part[1:]) == list(range(2, 15))
    assert parts[0] == [1, 2, 3, 4, 5, 6, 7, 8]  # the same precision, then the first of the other


def test_a_part_holds_no_more_than_memory_does():
    cases = planned(*(Case(batch_size=batch) for batch in (1, 2, 3, 4)))
    (group,) = contest_groups(cases)
    sizes = {case.index: 10 for case in cases}
    parts = [[case.index for case in part] for part in parts_of(group, cases, sizes, 40)]
    assert parts == [[1, 2, 3], [1, 4]]  # the first case twice


def busy(by_others, usable=8, total=800):
    before = HostCpuTime(0, 0, 0)
    return free_cpus.free_cpus(before, HostCpuTime(by_others, 0, total), usable)


def test_threads_are_the_cpus_that_others_leave_and_at_least_one(monkeypatch):
    monkeypatch.setattr(free_cpus.os, "cpu_count", lambda: 8)
    assert busy(0) == 7
    assert busy(200) == 6
    assert busy(800) == 1
    assert free_cpus.free_cpus(None, None, 1) == 1


def test_a_machine_whose_launches_did_not_wait_keeps_all_threads(lab, monkeypatch):
    monkeypatch.setattr(free_cpus, "LOOK_S", 0.0)
    lab.run([A, B], contest_s=90)
    assert {each.threads_asked for each in load_run(lab.folder).contests} == {None}


def test_a_machine_whose_launches_waited_for_a_cpu_spares_one_and_says_so(lab, monkeypatch):
    monkeypatch.setattr(free_cpus, "LOOK_S", 0.0)
    monkeypatch.setattr(free_cpus, "usable_cpus", lambda: 2)
    waited = DONE.model_copy(update={"findings": (finding("GB205", "waited"),)})
    script = lab.script
    lab.script = lambda job: measures(2.0, waited) if job.kind == "measure" else script(job)
    lab.run([A, B], contest_s=90)
    assert {arm.case.cpu_threads for job in jobs(lab) for arm in job.arms} == {1}
    assert {each.threads_asked for each in load_run(lab.folder).contests} == {1}
    assert "others use the CPU" in lab.notices[0]


def test_equal_cases_are_settled_and_a_contest_ends_when_nothing_more_can_be_told(lab):
    lab.run([A, B, C], contest_s=900, still_wanted=still_wanted)
    assert len(jobs(lab)) == 3  # 1.5 and 0.8 times as fast: no other process would change that


def test_a_settled_pair_goes_on_until_its_interval_is_narrow(lab):
    def script(job):
        speeds = {"2": 1.5 * (1.01 if job.repeat % 2 else 0.99)}
        return takes_turns(job, speeds) if job.kind == "contest" else measures()

    lab.script = script
    lab.run([A, B], contest_s=900, still_wanted=still_wanted)
    assert len(jobs(lab)) == 4  # after three the half-width is 3.8 %, after four 2.2 %

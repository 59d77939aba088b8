"""One file with several ranks, processes or machines: whose GPU it is, whose launch, whose step."""

import copy
from pathlib import Path

import pytest
from fakes.odd_traces import US, kineto, nsys, rank_events, said

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import TraceError
from gpubench.report.pages.profile_page import profile_page


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((4000, 0), (5000, 0)),
        ((4000, 0), (104_000, 100_000)),
        (("[rank0] 40", "[rank0] 0"), ("[rank1] 40", "[rank1] 0")),
    ],
    ids=["one after the other", "numbers moved", "ranks named"],
)
def test_two_ranks_in_one_file_keep_their_launches_and_gpus_apart(first, second, tmp_path: Path):
    """Both call their GPU 0 and count correlation numbers from 1."""
    summary = kineto(tmp_path, rank_events(*first) + rank_events(*second, shift=3))
    assert [(each.device, each.steps, each.kernels, each.busy_ns) for each in summary.devices] == [
        (0, 3, 6, 1800 * US),
        (0, 3, 6, 1800 * US),
    ]
    owners = [each.owner for each in summary.devices]
    assert owners == (
        ["rank 0", "rank 1"] if isinstance(first[0], str) else [f"process {first[0]}", f"process {second[0]}"]
    )
    assert len({section.key for section in profile_page(summary)}) == len(profile_page(summary))


def test_work_that_could_be_of_either_rank_is_of_neither(tmp_path: Path):
    events = sorted(rank_events(4000) + rank_events(5000, shift=3), key=lambda each: each["ts"])
    summary = kineto(tmp_path, events)
    assert [(each.owner, each.kernels, each.idle_reasons) for each in summary.devices] == [
        ("an unknown process", 12, None)
    ]
    assert "nothing tells which of them launched 12 pieces" in said(summary)["GB516"]


def test_a_correlation_number_used_twice_in_a_process_links_nothing(tmp_path: Path):
    summary = kineto(tmp_path, rank_events(1) + rank_events(1, shift=3))
    assert summary.unread == {"calls whose correlation number is used twice in their process": 6}
    assert summary.devices[0].idle_reasons is None


def test_machines_number_their_processes_and_gpus_for_themselves(tmp_path: Path):
    other = 2 << 48
    mask = (1 << 48) - 1
    copies = [
        f"INSERT INTO {table} ({columns}, {owner}) SELECT {columns}, {other} | ({owner} & {mask}) FROM {table}"
        for table, columns, owner in (
            ("NVTX_EVENTS", "start, end, eventType, text, textId, domainId, int64Value", "globalTid"),
            ("CUPTI_ACTIVITY_KIND_RUNTIME", "start, end, correlationId, nameId", "globalTid"),
            (
                "CUPTI_ACTIVITY_KIND_KERNEL",
                "start, end, deviceId, streamId, correlationId, demangledName, shortName",
                "globalPid",
            ),
        )
    ]
    summary = nsys(tmp_path, *copies)
    assert [(each.label, each.steps, each.kernels) for each in summary.devices] == [
        ("GPU 0 of machine 1", 2, 14),
        ("GPU 0 of machine 2", 2, 14),
    ]


def test_processes_that_number_gpus_for_themselves_may_mean_different_ones(tmp_path: Path):
    other = f"UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET globalPid = {1 << 48 | 200 << 24} WHERE correlationId = 3"
    assert said(nsys(tmp_path, other))["GB516"].startswith("2 processes have a GPU 0")
    same = (
        "CREATE TABLE TARGET_INFO_CUDA_DEVICE AS SELECT 0 AS gpuId, 0 AS cudaId, 100 AS pid UNION SELECT 0, 0, 200",
    )
    assert "GB516" not in said(nsys(tmp_path, other, *same))


def owners(summary) -> list[tuple[str | None, int | None, int]]:
    return [(each.owner, each.steps, each.kernels) for each in summary.devices]


def by_time(*ranks: list[dict]) -> list[dict]:
    return sorted((each for rank in ranks for each in rank), key=lambda each: each["ts"])


def without_launches(events: list[dict]) -> list[dict]:
    return [each for each in events if each["cat"] != "cuda_runtime"]


@pytest.mark.parametrize("sort", [list, lambda events: by_time(events)], ids=["rank by rank", "by time"])
def test_hosts_that_number_their_ranks_alike_are_told_apart(sort, tmp_path: Path):
    first = rank_events("host1 rank 0: 40", "host1 rank 0, GPU 0")
    events = sort(first + rank_events("host2 rank 0: 40", "host2 rank 0, GPU 0", shift=3))
    assert owners(kineto(tmp_path, events)) == [("host1 rank 0", 3, 6), ("host2 rank 0", 3, 6)]


@pytest.mark.parametrize(
    "pids",
    [("rank0_{}", "rank1_{}"), ("[TP00-PP00] {}", "[TP01-PP00] {}"), ("node-a: {}", "node-b: {}")],
    ids=["underscores", "parallel ranks", "hosts"],
)
def test_each_way_of_marking_ranks_tells_them_apart(pids, tmp_path: Path):
    ranks = [rank_events(pid.format(40), pid.format(0), shift=3 * at) for at, pid in enumerate(pids)]
    summary = kineto(tmp_path, by_time(*ranks))
    assert [(each.device, each.steps, each.kernels, each.unlinked_share) for each in summary.devices] == [
        (0, 3, 6, 0)
    ] * 2
    assert len({each.owner for each in summary.devices}) == 2
    assert summary.process == 40


def test_two_numbers_without_a_word_do_not_tell_which_is_the_rank(tmp_path: Path):
    ranks = [rank_events(f"4000_{at}", f"0_{at}", shift=3 * at) for at in range(2)]
    assert owners(kineto(tmp_path, by_time(*ranks))) == [
        ("an unknown process, drawn as 0_0", None, 6),
        ("an unknown process, drawn as 0_1", None, 6),
    ]
    assert owners(kineto(tmp_path, [each for rank in ranks for each in rank])) == [("4000_0", 3, 6), ("4000_1", 3, 6)]
    assert kineto(tmp_path, by_time(*ranks)).process is None


def test_a_process_may_be_chosen_by_its_id_if_only_one_has_it(tmp_path: Path):
    kineto(tmp_path, rank_events("rank 0: 40", "rank 0: 0") + rank_events("rank 1: 41", "rank 1: 0"))
    trace = read_trace(tmp_path / "t.json")
    assert summarize(trace, process=41).process == 41
    kineto(tmp_path, rank_events("rank 0: 40", "rank 0: 0") + rank_events("rank 1: 40", "rank 1: 0"))
    with pytest.raises(TraceError, match=r"2 processes of .* have the id 40: rank 0, rank 1"):
        summarize(read_trace(tmp_path / "t.json"), process=40)


@pytest.mark.parametrize("mixed", [False, True])
def test_work_of_a_rank_without_launches_goes_to_no_other_rank(mixed, tmp_path: Path):
    """Three ranks on GPUs 0 to 2, which count launches alike; the third lost its calls."""
    ranks = [rank_events(4000 + at, 100 * at, shift=100 * at) for at in range(3)]
    ranks[2] = without_launches(ranks[2])
    summary = kineto(tmp_path, by_time(*ranks) if mixed else [each for rank in ranks for each in rank])
    found = owners(summary)
    assert sum(kernels for *_, kernels in found) == 18
    known = {(f"process {4000 + at}", 6) for at in range(3)}
    assert {(owner, kernels) for owner, _, kernels in found if not str(owner).startswith("an unknown")} <= known
    if not mixed:
        assert [owner for owner, *_ in found] == ["process 4000", "process 4001", "process 4002"]
        assert summary.devices[2].idle_reasons is None


def test_a_rank_of_which_only_the_gpu_is_in_the_file_is_named(tmp_path: Path):
    stranger = [each for each in rank_events("rank 1: 40", "rank 1: GPU 0") if each["cat"] == "kernel"]
    summary = kineto(tmp_path, by_time(rank_events("rank 0: 40", "rank 0: GPU 0"), stranger))
    assert owners(summary) == [("rank 0", 3, 6), ("rank 1", None, 6)]


def test_ranks_with_one_process_id_have_no_steps_and_it_is_said(tmp_path: Path):
    """In containers every rank may be process 1."""
    summary = kineto(tmp_path, rank_events(1) + rank_events(1, shift=300))
    assert summary.steps is None
    assert said(summary)["GB516"].startswith("The steps of process 1 overlap, as those of several would: none of them")


@pytest.mark.parametrize("pid", [None, True, [1], float("inf"), "", 1e400])
def test_an_event_that_does_not_tell_its_process_is_of_none_of_several(pid, tmp_path: Path):
    events = rank_events()
    events[1]["pid"] = pid
    summary = kineto(tmp_path, events)
    assert summary.unread == {"events of the host without a process": 1}
    assert [(each.label, each.steps, each.kernels) for each in summary.devices] == [("GPU 0", 3, 6)]
    assert summary.devices[0].unlinked_share == pytest.approx(1 / 6)


def test_steps_of_other_threads_are_counted_as_left_out(tmp_path: Path):
    events = rank_events()
    events[0]["tid"] = 41
    summary = kineto(tmp_path, events)
    assert (summary.steps, said(summary)["GB516"]) == (2, "Steps on other threads than most are not counted: 1.")


def test_a_launch_that_several_kernels_claim_links_none(tmp_path: Path):
    strangers = [copy.deepcopy(each) for each in rank_events() if each["cat"] == "kernel"]
    for each in strangers:
        each["ts"] += 3
    summary = kineto(tmp_path, rank_events() + strangers)
    assert summary.devices[0].idle_reasons is None
    assert said(summary)["GB516"].startswith("6 launches of one kernel have several in the file")


def test_a_process_that_is_called_by_text_or_a_large_number_has_the_id_that_the_file_tells(tmp_path: Path):
    for pid, expected in (("trainer", None), (None, None), (700_004_000, 700_004_000), ("worker 4711", 4711)):
        assert kineto(tmp_path, rank_events(pid)).process == expected


def shared_gpu(folder: Path, *, process: int | None = None):
    """Another process runs 100 us on the GPU of two steps, copies 1 MB there, and has one step."""
    other = (1 << 48) | (200 << 24)
    place = "start, end, deviceId, streamId, correlationId, globalPid"
    return nsys(
        folder,
        f"INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME SELECT 1055000, 1056000, {other | 200}, 900, nameId "
        "FROM CUPTI_ACTIVITY_KIND_RUNTIME LIMIT 1",
        f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL ({place}, demangledName) SELECT 1005000, 1105000, 0, 7, 900, {other}, "
        "demangledName FROM CUPTI_ACTIVITY_KIND_KERNEL LIMIT 1",
        f"INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY ({place}, bytes, copyKind) VALUES (1010000, 1020000, 0, 7, 901, {other}, "
        "1000000, 1)",
        f"INSERT INTO NVTX_EVENTS (start, eventType, text, globalTid, domainId) VALUES (0, 75, 'gpubench', {other | 200}, 1)",
        "INSERT INTO NVTX_EVENTS (start, end, eventType, globalTid, textId, domainId) SELECT 1000000, 1200000, 59, "
        f"{other | 200}, textId, domainId FROM NVTX_EVENTS WHERE int64Value = 0",
        process=process,
    )


def test_work_of_another_process_enters_no_figure_of_a_step(tmp_path: Path):
    alone = nsys(tmp_path).devices[0]
    shared = shared_gpu(tmp_path)
    device = shared.devices[0]
    fields = ("steps", "kernels_per_step", "kernel_ns", "copies", "phases", "top_kernels", "classes", "unattributed_ns")
    assert {each: getattr(device, each) for each in fields} == {each: getattr(alone, each) for each in fields}
    assert (device.busy_ns, device.others_ns) == (alone.busy_ns + 100 * US, 100 * US)
    assert said(shared)["GB520"].startswith("GPU 0: 6.4% of its busy time is work of other processes")
    other = shared_gpu(tmp_path, process=200).devices[0]
    assert (other.steps, other.kernels, other.copies["h2d"].bytes) == (1, 1, 1_000_000)

"""What the report shows of cases with several ranks."""

from fakes.runs import Invented

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import finding
from gpubench.core.records import RankRecord, Status
from gpubench.report.first_questions import first_questions
from gpubench.report.headline import answers, headline
from gpubench.report.model.report_model import plain
from gpubench.report.pages.case_page import case_page
from gpubench.report.topics import best, collectives, scaling
from gpubench.report.view.run_view import View

COLLECTIVE = {"workload": "collectives:all_reduce", "mode": "infer", "batch_size": 1}


def view_of(*cases):
    """Of cases as (settings, metrics, other fields of the record), three launches each."""
    made = Invented()
    for settings, metrics, *rest in cases:
        planned = made.plan(f"case {len(made.planned) + 1}", **{"device": "cuda", "world_size": 2, **settings})
        for repeat in (1, 2, 3):
            made.add(planned, repeat, metrics={"throughput": 100.0, "step_time_s": 0.01, **metrics}, **dict(*rest))
    return View(summarise_run(made.run()), charts=True)


def bandwidths(shape, busbw, **settings):
    return {**COLLECTIVE, "shape": shape, **settings}, {"busbw": busbw, "algbw": busbw}


def test_a_collective_is_drawn_over_the_size_of_its_message_a_line_for_each_number_of_ranks():
    sizes = {"4KiB": 1e8, "1MiB": 9e9}
    cases = [bandwidths(shape, busbw, world_size=ranks) for ranks in (2, 8) for shape, busbw in sizes.items()]
    section = collectives.section(view_of(*cases))
    (chart,) = section.charts
    assert chart.title == "all_reduce carries up to 9.00 GB/s, at 1.0 MiB"
    drawn = [(row[1], round(row[2], 3), row[5]) for row in chart.rows]
    assert sorted(drawn) == [
        (4.0, 0.1, "2 ranks, nccl"),
        (4.0, 0.1, "8 ranks, nccl"),
        (1024.0, 9.0, "2 ranks, nccl"),
        (1024.0, 9.0, "8 ranks, nccl"),
    ]
    assert len(section.tables[0].rows) == 4


def test_one_size_is_a_row_and_no_chart():
    section = collectives.section(view_of(bandwidths("1MiB", 1e9)))
    assert section.charts == ()
    assert len(section.tables[0].rows) == 1


def test_runs_of_single_processes_have_neither_section():
    view = view_of(({"world_size": 1}, {}))
    assert scaling.section(view).empty
    assert collectives.section(view).empty


def test_efficiency_is_drawn_over_the_number_of_ranks_and_a_slow_rank_said_above():
    slow = finding("GB214", "Rank 1 takes 37 ms for its own part of a step, the others 15 ms.", rank=1)
    view = view_of(
        ({"world_size": 1}, {}),
        ({"world_size": 2}, {"throughput": 180.0, "rank_skew": 0.01}),
        ({"world_size": 4}, {"throughput": 320.0, "rank_skew": 1.47}, {"findings": (slow,)}),
    )
    section = scaling.section(view)
    (chart,) = section.charts
    assert chart.title == "Training on the GPU: 4 ranks keep 80.0% of their speed (ddp, weak scaling)"
    assert [(row[1], round(row[2], 6)) for row in chart.rows] == [(1, 100.0), (2, 90.0), (4, 80.0)]
    assert [plain(said) for said in section.lines] == [f"case 3: {slow.message}"]


def test_another_slow_rank_in_each_launch_is_not_one_rank_in_all():
    made = Invented()
    planned = made.plan("case 1", device="cuda", world_size=2)
    for repeat, rank in ((1, 1), (2, 0), (3, 1)):
        slow = finding("GB214", f"Rank {rank} takes 37 ms for its own part of a step, the others 15 ms.", rank=rank)
        made.add(planned, repeat, metrics={"throughput": 100.0, "rank_skew": 1.47}, findings=(slow,))
    section = scaling.section(View(summarise_run(made.run())))
    assert [plain(said).partition("(")[2] for said in section.lines] == ["2 of 3 launches)", "1 of 3 launches)"]
    assert sum(cell.text.count("straggler") for cell in section.tables[0].rows[0].cells) == 1


def test_each_strategy_has_its_curve_from_one_process_on():
    view = view_of(
        ({"world_size": 1}, {}),
        ({"strategy": "ddp"}, {"throughput": 180.0}),
        ({"strategy": "fsdp2"}, {"throughput": 150.0}),
    )
    (chart,) = scaling.section(view).charts
    points = sorted((row[5], row[1], round(row[2], 6)) for row in chart.rows)
    assert points == [("ddp, weak", 1, 100), ("ddp, weak", 2, 90), ("fsdp2, weak", 1, 100), ("fsdp2, weak", 2, 75)]


def test_the_parts_of_a_step_are_drawn_by_rank_and_the_slow_one_is_in_the_title():
    ranks = (
        RankRecord(rank=0, step_time_s=0.040, own_time_s=0.015, exposed_communication_s=0.022),
        RankRecord(rank=1, step_time_s=0.040, own_time_s=0.036, exposed_communication_s=0.001),
    )
    (chart,) = scaling.section(view_of(({}, {"own_time_s": 0.036}, {"ranks": ranks}))).charts
    assert chart.form == "strip"
    assert chart.title == "Rank 1 of fp32 takes 140% longer than the fastest to its gradients"
    assert [(row[0], row[1], round(row[2], 6), round(row[3], 6)) for row in chart.rows] == [
        ("rank 0 of fp32", "own", 0, 15),
        ("rank 0 of fp32", "waits and sums", 15, 37),
        ("rank 0 of fp32", "rest", 37, 40),
        ("rank 1 of fp32", "own", 0, 36),
        ("rank 1 of fp32", "waits and sums", 36, 37),
        ("rank 1 of fp32", "rest", 37, 40),
    ]


def test_the_table_says_why_a_strategy_has_no_time_of_its_own():
    waits = {"absent": {"own_time_s": "ranks wait inside forward"}}
    view = view_of(({}, {"own_time_s": 0.01}), ({"strategy": "tp"}, {"own_time_s": None}, waits))
    (table,) = scaling.section(view).tables
    assert "tp: n/a (ranks wait inside forward)" in [plain(note) for note in table.notes]


def test_a_case_that_was_skipped_has_no_row():
    view = view_of(({}, {"own_time_s": 0.01}), ({"world_size": 8}, {}, {"status": Status.SKIPPED, "reason": "no GPU"}))
    assert len(scaling.section(view).tables[0].rows) == 1


def test_ranks_without_a_time_of_their_own_have_no_strip():
    view = view_of(({"strategy": "tp"}, {"own_time_s": None}, {"ranks": (RankRecord(rank=0), RankRecord(rank=1))}))
    assert scaling.section(view).charts == ()


def test_the_page_of_a_case_lists_its_ranks():
    ranks = (
        RankRecord(rank=0, pid=7, device="cuda:0", step_time_s=0.02, own_time_s=0.015),
        RankRecord(rank=1, pid=8, device="cuda:1", step_time_s=0.02, own_time_s=0.037),
    )
    view = view_of(({}, {}, {"ranks": ranks}))
    page = case_page(view.summary.cases[0], view.summary.info)
    (section,) = [section for section in page.sections if section.key == "ranks"]
    cells = [[cell.text for cell in row.cells] for row in section.tables[0].rows]
    assert cells == [["0", "cuda:0", "20", "15", "7"], ["1", "cuda:1", "20", "37", "8"]]


def test_sizes_of_a_message_are_no_rivals_so_the_headline_says_what_is_carried():
    view = view_of(bandwidths("4KiB", 1e8), bandwidths("1MiB", 9e9))
    assert best.section(view).empty
    assert first_questions(view) == ()
    assert answers(view.decision) == ()
    (said,) = [plain(said) for said in headline(view.decision)]
    assert (
        said == "all_reduce carried up to 9.000 GB/s (busbw) at 1.0 MiB between 2 ranks over nccl; 4.0 KiB took 10 ms."
    )


def test_collectives_that_were_skipped_have_no_row():
    skipped = (*bandwidths("1MiB", 9e9, world_size=8), {"status": Status.SKIPPED, "reason": "no GPU"})
    assert len(collectives.section(view_of(bandwidths("4KiB", 1e8), skipped)).tables[0].rows) == 1


def test_a_link_that_is_stated_is_a_line_of_the_chart_and_the_share_of_it_is_said():
    view = view_of(
        *(bandwidths(shape, busbw, params={"link": "12GB"}) for shape, busbw in (("4KiB", 1e8), ("1MiB", 9e9)))
    )
    (chart,) = collectives.section(view).charts
    assert (chart.options["limit"], chart.options["limit_label"]) == (12.0, "the link, as stated")
    (said,) = [plain(said) for said in headline(view.decision)]
    assert "over nccl, 75.0% of the link's 12.0 GB/s; 4.0 KiB took 10 ms." in said

"""A profile in full, on the scenario of `fakes.traces`."""

import io
from pathlib import Path

import pytest
from fakes import traces
from rich.console import Console

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace
from gpubench.report.model.report_model import plain
from gpubench.report.pages.profile_page import opener, profile_page, short_name
from gpubench.report.render.layout import fit
from gpubench.report.render.terminal import TerminalReport


def summary_of(folder: Path, scenario: traces.Scenario | None = None, **options):
    path = traces.write_sqlite(scenario or traces.two_steps(), folder / "t.sqlite")
    summary = summarize(read_trace(path), **options)
    return summary.model_copy(update={"source": "t.sqlite"})


def printed(sections, width: int = 100) -> str:
    console = Console(file=io.StringIO(), highlight=False, width=width)
    writer = TerminalReport(console, width, width)
    for section in sections:
        writer.section(section)
    return console.file.getvalue()


def test_the_page(tmp_path: Path):
    summary = summary_of(tmp_path, measured_step_time_s=8e-4)
    text = printed(profile_page(summary, label="train cuda amp-bf16 b64", trace=Path("t.nsys-rep")))
    head, rest = text.split("  Top kernels")
    assert head == (
        "\n"
        "Profile\n"
        "  Made by    Nsight Systems 2024.5.1.113\n"
        "  Read from  t.sqlite\n"
        "  Case       train cuda amp-bf16 b64\n"
        "  Steps      2, 1\u202f005 us each while profiled, 1.26 times the measured 0.800 ms\n"
        "\n"
        "GPU 0  NVIDIA H100 80GB HBM3\n"
        "  Launch-bound: idle 27% of the time, 14% because the host had not launched the next work yet.\n"
        "  Idle 26.9%, by reason: 14.4% host late to launch, 11.9% fetching input, 0.5% waiting for other\n"
        "  work. Largest gap 140 us.\n"
        "  Tensor cores: 61.5% of the kernel time, detected by kernel names.\n"
        "\n"
        "  Where a step goes\n"
        "  phase       CPU us  GPU busy us  GPU span us  GPU time  kernels\n"
        "  data           100            0            -      0.0%        0\n"
        "  h2d           50.0          120          120     15.3%        0\n"
        "  forward        250          300          300     38.2%        2\n"
        "  loss          50.0         10.0         10.0      1.3%        1\n"
        "  backward       350          250          250     35.7%        2\n"
        "  optimizer      150         55.0         55.0      7.0%        1\n"
        "  (no phase)       -         20.0            -      2.5%        -\n"
        "\n"
    )
    assert "  host to device       3.8 MiB        120   33.3          16.7%           3.8 MiB\n" in rest
    assert "  ! GB502  A step took 1.01 ms under nsys, 1.26 times the measured 0.8 ms. Trust counts" in rest
    assert rest.endswith("Trace\n  File     t.nsys-rep\n  Open it  nsys-ui t.nsys-rep\n")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_at_any_width_columns_go_whole(width, tmp_path: Path):
    page = profile_page(summary_of(tmp_path), name_width=32)
    for table in (table for section in page for table in section.tables):
        fitted = fit(table, width)
        assert sum(fitted.widths) + 2 * (len(fitted.widths) - 1) <= width
        assert table.columns[0].title not in fitted.left_out


def test_a_trace_without_a_gpu_shows_the_phases_of_the_host(tmp_path: Path):
    page = profile_page(summary_of(tmp_path, traces.Scenario(spans=traces.two_steps().spans)))
    section = next(each for each in page if each.key == "host")
    assert [row.cells[0].text for row in section.tables[0].rows][:2] == ["data", "h2d"]
    assert section.heading == "No GPU in this trace"


def test_a_trace_of_nothing_says_so(tmp_path: Path):
    scenario = traces.Scenario(spans=[traces.Span("mine", 0, 10, ours=False)])
    text = printed(profile_page(summary_of(tmp_path, scenario)))
    assert "none marked; the figures cover the whole trace" in text
    assert "No GPU in this trace\n  And no steps with phases.\n" in text
    assert "GB507" in text


def test_of_very_many_phases_the_longest_are_shown_in_their_order(tmp_path: Path):
    scenario = traces.Scenario(spans=[traces.Span("iteration", 0, 1000, ours=False)])
    scenario.spans += [
        traces.Span(f"op{index}", 10 * index, 10 * index + (9 if index % 2 else 1), ours=False) for index in range(40)
    ]
    scenario.work = [traces.Work("kernel", traces.GEMM, 20, 30, 12)]
    page = profile_page(summary_of(tmp_path, scenario, step_name="iteration"))
    (table,) = (table for section in page for table in section.tables if table.key == "phases")
    shown = [row.cells[0].text for row in table.rows]
    assert shown == [f"op{index}" for index in range(1, 24, 2)]
    assert plain(table.notes[0]) == "and 28 shorter ones"


def test_what_a_trace_calls_things_cannot_move_the_cursor(tmp_path: Path):
    scenario = traces.two_steps()
    scenario.work.append(traces.Work("kernel", "evil\x1b[2J_kernel", 1150, 1900, 1140))
    text = printed(profile_page(summary_of(tmp_path, scenario)))
    assert "\x1b" not in text
    assert "evil\\x1b[2J_kernel" in text


@pytest.mark.parametrize(
    ("name", "short"),
    [
        (traces.LOSS, "vectorized_elementwise_kernel<4, CUDAFunctor_add<float>, array<char*, 3ul> >"),
        (traces.NCCL, "ncclDevKernel_AllReduce_Sum_f32_RING_LL"),
        ("nvjet_tst_128x256", "nvjet_tst_128x256"),
        (
            "void (anonymous namespace)::softmax_warp_forward<float, float>(float*, int)",
            "softmax_warp_forward<float, float>",
        ),
        ("void f<(Kind)0, int (*)(int)>(int)", "f<(Kind)0, int (*)(int)>"),
    ],
)
def test_names_of_kernels_lose_what_says_nothing(name, short):
    assert short_name(name) == short


def test_every_trace_says_what_opens_it():
    assert plain(opener("nsys", Path("a.nsys-rep"))) == "nsys-ui a.nsys-rep"
    assert "any SQLite browser" in plain(opener("nsys", Path("a.sqlite")))
    assert "perfetto" in plain(opener("torch", Path("a.json.gz")))
    assert plain(opener("ncu", Path("a.ncu-rep"))) == "ncu-ui a.ncu-rep"

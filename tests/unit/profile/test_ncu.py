"""The route of Nsight Compute: what it prints of a report, and a program that plays it."""

import csv
import io
import json
import os
from pathlib import Path

import pytest
from fakes import traces

from gpubench.profile.capture import capture_case, profiler_tools
from gpubench.profile.capture.run_tool import SessionError
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces import ncu_csv
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import TraceError
from gpubench.protocol.profile_job import ProfileJob
from gpubench.report.model.report_model import plain
from gpubench.report.pages.profile_page import profile_page, tensor_core_line
from gpubench.suite.model.case import Case

THREAD = "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"
PROCESS = "Id:Domain:Start/Stop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"
DURATION, TENSOR = "gpu__time_duration.sum", "sm__inst_executed_pipe_tensor.sum"
STEP = (
    # kernel, ns, instructions of the tensor pipe, phase
    (traces.CONV, 3000, 512, "forward"),
    (traces.LOSS, 500, 0, "loss"),
    (traces.DGRAD, 4000, 1024, "backward"),
    (traces.LOSS, 500, 0, "backward"),
    (traces.ADAM, 1500, 0, "optimizer"),
    (traces.STRAY, 500, 0, None),
)


def span(name: str, number: int) -> str:
    return f'"{number}:gpubench:{name}:none:none:none:none:none:none"'


def printed(rows=STEP, *, unit: str = "ns", scale: float = 1.0, tensor: bool = True, head: str = "") -> str:
    """As `ncu --import REPORT --csv --page raw --print-units base` prints it."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    counters = [DURATION, *([TENSOR] if tensor else [])]
    writer.writerow(["ID", "Process ID", "Process Name", THREAD, PROCESS, "Kernel Name", "Stream", "Device", *counters])
    writer.writerow(["", "", "", "", "", "", "", "", unit, *(["inst"] if tensor else [])])
    for number, (name, length, instructions, phase) in enumerate(rows):
        ranges = "  ".join(span(each, at) for at, each in enumerate(["capture", phase]) if each)
        shown = f"{length / scale:,.2f}" if scale > 1 else f"{length:,}"
        counted = [f"{instructions:,}"] if tensor else []
        writer.writerow([number, 4711, "python3", '1  "gpubench:step:none"', ranges, name, 7, 0, shown, *counted])
    return f"{head}{out.getvalue()}"


def summary_of(folder: Path, **form):
    path = folder / "kernels.csv"
    path.write_text(printed(**form))
    return summarize(ncu_csv.read(path), expected_steps=1)


@pytest.mark.parametrize(
    "form", [{}, {"unit": "usecond", "scale": 1000.0}, {"head": "==PROF== Connected to process 4711\n==PROF== 99%\n"}]
)
def test_kernels_have_times_and_phases_on_whatever_thread_they_were_launched(form, tmp_path: Path):
    summary = summary_of(tmp_path, **form)
    device = summary.devices[0]
    assert (summary.tool, summary.steps, device.kernels_per_step, device.busy_ns) == ("ncu", 1, 6, 10_000)
    assert {each.name: (each.gpu_busy_ns, each.kernels_per_step) for each in device.phases} == {
        "forward": (3000, 1),
        "loss": (500, 1),
        "backward": (4500, 2),
        "optimizer": (1500, 1),
    }
    assert device.unattributed_share == pytest.approx(0.05)


def test_tensor_cores_are_counted_and_not_told_by_the_name(tmp_path: Path):
    """The name of the convolution says that it uses none."""
    device = summary_of(tmp_path).devices[0]
    assert (device.tensor_core_share, device.tensor_core_source) == (pytest.approx(0.7), "counters")
    assert device.top_kernels[0].tensor_core == "yes"


def test_a_counter_that_cannot_be_read_leaves_the_share_of_tensor_cores_open(tmp_path: Path):
    text = printed()
    assert '"512"' in text
    (tmp_path / "k.csv").write_text(text.replace('"512"', '"n/a"'))
    said = tensor_core_line(summarize(ncu_csv.read(tmp_path / "k.csv")).devices[0])
    assert said.startswith("Tensor cores: at least ")
    assert "in kernels whose counters do not tell" in said


def test_without_counters_of_the_tensor_pipe_names_have_to_do(tmp_path: Path):
    device = summary_of(tmp_path, tensor=False).devices[0]
    assert (device.tensor_core_share, device.tensor_core_source) == (pytest.approx(0.4), "kernel names")


def test_what_replayed_kernels_cannot_tell_is_absent_with_the_reason(tmp_path: Path):
    summary = summary_of(tmp_path)
    device = summary.devices[0]
    assert (summary.step_time_ns, summary.host_phases, summary.perturbation) == (None, (), None)
    assert (device.idle, device.idle_reasons, device.bound, device.largest_gap_ns, device.copies) == (
        None,
        None,
        None,
        None,
        {},
    )
    assert {each.cpu_ns for each in device.phases} == {None}
    assert "one by one" in device.absent["idle"]
    assert "ncu sees kernels only" in device.absent["copies"]
    assert {each.code for each in summary.warnings} == {"GB503"}


def test_the_page_says_so(tmp_path: Path):
    page = profile_page(summary_of(tmp_path))
    facts = {fact.name: plain(fact.text) for fact in page[0].facts}
    assert facts["Steps"] == "1, kernel by kernel"
    said = [plain(each) for each in page[1].lines]
    assert said == [
        "Kernels ran one by one, so nothing is known of time on the host, overlap and idle time.",
        "Tensor cores: 70.0% of the kernel time, detected by counters.",
    ]


@pytest.mark.parametrize("text", ["", "==ERROR== no kernels\n", '"ID","Kernel Name"\n"",""\n"0","k"\n'])
def test_a_print_without_kernels_is_an_error(text, tmp_path: Path):
    path = tmp_path / "kernels.csv"
    path.write_text(text)
    with pytest.raises(TraceError, match="holds no kernels of ncu"):
        ncu_csv.read(path)


def read(folder: Path, text: str):
    path = folder / "kernels.csv"
    path.write_text(text)
    return summarize(ncu_csv.read(path))


def test_each_table_has_its_own_columns_and_units(tmp_path: Path):
    summary = read(tmp_path, printed(unit="ns") + printed(unit="us", scale=1000.0, tensor=False))
    assert (summary.devices[0].kernels, summary.devices[0].busy_ns) == (12, 20_000)


@pytest.mark.parametrize("cell", ["1e400", "\u00b2", "-5", "0", "n/a", "nan", "inf", "", "0x10", "9" * 400])
def test_a_length_that_no_kernel_can_have_is_left_out_and_counted(cell, tmp_path: Path):
    summary = read(tmp_path, printed().replace('"3,000"', f'"{cell}"'))
    assert summary.unread == {"kernels without times": 1}
    assert (summary.devices[0].kernels, summary.devices[0].tensor_core_share) == (5, None)


@pytest.mark.parametrize("unit", ["", "fortnight", "byte"])
def test_an_unknown_unit_is_no_nanosecond(unit, tmp_path: Path):
    with pytest.raises(TraceError, match="holds no kernel whose length can be read") as error:
        read(tmp_path, printed(unit=unit))
    assert f"in the unit '{unit}'" in str(error.value)


def test_names_may_be_longer_than_a_cell_of_python_and_hold_anything(tmp_path: Path):
    name = "k" * 200_000 + ', "quoted" \u00b2'
    summary = read(tmp_path, printed([(name, 3000, 0, "forward")]))
    assert summary.devices[0].top_kernels[0].name == name


def test_a_print_that_was_cut_off_in_a_number_does_not_shorten_it(tmp_path: Path):
    text = printed(tensor=False)
    summary = read(tmp_path, text[: text.rindex('500"') + 1])
    assert (summary.devices[0].kernels, summary.unread) == (5, {"rows that were cut off": 1})


def test_rows_whose_columns_or_units_are_missing_are_counted_and_not_read_by_those_of_another_table(tmp_path: Path):
    first, second = printed(unit="ns").splitlines(), printed(unit="s", scale=1e9).splitlines()
    headless = read(tmp_path, "\n".join([*first, *second[1:]]))
    assert (headless.devices[0].busy_ns, headless.unread) == (10_000, {"rows of a table without its columns": 6})
    assert read(tmp_path, "\n".join([first[2], *first])).unread == {"rows of a table without its columns": 1}
    unitless = read(tmp_path, "\n".join([*first, second[0], *second[2:]]))
    assert (unitless.devices[0].busy_ns, unitless.unread) == (10_000, {"kernels without times": 6})


@pytest.mark.parametrize("number", ["\u00b2", "", "-1", "first"])
def test_processes_devices_and_streams_without_a_number_are_unknown(number, tmp_path: Path):
    text = printed().replace('"4711"', f'"{number}"').replace('"7","0"', f'"{number}","{number}"')
    summary = read(tmp_path, text)
    device = summary.devices[0]
    assert (summary.process, device.device, device.streams, device.kernels) == (None, None, None, 6)


def test_a_row_that_is_printed_twice_counts_once(tmp_path: Path):
    text = printed()
    summary = read(tmp_path, text + text.splitlines()[-1] + "\n")
    assert (summary.devices[0].kernels, summary.unread) == (6, {"kernels that are in the file twice": 1})
    assert summary.devices[0].tensor_core_share == pytest.approx(0.7)


def test_two_kernels_of_one_number_are_both_left_out(tmp_path: Path):
    text = printed()
    summary = read(tmp_path, text + text.splitlines()[-1].replace('"500"', '"700"') + "\n")
    assert (summary.devices[0].kernels, summary.devices[0].tensor_core_share) == (5, None)
    assert summary.unread == {"kernels of the same number, of which none can be told to be right": 2}


def test_what_ncu_printed_of_any_program_is_read_and_has_no_step_that_nothing_marks(tmp_path: Path):
    path = tmp_path / "kernels.csv"
    path.write_text("==PROF== Connected\n" + printed().replace("gpubench:", "mine:"), encoding="utf-16")
    summary = summarize(read_trace(path))
    assert (summary.tool, summary.steps, summary.devices[0].kernels) == ("ncu", None, 6)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def plan(folder: Path, printing: str) -> capture_case.CapturePlan:
    document = json.dumps({"status": "ok", "steps": 1, "emitter": "on", "step_time_before_s": 0.001})
    python = script(
        folder / "python", f'for last; do :; done; cat > "$(dirname "$last")/worker.json" <<\'END\'\n{document}\nEND'
    )
    body = f"""if [ "$1" = --import ]; then {printing}; exit 0; fi
while [ "$1" != -o ]; do shift; done; echo report > "$2.ncu-rep"; shift 2; "$@\""""
    job = ProfileJob(
        tool="torch", case=Case(device="cuda", python=str(python)), suite="s", label="l", steps=9, folder=folder / "out"
    )
    return capture_case.plan(job, "ncu", ncu=str(script(folder / "ncu", body)), environ={"PATH": os.environ["PATH"]})


def test_a_capture_ends_in_a_summary_and_keeps_the_report(tmp_path: Path):
    (tmp_path / "kernels.csv").write_text(printed())
    made = plan(tmp_path, f"cat {tmp_path}/kernels.csv")
    captured = capture_case.run(made, timeout_s=60)
    assert captured.summary.tool == "ncu"
    assert captured.summary.devices[0].tensor_core_share == pytest.approx(0.7)
    assert captured.summary.source == str(made.folder / "profile.ncu-rep")
    assert captured.note == ""
    capture_case.tidy(made, captured, keep_trace=True)
    assert sorted(path.name for path in made.folder.iterdir()) == ["profile.log", "profile.ncu-rep"]


def test_a_step_with_more_kernels_than_are_replayed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profiler_tools, "NCU_LAUNCHES", 6)
    (tmp_path / "kernels.csv").write_text(printed())
    captured = capture_case.run(plan(tmp_path, f"cat {tmp_path}/kernels.csv"), timeout_s=60)
    assert captured.note == "ncu stopped after 6 kernels; the step has more, so its last phases may be missing."


def test_a_report_that_cannot_be_printed_is_an_error(tmp_path: Path):
    with pytest.raises((SessionError, TraceError), match="holds no kernels"):
        capture_case.run(plan(tmp_path, "echo '==ERROR== cannot open'"), timeout_s=60)

import sqlite3
from pathlib import Path

import pytest
from fakes import traces

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces import nsys_sqlite
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import TraceError


def summary_of(path: Path):
    return summarize(read_trace(path))


@pytest.fixture
def expected(tmp_path: Path):
    return summary_of(traces.write_sqlite(traces.two_steps(), tmp_path / "plain.sqlite"))


@pytest.mark.parametrize(
    "form",
    [
        {"metadata": "EXPORT_META_DATA"},
        {"shuffle": 1},
        {"shuffle": 2, "extra_columns": True},
        {"inline_text": True},
        {"metadata": "EXPORT_META_DATA", "shuffle": 3, "extra_columns": True, "inline_text": True},
    ],
    ids=["old metadata table", "shuffled rows", "added columns", "texts inline", "all of it"],
)
def test_the_answer_does_not_depend_on_the_version_that_exported(form, expected, tmp_path: Path):
    found = summary_of(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite", **form))
    assert found.devices == expected.devices
    assert found.host_phases == expected.host_phases
    assert found.tool_version == expected.tool_version == "2024.5.1.113"


def test_an_export_without_any_metadata_table_is_read_with_an_unknown_version(expected, tmp_path: Path):
    found = summary_of(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite", metadata=None))
    assert found.tool_version is None
    assert found.devices == expected.devices


def test_a_capture_without_copies_or_memsets_has_no_such_tables(tmp_path: Path):
    lacking = ["CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET"]
    found = summary_of(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite", lacking=lacking))
    device = found.devices[0]
    assert device.copies["h2d"].count == 0
    assert device.copies["h2d"].gb_per_s is None
    assert device.busy_ns == 2 * (780 - 220 + 50 + 10) * 1000


def test_a_capture_of_host_ranges_alone_has_no_device(tmp_path: Path):
    scenario = traces.Scenario(spans=traces.two_steps().spans)
    found = summary_of(traces.write_sqlite(scenario, tmp_path / "t.sqlite"))
    assert found.devices == ()
    assert found.steps == 2
    assert [(each.name, each.cpu_ns) for each in found.host_phases][:2] == [("data", 100_000), ("h2d", 50_000)]
    assert found.warnings == ()


def test_calls_of_cuda_without_gpu_rows_are_a_warning(tmp_path: Path):
    lacking = [f"CUPTI_ACTIVITY_KIND_{kind}" for kind in ("KERNEL", "MEMCPY", "MEMSET")]
    found = summary_of(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite", lacking=lacking))
    assert [each.code for each in found.warnings] == ["GB501"]


def test_without_launches_the_kernels_count_but_have_no_phase_and_idleness_no_reason(tmp_path: Path):
    path = traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite", lacking=["CUPTI_ACTIVITY_KIND_RUNTIME"])
    found = summary_of(path)
    device = found.devices[0]
    assert (device.steps, device.kernels_per_step, device.unattributed_share) == (2, 7, 1.0)
    assert device.idle_reasons is None
    assert device.bound is None
    assert {"GB503", "GB512"} <= {each.code for each in found.warnings}
    assert device.absent["idle_reasons"] == "no launch of this device's work is in the trace"


def test_a_kernel_without_a_demangled_name_is_called_by_its_short_one(tmp_path: Path):
    path = traces.write_sqlite(
        traces.two_steps(), tmp_path / "t.sqlite", lacking=["CUPTI_ACTIVITY_KIND_KERNEL.demangledName"]
    )
    assert "ncclDevK" in {each.name for each in summary_of(path).devices[0].top_kernels}


def test_an_export_that_does_not_say_what_memory_was_copied_leaves_pageable_bytes_unknown(tmp_path: Path):
    lacking = ["CUPTI_ACTIVITY_KIND_MEMCPY.srcKind", "CUPTI_ACTIVITY_KIND_MEMCPY.dstKind"]
    found = summary_of(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite", lacking=lacking))
    assert found.devices[0].copies["h2d"].pageable_bytes is None
    assert "GB504" not in {each.code for each in found.warnings}


def test_an_export_without_global_pids_is_read_by_its_only_process(expected, tmp_path: Path):
    tables = [f"CUPTI_ACTIVITY_KIND_{kind}.globalPid" for kind in ("KERNEL", "MEMCPY", "MEMSET")]
    found = summary_of(traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite", lacking=tables))
    assert found.devices == expected.devices


def test_whole_graphs_count_as_gpu_work_and_are_said_to_hide_their_kernels(tmp_path: Path):
    scenario = traces.Scenario(spans=traces.two_steps().spans)
    scenario.work = [traces.Work("graph", "", 1100, 1900, 1050), traces.Work("graph", "", 2100, 2900, 2050)]
    found = summary_of(traces.write_sqlite(scenario, tmp_path / "t.sqlite"))
    device = found.devices[0]
    assert (device.busy_ns, device.graphs, device.kernels) == (1_600_000, 2, 0)
    assert device.tensor_core_share is None
    assert device.absent["tensor_core_share"] == "CUDA graphs were traced as a whole"
    assert "GB508" in {each.code for each in found.warnings}


def test_the_file_is_not_changed_by_reading_it(tmp_path: Path):
    path = traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")
    before = path.read_bytes()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        summary_of(path)
    finally:
        tmp_path.chmod(0o755)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["t.sqlite"]


def test_two_processes_on_two_devices_are_told_apart_by_gpu_not_by_cuda_number(tmp_path: Path):
    """Under CUDA_VISIBLE_DEVICES each process calls its GPU 0; correlation numbers repeat between processes."""
    path = tmp_path / "t.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);
        INSERT INTO StringIds VALUES (1, 'step'), (2, 'my_kernel');
        CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT);
        INSERT INTO TARGET_INFO_GPU VALUES (0, 'A'), (1, 'B');
        CREATE TABLE TARGET_INFO_CUDA_DEVICE (gpuId INTEGER, cudaId INTEGER, pid INTEGER);
        INSERT INTO TARGET_INFO_CUDA_DEVICE VALUES (0, 0, 11), (1, 0, 22);
        CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, text TEXT, textId INTEGER,
            globalTid INTEGER, domainId INTEGER);
        CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, globalTid INTEGER, correlationId INTEGER);
        CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER,
            correlationId INTEGER,
                                                 globalPid INTEGER, demangledName INTEGER);
        """
    )
    for pid, shift in ((11, 0), (22, 50)):
        process = pid << 24
        connection.execute("INSERT INTO NVTX_EVENTS VALUES (-1, NULL, 75, 'gpubench', NULL, ?, 1)", (process | pid,))
        connection.execute(
            "INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, NULL, 1, ?, 1)", (shift, shift + 100, process | pid)
        )
        connection.execute(
            "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, 7)", (shift + 10, shift + 11, process | pid)
        )
        connection.execute(
            "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, 0, 7, 7, ?, 2)", (shift + 20, shift + 60, process)
        )
    connection.commit()
    connection.close()
    found = summary_of(path)
    assert [
        (device.device, device.name, device.steps, device.busy_ns, device.window_ns) for device in found.devices
    ] == [
        (0, "A", 1, 40, 100),
        (1, "B", 1, 40, 100),
    ]


def test_a_damaged_database_is_an_error_with_a_way_out(tmp_path: Path):
    path = traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")
    content = bytearray(path.read_bytes())
    content[2000:-100] = bytes(len(content) - 2100)
    path.write_bytes(content)
    with pytest.raises(TraceError, match="could not be read as an export of Nsight Systems") as error:
        read_trace(path)
    assert "nsys export --type sqlite" in error.value.hint


def test_another_database_is_refused(tmp_path: Path):
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(TraceError, match="not an export of Nsight Systems"):
        nsys_sqlite.read(path)


def test_steps_of_the_warm_up_do_not_count_in_a_trace_of_a_whole_run(expected, tmp_path: Path):
    scenario = traces.two_steps()
    early = [traces.Span("step", 100 + 100 * index, 190 + 100 * index, payload=index) for index in range(5)]
    scenario.spans += [traces.Span("warmup", 100, 700), *early]
    assert summary_of(traces.write_sqlite(scenario, tmp_path / "a.sqlite")).devices == expected.devices
    scenario.spans.append(traces.Span("steady", 990, 3100))
    found = summary_of(traces.write_sqlite(scenario, tmp_path / "b.sqlite", shuffle=4))
    assert (found.steps, found.devices) == (2, expected.devices)

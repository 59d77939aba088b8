from pathlib import Path

import pytest

from gpubench.profile.capture import profiler_tools
from gpubench.profile.capture.profiler_tools import ToolAbsentError

HELP = """usage: nsys profile [<args>] [application] [<application args>]

\t-c, --capture-range=
\t--capture-range-end=
\t--cpuctxsw=
\t--cuda-graph-trace=<granularity>
\t-f, --force-overwrite=
\t--kill=
\t-o, --output=
\t-p, --nvtx-capture=
\t-s, --sample=
\t-t, --trace=
\t--wait=
"""


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def nsys(folder: Path, text: str = HELP) -> profiler_tools.Tool:
    (folder / "help.txt").write_text(text)
    return profiler_tools.Tool("nsys", program(folder / "nsys", f'cat "{folder}/help.txt"'))


def test_the_option_wins_over_the_variable_and_that_over_the_path(tmp_path: Path):
    given, named, on_path = (program(tmp_path / name / "nsys", "exit 0") for name in ("a", "b", "c"))
    environ = {"GPUBENCH_NSYS": str(named), "PATH": str(on_path.parent)}
    assert profiler_tools.find_tool("nsys", str(given), environ=environ).path == given
    assert profiler_tools.find_tool("nsys", environ=environ).path == named
    assert profiler_tools.find_tool("nsys", environ={"PATH": str(on_path.parent)}).path == on_path


def test_a_folder_may_be_named_instead_of_the_program(tmp_path: Path):
    path = program(tmp_path / "bin" / "nsys", "exit 0")
    assert profiler_tools.find_tool("nsys", str(path.parent), environ={}).path == path


def test_of_several_installed_versions_the_newest_is_taken(tmp_path: Path):
    for version in ("2023.4.4", "2024.10.1", "2024.9.2"):
        program(tmp_path / "nsight-systems" / version / "bin" / "nsys", "exit 0")
    found = profiler_tools.find_tool("nsys", environ={}, folders=[f"{tmp_path}/nsight-systems/*/bin"])
    assert found.path.parts[-3] == "2024.10.1"


def test_cuda_home_is_looked_at(tmp_path: Path):
    path = program(tmp_path / "cuda" / "bin" / "ncu", "exit 0")
    assert profiler_tools.find_tool("ncu", environ={"CUDA_HOME": str(tmp_path / "cuda")}, folders=[]).path == path


def test_an_absent_tool_names_every_place_and_the_way_out():
    with pytest.raises(ToolAbsentError) as error:
        profiler_tools.find_tool("nsys", environ={"PATH": "/nowhere"}, folders=["/nowhere/cuda/bin"])
    assert str(error.value) == (
        "nsys (Nsight Systems) was not found. Looked at --nsys, $GPUBENCH_NSYS, PATH, /nowhere/cuda/bin."
    )
    assert error.value.hint == "Install Nsight Systems, name it with --nsys PATH, or profile with `--tool torch`."


def test_a_named_tool_that_is_not_there_is_not_replaced_by_another(tmp_path: Path):
    other = program(tmp_path / "nsys", "exit 0")
    with pytest.raises(ToolAbsentError, match=r"\$GPUBENCH_NSYS names /nowhere/nsys, which is no program"):
        profiler_tools.find_tool("nsys", environ={"GPUBENCH_NSYS": "/nowhere/nsys", "PATH": str(other.parent)})


def test_options_are_read_from_the_help(tmp_path: Path):
    options = profiler_tools.probe_nsys(nsys(tmp_path), {})
    assert {"--capture-range", "--nvtx-capture", "--cuda-graph-trace", "--wait"} <= options


def test_a_tool_without_capture_ranges_is_too_old(tmp_path: Path):
    old = HELP.replace("--nvtx-capture=", "").replace("--capture-range-end=", "")
    with pytest.raises(ToolAbsentError, match=r"too old, or not Nsight Systems.*--capture-range-end, --nvtx-capture"):
        profiler_tools.probe_nsys(nsys(tmp_path, old), {})


def test_a_tool_that_cannot_be_started_says_so(tmp_path: Path):
    broken = tmp_path / "nsys"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(ToolAbsentError, match="could not be asked for its options"):
        profiler_tools.probe_nsys(profiler_tools.Tool("nsys", broken), {})


PROGRAM = ["python", "-u", "-m", "some.worker"]


def test_the_command_line_of_nsys(tmp_path: Path):
    tool = nsys(tmp_path)
    command = profiler_tools.nsys_command(tool, profiler_tools.probe_nsys(tool, {}), Path("OUT/profile"), PROGRAM)
    assert command == [
        str(tool.path),
        "profile",
        "--trace=cuda,nvtx",
        "--sample=none",
        "--cpuctxsw=none",
        "--capture-range=nvtx",
        "--nvtx-capture=capture@gpubench",
        "--capture-range-end=stop",
        "--kill=none",
        "--wait=primary",
        "--force-overwrite=true",
        "--output=OUT/profile",
        *PROGRAM,
    ]


def test_graph_nodes_are_traced_only_with_cuda_graphs_and_only_by_a_tool_that_can(tmp_path: Path):
    tool = nsys(tmp_path)
    options = profiler_tools.probe_nsys(tool, {})
    assert "--cuda-graph-trace=node" in profiler_tools.nsys_command(tool, options, Path("x"), PROGRAM, cuda_graphs=True)
    older = profiler_tools.nsys_command(tool, options - {"--cuda-graph-trace"}, Path("x"), PROGRAM, cuda_graphs=True)
    assert "--cuda-graph-trace=node" not in older


def test_the_command_line_of_the_export():
    tool = profiler_tools.Tool("nsys", Path("/t/nsys"))
    assert profiler_tools.export_command(tool, Path("OUT/profile.nsys-rep"), Path("OUT/profile.sqlite")) == [
        "/t/nsys",
        "export",
        "--type",
        "sqlite",
        "--force-overwrite=true",
        "--output=OUT/profile.sqlite",
        "OUT/profile.nsys-rep",
    ]


def test_the_command_line_of_ncu():
    command = profiler_tools.ncu_command(profiler_tools.Tool("ncu", Path("/t/ncu")), Path("OUT/profile"), PROGRAM)
    metrics = command[command.index("--metrics") + 1]
    assert "sm__inst_executed_pipe_tensor.sum" in metrics.split(",")
    assert command == [
        "/t/ncu",
        "--nvtx",
        "--nvtx-include",
        "gpubench@capture",
        "--target-processes",
        "all",
        "--launch-count",
        "2000",
        "--clock-control",
        "none",
        "--metrics",
        metrics,
        "-f",
        "-o",
        "OUT/profile",
        *PROGRAM,
    ]

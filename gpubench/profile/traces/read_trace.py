"""Opens a trace of any known kind, recognised by its content."""

from pathlib import Path

from gpubench.core.collect_later import no_collection
from gpubench.profile.traces import chrome_json, kineto, ncu_csv, nsys_sqlite, nsys_tables
from gpubench.profile.traces.integrity import leave_out_impossible
from gpubench.profile.traces.trace import NCU_REPORT, NSYS_UNIMPORTED, Trace, TraceError, listed

_HEAD_BYTES = 1 << 16
_HINTS = {
    "torch": "Reads traces of torch.profiler (torch 1.8.1 or newer); those of torch.autograd.profiler mark neither "
    "steps nor GPU work. Profile again with torch.profiler.",
    "nsys": "Reads ranges, CUDA calls and GPU work of Nsight Systems: nsys profile --trace=cuda,nvtx PROGRAM",
    "ncu": "",
}


def read_trace(path: Path, *, operators: bool = False) -> Trace:
    """Reads an SQLite export of nsys, a trace of torch.profiler (plain or gzip), or ncu's CSV output.

    `operators` keeps torch's operators on the host, which take most of the memory of a long trace. A report of nsys
    must be exported first, see `gpubench.profile.capture.run_tool.export`.

    TraceError with a hint for other files.
    """
    check_readable(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    with no_collection():
        trace = None
        if head.startswith(nsys_tables.MAGIC):
            trace = nsys_sqlite.read(path)
        elif chrome_json.looks_like_one(head):
            trace = kineto.read(path, operators=operators)
        elif ncu_csv.looks_like_one(head):
            trace = ncu_csv.read(path)
        if trace is not None:
            leave_out_impossible(trace)
            if trace.empty and trace.unread:
                raise TraceError(
                    f"Nothing in {path} was understood: it holds {listed(trace.unread)}.", hint=_HINTS[trace.tool]
                )
            return trace
    hints = {
        NSYS_UNIMPORTED: "A .qdstrm was never imported: nsys did not find its importer. Run its QdstrmImporter -i FILE "
        "on a machine with the whole of Nsight Systems.",
        NCU_REPORT: "Print a report of Nsight Compute, and read that: LC_ALL=C ncu --import FILE --csv --page raw "
        "--print-units base > kernels.csv",
    }
    raise TraceError(
        f"{path} is neither an SQLite export of Nsight Systems nor a trace of torch.profiler.",
        hint=hints.get(
            path.suffix,
            "Reads: .nsys-rep, .sqlite (nsys export --type sqlite), .json and .json.gz (torch.profiler), .csv (ncu "
            "--csv --page raw).",
        ),
    )


def check_readable(path: Path) -> None:
    if not path.exists():
        raise TraceError(f"There is no file {path}.")
    if path.is_dir():
        raise TraceError(f"{path} is a folder.", hint="Name the trace inside it.")
    if path.stat().st_size == 0:
        raise TraceError(f"{path} is empty.", hint="Was the program that wrote it killed?")

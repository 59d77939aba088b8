"""One synthetic scenario, written as an export of nsys and as a trace of torch.profiler. Times are in microseconds."""

import gzip
import json
import random
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PID = 100
MAIN, AUTOGRAD = 100, 107
GEMM = (
    "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off"
    "_kernel__5x_cublas"
)
CONV = (
    "sm86_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nchwkcrs_nchw_tilesize32x32x8_stage3_g1_ffma_aligna4"
    "_alignc4_execute_kernel"
)
LOSS = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, "
    "3ul> >(int)"
)
DGRAD = (
    "sm80_xmma_dgrad_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x32_stage3_warpsize2"
    "x2x1_g1_tensor16x8x16_kernel"
)
NCCL = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
ADAM = (
    "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedOptimizerTensorListMetadata<4>, "
    "FusedAdamMathFunctor<float, 4> >(long)"
)
STRAY = (
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float, float, "
    "float, float> > >(float)"
)


@dataclass(frozen=True)
class Span:
    name: str
    start: int
    end: int
    thread: int = MAIN
    payload: int | None = None
    nested: bool = True
    ours: bool = True


@dataclass(frozen=True)
class Work:
    """Device work with its launch at `launched` (None: the launch is not in the trace)."""

    kind: str
    name: str
    start: int
    end: int
    launched: int | None
    thread: int = MAIN
    stream: int = 7
    device: int = 0
    num_bytes: int | None = None
    direction: str | None = None
    pageable: bool | None = None


@dataclass
class Scenario:
    spans: list[Span] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    gpu_name: str | None = "NVIDIA H100 80GB HBM3"


def two_steps() -> Scenario:
    """Two steps of 1000 us with every phase, a backward from autograd's thread, a side stream, and a copy back after
    the end.
    """
    scenario = Scenario()
    scenario.work.append(Work("kernel", GEMM, 600, 700, 500))  # of the warm-up
    for index in range(2):
        base = 1000 * (index + 1)
        scenario.spans.append(Span("step", base, base + 1000, payload=index))
        for name, low, high in (
            ("data", 0, 100),
            ("h2d", 100, 150),
            ("forward", 150, 400),
            ("loss", 400, 450),
            ("backward", 450, 800),
            ("optimizer", 800, 950),
        ):
            scenario.spans.append(Span(name, base + low, base + high))
        scenario.work += [
            Work(
                "copy",
                "",
                base + 120,
                base + 240,
                base + 110,
                num_bytes=4_000_000,
                direction="h2d",
                pageable=index == 0,
            ),
            Work("kernel", GEMM, base + 220, base + 420, base + 200),
            Work("kernel", CONV, base + 420, base + 520, base + 260),
            Work("kernel", LOSS, base + 520, base + 530, base + 410),
            Work("kernel", DGRAD, base + 530, base + 730, base + 500, AUTOGRAD),
            Work("kernel", NCCL, base + 700, base + 780, base + 600, AUTOGRAD, stream=20),
            Work("kernel", ADAM, base + 850, base + 900, base + 820),
            Work("memset", "", base + 900, base + 905, base + 830, num_bytes=64),
            Work("kernel", STRAY, base + 970, base + 980, base + 960),
        ]
    scenario.work.append(Work("copy", "", 2990, 3010, 2975, num_bytes=4_000, direction="d2h", pageable=False))
    return scenario


def bf16_no_faster() -> Scenario:
    """Three steps of 7.9 ms at amp-bf16: real work for tensor cores, layout conversions around it, and a GPU that waits
    for input.

    The trace of `docs/profiling.md`. Every figure is made up.
    """
    scenario = Scenario(gpu_name="NVIDIA H100 80GB HBM3 (synthetic)")
    spans = (
        ("data", 0, 4600),
        ("h2d", 4600, 5400),
        ("forward", 5400, 6400),
        ("loss", 6400, 6450),
        ("backward", 6450, 7600),
        ("optimizer", 7600, 7880),
    )
    kernels = (
        (
            "void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16, __nv_bfloat16, float, false, true>(Params)",
            5420,
            200,
            5410,
            MAIN,
        ),
        (GEMM.replace("gemm_", "fprop_implicit_gemm_"), 5620, 700, 5500, MAIN),
        (
            "void cudnn::ops::nhwcToNchwKernel<__nv_bfloat16, __nv_bfloat16, float, true, false>(Params)",
            6320,
            150,
            5600,
            MAIN,
        ),
        (
            "void cudnn::bn_fw_tr_1C11_kernel_NCHW<__nv_bfloat16, float, 512, true, 1, true>(cudnnTensorStruct)",
            6470,
            200,
            5700,
            MAIN,
        ),
        (
            "void at::native::vectorized_elementwise_kernel<8, at::native::clamp_min_scalar<c10::BFloat16> >(int)",
            6670,
            100,
            5800,
            MAIN,
        ),
        ("void at::native::nll_loss_forward_reduce_cuda_kernel_2d<float, float, long>(float*)", 6770, 20, 6410, MAIN),
        (
            "void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16, __nv_bfloat16, float, false, true>(Params)",
            6790,
            150,
            6500,
            AUTOGRAD,
        ),
        (DGRAD, 6940, 900, 6600, AUTOGRAD),
        (DGRAD.replace("dgrad", "wgrad"), 7840, 800, 6700, AUTOGRAD),
        (
            "void cudnn::bn_bw_1C11_kernel_new<__nv_bfloat16, float, float2, 512, true, 1>(float)",
            8640,
            200,
            6800,
            AUTOGRAD,
        ),
        (ADAM, 8840, 200, 7650, MAIN),
    )
    for index in range(3):
        base = 7900 * index + 1000
        scenario.spans.append(Span("step", base, base + 7890, payload=index))
        scenario.spans += [Span(name, base + low, base + high) for name, low, high in spans]
        scenario.work.append(
            Work(
                "copy",
                "",
                base + 4620,
                base + 5380,
                base + 4610,
                num_bytes=8 * 3 * 224 * 224 * 4,
                direction="h2d",
                pageable=True,
            )
        )
        scenario.work += [
            Work("kernel", name, base + start, base + start + length, base + launched, thread)
            for name, start, length, launched, thread in kernels
        ]
    return scenario


_OPERATION = "start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER, correlationId INTEGER, globalPid INTEGER"
_TABLES = {
    "StringIds": "id INTEGER PRIMARY KEY, value TEXT",
    "NVTX_EVENTS": "start INTEGER, end INTEGER, eventType INTEGER, rangeId INTEGER, text TEXT, globalTid INTEGER, "
    "textId INTEGER, domainId INTEGER, int64Value INTEGER",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "start INTEGER, end INTEGER, globalTid INTEGER, correlationId INTEGER, "
    "nameId INTEGER",
    "CUPTI_ACTIVITY_KIND_KERNEL": f"{_OPERATION}, demangledName INTEGER, shortName INTEGER",
    "CUPTI_ACTIVITY_KIND_MEMCPY": f"{_OPERATION}, bytes INTEGER, copyKind INTEGER, srcKind INTEGER, dstKind INTEGER",
    "CUPTI_ACTIVITY_KIND_MEMSET": f"{_OPERATION}, bytes INTEGER",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": f"{_OPERATION}, graphId INTEGER",
    "TARGET_INFO_GPU": "id INTEGER, name TEXT",
}
_CALLS = {
    "kernel": "cudaLaunchKernel",
    "copy": "cudaMemcpyAsync",
    "memset": "cudaMemsetAsync",
    "graph": "cudaGraphLaunch",
}
_COPY_KINDS = {"h2d": 1, "d2h": 2, "d2d": 8}
_GLOBAL_PID = (1 << 48) | (PID << 24)


def write_sqlite(
    scenario: Scenario,
    path: Path,
    *,
    metadata: str | None = "META_DATA_EXPORT",
    shuffle: int | None = None,
    extra_columns: bool = False,
    inline_text: bool = False,
    lacking: Sequence[str] = (),
) -> Path:
    """As nsys exports it: tables without rows do not exist. `lacking` leaves out whole tables or `TABLE.column`s."""
    writer = _Sqlite(
        path, random.Random(shuffle) if shuffle is not None else None, extra_columns=extra_columns, lacking=lacking
    )
    if metadata:
        writer.create(metadata, "name TEXT, value TEXT", [{"name": "EXPORT_PRODUCT_VERSION", "value": "2024.5.1.113"}])
    if scenario.gpu_name:
        writer.insert("TARGET_INFO_GPU", [{"id": 0, "name": scenario.gpu_name}])
    writer.insert("NVTX_EVENTS", [_domain(), *(_nvtx(span, writer, inline=inline_text) for span in scenario.spans)])
    for number, work in enumerate(scenario.work, start=1):
        place = {"start": work.start * 1000, "end": work.end * 1000, "deviceId": work.device, "streamId": work.stream}
        place |= {"correlationId": number, "globalPid": _GLOBAL_PID}
        if work.launched is not None:
            launch = {
                "start": work.launched * 1000,
                "end": (work.launched + 5) * 1000,
                "globalTid": _GLOBAL_PID | work.thread,
            }
            writer.insert(
                "CUPTI_ACTIVITY_KIND_RUNTIME",
                [launch | {"correlationId": number, "nameId": writer.string(_CALLS[work.kind])}],
            )
        writer.insert(*_nsys_row(work, place, writer))
    return writer.finish()


def _domain() -> dict[str, Any]:
    return {
        "start": -5000,
        "end": None,
        "eventType": 75,
        "text": "gpubench",
        "globalTid": _GLOBAL_PID | MAIN,
        "domainId": 1,
    }


def _nvtx(span: Span, writer: "_Sqlite", *, inline: bool) -> dict[str, Any]:
    named = {"text": span.name} if inline else {"textId": writer.string(span.name)}
    return named | {
        "start": span.start * 1000,
        "end": span.end * 1000,
        "eventType": 59 if span.nested else 60,
        "globalTid": _GLOBAL_PID | span.thread,
        "domainId": 1 if span.ours else 0,
        "int64Value": span.payload,
    }


def _nsys_row(work: Work, place: dict[str, Any], writer: "_Sqlite") -> tuple[str, list[dict[str, Any]]]:
    if work.kind == "kernel":
        name = writer.string(work.name)
        return "CUPTI_ACTIVITY_KIND_KERNEL", [
            place | {"demangledName": name, "shortName": writer.string(work.name[:8])}
        ]
    if work.kind == "copy":
        host = 0 if work.pageable else 1
        sides = {"h2d": (host, 2), "d2h": (2, host)}.get(work.direction or "", (2, 2))
        kinds = {"copyKind": _COPY_KINDS[work.direction or ""], "srcKind": sides[0], "dstKind": sides[1]}
        return "CUPTI_ACTIVITY_KIND_MEMCPY", [place | kinds | {"bytes": work.num_bytes}]
    if work.kind == "memset":
        return "CUPTI_ACTIVITY_KIND_MEMSET", [place | {"bytes": work.num_bytes}]
    return "CUPTI_ACTIVITY_KIND_GRAPH_TRACE", [place | {"graphId": 1}]


class _Sqlite:
    def __init__(self, path: Path, mix: random.Random | None, *, extra_columns: bool, lacking: Sequence[str]) -> None:
        self._path, self._mix, self._extra, self._lacking = path, mix, extra_columns, lacking
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._columns = dict(_TABLES)
        self._strings: dict[str, int] = {}

    def string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings) + 1)

    def create(self, table: str, columns: str, rows: list[dict[str, Any]]) -> None:
        self._columns[table] = columns
        self.insert(table, rows)

    def insert(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        self._rows.setdefault(table, []).extend(rows)

    def finish(self) -> Path:
        self._rows["StringIds"] = [{"id": number, "value": text} for text, number in self._strings.items()]
        connection = sqlite3.connect(self._path)
        for table, rows in self._rows.items():
            if table not in self._lacking:
                self._write(connection, table, rows)
        connection.commit()
        connection.close()
        return self._path

    def _write(self, connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
        columns = [column.strip() for column in self._columns[table].split(",")]
        columns = [column for column in columns if f"{table}.{column.split()[0]}" not in self._lacking]
        if self._extra:
            columns = ["newFangled INTEGER DEFAULT 9", *columns, "another TEXT"]
        connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        names = [column.split()[0] for column in columns if column.split()[0] not in ("newFangled", "another")]
        if self._mix:
            self._mix.shuffle(rows)
        marks = ", ".join("?" * len(names))
        connection.executemany(
            f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",
            [[row.get(name) for name in names] for row in rows],
        )


def write_kineto(scenario: Scenario, path: Path) -> Path:
    """As torch.profiler writes it; gzip if the name ends in `.gz`."""
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": PID, "tid": 0, "args": {"name": "python"}},
        {"ph": "i", "cat": "overhead", "name": "Iteration Start: PyTorch Profiler", "ts": 0, "pid": PID, "tid": 0},
        {"ph": "X", "cat": "cpu_op", "name": "aten::conv2d", "ts": 1160.0, "dur": 90.0, "pid": PID, "tid": MAIN},
    ]
    for span in scenario.spans:
        name = f"gpubench/{span.name}" if span.ours else span.name
        events.append(
            {
                "ph": "X",
                "cat": "user_annotation",
                "name": name,
                "pid": PID,
                "tid": span.thread,
                **_times(span.start, span.end),
            }
        )
        events.append(
            {"ph": "X", "cat": "gpu_user_annotation", "name": name, "pid": 0, "tid": 7, **_times(span.start, span.end)}
        )
    for number, work in enumerate(scenario.work, start=1):
        if work.launched is not None:
            launch = {"ph": "X", "cat": "cuda_runtime", "name": _CALLS[work.kind], "pid": PID, "tid": work.thread}
            events.append(launch | _times(work.launched, work.launched + 5) | {"args": {"correlation": number}})
        events.append(_kineto_event(work, number))
    head: dict[str, Any] = {"schemaVersion": 1, "baseTimeNanoseconds": 1_700_000_000_000_000_000, "traceEvents": events}
    head["deviceProperties"] = [{"id": 0, "name": scenario.gpu_name}] if scenario.gpu_name else []
    text = json.dumps(head).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def _times(start: int, end: int) -> dict[str, float]:
    return {"ts": float(start), "dur": float(end - start)}


def _kineto_event(work: Work, number: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"device": work.device, "stream": work.stream, "correlation": number}
    if work.num_bytes is not None:
        arguments["bytes"] = work.num_bytes
    host = "Pageable" if work.pageable else "Pinned"
    names = {
        "h2d": f"Memcpy HtoD ({host} -> Device)",
        "d2h": f"Memcpy DtoH (Device -> {host})",
        "d2d": "Memcpy DtoD (Device -> Device)",
    }
    category, name = {
        "kernel": ("kernel", work.name),
        "copy": ("gpu_memcpy", names.get(work.direction or "", "")),
        "memset": ("gpu_memset", "Memset (Device)"),
    }[work.kind]
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": work.device,
        "tid": work.stream,
        "args": arguments,
        **_times(work.start, work.end),
    }

"""What steps really compute in: dtypes, layouts and modes, observed below autograd and autocast in extra steps."""

import json
import math
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch._ops import HigherOrderOperator
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from gpubench.worker.process_lifetime import flush_output
from gpubench.worker.workloads.numerics import dtype_name, layout_of, no_autotuning, real_dtype_name
from gpubench.worker.workloads.operator_mode import OperatorMode, name_of
from gpubench.worker.workloads.users_errors import in_one_line

CONVOLUTION = re.compile(r"q?conv\w*|miopen|deform\w*")
PRODUCT = re.compile(r"[a-z]*(mm|matmul|gemm|gemv|mv|dot|linear|attention|attn|lstm|gru|rnn|einsum)|transformer")
"""Matches the operator names, of any library, that are convolutions or matrix products."""

_QUANTISED = ("quantized", "onednn")
_COPIES = re.compile(r"_?to(_copy)?|copy_?|clone|contiguous|empty\w*|new_\w+|\w+_like|detach|alias|lift\w*")
"""Operators that only move or create values: they have no compute dtype."""

_OPERATOR = re.compile(r"\w+::\w+")

LEAST_STEPS = 2
"""Two, to catch a dtype used in every second step."""

MOST_STEPS = 8
_WATCH_S = 0.05

_SEEN = "gpubench watches this thread"

_UNTRACEABLE = (torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)
"""Layouts on which torch's execution trace crashes the process (SIGSEGV), up to torch 2.15."""

_NODE = re.compile(
    r'"id": (\d+), "name": "(.*)", "ctrl_deps": (\d+),\s*'
    r'"inputs": .*"shapes": (\[.*\]), "types": (\[.*\]), "strides".*\s*'
    r'"outputs": .*"shapes": (\[.*\]), "types".*\s*'
    r'"attrs": .*"tid", "type": "uint64", "value": (\d+)'
)
"""A node of an execution trace. A step that makes a batch of thousands of samples has 100,000: as JSON, all that a node
holds would take seconds to read.
"""


class Observer(OperatorMode):  # type: ignore[no-untyped-call]
    """Records the dtypes that every operator computes in, and the layout of convolution inputs.

    Not for measured steps: it slows each operator down by tens of microseconds. It sees operators of torch in its own
    thread and autograd's only, and nothing inside a compiled or graphed step.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.convolution_dtypes: Counter[str] = Counter()
        self.product_dtypes: Counter[str] = Counter()
        self.other_dtypes: Counter[str] = Counter()
        self.weight_dtypes: set[str] = set()
        self.input_layouts: list[str] = []
        self.weight_layouts: list[str] = []
        self.calls: Counter[str] = Counter()
        self.step_dtypes: list[set[str]] = [set()]
        self._first_inputs = {0}
        self._threads: set[int] = set()
        self.opaque: set[str] = set()
        self.untraceable: str | None = None
        """A layout of tensors that `AllThreads` must not meet."""

    def begin_step(self) -> None:
        self.step_dtypes.append(set())
        self._first_inputs.add(len(self.input_layouts))

    def call(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if threading.get_ident() not in self._threads:
            self._threads.add(threading.get_ident())
            with torch.profiler.record_function(_SEEN):
                pass
        result = func(*args, **kwargs)
        name = name_of(func)
        self.calls[name] += 1
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        self.untraceable = next((str(each.layout) for each in taken if each.layout in _UNTRACEABLE), self.untraceable)
        if _is(CONVOLUTION, name):
            self._note_product(func, taken, self.convolution_dtypes)
            if len(taken) > 1 and "backward" not in name:
                self._note_layout(taken[0], self.input_layouts)
                self._note_layout(taken[1], self.weight_layouts)
        elif _is(PRODUCT, name):
            self._note_product(func, taken, self.product_dtypes)
        elif isinstance(func, HigherOrderOperator):
            self.opaque.add(name)
        elif taken and not _COPIES.fullmatch(name):
            given = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            self.other_dtypes.update(
                {real_dtype_name(each) for each in (*taken, *given) if each.numel() > 1 and _computes(each)}
            )
        return result

    def _note_product(self, func: Any, taken: list[torch.Tensor], seen: Counter[str]) -> None:
        dtypes = _operands(func, taken)
        seen[dtypes] += 1
        self.step_dtypes[-1].update(dtypes.split("+"))
        sources = [each if each._base is None else each._base for each in taken]  # noqa: SLF001 - of what it is a view
        self.weight_dtypes |= {real_dtype_name(each) for each in sources if isinstance(each, torch.nn.Parameter)}

    @staticmethod
    def _note_layout(tensor: torch.Tensor, seen: list[str]) -> None:
        layout = layout_of(tensor)
        if layout is not None:
            seen.append(layout)

    def facts(self) -> dict[str, Any]:
        """`compute_dtype`: the dtypes of all convolutions and products, joined by `+`; without any of these, the
        floating-point dtypes of all other operators; None if there were none either.

        `memory_format`: the layout of the input of a step's first convolution and of every convolution's weights,
        `mixed` if they disagree. `extra`: of convolutions and products, the dtypes of the parameters that took part
        (`weight_dtypes`) and those that every step computed in; it counts layout changes between layers.
        """
        first = {layout for index, layout in enumerate(self.input_layouts) if index in self._first_inputs}
        layouts = first.union(self.weight_layouts)
        products = {each for key in (*self.convolution_dtypes, *self.product_dtypes) for each in key.split("+")}
        steps = [each for each in self.step_dtypes if each]
        return {
            "compute_dtype": "+".join(sorted(products or self.other_dtypes)) or None,
            "memory_format": layouts.pop() if len(layouts) == 1 else ("mixed" if layouts else None),
            "extra": {
                "convolution_dtypes": dict(self.convolution_dtypes),
                "product_dtypes": dict(self.product_dtypes),
                "other_dtypes": dict(self.other_dtypes),
                "weight_dtypes": sorted(self.weight_dtypes),
                "every_step_dtypes": sorted(set.intersection(*steps)) if steps else [],
                "convolution_input_layouts": dict(Counter(self.input_layouts)),
                "convolution_weight_layouts": dict(Counter(self.weight_layouts)),
            },
        }


def _operands(func: Any, taken: list[torch.Tensor]) -> str:
    """The dtypes of a product's first two tensors; an int64 next to a float is an index.

    Quantised operators take float32 and hide their weights; their names tell what they multiply.
    """
    if func.namespace in _QUANTISED:
        return "float16" if "fp16" in name_of(func) else "int8"
    floats = {real_dtype_name(each) for each in taken[:2] if _computes(each) or each.dtype.itemsize == 1}
    return "+".join(sorted((floats or {real_dtype_name(each) for each in taken[:2]}) - {"bool"}))


def _is(kind: re.Pattern[str], name: str) -> bool:
    return any(map(kind.fullmatch, name.strip("_").split("_")))


def _computes(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


class _AutocastWatch(TorchFunctionMode):
    """Records autocast's dtype when a torch function is called under it: operators do not show that."""

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self.dtype: str | None = None
        self._device_type = device_type

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.is_autocast_enabled(self._device_type):
            self.dtype = dtype_name(torch.get_autocast_dtype(self._device_type))
        return func(*args, **(kwargs or {}))


class _Node(NamedTuple):
    """Of an execution trace; shapes and types of inputs and outputs are JSON."""

    number: str
    name: str
    parent: str
    inputs: str
    types: str
    outputs: str
    thread: str


class AllThreads:
    """Records the operators of every thread of the process, which a `TorchDispatchMode` cannot see."""

    def __enter__(self) -> Self:
        self._file = tempfile.NamedTemporaryFile(suffix=".json")
        self._threads: dict[str, set[str]] = {}
        self._trace = torch.profiler.ExecutionTraceObserver()
        with _without_stderr():  # torch logs its start and end there
            self._trace.register_callback(self._file.name)
            self._trace.start()
        return self

    def __exit__(self, *_: object) -> None:
        with _without_stderr():
            self._trace.unregister_callback()
        text = Path(self._file.name).read_text(encoding="utf-8", errors="replace")
        self._file.close()
        self._nodes = [*map(_Node._make, _NODE.findall(text))]
        if not self._nodes:
            raise RuntimeError(f"torch {torch.__version__} wrote an execution trace in an unknown form")
        for node in self._nodes:
            if '"Tensor' in node.types or node.name == _SEEN:
                self._threads.setdefault(node.thread, set()).add(node.name)

    def unseen(self, *, products: bool) -> set[str]:
        """Operators of threads that the observer did not see: only `products` and convolutions, or all that compute."""
        names = {name for each in self._threads.values() if _SEEN not in each for name in each}
        operators = {name.rpartition("::")[2] for name in names if "::" in name}
        if not products:
            return {name for name in operators if not _COPIES.fullmatch(name)}
        return {name for name in operators if _is(PRODUCT, name) or _is(CONVOLUTION, name)}

    def work(self) -> int:
        """Multiply-adds of products and convolutions, roughly; for a step without any, the number of elements that its
        operators took. Counts outermost operators only, because an observer makes operators call themselves once more.
        """
        operators = {node.number for node in self._nodes if _OPERATOR.fullmatch(node.name)}
        inside = set[str]()
        for node in sorted(self._nodes, key=lambda each: int(each.number)):
            if node.parent in operators or node.parent in inside:
                inside.add(node.number)
        outermost, products, others = operators - inside, 0, 0
        for node in self._nodes:
            name = node.name.rpartition("::")[2]
            if node.number in outermost and not _COPIES.fullmatch(name):
                taken, given = (sorted(_sizes(json.loads(each))) for each in (node.inputs, node.outputs))
                others += sum(taken)
                if (_is(PRODUCT, name) or _is(CONVOLUTION, name)) and taken:
                    # The product of m x k and k x n has sizes mk, kn and mn: the root of their product is mkn.
                    products += round(math.sqrt(math.prod((*taken[-2:], *given[-1:]))))
        return products or others


def _sizes(shapes: Any) -> Iterator[int]:
    """Elements of each tensor in the shapes of an execution trace, including tensors in lists."""
    if shapes and all(isinstance(size, int) for size in shapes):
        yield math.prod(shapes)
    else:
        for each in shapes:
            if isinstance(each, list):
                yield from _sizes(each)


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Hides what C++ code writes to stderr."""
    flush_output()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def observe(step: Callable[[], Any], device_type: str = "cpu", num_steps: int | None = None) -> dict[str, Any]:
    """Runs `step` a few times (`num_steps`, or as many as fit a short time) and returns `Observer.facts` and the
    autocast dtype, joined by `+` if steps differ.

    `extra["unseen_operators"]` lists operators that other threads ran meanwhile, and those that hide what they run. If
    this thread ran no product, the compute dtype is then unknown. `extra["unwatched"]` says why threads, or the step
    itself (nothing is known then), could not be watched.
    """
    try:
        return _observe(step, device_type, num_steps)
    except Exception as error:  # noqa: BLE001 - torch has operators that refuse to be watched
        unwatched = in_one_line(error)
    step()  # raises as well, if it was not for being watched
    return {"compute_dtype": None, "memory_format": None, "autocast_dtype": None, "extra": {"unwatched": unwatched}}


def _observe(step: Callable[[], Any], device_type: str, num_steps: int | None) -> dict[str, Any]:
    casts: list[str | None] = []
    with no_autotuning():
        untraceable = _untraceable_layout(step)
    with (
        Observer() as observer,
        no_autotuning(),
        AllThreads() if untraceable is None else nullcontext() as threads,
    ):
        ends = time.perf_counter() + _WATCH_S
        while len(casts) < (num_steps or LEAST_STEPS) or (
            num_steps is None and len(casts) < MOST_STEPS and time.perf_counter() < ends
        ):
            observer.begin_step()
            with _AutocastWatch(device_type) as autocast:
                step()
            casts.append(autocast.dtype)
    facts: dict[str, Any] = observer.facts()
    products = set().union(*observer.step_dtypes)
    told = {
        cast if cast in dtypes or cast not in products else None
        for cast, dtypes in zip(casts, observer.step_dtypes[1:], strict=True)
        if dtypes or not products
    }
    unseen, extra = set(observer.opaque), {**facts["extra"], "watched_steps": len(casts)}
    if threads is None:
        extra["unwatched"] = f"other threads: torch cannot trace a {untraceable} tensor"
    else:
        unseen |= threads.unseen(products=bool(products))
    if unseen:
        extra["unseen_operators"] = sorted(unseen)
    return {
        **facts,
        "compute_dtype": None if unseen and not products else facts["compute_dtype"],
        "autocast_dtype": told.pop() if len(told) == 1 else "+".join(sorted(cast or "none" for cast in told)),
        "extra": extra,
    }


def traceable(step: Callable[[], Any]) -> bool:
    """Runs a step under an `Observer`: whether that is possible, and no tensor that crashes `AllThreads` was seen."""
    try:
        return _untraceable_layout(step) is None
    except Exception:  # noqa: BLE001 - torch has operators that refuse to be watched
        step()  # raises as well, if it was not for being watched
        return False


def _untraceable_layout(step: Callable[[], Any]) -> str | None:
    observer = Observer()
    with observer:
        step()
    return observer.untraceable


def work_of(step: Callable[[], Any], *, watched: bool) -> tuple[int, Any]:
    """The work of one step in all threads (see `AllThreads.work`), and the step's result. `watched`: under an
    `Observer`, which the step's code could notice.
    """
    with AllThreads() as threads, Observer() if watched else nullcontext():
        result = step()
    return threads.work(), result

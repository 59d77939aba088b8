"""FLOPs and bytes per sample of a step: the two axes of the roofline.

Models are counted on the meta device, without memory and device time. Other workloads have methods that return them,
`flops_per_sample(case) -> float` and `bytes_per_sample(case) -> float`.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_leaves

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.numerics import NUMERICS, cast_floats, give_lazy_sizes
from gpubench.worker.workloads.operator_mode import OperatorMode, name_of
from gpubench.worker.workloads.operators.operator import last_cache_bytes
from gpubench.worker.workloads.supervised.batches import Cast, moved, seeded
from gpubench.worker.workloads.supervised.examples import Batch
from gpubench.worker.workloads.supervised.parity_probe import switch_off_randomness
from gpubench.worker.workloads.supervised.supervised import Supervised
from gpubench.worker.workloads.users_errors import in_one_line
from gpubench.worker.workloads.watched_steps import AllThreads

LEAST_BATCH = 2
_MOST_SAID = 200
"""Batch normalisation in training mode needs more than one value per channel."""


_OVERWRITE = ("copy_", "fill_", "zero_")
_LOOK_UP = ("embedding", "gather", "index", "index_select")
"""Operators that do not read their first tensor, and those that read only the elements they return."""


class Count(NamedTuple):
    """`per_sample` is None, with a `reason`, if it cannot be counted. `operators`: operators that do work in the
    model's forward (and backward), each at least one launch. `depends_on_data`: counted on a real batch. For bytes,
    `read_share` is the share that is read, and `streamed` the bytes per sample that must pass through memory at least.
    """

    per_sample: float | None
    reason: str | None = None
    operators: int | None = None
    depends_on_data: bool = False
    read_share: float | None = None
    streamed: float | None = None


def count_flops(workload: Any, case: Case) -> Count:
    """FLOPs per sample: of the forward in `infer`, of forward and backward in `train`.

    Counts convolutions, matrix products and attention, with two operations per multiply-add, as torch's FlopCounterMode
    does; not elementwise operators, normalisation or the optimizer.
    """

    def count(model: Supervised, device: torch.device) -> Count:
        from torch.utils.flop_counter import FlopCounterMode

        backward = {torch.ops.aten.convolution_backward: _convolution_backward}
        counter = FlopCounterMode(display=False, custom_mapping=backward)
        _step_on(device, model, case, LEAST_BATCH, torch.float32, counter)
        return Count(float(counter.get_total_flops()) / LEAST_BATCH)

    if case.compress == "int8-dynamic":
        return Count(None, "products of int8 are no floating-point operations")
    return _counted(workload, case, "flops_per_sample", "no operation that torch counts", count)


def count_bytes(workload: Any, case: Case) -> Count:
    """Bytes that all operators of forward (and backward, in `train`) read and write, in the compute dtype.

    Assumes that nothing is fused or cached: an upper bound of the memory traffic, from which fusion shows. The
    optimizer is not counted.
    """

    def count(model: Supervised, device: torch.device) -> Count:
        counter, batch = ByteCounter(last_cache_bytes(torch.device(case.device))), max(case.batch, LEAST_BATCH)
        _step_on(device, model, case, batch, NUMERICS[case.precision].compute, counter)
        return Count(
            float(counter.num_bytes) / batch,
            operators=counter.num_operators,
            read_share=counter.num_read / counter.num_bytes if counter.num_bytes else None,
            streamed=counter.num_streamed / batch,
        )

    if case.compress not in ("none", "prune-50"):
        return Count(None, "the operators of a compressed model read other bytes than those of the plain one")
    return _counted(workload, case, "bytes_per_sample", "no operator moved anything", count)


def work_of_model(workload: Any, case: Case) -> int | None:
    """The work of one step (see `AllThreads.work`) of a fresh model on the meta device. None if it cannot run there, or
    is not `Supervised`.
    """
    if not isinstance(workload, Supervised):
        return None
    threads = AllThreads()
    try:
        _step_on(torch.device("meta"), workload, case, case.batch, torch.float32, threads)
    except Exception:  # noqa: BLE001 - the user's code need not run on tensors without values
        return None
    return threads.work() * (case.accumulate if case.mode == "train" else 1)


def _counted(
    workload: Any, case: Case, method: str, nothing: str, count: Callable[[Supervised, torch.device], Count]
) -> Count:
    own = getattr(workload, method, None)
    if own is None and not isinstance(workload, Supervised):
        return Count(None, f"the workload has no `{method}` method")
    counted = Count(float(own(case))) if own is not None else _counted_on_meta(workload, case, count)
    if counted.per_sample is None or (math.isfinite(counted.per_sample) and counted.per_sample > 0):
        return counted
    return Count(None, f"the count was {counted.per_sample:g}: {nothing}")


def _counted_on_meta(workload: Supervised, case: Case, count: Callable[[Supervised, torch.device], Count]) -> Count:
    """Counts on the case's device, with a real batch, if the model's work depends on values that it reads."""
    try:
        return count(workload, torch.device("meta"))
    except Exception as error:  # noqa: BLE001 - the user's code need not run on tensors without values
        if not workload.reads_values:
            said = in_one_line(error, _MOST_SAID)
            return Count(None, f"torch could not count this model without running it: {said}")
    return count(workload, torch.device(case.device))._replace(depends_on_data=True)


def _step_on(
    device: torch.device,
    workload: Supervised,
    case: Case,
    batch: int,
    dtype: torch.dtype,
    counter: AbstractContextManager[Any],
) -> None:
    """Runs the forward, and in `train` the backward, of a batch; without memory on the meta device."""
    train, on_meta = case.mode == "train", device.type == "meta"
    try:
        with device:
            made = workload.make_model(case)
    except (NotImplementedError, RuntimeError):
        made = workload.make_model(case).to(device)  # regnet's initialisation reads values

    def batch_of(num: int, dtype: torch.dtype) -> Batch:
        if on_meta:
            return workload.blank_batch(case, num, dtype)
        real: Batch = moved(workload.make_batch(case, num, seeded(case.seed)), device)
        return real

    give_lazy_sizes(made, lambda: batch_of(LEAST_BATCH, torch.float32)[0])
    model = cast_floats(made, dtype).train(train)
    switch_off_randomness(model)
    inputs, targets = batch_of(batch, dtype)
    if not on_meta:
        inputs = Cast(dtype, torch.contiguous_format)(inputs)
    with counter, torch.set_grad_enabled(train):
        output = model(inputs)
        loss = workload.loss(output, targets) if train or workload.loss_in_inference else None
        if train:
            assert loss is not None
            loss.backward()  # type: ignore[no-untyped-call]


def _convolution_backward(grad_out_shape: Any, x_shape: Any, w_shape: Any, *rest: Any, **_: Any) -> int:
    """Each of the two gradients (input, weights) costs as much as the forward.

    torch's own formula ignores groups in the weights' gradient: it counts a depthwise convolution once per channel
    (convnext_tiny 8.7 times its forward instead of 3).
    """
    from torch.utils.flop_counter import conv_flop_count

    transposed, output_mask = rest[4], rest[7]
    forward = conv_flop_count(x_shape, w_shape, grad_out_shape, transposed=transposed)
    return int(forward) * (bool(output_mask[0]) + bool(output_mask[1]))


class ByteCounter(OperatorMode):  # type: ignore[no-untyped-call]
    """Sums the sizes of the tensors that operators take and return. Views and bare allocations move nothing.

    `num_streamed`: bytes that must pass through memory even if a cache of `cache_bytes` holds all it can before and
    after each operator: what an operator reads beyond that size, and what it writes beyond it.
    """

    def __init__(self, cache_bytes: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cache_bytes = cache_bytes
        self.num_bytes = self.num_read = self.num_streamed = 0
        self.num_operators = 0

    def call(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        result = func(*args, **kwargs)
        taken, given = _tensors((args, kwargs)), _tensors(result)
        storages = {_storage(tensor) for tensor in taken}
        name, schema = name_of(func), getattr(func, "_schema", None)
        is_mutable = schema is not None and schema.is_mutable
        is_view = not is_mutable and given and all(_storage(tensor) in storages for tensor in given)
        if not is_view and not name.startswith(("empty", "new_empty")):
            self.num_operators += 1
            read, written = _moved(name, taken, given)
            self.num_bytes += read + written
            self.num_read += read
            self.num_streamed += max(0, read - self.cache_bytes) + max(0, written - self.cache_bytes)
        return result


def _tensors(values: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _moved(name: str, taken: list[torch.Tensor], given: list[torch.Tensor]) -> tuple[int, int]:
    """Bytes read and written by one operator."""
    taken = taken[1:] if name in _OVERWRITE else taken
    read, written = sum(map(_num_bytes, taken)), sum(map(_num_bytes, given))
    return (min(read, written + sum(map(_num_bytes, taken[1:]))) if name in _LOOK_UP else read), written


def _num_bytes(tensor: torch.Tensor) -> int:
    """An expanded tensor counts with the memory it has."""
    return min(tensor.numel() * tensor.itemsize, tensor.untyped_storage().nbytes())


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - meta tensors have no address to tell them apart by

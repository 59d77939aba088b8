import weakref

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.suite.model.workload_names import BUILT_IN, OPERATORS
from gpubench.worker import effective_settings
from gpubench.worker.checks import parity
from gpubench.worker.checks.unsupported import unsupported
from gpubench.worker.checks.work_counts import count_bytes, count_flops
from gpubench.worker.workloads.base import Unsupported
from gpubench.worker.workloads.operators.operator import UNKNOWN_CACHE_BYTES, last_cache_bytes, num_sets
from gpubench.worker.workloads.optional_facts import probe, samples_per_step
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.watched_steps import Observer

SMALL_CACHE = 64 * 2**10


@pytest.fixture(autouse=True)
def _small_cache(monkeypatch):
    """Inputs past a cache of 64 KiB, so that tests need few of them."""
    for name in ("arithmetic", "movement"):
        monkeypatch.setattr(f"gpubench.worker.workloads.operators.{name}.last_cache_bytes", lambda _device: SMALL_CACHE)


def case_of(operator, **given):
    return Case.model_validate({"workload": f"operators:{operator}", "mode": "infer", "batch_size": 1, **given})


@pytest.fixture
def made():
    """`made(operator, **settings)` -> (workload, step, case) on the CPU."""
    opened = []

    def build(operator, **given):
        case = case_of(operator, **given)
        effective_settings.apply(case, torch)
        workload = resolve(case.workload)
        opened.append(workload)
        return workload, workload.build(case, "cpu"), case

    yield build
    for workload in opened:
        workload.close()


def counted_flops(step):
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


@pytest.mark.parametrize(
    ("operator", "given"),
    [
        ("matmul", {"shape": "32x48x64"}),
        ("matmul", {"shape": "64", "batch_size": 3}),
        ("matmul", {"shape": "32x48x64", "mode": "train"}),
        ("conv2d", {"shape": "8x12x16x3", "batch_size": 4}),
        ("conv2d", {"shape": "8x12x16x1x2", "batch_size": 4}),
        ("conv2d", {"shape": "8x13x16x5x2", "batch_size": 2, "mode": "train", "memory_format": "NHWC"}),
    ],
)
def test_flops_are_those_that_torch_counts_with_both_gradients_in_training(made, operator, given):
    workload, step, case = made(operator, **given)
    assert count_flops(workload, case).per_sample * samples_per_step(workload, case) == counted_flops(step)


def test_a_training_step_of_an_operator_is_three_times_its_forward():
    forward, train = (
        resolve("operators:conv2d").flops_per_sample(case_of("conv2d", mode=mode)) for mode in ("infer", "train")
    )
    assert train == 3 * forward


def test_bytes_are_what_goes_in_and_out_once():
    matmul, conv = resolve("operators:matmul"), resolve("operators:conv2d")
    assert matmul.bytes_per_sample(case_of("matmul", shape="32x48x64", precision="bf16")) == 2 * (
        32 * 64 + 64 * 48 + 32 * 48
    )
    per_image, weights = 8 * 12**2 + 16 * 12**2, 16 * 8 * 9
    assert conv.bytes_per_sample(case_of("conv2d", shape="8x12x16x3", batch_size=4)) == 4 * (per_image + weights / 4)


@pytest.mark.parametrize(("data_path", "times"), [("resident", 2), ("pinned", 1), ("pageable", 1)])
def test_within_one_memory_every_byte_is_read_and_written_and_over_a_link_it_passes_once(data_path, times):
    case = case_of("copy", shape="256KiB", data_path=data_path)
    assert resolve("operators:copy").bytes_per_sample(case) == times * 256 * 2**10
    assert count_bytes(resolve("operators:copy"), case).per_sample == times * 256 * 2**10


def test_inputs_are_random_and_never_repeat_before_three_caches_are_full(made):
    _, step, _ = made("matmul", shape="64")
    seen = []

    class Inputs(Observer):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket.__name__ == "mm":
                seen.append(args[:2])
            return super().__torch_dispatch__(func, types, args, kwargs)

    with Inputs():
        for _ in range(8):
            step()
    addresses = [left.data_ptr() for left, _ in seen]
    set_bytes = 3 * 64 * 64 * 4
    period = num_sets(set_bytes, SMALL_CACHE)
    assert period * set_bytes >= 3 * SMALL_CACHE
    assert len(set(addresses[:period])) == period
    assert addresses[period] == addresses[0]
    for left, right in seen[:period]:
        for tensor in (left, right):
            assert tensor.count_nonzero() == tensor.numel()
            assert tensor.std().item() == pytest.approx(1.0, abs=0.1)
    assert not torch.equal(seen[0][0], seen[1][0])


def test_large_inputs_still_rotate_over_two_sets():
    assert num_sets(10 * SMALL_CACHE, SMALL_CACHE) == 2
    assert num_sets(SMALL_CACHE // 4, SMALL_CACHE) == 12


def test_all_largest_caches_of_the_cpu_count(tmp_path):
    for cpu, shared in enumerate(("0-1", "0-1", "2-3", "2-3")):
        for index, size in enumerate(("32K", "1024K", "32768K", "odd")):
            folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
            folder.mkdir(parents=True)
            (folder / "size").write_text(size + "\n")
            (folder / "shared_cpu_list").write_text(shared + "\n")
    assert last_cache_bytes(torch.device("cpu"), tmp_path) == 2 * 32 * 2**20
    assert last_cache_bytes(torch.device("cpu"), tmp_path / "none") == UNKNOWN_CACHE_BYTES


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("operator", "given"),
    [("matmul", {"shape": "96x80x64"}), ("conv2d", {"shape": "8x12x16x3", "batch_size": 2, "memory_format": "NHWC"})],
)
def test_the_product_is_the_one_asked_for_and_right(made, operator, given, precision):
    workload, step, case = made(operator, precision=precision, **given)
    facts = probe(workload, case, step)
    assert facts["compute_dtype"] == {"fp32": "float32", "bf16": "bfloat16"}[precision]
    assert not effective_settings.mismatches(case, effective_settings.read_back(case, facts, "cpu"), None)
    assert parity.check(workload, case, "cpu").passed


def test_a_product_in_eight_bits_is_scaled_into_bf16_and_right(made):
    workload, step, case = made("matmul", precision="fp8", shape="96x80x64")
    facts = probe(workload, case, step)
    assert facts["compute_dtype"] == "float8_e4m3fn"
    assert effective_settings.read_back(case, facts, "cpu").precision == "fp8"
    assert step().dtype is torch.bfloat16
    assert parity.check(workload, case, "cpu").passed
    assert workload.bytes_per_sample(case) == 96 * 64 + 64 * 80 + 2 * 96 * 80


def test_eight_bits_are_refused_where_torch_has_no_products_of_them():
    narrow = case_of("matmul", precision="fp8", shape="64x64x24")
    with pytest.raises(Unsupported, match="multiples of 16"):
        resolve(narrow.workload).build(narrow, "cpu")
    for case in (Case(workload="cnn", precision="fp8"), case_of("matmul", precision="fp8", mode="train")):
        assert "give it to `operators:matmul`, with `mode: infer`" in unsupported(case)
    assert "a CPU has none" in unsupported(case_of("matmul", precision="fp8", device="cpu"))


@pytest.mark.parametrize("broken", ["matmul", "conv2d"])
def test_parity_sees_a_product_that_is_computed_in_less(broken, monkeypatch):
    name = {"matmul": "torch.mm", "conv2d": "torch.nn.functional.conv2d"}[broken]
    module, _, function = name.rpartition(".")
    real = getattr(torch if module == "torch" else torch.nn.functional, function)

    def in_less(first, *rest, **kwargs):
        coarse = first.to(torch.bfloat16).to(first.dtype) if first.dtype == torch.float32 else first
        return real(coarse, *rest, **kwargs)

    monkeypatch.setattr(name, in_less)
    case = case_of(broken, shape="64" if broken == "matmul" else "8x12x16x3")
    assert not parity.check(resolve(case.workload), case, "cpu").passed


def test_a_copy_arrives_whole(made):
    workload, step, case = made("copy", shape="100KiB", batch_size=3)
    step()
    assert parity.check(workload, case, "cpu").logits_rel_error == 0.0
    assert samples_per_step(workload, case) == 3


@pytest.mark.parametrize(("operator", "arrays"), [("read", 1), ("write", 1), ("triad", 3)])
def test_a_mix_of_reads_and_writes_moves_its_arrays_once_and_is_right(made, operator, arrays):
    workload, step, case = made(operator, shape="100KiB", batch_size=3)
    step()
    assert workload.bytes_per_sample(case) == arrays * 100 * 2**10
    assert parity.check(workload, case, "cpu").passed
    assert samples_per_step(workload, case) == 3


@pytest.mark.parametrize("operator", ["read", "write", "triad"])
def test_a_pass_that_leaves_out_the_end_of_its_arrays_fails_parity(monkeypatch, operator):
    cls = type(resolve(f"operators:{operator}"))
    whole = cls.one_pass

    def all_but_the_last(*arrays):
        result = whole(*(each[:-1] for each in arrays))
        return result if operator == "read" else arrays[0]

    monkeypatch.setattr(cls, "one_pass", staticmethod(all_but_the_last))
    case = case_of(operator, shape="4KiB")
    assert not parity.check(resolve(case.workload), case, "cpu").passed


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_launch_step_launches_as_often_as_it_says(made, batch_size):
    workload, step, case = made("launch", batch_size=batch_size)
    with Observer() as observer:
        step()
    assert observer.calls["neg_"] == batch_size
    assert samples_per_step(workload, case) == batch_size
    assert parity.check(workload, case, "cpu").passed


def test_health_sees_an_output_that_is_not_finite(made):
    workload, step, _ = made("matmul", shape="16")
    step()
    assert workload.health().finite
    workload._output[0, 0] = float("inf")
    assert not workload.health().finite


@pytest.mark.parametrize(
    ("operator", "given", "reason"),
    [
        ("copy", {"mode": "train"}, "no backward"),
        ("launch", {"mode": "train"}, "no backward"),
        ("matmul", {"precision": "amp-bf16"}, "autocast belongs to a model"),
        ("copy", {"precision": "bf16"}, "has no precision"),
        ("matmul", {"compile": "default"}, "not compiled"),
        ("conv2d", {"accumulate": 2, "mode": "train"}, "no micro-steps"),
        ("matmul", {"timing": "latency"}, "throughput"),
        ("matmul", {"cuda_graph": True}, "fixed addresses"),
        ("copy", {"data_path": "loader"}, "copies start from"),
        ("read", {"data_path": "pinned"}, "stays within the device's memory"),
        ("triad", {"precision": "bf16"}, "has no precision"),
        ("launch", {"shape": "64"}, "has no `shape`"),
    ],
)
def test_settings_that_an_operator_does_not_have_are_refused_with_the_reason(operator, given, reason):
    case = case_of(operator, **given)
    with pytest.raises(Unsupported, match=reason):
        resolve(case.workload).build(case, "cpu")


@pytest.mark.parametrize(
    ("operator", "shape", "meaning"),
    [
        ("matmul", "3x4", "MxNxK"),
        ("matmul", "256MiB", "MxNxK"),
        ("conv2d", "64", "channels x pixels"),
        ("copy", "3x4", "256MiB"),
    ],
)
def test_a_shape_that_cannot_be_read_says_what_one_is(operator, shape, meaning):
    case = case_of(operator, shape=shape)
    with pytest.raises(UsageError) as caught:
        resolve(case.workload).build(case, "cpu")
    assert meaning in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"), [("matmull", "operators:matmul"), ("gather", "matmul, conv2d, copy, read, write, triad, launch")]
)
def test_an_unknown_operator_names_the_nearest(name, hint):
    with pytest.raises(UsageError) as caught:
        resolve(f"operators:{name}")
    assert hint in caught.value.hint


def test_a_captured_step_keeps_the_memory_that_its_graph_writes_to(monkeypatch, captures):
    """The graph knows an address only: memory that was given back would be somebody else's, or nobody's."""
    real, made = torch.ones, []

    def ones(*sizes, **given):
        tensor = real(*sizes, **given)
        made.append(weakref.ref(tensor))
        return tensor

    monkeypatch.setattr(torch, "ones", ones)
    case = case_of("launch", cuda_graph=True, batch_size=3)
    step = resolve(case.workload).build(case, "cpu")
    assert made[0]() is not None
    assert step() is made[0]()
    assert len(captures.replayed) == 1


def test_a_suite_file_may_name_every_operator_and_every_workload_with_a_bare_name():
    for name in OPERATORS:
        assert resolve(f"operators:{name}").name == name
    for name in BUILT_IN:
        assert callable(resolve(name).build)

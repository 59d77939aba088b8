import pytest

from gpubench.suite.model.case import Case
from gpubench.worker.checks.work_counts import Count, count_flops
from gpubench.worker.workloads.registry import resolve


def per_sample(name, **settings):
    return count_flops(resolve(name), Case(workload=name, **settings)).per_sample


def test_the_reference_cnn_counts_what_arithmetic_says():
    conv1 = 2 * 28 * 28 * 16 * 3 * 9
    conv2 = 2 * 14 * 14 * 32 * 16 * 9
    linear = 2 * 1568 * 10
    assert per_sample("cnn", mode="infer") == conv1 + conv2 + linear
    assert per_sample("cnn", mode="train") == 3 * (conv1 + conv2 + linear) - conv1  # images need no gradient


def test_resnet50_at_224_px_counts_24_3_gflop_in_training():
    train, infer = (per_sample("torchvision:resnet50", mode=mode) for mode in ("train", "infer"))
    assert train == pytest.approx(24.3e9, rel=0.01)
    assert infer == pytest.approx(train / 3, rel=0.01)


def test_the_gradient_of_a_depthwise_convolution_costs_what_its_forward_does():
    train, infer = (per_sample("torchvision:mobilenet_v3_large", mode=mode) for mode in ("train", "infer"))
    assert train == pytest.approx(3 * infer, rel=0.02)


def test_a_model_that_reads_its_values_when_it_is_made_is_counted_too():
    assert per_sample("torchvision:regnet_y_400mf", mode="infer") == pytest.approx(2 * 0.402e9, rel=0.01)


def test_the_count_does_not_depend_on_batch_size_precision_or_layout():
    plain = per_sample("cnn")
    assert plain == per_sample("cnn", batch_size=1, precision="bf16", memory_format="channels_last", accumulate=4)


class Own:
    def build(self, case, device):
        return lambda: None


class Counted(Own):
    def flops_per_sample(self, case):
        return 3.0 * case.batch_size


class Nothing(Own):
    def flops_per_sample(self, case):
        return 0.0


def test_a_custom_workload_says_its_own():
    assert count_flops(Counted(), Case(batch_size=2)) == Count(6.0)


def test_what_cannot_be_counted_is_none_with_its_reason():
    assert count_flops(Own(), Case()) == Count(None, "the workload has no `flops_per_sample` method")
    assert count_flops(Nothing(), Case()).per_sample is None

import pytest

from gpubench.analysis.summary.datasheet import _CARDS, lookup


def test_a_card_is_found_by_its_exact_product_name_alone():
    sheet = lookup("NVIDIA H100 80GB HBM3")
    assert sheet.flops["bf16"] == pytest.approx(989.4e12)
    assert sheet.memory == 3350e9
    for name in ("H100", "NVIDIA H100", "nvidia h100 80gb hbm3", "NVIDIA H100 80GB HBM3 ", "NVIDIA H100 80GB HBM2e"):
        assert lookup(name) is None


def test_boards_of_one_chip_have_figures_of_their_own():
    assert lookup("NVIDIA H100 PCIe").flops["bf16"] < lookup("NVIDIA H100 80GB HBM3").flops["bf16"]
    assert lookup("NVIDIA A100-SXM4-40GB").memory < lookup("NVIDIA A100-SXM4-80GB").memory


@pytest.mark.parametrize("name", sorted(_CARDS))
def test_every_entry_names_its_source_and_date_and_is_dense(name):
    sheet = lookup(name)
    assert sheet.source
    year, month = map(int, sheet.dated.split("-"))
    assert 2017 <= year <= 2026
    assert 1 <= month <= 12
    assert 100e9 < sheet.memory < 10e12
    assert 5e12 < sheet.flops["fp32"] <= sheet.flops["fp16"] < 3e15
    # Dense half precision is at most twice TF32 on tensor cores of every generation that has TF32; with sparsity it is
    # four times.
    if "tf32" in sheet.flops:
        assert sheet.flops["fp16"] / sheet.flops["tf32"] == pytest.approx(2.0, rel=0.02)


def test_a_precision_that_a_card_does_not_have_is_not_in_its_sheet():
    assert set(lookup("Tesla V100-SXM2-32GB").flops) == {"fp32", "fp16"}

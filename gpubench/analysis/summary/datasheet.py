"""Vendors' figures of their cards, shown next to measured ones and never used instead.

A card is found by its exact product name as reported by the driver: a name that merely contains another (`NVIDIA H100`)
is a different board with other clocks, power and memory. A card not listed has no datasheet.
"""

from typing import NamedTuple

TERA = 1e12
GIGA = 1e9


class Datasheet(NamedTuple):
    """Dense peaks (without sparsity) at boost clock: FLOP/s per precision, and `memory` in bytes/s.

    `flops` lacks precisions that the card does not support. `source` is the document, `dated` its year and month.
    """

    flops: dict[str, float]
    memory: float
    source: str
    dated: str


def lookup(product_name: str) -> Datasheet | None:
    """The datasheet of exactly this product; None if there is none."""
    return _CARDS.get(product_name)


def _card(
    source: str, dated: str, *, fp32: float, half: float, memory: float, tf32: float | None = None, bf16: bool = True
) -> Datasheet:
    """From TFLOP/s and GB/s. `half` is fp16, and bf16 if the card has it, with fp32 accumulation."""
    flops = {"fp32": fp32, "fp16": half} | ({"bf16": half} if bf16 else {}) | ({} if tf32 is None else {"tf32": tf32})
    return Datasheet({name: value * TERA for name, value in flops.items()}, memory * GIGA, source, dated)


_H100 = "NVIDIA H100 Tensor Core GPU Architecture (whitepaper), table of H100 peaks; H100 datasheet"
_H100_NVL = "NVIDIA H100 Tensor Core GPU datasheet, figures with sparsity halved"
_H200 = "NVIDIA H200 Tensor Core GPU datasheet, figures with sparsity halved"
_A100 = "NVIDIA A100 Tensor Core GPU datasheet"
_V100 = "NVIDIA Tesla V100 GPU Accelerator datasheet"
_ADA_DATA_CENTER = "datasheet, figures with sparsity halved"
_GA102 = "NVIDIA Ampere GA102 GPU Architecture (whitepaper)"
_AD102 = "NVIDIA Ada GPU Architecture (whitepaper)"

_CARDS: dict[str, Datasheet] = {
    "NVIDIA H100 80GB HBM3": _card(_H100, "2023-03", fp32=66.9, tf32=494.7, half=989.4, memory=3350),
    "NVIDIA H100 PCIe": _card(_H100, "2023-03", fp32=51.2, tf32=378.0, half=756.0, memory=2000),
    "NVIDIA H100 NVL": _card(_H100_NVL, "2024-10", fp32=60.0, tf32=417.5, half=835.5, memory=3900),
    "NVIDIA H200": _card(_H200, "2024-11", fp32=67.0, tf32=494.5, half=989.5, memory=4800),
    "NVIDIA H200 NVL": _card(_H200, "2024-11", fp32=60.0, tf32=417.5, half=835.5, memory=4800),
    "NVIDIA A100-SXM4-40GB": _card(_A100, "2021-06", fp32=19.5, tf32=156.0, half=312.0, memory=1555),
    "NVIDIA A100-SXM4-80GB": _card(_A100, "2021-06", fp32=19.5, tf32=156.0, half=312.0, memory=2039),
    "NVIDIA A100-PCIE-40GB": _card(_A100, "2021-06", fp32=19.5, tf32=156.0, half=312.0, memory=1555),
    "NVIDIA A100 80GB PCIe": _card(_A100, "2021-06", fp32=19.5, tf32=156.0, half=312.0, memory=1935),
    "NVIDIA A30": _card(
        "NVIDIA A30 Tensor Core GPU datasheet", "2021-04", fp32=10.3, tf32=82.0, half=165.0, memory=933
    ),
    "NVIDIA A40": _card("NVIDIA A40 datasheet", "2021-04", fp32=37.4, tf32=74.8, half=149.7, memory=696),
    "NVIDIA A10": _card(
        "NVIDIA A10 Tensor Core GPU datasheet", "2021-04", fp32=31.2, tf32=62.5, half=125.0, memory=600
    ),
    "NVIDIA L40S": _card(f"NVIDIA L40S {_ADA_DATA_CENTER}", "2023-08", fp32=91.6, tf32=183.0, half=362.0, memory=864),
    "NVIDIA L4": _card(f"NVIDIA L4 {_ADA_DATA_CENTER}", "2023-03", fp32=30.3, tf32=60.0, half=121.0, memory=300),
    "NVIDIA GeForce RTX 3090": _card(_GA102, "2020-09", fp32=35.6, tf32=35.6, half=71.0, memory=936),
    "NVIDIA GeForce RTX 4090": _card(_AD102, "2022-09", fp32=82.6, tf32=82.6, half=165.2, memory=1008),
    "Tesla V100-SXM2-16GB": _card(_V100, "2018-03", fp32=15.7, half=125.0, memory=900, bf16=False),
    "Tesla V100-SXM2-32GB": _card(_V100, "2018-03", fp32=15.7, half=125.0, memory=900, bf16=False),
    "Tesla V100-PCIE-16GB": _card(_V100, "2018-03", fp32=14.0, half=112.0, memory=900, bf16=False),
    "Tesla V100-PCIE-32GB": _card(_V100, "2018-03", fp32=14.0, half=112.0, memory=900, bf16=False),
    "Tesla T4": _card("NVIDIA T4 Tensor Core GPU datasheet", "2019-03", fp32=8.1, half=65.0, memory=320, bf16=False),
}

"""Achieved arithmetic and bandwidth, and their share of a measured peak."""

from collections.abc import Mapping

from gpubench.core.records import Estimate


def achieved_flops(metrics: Mapping[str, Estimate]) -> Estimate | None:
    """FLOP/s: FLOPs per sample times samples/s. None if either is unknown.

    FLOPs as FlopCounterMode counts them (a multiply-add is two): matrix and convolution work counts, element-wise work
    does not. The interval is that of the throughput: the count is exact.
    """
    if "achieved_flops" in metrics:
        return metrics["achieved_flops"]
    flops, rate = metrics.get("flops_per_sample"), metrics.get("throughput")
    if flops is None or rate is None or flops.value <= 0:
        return None
    return scaled(rate, flops.value, "FLOP/s")


def achieved_bandwidth(metrics: Mapping[str, Estimate]) -> Estimate | None:
    """Bytes/s: bytes per sample times samples/s. None if either is unknown. The count is exact, as for FLOPs."""
    moved, rate = metrics.get("bytes_per_sample"), metrics.get("throughput")
    if moved is None or rate is None or moved.value <= 0:
        return None
    return scaled(rate, moved.value, "B/s")


def mfu(achieved: Estimate | None, measured_peak_flops: float | None) -> Estimate | None:
    """Model FLOPs utilisation: achieved over the peak *measured* on this device at this precision, in [0, 1].

    None without a measured peak. A peak looked up by the device's name is never used: boost clocks, power caps and
    parts sold under one name differ by more than the share that people compare.
    """
    if achieved is None or measured_peak_flops is None or measured_peak_flops <= 0:
        return None
    return scaled(achieved, 1 / measured_peak_flops, "1")


def scaled(estimate: Estimate, factor: float, unit: str) -> Estimate:
    """The estimate in another unit, by an exact positive factor."""
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    return estimate.model_copy(update={"value": estimate.value * factor, "low": low, "high": high, "unit": unit})

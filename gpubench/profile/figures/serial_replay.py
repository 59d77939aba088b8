"""What a tool can say that runs kernels one by one, and again for each group of counters: lengths, not when things
were.
"""

from gpubench.profile.figures.summary_model import DeviceSummary

ONE_BY_ONE = "kernels ran one by one, so nothing is known of time on the host, overlap and idle time"
_UNSEEN = "ncu sees kernels only"


def without_timeline(device: DeviceSummary) -> DeviceSummary:
    """The device's figures without those that order and distance in time went into."""
    lost = ("idle", "idle_reasons", "largest_gap_ns", "cpu_ns", "gpu_span_ns")
    return device.model_copy(
        update={
            "window_ns": device.busy_ns,
            "idle": None,
            "idle_reasons": None,
            "bound": None,
            "bound_statement": f"{ONE_BY_ONE}.",
            "largest_gap_ns": None,
            "copies": {},
            "phases": tuple(each.model_copy(update={"cpu_ns": None, "gpu_span_ns": None}) for each in device.phases),
            "absent": {**device.absent, **dict.fromkeys(lost, ONE_BY_ONE), "copies": _UNSEEN, "memsets": _UNSEEN},
        }
    )

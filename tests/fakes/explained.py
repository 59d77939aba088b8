"""An answer of `--why`, made up."""

from gpubench.core.records import Estimate
from gpubench.profile.figures.explain_change import ChangeExplained, Part


def explained(**kept) -> ChangeExplained:
    share = Estimate(value=0.1, low=0.09, high=0.11, n=12, unit="1")
    none = Estimate(value=0.0, low=-0.01, high=0.01, n=12, unit="1")
    part = Part(
        phase="forward", kind="changed", before="aten::relu", after="aten::gelu", change=share, calls=(3.0, 3.0)
    )
    fields = {
        "reference": "base",
        "candidate": "head",
        "turns": 12,
        "steps": 9,
        "one_process": True,
        "on_device": False,
        "step_time_s": (0.01, 0.011),
        **dict.fromkeys(("change", "seen", "profiled"), share),
        "phases": {"forward": share, "backward": none},
        "parts": (part,),
        "rest": none,
        "explained": 1.0,
    }
    return ChangeExplained(**{**fields, **kept})

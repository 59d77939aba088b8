"""A dot per launch, for charts that compare cases."""

from gpubench.analysis.summary.case_summary import CaseSummary

LAUNCH = "launch"
"""The standing of a mark for a single launch, drawn small."""

DOTS = "Small dots are single launches."


def launch_dots(entry: CaseSummary, metric: str, factor: float = 1.0) -> list[tuple[str, float]]:
    """(`launch 2`, value) of each launch; empty for a single launch, which is the figure itself."""
    found = entry.launch_values(metric)
    return [(f"launch {repeat}", value * factor) for repeat, value in found.items()] if len(found) > 1 else []

"""A dot per launch, as charts that compare cases have them."""

from gpubench.analysis.summary.case_summary import CaseSummary

LAUNCH = "launch"
"""The standing of a mark that is one launch, not a figure of a case: drawn small."""

DOTS = "Small dots are single launches."


def launch_dots(entry: CaseSummary, metric: str, factor: float = 1.0) -> list[tuple[str, float]]:
    """(`launch 2`, value) of each launch; none where there is a single one, which is the figure itself."""
    found = entry.launch_values(metric)
    return [(f"launch {repeat}", value * factor) for repeat, value in found.items()] if len(found) > 1 else []

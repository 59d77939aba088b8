"""gpubench held against itself: `python -m gpubench.tools.selfcheck statistics` simulates what the verdicts promise."""

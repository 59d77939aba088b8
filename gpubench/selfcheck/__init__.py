"""gpubench held against itself: `python -m gpubench.selfcheck statistics` simulates what the verdicts promise."""

"""Checks of gpubench's own claims: `python -m gpubench.tools.selfcheck statistics` simulates its verdicts."""

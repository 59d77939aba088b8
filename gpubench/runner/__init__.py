"""Runs a suite: `run.start` is the entry (`run.resume` goes on with a stored run, `run.preview` only plans).

`plan.py` decides what this machine can run, `schedule.py` in which order, `rounds.py` does it. `launch/` is one launch,
from a job on a worker host to its record; `arms/` are the sides of an A/B. `events.py` is what a listener hears.
"""

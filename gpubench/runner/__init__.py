"""Runs a suite: `run.start` is the entry point (`run.resume` continues a stored run, `run.preview` only plans).

`plan.py` decides what this machine can run, `schedule.py` in which order, and `rounds.py` runs it. `launch/` is one
launch, from a job on a worker host to its record; `arms/` the sides of an A/B; `events.py` the events a listener
receives.
"""

"""A suite of one short case, whose workload is filled in: `SUITE % "workloads:Slowable"`."""

SUITE = """\
schema: 1
name: arms
defaults: {workload: "%s", batch_size: 8}
measure: {min_time: 0.1s, max_time: 0.4s, min_steps: 20, target_rel_ci: 10%%, parity: false, telemetry: "off", repeats: 1}
"""

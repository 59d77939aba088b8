"""`gpubench profile`: from a case, or an existing trace, to where the time of a step goes.

`capture` runs a case under nsys, ncu or torch.profiler (`capture_case`), without secrets and out of sight of other
processes. `traces` reads what a profiler wrote into one form (`trace.Trace`). `figures` turns that into a
`ProfileSummary` (`summarize`), the content of `profile.json`. `summary_model` finds those of a run.
"""

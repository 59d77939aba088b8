"""`gpubench profile`: where the time of a step goes, from a case or an existing trace.

`capture` runs a case under nsys, ncu or torch.profiler (`capture_case`), without secrets and without a view of other
processes. `traces` reads any profiler's output into one form (`trace.Trace`). `figures` turns that into a
`ProfileSummary` (`summarize`), the content of `profile.json`; `summary_model` finds those of a run.
"""

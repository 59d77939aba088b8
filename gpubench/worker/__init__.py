"""Runs one job at a time in its own process, and measures it. The path of a job:

1. `process/host.py` imports torch once, makes no CUDA call, and forks a child for each job that it is sent
   (`process/spawn.py`; a fresh interpreter where it cannot fork). `process/child.py` runs the job and sends messages
   through `process/channel.py`: phases, progress, and in the end one `Result` or `Failed` (`failures.py`).
2. `measure_case.py` is one measurement from context to result; `ab/` measures arms in alternating blocks, `quality/`
   trains to an accuracy, `batch_search/` finds the largest batch, and `profiling/` runs steps for a profiler.
3. `effective_settings.py` applies what a case asks for and reads back what took effect; `checks/` judges that, and
   whether the steps did their work.
4. `workloads/` makes the step. `timing/` times it: first steps, timers, the loop until the median is known, memory, and
   from there the figures of the launch.
5. `accelerator.py` is the device; no other file here makes a CUDA call.
"""

from gpubench.worker.process.host import why_not_fork


def test_profilers_are_known_by_what_they_set():
    assert why_not_fork({}) is None
    assert "NSYS_PROFILING_SESSION_ID" in why_not_fork({"NSYS_PROFILING_SESSION_ID": "1"})

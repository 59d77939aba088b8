"""`python -m gpubench.worker --socket-fd N`: a host for the parent at the other end of the socket pair.

A host that cannot fork starts processes for jobs with `--child`. Neither is meant to be typed.
"""

import argparse
import os
import sys


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m gpubench.worker", description=__doc__, allow_abbrev=False)
    parser.add_argument("--socket-fd", type=int, help="the host's end of the parent's socket pair")
    parser.add_argument("--modules", nargs="*", default=[], metavar="MODULE", help="imported before the first job")
    parser.add_argument("--child", action="store_true", help="run one job in this process")
    parser.add_argument("--job-fd", type=int, help="pipe that holds the job (--child)")
    parser.add_argument("--message-fd", type=int, help="pipe for the child's messages (--child)")
    parser.add_argument("--parent", type=int, help="process id of the host (--child)")
    parser.add_argument("--reason", default="", help="why the host did not fork (--child)")
    options = parser.parse_args(arguments)
    del sys.argv[1:]  # a workload that reads its own options when it is imported finds none
    if options.child:
        return _child(options)
    if options.socket_fd is None:
        parser.error("--socket-fd is missing: this program is started by `gpubench run`")
    from gpubench.worker.process import host

    status = host.main(options.socket_fd, options.modules)
    # All work is done. Tearing torch down would take a second, and complain about frozen objects.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _child(options: argparse.Namespace) -> int:
    from gpubench.protocol.messages import Job, decode
    from gpubench.worker import process_lifetime

    process_lifetime.die_with(options.parent)
    with os.fdopen(options.job_fd, "rb") as pipe:
        job = decode(pipe.read())
    if not isinstance(job, Job):
        raise ValueError(f"expected a job, got {type(job).__name__}")
    from gpubench.worker.process import child

    child.main(job, options.message_fd, no_fork=options.reason)
    return 0


if __name__ == "__main__":
    sys.exit(main())

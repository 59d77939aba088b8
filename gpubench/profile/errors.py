"""What goes wrong with a profiler or with its file."""

from gpubench.core.errors import ExitStatus, GpubenchError, UsageError


class TraceError(UsageError):
    """A trace that cannot be read: not there, not a trace, damaged, or of a version that this machine cannot export."""


class ToolAbsentError(UsageError):
    """A profiler was asked for and none was found, or the one found lacks an option that is needed."""


class SessionError(GpubenchError):
    """The profiler ran and left no usable trace. The message says which of the known ways of failing it was."""

    exit_status = ExitStatus.CASE_FAILED

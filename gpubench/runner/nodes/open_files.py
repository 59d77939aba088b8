"""The limit on open files: a run holds one connection to each of its agents."""

import resource

from gpubench.core.errors import UsageError

_OTHERS = 100
"""Descriptors for all else that a run has open."""


def make_room(num_agents: int) -> None:
    """Raises this process's soft limit on open files if so many connections need it. UsageError if the hard limit,
    which only the system's administrator raises, is too low.
    """
    needed = num_agents + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or needed <= soft:
        return
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise UsageError(
            f"{num_agents} agents need {needed} open files, of which this process may have {hard}",
            hint="Raise the hard limit (`ulimit -Hn` shows it): `nofile` in /etc/security/limits.conf, LimitNOFILE= of "
            "a systemd unit, or --ulimit nofile= of a container.",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

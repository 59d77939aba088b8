"""The child's end of its message pipe."""

import errno
import os
import select
import signal

from gpubench.protocol.messages import Message, encode


class Channel:
    """Writes whole messages to a file descriptor, waiting if the reader is behind.

    If the parent has exited there is nothing left to report to. That is not an error: `closed` becomes true, nothing
    more is written, and the process is ended from outside.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.closed = False
        os.set_blocking(fd, True)
        os.set_inheritable(fd, False)
        # A broken pipe must be an error of `write`, because the signal would end the process in the middle of a step.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def send(self, message: Message) -> None:
        """Writes one line. OSError unless the reader is gone."""
        self._write(encode(message))

    def offer(self, message: Message) -> bool:
        """Writes a short message if that needs no waiting, and returns whether it did. For messages that may be
        lost.
        """
        line = encode(message)
        if self.closed or len(line) > select.PIPE_BUF:
            return False
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)  # for a pipe this means that PIPE_BUF bytes fit without waiting
        if not any(events & select.POLLOUT for _, events in poll.poll(0)):
            return False
        self._write(line)
        return not self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.fd)

    def _write(self, line: bytes) -> None:
        view = memoryview(line)
        while view and not self.closed:
            try:
                view = view[os.write(self.fd, view) :]
            except OSError as error:
                if error.errno not in (errno.EPIPE, errno.EBADF):
                    raise
                self.closed = True

import contextlib
import os
import threading

import pytest

from gpubench.protocol.messages import MAX_LINE_BYTES, LineBuffer, Progress, Result, decode
from gpubench.worker.process.channel import Channel


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    channel = Channel(writer)
    yield channel, reader
    channel.close()
    for fd in (reader,):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_lines_come_out_whole_whatever_the_chunks():
    lines = LineBuffer()
    assert lines.feed(b'{"a') == []
    assert lines.feed(b'": 1}\n{"b": 2}\n{"c') == [b'{"a": 1}', b'{"b": 2}']
    assert lines.feed(b"") == []
    assert lines.rest == b'{"c'
    assert lines.feed(b"\n") == [b'{"c']
    assert lines.rest == b""


def test_a_line_without_end_is_refused():
    lines = LineBuffer()
    lines._num_bytes = MAX_LINE_BYTES
    with pytest.raises(ValueError, match="longer than"):
        lines.feed(b"x")


def test_a_message_larger_than_the_pipe_arrives_whole(pipe):
    channel, reader = pipe
    sent = Result(step_times_s=tuple(i * 1e-6 for i in range(50_000)))
    writer = threading.Thread(target=lambda: (channel.send(sent), channel.close()))
    writer.start()
    with os.fdopen(os.dup(reader), "rb") as stream:
        received = [decode(line) for line in stream]
    writer.join()
    assert received == [sent]


def test_a_reader_that_is_gone_is_no_error(pipe):
    channel, reader = pipe
    os.close(reader)
    channel.send(Progress(num_steps=1))
    assert channel.closed
    channel.send(Progress(num_steps=2))
    assert channel.offer(Progress(num_steps=3)) is False


def test_news_is_dropped_and_never_torn_where_the_reader_is_behind(pipe):
    channel, reader = pipe
    num_sent = 0
    while channel.offer(Progress(num_steps=num_sent)):
        num_sent += 1
    lines = LineBuffer().feed(os.read(reader, 2**20))
    assert len(lines) == num_sent > 100
    assert [decode(line).num_steps for line in lines] == list(range(num_sent))


def test_what_is_too_long_to_be_atomic_is_not_offered(pipe):
    channel, _ = pipe
    assert channel.offer(Result(step_times_s=(1.0,) * 5000)) is False


def test_a_program_that_is_started_does_not_inherit_the_pipe(pipe):
    assert os.get_inheritable(pipe[0].fd) is False

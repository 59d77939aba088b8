"""Lines out of a stream of bytes, for both ends of the worker's protocol."""

MAX_LINE_BYTES = 256 * 2**20
"""A result with a hundred thousand step times takes about 2 MB; anything longer than this is no message."""


class LineBuffer:
    """Puts lines together from chunks of any size. `rest` is what the stream ended with: a torn message."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._num_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their newlines. ValueError for a line longer than 256 MiB."""
        *complete, last = chunk.split(b"\n")
        lines = []
        for piece in complete:
            lines.append(b"".join((*self._chunks, piece)))
            self._chunks.clear()
            self._num_bytes = 0
        if last:
            self._chunks.append(last)
            self._num_bytes += len(last)
        if self._num_bytes > MAX_LINE_BYTES:
            raise ValueError(f"a message is longer than {MAX_LINE_BYTES} bytes")
        return lines

    @property
    def rest(self) -> bytes:
        return b"".join(self._chunks)

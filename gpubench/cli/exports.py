"""Sends runs to the sinks that the user named."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpubench.cli.print_errors import say
from gpubench.core.errors import GpubenchError

if TYPE_CHECKING:
    from gpubench.report.sinks.exported_run import ExportedRun
    from gpubench.report.sinks.sink import Sink


def checked_sinks(texts: Sequence[str]) -> "tuple[Sink, ...]":
    """The sinks with these names. UsageError or StoreError if one cannot work; loads nothing if there are none."""
    if not texts:
        return ()
    from gpubench.report.sinks.sink import parse_sink

    sinks = tuple(parse_sink(text) for text in dict.fromkeys(texts))
    for sink in sinks:
        sink.check()
    return sinks


def export_to(sinks: "Sequence[Sink]", run: "ExportedRun") -> tuple[str, ...]:
    """Sends the run to every sink and returns where it went, without the sinks that failed; prints why they did."""
    sent = []
    for sink in sinks:
        try:
            sent.append(sink.send(run))
        except GpubenchError as error:
            say(f"error: not exported to {sink.text}: {error}")
            if error.hint:
                say(f"hint: {error.hint}")
    return tuple(sent)

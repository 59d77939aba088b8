"""Terms that readers of a report may not know: explained at its end, and linked from their first use."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from gpubench.report.model.report_model import Fact, Line, ReportModel, Section, Span, line, plain

TERMS = {
    "A/A": (
        r"A/A|against itself",
        "A case compared with itself. How far it is from itself is the machine's own error.",
    ),
    "amp": (r"amp-(?:bf16|fp16)", "Automatic mixed precision: autocast runs what it safely can in 16 bits."),
    "arm": (r"arms?", "One side of an A/B comparison inside a run: a revision, an interpreter or an environment."),
    "autotuning": (r"bench|heur\.", "How cuDNN picks an algorithm: `heur.` by a heuristic, `bench` by trying several."),
    "BLEU": (r"BLEU", "Overlap of a translation with the true one in runs of one to four words, 0 to 100."),
    "baseline": (r"baseline", "What speed-ups are stated against: the suite names it."),
    "bf16": (r"bf16", "16-bit floating point with the range of fp32 and 8 bits of precision."),
    "case": (r"cases?", "One workload with one value of every setting: what is measured."),
    "ceiling": (
        r"ceilings?",
        "The highest FLOP/s or bytes/s that operators reached on this device.",
    ),
    "contest": (
        r"took turns|contests?",
        "Cases that take turns in one process, so that the machine's state hits all alike: ratios come from there.",
    ),
    "finding": (r"findings?", "Something that the run noticed and that bears on a figure, with a code such as GB204."),
    "EER": (r"EER", "Equal error rate: of verification, where as many pairs are wrongly accepted as wrongly rejected."),
    "fp32": (r"fp32", "32-bit floating point without TF32."),
    "frontier": (r"frontier", "The cases that no other beats in both speed and energy."),
    "gate": (r"gates?", "A limit in the suite on how much worse a figure may get."),
    "geometric mean": (r"geometric means?", "The average of ratios: twice and half as fast average to the same speed."),
    "half-width": (r"half-width|±", "Half the length of an interval: `100 ±2%` is 98 to 102."),
    "interval": (
        r"(?:95 % )?intervals?",
        "A range that holds the true value in 95 % of such experiments; it includes what differs between processes.",
    ),
    "latency": (r"latency", "The time of one request, synchronised with the device before the next begins."),
    "launch": (r"launch(?:es)?", "One measurement of a case in a fresh process. The unit of replication."),
    "mAP": (
        r"mAP(?:50)?",
        "Mean average precision of detected boxes, over overlaps (IoU) of 0.5 to 0.95; mAP50: at 0.5.",
    ),
    "mIoU": (r"mIoU", "Intersection over union of found and true pixels, the mean over classes."),
    "MFU": (r"MFU", "Model FLOPs utilisation: FLOP/s of the model over what the device reached at that precision."),
    "money": (
        r"per money|money/M",
        "The price of the machine's time as `--price` gave it, in whatever currency; a case costs it while it runs.",
    ),
    "NHWC": (r"NHWC|NCHW", "The order of an image's dimensions in memory; NHWC is `channels_last`."),
    "NVTX": (r"NVTX", "Named ranges in a program that NVIDIA's profilers show."),
    "OOM": (r"OOM|oom|out of memory", "Out of memory: the batch does not fit. A result, not a crash."),
    "p95": (r"p(?:50|90|95|99)", "The time that 95 % of steps stay below; p50 is the median."),
    "parity": (
        r"[Pp]arity",
        "Whether outputs and gradients agree with those in fp64, within a limit per precision.",
    ),
    "round": (r"rounds?", "One launch of every case or arm, in random order."),
    "steady": (r"[Ss]tead(?:y|iest|iness)", "After warm-up: step times show no trend any more. Only those are used."),
    "step": (r"steps?", "One batch through the model: in training forward, backward and optimizer."),
    "tf32": (r"tf32", "fp32 stored, multiplied with 10 bits of precision on tensor cores."),
    "throttled": (r"throttl(?:ed|ing)", "The clock was held down by the power limit or by heat."),
    "throughput": (r"[Tt]hroughput|samples/s", "Samples per step over the median step time."),
    "trivial answer": (
        r"[Tt]rivial(?:ly| answers?)?",
        "What needs no learning, such as copying the input: a trained model should score better.",
    ),
    "two levels": (r"two levels", "Launches fall into two groups with nothing in between."),
    "unclear": (r"unclear", "The data neither show a difference nor rule one out."),
    "warm-up": (r"[Ww]arm-up", "The first steps, slower or irregular; found from the data and left out."),
    "WER": (r"WER", "Word error rate: words to insert, delete or replace over the words that were said."),
    "weakened": (r"weakened", "A finding makes the figure less reliable; it is shown but never called best."),
}
"""By term: the pattern of its forms in a report, and its meaning."""

_PATTERNS = {term: re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])") for term, (pattern, _) in TERMS.items()}
_ANY = re.compile("|".join(f"({pattern.pattern})" for pattern in _PATTERNS.values()))
_LOOKED_AT = 60
"""Rows of a table that are searched for terms; the first ones use the words of all others."""


def term_of(text: str) -> str:
    """The term that `text` is a form of. ValueError for any other text."""
    found = next((term for term, pattern in _PATTERNS.items() if pattern.fullmatch(text)), None)
    if found is None:
        raise ValueError(f"{text!r} is not in the glossary")
    return found


def with_glossary(model: ReportModel) -> ReportModel:
    """The report with a last section that explains the words it uses, and links to it."""
    used = {term for text in _texts(model) for term, pattern in _PATTERNS.items() if pattern.search(text)}
    if not used:
        return model
    facts = tuple(Fact(term, line(TERMS[term][1])) for term in sorted(used, key=str.lower))
    glossary = Section(
        "glossary",
        "Words used here",
        short="Words",
        facts=facts,
        folded=True,
        gist=", ".join(fact.name for fact in facts),
    )
    left = set(used)
    first = tuple(replace(fact, text=_linked(fact.text, left)) for fact in model.first)
    headline = tuple(_linked(said, left) for said in model.headline)
    sections = tuple(_linked_section(section, left) for section in model.sections)
    return replace(model, first=first, headline=headline, sections=(*sections, glossary))


def _texts(model: ReportModel) -> Iterable[str]:
    yield from (plain(fact.text) for fact in model.first)
    yield from map(plain, model.headline)
    for section in model.sections:
        yield section.heading
        yield from map(plain, section.lines)
        yield from (plain(fact.text) for fact in section.facts if section.key != "environment")
        for chart in section.charts:
            yield from (chart.title, chart.reading)
        for table in section.tables:
            yield from (column.title for column in table.columns)
            yield from map(plain, table.notes)
            yield from {cell.text for row in islice(table.rows, _LOOKED_AT) for cell in row.cells}
        for remark in section.remarks:
            yield from (remark.meaning, *remark.remedies, *(message for _, message in remark.examples))


def _linked_section(section: Section, left: set[str]) -> Section:
    said = tuple(_linked(each, left) for each in section.lines)
    tables = tuple(
        replace(table, notes=tuple(_linked(note, left) for note in table.notes)) if table.notes else table
        for table in section.tables
    )
    return replace(section, lines=said, tables=tables)


def _linked(said: Line, left: set[str]) -> Line:
    """The line with a span of its own for the first use of each term that is `left`."""
    spans: list[Span] = []
    for span in said:
        at = 0
        for found in _ANY.finditer(span.text) if span.style == "plain" and "`" not in span.text else ():
            term = term_of(found[0])
            if term in left:
                left.discard(term)
                spans += [Span(span.text[at : found.start()]), Span(found[0], "term")]
                at = found.end()
        spans.append(replace(span, text=span.text[at:]))
    return tuple(span for span in spans if span.text)

"""The report on a terminal. Lines are laid out here; rich only colours and writes them."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.text import Text

from gpubench.report.model.inert_text import inert, inert_lines
from gpubench.report.model.report_model import (
    CasePage,
    Fact,
    Line,
    Remark,
    ReportModel,
    Section,
    Span,
    Style,
    Table,
    Tone,
)
from gpubench.report.model.words import count
from gpubench.report.render.layout import fit_form, header, row_lines

STYLES: dict[Style, str] = {"plain": "", "strong": "bold", "code": "cyan", "muted": "dim", "term": ""}
TONES: dict[Tone, str] = {"plain": "", "good": "green", "warning": "yellow", "bad": "red", "muted": "dim"}
_INDENT = "  "


class TerminalReport:
    """Writes parts of a report to a console.

    `table_width` and `prose_width` in characters; `wide_option` is the option that shows every column.
    """

    def __init__(self, console: Console, table_width: int, prose_width: int, *, wide_option: str = "--wide") -> None:
        self.console = console
        self.table_width = table_width
        self.prose_width = prose_width
        self.wide_option = wide_option
        self.num_lines = 0

    def report(self, model: ReportModel) -> None:
        """Headline and sections."""
        self.heading(model.title)
        self.text(model.subtitle, tone="muted")
        self.headline(model.headline)
        for section in model.sections:
            self.section(section)

    def headline(self, lines: Iterable[Line]) -> None:
        for said in lines:
            self.blank()
            self.text(said)

    def page(self, page: CasePage) -> None:
        """One case in full."""
        for section in page.sections:
            self.section(section)
        if page.text:
            self.blank()
            self.heading("Log")
            for each in inert_lines(page.text).splitlines():
                self.write(Text(_INDENT + each))

    def section(self, section: Section) -> None:
        self.blank()
        self.heading(section.heading)
        for said in section.lines:
            self.text(said, indent=_INDENT)
        self.facts(section.facts)
        for number, table in enumerate(section.tables):
            if number or section.lines or section.facts:
                self.blank()
            self.table(table)
        for number, remark in enumerate(section.remarks):
            if number:
                self.blank()
            self.remark(remark)

    def heading(self, text: str) -> None:
        self.text((Span(text, "strong"),))

    def table(self, table: Table) -> None:
        """Writes a table; columns without room are dropped whole, and named below."""
        if table.title:
            self.write(Text(_INDENT + inert(table.title), style="bold"))
        width = self.table_width - len(_INDENT)
        table, fitted = fit_form(table, width, cell_len)
        self.write(Text(_INDENT + header(table, fitted, cell_len), style="dim"))
        # As segments, because the text is laid out already: thousands of rows are then written at once.
        styles = {tone: self.console.get_style(style) for tone, style in TONES.items()}
        rows = [
            Segment(f"{_INDENT}{each}\n", styles[row.tone])
            for row in table.rows
            for each in row_lines(table, row, fitted, cell_len)
        ]
        self.num_lines += len(rows)
        self.console.print(Segments(rows), soft_wrap=True, end="")
        if fitted.left_out:
            self.text(
                (Span(f"not shown at this width: {', '.join(fitted.left_out)} ({self.wide_option})"),),
                indent=_INDENT,
                tone="muted",
            )
        for note in table.notes:
            self.text(note, indent=_INDENT, tone="muted")

    def facts(self, facts: Sequence[Fact]) -> None:
        size = max((cell_len(inert(fact.name)) for fact in facts), default=0)
        for fact in facts:
            self.text(
                (Span(f"{inert(fact.name):<{size}}  ", "muted"), *fact.text),
                indent=_INDENT,
                hang=_INDENT + " " * (size + 2),
            )

    def remark(self, remark: Remark) -> None:
        """Code and meaning, what it does to the numbers, where it occurred, what to do."""
        tone = remark.tone
        head = f"{remark.mark} {remark.code} {remark.name}, {count(remark.num_cases, 'case')}: {remark.consequence}"
        self.text((Span(head),), indent=_INDENT, hang=_INDENT + "  ", tone=tone)
        self.text((Span(remark.meaning),), indent=_INDENT + "  ")
        for label, message in remark.examples:
            self.text((Span(f"{label}: ", "muted"), Span(message)), indent=_INDENT + "  ", hang=_INDENT + "    ")
        if remark.num_cases > len(remark.examples):
            self.text(
                (Span(f"and {count(remark.num_cases - len(remark.examples), 'more case')}", "muted"),),
                indent=_INDENT + "  ",
            )
        for remedy in remark.remedies:
            self.text((Span("-> "), Span(remedy)), indent=_INDENT + "  ", hang=_INDENT + "     ")

    def text(self, said: Line, *, indent: str = "", hang: str | None = None, tone: Tone = "plain") -> None:
        """Writes a paragraph, wrapped between words; a word longer than a line (a path) stays whole."""
        for each in wrap(said, self.prose_width, indent, indent if hang is None else hang):
            each.style = TONES[tone]
            self.write(each)

    def blank(self) -> None:
        self.write(Text(""))

    def num_lines_of(self, said: Line, *, indent: str, hang: str) -> int:
        """How many lines `text` would write."""
        return len(wrap(said, self.prose_width, indent, hang))

    def write(self, text: Text) -> None:
        self.num_lines += 1
        self.console.print(text, soft_wrap=True)


def wrap(said: Line, width: int, indent: str, hang: str) -> list[Text]:
    """Spans as styled lines of at most `width` columns."""
    # Words with the space before them, so that joining them restores the text.
    words = [
        (f" {word}" if number else word, STYLES[span.style])
        for span in said
        for number, word in enumerate(inert(span.text).split(" "))
    ]
    lines = [Text(indent)]
    used = cell_len(indent)
    for word, style in words:
        if used + len(word.rstrip()) > width and used > cell_len(hang) and word.strip():
            lines[-1].rstrip()
            lines.append(Text(hang))
            used = cell_len(hang)
            word = word.lstrip()
        lines[-1].append(word, style)
        used += cell_len(word)
    lines[-1].rstrip()
    return lines

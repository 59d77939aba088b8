"""Single cases as data for the table of the HTML report: every text once, cells as numbers that point to it."""

from collections.abc import Sequence
from typing import Any

from gpubench.report.model.inert_text import inert, inert_lines
from gpubench.report.model.report_model import CasePage, Column, Fact, Line, Remark, Section, Table


class Words:
    """Texts in the order first met, each once."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.texts.setdefault(inert(text), len(self.texts))

    def block(self, text: str) -> int:
        """Text of several lines."""
        return self.texts.setdefault(inert_lines(text), len(self.texts))


def pages_data(pages: Sequence[CasePage]) -> dict[str, Any]:
    """`words`, `heads` (columns of tables, each once) and `cases` by number. `report.js` reads it; nothing else does."""
    words, heads = Words(), Words()
    cases = {str(page.index): _page(page, words, heads) for page in pages}
    return {"words": list(words.texts), "heads": [head.split("\n") for head in heads.texts], "cases": cases}


def _page(page: CasePage, words: Words, heads: Words) -> dict[str, Any]:
    found: dict[str, Any] = {
        "label": words(page.label),
        "sections": [_section(each, words, heads) for each in page.sections],
    }
    return found | ({"log": words.block(page.text)} if page.text else {})


def _section(section: Section, words: Words, heads: Words) -> dict[str, Any]:
    parts = {
        "lines": [_line(each, words) for each in section.lines],
        "facts": [_fact(each, words) for each in section.facts],
        "tables": [_table(each, words, heads) for each in section.tables if each.rows],
        "remarks": [_remark(each, words) for each in section.remarks],
    }
    return {"key": section.key, "head": words(section.heading), **{name: part for name, part in parts.items() if part}}


def _line(said: Line, words: Words) -> list[list[Any]]:
    return [[span.style[0], words(span.text)] for span in said]


def _fact(fact: Fact, words: Words) -> list[Any]:
    return [words(fact.name), _line(fact.text, words)]


def _table(table: Table, words: Words, heads: Words) -> list[Any]:
    """[head, rows]: a head says per column its title, after `>` where it is aligned right and `~` where its text may
    wrap.
    """
    titles = "\n".join(f"{_kind(column)}{inert(column.title)}" for column in table.columns)
    return [heads.block(titles), [[words(cell.full) for cell in row.cells] for row in table.rows]]


def _kind(column: Column) -> str:
    return "~" if column.flexible else ">" if column.align == "right" else "<"


def _remark(remark: Remark, words: Words) -> list[Any]:
    said = [f"{remark.mark} {remark.code} {remark.name}: {remark.consequence}", remark.meaning]
    examples = [words(message) for _, message in remark.examples]
    return [remark.severity[0], *(words(text) for text in said), examples, [words(text) for text in remark.remedies]]

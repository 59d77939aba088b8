"""Colours, by what they mean. A precision has the same colour in every chart, table and report.

Charts are drawn with names (`var(--c-fp32)`): a page defines each name for light and dark mode, and a stand-alone SVG
gets the light colours. The blue, sky, orange and grey, green and purple are those of Okabe and Ito (2008), which people
with any colour vision can tell apart; shapes and labels repeat the information. In dark mode each is lightened to a
contrast of at least 4.5 to 1.
"""

from gpubench.suite.model import precisions
from gpubench.suite.model.precisions import LEGEND_ORDER

PRECISIONS: dict[str, tuple[str, str]] = {word: precisions.PRECISIONS[word].colour for word in LEGEND_ORDER}
"""(on light, on dark)"""

SHAPES = {word: precisions.PRECISIONS[word].mark for word in PRECISIONS}

INK: dict[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#15181c"),
    "ink": ("#1b1f24", "#e6e9ec"),
    "muted": ("#57606a", "#a3acb5"),
    "grid": ("#e4e7ea", "#2e343b"),
    "axis": ("#8c959f", "#6b757f"),
    "good": ("#1a7f37", "#57c77a"),
    "bad": ("#b3261e", "#ff8f87"),
    "warn": ("#8a5a00", "#e9b44c"),
    "accent": ("#0b5cad", "#7bb8f5"),
    "shade": ("#f6d9a8", "#5a4520"),
}


def name(token: str) -> str:
    """The reference to a colour of `INK` in a chart."""
    return f"var(--{token})"


def precision(word: str) -> str:
    """The reference to a precision's colour in a chart; the accent colour for anything else."""
    return f"var(--c-{word})" if word in PRECISIONS else name("accent")


def tokens(*, dark: bool) -> dict[str, str]:
    """Every name with its colour, as declared in a style sheet: `--ink`: `#1b1f24`."""
    at = 1 if dark else 0
    found = {f"--{token}": colours[at] for token, colours in INK.items()}
    return found | {f"--c-{word}": colours[at] for word, colours in PRECISIONS.items()}

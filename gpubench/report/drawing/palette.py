"""Colours, by what they mean. A precision has the same colour in every chart, table and report.

Charts are drawn with names (`var(--c-fp32)`): a page gives each name a colour for light and for dark, and an SVG that
stands alone gets the light ones. The blue, sky, orange and grey, green and purple are those of Okabe and Ito (2008),
which people with every kind of colour vision tell apart; shape and label say the same again. In the dark each is
lightened until it stands out from the background by at least 4.5 to 1.
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
    """How a chart asks for a colour of `INK`."""
    return f"var(--{token})"


def precision(word: str) -> str:
    """How a chart asks for a precision's colour; anything else gets the accent colour."""
    return f"var(--c-{word})" if word in PRECISIONS else name("accent")


def tokens(*, dark: bool) -> dict[str, str]:
    """Every name with its colour, in the form that a style sheet declares: `--ink`: `#1b1f24`."""
    at = 1 if dark else 0
    found = {f"--{token}": colours[at] for token, colours in INK.items()}
    return found | {f"--c-{word}": colours[at] for word, colours in PRECISIONS.items()}

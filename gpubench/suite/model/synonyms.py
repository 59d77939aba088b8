"""Did you mean ...? For words of a suite: names of settings, and their values."""

from collections.abc import Iterable

from gpubench.core.did_you_mean import near
from gpubench.suite.model.case import SPECS

SYNONYMS = {
    **{word: name for name, spec in SPECS.items() for word in spec.synonyms},
    **{word: value for spec in SPECS.values() for word, value in spec.meant.items()},
}
"""What people write for a name or a value."""


def near_word(word: str, known: Iterable[str]) -> str:
    """`did you mean 'memory_format'?` for `layout`; else the nearest of `known`, empty where none is near."""
    return near(word, known, SYNONYMS)

"""Did you mean ...? The known word nearest to an unknown one."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches


def near(word: str, known: Iterable[str], synonyms: Mapping[str, str] | None = None) -> str:
    """`did you mean 'fp16'?` with the nearest of `known`, ignoring case; empty if none is near.

    `synonyms`: words that users write instead of a known one, in lower case.
    """
    by_lower = {each.lower(): each for each in known}
    meant = (synonyms or {}).get(word.lower())
    if meant in by_lower:
        return f"did you mean {meant!r}?"
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[found[0]]!r}?" if found else ""


def near_aside(word: str, known: Iterable[str]) -> str:
    """The same in brackets, to end a sentence: ` (did you mean 'fp16'?)`, or nothing."""
    meant = near(word, known)
    return f" ({meant})" if meant else ""

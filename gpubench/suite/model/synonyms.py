"""Did you mean ...? For words of a suite: names of settings, and their values."""

from collections.abc import Iterable

from gpubench.core.nearest import near
from gpubench.suite.model.precisions import PRECISIONS

SYNONYMS = {
    "gpu": "cuda",
    "training": "train",
    "inference": "infer",
    "eval": "infer",
    "batch": "batch_size",
    "layout": "memory_format",
    "threads": "cpu_threads",
    "workers": "num_workers",
    "lr": "learning_rate",
    **{word: spec.name for spec in PRECISIONS.values() for word in spec.synonyms},
}
"""What people write for a name or a value."""


def near_word(word: str, known: Iterable[str]) -> str:
    """`did you mean 'memory_format'?` for `layout`; else the nearest of `known`, empty where none is near."""
    return near(word, known, SYNONYMS)

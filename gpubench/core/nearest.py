"""Did you mean ...? The nearest of the known words to one that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

_MEANT = {
    "gpu": "cuda",
    "half": "fp16",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "amp": "amp-bf16",
    "training": "train",
    "inference": "infer",
    "eval": "infer",
    "batch": "batch_size",
    "layout": "memory_format",
    "threads": "cpu_threads",
    "workers": "num_workers",
    "lr": "learning_rate",
}


def near(word: str, known: Iterable[str]) -> str:
    """`did you mean 'fp16'?` for the nearest of `known`, whatever its case; empty where none is near."""
    by_lower = {each.lower(): each for each in known}
    if _MEANT.get(word.lower()) in by_lower:
        return f"did you mean {_MEANT[word.lower()]!r}?"
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[found[0]]!r}?" if found else ""

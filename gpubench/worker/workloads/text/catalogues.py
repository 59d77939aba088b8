"""Sentences of programs in English and German, from gettext catalogues installed on this machine.

This is real parallel text without a download: the catalogues of Django (BSD, in the extra `text`) and of the system's
programs. They are read, never shipped, because most are GPL or LGPL. They differ between machines, so scores are
comparable only if the digests agree.
"""

import gettext
import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubench.worker.workloads.base import Missing

LANGUAGE = "de"
SYSTEM_ROOT = Path("/usr/share/locale")
LEAST_PAIRS = 5_000
INSTALL = "apt-get install git gnupg-l10n iso-codes krb5-locales libc-l10n"

TEST_SHARE, VALIDATION_SHARE = 0.05, 0.03
MOST_TEST, MOST_VALIDATION = 500, 100

_MOST_WORDS = (10, 12)
_MNEMONIC = re.compile(r"[_&](?=\w)")
_VARIABLE = re.compile(r"%[-0-9.lzh]*\w|[\"'«»„“”`´’]|\d+")


class SentencePair(NamedTuple):
    """A sentence in English and German, and the program of its catalogue (`git`)."""

    english: str
    german: str
    program: str


class Corpus(NamedTuple):
    """Three splits. Sentences that differ only in case, numbers, placeholders or quotes are in the same split."""

    train: tuple[SentencePair, ...]
    validation: tuple[SentencePair, ...]
    test: tuple[SentencePair, ...]
    digest: str


@cache
def load(root: str | None = None) -> Corpus:
    """Django's catalogues and those under `root` (default /usr/share/locale). Missing if they hold fewer than 5,000
    pairs.
    """
    pairs = sorted(read_pairs(catalogue_files(Path(root).expanduser() if root else SYSTEM_ROOT)))
    if len(pairs) < LEAST_PAIRS:
        raise Missing(
            f"the gettext catalogues here hold {len(pairs)} pairs of English and German sentences, and at least "
            f"{LEAST_PAIRS} are needed: {INSTALL}"
        )
    return split(pairs)


def catalogue_files(root: Path) -> list[Path]:
    """German catalogues: Django's first, the others sorted by name."""
    folders = []
    spec = find_spec("django")
    if spec is not None and spec.origin is not None:
        folders.append(Path(spec.origin).parent)
    files = [file for folder in folders for file in sorted(folder.glob(f"**/{LANGUAGE}/LC_MESSAGES/*.mo"))]
    return [*files, *sorted((root / LANGUAGE / "LC_MESSAGES").glob("*.mo"))]


def read_pairs(files: list[Path]) -> list[SentencePair]:
    """Short sentences with their first translation. Files that are not catalogues, or not in the encoding they declare,
    are skipped.
    """
    found: dict[str, SentencePair] = {}
    for file in files:
        for english, german in _sentences(file):
            found.setdefault(english, SentencePair(english, german, file.stem))
    return list(found.values())


def split(pairs: list[SentencePair]) -> Corpus:
    """Splits by a hash of the masked sentence, so that a sentence keeps its split when others are added."""
    groups: dict[str, list[SentencePair]] = {}
    for pair in pairs:
        groups.setdefault(masked(pair.english), []).append(pair)
    keys = sorted(groups, key=lambda key: hashlib.sha256(key.encode()).digest())
    num_test = int(len(keys) * TEST_SHARE)
    num_held_out = num_test + int(len(keys) * VALIDATION_SHARE)
    test, validation, train = (
        tuple(pair for key in part for pair in groups[key])
        for part in (keys[:num_test], keys[num_test:num_held_out], keys[num_held_out:])
    )
    digest = hashlib.sha256("\n".join(map("\t".join, pairs)).encode()).hexdigest()[:16]
    return Corpus(train, validation[:MOST_VALIDATION], test[:MOST_TEST], digest)


def masked(sentence: str) -> str:
    """In lower case, with numbers, placeholders and quotes replaced by `#`."""
    return _VARIABLE.sub("#", sentence.lower())


def nearest(sentences: Sequence[str], known: Sequence[str]) -> list[int]:
    """For each sentence the index of the `known` one that shares most words with it (Jaccard); the first, if several
    do.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    count = CountVectorizer(preprocessor=masked, token_pattern=r"\S+", binary=True)  # noqa: S106
    known_KW = count.fit_transform(known)
    words_SW = count.transform(sentences)
    num_words_S = np.array([max(1, len(set(masked(sentence).split()))) for sentence in sentences])
    shared_SK = (words_SW @ known_KW.T).toarray()
    either_SK = num_words_S[:, None] + known_KW.sum(axis=1).A1[None] - shared_SK
    found: list[int] = (shared_SK / either_SK).argmax(1).tolist()
    return found


def _sentences(file: Path) -> Iterator[tuple[str, str]]:
    try:
        with file.open("rb") as opened:
            catalogue: dict[Any, Any] = vars(gettext.GNUTranslations(opened))["_catalog"]
    except (OSError, UnicodeDecodeError):
        return
    for source, translated in catalogue.items():
        plain = isinstance(source, str) and isinstance(translated, str)
        if not plain or not source or "\x04" in source or "\n" in source.strip():
            continue
        english, german = (" ".join(_MNEMONIC.sub("", text).split()) for text in (source, translated))
        num_words = len(english.split())
        if (
            english != german
            and 2 <= num_words <= _MOST_WORDS[0]
            and len(german.split()) <= _MOST_WORDS[1]
            and re.search("[a-z]", english)
        ):
            yield english, german

"""Sentences in two languages, from gettext catalogues."""

import struct

import pytest
import torch

from gpubench.worker.workloads.base import Missing
from gpubench.worker.workloads.text import catalogues
from gpubench.worker.workloads.text.catalogues import SentencePair
from gpubench.worker.workloads.text.transformer import Transformer
from gpubench.worker.workloads.text.vocabulary import END, PADDING, SIZE, Vocabulary, padded

VERBS = {
    "open": "öffnen",
    "close": "schließen",
    "read": "lesen",
    "write": "schreiben",
    "delete": "löschen",
    "copy": "kopieren",
}
NOUNS = {
    "file": "die Datei",
    "folder": "den Ordner",
    "page": "die Seite",
    "image": "das Bild",
    "list": "die Liste",
    "name": "den Namen",
    "key": "den Schlüssel",
    "table": "die Tabelle",
}
PLACES = {"here": "hier", "now": "jetzt", "again": "wieder", "twice": "zweimal"}

PAIRS = [
    SentencePair(
        f"{verb} the {noun} {place}", f"{german} {accusative} {where}".replace(german, "").strip() + f" {german}", verb
    )
    for verb, german in VERBS.items()
    for noun, accusative in NOUNS.items()
    for place, where in PLACES.items()
]


def mo_file(path, pairs):
    """The format that gettext reads, with `pairs` of source and translation."""
    entries = sorted({"": "Content-Type: text/plain; charset=UTF-8\n", **dict(pairs)}.items())
    texts = [(source.encode(), translated.encode()) for source, translated in entries]
    at, tables, body = 28 + 16 * len(texts), [b"", b""], b""
    for side in (0, 1):
        for text in texts:
            tables[side] += struct.pack("<II", len(text[side]), at + len(body))
            body += text[side] + b"\0"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack("<7I", 0x950412DE, 0, len(texts), 28, 28 + 8 * len(texts), 0, 0)
    path.write_bytes(header + tables[0] + tables[1] + body)


def test_sentences_are_read_without_mnemonics_and_what_is_no_sentence_is_left_out(tmp_path):
    file = tmp_path / "de" / "LC_MESSAGES" / "tool.mo"
    mo_file(
        file,
        {
            "_Open the file": "Datei ö_ffnen",
            "Cancel": "Abbrechen",
            "first line\nsecond line": "erste Zeile\nzweite Zeile",
            "a name that stays": "a name that stays",
            "menu\x04Save the page": "Seite speichern",
            "%d files  were copied": "%d Dateien wurden  kopiert",
        },
    )
    assert sorted(catalogues.read_pairs([file])) == [
        SentencePair("%d files were copied", "%d Dateien wurden kopiert", "tool"),
        SentencePair("Open the file", "Datei öffnen", "tool"),
    ]


def test_sentences_that_differ_in_numbers_and_quotes_alone_are_in_one_split():
    pairs = [
        SentencePair(f"{kind} file {n} of “{word}”", "Datei", "tool")
        for kind in ("open", "read", "copy")
        for n in range(9)
        for word in "ab"
    ]
    many = [*pairs, *PAIRS]
    splits = catalogues.split(many)[:3]
    groups = [{catalogues.masked(pair.english) for pair in part} for part in splits]
    assert sum(map(len, splits)) == len(many)
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    assert catalogues.masked(pairs[0].english) == catalogues.masked(pairs[2].english)


def test_a_sentence_stays_in_its_split_and_the_digest_tells_data_apart():
    one, again, other = (catalogues.split(pairs) for pairs in (PAIRS, PAIRS, PAIRS[:-1]))
    assert one == again
    assert one.digest != other.digest


def test_a_machine_with_few_catalogues_is_told_what_to_install(tmp_path):
    mo_file(tmp_path / "de" / "LC_MESSAGES" / "tool.mo", {"Open the file": "Datei öffnen"})
    with pytest.raises(Missing, match=r"at least 5000 are needed: apt-get install git"):
        catalogues.load(str(tmp_path))


def test_the_nearest_sentence_shares_most_words():
    known = ["open the file", "close the door", "read file %d"]
    assert catalogues.nearest(["Close the window", "read file 17", "nothing alike"], known) == [1, 2, 0]


def test_a_sentence_survives_its_tokens():
    pytest.importorskip("tokenizers")
    vocabulary = Vocabulary(sentence for pair in PAIRS for sentence in pair[:2])
    assert vocabulary.decode([*vocabulary.encode("löschen die Datei"), END, 7]) == "löschen die Datei"
    assert padded([[5, 6], [7]]).tolist() == [[5, 6], [7, PADDING]]


def test_what_stands_after_a_sentence_does_not_change_its_translation():
    model = Transformer(SIZE).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_124_096
    short = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        alone = model({"source": short, "target": torch.tensor([[1, 9]])})
        filled = model({"source": torch.tensor([[5, 6, 7, PADDING, PADDING]]), "target": torch.tensor([[1, 9]])})
    assert torch.allclose(alone, filled, atol=1e-5)

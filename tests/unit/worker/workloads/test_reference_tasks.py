"""Each reference task: its size, its parity, and that a little training beats a trivial answer. On tiny data."""

import numpy as np
import pytest
import torch
from fakes.training import trained

from gpubench.core.errors import UsageError
from gpubench.suite.model.case import Case
from gpubench.suite.model.workload_names import TASKS
from gpubench.worker.checks import parity
from gpubench.worker.workloads.by_length import ByLength
from gpubench.worker.workloads.classifier import datasets
from gpubench.worker.workloads.multimodal import fusion
from gpubench.worker.workloads.multimodal.fusion import Fusion, paired
from gpubench.worker.workloads.registry import resolve
from gpubench.worker.workloads.speech import features
from gpubench.worker.workloads.speech.commands import HeldOutWords, SpeechCommands, training_words
from gpubench.worker.workloads.speech.recognition import SpeechRecognition, Strings, word_error_rate, written
from gpubench.worker.workloads.speech.utterances import COMMANDS, DIGITS, Utterance, orders
from gpubench.worker.workloads.text import catalogues
from gpubench.worker.workloads.text.catalogues import SentencePair
from gpubench.worker.workloads.text.classification import Labelled, TextClassification
from gpubench.worker.workloads.text.translation import Sentences, Translation
from gpubench.worker.workloads.text.vocabulary import Vocabulary
from gpubench.worker.workloads.vision import scenes
from gpubench.worker.workloads.vision.detection import Detection
from gpubench.worker.workloads.vision.embedding import Pictures, Verification, distorted, equal_error_rate
from gpubench.worker.workloads.vision.scene_examples import BoxedScenes, MaskedScenes
from gpubench.worker.workloads.vision.segmentation import Segmentation

pytestmark = pytest.mark.slow

NAMES = [f"{kind}:{task}" for kind, tasks in TASKS.items() for task in tasks]
PARAMETERS = {
    "vision:segmentation": 251_467,
    "vision:detection": 437_364,
    "vision:embedding": 213_472,
    "speech:commands": 96_666,
    "speech:recognition": 300_283,
    "text:translation": 1_124_096,
    "text:classification": 662_282,
    "multimodal:fusion": 103_566,
}


def tone(words, voice, seed):
    """For each word another pitch, a little different each time."""
    rng = np.random.default_rng(seed)
    parts = []
    for word in words:
        number = (COMMANDS if word in COMMANDS else DIGITS).index(word)
        pitch_hz = (300 + 250 * number) * (1 + 0.01 * rng.standard_normal())
        wave = np.sin(2 * np.pi * pitch_hz * np.arange(4400) / features.SAMPLE_RATE_HZ)
        parts += [wave * np.hanning(4400), np.zeros(1100)]
    return Utterance(voice, tuple(words), (8000 * np.concatenate(parts)).astype("<i2"))


def tones(texts, voices):
    return [tone(words, voice, 100 * i + k) for i, voice in enumerate(voices) for k, words in enumerate(texts)]


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits")


@pytest.fixture(scope="module")
def sentences():
    """Every sentence `VERB the NOUN PLACE`, in a German as regular; the verb tells the program."""
    nouns = {"file": "Datei", "folder": "Mappe", "page": "Seite", "list": "Liste", "key": "Taste", "table": "Tabelle"}
    verbs = {"open": "öffnen", "close": "beenden", "read": "lesen", "write": "schreiben", "copy": "kopieren"}
    places = {"here": "hier", "now": "jetzt", "again": "wieder", "twice": "zweimal", "slowly": "langsam"}
    pairs = [
        SentencePair(f"{verb} the {noun} {place}", f"die {nouns[noun]} {places[place]} {verbs[verb]}", verb)
        for verb in verbs
        for noun in nouns
        for place in places
    ]
    corpus = catalogues.split(pairs)
    return corpus.train, (*corpus.validation, *corpus.test)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_has_as_many_parameters_as_the_docs_say_and_agrees_with_fp64(name, built):
    workload, step, case = built(workload=name, batch_size=4, image_size=None)
    step()
    assert sum(parameter.numel() for parameter in workload.model.parameters()) == PARAMETERS[name]
    assert workload.health().parameters_moved
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("name", ["vision:detection", "speech:recognition", "multimodal:fusion"])
def test_a_task_runs_what_it_has_not_learned(name, built):
    workload, step, case = built(workload=name, mode="infer", batch_size=4, image_size=None)
    step()
    assert workload.health().finite
    assert parity.check(workload, case, "cpu").passed


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("vision:")])
def test_every_convolution_of_a_task_takes_the_layout_that_was_asked_for(name, built):
    workload, _, _ = built(workload=name, mode="infer", batch_size=4, image_size=None, memory_format="channels_last")
    assert workload.probe()["memory_format"] == "channels_last"


@pytest.mark.parametrize("name", NAMES)
def test_a_task_says_which_data_it_takes(name):
    with pytest.raises(UsageError, match="no data called 'cifar10'"):
        resolve(name).load_data(Case(workload=name, data="cifar10"))


def test_it_segments_better_than_trivial_masks(digits):
    train, test = (scenes.make(digits.train, number, seed) for seed, number in enumerate((96, 16)))
    before, score = trained(
        Segmentation(),
        MaskedScenes(train, train),
        MaskedScenes(test, train),
        epochs=3,
        batch_size=8,
        learning_rate=4e-3,
    )
    assert score.name == "miou"
    assert len(score.baselines) == 2
    assert score.value > max(before, *score.baselines.values())


def test_it_learns_to_detect(digits):
    pytest.importorskip("torchmetrics")
    pytest.importorskip("faster_coco_eval")
    train = scenes.make(digits.train, 8, 0)
    examples, losses = BoxedScenes(train, train), []
    _, score = trained(Detection(), examples, examples, epochs=20, batch_size=8, learning_rate=3e-3, losses=losses)
    assert losses[-1] < 0.8 * losses[0]
    assert (score.name, set(score.others), len(score.baselines)) == ("map", {"map50"}, 1)


def test_it_verifies_drawings_better_than_pixels(digits):
    train, test = (Pictures(distorted(part.images_NCHW[:200] / 16, 24, 0)) for part in (digits.train, digits.test))
    _, score = trained(Verification(), train, test, epochs=1, batch_size=32, learning_rate=2e-3)
    assert score.name == "eer"
    assert score.value < score.baselines["cosine of the pixels"]


def test_the_equal_error_rate_is_none_of_a_perfect_embedding_and_half_of_noise():
    noise = torch.nn.functional.normalize(torch.randn(60, 4, 16, generator=torch.Generator().manual_seed(0)), dim=2)
    assert equal_error_rate(torch.eye(12)[:, None].expand(-1, 4, -1)) == 0
    assert equal_error_rate(noise) == pytest.approx(0.5, abs=0.05)


def test_autocast_does_not_round_the_cosines_of_verification():
    vectors = torch.nn.functional.normalize(torch.randn(40, 4, 8, generator=torch.Generator().manual_seed(1)), dim=2)
    exact = equal_error_rate(vectors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert equal_error_rate(vectors) == exact


def test_it_translates_better_than_copying(sentences):
    pytest.importorskip("tokenizers")
    pytest.importorskip("sacrebleu")
    train, test = sentences
    vocabulary = Vocabulary(sentence for pair in train for sentence in pair[:2])
    splits = [Sentences(part, train, vocabulary) for part in (train, test)]
    _, score = trained(Translation(), *splits, epochs=12, batch_size=12, learning_rate=2e-3)
    assert (score.name, set(score.others), len(score.baselines)) == ("bleu", {"chrf"}, 2)
    assert score.value > score.baselines["copying the source"]


def test_it_classifies_sentences_better_than_the_commonest_answer(sentences):
    pytest.importorskip("tokenizers")
    train, test = sentences
    vocabulary = Vocabulary(pair.english for pair in train)
    programs = sorted({pair.program for pair in train})
    splits = [Labelled(part, train, programs, vocabulary) for part in (train, test)]
    _, score = trained(TextClassification(), *splits, epochs=4, batch_size=12, learning_rate=2e-3)
    assert score.name == "accuracy"
    assert score.value > score.baselines["commonest program"]


def test_it_tells_commands_apart_better_than_the_commonest_answer():
    pytest.importorskip("torchaudio")
    texts = [(word,) for word in COMMANDS]
    train = training_words(tones(texts, "abc"))
    test = HeldOutWords(tones(texts, "xy"), train, seed=0)
    _, score = trained(SpeechCommands(), train, test, epochs=6, batch_size=12, learning_rate=5e-3)
    assert (score.name, set(score.others), len(score.baselines)) == ("accuracy", {"noisy_accuracy"}, 2)
    assert score.value > score.baselines["commonest word"]


def test_it_learns_to_write_digits():
    pytest.importorskip("torchaudio")
    pytest.importorskip("jiwer")
    texts = [order.words for order in orders("digit-strings", [str(number) for number in range(2)])]
    train, losses = Strings(tones(texts, "a")), []
    _, score = trained(SpeechRecognition(), train, train, epochs=4, batch_size=8, learning_rate=4e-3, losses=losses)
    assert losses[-1] < 0.5 * losses[0]
    assert (score.name, set(score.baselines)) == ("wer", {"the same digits every time"})


def test_repeated_symbols_and_blanks_are_left_out_and_nothing_after_the_length_counts():
    symbols = torch.tensor([[0, 2, 2, 0, 2, 5, 5, 1]])
    output = {"logits": torch.nn.functional.one_hot(symbols, 11).float(), "lengths": torch.tensor([7])}
    assert written(output) == ["one one four"]
    pytest.importorskip("jiwer")
    assert word_error_rate(["one four"], ["one one four"]) == pytest.approx(1 / 3)


def test_seeing_and_hearing_a_digit_beats_a_guess(digits):
    pytest.importorskip("torchaudio")
    spoken = tones([(word,) for word in DIGITS], "ab")
    train, test = (
        paired(part.take(torch.arange(80)), spoken, 16, seed) for seed, part in enumerate((digits.train, digits.test))
    )
    _, score = trained(Fusion(), train, test, epochs=3, batch_size=16, learning_rate=4e-3)
    assert (score.name, set(score.baselines)) == ("accuracy", {"image alone", "sound alone"})
    assert score.value > 0.2
    assert len(test) == 80 * fusion.NUM_TAKES


def test_contents_tell_padding_from_what_counts():
    text = {"source": torch.tensor([[5, 6, 0]]), "target": torch.tensor([[1, 7, 0, 0]])}
    assert Translation().contents(text, torch.tensor([[7, 2, 0, 0]])) == ("tokens", 4, 7, 3)
    sound = {"sound": torch.zeros(2, 100, features.NUM_BANDS), "num_frames": torch.tensor([100, 50])}
    held = SpeechRecognition().contents(sound, None)
    assert (held.unit, held.num_padded / held.num_elements) == ("audio_s", 0.25)
    assert held.num_units == pytest.approx(1.5, rel=0.01)


def test_batches_by_length_hold_every_sample_once_with_less_padding(sentences):
    pytest.importorskip("tokenizers")
    train, _ = sentences
    examples = Sentences(train, train, Vocabulary(pair.english for pair in train))
    kept = examples.kept_on(torch.device("cpu"), torch.float32)
    assert isinstance(kept, ByLength)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(1))

    def held(one):
        return [Translation().contents(*batch) for batch in one.batches(order, 8, torch.device("cpu"), torch.float32)]

    random, by_length = held(examples), held(kept)
    assert sum(one.num_units for one in random) == sum(one.num_units for one in by_length)
    assert sum(one.num_padded for one in by_length) < sum(one.num_padded for one in random)

"""What espeak-ng says, how it is kept, and the features of it."""

import shutil

import numpy as np
import pytest
import torch

from gpubench.worker.workloads.base import Missing
from gpubench.worker.workloads.speech import features, utterances
from gpubench.worker.workloads.speech.utterances import COMMANDS, DIGITS, Utterance

needs_espeak = pytest.mark.skipif(shutil.which(utterances.PROGRAM) is None, reason="espeak-ng is not installed")


def tone(words, voice, seed):
    """For each word another pitch, for each voice another loudness."""
    rng = np.random.default_rng(seed)
    parts = []
    for word in words:
        pitch = 300 + 150 * (COMMANDS if word in COMMANDS else DIGITS).index(word) * (1 + 0.02 * rng.standard_normal())
        time_s = np.arange(5500) / features.SAMPLE_RATE_HZ
        parts += [np.sin(2 * np.pi * pitch * time_s) * np.hanning(5500), np.zeros(1500)]
    return Utterance(voice, tuple(words), (8000 * np.concatenate(parts)).astype("<i2"))


def tones(words_of, voices, seed=0):
    return [
        tone(words, voice, seed + 1000 * index + place)
        for index, voice in enumerate(voices)
        for place, words in enumerate(words_of)
    ]


@needs_espeak
def test_the_program_says_the_same_every_time():
    wanted = utterances.orders("commands", utterances.voices()[:1])[:3]
    spoken, again = utterances.speak(wanted), utterances.speak(wanted)
    assert utterances.digest(spoken) == utterances.digest(again)
    assert [one.words for one in spoken] == [("yes",), ("no",), ("up",)]
    assert all(len(one.samples) > 2000 for one in spoken)


def test_orders_are_the_same_every_time_and_name_every_word():
    wanted = utterances.orders("commands", ["a", "b"])
    assert wanted == utterances.orders("commands", ["a", "b"])
    assert len(wanted) == 2 * 2 * len(COMMANDS)
    strings = utterances.orders("digit-strings", ["a"])
    assert len(strings) == 12
    assert {len(one.words) for one in strings} == {2, 3, 4}


def test_a_voice_is_in_one_split_only():
    voices = [f"voice{n}" for n in range(40)]
    speech = utterances.split(tones([("yes",)], voices))
    sets = [{one.voice for one in part} for part in speech[:3]]
    assert [len(each) for each in sets] == [10, 10, 20]
    assert len(set.union(*sets)) == 40


@pytest.fixture
def spoken_once(monkeypatch, tmp_path):
    """`load` on a fake program; counts what it is made to say."""
    said = []

    def speak(wanted):
        said.append(len(wanted))
        return [tone(order.words, order.voice, 0) for order in wanted]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(utterances.shutil, "which", lambda _program: "/usr/bin/espeak-ng")
    monkeypatch.setattr(utterances, "_release", lambda: "9.9")
    monkeypatch.setattr(utterances, "voices", lambda: [f"voice{n}" for n in range(31)])
    monkeypatch.setattr(utterances, "speak", speak)
    utterances.load.cache_clear()
    yield said
    utterances.load.cache_clear()


def test_what_was_said_is_kept_with_its_digest(spoken_once, tmp_path):
    first = utterances.load("digits")
    utterances.load.cache_clear()
    second = utterances.load("digits")
    assert spoken_once == [310]
    assert first.digest == second.digest
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(first.test, second.test, strict=True))
    assert [file.name for file in (tmp_path / "gpubench" / "data" / "spoken").iterdir()] == ["digits-espeak-ng-9.9.npz"]


def test_a_damaged_file_is_made_again(spoken_once, tmp_path):
    digest = utterances.load("digits").digest
    (tmp_path / "gpubench" / "data" / "spoken" / "digits-espeak-ng-9.9.npz").write_bytes(b"PK half of it")
    utterances.load.cache_clear()
    assert utterances.load("digits").digest == digest
    assert spoken_once == [310, 310]


def test_without_the_program_a_case_says_what_to_install(monkeypatch):
    monkeypatch.setattr(utterances.shutil, "which", lambda _program: None)
    utterances.load.cache_clear()
    with pytest.raises(Missing, match="not installed: apt-get install espeak-ng"):
        utterances.load("commands")


def test_features_have_a_hundred_frames_a_second():
    pytest.importorskip("torchaudio")
    assert features.log_mel(torch.zeros(1, features.SAMPLE_RATE_HZ)).shape == (1, 101, features.NUM_BANDS)
    assert features.log_mel(torch.zeros(1, 4000)).unique().tolist() == [pytest.approx(features.SILENCE)]


def test_noise_is_as_loud_as_asked():
    waves = torch.randn(2, 40_000, generator=torch.Generator().manual_seed(0))
    noise = features.noisy(waves, torch.tensor([20.0, 5.0]), torch.Generator().manual_seed(1)) - waves
    assert noise.square().mean(1).tolist() == [pytest.approx(0.01, rel=0.05), pytest.approx(10**-0.5, rel=0.05)]


def test_silence_around_a_word_is_cut_off():
    wave = torch.cat([torch.zeros(5000), torch.full((1000,), 0.5), torch.zeros(5000)])
    cut = features.trimmed(wave, 4000)
    assert len(cut) == 4000
    assert cut.nonzero()[0] == 400

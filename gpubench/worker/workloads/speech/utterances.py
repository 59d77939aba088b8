"""Words and strings of digits, spoken by the voices of espeak-ng and cached in the user's cache folder.

espeak-ng is a program (a package on Debian and most other systems). The same release produces the same samples to the
bit; releases are told apart by the digest of the samples.
"""

import hashlib
import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpubench.core.cpus import usable_cpus
from gpubench.core.errors import UsageError
from gpubench.worker.workloads.base import Missing
from gpubench.worker.workloads.classifier.datasets import default_root

PROGRAM = "espeak-ng"
INSTALL = "apt-get install espeak-ng"
SAMPLE_RATE_HZ = 22_050

COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_ACCENTS = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
)
_NO_SPEECH = {"whisper", "whisperf", "Half-LifeAnnouncementSystem", "UniRobot", "robosoft8"}
_HEADER_BYTES = 44
_NUM_TEST_VOICES, _NUM_VALIDATION_VOICES = 20, 10


class Order(NamedTuple):
    """What a voice has to say: `pitch` from 0 to 99, `speed` in words per minute."""

    voice: str
    words: tuple[str, ...]
    accent: str
    pitch: int
    speed: int


class Utterance(NamedTuple):
    """`samples` int16 at 22,050 Hz."""

    voice: str
    words: tuple[str, ...]
    samples: Any


class Speech(NamedTuple):
    """Three splits by voice: no voice is in two of them."""

    train: tuple[Utterance, ...]
    validation: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    digest: str


@cache
def load(kind: str) -> Speech:
    """`commands` (each of ten words twice by every voice), `digits` (each digit once) or `digit-strings` (twelve of two
    to four digits). The first call makes them, in one to two minutes on two CPUs. Missing if espeak-ng is not
    installed.
    """
    if shutil.which(PROGRAM) is None:
        raise Missing(f"{PROGRAM}, which speaks the words to learn, is not installed: {INSTALL}")
    file = default_root() / "spoken" / f"{kind}-{PROGRAM}-{_release()}.npz"
    utterances = _read(file)
    if utterances is None:
        utterances = speak(orders(kind, voices()))
        _write(file, utterances)
    return split(utterances)


def voices() -> list[str]:
    """The voice variants of this espeak-ng, without those that are hardly audible."""
    table = _run("--voices=variant").decode().splitlines()[1:]
    return sorted({line.split()[-1].rpartition("/")[2] for line in table} - _NO_SPEECH)


def orders(kind: str, speakers: Sequence[str]) -> list[Order]:
    """Seeded: the same voices get the same orders."""
    rng = random.Random(kind)
    texts = {"commands": COMMANDS * 2, "digits": DIGITS, "digit-strings": (None,) * 12}[kind]
    slow, fast = (130, 200) if kind == "digit-strings" else (120, 220)
    return [
        Order(
            voice,
            tuple(rng.choices(DIGITS, k=rng.randint(2, 4))) if text is None else (text,),
            rng.choice(_ACCENTS),
            rng.randint(20, 80),
            rng.randint(slow, fast),
        )
        for voice in speakers
        for text in texts
    ]


def speak(wanted: Sequence[Order]) -> list[Utterance]:
    """Runs the program once per order, in parallel on all CPUs. UsageError if one run returns no samples."""
    with ThreadPoolExecutor(usable_cpus() or 1) as pool:
        return list(pool.map(_speak, wanted))


def split(utterances: Sequence[Utterance]) -> Speech:
    """Splits voices by a hash of their names: twenty for the test split, ten for validation."""
    speakers = sorted({one.voice for one in utterances}, key=lambda voice: hashlib.sha256(voice.encode()).digest())
    test = set(speakers[:_NUM_TEST_VOICES])
    validation = set(speakers[_NUM_TEST_VOICES : _NUM_TEST_VOICES + _NUM_VALIDATION_VOICES])
    return Speech(
        tuple(one for one in utterances if one.voice not in test | validation),
        tuple(one for one in utterances if one.voice in validation),
        tuple(one for one in utterances if one.voice in test),
        digest(utterances),
    )


def digest(utterances: Sequence[Utterance]) -> str:
    found = hashlib.sha256()
    for one in utterances:
        found.update(f"{one.voice}\t{' '.join(one.words)}\n".encode())
        found.update(one.samples.astype("<i2").tobytes())
    return found.hexdigest()[:16]


def _speak(order: Order) -> Utterance:
    voice = f"{order.accent}+{order.voice}"
    text = " ".join(order.words)
    wave = _run("-v", voice, "-p", str(order.pitch), "-s", str(order.speed), "-z", "--stdout", text)
    samples = np.frombuffer(wave[_HEADER_BYTES:], dtype="<i2")
    if not len(samples):
        raise UsageError(f"{PROGRAM} said nothing for {text!r} with voice {voice}.", hint=f"Reinstall it: {INSTALL}")
    return Utterance(order.voice, order.words, samples)


def _release() -> str:
    """`1.51`, from `eSpeak NG text-to-speech: 1.51  Data at: ...`."""
    return _run("--version").decode().partition(":")[2].split()[0]


def _run(*arguments: str) -> bytes:
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise UsageError(f"{PROGRAM} {' '.join(arguments)} failed: {said}", hint=f"Reinstall it: {INSTALL}")
    return done.stdout


def _read(file: Path) -> list[Utterance] | None:
    """The cached utterances; None if there are none, or the file is incomplete."""
    try:
        with np.load(file) as kept:
            samples, ends, said = kept["samples"], kept["ends"], kept["voices_and_words"]
    except (OSError, ValueError, KeyError, EOFError):
        return None
    parts = np.split(samples, ends[:-1])
    return [
        Utterance(voice, tuple(words.split()), part) for (voice, words), part in zip(said.tolist(), parts, strict=True)
    ]


def _write(file: Path, utterances: Sequence[Utterance]) -> None:
    """Writes the file in one move, so that no other process reads a part of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".npz", delete=False) as made:
        np.savez(
            made,
            samples=np.concatenate([one.samples for one in utterances]),
            ends=np.cumsum([len(one.samples) for one in utterances]),
            voices_and_words=np.array([(one.voice, " ".join(one.words)) for one in utterances]),
        )
    Path(made.name).replace(file)

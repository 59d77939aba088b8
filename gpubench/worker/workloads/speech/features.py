"""Log-mel features: log power in 40 mel bands, a hundred frames a second."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from gpubench.worker.workloads.base import need
from gpubench.worker.workloads.speech.utterances import SAMPLE_RATE_HZ

NUM_BANDS = 40
WINDOW, HOP = 512, 220
SILENCE = float(np.log(1e-6))
"""The feature of silence; sequences are padded with it."""

FRAMES_PER_S = SAMPLE_RATE_HZ / HOP

_MOST_SHIFT = 2
_FEATURE_NOISE = 0.3
_LOUD = 0.01
_MARGIN = 400


def log_mel(waves_NT: torch.Tensor) -> torch.Tensor:
    """Waves in [-1, 1] to features NLF, with L = 1 + T // 220."""
    spectrum = torch.stft(waves_NT, WINDOW, HOP, window=torch.hann_window(WINDOW), return_complex=True)
    return torch.log(spectrum.abs().square().transpose(-1, -2) @ _filters() + 1e-6)


def augmented(features_NLF: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shifts each sample by up to two bands, as a longer or shorter vocal tract would, and adds noise."""
    num_samples, num_frames, num_bands = features_NLF.shape
    shifts_N1 = torch.randint(-_MOST_SHIFT, _MOST_SHIFT + 1, (num_samples, 1), generator=generator)
    bands_NF = (torch.arange(num_bands) + shifts_N1).clamp(0, num_bands - 1).to(features_NLF.device)
    shifted_NLF = features_NLF.gather(2, bands_NF[:, None].expand(-1, num_frames, -1))
    return shifted_NLF + _FEATURE_NOISE * torch.randn(features_NLF.shape, generator=generator).to(features_NLF)


def wave(samples: Any) -> torch.Tensor:
    return torch.from_numpy(samples.astype(np.float32)) / 32768


def trimmed(wave_T: torch.Tensor, num_samples: int) -> torch.Tensor:
    """The part from the first to the last loud sample, cut or padded with silence to `num_samples`."""
    loud = wave_T.abs().gt(_LOUD).nonzero()
    if len(loud):
        wave_T = wave_T[max(0, int(loud[0]) - _MARGIN) : int(loud[-1]) + _MARGIN]
    wave_T = wave_T[:num_samples]
    return functional.pad(wave_T, (0, num_samples - len(wave_T)))


def noisy(waves_NT: torch.Tensor, snr_db_N: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Adds white noise. The ratio is the mean power of the whole wave over that of the noise."""
    power_N1 = waves_NT.square().mean(-1, keepdim=True)
    noise = torch.randn(waves_NT.shape, generator=generator)
    return waves_NT + noise * power_N1.sqrt() * 10 ** (-snr_db_N[:, None] / 20)


@cache
def _filters() -> torch.Tensor:
    need("speech", "torchaudio")
    from torchaudio.functional import melscale_fbanks

    bands: torch.Tensor = melscale_fbanks(WINDOW // 2 + 1, 50.0, 8000.0, NUM_BANDS, SAMPLE_RATE_HZ)
    return bands

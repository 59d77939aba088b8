"""Learning rate schedules."""

import math

import torch

_WARMUP_SHARE = 0.05
_LEAST = 0.01


def cosine(optimizer: torch.optim.Optimizer, learning_rate: float, step: int, num_steps: int) -> None:
    """Linear warm-up over the first twentieth of `num_steps`, then half a cosine down to a hundredth of `learning_rate`
    (Loshchilov and Hutter 2017).
    """
    at = (step + 0.5) / num_steps
    left = 0.5 * (1 + math.cos(math.pi * at))
    share = min(at / _WARMUP_SHARE, _LEAST + (1 - _LEAST) * left)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * share

"""The learning rate on its way through a training."""

import math

import torch

_WARMUP_SHARE = 0.05
_LEAST = 0.01


def cosine(optimizer: torch.optim.Optimizer, learning_rate: float, step: int, num_steps: int) -> None:
    """Sets it for step `step` of `num_steps`: up in a straight line over the first twentieth, then down along half a
    cosine to a hundredth (Loshchilov and Hutter 2017).
    """
    at = (step + 0.5) / num_steps
    left = 0.5 * (1 + math.cos(math.pi * at))
    share = min(at / _WARMUP_SHARE, _LEAST + (1 - _LEAST) * left)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * share

"""A training step that can be made slower in one known way, for `scripts/why_seeds.py`."""

import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def seeded(slower: str = "") -> "Seeded":
    return Seeded(slower)


class Seeded:
    """`slower` is the one thing about it that costs more; empty for the reference."""

    phases: Any = None

    def __init__(self, slower: str) -> None:
        self._slower = slower

    def build(self, case: Any, device: Any) -> Any:  # noqa: ARG002
        slower, phases = self._slower, self.phases
        model = nn.Sequential(
            nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 20 * 20, 10)
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        images, targets = torch.randn(16, 3, 24, 24), torch.randint(0, 10, (16,))
        table = torch.rand(1024, 512)
        numbers = torch.rand(100_000, dtype=torch.float64 if slower == "dtype" else torch.float32)
        maps = torch.randn(16, 32, 40, 40)
        if slower != "layout":
            maps = maps.to(memory_format=torch.channels_last)
        pictures, filters = torch.randn(16, 32, 32, 32), torch.randn(64, 32, 3, 3)
        width = 1024 if slower == "intermediate" else 512
        first, second = torch.randn(width, 256), torch.randn(256, width)
        rows, values = torch.randn(64, 256), torch.randn(200_000)

        def chain(x: Any) -> Any:
            for _ in range(6):
                x = torch.sin(x) * 1.01 + 0.1
            return x

        if slower != "fusion":
            chain = torch.compile(chain, dynamic=False)

        def step() -> None:
            with phases("data"):
                if slower == "input":
                    time.sleep(0.003)
            with phases("forward"):
                with torch.no_grad():
                    table.cumsum(0 if slower == "operator" else 1)
                    numbers.exp()
                    functional.max_pool2d(maps, 2)
                    functional.linear(functional.linear(rows, first), second)
                    chain(values)
                    if slower == "copy":
                        maps.clone()
                    with torch.backends.mkldnn.flags(enabled=slower != "algorithm"):
                        functional.conv2d(pictures, filters)
                loss = functional.cross_entropy(model(images), targets)
            with phases("backward"):
                loss.backward()  # type: ignore[no-untyped-call]
            with phases("optimizer"):
                optimizer.step()
                if slower == "optimizer":
                    for _ in range(4):
                        optimizer.step()
                optimizer.zero_grad()
            if slower == "python":
                sum(number * number for number in range(30_000))
            if slower == "evaluation":
                with torch.no_grad():
                    model(images)

        return step

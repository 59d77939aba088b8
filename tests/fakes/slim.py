"""`slim:Slim`, whose parity fails while a step that was built is still there, or while not all were built."""

import time
import types
import weakref

import torch

from gpubench.worker.workloads.base import ParityProbe


def slim_module(*, num_steps: int) -> types.ModuleType:
    """For `sys.modules`: workers look it up by its name."""
    steps = []

    class Step:
        def __call__(self):
            time.sleep(0.002)

    class Slim:
        def build(self, case, device):
            step = Step()
            steps.append(weakref.ref(step))
            return step

        def parity(self, case, device):
            assert [step() for step in steps] == [None] * num_steps
            logits, loss = torch.ones(1, 2), torch.ones(())
            return ParityProbe(logits, loss, None, logits.clone(), loss, None, num_samples=1)

    module = types.ModuleType("slim")
    module.Slim = Slim
    return module

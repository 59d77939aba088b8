"""Workloads that use torch. Found as `torch_workloads:Name` with this folder on the search path."""

import itertools
import time

import torch
from torch.utils.data import DataLoader, IterableDataset
from workloads import SLEEP_S, GrowsInPython, Sleeper


class Grows(GrowsInPython):
    def _step(self):
        self.kept.append(torch.empty(512 * 2**20, dtype=torch.uint8))


class Loads:
    """Each step takes a batch of its DataLoader of 6 samples, the last of an epoch whether full or not."""

    num_workers = 0
    factor = 1
    dataset = "map"

    def build(self, case, device):
        class Stream(IterableDataset):
            def __iter__(self):
                return iter(range(6))

        loader = DataLoader(
            Stream() if self.dataset == "stream" else list(range(6)),
            batch_size=case.batch_size * self.factor,
            num_workers=self.num_workers,
            collate_fn=lambda samples: self.collate(torch.tensor(samples).float()),
        )
        batches = itertools.chain.from_iterable(itertools.repeat(loader))

        def step():
            time.sleep(SLEEP_S / 4)
            return next(batches).mean()

        return step

    def collate(self, samples):
        return samples.reshape(1, -1)


class LoadsStream(Loads):
    """The same from a data set without indices."""

    dataset = "stream"

    def collate(self, samples):
        return samples


class LoadsStreamOfRows(Loads):
    """The first size of a batch is not that of its samples."""

    dataset = "stream"


class LoadsLess(Loads):
    """Its batches are not the case's."""

    factor = 2


class CountsItself(Loads):
    def samples_per_step(self, case):
        return 3


class TurnsOffCudnn(Sleeper):
    """Changes a setting behind the case's back."""

    def build(self, case, device):
        torch.backends.cudnn.enabled = not case.cudnn_enabled
        return super().build(case, device)


class HoldsMemory:
    """Holds 256 MiB on the device and takes 512 MiB more inside each step."""

    def build(self, case, device):
        held = torch.ones(256 * 2**20, dtype=torch.uint8, device=device)

        def step():
            more = torch.empty(512 * 2**20, dtype=torch.uint8, device=held.device)
            more.fill_(1)
            return more[:1] + held[:1]

        return step

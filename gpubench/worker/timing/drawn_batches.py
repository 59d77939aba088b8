"""Measures how full the batches from a workload's own DataLoader are."""

from collections.abc import Callable
from typing import Any, Self

from gpubench.suite.model.case import Case

_PATCHED = ("_next_index", "__next__")
"""Methods of torch's DataLoader iterators; every batch passes through both."""


class DrawnBatches:
    """Inside `with` (which may be entered repeatedly), counts the samples drawn by any DataLoader, relative to full
    batches.

    Loader processes draw a few batches ahead, so the share matters, not the number. For an iterable data set, samples
    are the first dimension of the batch's tensors, if that is true of full batches.
    """

    def __init__(self, case: Case) -> None:
        self._sizes = {case.batch, case.samples_per_step}
        self._drawn = self._full = 0
        self._first_size_counts = False
        self._real: list[Callable[[Any], Any]] = []
        self.seen = True
        """Whether the samples of every batch are known, and full ones have as many as the case says."""

    @property
    def share(self) -> float:
        """Samples drawn over those of full batches; 1 if no batch was drawn."""
        return self._drawn / self._full if self._full else 1.0

    def __enter__(self) -> Self:
        from torch.utils.data.dataloader import _BaseDataLoaderIter as Batches

        real_index, real_next = self._real = [getattr(Batches, name) for name in _PATCHED]

        def next_index(batches: Any) -> Any:
            indices = real_index(batches)
            if not _is_iterable(batches):
                self._count(len(indices) if isinstance(indices, list) else None, batches)
            return indices

        def next_batch(batches: Any) -> Any:
            batch = real_next(batches)
            if _is_iterable(batches):
                self._count(self._first_size(batch, batches), batches)
            return batch

        for name, counting in zip(_PATCHED, (next_index, next_batch), strict=True):
            setattr(Batches, name, counting)
        return self

    def __exit__(self, *_: object) -> None:
        from torch.utils.data.dataloader import _BaseDataLoaderIter as Batches

        for name, real in zip(_PATCHED, self._real, strict=True):
            setattr(Batches, name, real)

    def _count(self, drawn: int | None, batches: Any) -> None:
        size = _full_size(batches)
        if drawn is None or (size or drawn) not in self._sizes:
            self.seen = False
        elif size is not None:
            self._drawn += drawn
            self._full += size

    def _first_size(self, batch: Any, batches: Any) -> int | None:
        """The samples of a batch; None if its tensors do not show them."""
        import torch
        from torch.utils._pytree import tree_leaves
        from torch.utils.data import default_collate

        sizes = {len(leaf) for leaf in tree_leaves(batch) if isinstance(leaf, torch.Tensor) and leaf.ndim}
        self._first_size_counts |= sizes == {_full_size(batches)} or batches._collate_fn is default_collate  # noqa: SLF001
        return sizes.pop() if len(sizes) == 1 and (self._first_size_counts or sizes <= self._sizes) else None


def _is_iterable(batches: Any) -> bool:
    from torch.utils.data.dataloader import _DatasetKind

    return bool(batches._dataset_kind == _DatasetKind.Iterable)  # noqa: SLF001


def _full_size(batches: Any) -> int | None:
    """Samples of a full batch; None if only the batch itself shows them."""
    size = getattr(batches._index_sampler, "batch_size", None)  # noqa: SLF001
    return size if isinstance(size, int) else None

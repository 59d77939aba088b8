"""How full the batches are that a workload's own DataLoader hands to its steps."""

from collections.abc import Callable
from typing import Any, Self

from gpubench.suite.model.case import Case

_PATCHED = ("_next_index", "__next__")
"""Of torch's iterators over a DataLoader: every batch comes through both."""


class DrawnBatches:
    """Inside `with`, as often as it is entered, counts the samples that any DataLoader draws against full batches.

    Loader processes draw a few batches ahead, so it is the share of the batches that counts, and not their number. What
    an iterable data set gave shows in the first size of the batch's tensors, as long as full batches have theirs there.
    """

    def __init__(self, case: Case) -> None:
        self._sizes = {case.batch, case.samples_per_step}
        self._drawn = self._full = 0
        self._first_size_counts = False
        self._real: list[Callable[[Any], Any]] = []
        self.seen = True
        """Whether every batch showed its samples, and full ones have as many as the case says."""

    @property
    def share(self) -> float:
        """Samples drawn over those of full batches; 1 where no batch was drawn."""
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
        """The samples of a batch; None where its tensors do not tell."""
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
    """Samples of a full batch; None where only a batch itself tells."""
    size = getattr(batches._index_sampler, "batch_size", None)  # noqa: SLF001
    return size if isinstance(size, int) else None

"""How full the batches are that a workload's own DataLoader hands to its steps."""

from collections.abc import Callable
from typing import Any, Self


class DrawnBatches:
    """Inside `with`, as often as it is entered, counts the samples that any DataLoader draws against full batches.

    Loader processes draw a few batches ahead, so it is the share of the batches that counts, and not their number. What
    an iterable data set yields shows no size here.
    """

    def __init__(self) -> None:
        self._drawn = self._full = 0
        self._real: Callable[[Any], Any] | None = None

    @property
    def share(self) -> float:
        """Samples drawn over those of full batches; 1 where no batch was drawn."""
        return self._drawn / self._full if self._full else 1.0

    def __enter__(self) -> Self:
        from torch.utils.data.dataloader import _BaseDataLoaderIter

        real: Callable[[Any], Any] = _BaseDataLoaderIter._next_index  # noqa: SLF001 - the one place that every batch comes from

        self._real = real

        def counted(loader: Any) -> Any:
            indices, size = real(loader), getattr(loader._index_sampler, "batch_size", None)  # noqa: SLF001
            if isinstance(indices, list) and isinstance(size, int):
                self._drawn += len(indices)
                self._full += size
            return indices

        _BaseDataLoaderIter._next_index = counted  # type: ignore[method-assign] # noqa: SLF001
        return self

    def __exit__(self, *_: object) -> None:
        from torch.utils.data.dataloader import _BaseDataLoaderIter

        assert self._real is not None
        _BaseDataLoaderIter._next_index = self._real  # type: ignore[method-assign] # noqa: SLF001

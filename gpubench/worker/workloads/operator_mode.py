"""What a mode that watches operators does about operators of operators."""

from collections.abc import Mapping
from typing import Any

from torch._higher_order_ops.out_dtype import out_dtype, out_dtype_dense
from torch._ops import HigherOrderOperator
from torch.utils._python_dispatch import TorchDispatchMode


class OperatorMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives every operator to `call`: for `out_dtype` the one inside, and other higher-order ones (`cond`) as one
    operator, because torch runs what is inside of them unwatched.
    """

    supports_higher_order_operators = True
    """Without it they raise, and a library that catches that would compute otherwise than unwatched."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is out_dtype:
            with self:
                return out_dtype_dense(*args)
        return self.call(func, args, kwargs or {})

    def call(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Calls the operator and returns its result."""
        raise NotImplementedError


def name_of(func: Any) -> str:
    """Without its namespace and overload."""
    return str(func.__name__ if isinstance(func, HigherOrderOperator) else func.overloadpacket.__name__)

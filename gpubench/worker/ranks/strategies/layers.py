"""The layers of a model: the units of sharding, and the points where a pipeline may be cut."""

from collections import Counter
from collections.abc import Iterator

from torch import nn

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def layers(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Children with parameters, by name; containers, wrappers and stacks of equal blocks are opened."""
    for name, child in model.named_children():
        if isinstance(child, _CONTAINERS) or len(list(model.children())) == 1 or _holds_stack(child):
            yield from layers(child, f"{prefix}{name}.") if list(child.children()) else [(prefix + name, child)]
        elif any(True for _ in child.parameters()):
            yield prefix + name, child


def own_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Layers that share no parameter with another one (as embedding and output layer may)."""
    found = list(layers(model))
    times = Counter(id(parameter) for _, layer in found for parameter in set(layer.parameters()))
    return [(name, layer) for name, layer in found if all(times[id(each)] == 1 for each in layer.parameters())]


def _holds_stack(module: nn.Module) -> bool:
    return any(
        isinstance(child, _CONTAINERS)
        and len(kinds := [type(each) for each in child.children()]) > 1 == len(set(kinds))
        for child in module.children()
    )

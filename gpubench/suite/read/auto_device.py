"""Resolves `device: auto`: the GPU if this machine has one, else the CPU."""

import os
from collections.abc import Mapping
from pathlib import Path

from gpubench.suite.read.yaml_document import YamlEntry, YamlList, YamlMapping, YamlNode, YamlScalar

_GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg")
"""Device files of NVIDIA's driver, of AMD's, and of either under WSL."""

_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def auto_device(dev: Path = Path("/dev"), environ: Mapping[str, str] = os.environ) -> str:
    """`cuda` or `cpu`, without asking torch, so in a millisecond. If torch cannot use the GPU, the case says why."""
    if any(environ.get(name, "0").strip() in ("", "-1") for name in _HIDING):
        return "cpu"
    return "cuda" if any(next(dev.glob(pattern), None) for pattern in _GPU_FILES) else "cpu"


def with_device(root: YamlMapping, device: str) -> YamlMapping:
    """The suite with `device` wherever it says `device: auto`."""
    return YamlMapping(root.mark, {name: _replaced(name, entry, device) for name, entry in root.entries.items()})


def _replaced(name: str, entry: YamlEntry, device: str) -> YamlEntry:
    return YamlEntry(entry.key_mark, _chosen(entry.node, device, is_device=name == "device"))


def _chosen(node: YamlNode, device: str, *, is_device: bool) -> YamlNode:
    if isinstance(node, YamlMapping):
        return with_device(node, device)
    if isinstance(node, YamlList):
        return YamlList(node.mark, [_chosen(each, device, is_device=is_device) for each in node.elements])
    return YamlScalar(node.mark, device) if is_device and node.value == "auto" else node

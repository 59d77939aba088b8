"""The device that a case runs on. No other file of the worker names `torch.cuda`.

Other files use `accelerator_of(case.device)` and decide by its attributes: `asynchronous` picks the clock, `memory` the
memory figures, `lacks` the precisions. Another kind of device is a class here, a line in `ACCELERATORS`, and a backend
in `gpubench.telemetry.devices`. torch's build for AMD calls its devices `cuda` too; `RocmAccelerator` has the rest.
"""

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from gpubench.machine.installed_software import installed
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.device_memory import DeviceMemory

Step = Callable[[], object]

_ROCM_TF32 = ("gfx94", "gfx95")
"""Architectures with TF32, as in `torch.cuda.is_tf32_supported`."""
_RELIED_ON = (
    *("synchronize", "current_stream", "is_available", "memory_stats", "memory_allocated", "max_memory_allocated"),
    *("reset_peak_memory_stats", "mem_get_info", "get_device_properties", "Event", "Stream", "CUDAGraph"),
)


class DeviceFacts(NamedTuple):
    """`uuid` is as the driver writes it; `extra` holds facts that only some devices have (see `Effective.extra`)."""

    name: str | None
    uuid: str | None
    extra: dict[str, Any]


class CapturedGraph(NamedTuple):
    """`result` is the return value of the captured call. It must be kept as long as the graph is used, because every
    replay writes to the same addresses.
    """

    replay: Callable[[], None]
    result: Any


class DeviceEvent(Protocol):
    """A mark on the device's timeline, like `torch.Event`."""

    def record(self) -> None: ...
    def synchronize(self) -> None: ...
    def query(self) -> bool:
        """Whether the device has reached it."""
        ...

    def elapsed_time(self, later: Any, /) -> float:
        """Milliseconds until `later`."""
        ...


class Accelerator:
    """A device; this class is the host itself, other kinds override it. `device` is where tensors go.

    `asynchronous`: the host launches work and goes on, and events measure the device's time; otherwise a step is done
    when its call returns. `memory` is None without a torch allocator.
    """

    asynchronous = False
    memory: DeviceMemory | None = None

    def __init__(self, device: Any = "cpu", torch: Any = None) -> None:
        if torch is None:
            import torch
        self._torch: Any = torch
        self.device = torch.device(device)

    def problem(self) -> str | None:
        """Why the device cannot be used at all; None if it can."""
        return None

    def lacks(self, precision: str) -> str | None:
        """Why the device does not support this precision; None if it does. May create the device's context."""
        if PRECISIONS[precision].products_only:
            return f"{precision} products are a mode of GPUs' tensor cores; a CPU has none"
        tf32 = PRECISIONS[precision].math == "tf32"
        return "TF32 is a mode of NVIDIA's tensor cores; a CPU has none" if tf32 else None

    def select(self) -> None:
        """Makes it the current device of this process."""

    def synchronize(self) -> None:
        """Waits until the device has finished all work."""

    def event(self, *, blocking: bool = False) -> DeviceEvent:
        """`blocking`: the host sleeps while it waits for the event. NotImplementedError on a device without events."""
        raise NotImplementedError("a CPU has no events: a step is done when its call returns")

    def spin(self, cycles: int) -> None:
        """Occupies the device for about `cycles` clock cycles. NotImplementedError if nothing does that."""
        raise NotImplementedError("a CPU has no queue to hold back")

    def capture(self, step: Step, *, num_warmups: int, before: Callable[[], object] | None = None) -> CapturedGraph:
        """`step` as a graph, captured after warm-up steps on another stream and a call of `before`."""
        raise NotImplementedError("a CPU has no graphs")

    def facts(self) -> DeviceFacts:
        return DeviceFacts(None, None, {"cpu_capability": self._torch.backends.cpu.get_cpu_capability()})

    def last_cache_bytes(self) -> int | None:
        """Size of the last-level cache; None if torch does not know it."""
        return None

    def rng_devices(self) -> list[Any]:
        """The devices to give to `torch.random.fork_rng` to restore the random state."""
        return []


class CudaAccelerator(Accelerator):
    """An NVIDIA GPU. `torch` is the module."""

    asynchronous = True
    memory: DeviceMemory

    def __init__(self, device: Any, torch: Any) -> None:
        super().__init__(device, torch)
        self._cuda = torch.cuda
        self.memory = DeviceMemory(self.device, torch, torch.cuda)

    def problem(self) -> str | None:
        if not built_for_gpus(self._torch):
            return "this torch was built without CUDA"
        if not self._cuda.is_available():
            return "no CUDA device is usable here (`gpubench doctor` says why)"
        count = self._cuda.device_count()
        if (self.device.index or 0) < count:
            return None
        return f"there is no {self.device}: this process sees {count} CUDA device(s), from 0"

    def lacks(self, precision: str) -> str | None:
        major, minor = self._cuda.get_device_capability(self.device)
        since = PRECISIONS[precision].generation
        if since is None or (major, minor) >= since[:2]:
            return None
        needed = f"compute capability {since.major}.{since.minor} ({since.name})"
        return f"{PRECISIONS[precision].units} needs {needed}; this device has {major}.{minor}"

    def select(self) -> None:
        self._cuda.set_device(self.device.index or 0)

    def synchronize(self) -> None:
        self._cuda.synchronize(self.device)

    def event(self, *, blocking: bool = False) -> DeviceEvent:
        event: DeviceEvent = self._cuda.Event(enable_timing=True, blocking=blocking)
        return event

    def spin(self, cycles: int) -> None:
        if not hasattr(self._cuda, "_sleep"):
            raise NotImplementedError("this torch has no kernel to hold the device with")
        self._cuda._sleep(cycles)  # noqa: SLF001 - there is no public one

    def capture(self, step: Step, *, num_warmups: int, before: Callable[[], object] | None = None) -> CapturedGraph:
        side = self._cuda.Stream(self.device)
        side.wait_stream(self._cuda.current_stream(self.device))
        with self._cuda.stream(side), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True")  # it is captured right after this
            for _ in range(num_warmups):
                step()
        self._cuda.current_stream(self.device).wait_stream(side)
        if before is not None:
            before()
        graph = self._cuda.CUDAGraph()
        # Thread-local, or a loader thread that pins memory would break the capture.
        with self.memory.capturing(graph), self._cuda.graph(graph, capture_error_mode="thread_local"):
            result = step()
        return CapturedGraph(graph.replay, result)

    def facts(self) -> DeviceFacts:
        properties = self._cuda.get_device_properties(self.device)
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        # Of a MIG slice, older drivers name the card, and torch leaves out what tells the two apart.
        uuid = chosen[0] if chosen[0].startswith("MIG-") else str(properties.uuid)
        extra = self._common_facts(properties) | {"compute_capability": f"{properties.major}.{properties.minor}"}
        return DeviceFacts(properties.name, uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}", extra)

    def _common_facts(self, properties: Any) -> dict[str, Any]:
        pci = None
        if hasattr(properties, "pci_bus_id"):
            pci = f"{properties.pci_domain_id:04x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"
        num = properties.multi_processor_count
        return {"total_bytes": properties.total_memory, "num_multiprocessors": num, "pci": pci}

    def last_cache_bytes(self) -> int | None:
        return getattr(self._cuda.get_device_properties(self.device), "L2_cache_size", None)

    def rng_devices(self) -> list[Any]:
        return [self.device]

    @property
    def name(self) -> str:
        return str(self._cuda.get_device_name(self.device))

    def current(self) -> AbstractContextManager[None]:
        """Inside, it is the current device."""
        context: AbstractContextManager[None] = self._cuda.device(self.device)
        return context


class RocmAccelerator(CudaAccelerator):
    """An AMD GPU under torch's HIP build: the same calls, other facts. It has architectures instead of compute
    capabilities, and a UUID that is the chip's serial number, which torch shows as the codes of its 16 characters.
    """

    def lacks(self, precision: str) -> str | None:
        name = self._architecture()
        if PRECISIONS[precision].products_only:
            return f"{precision} is measured on NVIDIA devices only: the type of AMD's products differs"
        if PRECISIONS[precision].math != "tf32" or name.startswith(_ROCM_TF32):
            return None
        return f"TF32 needs an AMD device of {' or '.join(_ROCM_TF32)}; this one is {name}"

    def facts(self) -> DeviceFacts:
        properties = self._cuda.get_device_properties(self.device)
        digits = str(properties.uuid).removeprefix("GPU-").replace("-", "")
        serial = bytes.fromhex(digits).decode("ascii", "replace") if len(digits) == 32 else digits
        extra = self._common_facts(properties) | {"architecture": self._architecture()}
        return DeviceFacts(properties.name, f"GPU-{serial}", extra)

    def _architecture(self) -> str:
        """`gfx942`, without the features that the driver lists after it."""
        return str(self._cuda.get_device_properties(self.device).gcnArchName).partition(":")[0]


def gpu(device: Any, torch: Any = None) -> CudaAccelerator:
    """The accelerator that this build of torch calls `cuda`."""
    if torch is None:
        import torch
    return RocmAccelerator(device, torch) if getattr(torch.version, "hip", None) else CudaAccelerator(device, torch)


ACCELERATORS: dict[str, Callable[[Any], Accelerator]] = {"cpu": Accelerator, "cuda": gpu}
"""The accelerators by device type."""


def accelerator_of(device: Any) -> Accelerator:
    """The accelerator of a case's `device` (`cuda:1`) or a torch.device. KeyError for a type not in `ACCELERATORS`."""
    return ACCELERATORS[str(device).partition(":")[0]](device)


def visible_gpus(torch: Any) -> tuple[list[Accelerator], str | None]:
    """The GPUs that torch lets this process use, in torch's numbering, and why there is none. Initialises the
    driver.
    """
    if not built_for_gpus(torch):
        return [], "this torch was built without CUDA"
    if torch.cuda.is_available():
        return [gpu(torch.device("cuda", index), torch) for index in range(torch.cuda.device_count())], None
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        first_sentence = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        return [], first_sentence or "CUDA cannot be initialised"
    return [], "torch sees no CUDA device (CUDA_VISIBLE_DEVICES may hide it)"


def functions_of_gpus(torch: Any) -> tuple[tuple[str, Any, tuple[str, ...] | None], ...]:
    """What figures of a GPU rely on: where it is, its owner, and the names of its functions (None: all)."""
    return ("torch.cuda", torch.cuda, _RELIED_ON), ("torch.cuda.Event", torch.cuda.Event, None)


def built_for_gpus(torch: Any) -> bool:
    return torch.version.cuda is not None or getattr(torch.version, "hip", None) is not None


def library_versions(torch: Any, cudnn: int | None) -> dict[str, str | None]:
    """Versions of the libraries in torch's build. `cudnn` in cuDNN's numbering: 91500 is 9.15.0. HIP has MIOpen
    instead.
    """
    hip = getattr(torch.version, "hip", None)
    if hip is not None:
        return {"cuda": None, "cudnn": None, "hip": hip, "miopen": None if cudnn is None else str(cudnn)}
    named = None if cudnn is None else f"{cudnn // 10000}.{cudnn // 100 % 100}.{cudnn % 100}"
    return {"cuda": torch.version.cuda, "cudnn": named}


def software(torch: Any, cudnn: int | None) -> dict[str, str | None]:
    """Versions of torch, torchvision, the libraries of torch's build, and Triton."""
    own = {name: installed(name) for name in ("torchvision", "triton")}
    return {"torch": str(torch.__version__), **library_versions(torch, cudnn), **own}

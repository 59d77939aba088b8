"""A module that stands in for AMD's `amdsmi`: cards whose answers a test sets, and calls that a test makes fail."""

import types
from enum import IntEnum
from typing import Any

MIB = 2**20


class AmdSmiException(Exception):  # noqa: N818 - amdsmi's name
    pass


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, err_code: int) -> None:
        super().__init__(err_code)
        self.err_code = err_code
        self.err_info = {2: "AMDSMI_STATUS_NOT_SUPPORTED - Feature not supported"}.get(err_code, f"status {err_code}")


class AmdSmiClkType(IntEnum):
    GFX = 1
    MEM = 5


class AmdSmiTemperatureType(IntEnum):
    EDGE = 0
    JUNCTION = 1
    VRAM = 2


class AmdSmiTemperatureMetric(IntEnum):
    CURRENT = 0


class AmdSmiMemoryType(IntEnum):
    VRAM = 0


def card(number: int = 0) -> dict[str, Any]:
    """What each call answers for a card, by the name of the call without `amdsmi_get_`; a dict by its argument."""
    return {
        "gpu_asic_info": {"market_name": "AMD Instinct MI300X", "asic_serial": f"0x8D04FC29038C01F{number:X}"},
        "gpu_device_bdf": f"0000:{number + 5:02x}:00.0",
        "gpu_enumeration_info": {"hip_id": number},
        "gpu_compute_partition": "SPX",
        "energy_count": {"energy_accumulator": 1_000_000, "counter_resolution": 15.259, "timestamp": 0},
        "power_info": {"socket_power": 550, "current_socket_power": 551, "average_socket_power": "N/A"},
        "clock_info": {
            AmdSmiClkType.GFX: {"clk": 2100, "max_clk": 2100},
            AmdSmiClkType.MEM: {"clk": 1300, "max_clk": 1300},
        },
        "temp_metric": {AmdSmiTemperatureType.JUNCTION: 61, AmdSmiTemperatureType.VRAM: 52},
        "gpu_memory_total": {AmdSmiMemoryType.VRAM: 192 * 1024 * MIB},
        "gpu_memory_usage": {AmdSmiMemoryType.VRAM: 300 * MIB},
        "gpu_activity": {"gfx_activity": 87, "umc_activity": 30, "mm_activity": "N/A"},
        "gpu_metrics_info": {
            "accumulation_counter": 1000,
            "prochot_residency_acc": 0,
            "ppt_residency_acc": 100,
            "socket_thm_residency_acc": 0,
            "vr_thm_residency_acc": 0,
            "hbm_thm_residency_acc": 0,
        },
        "gpu_process_list": [{"pid": 41, "name": "python", "memory_usage": {"vram_mem": 256 * MIB}}],
        "power_cap_info": {
            "power_cap": 750_000_000,
            "default_power_cap": 750_000_000,
            "min_power_cap": 0,
            "max_power_cap": 750_000_000,
        },
        "pcie_info": {"pcie_metric": {"pcie_width": 16}, "pcie_static": {"max_pcie_width": 16}},
    }


class FakeAmdSmi(types.ModuleType):
    """`cards` by handle (its position), `failing` statuses by call, `calls` how often each was made."""

    AmdSmiClkType = AmdSmiClkType
    AmdSmiTemperatureType = AmdSmiTemperatureType
    AmdSmiTemperatureMetric = AmdSmiTemperatureMetric
    AmdSmiMemoryType = AmdSmiMemoryType
    AmdSmiException = AmdSmiException
    AmdSmiLibraryException = AmdSmiLibraryException

    def __init__(self, *cards: dict[str, Any]) -> None:
        super().__init__("amdsmi")
        self.cards = list(cards)
        self.failing: dict[str, int] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("amdsmi_"):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.calls.append(name)
            if name in self.failing:
                raise AmdSmiLibraryException(self.failing[name])
            if name in ("amdsmi_init", "amdsmi_shut_down"):
                return None
            if name == "amdsmi_get_processor_handles":
                return list(range(len(self.cards)))
            handle, *rest = args
            answers = self.cards[handle].get(name.removeprefix("amdsmi_get_"))
            if answers is None:
                raise AmdSmiLibraryException(2)
            if not rest:
                return answers
            if rest[0] not in answers:
                raise AmdSmiLibraryException(2)
            return answers[rest[0]]

        return call

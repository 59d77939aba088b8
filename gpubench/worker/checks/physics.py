"""Whether a case is faster than any device can be: its FLOP/s against a bound that no hardware reaches."""

from gpubench.core.cpus import usable_cpus
from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_number
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import PRECISIONS
from gpubench.worker.accelerator import Accelerator

CPU_HERTZ, GPU_HERTZ = 6.5e9, 3.5e9
"""No clock is faster."""

CPU_FLOPS, CPU_REDUCED_FLOPS = 128, 4096
"""Per cycle and core: two AVX-512 units do 64; AMX tiles do 2,048 in bf16 (Intel's optimization manual)."""

GPU_FLOPS, GPU_REDUCED_FLOPS = 256, 32_768
"""Per cycle and multiprocessor: 128 lanes of fp32; the tensor cores of a B200 do 16,384 in fp8 (NVIDIA)."""

SAVED = 6.0
"""Factor by which a convolution may need fewer multiplications than are counted: Winograd's F(6x6, 3x3) saves 5.1."""

_TERA = 1e12


def most_flops(case: Case, accelerator: Accelerator) -> float | None:
    """Upper bound of FLOP/s; None for a device of unknown size."""
    reduced = PRECISIONS[case.precision].reduced
    if not accelerator.asynchronous:
        cores = usable_cpus()
        return None if cores is None else SAVED * cores * CPU_HERTZ * (CPU_REDUCED_FLOPS if reduced else CPU_FLOPS)
    units = accelerator.facts().extra.get("num_multiprocessors")
    return None if not units else SAVED * units * GPU_HERTZ * (GPU_REDUCED_FLOPS if reduced else GPU_FLOPS)


def faster_than_physics(achieved_flops: float | None, case: Case, accelerator: Accelerator) -> Finding | None:
    """GB318 for FLOP/s above the bound."""
    most = None if achieved_flops is None else most_flops(case, accelerator)
    if achieved_flops is None or most is None or achieved_flops <= most:
        return None
    got, bound = format_number(achieved_flops / _TERA), format_number(most / _TERA)
    message = f"The case claims {got} TFLOP/s, and no device of this size can reach {bound} TFLOP/s."
    return finding("GB318", message, achieved_flops=achieved_flops, most_flops=most)

"""Classifies kernels by name alone.

Libraries change names with every release, so each figure based on them says so. In the tables, the first matching
pattern decides. Patterns were written against the naming of cuBLAS and cuBLASLt (`nvjet`, `gemm`, `gemv`), cuDNN
(`xmma`, `implicit_gemm`, `winograd`), CUTLASS (`tensorop`, `simt`, `Gmma`), ATen, NCCL, Triton, FBGEMM, and of AMD's
rocBLAS and hipBLASLt (`Cijk_`), MIOpen and Composable Kernel.
"""

import re
from functools import lru_cache
from typing import Literal

from gpubench.profile.traces.trace import UNNAMED

TensorCore = Literal["yes", "no", "unknown"]

_CLASSES: tuple[tuple[str, str], ...] = (
    ("comm", r"nccl|nvshmem|rccl|msccl|allreduce|all_reduce|allgather|reducescatter|one_shot_|two_shot_|deep_?ep"),
    ("triton", r"^triton_|triton_(poi|red|per|tem|mm|bmm|fused)|_triton_kernel"),
    (
        "embedding",
        (
            r"embedding_(codegen|forward|backward)|permute_(pooled|\dd|indices|lengths)|bounds_check_indices|jagged"
            r"|lxu_cache|bucketize_sparse|offsets_range|linearize_\w*ind"
        ),
    ),
    ("attention", r"fmha|flash_(fwd|bwd)|flash::|flash_?attn|_sdpa|attention|(mha|attn)_(fwd|bwd)"),
    ("optimizer", r"multi_tensor_apply|fused_?(adam|sgd|lamb)|(adam|sgd|adagrad|lamb)w?_?(kernel|functor|math|update)"),
    (
        "norm",
        r"(batch|layer|group|rms|instance)_?norm|bn_(fw|bw)_|welford|rowwisemoments|bnaddrelu|internalgradients|gammabeta",
    ),
    ("softmax", r"soft_?max|nll_loss|cross_?entropy"),
    ("pool", r"max_?pool|avg_?pool|adaptive_.*pool|pooling_(fw|bw)|pool_(fw|bw|forward|backward)"),
    (
        "layout",
        r"nchwtonhwc|nhwctonchw|nchw_?to_?nhwc|nhwc_?to_?nchw|transpose|convert_?tensor|tensor_?transform|im2col|col2im",
    ),
    (
        "conv",
        r"igemm_(fwd|bwd|wrw)|compute_?b?_?offsets_?kernel|fprop|dgrad|wgrad|conv|winograd|implicit_gemm|cudnn.*gemm|scudnn|hcudnn|fft2d|cgemm.*cudnn|depthwise",
    ),
    (
        "gemm",
        r"cijk_|(?<!fb)gemm|gemv|nvjet|cublas|splitkreduce|matmul|_mm_|cutlass|\bdot_kernel|reduce_1block_kernel.*dot",
    ),
    ("random", r"distribution_|philox|curand|dropout|randperm|bernoulli"),
    ("embedding", r"embedding|index_?(select|put|kernel|elementwise|add|copy)|gather|scatter"),
    ("sort", r"radix_?sort|sort_?kernel|topk|bitonic|devicescan|scan_|unique"),
    ("copy", r"direct_copy|copy_kernel|catarraybatchedcopy|copy_device_to_device|memcpy"),
    ("fill", r"fillfunctor|memset|fill_kernel"),
    ("reduce", r"reduce"),
    (
        "elementwise",
        (
            r"elementwise|pointwise|unrolled|foreach|functor|_kernel_impl|lerp|axpby|op_tensor|add_tensor|scale_?packed"
            r"|quantize|qparam|_to_float|float_to_"
        ),
    ),
)
_CLASS_PATTERNS = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _CLASSES)

_NOT_TENSOR_CORE = re.compile(r"ffma|simt|sgemm|dgemm_|gemv|scudnn|cijk_(?!.*_MI\d+x\d).*_TT\d+_\d+", re.IGNORECASE)
"""Names of plain CUDA-core products; they win over every pattern below (`xmma` kernels with `ffma` are the usual trap).
rocBLAS names a thread's tile (`TT4_4`) if it uses no matrix instruction (`MI16x16x1`).
"""

_TENSOR_CORE = re.compile(
    r"""
    [hidbqo]mma(?![a-z])                 # instruction names: hmma, imma, dmma, bmma, qmma, omma
    | w?gmma | utcmma | tcgen05 | umma   # Hopper and Blackwell
    | tensorop | tensor\d+x\d+x\d+       # CUTLASS; cuDNN's "tensor16x8x16"
    | nvjet                              # cuBLASLt since Hopper
    | warpgroupsize\d | warpspecialized
    | (?:^|[_a-z])(?:[a-z]{0,2})(?:884|1688|8816|16816|16832|161616|168128|81632)
      (?=gemm|fprop|dgrad|wgrad|conv|cudnn|[_a-z]|$)
    | xmma_.*(?:bf16bf16|f16f16|tf32tf32|tf32f32|i8i8|e4m3|e5m2|f8f8)
    | flash_(?:fwd|bwd) | flash::.*kernel | flash_?attn(?:fwd|bwd) | fmha.*(?:sm[789]\d|sm1\d\d|cutlass) | _sdpa_sm\d+
    | marlin | machete
    | cijk_.*_MI\d+x\d+x\d | mfma | wmma | xdl(?:ops)?_ | gtcx   # AMD's matrix cores
    """,
    re.IGNORECASE | re.VERBOSE,
)
_UNKNOWN = re.compile(
    r"^triton_|_triton_kernel|^kernel_cutlass_|^_?matmul_kernel|cijk_(?!.*_MI\d+x\d+x\d)", re.IGNORECASE
)


@lru_cache(maxsize=65536)
def kernel_class(name: str) -> str:
    """`gemm`, `conv`, `norm`, `optimizer`, `elementwise`, `comm` ...; `other` if no pattern matches."""
    for label, pattern in _CLASS_PATTERNS:
        if pattern.search(name):
            return label
    return "other"


@lru_cache(maxsize=65536)
def uses_tensor_cores(name: str) -> TensorCore:
    """Whether a kernel of this name computes on tensor cores; names of Triton kernels do not say."""
    if _NOT_TENSOR_CORE.search(name):
        return "no"
    if name == UNNAMED or _UNKNOWN.search(name):
        return "unknown"
    return "yes" if _TENSOR_CORE.search(name) else "no"

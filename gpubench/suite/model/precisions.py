"""The precisions, one entry each: every table in the package comes from these."""

from typing import Literal, NamedTuple


class ParityLimits(NamedTuple):
    """Largest relative L2 error of the logits, and relative error of the loss, against fp64."""

    logits: float
    loss: float


class Generation(NamedTuple):
    """A generation of NVIDIA GPUs, by its first compute capability."""

    major: int
    minor: int
    name: str


class PrecisionSpec(NamedTuple):
    """What a value of `precision` means.

    `weights`, `autocast` and `compute` name torch dtypes: `weights` of parameters and images, `autocast` what autocast
    casts to (None: no autocast), `compute` the dtype that convolutions and matrix products must produce. `math` is
    torch's `fp32_precision` on the GPU. `scaled`: training needs a GradScaler. `units` is the arithmetic that NVIDIA
    GPUs have since `generation` (None: all have it). `ceiling`: the precision whose measured peak bounds this one.
    `products_only`: torch has products of this type and no models. `colour` (on light, on dark) and `mark` are those of
    its curve in every chart.
    """

    name: str
    units: str
    weights: str
    parity: ParityLimits
    colour: tuple[str, str]
    mark: str
    autocast: str | None = None
    math: Literal["ieee", "tf32"] = "ieee"
    scaled: bool = False
    generation: Generation | None = None
    products_only: bool = False
    synonyms: tuple[str, ...] = ()

    @property
    def compute(self) -> str:
        return self.autocast or self.weights

    @property
    def reduced(self) -> bool:
        """Whether products are computed in less than fp32, so that a GPU may use tensor cores."""
        return self.compute != "float32" or self.math != "ieee"

    @property
    def ceiling(self) -> str:
        """Autocast computes on the units of the type it casts to."""
        same = (spec.name for spec in PRECISIONS.values() if spec.weights == self.autocast)
        return self.name if self.autocast is None else next(same, self.name)


_FP16, _BF16 = ParityLimits(1.5e-2, 1e-3), ParityLimits(8e-2, 1e-2)
_AMPERE = Generation(8, 0, "Ampere")

PRECISIONS: dict[str, PrecisionSpec] = {
    spec.name: spec
    for spec in (
        PrecisionSpec(
            "fp32", "fp32", "float32", ParityLimits(2e-5, 1e-4), ("#444444", "#c9cdd1"), "circle", synonyms=("float32",)
        ),
        PrecisionSpec(
            "tf32",
            "TF32",
            "float32",
            ParityLimits(1e-2, 1e-3),
            ("#E69F00", "#f0b53d"),
            "square",
            math="tf32",
            generation=_AMPERE,
        ),
        PrecisionSpec(
            "amp-fp16", "fp16", "float32", _FP16, ("#56B4E9", "#8fd0f5"), "triangle-up", autocast="float16", scaled=True
        ),
        PrecisionSpec(
            "amp-bf16",
            "bf16",
            "float32",
            _BF16,
            ("#0072B2", "#3f9fe0"),
            "diamond",
            autocast="bfloat16",
            generation=_AMPERE,
            synonyms=("amp",),
        ),
        PrecisionSpec(
            "fp16", "fp16", "float16", _FP16, ("#CC79A7", "#e39dc3"), "triangle-down", synonyms=("half", "float16")
        ),
        PrecisionSpec(
            "bf16",
            "bf16",
            "bfloat16",
            _BF16,
            ("#009E73", "#35c49a"),
            "cross",
            generation=_AMPERE,
            synonyms=("bfloat16",),
        ),
        PrecisionSpec(
            "fp8",
            "fp8",
            "float8_e4m3fn",
            ParityLimits(1e-2, 1e-2),
            ("#A05A00", "#d9944a"),
            "triangle-right",
            generation=Generation(8, 9, "Ada"),
            products_only=True,
            synonyms=("float8", "e4m3"),
        ),
    )
}
"""In the order of the suite schema."""

LEGEND_ORDER = tuple(sorted(PRECISIONS, key=lambda name: PRECISIONS[name].autocast is not None))
"""The names as a report lists them: autocast last."""

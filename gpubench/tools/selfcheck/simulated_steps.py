"""Step times with a known answer."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

STEPS = 60


@dataclass(frozen=True)
class Scenario:
    """How step times vary. All sizes are on log time, so 0.01 is 1 %.

    `between`: SD between launches. `within`: SD of a step in its launch, with autocorrelation `phi` from step to step
    (AR(1)). `round_sd`: SD of a round's effect, shared by both arms. `drift`: change over the whole comparison, shared
    by both arms; `warmup`: excess of a launch's first step that decays over ten steps. `outliers`: share of steps that
    take 1.5 to 3 times as long. `bimodal`: (share, size) of launches in a slower mode. `bad`: (share, size) of launches
    that went wrong. `session`: SD between sessions, which stored runs have and interleaved arms share. `tails` is the
    shape of how launches vary: normal, heavy (Student's t of three degrees of freedom) or skewed (exponential), each
    with the same SD; `round_phi` their autocorrelation from round to round. `judged`: whether the targets hold here
    (launches vary by up to 1 %).
    """

    name: str
    between: float = 0.005
    within: float = 0.02
    phi: float = 0.3
    round_sd: float = 0.0
    drift: float = 0.0
    warmup: float = 0.0
    outliers: float = 0.0
    bimodal: tuple[float, float] = (0.0, 0.0)
    bad: tuple[float, float] = (0.0, 0.0)
    session: float = 0.0
    tails: Literal["normal", "heavy", "skewed"] = "normal"
    round_phi: float = 0.0
    judged: bool = True


SCENARIOS = (
    Scenario("quiet", between=0.002, within=0.01, phi=0.0),
    Scenario("launches vary 0.5 %"),
    Scenario("launches vary 1 %", between=0.01),
    Scenario("heavy tails, 1 %", between=0.01, tails="heavy"),
    Scenario("skewed launches, 1 %", between=0.01, tails="skewed"),
    Scenario("autocorrelated steps", within=0.01, phi=0.9),
    Scenario("slow steps", outliers=0.02),
    Scenario("drift", drift=0.04, warmup=0.3),
    Scenario("bimodal launches", bimodal=(0.3, 0.015)),
    Scenario("one bad launch in 20", bad=(0.05, 0.2)),
    Scenario("rounds vary 1 %", round_sd=0.01),
    Scenario("sessions differ 1 %", between=0.005, session=0.01),
    Scenario("launches vary 3 %", between=0.03, judged=False),
    Scenario("rounds depend on each other", between=0.01, round_phi=0.5, judged=False),
)


def simulate(
    scenario: Scenario, effect: float, rng: "np.random.Generator", trials: int, rounds: int, *, interleaved: bool = True
) -> "FloatArray":
    """Step times in seconds, shape (trials, rounds, 2 arms, steps); the second arm takes `effect` (0.03: 3 %) longer.

    Not interleaved: the arms are two sessions of one machine, and share neither rounds nor drift.
    """
    import numpy as np

    shared = (trials, rounds, 1) if interleaved else (trials, rounds, 2)
    level = np.full((trials, rounds, 2), math.log(0.010))
    level[..., 1] += math.log1p(effect)
    level += scenario.round_sd * rng.standard_normal(shared) + scenario.drift * np.linspace(0, 1, rounds)[:, None]
    if not interleaved:
        level += scenario.session * rng.standard_normal((trials, 1, 2))
    launches = _launches(rng, level.shape, scenario.tails)
    if scenario.round_phi:
        launches = _ar1(rng, (trials, 2, rounds), scenario.round_phi).swapaxes(1, 2)
    level += scenario.between * launches
    for share, size in (scenario.bimodal, scenario.bad):
        level += size * (rng.random(level.shape) < share)
    steps = level[..., None] + scenario.within * _ar1(rng, (*level.shape, STEPS), scenario.phi)
    steps += np.log1p(scenario.warmup * np.exp(-np.arange(STEPS) / 10))
    if scenario.outliers:
        slow = rng.random(steps.shape) < scenario.outliers
        steps += slow * np.log(rng.uniform(1.5, 3.0, steps.shape))
    times: FloatArray = np.exp(steps)
    return times


def _launches(rng: "np.random.Generator", shape: tuple[int, ...], tails: str) -> "FloatArray":
    """Random values with unit variance and mean 0."""
    found: FloatArray
    if tails == "heavy":
        found = rng.standard_t(3, shape) / math.sqrt(3)
    else:
        found = rng.exponential(size=shape) - 1 if tails == "skewed" else rng.standard_normal(shape)
    return found


def _ar1(rng: "np.random.Generator", shape: tuple[int, ...], phi: float) -> "FloatArray":
    """Stationary AR(1) of unit variance along the last axis."""
    import numpy as np

    noise: FloatArray = rng.standard_normal(shape)
    innovation = math.sqrt(1 - phi**2)
    for step in range(1, shape[-1]):
        noise[..., step] = phi * noise[..., step - 1] + innovation * noise[..., step]
    return np.asarray(noise)

"""Why cards of a fleet are slow: from what an agent reads from NVML while they measure, to the name and its cause."""

import random
import time
from collections.abc import Callable
from contextlib import ExitStack

from fakes.node_agents import result
from fakes.nvml.control import POWER_CAP, SW_THERMAL, Fake
from fakes.runs import Invented

from gpubench.analysis.fleet.judge_run import judge_fleet, suspects_of
from gpubench.core.records import RankRecord, Window
from gpubench.protocol.messages import Hello, Job
from gpubench.protocol.node_messages import NodeJob
from gpubench.runner.nodes.agent import RankTelemetry
from gpubench.runner.nodes.cluster_telemetry import state_of
from gpubench.suite.model.case import Case

LAUNCHES, CARDS = 8, 20
CASE = Case(workload="operators:matmul", device="cuda", mode="infer", world_size=CARDS)

ODD: list[tuple[str, Callable[[Fake, int], object]]] = [
    ("its ECC is on, that of the others off", lambda fake, card: fake.rule("nvmlDeviceGetEccMode", device=card)),
    ("other processes were on it: 1, on the others none", lambda fake, card: fake.processes(41, device=card)),
    (
        "its power limit is 600 W, that of the others 700 W",
        lambda fake, card: fake.state(limit_w=600, device=card),
    ),
    (
        "throttled for power cap in 100% of its time, the others in 0%",
        lambda fake, card: fake.hold(POWER_CAP, 0, 1e9, device=card),
    ),
    (
        "throttled for temperature in 100% of its time at 55 °C, the others in 0%",
        lambda fake, card: fake.hold(SW_THERMAL, 0, 1e9, device=card),
    ),
    ("PCIe lanes: 8, the others 16", lambda fake, card: fake.speeds(pcie_width=8, device=card)),
    (
        "its memory clock is 2000 MHz, that of the others 2619 MHz",
        lambda fake, card: fake.speeds(memory_mhz=2000, device=card),
    ),
    (
        "its core clock is 1200 MHz, that of the others 1980 MHz",
        lambda fake, card: fake.clock(0, 1200, 1200, device=card),
    ),
]
"""The evidence for each cause, and what makes a card so."""


def read_cards(fake: Fake) -> dict[int, dict[str, float]]:
    """What the record of each card has of its telemetry, read by the agent's own code. Card `k` is `ODD[k]`."""
    devices = []
    for card in range(CARDS):
        uuid = f"fa4e0000-0000-4000-8000-{card:012d}"
        fake.add_device(uuid, pci=f"00000000:{card:02X}:00.0")
        fake.trace([(0.0, 500.0)], device=card)
        devices.append({"index": card, "uuid": f"GPU-{uuid}"})
    for card, (_, make_odd) in enumerate(ODD):
        make_odd(fake, card)
    fake.rule("nvmlDeviceGetEccMode", zero=True)  # of the cards that have no rule yet
    asked = NodeJob(number=1, job=Job(job=1, case=CASE, log=""), telemetry="sampled")
    with ExitStack() as stack:
        watch = RankTelemetry(asked, Hello(pid=1, role="host", versions={}, devices=tuple(devices)), stack)
        start_s, read = time.monotonic(), dict[int, dict[str, float]]()
        clocks = {"sm_clock_mhz", "memory_clock_mhz"}
        while not all(clocks <= read.get(card, {}).keys() for card in range(CARDS)):  # a busy machine reads late
            assert time.monotonic() < start_s + 30
            time.sleep(0.3)
            window = Window(start_s=start_s, end_s=time.monotonic(), num_steps=10, num_samples=80)
            windows = watch.windows(result(0).model_copy(update={"window": window}))
            read = {card: state_of(each) for card, each in windows.items()}
    return read


def test_a_slow_card_is_named_with_the_cause_that_its_agent_read(fake: Fake) -> None:
    read, noise, made = read_cards(fake), random.Random(7), Invented(repeats=LAUNCHES)
    planned = made.plan("matmul", workload="operators:matmul", device="cuda", mode="infer")

    def cards(which: range | tuple[int, ...]) -> tuple[RankRecord, ...]:
        return tuple(
            RankRecord(
                rank=card,
                node=card,
                host=f"n{card}",
                device="cuda:0",
                step_time_s=0.01 * noise.gauss(1, 0.0005) * (1.05 if card < len(ODD) else 1),
                telemetry=read[card],
            )
            for card in which
        )

    for repeat in range(1, LAUNCHES + 1):
        made.add(planned, repeat, metrics={"step_time_s": 0.01}, ranks=cards(range(CARDS)))
    info = made.run().info.model_copy(update={"suite": {"fleet": {}}})
    reference, suspects = suspects_of(info, made.records)[1]
    for repeat in range(LAUNCHES + 1, 2 * LAUNCHES + 1):
        again = made.add(planned, repeat, metrics={"step_time_s": 0.01}, ranks=cards((reference, *suspects)))
        made.records[-1] = again.model_copy(update={"kind": "retest"})
    fleet = judge_fleet(info, made.records)
    assert fleet is not None
    assert {each.card.number: each.why.evidence for each in fleet.slow} == dict(
        enumerate(evidence for evidence, _ in ODD)
    )

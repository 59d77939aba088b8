"""Why a step takes longer, on windows made by hand: the arithmetic needs neither torch nor time."""

import random
from collections.abc import Callable

import pytest

from gpubench.core.records import Estimate
from gpubench.profile.figures.explain_change import ArmWindows, ChangeExplained, explain
from gpubench.profile.figures.step_tree import IDLE, OUTSIDE, Node, add_inputs, add_window
from gpubench.profile.traces.trace import HostOperator, LaunchCall, Operation, Range, TensorFact, Trace

PHASES = ("data", "h2d", "forward", "loss", "backward", "optimizer")
Times = dict[str, list[tuple[str, float]]]
"""Per phase, the operators in order with their microseconds."""

STEP: Times = {
    "forward": [("aten::conv2d", 300.0), ("aten::relu", 50.0), ("aten::conv2d", 300.0), ("aten::linear", 50.0)],
    "backward": [("ConvolutionBackward0", 500.0), ("ReluBackward0", 60.0), ("ConvolutionBackward0", 600.0)],
    "optimizer": [("SGD.step", 100.0)],
}


def trace(step: Times, *, steps: int = 4, scale: Callable[[], float] = lambda: 1.0, gap: float = 10.0) -> Trace:
    """Steps of one thread: `gap` microseconds of Python before each operator and around each phase."""
    made = Trace(tool="torch", main_threads={1: 1})
    at = 0.0

    def ns(value: float) -> int:
        return round(value * 1000)

    for _ in range(steps):
        begun = at
        for phase, operators in step.items():
            at += gap
            first = at
            for name, length in operators:
                at += gap
                last = at + length * scale()
                made.operators.append(HostOperator(name, ns(at), ns(last), 1, 1))
                at = last
            made.ranges.append(Range("gpubench", phase, ns(first), ns(at), 1, 1))
        made.ranges.append(Range("gpubench", "step", ns(begun), ns(at), 1, 1))
    return made


def arm(name: str, step: Times, *, turns: int = 8, noise: float = 0.0, drift: list[float] | None = None) -> ArmWindows:
    """Windows of an arm whose operators vary by `noise`; `drift` is how slow the machine was in each turn."""
    order = random.Random(f"{name}/{noise}")
    found = ArmWindows(name, Node("step"), steps=4)
    for window in range(turns):
        slow = 1.0 if drift is None else drift[window]
        made = trace(step, scale=lambda slow=slow: slow * (1 + order.gauss(0, noise)), gap=10 * slow)
        add_window(found.tree, made, window)
        span = max(each.end for each in made.ranges) / 4 / 1e9
        found.step_times_s.append(span)
        found.profiled_s.append(span)
    return found


def changed(**phases: list[tuple[str, float]]) -> Times:
    return {**STEP, **phases}


def found(candidate: Times, *, noise: float = 0.002, **how) -> ChangeExplained:
    return explain(arm("base", STEP, noise=noise), arm("head", candidate, noise=noise), one_process=True, **how)


def names(answer: ChangeExplained) -> list[tuple[str, str, str, str]]:
    return [(part.phase, part.kind, part.before, part.after) for part in answer.parts]


def test_the_tree_of_a_step_holds_every_nanosecond_of_it():
    tree = Node("step")
    made = trace(STEP)
    assert add_window(tree, made, 0) == 4
    step_ns = max(each.end for each in made.ranges) / 4
    assert tree.total_ns(0) == pytest.approx(step_ns)
    assert tree.children["forward", 0].children["aten::conv2d", 1].own_ns[0] == pytest.approx(300e3)
    assert tree.children["forward", 0].own_ns[0] == pytest.approx(40e3)


def test_an_operator_that_takes_longer_is_named_with_its_share_and_interval():
    slower = changed(
        backward=[("ConvolutionBackward0", 560.0), ("ReluBackward0", 60.0), ("ConvolutionBackward0", 600.0)]
    )
    answer = found(slower)
    assert names(answer) == [("backward", "same", "ConvolutionBackward0", "ConvolutionBackward0")]
    part = answer.parts[0]
    assert part.change.value == pytest.approx(60 / 2080, rel=0.15)
    assert part.change.low < 60 / 2080 < part.change.high
    assert part.calls == (2.0, 2.0)
    assert answer.explained == pytest.approx(1.0, abs=0.1)
    assert answer.rest.low < 0 < answer.rest.high


def test_an_arm_against_itself_names_nothing():
    answers = [
        explain(arm(f"base{seed}", STEP, noise=0.02), arm(f"head{seed}", STEP, noise=0.02), one_process=True)
        for seed in range(40)
    ]
    assert [names(answer) for answer in answers if answer.parts] == []
    assert all(answer.explained is None for answer in answers)


def test_a_renamed_operator_is_a_change_and_no_addition():
    renamed = changed(forward=[("aten::conv2d", 300.0), ("aten::gelu", 250.0), *STEP["forward"][2:]])
    assert names(found(renamed)) == [("forward", "changed", "aten::relu", "aten::gelu")]


def test_one_more_operator_is_an_addition_whatever_others_of_its_name_there_are():
    more = changed(forward=[*STEP["forward"], ("aten::conv2d", 200.0)])
    assert names(found(more)) == [("forward", "added", "", "aten::conv2d")]


def test_a_missing_operator_is_gone():
    less = changed(backward=STEP["backward"][:1])
    answer = found(less)
    assert ("backward", "gone", "ConvolutionBackward0", "") in names(answer)
    assert answer.parts[0].change.value == pytest.approx(-600 / 2080, rel=0.1)


def test_one_operator_that_became_several_is_one_change():
    lost = changed(forward=[("aten::conv2d", 300.0), ("aten::mul", 200.0), ("aten::add", 200.0), *STEP["forward"][2:]])
    assert names(found(lost)) == [("forward", "changed", "aten::relu", "aten::mul and 1 more")]


def test_time_that_no_operator_has_is_named_by_its_phase():
    base, head = arm("base", STEP, noise=0.002), ArmWindows("head", Node("step"), steps=4)
    for window in range(8):
        made = trace({"data": [], **STEP}, gap=10)
        longer = [each for each in made.ranges if each.name == "data"]
        assert len(longer) == 4
        add_window(head.tree, made, window)
        head.tree.children["data", 0].own_ns[window] += 200e3
        head.step_times_s.append(base.step_times_s[window] + 200e-6)
        head.profiled_s.append(head.step_times_s[-1])
    assert names(explain(base, head, one_process=True)) == [("data", "same", "", "")]


def test_a_machine_that_drifts_blames_no_operator():
    drift = [1.0, 1.1, 1.3, 1.5, 1.4, 1.2, 1.6, 1.8]
    slower = changed(optimizer=[("SGD.step", 180.0)])
    answer = explain(arm("base", STEP, drift=drift), arm("head", slower, drift=drift), one_process=True)
    assert names(answer) == [("optimizer", "same", "SGD.step", "SGD.step")]


def test_what_the_verdict_saw_and_the_windows_did_not_is_unexplained():
    slower = changed(optimizer=[("SGD.step", 150.0)])
    judged = Estimate(value=0.30, low=0.29, high=0.31, n=5, unit="1")
    answer = found(slower, judged=judged)
    assert names(answer) == []
    judged = Estimate(value=0.05, low=0.04, high=0.06, n=5, unit="1")
    answer = found(slower, judged=judged)
    assert names(answer) == [("optimizer", "same", "SGD.step", "SGD.step")]
    assert answer.explained == pytest.approx(50 / 2080 / 0.05, rel=0.1)


def test_events_of_the_profiler_are_taken_out_of_the_times():
    base, head = arm("base", STEP), arm("head", changed(forward=[*STEP["forward"], *[("aten::view", 1.0)] * 50]))
    for side, events in ((base, 11), (head, 61)):
        side.profiled_s = [each + 2e-6 * events for each in side.step_times_s]
    before = head.tree.children["forward", 0].own_ns[0]
    explain(base, head, one_process=True)
    assert before - head.tree.children["forward", 0].own_ns[0] == pytest.approx(54 * 2e3)


def test_a_wait_for_a_busy_cpu_is_taken_out_of_the_operator_it_fell_into():
    made = trace(STEP, steps=5)
    hit = next(i for i, each in enumerate(made.operators) if each.name == "aten::linear")
    start = made.operators[hit].end
    made.operators = [
        each._replace(start=each.start + 900_000 * (each.start >= start), end=each.end + 900_000 * (each.end >= start))
        for each in made.operators
    ]
    made.ranges = [
        each._replace(start=each.start + 900_000 * (each.start >= start), end=each.end + 900_000 * (each.end >= start))
        for each in made.ranges
    ]
    with_wait, without = Node("step"), Node("step")
    add_window(with_wait, made, 0, (900e-6, 0.0, 0.0, 0.0, 0.0))
    add_window(without, trace(STEP, steps=5), 0)
    assert with_wait.total_ns(0) == pytest.approx(without.total_ns(0))
    linear = with_wait.children["forward", 0].children["aten::linear", 0]
    assert linear.own_ns[0] == pytest.approx(50e3)


def test_steps_without_phases_get_those_that_torch_implies():
    made = trace(STEP)
    made.ranges = [each for each in made.ranges if each.name == "step"]
    made.operators = [
        each._replace(name=f"autograd::engine::evaluate_function: {each.name}") if "Backward" in each.name else each
        for each in made.operators
    ]
    tree = Node("step")
    add_window(tree, made, 0)
    assert tree.children["backward", 0].total_ns(0) == pytest.approx(1160e3)
    assert {name for name, _ in tree.children} == {OUTSIDE, "backward"}


def test_what_operators_are_given_is_part_of_the_answer():
    base, head = arm("base", STEP), arm("head", changed(forward=[("aten::conv2d", 500.0), *STEP["forward"][1:]]))
    for side, dtype, layout in ((base, "float", "channels-last"), (head, "double", "contiguous")):
        made = trace(STEP)
        fact = TensorFact(dtype, (8, 3, 28, 28), layout)
        made.operators = [each._replace(inputs=(fact,) * (each.name == "aten::conv2d")) for each in made.operators]
        add_inputs(side.tree, made)
    answer = explain(base, head, one_process=True)
    assert answer.parts[0].notes == ("float became double", "channels-last became contiguous")


def test_fewer_than_five_turns_explain_nothing():
    with pytest.raises(ValueError, match="at least 5 windows"):
        explain(arm("base", STEP, turns=4), arm("head", STEP, turns=4), one_process=True)


def device_trace(kernels: list[tuple[str, str, float, float]], period: float) -> Trace:
    """Steps on a device every `period` microseconds: of each, a kernel or copy with what launched it, its start and its
    length in microseconds.
    """
    made = Trace(tool="torch", main_threads={1: 1}, devices={(0, 0): None})
    for step in range(3):
        at = round(step * period * 1000)
        made.ranges += [
            Range("gpubench", "step", at, at + 400_000, 1, 1),
            Range("gpubench", "forward", at, at + 200_000, 1, 1),
            Range("gpubench", "backward", at + 200_000, at + 400_000, 1, 1),
        ]
        for number, (name, operator, start, length) in enumerate(kernels):
            moment = at + 10_000 * (number + 1) + (200_000 if "Backward" in operator else 0)
            key = (1, step * 100 + number)
            made.operators.append(HostOperator(operator, moment, moment + 5_000, 1, 7 if "Backward" in operator else 1))
            made.launches[key] = LaunchCall(moment + 1_000, moment + 2_000, 1, made.operators[-1].thread, "kernel")
            begun = at + round(start * 1000)
            kind = "copy" if name.startswith("Memcpy") else "kernel"
            made.operations.append(Operation(kind, name, begun, begun + round(length * 1000), (0, 0), 7, 1, launch=key))
    return made


def on_device(name: str, algorithm: str, length: float) -> ArmWindows:
    order = random.Random(name)
    found = ArmWindows(name, Node("step"), steps=3)
    for window in range(6):
        off = order.uniform(-1, 1)
        made = device_trace(
            [
                ("Memcpy HtoD", "aten::copy_", 20, 100),
                ("conv_fprop", "aten::cudnn_convolution", 120, 500 + off),
                (algorithm, "ConvolutionBackward0", 650 + off, length),
            ],
            period=700 + length,
        )
        add_window(found.tree, made, window)
        found.step_times_s.append((700 + length) * 1e-6)
        found.profiled_s.append((700 + length) * 1e-6)
    return found


def test_a_kernel_is_named_by_what_launched_it_and_the_phase_open_on_the_main_thread():
    tree = on_device("base", "dgrad", 700).tree
    assert tree.children["backward", 0].children["ConvolutionBackward0", 0].children["dgrad", 0].kind == "kernel"
    assert tree.children[IDLE, 0].total_ns(0) > 0


def test_another_algorithm_is_the_change_and_copies_and_idle_time_explain_nothing():
    answer = explain(on_device("base", "dgrad_v1", 700), on_device("head", "dgrad_v2", 790), one_process=True)
    assert names(answer) == [("backward", "changed", "dgrad_v1", "dgrad_v2")]
    assert answer.parts[0].within == ("ConvolutionBackward0",)
    assert answer.on_device
    for explains in (answer.copies, answer.idle):
        assert explains.low <= 0.002
        assert explains.high >= -0.002

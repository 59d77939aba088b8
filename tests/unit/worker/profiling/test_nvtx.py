"""What a tool would see, recorded by a tool that listens; and that nothing is done where none does."""

import pytest
from fakes import nvtx_tool

from gpubench.worker.profiling.nvtx import PHASES, Emitter, clean, open_emitter

needs_compiler = pytest.mark.skipif(nvtx_tool.compiler() is None, reason="no C compiler to build the recording tool")

PROGRAM = """
from gpubench.worker.profiling.nvtx import open_emitter
emitter = open_emitter()
def work():
    for name in ("data", "h2d", "forward", "loss", "backward", "optimizer", "odd name!"):
        with emitter.phase(name):
            pass
step = emitter.steps(work, first=5)
with emitter.capture(), emitter.named("suite:my suite"), emitter.named("case:a|b"), emitter.named("steady"):
    step(); step()
print(emitter.state)
"""


class FakeDomain:
    def __init__(self):
        self.calls = []

    def get_event_attributes(self, message=None, payload=None):
        return type("Attributes", (), {"message": message, "payload": payload})()

    def push_range(self, attributes):
        self.calls.append((attributes.message, attributes.payload))

    def pop_range(self):
        self.calls.append("pop")

    def start_range(self, attributes):
        self.calls.append(("start", attributes.message))
        return 77

    def end_range(self, started):
        self.calls.append(("end", started))


def test_without_a_tool_every_range_is_the_same_nothing():
    emitter = open_emitter({})
    assert emitter.state == "off"
    assert len({id(emitter.phase(name)) for name in (*PHASES, "other")} | {id(emitter.named("x"))}) == 1
    with emitter.capture(), emitter.phase("forward"):
        pass


def test_without_a_tool_a_step_is_not_wrapped():
    def step():
        return None

    assert open_emitter({}).steps(step) is step


def test_a_step_is_a_range_with_its_index_as_payload():
    domain = FakeDomain()
    step = Emitter(domain, "on").steps(lambda: domain.calls.append("work"), first=3)
    step()
    step()
    assert domain.calls == [("step", 3), "work", "pop", ("step", 4), "work", "pop"]


def test_a_range_is_closed_after_an_error():
    domain = FakeDomain()
    emitter = Emitter(domain, "on")

    def step():
        with emitter.phase("forward"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), emitter.capture():
        emitter.steps(step)()
    assert domain.calls == [("start", "capture"), ("step", 0), ("forward", None), "pop", "pop", ("end", 77)]


def test_a_refused_domain_is_never_used():
    domain = FakeDomain()
    emitter = Emitter(domain, "refused")
    with emitter.capture(), emitter.phase("forward"):
        pass
    assert domain.calls == []


def test_messages_hold_only_what_filters_can_name():
    assert clean("case:train cuda amp-bf16 b128 | NHWC=1") == "case:train_cuda_amp-bf16_b128_NHWC=1"
    assert clean("äöü") == "_"


def test_nvtx_disabled_in_the_environment_is_off(monkeypatch):
    import nvtx

    monkeypatch.setattr(nvtx, "enabled", lambda: False)
    assert open_emitter({"NVTX_INJECTION64_PATH": "/x"}).state == "off"


@needs_compiler
@pytest.mark.parametrize(("refuse", "state"), [(False, "on"), (True, "forced")])
def test_a_listening_tool_sees_the_nested_ranges(tmp_path, refuse, state):
    library = nvtx_tool.build(tmp_path, refuse_extension=refuse)
    record = tmp_path / "record"
    events, printed = nvtx_tool.run(PROGRAM, library, record)
    assert printed.strip() == state
    assert {event.domain for event in events} == {"gpubench"}
    phases = [*PHASES, "odd_name"]
    expected = ["capture", "suite:my_suite", "case:a_b", "steady", *2 * ["step", *phases]]
    assert [event.name for event in events] == expected
    assert [event.payload for event in events if event.name == "step"] == ["5", "6"]
    depths = [event.depth for event in events]
    assert depths[1:5] == [depths[1], depths[1] + 1, depths[1] + 2, depths[1] + 3]
    assert nvtx_tool.balance(record) == {"push": 0, "start": 0}

"""A launch of a fleet on agents that measure nothing: who measures when, and what becomes of a card that fails."""

import re
import threading
import time

import pytest
from fakes.node_agents import agent, cluster, hear, host_of, result, told

from gpubench.core.errors import UsageError
from gpubench.core.records import Failure, Parity
from gpubench.protocol.messages import Failed, Phase, Result, Started
from gpubench.protocol.node_messages import FromChild, NodeDone, NodeJob, NodeWindow, StopJob
from gpubench.runner.nodes.cluster_telemetry import state_of
from gpubench.runner.nodes.fleet_pipe import FleetPipe
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure

CUDA = Case(workload="cnn", device="cuda")
_WRONG = Parity(passed=False, logits_rel_error=0.5, loss_rel_error=0.5, logits_limit=1e-3, loss_limit=1e-3)


def card(number, step_s=0.01, **does):
    """An agent with one card of a machine of `of`, by default of two."""
    device = {"index": 0, "uuid": f"GPU-{number}", "name": "Imaginary"}
    of = does.pop("of", 2)
    return agent(
        measures(step_s, **does),
        devices=(device,),
        host=f"host{number // of}",
        node=number // of,
        card=number % of,
        num_cards=of,
    )


def measures(step_s, *, fails=None, wrong=False, hangs=False, together=None):
    def job(connection, message):
        number = message.job.job
        connection.send(FromChild(job=number, message=Started(job=number, pid=9, isolation="fork")))
        connection.send(FromChild(job=number, message=Phase(name="measuring", at_s=0)))
        if together is not None:
            together.wait(10)
        if hangs:
            assert isinstance(connection.read(), StopJob)
            return connection.send(NodeDone(job=number, exit_code=-9))
        if fails is not None:
            failure = Failure(phase="build", error="RuntimeError", message=fails)
            failed = Failed(status="failed", reason=fails, failure=failure)
            connection.send(FromChild(job=number, message=failed))
        else:
            parity = _WRONG if wrong else None
            found = result(0, step_s).model_copy(update={"ranks": (), "parity": parity})
            connection.send(FromChild(job=number, message=found))
        shares = {"power_cap": 0.4}
        window = NodeWindow(
            metrics={"sm_clock_mhz": 1980.0}, detail={"power_limit_w": 600.0, "throttle_share_by_reason": shares}
        )
        return connection.send(NodeDone(job=number, exit_code=0, windows={0: window}))

    return job


def launch(opened, tmp_path, case=CUDA, **job):
    return hear(host_of(opened, tmp_path), tmp_path, case=case, seats=(), **job)


def test_a_reason_for_throttling_that_was_not_sampled_is_left_out_of_a_cards_record():
    window = NodeWindow(detail={"throttle_share_by_reason": {"power_cap": None, "sw_thermal": 0.25}})
    assert state_of(window) == {"throttled_sw_thermal": 0.25}


def test_each_card_of_a_machine_is_a_node_of_its_own(tmp_path):
    with cluster(*(card(number) for number in (2, 1, 0, 3)), num_nodes=2) as opened:
        assert [node.name for node in opened.nodes] == [
            "node 0 (host0, card 0)",
            "node 0 (host0, card 1)",
            "node 1 (host1, card 0)",
            "node 1 (host1, card 1)",
        ]
        ranks = told(launch(opened, tmp_path), Result).ranks
    assert [(each.rank, each.node, each.device, each.device_uuid) for each in ranks] == [
        (0, 0, "cuda:0", "GPU-0"),
        (1, 0, "cuda:1", "GPU-1"),
        (2, 1, "cuda:0", "GPU-2"),
        (3, 1, "cuda:1", "GPU-3"),
    ]


def test_a_card_whose_agent_does_not_come_is_named():
    with cluster(card(0), num_nodes=1, wait_s=1.0) as opened:
        assert opened.said == ["node 0 (host0, card 1): it did not connect within 1 s"]


@pytest.mark.parametrize("of", [1, 2000])
def test_a_hard_limit_on_open_files_that_is_too_low_is_named(monkeypatch, of):
    """Of nodes before any agent is started, of their cards when the first one says how many there are."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1024))
    with (
        pytest.raises(UsageError, match=r"^2000 agents need 2100 open files, of which this process may have 1024$"),
        cluster(card(0, of=of), num_nodes=2000 // of),
    ):
        pass


def test_the_launch_has_the_figures_of_the_median_card_and_the_time_of_each(tmp_path):
    with cluster(*(card(number, 0.01 * (1 + number)) for number in range(3)), num_nodes=2, wait_s=1.0) as opened:
        host = host_of(opened, tmp_path)
        found = told(hear(host, tmp_path, case=CUDA, seats=()), Result)
        window = host.telemetry.window()
    assert found.metrics["step_time_s"] == 0.02
    assert [each.step_time_s for each in found.ranks] == [0.01, 0.02, 0.03, None]
    assert window.metrics == {"sm_clock_mhz": 1980.0}
    assert found.ranks[0].telemetry == {"sm_clock_mhz": 1980.0, "power_limit_w": 600.0, "throttled_power_cap": 0.4}


def test_cards_measure_at_the_same_time(tmp_path):
    together = threading.Barrier(2)
    with cluster(card(0, together=together), card(1, together=together), num_nodes=1) as opened:
        assert all(each.step_time_s for each in told(launch(opened, tmp_path), Result).ranks)


def test_agents_on_one_cpu_measure_in_turn(tmp_path):
    running, most = [], []

    def job(connection, message):
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        measures(0.01)(connection, message)

    with cluster(*(agent(job, host="same") for _ in range(3))) as opened:
        found = told(launch(opened, tmp_path, case=Case(workload="cnn", device="cpu")), Result)
    assert most == [1, 1, 1]
    assert [each.step_time_s for each in found.ranks] == [0.01] * 3


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ({"fails": "CUDA error: uncorrectable ECC error"}, "CUDA error: uncorrectable ECC error"),
        ({"wrong": True}, "its output is not that of fp64"),
    ],
)
def test_a_card_that_fails_has_its_reason_and_the_others_their_figures(tmp_path, does, reason):
    with cluster(card(0), card(1, **does), num_nodes=1) as opened:
        ranks = told(launch(opened, tmp_path), Result).ranks
    assert ranks[0].step_time_s == 0.01
    assert ranks[1].step_time_s is None
    assert ranks[1].absent == {"step_time_s": reason}


def test_a_card_that_hangs_is_ended_when_its_time_is_over(tmp_path, monkeypatch):
    look = FleetPipe._end_late

    def time_is_over(pipe):
        if len(pipe._done) == 1 and not pipe._failed:  # the other card has its figure
            pipe._limits_s = dict.fromkeys(pipe._limits_s, 0.0)
        look(pipe)

    monkeypatch.setattr(FleetPipe, "_end_late", time_is_over)
    with cluster(card(0), card(1, hangs=True), num_nodes=1) as opened:
        ranks = told(launch(opened, tmp_path, measure=Measure(timeout=60.0)), Result).ranks
    assert ranks[0].step_time_s == 0.01
    assert ranks[1].absent == {"step_time_s": "no result within 1m 00s"}


def test_a_launch_in_which_every_card_fails_has_failed(tmp_path):
    with cluster(card(0, fails="no kernel image"), card(1, fails="no kernel image"), num_nodes=1) as opened:
        assert re.fullmatch(
            r"node 0 \(host0, card [01]\): no kernel image", told(launch(opened, tmp_path), Failed).reason
        )


def test_a_lost_agent_is_a_card_without_a_figure(tmp_path):
    lost = agent(lambda *_: "end", devices=({"uuid": "GPU-9"},), host="host1", node=1)
    with cluster(agent(measures(0.01), devices=({"uuid": "GPU-0"},)), lost) as opened:
        ranks = told(launch(opened, tmp_path), Result).ranks
    assert ranks[1].absent == {"step_time_s": "its agent ended"}


def test_a_retest_is_measured_by_its_cards_alone(tmp_path):
    with cluster(*(card(number) for number in range(4)), num_nodes=2) as opened:
        found = told(hear(host_of(opened, tmp_path), tmp_path, case=CUDA, seats=(1, 2)), Result)
    assert [each.rank for each in found.ranks] == [1, 2]
    assert {number for number, message in opened.agents.asked if isinstance(message, NodeJob)} == {1, 2}

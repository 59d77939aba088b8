"""Agents that come, do not come, or are not wanted; on the loopback interface, without a worker."""

import socket
import sys
import time
from types import SimpleNamespace

import pytest
from fakes.node_agents import KEY, Agents, absent, agent, cluster, hear, host_of, result, told

from gpubench.core.errors import UsageError, WorkerError
from gpubench.protocol.messages import STUCK, Failed, Meeting, Phase, Result, Started
from gpubench.protocol.node_messages import (
    FromChild,
    NodeDone,
    NodeJob,
    NodeWindow,
    StopJob,
    decode_node,
)
from gpubench.runner.engines import slurm_mpi_ray, start_on_ray
from gpubench.runner.engines.engine import Asked
from gpubench.runner.engines.env import node_number, pods, undo_thread_limits
from gpubench.runner.launch.job_pipe import HostLost
from gpubench.runner.launch.worker_hosts import nodes_wanted
from gpubench.runner.nodes.addresses import address_of, interface_of, split_address
from gpubench.runner.nodes.cluster import Cluster
from gpubench.runner.nodes.connection import NodeListener, connect
from gpubench.runner.nodes.open_cluster import open_cluster
from gpubench.runner.plan import cannot_run
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import ClusterSettings, Suite


def measures(connection, message):
    """Starts, meets, and has a result with telemetry."""
    job, place = message.job, message.job.place
    rank = 0 if place is None else place.node_rank
    connection.send(FromChild(job=job.job, message=Started(job=job.job, pid=9, isolation="fork")))
    if place is not None and rank == 0:
        connection.send(FromChild(job=job.job, message=Meeting(endpoint="127.0.0.1:1")))
    connection.send(FromChild(job=job.job, message=Phase(name=f"measuring {rank}", at_s=0)))
    connection.send(FromChild(job=job.job, message=result(rank, 0.01 * (1 + rank))))
    window = NodeWindow(metrics={"sm_clock_mhz": 1000.0 + rank, "energy_j": None})
    connection.send(NodeDone(job=job.job, exit_code=0, log=f"output {rank}\n", windows={rank: window}))


def fails(reason, *, error="RankDied", code=0):
    def job(connection, message):
        from gpubench.core.records import Failure

        if message.job.place is not None and message.job.place.node_rank == 0:
            connection.send(FromChild(job=7, message=Meeting(endpoint="127.0.0.1:1")))
        failure = Failure(phase="measuring", error=error, message=reason)
        connection.send(FromChild(job=7, message=Failed(status="failed", reason=reason, failure=failure)))
        connection.send(NodeDone(job=7, exit_code=code))

    return job


def waits(connection, message):
    """Goes on until it is stopped."""
    if message.job.place is not None and message.job.place.node_rank == 0:
        connection.send(FromChild(job=7, message=Meeting(endpoint="127.0.0.1:1")))
    asked = connection.read()
    assert isinstance(asked, StopJob)
    assert asked.now
    connection.send(NodeDone(job=7, exit_code=-9))


def test_two_nodes_are_heard_as_one_and_their_ranks_have_host_and_telemetry(tmp_path):
    with cluster(agent(measures), agent(measures)) as opened:
        host = host_of(opened, tmp_path)
        heard = hear(host, tmp_path)
        found = told(heard, Result)
        assert [(each.node, each.host, each.telemetry) for each in found.ranks] == [
            (0, "host0", {"sm_clock_mhz": 1000.0}),
            (1, "host1", {"sm_clock_mhz": 1001.0}),
        ]
        assert found.metrics["step_time_s"] == 0.02
        assert [each.name for each in heard if isinstance(each, Phase)] == ["measuring 0"]
        assert host.telemetry.window().metrics["sm_clock_mhz"] == 1000.0
        assert "--- node 1 (host1)\noutput 1" in (tmp_path / "job.log").read_text()
    second = next(message for number, message in opened.agents.asked if number == 1 and isinstance(message, NodeJob))
    assert second.job.place.meeting == "127.0.0.1:1"


def test_a_case_of_one_process_runs_on_one_node(tmp_path):
    with cluster(agent(measures), agent(measures)) as opened:
        assert told(hear(host_of(opened, tmp_path), tmp_path, world_size=1), Result).ranks[0].node == 0
    assert not [number for number, message in opened.agents.asked if number == 1 and isinstance(message, NodeJob)]


@pytest.mark.slow
def test_the_node_that_failed_is_named_and_the_others_are_ended(tmp_path):
    with cluster(agent(waits), agent(fails("rank 1 of 2 was ended by SIGKILL in measuring"))) as opened:
        failed = told(hear(host_of(opened, tmp_path), tmp_path), Failed)
    assert failed.reason == "node 1 (host1): rank 1 of 2 was ended by SIGKILL in measuring"


def test_a_node_whose_ranks_only_wait_is_not_the_cause(tmp_path):
    first = fails("rank 0 of 2 made no step", error="RankWaits")
    with cluster(agent(first), agent(fails("rank 1 of 2 made no step (slow.py:3 in forward)"))) as opened:
        assert "slow.py:3" in told(hear(host_of(opened, tmp_path), tmp_path), Failed).reason


def test_a_killed_agent_is_named_and_cases_for_one_node_go_on(tmp_path):
    with cluster(agent(measures), agent(lambda *_: "end")) as opened:
        host = host_of(opened, tmp_path)
        failed = told(hear(host, tmp_path), Failed)
        assert failed.reason == "node 1 (host1): its agent ended"
        assert failed.failure.error == "NodeLost"
        assert told(hear(host, tmp_path), Failed).reason == "node 1 (host1): its agent ended"
        assert told(hear(host, tmp_path, world_size=1), Result) is not None


def test_a_worker_host_that_dies_is_lost_and_can_be_replaced(tmp_path):
    def lost(connection, message):
        connection.send(NodeDone(job=7, host_lost="worker host 5 ended (SIGKILL)"))

    with cluster(agent(lost)) as opened:
        heard = hear(host_of(opened, tmp_path), tmp_path, world_size=1)
        assert told(heard, HostLost).why == "node 0 (host0): worker host 5 ended (SIGKILL)"


def test_an_absent_node_is_named_when_the_wait_is_over(tmp_path):
    with cluster(agent(measures), absent, wait_s=1.0) as opened:
        assert opened.said == ["node 1: it did not connect within 1 s"]
        host = host_of(opened, tmp_path)
        assert told(hear(host, tmp_path), Failed).reason == "node 1: it did not connect within 1 s"
        assert told(hear(host, tmp_path, world_size=1), Result) is not None


def test_an_agent_that_the_engine_saw_end_is_named_at_once():
    began_s = time.monotonic()
    with cluster(agent(), absent, problems={1: "its agent ended with status 2: no such host"}, wait_s=60) as opened:
        assert opened.said == ["node 1: its agent ended with status 2: no such host"]
    assert time.monotonic() - began_s < 30


def test_a_wrong_key_is_refused_and_told():
    with cluster(agent(), agent(key="another key"), wait_s=1.0) as opened:
        assert opened.said[0] == "a connection from 127.0.0.1 did not know this run's key and was refused"
        assert [node.ready for node in opened.nodes] == [True, False]


@pytest.mark.slow
def test_a_program_that_says_nothing_does_not_keep_the_nodes_out():
    listener = NodeListener("127.0.0.1", 0, KEY)
    with socket.create_connection(("127.0.0.1", listener.port)):
        said = []
        with Cluster(Agents(agent()), listener, 1, 30.0, lambda message, hint: said.append(message)) as opened:
            assert opened.nodes[0].ready
    assert "was refused" in said[0]


def test_another_gpubench_is_named():
    with cluster(agent(), agent(gpubench="0.0.1"), wait_s=5.0) as opened:
        assert "node 1 (host1): it has gpubench 0.0.1, this run" in opened.said[0]


def test_another_torch_is_named_and_the_rest_goes_on(tmp_path):
    with cluster(agent(measures), agent(torch="2.13.0")) as opened:
        host = host_of(opened, tmp_path)
        assert [each.problem for each in host.hello.nodes] == [None, "it has torch 2.13.0, node 0 has 2.14.1"]
        assert "torch 2.13.0" in told(hear(host, tmp_path), Failed).reason


def test_no_node_at_all_is_an_error_with_every_reason():
    reasons = r"no node can measure: node 0: .*; node 1: it did not connect within 1 s"
    with pytest.raises(WorkerError, match=reasons), cluster(agent(key="wrong"), absent, wait_s=1.0):
        pass


def test_a_node_without_torch_is_named(tmp_path):
    with cluster(agent(starts=False)) as opened, pytest.raises(WorkerError, match="no torch here"):
        host_of(opened, tmp_path)


def test_a_taken_port_is_named():
    with NodeListener("127.0.0.1", 0, KEY) as first:
        settings = ClusterSettings(nodes=2, port=first.port)
        with pytest.raises(UsageError, match=rf"cannot listen on 127.0.0.1:{first.port}: Address already in use"):
            open_cluster(settings, first, lambda *_: None)


def test_nothing_listens_once_all_nodes_are_there():
    with cluster(agent()) as opened, pytest.raises(UsageError, match="cannot reach a run"):
        connect("127.0.0.1", opened._listener.port, KEY)


def test_the_listener_is_bound_to_one_address():
    with NodeListener("127.0.0.1", 0, KEY) as listener:
        assert listener._socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(UsageError, match="means every interface"):
        address_of("0.0.0.0")


def test_interfaces_have_addresses_and_addresses_interfaces():
    assert address_of("lo") == "127.0.0.1"
    assert interface_of("127.0.0.1") == "lo"
    with pytest.raises(UsageError, match="neither an interface nor an address"):
        address_of("no-such-interface0")


def test_a_pickle_is_not_a_message():
    import pickle

    with pytest.raises(ValueError, match="valid JSON"):
        decode_node(pickle.dumps({"type": "goodbye"}))


@pytest.mark.parametrize("text", ["host", ":1", "host:", "host:x", "host:70000"])
def test_an_address_needs_host_and_port(text):
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        split_address(text)


@pytest.mark.parametrize(
    ("environ", "number"),
    [({"SLURM_NODEID": "3"}, 3), ({"OMPI_COMM_WORLD_RANK": "1"}, 1), ({"PET_NODE_RANK": "2"}, 2), ({}, None)],
)
def test_a_node_knows_its_number_from_its_engine(environ, number):
    assert node_number(environ) == number


def test_limits_of_threads_are_undone_where_an_engine_set_them():
    environ = {"OMP_NUM_THREADS": "1", "RAY_JOB_ID": "1"}
    assert undo_thread_limits(environ) == {"OMP_NUM_THREADS": "1"}
    assert "OMP_NUM_THREADS" not in environ
    assert undo_thread_limits({"OMP_NUM_THREADS": "4"}) == {}


def test_a_pod_reads_its_place_from_the_environment():
    found = pods({"PET_NNODES": "4", "PET_NODE_RANK": "2", "MASTER_ADDR": "first", "MASTER_PORT": "29400"})
    assert found == (2, 4, "first", 29400)
    assert pods({"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}) == (0, 2, "a", 1)
    with pytest.raises(UsageError, match="needs the variables of a pod"):
        pods({"RANK": "0"})


def test_ray_is_an_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(slurm_mpi_ray, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="needs the package ray") as error:
        slurm_mpi_ray.ray(Asked(2, ("true",), {}, tmp_path / "log"))
    assert error.value.hint == "pip install 'gpubench[ray]'"


def test_a_ray_cluster_with_too_few_nodes_is_named(monkeypatch, capsys):
    fake = SimpleNamespace(init=lambda **_: None, nodes=lambda: [{"Alive": True}, {"Alive": False}])
    monkeypatch.setitem(sys.modules, "ray", fake)
    assert start_on_ray.main(["2", "GPUBENCH_NODE_KEY", "true"]) == 1
    assert capsys.readouterr().out == "the Ray cluster has 1 node, not 2\n"


@pytest.mark.parametrize(("ranks", "each", "nodes"), [(8, 4, 2), (6, 4, 2), (1, 4, 1), (7, 4, 7), (9, 4, 3), (2, 1, 2)])
def test_ranks_are_spread_evenly_over_the_fewest_nodes(ranks, each, nodes):
    assert nodes_wanted(ranks, each) == nodes


def test_a_case_that_needs_more_nodes_than_there_are_is_skipped(tmp_path):
    with cluster(agent(), agent()) as opened:
        hello = host_of(opened, tmp_path).hello
    suite = Suite(schema=1, name="s")
    status, reason = cannot_run(Case(world_size=4, device="cpu"), suite, hello)
    assert status == "skipped"
    assert reason == "4 ranks need 4 nodes with room for 1 rank each: there are 2"
    assert cannot_run(Case(world_size=2, device="cpu"), suite, hello) == (None, None)
    assert "need a CUDA device each" in cannot_run(Case(world_size=2, device="cuda"), suite, hello)[1]


@pytest.mark.slow
def test_a_rank_of_another_node_that_hangs_before_its_first_step_is_heard(tmp_path):
    name = f"build, {STUCK} rank 1 of 2 (net.py:12 in __init__)"

    def hangs(connection, message):
        connection.send(FromChild(job=7, message=Phase(name="build", at_s=0)))
        connection.send(FromChild(job=7, message=Phase(name=name, at_s=0)))
        fails("it was ended")(connection, message)

    with cluster(agent(waits), agent(hangs)) as opened:
        heard = hear(host_of(opened, tmp_path), tmp_path)
    assert [each.name for each in heard if isinstance(each, Phase)] == [name]

"""No message of any form ends a daemon: each survives hostile messages by the thousand, and serves as before."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import zmq

from fission.errors import RemoteProtocolError
from fission.pipelines import Job, Pipeline
from fission.pipelines.broker import Broker, configuration_of
from fission.pipelines.pipeliner import Pipeliner
from fission.protocol.messages.pipelines.pipeliner_to_router import RunJob
from fission.protocol.messages.pipelines.router_to_broker import ProcessEndNoted, PulseHeard
from fission.protocol.messages.pipelines.router_to_client import EndsBroadcast, PipelineEnds
from fission.protocol.messages.pipelines.router_to_pipeliner import ExchangeReply
from fission.protocol.messages.pipelines.wire import convert, decode_object, encode
from tests.pipelines.daemons import Cluster
from tests.pipelines.hostile import ANSWERS, KILL, REQUESTS, hostile
from tests.pipelines.postgres import Postgres
from tests.pipelines.test_router_api import CHAIN, Talk
from tests.waiting import eventually

SEED = int(os.environ.get("FISSION_SEED", "11"))
MANY = pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(1200)])


def attack_api(place: str, number: int) -> None:
    """Every request gets at most one answer, no bug is met, and a pipeline is accepted afterwards."""
    talk = Talk(place)
    rng = Random(SEED)
    try:
        for count, data in enumerate(hostile(rng, REQUESTS, number)):
            answers: list[bytes] = []
            talk.api.message(data, answers.append)
            if count % 20 == 0:
                talk.api.flush()
            if count % 500 == 0:
                talk.later(3.0)
            assert len(answers) <= 1
            assert not [line for line in talk.records if "bug" in line], (data, talk.records)
            talk.records.clear()
        talk.api.flush()
        talk.later(20.0)
        talk.pulse()
        assert talk.add("chain", CHAIN)["answer"] == "pipeline accepted"
        assert talk.ask(command="status")["answer"] == "ok"
        assert talk.ask(**{"command": "pipeline", "pipeline id": "chain"})["state"] == "waiting"
        json.dumps(talk.ask(command="pipelines", states=[], limit=1000), allow_nan=False)
    finally:
        talk.store.close()


@pytest.mark.parametrize("number", [1500, MANY])
def test_the_routers_decisions(number: int) -> None:
    attack_api(":memory:", number)


@pytest.mark.slow
def test_the_routers_decisions_with_postgresql(postgres: Postgres) -> None:
    attack_api(postgres.database(), 800)


def check_nested_data() -> None:
    """A pipeline whose data are nested 1 to 1,100 levels deep is accepted up to 100, and refused with a message beyond."""
    talk = Talk(":memory:")
    try:
        for depth in [*range(1, 130), *range(130, 900, 50), *range(900, 1100)]:
            data = '{"d":' * (depth - 1) + "{}" + "}" * (depth - 1)
            pipeline = f'{{"jobs": [{{"worker_name": "A"}}], "graph": [[0, null]], "data": {data}}}'
            message = f'{{"command": "add pipeline", "pipeline id": "d{depth}", "pipeline": {pipeline}}}'
            (answer,) = talk.raw(message.encode())
            assert not [line for line in talk.records if "bug" in line], (depth, talk.records)
            assert answer["answer"] == ("pipeline accepted" if depth <= 100 else "error"), depth
            assert depth <= 100 or "levels" in answer["error"]
    finally:
        talk.store.close()


def test_json_of_any_depth() -> None:
    check_nested_data()


def test_a_decoder_without_a_bound_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broken variant: JSON of any depth, as it was."""
    monkeypatch.setattr("fission.protocol.messages.pipelines.wire.deeper_than", lambda limit, value: False)
    monkeypatch.setattr("fission.pipelines.user_values.deeper_than", lambda limit, value: False)
    with pytest.raises(AssertionError):
        check_nested_data()


@pytest.mark.parametrize("number", [3000, MANY])
def test_the_pipeliners_decisions(number: int) -> None:
    logger = logging.Logger("Pipeliner")
    pipeliner = Pipeliner("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", logger)
    for data in hostile(Random(SEED), [ANSWERS["exchange"]], number):
        pipeliner._number = 0
        try:
            pipeliner.answered(convert(decode_object(data), ExchangeReply))
        except RemoteProtocolError:
            continue
        encode(pipeliner.request())
    pipeliner._start_over()
    pipeliner.answered(convert(ANSWERS["exchange"], ExchangeReply))
    assert pipeliner.request().number == 2
    assert pipeliner.request().run[0] == RunJob("x", 0, 4)


@pytest.mark.parametrize("number", [3000, MANY])
def test_the_brokers_decisions(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hostile_workers.py").write_text("__all__ = ['A']\nclass A:\n    def process(self, data): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    broker = Broker("tcp://127.0.0.1:1", "tcp://127.0.0.1:2", dict, "hostile_workers", number_of_workers=1)
    rng = Random(SEED)
    try:
        kinds = (PulseHeard, ProcessEndNoted, EndsBroadcast, PipelineEnds)
        readers = (configuration_of, *(lambda fields, kind=kind: convert(fields, kind) for kind in kinds))
        for data in hostile(rng, [*ANSWERS.values(), KILL, {"before": 1, "ends": [["x", "failed", 1.5, 2, {"worker": "A"}]]}], number):
            broker.kill_cancelled(data)
            for reader in readers:
                try:
                    reader(decode_object(data))
                except RemoteProtocolError:
                    continue
    finally:
        broker.processes.close()


# the daemons themselves


def send_all(address: str, messages: Iterator[bytes], number: int) -> int:
    """Sends them to the Router, some as several frames; returns how many answers came."""
    rng, answered = Random(SEED), 0
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(address)
        for count, data in enumerate(messages):
            frames = [b"", data] if rng.random() < 0.9 else rng.choice([[data], [data, data], [b"", b""], [b"a", b"", data], [b""] * 50])
            dealer.send_multipart(frames)
            while count - answered > 200 and dealer.poll(2000):
                dealer.recv_multipart()
                answered += 1
        while answered < number and dealer.poll(1500):
            dealer.recv_multipart()
            answered += 1
    return answered


def send_bytes(port: int, rng: Random, number: int) -> None:
    """What is not even ZeroMQ."""
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(48)
    for _ in range(number):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(
                rng.choice([b"GET / HTTP/1.0\r\n\r\n", greeting + rng.randbytes(300), rng.randbytes(500), greeting[:20], b""])
            )


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("number", [1500, MANY])
def test_a_router_survives_strangers_and_serves(cluster: Cluster, number: int) -> None:
    router, broker, pipeliner = cluster.all()
    right = [one for one in REQUESTS if one["command"] not in ("retry failed",)]
    answered = send_all(cluster.api, hostile(Random(SEED), right, number), number)
    assert answered > number // 2
    for port in cluster.ports:
        send_bytes(port, Random(SEED), 40)
    with cluster.manager(timeout=60) as manager:
        manager.start_all(pipelines := [Pipeline({Job("A"): Job("B")}) for _ in range(5)])
        eventually(lambda: (manager.update(0.1), all(one.finished for one in pipelines))[1], 60, cluster.logs)
        assert not any(one.error for one in pipelines)
    for daemon in (router, broker, pipeliner):
        assert daemon.process.poll() is None, daemon.said[-3000:]
        assert "bug in FISSION" not in daemon.said
        assert "Traceback" not in daemon.said


class HostileRouter:
    """Answers every request at the Router's address with something hostile, made of the right answer, and broadcasts the same."""

    def __init__(self, api: str, broadcast: str) -> None:
        self._api, self._broadcast = api, broadcast
        self.answered = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> HostileRouter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        rng = Random(SEED)
        with zmq.Context() as context, context.socket(zmq.ROUTER) as api, context.socket(zmq.PUB) as broadcast:
            for one, address in ((api, self._api), (broadcast, self._broadcast)):
                one.setsockopt(zmq.LINGER, 0)
                one.bind(address)
            while not self._stop.is_set():
                (kill,) = hostile(rng, [KILL], 1)
                broadcast.send_multipart([b"kill", kill])
                if not api.poll(20):
                    continue
                *way, body = api.recv_multipart()
                right = dict(ANSWERS[json.loads(body)["command"]])
                if "number" in right:
                    right["number"] = json.loads(body)["number"]
                (answer,) = hostile(rng, [right], 1)
                api.send_multipart([*way, answer])
                self.answered += 1


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.slow
@pytest.mark.soak
def test_broker_and_pipeliner_survive_a_hostile_router(cluster: Cluster) -> None:
    router, broker, pipeliner = cluster.all()
    with cluster.manager(timeout=60) as manager:  # both have met a true Router: before that, a wrong address is the user's mistake
        manager.start(Pipeline({Job("A"): []}))
        assert manager.wait(60), cluster.logs()
    router.kill()
    with HostileRouter(cluster.api, cluster.broadcast) as stranger:
        eventually(lambda: stranger.answered > 25, 120, lambda: f"{stranger.answered} answers\n{cluster.logs()}")
        daemons: list[Any] = [broker, pipeliner]
        assert all(one.process.poll() is None for one in daemons), cluster.logs()
    cluster.start("Router")
    cluster.ready()
    with cluster.manager(timeout=60) as manager:
        manager.start(pipeline := Pipeline({Job("A"): Job("B")}))
        assert manager.wait(60), cluster.logs()
        assert pipeline.error is None
    assert all(one.process.poll() is None for one in daemons), cluster.logs()

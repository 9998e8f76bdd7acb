"""Daemons with the keys of `fission keys`: holders of the keys work as ever, all others are refused everywhere."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed.core import connect

from fission.adapters.keys import make_keys
from fission.pipelines import Broker, DaemonError, Job, Pipeline, PipelineManager, Pipeliner, Router, RouterUnreachable
from fission.pipelines.daemon import read_keys, tls_of
from fission.pipelines.errors import KeysRefused
from tests.pipelines.daemons import Cluster
from tests.ports import free_ports
from tests.waiting import eventually

API, BROADCAST = "tcp://127.0.0.1:9", "tcp://127.0.0.1:10"


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """Another network's keys."""
    make_keys(tmp_path / "strange")
    return tmp_path / "strange"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Cluster]:
    """Daemons with keys."""
    make_keys(tmp_path / "keys")
    with Cluster(tmp_path, keys=tmp_path / "keys") as found:
        yield found


def reaches(address: str, keys: Path | None) -> bool:
    """Whether Dask's way of greeting a scheduler gets through."""
    tls = tls_of(read_keys(keys))

    async def greet() -> bool:
        arguments: dict[str, Any] = {} if tls is None else tls.get_connection_args("client")
        try:
            comm = await connect(address, timeout=1, **arguments)
        except OSError:
            return False
        await comm.close()
        return True

    return asyncio.run(greet())


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_only_holders_of_the_keys_take_part(guarded: Cluster, strange: Path) -> None:
    router, *_ = guarded.all()
    with guarded.manager() as manager:
        pipelines = [Pipeline({Job("A"): (Job("B"), Job("C")), (Job("B"), Job("C")): Job("D")}) for _ in range(5)]
        manager.start_all(pipelines)
        assert manager.wait(30), guarded.logs()
        assert (manager.finished_pipelines, manager.failed_pipelines) == (5, 0)
    for keys, reason in ((None, "give the keys that it was started with"), (strange, "its keys differ from those given here")):
        with guarded.manager(keys=keys, timeout=2) as manager, pytest.raises(KeysRefused, match=reason):
            manager.start(Pipeline({Job("A"): None}))
    assert len(guarded.runs("save")) == 20
    assert "WARNING - refused a connection from 127.0.0.1 to" in router.said
    port = guarded.ask(command="get configuration")["fission"]["scheduler port"]
    assert reaches(f"tls://127.0.0.1:{port}", guarded.keys)
    assert not reaches(f"tls://127.0.0.1:{port}", strange)
    assert not reaches(f"tcp://127.0.0.1:{port}", None)
    assert "Traceback" not in guarded.logs()


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("kind", ["Broker", "Pipeliner"])
def test_daemons_with_other_keys_are_refused(guarded: Cluster, strange: Path, kind: str) -> None:
    router = guarded.start("Router")
    eventually(lambda: "Entering main loop" in router.said, 30, "the Router")
    for keys, reason in ((str(strange), "its keys differ from those given here"), (None, "give the keys that it was started with")):
        daemon = guarded.start(kind, keys=keys)
        assert daemon.process.wait(60) == 1
        assert f"DaemonError: the Router at {guarded.api} cannot be reached" in daemon.said
        assert reason in daemon.said
    assert "WARNING - refused a connection from 127.0.0.1 to" in router.said
    status = guarded.ask(command="status")
    assert (status["processes"], status["pipeliners"]) == (0, 0)


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.slow
@pytest.mark.soak
def test_a_router_that_comes_back_with_other_keys(guarded: Cluster, strange: Path) -> None:
    router, broker, pipeliner = guarded.all()
    with guarded.manager() as manager:  # all of them have met the Router when it is finished
        manager.start(Pipeline({Job("A"): None}))
        assert manager.wait(30), guarded.logs()
    router.kill()
    other = guarded.start("Router", keys=str(strange))
    for daemon in (broker, pipeliner):
        eventually(lambda daemon=daemon: "its keys differ from those given here" in daemon.said, 40, "a warning")
        assert daemon.process.poll() is None, "who has worked waits for the right one"
    other.kill()
    guarded.start("Router")
    guarded.ready()


@pytest.mark.parametrize(
    ("keys", "message"), [("nowhere", "there are no keys in .*nowhere; copy the whole folder"), (7, "keys must be the folder .* is 7")]
)
def test_wrong_keys_are_refused(tmp_path: Path, keys: Any, message: str) -> None:
    (tmp_path / "some_workers.py").write_text("__all__ = []\n")
    folder = tmp_path / keys if isinstance(keys, str) else keys
    ports = free_ports(2)
    for make in (
        lambda: Router(("127.0.0.1", ports[0]), ("127.0.0.1", ports[1]), {}, keys=folder),
        lambda: Broker(API, BROADCAST, dict, "some_workers", keys=folder),
        lambda: Pipeliner(API, BROADCAST, keys=folder),
        lambda: PipelineManager(API, BROADCAST, keys=folder),
    ):
        with pytest.raises(DaemonError, match=message):
            make()


def test_the_error_is_a_router_out_of_reach_and_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(KeysRefused(API, 2.0, "because")))
    assert isinstance(error, RouterUnreachable)
    assert (error.address, error.seconds, error.reason) == (API, 2.0, "because")
    assert str(error) == f"the Router at {API} cannot be reached: because"

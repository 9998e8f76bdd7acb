"""The Router with its state in PostgreSQL, and a database that stops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fission.pipelines import Job, Pipeline, PipelineRefused, RouterAnswer
from tests.pipelines.daemons import Cluster
from tests.pipelines.postgres import Postgres
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]  # each starts real daemons: seconds on a busy machine


@pytest.fixture
def cluster(postgres: Postgres, cluster: Cluster) -> Cluster:
    """The server is there before the test's daemons, or it would count as one of them."""
    return cluster


def test_a_router_with_postgresql_is_killed_and_continues(postgres: Postgres, cluster: Cluster) -> None:
    state = postgres.database()
    router = cluster.start("Router", state=state)
    cluster.start("Broker")
    cluster.start("Pipeliner")
    cluster.ready()
    with cluster.manager() as manager:
        manager.start_all(Pipeline({Job("A"): (Job("B"), Job("Bad"))}) for _ in range(100))
        eventually(lambda: len(cluster.runs("save")) > 20, 20, cluster.logs)
        router.kill()
        cluster.start("Router", state=state)
        assert manager.wait(40), cluster.logs()
        assert (manager.finished_pipelines, manager.failed_pipelines) == (100, 100)
    assert len({one["job"] for one in cluster.runs("save")}) == 200


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Postgres]:
    """A server of this test's own, which may be stopped."""
    with Postgres(tmp_path) as server:
        yield server


def test_a_server_that_restarts_is_waited_for(own_server: Postgres, cluster: Cluster) -> None:
    postgres = own_server
    router = cluster.start("Router", state=postgres.database())
    cluster.start("Pipeliner")
    cluster.start("Broker")
    cluster.ready()
    gate = cluster.folder / "gate"
    with cluster.manager(timeout=60) as manager:
        held = Pipeline({Job("A"): Job("Wait"), Job("Wait"): Job("B")}, data={"file": str(gate)})
        manager.start(held)
        manager.start_all(Pipeline({Job("A"): (Job("B"), Job("C"))}) for _ in range(150))
        eventually(lambda: cluster.runs("begin", "Wait"), 40, cluster.logs)
        postgres.stop()
        try:
            eventually(lambda: "database is unavailable" in router.said, 20, cluster.logs)
            gate.touch()  # its end must wait for the database
        finally:
            postgres.start()
        manager.start(late := Pipeline({Job("A"): None}))
        assert manager.wait(60), cluster.logs()
        assert (manager.finished_pipelines, manager.failed_pipelines) == (152, 0)
        assert held.finished
        assert late.finished
    assert router.process.poll() is None
    assert "database is available again" in router.said
    runs = [one["job"] for one in cluster.runs("begin")]
    assert len(runs) == len(set(runs)) == 3 + 450 + 1, "the jobs did not notice"


def test_a_connection_that_is_cut_is_made_again(postgres: Postgres, cluster: Cluster) -> None:
    state = postgres.database()
    router = cluster.start("Router", state=state)
    cluster.start("Pipeliner")
    cluster.start("Broker")
    cluster.ready()
    with cluster.manager(timeout=60) as manager:
        for _ in range(3):
            with psycopg.connect(state, autocommit=True) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
                )
            manager.start(Pipeline({Job("A"): Job("B")}))
            assert manager.wait(30), cluster.logs()
        assert manager.failed_pipelines == 0
    assert router.process.poll() is None


LONG = "x" * 300


@pytest.mark.parametrize("state", ["postgresql", "sqlite"])
def test_texts_that_no_database_takes_are_refused(state: str, postgres: Postgres, cluster: Cluster) -> None:
    router = cluster.start("Router", **({"state": postgres.database()} if state == "postgresql" else {}))
    cluster.start("Pipeliner")
    cluster.start("Broker")
    cluster.ready()
    bad = [LONG, "A\0", "\ud800", "", "A B"]
    for name in bad:
        with pytest.raises(RouterAnswer, match="name of a class, of at most 200 characters"):
            cluster.ask(command="pulse", broker="b", workers=[name], processes=[])
        with pytest.raises(PipelineRefused, match="worker name must"):
            cluster.ask(
                **{"command": "add pipeline", "pipeline id": "x", "pipeline": {"jobs": [{"worker_name": name}], "graph": [[0, None]]}}
            )
        with pytest.raises(RouterAnswer, match="must be an id"):
            cluster.ask(**{"command": "pipeline", "pipeline id": name + "/"})
    for name in bad[:3]:
        with pytest.raises(RouterAnswer, match="must be at most 255 printable characters"):
            cluster.ask(command="process ended", broker="b", process=name, job="x-0", attempt=1, error=name)
    with cluster.manager(timeout=30) as manager:
        strange = {"text": "a\0b \ud800 " + "x" * 100_000, "\0\udfff": [None]}
        manager.start_all([Pipeline({Job("A"): None}, data=strange), Pipeline({Job("Bad"): None}, data=strange)])
        assert manager.wait(30), cluster.logs()
        assert manager.failed_pipelines == 1
        assert cluster.show(manager.pipelines[0].id)["data"] == strange
    assert router.process.poll() is None

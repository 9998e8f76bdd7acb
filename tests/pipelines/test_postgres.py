"""The Router with its state in PostgreSQL, and a database that goes away."""

from __future__ import annotations

import psycopg
import pytest

from fission.pipelines import Job, Pipeline
from tests.pipelines.daemons import Cluster
from tests.pipelines.postgres import Postgres
from tests.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]  # each starts real daemons: seconds on a busy machine


@pytest.fixture
def cluster(postgres: Postgres, cluster: Cluster) -> Cluster:
    """The server is there before the test's daemons, or it would count as one of them."""
    return cluster


def test_a_router_with_postgresql_is_killed_and_goes_on(postgres: Postgres, cluster: Cluster) -> None:
    state = postgres.database()
    router = cluster.start("Router", state=state)
    cluster.start("Broker")
    cluster.start("Pipeliner")
    cluster.ready()
    with cluster.manager() as manager:
        manager.start_all(Pipeline({Job("A"): (Job("B"), Job("Bad"))}) for _ in range(100))
        eventually(lambda: len(cluster.runs("save")) > 20, 20, cluster.story)
        router.kill()
        cluster.start("Router", state=state)
        assert manager.wait(40), cluster.story()
        assert (manager.finished_pipelines, manager.failed_pipelines) == (100, 100)
    assert len({one["job"] for one in cluster.runs("save")}) == 200


def test_a_database_that_goes_away_ends_the_router_and_nothing_is_lost(postgres: Postgres, cluster: Cluster) -> None:
    state = postgres.database()
    router = cluster.start("Router", state=state)
    cluster.start("Pipeliner")
    cluster.start("Broker")
    cluster.ready()
    with cluster.manager() as manager:
        gate = cluster.folder / "gate"
        manager.start(first := Pipeline({Job("A"): Job("Wait"), Job("Wait"): Job("B")}, data={"file": str(gate)}))
        eventually(lambda: cluster.runs("begin", "Wait"), 20, cluster.story)
        with psycopg.connect(state, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
        gate.touch()
        assert router.process.wait(20) == 1
        assert "StoreLost: the Router ends because its database cannot be written any more" in router.said
        cluster.start("Router", state=state)
        assert manager.wait(30), cluster.story()
        assert first.error is None
    assert len(cluster.runs("begin", "A")) == 1, "it was recorded, so it is not run again"

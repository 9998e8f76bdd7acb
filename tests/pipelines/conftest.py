from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipelines.daemons import Cluster
from tests.pipelines.postgres import Postgres


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The daemons of one test."""
    with Cluster(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The PostgreSQL server of this test run."""
    with Postgres(tmp_path_factory.mktemp("pg")) as server:
        yield server

"""The windows of a network: larger where blocks wait for snapshots, and all of one size."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fission.client.run.jobs.bundles import Addresses, Bundles
from fission.core.base import BaseJob, collecting
from fission.core.jobs import PythonJob
from fission.core.network import Network
from fission.core.pipes import PicklePipe
from fission.protocol.window import SNAPSHOT_WINDOW_BLOCKS, WINDOW_BLOCKS


class Keeps(PythonJob):
    CHECKPOINT = 100


def windows(tmp_path: Path, jobs: list[BaseJob]) -> set[int]:
    network = Network("net", {job.id: job for job in jobs})
    loaded: Any = SimpleNamespace(name="net", network=network, root=tmp_path, config=SimpleNamespace(head_size=1))
    bundles = Bundles(loaded, str(tmp_path), Addresses(str(tmp_path), "fission-test"), lambda job: 1)
    return {bundles.bundle(job.id, 1, 0, frozenset(), (), {}, {}, "").window_blocks for job in jobs}


@pytest.mark.parametrize(
    ("source", "middle", "blocks"),
    [
        (PythonJob, PythonJob, WINDOW_BLOCKS),
        (Keeps, PythonJob, WINDOW_BLOCKS),  # a source holds nothing back
        (PythonJob, Keeps, SNAPSHOT_WINDOW_BLOCKS),
    ],
)
def test_windows_are_large_where_a_job_with_inputs_takes_snapshots(
    tmp_path: Path, source: type[PythonJob], middle: type[PythonJob], blocks: int
) -> None:
    with collecting():
        jobs = [
            source(outputs=[PicklePipe(1)]),
            PythonJob(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
            middle(inputs=[PicklePipe(2)], outputs=[PicklePipe(3)]),
            PythonJob(inputs=[PicklePipe(3)]),
        ]
        assert windows(tmp_path, jobs) == {blocks}

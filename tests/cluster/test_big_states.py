"""A node of a job with a large state dies: only the needed snapshot travels, in pieces, to the node that takes over."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cluster.support import Site

MakeSite = Callable[..., Site]
SIZE_MB = 40
JOBS = f"""
from datetime import timedelta

class Heavy(Double):
    '''Has a state of {SIZE_MB} MB besides.'''
    CHECKPOINT = timedelta(seconds=1)
    weight = b""
    total = 0
    def run(self, number):
        if not self.weight:
            self.weight = os.urandom(1 << 20) * {SIZE_MB}
        self.total += number
        return self.total
    def snapshot(self):
        return self.total, self.weight
    def restore(self, state):
        self.total, self.weight = state
        assert len(self.weight) == {SIZE_MB} << 20
"""
LISTED = """
Numbers(0, outputs=[PicklePipe(1)]),
Heavy(inputs=[PicklePipe(1)], outputs=[PicklePipe(2)]),
CSVSinkJob("result.csv", inputs=[PicklePipe(2)]),
"""


def rows(limit: int) -> list[int]:
    return [number * (number + 1) // 2 for number in range(1, limit + 1)]


@pytest.mark.timeout(150)
def test_a_large_state_moves_to_another_node(cluster: MakeSite) -> None:
    site = cluster(2)
    client = site.run(LISTED, JOBS)
    site.rows(60, sink=3)
    first = site.node_of(2)
    site.nodes[first].kill()
    site.happened("Launch", 1, job=2, incarnation=2)
    site.more_rows(60, sink=3)
    assert site.node_of(2) != first
    site.finish(client, rows, pipe=2, sink=3)
    # what the job has taken over is given back
    assert not [path for node in site.nodes.values() for path in node.temp.rglob("*.part")]
